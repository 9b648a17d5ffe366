//! DNS in memory.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dns_manager_host::contract::{
    self, Action, Change, Check, Code, Entry, Expectation, Filter, Outcome, Page, Rdata, Reason, Status, Verdict,
    Verification,
};
use dns_manager_host::{Call, Error, Usage};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::dns::Dns;
use crate::record::value;

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
