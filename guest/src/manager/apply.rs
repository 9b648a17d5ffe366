//! Changing records: read what the changes need, plan them, write them in guarded transactions.
//!
//! Everything is read at one revision and planned as one sequence. A transaction whose comparison fails means that another writer
//! was faster: the rest is read and planned anew. A transaction whose answer is lost is settled before anything else happens
//! ([`lost`]).

mod lost;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::Call;
use crate::{
    change::{Change, Outcome, Problem, Status},
    etcd::{
        Gateway, MAX_OPERATIONS, Transaction, Written,
        fault::{Fault, Kind},
    },
    plan::{Plan, Planner, Step},
    ports::LogLevel,
    reason::{Code, Reason},
    transaction::{Session, Size},
    view::{Draft, View},
    zone::{Lookup, Zone},
};

/// Changes that are planned at once.
const WINDOW: usize = 256;
/// Rounds of reading for one window; more mean that something is wrong with the tree.
const MAX_ROUNDS: u32 = 64;
/// How often the name servers are asked for the zones of names before those without an answer are given up.
const ZONE_TRIES: u32 = 2;
/// With less time than this nothing is tried again: it would be cut short, and tell of that instead of what is wrong.
const SHORTEST_TRY: Duration = Duration::from_millis(100);
/// Answers that are none of etcd's, in a row, before it is taken for something else.
const MAX_NONSENSE: u32 = 4;

pub(super) fn apply(call: &mut Call<'_>, changes: Vec<Result<Change, Reason>>) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(changes.len());
    let mut parsed = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            Ok(change) => {
                parsed.push(Some(change));
                outcomes.push(None);
            }
            Err(reason) => {
                parsed.push(None);
                outcomes.push(Some(Outcome::without_effect(Status::Refused, reason)));
            }
        }
    }
    let queue = (0..parsed.len()).filter(|i| parsed.get(*i).is_some_and(Option::is_some)).collect();
    let mut applier = Applier {
        changes: &parsed,
        outcomes,
        queue,
        begun: BTreeMap::new(),
        size: Size::default(),
        window: WINDOW,
        last: None,
        nonsense: 0,
        call,
    };
    applier.run();
    let Applier { outcomes, call, .. } = applier;
    call.log(
        LogLevel::Debug,
        &format!(
            "{}: {} changes, {} requests, {:?}",
            call.options.request_id,
            parsed.len(),
            call.requests,
            call.budget.elapsed()
        ),
    );
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| never_begun(None))).collect()
}

struct Applier<'a, 'c> {
    call: &'a mut Call<'c>,
    changes: &'a [Option<Change>],
    outcomes: Vec<Option<Outcome>>,
    /// What is to be done, in order.
    queue: VecDeque<usize>,
    /// Of which a part was written, perhaps: what they were to come to when that was begun.
    begun: BTreeMap<usize, Outcome>,
    size: Size,
    window: usize,
    /// Why the last attempt came to nothing.
    last: Option<Reason>,
    nonsense: u32,
}

/// What a transaction writes.
#[derive(Clone, Copy)]
enum Steps<'a> {
    /// All of these.
    Whole(&'a [(usize, &'a Step)]),
    /// A part of this one, which no transaction has room for.
    Part(usize, &'a Step),
}

impl<'a> Steps<'a> {
    /// Those that are done with it.
    fn whole(self) -> &'a [(usize, &'a Step)] {
        match self {
            Self::Whole(steps) => steps,
            Self::Part(..) => &[],
        }
    }
}

/// How a session ended that did not empty the queue.
enum Interrupted {
    /// Plan the rest from a new view.
    Again,
    /// Nothing more can be done; why.
    Stop(Reason),
}

impl Applier<'_, '_> {
    fn run(&mut self) {
        while !self.queue.is_empty() {
            if self.call.budget.is_over() {
                let reason = self.last.take();
                self.give_up(reason);
                return;
            }
            match self.session() {
                Ok(()) => {}
                Err(Interrupted::Again) => {}
                Err(Interrupted::Stop(reason)) => {
                    self.give_up(Some(reason));
                    return;
                }
            }
        }
    }

    /// What was not begun, or surely not written.
    fn give_up(&mut self, reason: Option<Reason>) {
        for item in std::mem::take(&mut self.queue) {
            self.settle(item, never_begun(reason.clone()));
        }
    }

    fn settle(&mut self, item: usize, outcome: Outcome) {
        let outcome = match self.begun.get(&item) {
            Some(first) => in_parts(first, outcome),
            None => outcome,
        };
        if let Some(slot) = self.outcomes.get_mut(item) {
            *slot = Some(outcome);
        }
    }

    /// Reads, plans and writes until the queue is empty or something comes between.
    fn session(&mut self) -> Result<(), Interrupted> {
        let layout = self.call.layout.clone();
        let mut draft = Draft::default();
        let mut session: Option<Session<'_>> = None;
        while !self.queue.is_empty() {
            let items: Vec<usize> = self.queue.iter().copied().take(self.window).collect();
            let plans = self.plan(&mut draft, &items)?;
            let mut steps: Vec<(usize, Box<Step>)> = Vec::new();
            for (item, plan) in items.iter().zip(plans) {
                match plan {
                    Plan::Settled(outcome) => self.settle(*item, outcome),
                    Plan::Write(step) if self.call.options.dry_run => self.settle(*item, step.outcome),
                    Plan::Write(step) => steps.push((*item, step)),
                    Plan::Incomplete => self.settle(*item, never_begun(None)),
                }
            }
            let writes: Vec<usize> = steps.iter().map(|(item, _)| *item).collect();
            self.queue.retain(|item| !items.contains(item) || writes.contains(item));
            if steps.is_empty() {
                continue;
            }
            let revision = draft.view().revision().unwrap_or_default();
            let session = session.get_or_insert_with(|| Session::new(&layout, revision));
            self.write(draft.view(), session, &steps)?;
        }
        Ok(())
    }

    /// Plans a window, reading what it needs.
    fn plan(&mut self, draft: &mut Draft, items: &[usize]) -> Result<Vec<Plan>, Interrupted> {
        let (mut silent, mut why, mut tries) = (BTreeSet::new(), None, 0);
        for _ in 0..MAX_ROUNDS {
            let checkpoint = draft.checkpoint();
            let mut unasked = BTreeSet::new();
            let mut planner = Planner {
                layout: &self.call.layout,
                config: &self.call.config,
                zones: &self.call.zones,
                draft,
                unasked: &mut unasked,
                is_begun: false,
            };
            let plans: Vec<Plan> = items
                .iter()
                .map(|item| match self.changes.get(*item) {
                    Some(Some(change)) => {
                        planner.is_begun = self.begun.contains_key(item);
                        planner.plan(change)
                    }
                    _ => Plan::Incomplete,
                })
                .collect();
            unasked.retain(|name| !silent.contains(name));
            if draft.missing() == 0 && unasked.is_empty() {
                // What is not whole is about a name whose zone nobody tells; the others are none the worse for it.
                let settled = |plan| match plan {
                    Plan::Incomplete => Plan::Settled(never_begun(why.clone())),
                    plan => plan,
                };
                return Ok(plans.into_iter().map(settled).collect());
            }
            draft.take_back(checkpoint);
            if !unasked.is_empty()
                && let Err(reason) = self.call.ask_zones(unasked.clone())
            {
                tries += 1;
                if tries < ZONE_TRIES {
                    self.pause(reason)?;
                } else {
                    silent.extend(unasked.into_iter().filter(|name| self.call.zones.of(name) == Lookup::NotAsked));
                    why = Some(reason);
                }
            }
            self.read(draft)?;
        }
        Err(Interrupted::Stop(Reason::new(
            Code::Other("tree-too-odd".to_owned()),
            "the backend holds so many keys of other programs that ours could not be found among them; keep them on another `path`",
        )))
    }

    /// Reads everything that the draft misses, at the draft's revision.
    fn read(&mut self, draft: &mut Draft) -> Result<(), Interrupted> {
        let missing = draft.take_missing();
        let mut chunk = self.size.operations.min(MAX_OPERATIONS);
        let mut rest = missing.as_slice();
        while !rest.is_empty() {
            let (ranges, later) = rest.split_at(chunk.min(rest.len()));
            self.call.requests += 1;
            let gateway = Gateway::new(self.call.ports.http());
            match gateway.read(ranges, draft.view().revision(), self.call.request_timeout()) {
                Ok((revision, found)) => {
                    self.nonsense = 0;
                    for (range, found) in ranges.iter().zip(found) {
                        draft.learn(revision, range, found);
                    }
                    rest = later;
                }
                Err(fault) if fault.kind == Kind::Compacted => return Err(Interrupted::Again),
                Err(fault) if matches!(fault.kind, Kind::TooMuch | Kind::TooLarge) && chunk > 1 => chunk /= 2,
                Err(fault) => self.retry(&fault)?,
            }
        }
        Ok(())
    }

    /// Waits before another try, where one may help.
    fn retry(&mut self, fault: &Fault) -> Result<(), Interrupted> {
        self.nonsense = if fault.kind == Kind::Nonsense { self.nonsense + 1 } else { 0 };
        if !fault.may_pass() || self.nonsense > MAX_NONSENSE {
            return Err(Interrupted::Stop(fault.reason()));
        }
        self.pause(fault.reason())
    }

    fn pause(&mut self, reason: Reason) -> Result<(), Interrupted> {
        let pause = self.call.backoff.next();
        self.pause_for(pause, reason)
    }

    fn pause_for(&mut self, pause: Duration, reason: Reason) -> Result<(), Interrupted> {
        self.call
            .log(LogLevel::Debug, &format!("{}: {reason}; trying again in {pause:?}", self.call.options.request_id));
        self.call.budget.sleep(pause);
        if self.call.budget.left() < SHORTEST_TRY {
            return Err(Interrupted::Stop(reason));
        }
        self.last = Some(reason);
        Ok(())
    }

    /// Writes the steps, as many as fit at a time.
    fn write(
        &mut self,
        view: &View,
        session: &mut Session<'_>,
        steps: &[(usize, Box<Step>)],
    ) -> Result<(), Interrupted> {
        let mut rest = steps;
        while let Some(((item, first), _)) = rest.split_first() {
            if session.is_blurred(first) {
                return Err(Interrupted::Again);
            }
            let clear: Vec<&Step> =
                rest.iter().map(|(_, step)| step.as_ref()).take_while(|step| !session.is_blurred(step)).collect();
            let fitting = session.fitting(&clear, self.size);
            if fitting == 0 && !first.guarded.is_empty() {
                // What is taken over is written at once or not at all: its keys are gone before its records are there.
                let reason = Reason::unsupported(
                    "taking this over needs more at once than this etcd takes (`--max-txn-ops`); adopt one type at a time",
                );
                self.settle(*item, Outcome::without_effect(Status::Refused, reason));
                self.queue.retain(|other| other != item);
                return Err(Interrupted::Again);
            }
            if fitting == 0 {
                for part in session.in_parts(first, self.size) {
                    let (transaction, zones) = session.part(view, first, &part);
                    self.commit(session, &transaction, &zones, Steps::Part(*item, first))?;
                }
                self.finish(&[(*item, first)]);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let (now, later) = rest.split_at(fitting.min(rest.len()));
            let together: Vec<(usize, &Step)> = now.iter().map(|(item, step)| (*item, step.as_ref())).collect();
            let (transaction, zones) = session.together(view, clear.get(..fitting).unwrap_or_default());
            self.commit(session, &transaction, &zones, Steps::Whole(&together))?;
            self.finish(&together);
            rest = later;
        }
        Ok(())
    }

    fn finish(&mut self, steps: &[(usize, &Step)]) {
        for (item, step) in steps {
            self.settle(*item, step.outcome.clone());
        }
        let done: Vec<usize> = steps.iter().map(|(item, _)| *item).collect();
        self.queue.retain(|item| !done.contains(item));
    }

    /// A part of it is written, perhaps.
    fn begin(&mut self, item: usize, step: &Step) {
        self.begun.entry(item).or_insert_with(|| step.outcome.clone());
    }

    /// Writes one transaction. Returns only when it is written.
    fn commit(
        &mut self,
        session: &mut Session<'_>,
        transaction: &Transaction,
        zones: &BTreeSet<Zone>,
        steps: Steps<'_>,
    ) -> Result<(), Interrupted> {
        loop {
            if self.call.budget.left() < SHORTEST_TRY {
                return Err(Interrupted::Stop(self.last.take().unwrap_or_else(too_late)));
            }
            self.call.requests += 1;
            let gateway = Gateway::new(self.call.ports.http());
            match gateway.write(transaction, self.call.request_timeout()) {
                Ok(Written::Committed(revision)) => {
                    // The others have had their turn.
                    self.window = (self.window * 2).min(WINDOW);
                    self.last = None;
                    session.committed(transaction, zones, revision);
                    if let Steps::Part(item, step) = steps {
                        self.begin(item, step);
                    }
                    return Ok(());
                }
                Ok(Written::Compared) => {
                    self.window = (self.window / 2).max(1);
                    let reason = Reason::new(Code::Contention, "other writers of the zone were faster; try again");
                    let pause = self.call.turns.next();
                    return self.pause_for(pause, reason).and(Err(Interrupted::Again));
                }
                Err(fault) if fault.may_be_done() => return Err(self.lost(transaction, steps, &fault)),
                Err(fault) if fault.kind == Kind::TooMuch => {
                    return match self.size.halved() {
                        Some(size) => {
                            self.size = size;
                            Err(Interrupted::Again)
                        }
                        None => Err(Interrupted::Stop(fault.reason())),
                    };
                }
                Err(fault) if fault.kind == Kind::Compacted => return Err(Interrupted::Again),
                Err(fault) => self.retry(&fault)?,
            }
        }
    }
}

/// The outcome of a change of which a part was written, perhaps, before it was planned once more: it is told as one change, and
/// where the rest was not written, nobody may take it for not made at all.
fn in_parts(first: &Outcome, last: Outcome) -> Outcome {
    match last.status {
        Status::Created | Status::Updated | Status::Deleted | Status::Unchanged => {
            let is_known = |problem: &Problem| first.problems.iter().any(|other| other.place == problem.place);
            let more = last.problems.iter().filter(|problem| !is_known(problem)).cloned();
            let problems = first.problems.iter().cloned().chain(more).collect();
            Outcome { status: first.status, before: first.before.clone(), problems, ..last }
        }
        Status::Unknown => Outcome { before: first.before.clone(), ..last },
        Status::Conflict | Status::Refused | Status::Failed => {
            let reason = last.reason.map(|Reason { code, message }| {
                let message =
                    format!("a part of this was written, perhaps, and then: {message}; call again to complete it");
                Reason { code, message }
            });
            Outcome { status: Status::Unknown, reason, before: first.before.clone(), ..last }
        }
    }
}

fn never_begun(reason: Option<Reason>) -> Outcome {
    Outcome::without_effect(Status::Failed, reason.unwrap_or_else(too_late))
}

fn too_late() -> Reason {
    Reason::new(
        Code::Deadline,
        "the budget of the call was used up before this was begun; call again, with fewer changes or more time",
    )
}
