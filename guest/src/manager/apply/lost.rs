//! Transactions whose answers are lost: what became of them, and of the changes in them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Applier, Interrupted, Steps};
use crate::{
    change::{Outcome, Status},
    etcd::{Gateway, MAX_OPERATIONS, Range, Transaction, Written, fault::Fault, message::Compare},
    plan::Step,
    ports::LogLevel,
    reason::Reason,
    view::Draft,
};

/// What became of a transaction whose answer was lost.
enum Settled {
    Committed,
    /// It was not done, or its traces are gone: these of its steps have their keys nevertheless.
    Partly(Vec<bool>),
    Unknown(Reason),
}

impl Applier<'_, '_> {
    /// Settles a transaction whose answer was lost, and the changes in it; how the session goes on.
    pub(super) fn lost(&mut self, transaction: &Transaction, steps: Steps<'_>, fault: &Fault) -> Interrupted {
        let settled = self.settle_lost(transaction, steps.whole(), fault);
        // The rest of it is planned anew; as it is found, it tells nothing of how it was.
        if let Steps::Part(item, step) = steps {
            self.begin(item, step);
        }
        match settled {
            Settled::Committed => {
                self.finish(steps.whole());
                Interrupted::Again
            }
            Settled::Partly(done) => {
                let written: Vec<(usize, &Step)> =
                    steps.whole().iter().zip(done).filter(|(_, done)| *done).map(|(step, _)| *step).collect();
                self.finish(&written);
                Interrupted::Again
            }
            Settled::Unknown(reason) => {
                for (item, step) in steps.whole() {
                    let outcome = step.outcome.clone();
                    self.settle(*item, Outcome { status: Status::Unknown, reason: Some(reason.clone()), ..outcome });
                }
                let unknown: Vec<usize> = steps.whole().iter().map(|(item, _)| *item).collect();
                self.queue.retain(|item| !unknown.contains(item));
                // What was not sent is not in doubt.
                Interrupted::Stop(fault.reason())
            }
        }
    }

    /// Finds out what became of a transaction whose answer was lost.
    ///
    /// While all keys are at the revisions that it expects (the epochs, what it takes over) it may still be done: sending it again
    /// decides, because only one of the two can find them so. When one has moved, be it an epoch that is only read, it can no
    /// longer be done, and its keys tell whether it was.
    fn settle_lost(&mut self, transaction: &Transaction, steps: &[(usize, &Step)], fault: &Fault) -> Settled {
        let mut last = fault.clone();
        let mut is_stopped = false;
        loop {
            let pause = self.call.backoff.next();
            self.call.log(
                LogLevel::Warn,
                &format!("{}: {}; looking what became of it", self.call.options.request_id, last.message),
            );
            self.call.budget.sleep(pause);
            if self.call.budget.is_over() {
                return Settled::Unknown(Reason::new(
                    fault.reason().code,
                    format!("it is not known whether this was written: {}; and then: {}", fault.message, last.message),
                ));
            }
            match self.look(transaction) {
                Err(fault) => {
                    last = fault;
                    continue;
                }
                Ok(view) => {
                    let still = transaction.compares.iter().all(|compare| match compare {
                        Compare::PutAt(key, revision) => view.view().put_at(key) == *revision,
                        Compare::NotPutAfter(..) => true,
                    });
                    if !still {
                        return self.traces(view, transaction, steps);
                    }
                    if is_stopped {
                        // Something else than another writer of ours came in between; done, it would have moved an epoch.
                        return Settled::Partly(vec![false; steps.len()]);
                    }
                }
            }
            self.call.requests += 1;
            let gateway = Gateway::new(self.call.ports.http());
            match gateway.write(transaction, self.call.request_timeout()) {
                Ok(Written::Committed(_)) => return Settled::Committed,
                Ok(Written::Compared) => is_stopped = true,
                Err(fault) => last = fault,
            }
        }
    }

    /// Reads the epochs and all keys of a transaction as they are now.
    fn look(&mut self, transaction: &Transaction) -> Result<Draft, Fault> {
        let epochs = transaction.compares.iter().filter_map(|compare| match compare {
            Compare::PutAt(key, _) => Some(key),
            Compare::NotPutAfter(..) => None,
        });
        let keys = transaction.puts.iter().map(|(key, _)| key).chain(&transaction.deletes);
        let ranges: Vec<Range> = epochs.chain(keys).map(|key| Range::key(key)).collect();
        let mut draft = Draft::default();
        for ranges in ranges.chunks(self.size.operations.min(MAX_OPERATIONS)) {
            self.call.requests += 1;
            let gateway = Gateway::new(self.call.ports.http());
            let (revision, found) = gateway.read(ranges, draft.view().revision(), self.call.request_timeout())?;
            for (range, found) in ranges.iter().zip(found) {
                draft.learn(revision, range, found);
            }
        }
        Ok(draft)
    }

    fn traces(&self, mut now: Draft, transaction: &Transaction, steps: &[(usize, &Step)]) -> Settled {
        let mut is = |key: &str, value: Option<&str>| now.get(key).as_deref() == value.map(str::as_bytes);
        let all = transaction.puts.iter().all(|(key, value)| is(key, Some(value)))
            && transaction.deletes.iter().all(|key| is(key, None));
        if all {
            return Settled::Committed;
        }
        // What the transaction leaves: a later step may write a key of an earlier one, which then is done if all of it is there, and
        // what follows a step that is not done at the same keys is done after it.
        let left: BTreeMap<&str, Option<&str>> = transaction
            .puts
            .iter()
            .map(|(key, value)| (key.as_str(), Some(value.as_str())))
            .chain(transaction.deletes.iter().map(|key| (key.as_str(), None)))
            .collect();
        let mut open: BTreeSet<&str> = BTreeSet::new();
        let done = steps.iter().map(|(_, step)| {
            let own = |key: &&str| step.own.is_empty() || step.own.contains(*key);
            let keys: Vec<&str> = step.operations.keys().map(String::as_str).filter(own).collect();
            let is_done = keys.iter().all(|key| !open.contains(key) && is(key, left.get(key).copied().flatten()));
            if !is_done {
                open.extend(keys);
            }
            is_done
        });
        Settled::Partly(done.collect())
    }
}
