//! The progress of workflows as server-sent events: the server as it is, then each change of it, until it is gone.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::watch;
use uuid::Uuid;

use super::Service;
use super::error::{Errors, Failure};
use super::request::{self, Parameters, RawQuery};
use super::servers::Hostname;
use crate::lifecycle::Lifecycle;
use crate::server::Server;

/// How often the inventory is looked at where no notice of a change comes.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Events =
    Sse<axum::response::sse::KeepAliveStream<std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>>>;

/// Of one server. `?until=rest`: only until no step is due.
#[utoipa::path(get, path = "/api/v1/servers/{hostname}/events", tag = "servers", params(("hostname" = String, Path), ("until" = Option<String>, Query, description = "`rest`: ends when no step is due")),
    responses((status = 200, description = "server-sent events `server` and `deleted`", content_type = "text/event-stream", body = String), Errors))]
pub(super) async fn of_one(State(service): State<Service>, path: Hostname, query: RawQuery) -> Result<Events, Failure> {
    let hostname = request::path(path)?;
    let until = Parameters::new(query, &["until"])?.one("until")?;
    let until_rest = match until.as_deref() {
        None => false,
        Some("rest") => true,
        Some(other) => {
            return Err(Failure::invalid(format!("until: \"{}\" is not known: write rest", other.escape_debug())));
        }
    };
    let id = service.lifecycle.find(&hostname).await?.server.id;
    Ok(events(Follower::new(&service, Some(id), until_rest)))
}

/// Of all servers.
#[utoipa::path(get, path = "/api/v1/servers/events", tag = "servers",
    responses((status = 200, description = "server-sent events `server` and `deleted`", content_type = "text/event-stream", body = String), Errors))]
pub(super) async fn of_all(State(service): State<Service>, query: RawQuery) -> Result<Events, Failure> {
    Parameters::new(query, &[])?;
    Ok(events(Follower::new(&service, None, false)))
}

fn events(follower: Follower) -> Events {
    let stream = unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    let stream: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(stream);
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// Somebody who is told of changes.
struct Follower {
    lifecycle: Lifecycle,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// None: all.
    one: Option<Uuid>,
    until_rest: bool,
    /// What was told: each server's revision and name.
    told: BTreeMap<Uuid, (u64, String)>,
    due: VecDeque<Event>,
    is_first: bool,
    is_over: bool,
}

impl Follower {
    fn new(service: &Service, one: Option<Uuid>, until_rest: bool) -> Self {
        Self {
            lifecycle: service.lifecycle.clone(),
            changes: service.lifecycle.changes(),
            stopping: service.stopping.clone(),
            one,
            until_rest,
            told: BTreeMap::new(),
            due: VecDeque::new(),
            is_first: true,
            is_over: false,
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(event);
            }
            if self.is_over || *self.stopping.borrow() {
                return None;
            }
            if !self.is_first {
                tokio::select! {
                    // Where changes are told of no more, the clock is enough.
                    _ = tokio::time::timeout(LOOK_EVERY, self.changes.changed()) => {}
                    () = stopped(&mut self.stopping) => return None,
                }
            }
            self.is_first = false;
            self.changes.mark_unchanged();
            // An inventory that cannot be read just now is read again.
            if let Ok(servers) = self.lifecycle.list().await {
                let mut servers: BTreeMap<Uuid, _> =
                    servers.into_iter().map(|stored| (stored.server.id, stored)).collect();
                if let Some(one) = self.one {
                    servers.retain(|id, _| *id == one);
                }
                self.look_at(servers);
            }
        }
    }

    fn look_at(&mut self, servers: BTreeMap<Uuid, crate::inventory::Stored>) {
        let gone: Vec<Uuid> = self.told.keys().filter(|id| !servers.contains_key(id)).copied().collect();
        for id in gone {
            if let Some((_, hostname)) = self.told.remove(&id) {
                let data = serde_json::json!({"id": id, "hostname": hostname});
                self.due.push_back(Event::default().event("deleted").data(data.to_string()));
            }
        }
        self.is_over = self.one.is_some() && servers.is_empty();
        for (id, stored) in servers {
            if self.until_rest && stored.server.is_at_rest() {
                self.is_over = true;
            }
            let told = (stored.revision, stored.server.hostname.to_string());
            if self.told.get(&id) != Some(&told) {
                self.due.extend(event(&stored.server, stored.revision));
                self.told.insert(id, told);
            }
        }
    }
}

/// Waits until the service is told to stop; where nobody can tell it, for ever.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn event(server: &Server, revision: u64) -> Option<Event> {
    Event::default().event("server").id(revision.to_string()).json_data(server).ok()
}
