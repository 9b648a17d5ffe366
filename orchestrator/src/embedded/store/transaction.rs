//! Transactions: comparisons, what is done when all of them hold, and what is done otherwise.

use std::cmp::Ordering;

use redb::ReadableTable;

use super::{Entry, Fault, Found, Query, Range, Store, View, Writer};
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
    /// A revision that is to be read is not kept, a key that must be there is not, or the disk fails.
    pub fn transact(&self, transaction: &Transaction) -> Result<Done, Fault> {
        if transaction.reads_only() { self.consult(transaction) } else { self.change(transaction) }
    }

    fn consult(&self, transaction: &Transaction) -> Result<Done, Fault> {
        self.reading(|view| {
            let succeeded = view.holds(&transaction.compares)?;
            let mut results = Vec::new();
            for operation in transaction.chosen(succeeded) {
                if let Operation::Range(query) = operation {
                    results.push((view.revision, Answer::Range(view.range(query)?)));
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
            let mut results = Vec::new();
            for operation in operations {
                let result = writer.carry_out(operation)?;
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

    fn carry_out(&mut self, operation: &Operation) -> Result<Answer, Fault> {
        match operation {
            Operation::Range(query) => Ok(Answer::Range(match u64::try_from(query.revision) {
                // What this transaction has changed is no part of a revision before it.
                Ok(revision) if revision != 0 && self.is_changed => self.view.past(query, revision)?,
                _ => self.view.range(query)?,
            })),
            Operation::Put { key, value, wants_previous, .. } => {
                let before = self.view.at(key)?;
                let kept = before.as_ref().map(|entry| entry.value.as_slice());
                let value = value.as_deref().or(kept).unwrap_or_default();
                self.put(key, value)?;
                Ok(Answer::Put(before.filter(|_| *wants_previous)))
            }
            Operation::Delete { range, wants_previous } => {
                let query = Query { range: range.clone(), revision: 0, limit: 0 };
                let entries = self.view.range(&query)?.entries;
                for entry in &entries {
                    self.delete(&entry.key)?;
                }
                Ok(Answer::Delete(entries.len(), if *wants_previous { entries } else { Vec::new() }))
            }
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
            let query = Query { range: compare.range.clone(), revision: 0, limit: 0 };
            let entries = self.range(&query)?.entries;
            let holds = if entries.is_empty() {
                compare.holds(None)
            } else {
                entries.iter().all(|entry| compare.holds(Some(entry)))
            };
            if !holds {
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
