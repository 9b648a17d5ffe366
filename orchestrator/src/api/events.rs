//! The progress of workflows as server-sent events: the server as it is, then each change of it, until it is gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::watch;
use uuid::Uuid;

use super::Service;
use super::caller::Caller;
use super::error::{Errors, Failure};
use super::request::{self, Parameters, RawQuery};
use super::scope;
use super::servers::Hostname;
use crate::inventory::{Changed, Changes, Stored};
use crate::lifecycle::{self, Lifecycle};
use crate::name::{HostName, Name};
use crate::server::Server;

/// How often all that is followed is read where no notice of a change comes.
const READ_EVERY: Duration = Duration::from_secs(30);
/// After how long what could not be read is read again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Events =
    Sse<axum::response::sse::KeepAliveStream<std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>>>;

/// Of one server. `?until=rest`: only until no step is due.
#[utoipa::path(get, path = "/api/v1/servers/{hostname}/events", tag = "servers", params(("hostname" = String, Path), ("until" = Option<String>, Query, description = "`rest`: ends when no step is due")),
    responses((status = 200, description = "server-sent events `server` and `deleted`", content_type = "text/event-stream", body = String), Errors))]
pub(super) async fn of_one(
    State(service): State<Service>,
    caller: Option<Extension<Caller>>,
    path: Hostname,
    query: RawQuery,
) -> Result<Events, Failure> {
    let hostname = request::path(path)?;
    let until = Parameters::new(query, &["until"])?.one("until")?;
    let until_rest = match until.as_deref() {
        None => false,
        Some("rest") => true,
        Some(other) => {
            return Err(Failure::invalid(format!("until: \"{}\" is not known: write rest", other.escape_debug())));
        }
    };
    let server = service.lifecycle.find(&hostname).await?.server;
    let follower = Follower::new(&service, Some((server.id, server.hostname)), until_rest);
    Ok(events(Follower { zones: scope::of(caller), ..follower }))
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
    changes: Changes,
    stopping: watch::Receiver<bool>,
    /// This server, by its present name; none: all.
    one: Option<(Uuid, HostName)>,
    until_rest: bool,
    /// Who is limited to these does not see a server that is renamed to a name outside of them; none: no limit.
    zones: Vec<Name>,
    /// What was told: each server's revision and name.
    told: BTreeMap<Uuid, (u64, HostName)>,
    due: VecDeque<Event>,
    /// What has to be read.
    unread: Changed,
    is_over: bool,
}

impl Follower {
    fn new(service: &Service, one: Option<(Uuid, HostName)>, until_rest: bool) -> Self {
        Self {
            lifecycle: service.lifecycle.clone(),
            changes: service.lifecycle.changes(),
            stopping: service.stopping.clone(),
            // It was seen by whoever asks, so that its end is told even if nothing else is; no revision is that.
            told: one.iter().map(|(id, hostname)| (*id, (u64::MAX, hostname.clone()))).collect(),
            one,
            until_rest,
            zones: Vec::new(),
            due: VecDeque::new(),
            unread: Changed::Anything,
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
            if self.read().await.is_ok() {
                self.unread = Changed::default();
            }
            if !self.due.is_empty() || self.is_over {
                continue;
            }
            let is_read = self.unread == Changed::default();
            let patience = if is_read { READ_EVERY } else { AGAIN_AFTER };
            tokio::select! {
                changed = tokio::time::timeout(patience, self.changes.next()) => match changed {
                    Ok(changed) => self.unread.add(changed),
                    // Where changes are told of no more, the clock is enough.
                    Err(_) if is_read => self.unread = Changed::Anything,
                    Err(_) => {}
                },
                () = stopped(&mut self.stopping) => return None,
            }
        }
    }

    /// Reads what may have changed, and takes down what is to be told of it.
    async fn read(&mut self) -> Result<(), lifecycle::Error> {
        let found = match (&self.unread, &self.one) {
            (Changed::Servers(_), Some((_, hostname))) if !self.unread.concerns(hostname) => return Ok(()),
            (_, Some((id, hostname))) => self.find(*id, hostname).await?.into_iter().collect(),
            (Changed::Anything, None) => self.lifecycle.list().await?,
            (Changed::Servers(hostnames), None) => {
                let mut found = Vec::new();
                for hostname in hostnames {
                    found.extend(self.found(hostname).await?);
                }
                let is_there = |id: &Uuid| found.iter().any(|stored| stored.server.id == *id);
                let is_missing =
                    |(id, (_, hostname)): (&Uuid, &(u64, HostName))| hostnames.contains(hostname) && !is_there(id);
                // Gone, or of another name by now.
                if self.told.iter().any(is_missing) {
                    self.lifecycle.list().await?
                } else {
                    for stored in found {
                        self.tell(stored);
                    }
                    return Ok(());
                }
            }
        };
        self.tell_all(found);
        Ok(())
    }

    /// The server of this id, which had this name.
    async fn find(&self, id: Uuid, hostname: &HostName) -> Result<Option<Stored>, lifecycle::Error> {
        let is_seen = |hostname: &HostName| scope::is_seen(hostname.as_str(), &self.zones);
        let is_it = |stored: &Stored| stored.server.id == id && is_seen(&stored.server.hostname);
        match self.found(hostname).await?.filter(is_it) {
            Some(stored) => Ok(Some(stored)),
            None => Ok(self.lifecycle.list().await?.into_iter().find(is_it)),
        }
    }

    async fn found(&self, hostname: &HostName) -> Result<Option<Stored>, lifecycle::Error> {
        match self.lifecycle.find(hostname.as_str()).await {
            Ok(stored) => Ok(Some(stored)),
            Err(lifecycle::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// These are all that there are.
    fn tell_all(&mut self, servers: Vec<Stored>) {
        let there: BTreeSet<Uuid> = servers.iter().map(|stored| stored.server.id).collect();
        self.is_over = self.one.is_some() && servers.is_empty();
        let gone: Vec<_> = self.told.extract_if(.., |id, _| !there.contains(id)).collect();
        for (id, (_, hostname)) in gone {
            let data = serde_json::json!({"id": id, "hostname": hostname});
            self.due.push_back(Event::default().event("deleted").data(data.to_string()));
        }
        for stored in servers {
            self.tell(stored);
        }
    }

    fn tell(&mut self, Stored { server, revision }: Stored) {
        if self.until_rest && server.is_at_rest() {
            self.is_over = true;
        }
        if let Some((_, hostname)) = &mut self.one {
            hostname.clone_from(&server.hostname);
        }
        let told = (revision, server.hostname.clone());
        if self.told.get(&server.id) != Some(&told) {
            self.due.extend(event(&server, revision));
            self.told.insert(server.id, told);
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
