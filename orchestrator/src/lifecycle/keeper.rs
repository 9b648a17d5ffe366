//! Going on with whatever is not at rest: what an earlier process left, what others asked for, what is to be tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};
use uuid::Uuid;

use super::{Lifecycle, Parts, work};
use crate::inventory::{Error, Stored};

/// How often the inventory is looked through where no notice of a change comes.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The inventory is not looked through more often than this, however much happens.
const AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// The background work of a service on its servers.
pub struct Keeper {
    parts: Arc<Parts>,
    /// How many servers are worked on at a time.
    in_flight: usize,
}

impl Keeper {
    /// Works on at most `in_flight` servers at a time.
    pub fn new(lifecycle: &Lifecycle, in_flight: usize) -> Self {
        Self { parts: Arc::clone(&lifecycle.0), in_flight: in_flight.max(1) }
    }

    /// Works until `stop` is over; then begins nothing more, and sees what runs to the end of its workflow. Dropped before that, it
    /// leaves what runs as it is: the next process goes on with it.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(self.in_flight));
        let mut changes = self.parts.inventory.changes();
        let mut workers = Workers::default();
        tokio::pin!(stop);
        'service: loop {
            changes.mark_unchanged();
            match self.parts.inventory.list().await {
                Ok(servers) => servers.into_iter().for_each(|stored| self.see_to(stored, &room, &mut workers)),
                Err(error) => tracing::error!("{}", crate::error_chain(&error)),
            }
            let pause = async {
                tokio::time::sleep(AT_MOST_EVERY).await;
                // Where changes are told of no more, the clock is enough.
                let _ = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
            };
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut stop => break 'service,
                    () = workers.one_ended(), if !workers.is_empty() => {}
                    () = &mut pause => break,
                }
            }
        }
        // Those who wait for a place begin nothing any more.
        room.close();
        while !workers.is_empty() {
            workers.one_ended().await;
        }
    }

    fn see_to(&self, stored: Stored, room: &Arc<Semaphore>, workers: &mut Workers) {
        let server = stored.server;
        let is_due = !server.is_at_rest() && server.retry_at.is_none_or(|retry_at| retry_at.ahead().is_zero());
        if !is_due && !server.is_to_be_registered_again() {
            return;
        }
        let (parts, room) = (Arc::clone(&self.parts), Arc::clone(room));
        workers.begin(server.id, async move {
            let Ok(_place) = room.acquire().await else { return };
            let worked: Result<(), Error> = async {
                match parts.inventory.claim(server.id).await? {
                    Some(claim) => work::work(&parts, &server.hostname, &claim).await.map(drop),
                    None => Ok(()),
                }
            }
            .await;
            if let Err(error) = worked {
                tracing::error!(hostname = %server.hostname, "the workflow broke off: {}", crate::error_chain(&error));
            }
        });
    }
}

/// The tasks at work, at most one for each server.
#[derive(Default)]
struct Workers {
    tasks: JoinSet<()>,
    servers: BTreeMap<Id, Uuid>,
}

impl Workers {
    fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn begin(&mut self, server: Uuid, work: impl Future<Output = ()> + Send + 'static) {
        if !self.servers.values().any(|at_work| *at_work == server) {
            let task = self.tasks.spawn(work);
            self.servers.insert(task.id(), server);
        }
    }

    /// Waits until some task has ended, be it by a panic.
    async fn one_ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((task, ()))) => {
                self.servers.remove(&task);
            }
            Some(Err(error)) => {
                self.servers.remove(&error.id());
                tracing::error!("a workflow broke off: {error}");
            }
            None => {}
        }
    }
}
