//! Fakes for the tests of this crate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dns_manager_host::contract::{
    self, Action, Change, Check, Code, Entry, Expectation, Filter, Outcome, Page, Rdata, Reason, Status, Verdict,
    Verification,
};
use dns_manager_host::{Call, Error, Usage};
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use uuid::Uuid;

use crate::dns::Dns;
use crate::inventory::{self, Changed, Changes, Claim, Claims, Inventory, Notices, Readable, Renamed, Stored, Written};
use crate::name::HostName;
use crate::record::value;
use crate::server::{Server, Wanted};

/// DNS in memory: it keeps what it is told, and notes what it was asked.
#[derive(Default)]
pub(crate) struct FakeDns {
    state: Mutex<FakeState>,
    /// Whether answers are held back: what was asked for is done, and nobody hears of it yet.
    stalled: watch::Sender<bool>,
}

#[derive(Default)]
struct FakeState {
    entries: Vec<Entry>,
    asked: Vec<String>,
    /// Every change of a set that starts with this name ends so.
    conflict: Option<String>,
    /// This zone cannot be looked at.
    hidden_zone: Option<String>,
    /// Every call ends so.
    unavailable: bool,
    /// Every call panics.
    broken: bool,
    /// No verification comes about.
    unverifiable: bool,
    /// The plugin has no `repair`.
    unrepairable: bool,
    /// Changes are made, and their call breaks off.
    breaks_off: bool,
    verdict: Option<Verdict>,
    checks: Vec<Check>,
}

impl FakeDns {
    /// Names that start with this belong to somebody else.
    pub(crate) fn conflict_at(self, name: &str) -> Self {
        self.with(|state| state.conflict = Some(name.to_owned()))
    }

    /// This zone cannot be looked at.
    pub(crate) fn hide_zone(self, zone: &str) -> Self {
        self.with(|state| state.hidden_zone = Some(zone.to_owned()))
    }

    /// The plugin has no `repair`.
    pub(crate) fn set_unrepairable(&self) {
        self.lock().unrepairable = true;
    }

    /// What every name server answers.
    pub(crate) fn verdict(self, verdict: Verdict) -> Self {
        self.with(|state| state.verdict = Some(verdict))
    }

    /// What the plugin's own checks find.
    pub(crate) fn check(self, check: Check) -> Self {
        self.with(|state| state.checks.push(check))
    }

    /// A value of another resource.
    pub(crate) fn entry(self, name: &str, data: Rdata, resource: &str) -> Self {
        self.with(|state| state.entries.push(entry(name, 300, data, Some(resource.to_owned()))))
    }

    /// Changes what is stored, as somebody else would.
    pub(crate) fn tamper(&self, change: impl FnOnce(&mut Vec<Entry>)) {
        change(&mut self.lock().entries);
    }

    /// Every verification ends so from now on.
    pub(crate) fn set_verdict(&self, verdict: Verdict) {
        self.lock().verdict = Some(verdict);
    }

    /// From now on nothing is reached, or again everything.
    pub(crate) fn set_unavailable(&self, unavailable: bool) {
        self.lock().unavailable = unavailable;
    }

    /// From now on no verification comes about, or each.
    pub(crate) fn set_unverifiable(&self, unverifiable: bool) {
        self.lock().unverifiable = unverifiable;
    }

    /// From now on changes are made, but their call breaks off, or no longer.
    pub(crate) fn set_breaking_off(&self, breaks_off: bool) {
        self.lock().breaks_off = breaks_off;
    }

    /// From now on every call panics, or none.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.lock().broken = broken;
    }

    /// From now on no call is answered, or again every one.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// The answer, as soon as none is held back.
    fn answer<'a, T: Send + 'a>(&self, answer: Result<T, Error>) -> BoxFuture<'a, Result<T, Error>> {
        let mut stalled = self.stalled.subscribe();
        Box::pin(async move {
            // A sender that is gone holds nothing back.
            let _ = stalled.wait_for(|stalled| !stalled).await;
            answer
        })
    }

    /// The calls so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    /// What is stored at a name, the first of it.
    pub(crate) fn entry_of(&self, name: &str) -> Option<Entry> {
        self.lock().entries.iter().find(|entry| entry.name == name).cloned()
    }

    /// `name value resource` of everything stored.
    pub(crate) fn stored(&self) -> Vec<String> {
        let text = |entry: &Entry| {
            format!("{} {} {}", entry.name, value::to_text(&entry.data), entry.resource.as_deref().unwrap_or("-"))
        };
        self.lock().entries.iter().map(text).collect()
    }

    fn with(self, change: impl FnOnce(&mut FakeState)) -> Self {
        change(&mut self.lock());
        self
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeState {
    fn ask(&mut self, what: String) -> Result<(), Error> {
        self.asked.push(what);
        assert!(!self.broken, "this call breaks down, as it was told");
        if self.unavailable {
            return Err(Error::Refused(Reason::new(Code::Unavailable, "http://localhost:2379 is not reached")));
        }
        Ok(())
    }

    /// Applies a change, if what is there is as it expects.
    fn apply_if(&mut self, change: Change) -> Outcome {
        let name = match &change.action {
            Action::Add(set) | Action::Replace(set) => set.name.clone(),
            Action::Remove(selector) | Action::Adopt(selector) | Action::Release(selector) => selector.name.clone(),
        };
        if change.expect.as_ref().is_some_and(|expected| *expected != self.token(&name)) {
            let reason = Reason::new(Code::Changed, format!("{name} is no longer as it was read"));
            return Outcome { reason: Some(reason), ..outcome(Status::Conflict, Vec::new(), Vec::new()) };
        }
        let outcome = self.apply(change);
        Outcome { token: Some(self.token(&name)), ..outcome }
    }

    /// Names what is there now.
    fn token(&self, name: &str) -> String {
        let entries: Vec<_> = self.entries.iter().filter(|entry| entry.name == name).collect();
        format!("{entries:?}")
    }

    fn apply(&mut self, change: Change) -> Outcome {
        let resource = change.resource;
        match change.action {
            Action::Add(set) if self.conflict.as_ref().is_some_and(|name| set.name.starts_with(name)) => {
                let reason = Reason::new(Code::OwnedBy(None), format!("{} belongs to somebody else", set.name));
                Outcome { reason: Some(reason), ..outcome(Status::Conflict, Vec::new(), Vec::new()) }
            }
            Action::Add(set) | Action::Replace(set) => {
                let ttl = set.ttl.unwrap_or_default();
                let added: Vec<_> =
                    set.data.into_iter().map(|data| entry(&set.name, ttl, data, resource.clone())).collect();
                self.entries.extend(added.clone());
                outcome(Status::Created, Vec::new(), added)
            }
            Action::Remove(selector) => {
                let is_meant = |entry: &Entry| {
                    entry.name == selector.name && (selector.resource.is_none() || entry.resource == selector.resource)
                };
                let (removed, kept) = std::mem::take(&mut self.entries).into_iter().partition(is_meant);
                self.entries = kept;
                let status = if removed.is_empty() { Status::Unchanged } else { Status::Deleted };
                outcome(status, removed, Vec::new())
            }
            Action::Adopt(selector) => self.mark(&selector.name, true),
            Action::Release(selector) => self.mark(&selector.name, false),
        }
    }
}

impl FakeState {
    /// Puts our mark on everything of a name, or takes it off.
    fn mark(&mut self, name: &str, mine: bool) -> Outcome {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for entry in self.entries.iter_mut().filter(|entry| entry.name == name) {
            before.push(entry.clone());
            (entry.mine, entry.owner) = (mine, mine.then(|| "default".to_owned()));
            after.push(entry.clone());
        }
        let is_same = before.iter().zip(&after).all(|(before, after)| before.owner == after.owner);
        outcome(if is_same { Status::Unchanged } else { Status::Updated }, before, after)
    }
}

impl Dns for FakeDns {
    fn max_items(&self) -> usize {
        1000
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage { places: 16, ..Usage::default() })
    }

    fn apply(&self, changes: Vec<Change>, call: Call) -> BoxFuture<'_, Result<Vec<Outcome>, Error>> {
        let mut state = self.lock();
        let before = call.dry_run.then(|| state.entries.clone());
        let answer = state
            .ask(format!("apply {}", changes.len()))
            .map(|()| changes.into_iter().map(|change| state.apply_if(change)).collect());
        if let Some(before) = before {
            state.entries = before;
        }
        let answer = if state.breaks_off { Err(Error::OutOfCpu { limit: Duration::from_secs(5) }) } else { answer };
        self.answer(answer)
    }

    fn list(&self, filter: Filter, _: Call) -> BoxFuture<'_, Result<Page, Error>> {
        let mut state = self.lock();
        let is_meant = |entry: &&Entry| filter.resource.is_none() || entry.resource == filter.resource;
        let answer = state.ask("list".to_owned()).map(|()| Page {
            entries: state.entries.iter().filter(is_meant).cloned().collect(),
            problems: Vec::new(),
            next: None,
        });
        self.answer(answer)
    }

    fn verify(
        &self,
        expectations: Vec<Expectation>,
        _: Duration,
        call: Call,
    ) -> BoxFuture<'_, Result<Vec<Verification>, Error>> {
        let mut state = self.lock();
        let verdict = state.verdict.unwrap_or(Verdict::Verified);
        let mut answer = state.ask(format!("verify {}", expectations.len())).map(|()| {
            expectations.into_iter().map(|expectation| verification(expectation, verdict)).collect::<Vec<_>>()
        });
        if state.unverifiable {
            answer = Err(Error::OutOfTime { budget: call.budget });
        }
        self.answer(answer)
    }

    fn repair(&self, zone: String, call: Call) -> BoxFuture<'_, Result<Page, Error>> {
        let mut state = self.lock();
        if state.unrepairable {
            return self.answer(Err(Error::Unsupported("the feature `repair`".to_owned())));
        }
        // What a plugin tells of a key once for each page.
        let problem = contract::Problem {
            place: format!("/skydns/{zone}"),
            reason: Reason::new(Code::Other("missing".to_owned()), "this key is missing"),
            mended: !call.dry_run,
        };
        let page = Page { entries: Vec::new(), problems: vec![problem.clone(), problem], next: None };
        let is_hidden = state.hidden_zone.as_deref() == Some(zone.as_str());
        let answer = state.ask(format!("repair {zone}")).and_then(|()| match is_hidden {
            true => Err(Error::Refused(Reason::new(Code::Denied, format!("{zone} is hidden")))),
            false => Ok(page),
        });
        self.answer(answer)
    }

    fn diagnose(&self, _: Call) -> BoxFuture<'_, Result<Vec<Check>, Error>> {
        let mut state = self.lock();
        let checks = state.checks.clone();
        let answer = state.ask("diagnose".to_owned()).map(|()| checks);
        self.answer(answer)
    }
}

fn entry(name: &str, ttl: u32, data: Rdata, resource: Option<String>) -> Entry {
    Entry {
        name: name.to_owned(),
        ttl,
        data,
        owner: Some("default".to_owned()),
        mine: true,
        resource,
        attributes: Vec::new(),
    }
}

fn outcome(status: Status, before: Vec<Entry>, after: Vec<Entry>) -> Outcome {
    Outcome { status, reason: None, warnings: Vec::new(), before, after, token: None, attributes: Vec::new() }
}

fn verification(expectation: Expectation, verdict: Verdict) -> Verification {
    let seen = contract::Seen {
        server: "127.0.0.1:53".to_owned(),
        verdict,
        rcode: Some(if verdict == Verdict::NotFound { 3 } else { 0 }),
        authoritative: true,
        ttl: None,
        data: Vec::new(),
        problem: None,
        attributes: Vec::new(),
    };
    Verification {
        name: expectation.name,
        rr_type: expectation.rr_type.unwrap_or(1),
        verdict,
        expected: expectation.data.unwrap_or_default(),
        answers: vec![seen],
        elapsed_ms: 1,
        attributes: Vec::new(),
    }
}

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
