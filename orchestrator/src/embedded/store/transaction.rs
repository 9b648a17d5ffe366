//! Transactions: comparisons, what is done when all of them hold, and what is done otherwise.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use redb::ReadableTable;

use super::{ANSWER_OCTETS, Budget, Entry, Fault, Found, Query, Range, Store, View, Writer, decode};
use crate::database::Wrote;

/// A guarded group of operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// What is done then.
    pub success: Vec<Operation>,
    /// What is done otherwise.
    pub failure: Vec<Operation>,
}

/// Something that must hold of every key of a range; of one that is not there, if the range is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The keys.
    pub range: Range,
    /// How what is stored relates to the operand.
    pub operator: Operator,
    /// What is compared, and with what.
    pub operand: Operand,
}

/// A relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// The same.
    Equal,
    /// What is stored is greater.
    Greater,
    /// What is stored is less.
    Less,
    /// Not the same.
    NotEqual,
}

/// What of a key is compared, and with what. A key that is not there has zeroes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// How many times it was put.
    Version(i64),
    /// The revision that made it.
    CreateRevision(i64),
    /// The revision of its value.
    ModRevision(i64),
    /// Its value; never true of a key that is not there.
    Value(Vec<u8>),
    /// Its lease, of which there is none here.
    Lease(i64),
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads.
    Range(Query),
    /// Writes one key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its new value; none: the one that it has.
        value: Option<Vec<u8>>,
        /// Whether it must be there already.
        must_exist: bool,
        /// The lease to attach it to; 0: none. There are no leases.
        lease: i64,
        /// Whether what was there is answered.
        wants_previous: bool,
    },
    /// Deletes keys.
    Delete {
        /// Which.
        range: Range,
        /// Whether what was there is answered.
        wants_previous: bool,
    },
}

/// What one operation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What was read.
    Range(Found),
    /// What was there before, if that was asked.
    Put(Option<Entry>),
    /// How many keys were deleted, and which, if that was asked.
    Delete(usize, Vec<Entry>),
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The revision afterwards.
    pub revision: u64,
    /// Whether all comparisons held.
    pub succeeded: bool,
    /// What each operation answers, and the revision at that point.
    pub results: Vec<(u64, Answer)>,
}

impl Transaction {
    fn reads_only(&self) -> bool {
        self.success.iter().chain(&self.failure).all(|operation| matches!(operation, Operation::Range(_)))
    }

    fn chosen(&self, succeeded: bool) -> &[Operation] {
        if succeeded { &self.success } else { &self.failure }
    }
}

impl Store {
    /// Carries out all of a branch, or nothing. What it changed is on the disk afterwards.
    ///
    /// # Errors
    ///
    /// A revision that is to be read is not kept, a key that must be there is not, there is too much for one answer or
    /// no room left to put anything, or the disk fails.
    pub fn transact(&self, transaction: &Transaction) -> Result<Done, Fault> {
        if transaction.reads_only() { self.consult(transaction) } else { self.change(transaction) }
    }

    fn consult(&self, transaction: &Transaction) -> Result<Done, Fault> {
        self.reading(|view| {
            let succeeded = view.holds(&transaction.compares)?;
            let (mut results, mut budget) = (Vec::new(), Budget::new(ANSWER_OCTETS));
            for operation in transaction.chosen(succeeded) {
                if let Operation::Range(query) = operation {
                    results.push((view.revision, Answer::Range(view.range(query, &mut budget)?)));
                }
            }
            Ok(Done { revision: view.revision, succeeded, results })
        })
    }

    fn change(&self, transaction: &Transaction) -> Result<Done, Fault> {
        self.database.writing(|written| {
            let mut writer = Writer::new(written)?;
            let succeeded = writer.view.holds(&transaction.compares)?;
            let operations = transaction.chosen(succeeded);
            writer.check(operations)?;
            if operations.iter().any(|operation| matches!(operation, Operation::Put { .. })) && self.is_full() {
                return Err(Fault::NoSpace);
            }
            let (mut results, mut budget) = (Vec::new(), Budget::new(ANSWER_OCTETS));
            for operation in operations {
                let result = writer.carry_out(operation, &mut budget)?;
                results.push((writer.revision(), result));
            }
            let done = Done { revision: writer.revision(), succeeded, results };
            if !writer.is_changed {
                return Ok((done, Wrote::Nothing));
            }
            writer.finish(self.kept)?;
            Ok((done, Wrote::Something))
        })
    }
}

impl Writer<'_> {
    /// Everything that can be refused is refused before anything is changed.
    fn check(&self, operations: &[Operation]) -> Result<(), Fault> {
        for operation in operations {
            match operation {
                Operation::Range(query) => self.view.check(query.revision)?,
                Operation::Put { lease, .. } if *lease != 0 => return Err(Fault::LeaseNotFound),
                Operation::Put { key, must_exist: true, .. } if self.view.at(key)?.is_none() => {
                    return Err(Fault::KeyNotFound);
                }
                Operation::Put { .. } | Operation::Delete { .. } => {}
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, operation: &Operation, budget: &mut Budget) -> Result<Answer, Fault> {
        match operation {
            Operation::Range(query) => Ok(Answer::Range(match u64::try_from(query.revision) {
                // What this transaction has changed is no part of a revision before it.
                Ok(revision) if revision != 0 && self.is_changed => self.view.past(query, revision, budget)?,
                _ => self.view.range(query, budget)?,
            })),
            Operation::Put { key, value, wants_previous, .. } => {
                let before = self.view.at(key)?;
                let kept = before.as_ref().map(|entry| entry.value.as_slice());
                let value = value.as_deref().or(kept).unwrap_or_default();
                self.put(key, value)?;
                let answered = before.filter(|_| *wants_previous);
                if let Some(entry) = &answered {
                    budget.charge(entry.key.len() + entry.value.len())?;
                }
                Ok(Answer::Put(answered))
            }
            Operation::Delete { range, wants_previous } => {
                let query = Query { range: range.clone(), revision: 0, limit: 0 };
                let entries = if *wants_previous { self.view.range(&query, budget)?.entries } else { Vec::new() };
                Ok(Answer::Delete(self.delete_all(range)?, entries))
            }
        }
    }

    /// One by one, for a range may be the whole store. How many there were.
    fn delete_all(&mut self, range: &Range) -> Result<usize, Fault> {
        let mut deleted = 0;
        loop {
            let mut first = None;
            self.view.each(range, |key, _| {
                first = Some(key.to_vec());
                Ok(ControlFlow::Break(()))
            })?;
            let Some(key) = first else { return Ok(deleted) };
            self.delete(&key)?;
            deleted += 1;
        }
    }
}

impl<K, V> View<K, V>
where
    K: ReadableTable<&'static [u8], &'static [u8]>,
    V: ReadableTable<(&'static [u8], u64), &'static [u8]>,
{
    fn holds(&self, compares: &[Compare]) -> Result<bool, Fault> {
        for compare in compares {
            let mut holds = None;
            self.each(&compare.range, |key, version| {
                let holds = *holds.insert(compare.holds(Some(&decode(key, version)?)));
                Ok(if holds { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            if !holds.unwrap_or_else(|| compare.holds(None)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Compare {
    fn holds(&self, entry: Option<&Entry>) -> bool {
        let number = |stored: fn(&Entry) -> u64, operand: i64| {
            // What is stored is never negative.
            let stored = entry.map_or(0, stored);
            u64::try_from(operand).map_or(Ordering::Greater, |operand| stored.cmp(&operand))
        };
        let ordering = match (&self.operand, entry) {
            (Operand::Version(operand), _) => number(|entry| entry.version, *operand),
            (Operand::CreateRevision(operand), _) => number(|entry| entry.create_revision, *operand),
            (Operand::ModRevision(operand), _) => number(|entry| entry.mod_revision, *operand),
            (Operand::Lease(operand), _) => 0.cmp(operand),
            (Operand::Value(operand), Some(entry)) => entry.value.cmp(operand),
            (Operand::Value(_), None) => return false,
        };
        match self.operator {
            Operator::Equal => ordering.is_eq(),
            Operator::Greater => ordering.is_gt(),
            Operator::Less => ordering.is_lt(),
            Operator::NotEqual => ordering.is_ne(),
        }
    }
}
