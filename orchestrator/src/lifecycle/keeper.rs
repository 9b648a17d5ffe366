//! Going on with whatever is not at rest: what an earlier process left, what others asked for, what is to be tried again.
//!
//! What there is to do is kept in an [`Agenda`]. The whole inventory is read at the start, when notices of changes may have
//! been missed, and now and then; else only the servers that changed are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};
use uuid::Uuid;

use super::agenda::Agenda;
use super::work::{self, UntilRetry};
use super::{Lifecycle, Parts};
use crate::inventory::{Changed, Error, Readable};
use crate::name::HostName;

/// How often it is looked what is due, where no notice of a change comes.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// It is not looked more often than this, however much happens.
const AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// How often the whole inventory is read, whatever is told of.
const READ_EVERY: Duration = Duration::from_secs(60);
/// Servers that are read at a time.
const READS: usize = 16;

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

    /// Works until `stop` is over; then begins nothing more, and sees what runs to the end of its workflow, or to where it is
    /// to be tried again later. Dropped before that, it leaves what runs as it is: the next process goes on with it.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(self.in_flight));
        let mut changes = self.parts.inventory.changes();
        let mut agenda = Agenda::default();
        let mut workers = Workers::default();
        let (mut unread, mut whole_at) = (Changed::Anything, Instant::now());
        let mut troubles = Troubles::default();
        tokio::pin!(stop);
        'service: loop {
            if whole_at.elapsed() >= READ_EVERY {
                unread = Changed::Anything;
            }
            let is_whole = unread == Changed::Anything;
            let read = tokio::select! {
                biased;
                () = &mut stop => break 'service,
                read = self.read(&unread, &mut agenda, &mut troubles) => read,
            };
            // It is read again the next time.
            unread = read;
            if unread != Changed::Anything {
                self.parts.metrics.servers(agenda.states());
                if is_whole {
                    whole_at = Instant::now();
                }
            }
            self.tell(troubles.told());
            for (hostname, server) in agenda.due() {
                self.see_to(hostname, server, &room, &mut workers);
            }
            let look_within = agenda.next_within().map_or(LOOK_EVERY, |next| next.min(LOOK_EVERY));
            let pause = async {
                tokio::time::sleep(AT_MOST_EVERY).await;
                // Where changes are told of no more, the clock is enough.
                let look_within = look_within.saturating_sub(AT_MOST_EVERY);
                tokio::time::timeout(look_within, changes.next()).await.unwrap_or_default()
            };
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut stop => break 'service,
                    ended = workers.one_ended(), if !workers.is_empty() => {
                        if let Some(Ended { hostname, was_ours }) = ended {
                            if !was_ours {
                                agenda.leave(&hostname, LOOK_EVERY);
                            }
                            // Whether or not a notice of what it wrote has come.
                            unread.add(Changed::from([hostname]));
                        }
                    }
                    changed = &mut pause => {
                        unread.add(changed);
                        break;
                    }
                }
            }
        }
        // Those who wait for a place begin nothing any more.
        room.close();
        while !workers.is_empty() {
            drop(workers.one_ended().await);
        }
    }

    /// Keeps in mind why it is not known what there is to do; the log is told once.
    fn tell(&self, trouble: Option<String>) {
        let before = self.parts.trouble.send_replace(trouble.clone());
        if trouble != before
            && let Some(trouble) = trouble
        {
            tracing::error!("{trouble}");
        }
    }

    /// Reads all servers; what cannot be read does not keep the others from being gone on with.
    async fn read_all(&self, agenda: &mut Agenda, troubles: &mut Troubles) -> Changed {
        match self.parts.inventory.list_readable().await {
            Ok(Readable { servers, unreadable }) => {
                agenda.replace(&servers);
                // They are read again with all others, or when somebody writes them.
                *troubles = Troubles::of(&unreadable);
                Changed::default()
            }
            Err(error) => {
                troubles.whole = Some(crate::error_chain(&error));
                Changed::Anything
            }
        }
    }

    /// Reads what may have changed, and says what of it could not be read.
    async fn read(&self, changed: &Changed, agenda: &mut Agenda, troubles: &mut Troubles) -> Changed {
        let hostnames = match changed {
            Changed::Anything => return self.read_all(agenda, troubles).await,
            Changed::Servers(hostnames) => hostnames,
        };
        let find = |hostname: HostName| async move {
            let found = self.parts.inventory.find(&hostname).await;
            (hostname, found)
        };
        let mut found = stream::iter(hostnames.iter().cloned()).map(find).buffer_unordered(READS);
        // One that cannot be read does not hide the others.
        let mut unread = Changed::default();
        while let Some((hostname, found)) = found.next().await {
            match found {
                Ok(found) => {
                    troubles.servers.remove(hostname.as_str());
                    match found {
                        Some(stored) => agenda.put(&stored.server),
                        None => agenda.take_out(&hostname),
                    }
                }
                Err(error) => {
                    troubles.servers.insert(hostname.to_string(), crate::error_chain(&error));
                    unread.add(Changed::from([hostname]));
                }
            }
        }
        unread
    }

    fn see_to(&self, hostname: &HostName, server: Uuid, room: &Arc<Semaphore>, workers: &mut Workers) {
        if workers.has(server) {
            return;
        }
        let (parts, room, hostname) = (Arc::clone(&self.parts), Arc::clone(room), hostname.clone());
        let name = hostname.clone();
        workers.begin(server, name, async move {
            let Ok(_place) = room.acquire().await else { return true };
            let worked: Result<bool, Error> = async {
                match parts.inventory.claim(server).await? {
                    Some(claim) => work::work(&parts, &hostname, &claim, UntilRetry::Leave).await.map(|_| true),
                    None => Ok(false),
                }
            }
            .await;
            worked.unwrap_or_else(|error| {
                tracing::error!(%hostname, "the workflow broke off: {}", crate::error_chain(&error));
                // Not again at once.
                false
            })
        });
    }
}

/// Why it is not known what there is to do.
#[derive(Debug, Default)]
struct Troubles {
    /// Why nothing could be read.
    whole: Option<String>,
    /// By name, why a server could not.
    servers: BTreeMap<String, String>,
}

impl Troubles {
    fn of(unreadable: &BTreeMap<String, Error>) -> Self {
        let why = |(name, error): (&String, &Error)| (name.clone(), crate::error_chain(error));
        Self { whole: None, servers: unreadable.iter().map(why).collect() }
    }

    /// For people: where nothing is read all else is the same trouble, and many servers often have the same.
    fn told(&self) -> Option<String> {
        if self.whole.is_some() {
            return self.whole.clone();
        }
        let distinct: BTreeSet<&str> = self.servers.values().map(String::as_str).collect();
        let first = distinct.first()?;
        match distinct.len() - 1 {
            0 => Some((*first).to_owned()),
            others => Some(format!("{first}; and {others} more such problems")),
        }
    }
}

/// The tasks at work, at most one for each server.
#[derive(Default)]
struct Workers {
    /// Each says whether the server was ours to work on.
    tasks: JoinSet<bool>,
    servers: BTreeMap<Uuid, HostName>,
    at_work: BTreeMap<Id, Uuid>,
}

/// A task that has ended.
struct Ended {
    hostname: HostName,
    was_ours: bool,
}

impl Workers {
    fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn has(&self, server: Uuid) -> bool {
        self.servers.contains_key(&server)
    }

    fn begin(&mut self, server: Uuid, hostname: HostName, work: impl Future<Output = bool> + Send + 'static) {
        let task = self.tasks.spawn(work);
        self.at_work.insert(task.id(), server);
        self.servers.insert(server, hostname);
    }

    /// Waits until some task has ended, be it by a panic.
    async fn one_ended(&mut self) -> Option<Ended> {
        let (task, was_ours) = match self.tasks.join_next_with_id().await? {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!("a workflow broke off: {error}");
                (error.id(), false)
            }
        };
        let hostname = self.at_work.remove(&task).and_then(|server| self.servers.remove(&server))?;
        Some(Ended { hostname, was_ours })
    }
}
