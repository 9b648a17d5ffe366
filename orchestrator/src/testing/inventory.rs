//! An inventory in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::inventory::{self, Changed, Changes, Claim, Claims, Inventory, Notices, Readable, Renamed, Stored, Written};
use crate::name::HostName;
use crate::server::{Server, Wanted};

/// An inventory in memory that notes every state that was written.
#[derive(Default)]
pub(crate) struct FakeInventory {
    servers: Mutex<BTreeMap<HostName, Stored>>,
    written: Mutex<Vec<String>>,
    claims: Claims,
    revision: AtomicU64,
    notices: Notices,
    lists: AtomicUsize,
    finds: AtomicUsize,
    /// Just before this is written, somebody writes that the server is to go.
    deleted_before: Mutex<Option<String>>,
    /// Servers whose values cannot be read.
    unreadable: Mutex<BTreeSet<HostName>>,
}

impl FakeInventory {
    /// `state step outcome`, as each was written.
    pub(crate) fn written(&self) -> Vec<String> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has somebody write that a server is to go, just before this `state step outcome` of it is written.
    pub(crate) fn delete_before(&self, line: &str) {
        *self.deleted_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.to_owned());
    }

    /// Whether that was to be so, and is from now on not any more.
    fn is_deleted_before(&self, server: &Server) -> bool {
        let mut before = self.deleted_before.lock().unwrap_or_else(PoisonError::into_inner);
        before.take_if(|before| *before == line(server)).is_some()
    }

    /// Makes the value of a server one that cannot be read, or mends it.
    pub(crate) fn set_unreadable(&self, hostname: &HostName, is_unreadable: bool) {
        let mut unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if is_unreadable {
            unreadable.insert(hostname.clone());
        } else {
            unreadable.remove(hostname);
        }
    }

    fn is_unreadable(&self, hostname: &HostName) -> bool {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).contains(hostname)
    }

    /// Tells that notices may have been missed.
    pub(crate) fn tell_of_anything(&self) {
        self.notices.tell(Changed::Anything);
    }

    /// How often all servers were read, and how often one.
    pub(crate) fn reads(&self) -> (usize, usize) {
        (self.lists.load(Ordering::SeqCst), self.finds.load(Ordering::SeqCst))
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostName, Stored>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a server, notes it, and says at which revision.
    fn put(&self, servers: &mut BTreeMap<HostName, Stored>, server: &Server) -> u64 {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(line(server));
        let revision = self.revision.fetch_add(1, Ordering::SeqCst) + 1;
        servers.insert(server.hostname.clone(), Stored { server: server.clone(), revision });
        self.notices.tell([server.hostname.clone()]);
        revision
    }
}

fn unreadable(hostname: &HostName) -> inventory::Error {
    inventory::Error { action: "read", source: format!("the value of {hostname} is no server").into() }
}

/// `state step outcome`
fn line(server: &Server) -> String {
    let step = server.steps.last().map(|step| format!(" {} {:?}", step.name, step.outcome)).unwrap_or_default();
    format!("{}{step}", server.state)
}

/// Whether a server is at the revision at which it was read.
fn is_at(servers: &BTreeMap<HostName, Stored>, hostname: &HostName, revision: u64) -> bool {
    servers.get(hostname).is_some_and(|stored| stored.revision == revision)
}

impl Inventory for FakeInventory {
    fn insert<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Option<u64>, inventory::Error>> {
        let mut servers = self.servers();
        let is_new = !servers.contains_key(&server.hostname);
        let inserted = is_new.then(|| self.put(&mut servers, server));
        Box::pin(async move { Ok(inserted) })
    }

    fn update<'a>(
        &'a self,
        server: &'a Server,
        revision: u64,
        claim: Option<&'a Claim>,
    ) -> BoxFuture<'a, Result<Written, inventory::Error>> {
        let mut servers = self.servers();
        if self.is_deleted_before(server)
            && let Some(stored) = servers.get(&server.hostname)
        {
            let server = Server { wanted: Wanted::Deleted, ..stored.server.clone() };
            self.put(&mut servers, &server);
        }
        let written = if claim.is_some_and(Claim::is_lost) {
            Written::ClaimLost
        } else if is_at(&servers, &server.hostname, revision) {
            Written::At(self.put(&mut servers, server))
        } else {
            Written::Changed
        };
        Box::pin(async move { Ok(written) })
    }

    fn rename<'a>(
        &'a self,
        from: &'a HostName,
        server: &'a Server,
        revision: u64,
    ) -> BoxFuture<'a, Result<Renamed, inventory::Error>> {
        let mut servers = self.servers();
        let renamed = if !is_at(&servers, from, revision) {
            Renamed::Changed
        } else if servers.contains_key(&server.hostname) {
            Renamed::Taken
        } else {
            servers.remove(from);
            self.notices.tell([from.clone()]);
            Renamed::At(self.put(&mut servers, server))
        };
        Box::pin(async move { Ok(renamed) })
    }

    fn remove<'a>(
        &'a self,
        hostname: &'a HostName,
        revision: u64,
        _: Option<&'a Claim>,
    ) -> BoxFuture<'a, Result<Written, inventory::Error>> {
        let mut servers = self.servers();
        let written = if is_at(&servers, hostname, revision) {
            servers.remove(hostname);
            self.notices.tell([hostname.clone()]);
            Written::At(revision)
        } else {
            Written::Changed
        };
        Box::pin(async move { Ok(written) })
    }

    fn find<'a>(&'a self, hostname: &'a HostName) -> BoxFuture<'a, Result<Option<Stored>, inventory::Error>> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        let found = match self.is_unreadable(hostname) {
            true => Err(unreadable(hostname)),
            false => Ok(self.servers().get(hostname).cloned()),
        };
        Box::pin(async { found })
    }

    fn list_readable(&self) -> BoxFuture<'_, Result<Readable, inventory::Error>> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let (damaged, servers): (Vec<_>, Vec<_>) =
            self.servers().values().cloned().partition(|stored| self.is_unreadable(&stored.server.hostname));
        let named = |stored: Stored| (stored.server.hostname.to_string(), unreadable(&stored.server.hostname));
        let unreadable = damaged.into_iter().map(named).collect();
        Box::pin(async { Ok(Readable { servers, unreadable }) })
    }

    fn claim(&self, server: Uuid) -> BoxFuture<'_, Result<Option<Claim>, inventory::Error>> {
        Box::pin(async move { Ok(self.claims.claim(server)) })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), inventory::Error>> {
        Box::pin(async { Ok(()) })
    }

    fn changes(&self) -> Changes {
        self.notices.listen()
    }
}
