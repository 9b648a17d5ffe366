//! The store as it is read: its keys, and those of past revisions.

use std::ops::ControlFlow;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::{
    Budget, COMPACTED, Entry, FIRST_REVISION, Fault, Found, KEYS, META, Query, REVISION, Range, VERSIONS, decode,
    number,
};

/// The store as a reader sees it.
pub type Snapshot =
    View<ReadOnlyTable<&'static [u8], &'static [u8]>, ReadOnlyTable<(&'static [u8], u64), &'static [u8]>>;

/// Keys and versions, in a transaction that reads or one that writes.
pub struct View<K, V> {
    /// The latest revision.
    pub revision: u64,
    pub(super) compacted: u64,
    pub(super) keys: K,
    pub(super) versions: V,
}

impl Snapshot {
    pub(super) fn of(transaction: &ReadTransaction) -> Result<Self, Fault> {
        let meta = transaction.open_table(META)?;
        Ok(View {
            revision: number(&meta, REVISION)?.unwrap_or(FIRST_REVISION),
            compacted: number(&meta, COMPACTED)?.unwrap_or_default(),
            keys: transaction.open_table(KEYS)?,
            versions: transaction.open_table(VERSIONS)?,
        })
    }
}

impl<K, V> View<K, V>
where
    K: ReadableTable<&'static [u8], &'static [u8]>,
    V: ReadableTable<(&'static [u8], u64), &'static [u8]>,
{
    /// Reads a range, and charges what it found.
    ///
    /// # Errors
    ///
    /// The revision cannot be read, the budget is too small, or the store cannot be read.
    pub fn range(&self, query: &Query, budget: &mut Budget) -> Result<Found, Fault> {
        self.check(query.revision)?;
        match u64::try_from(query.revision) {
            Ok(revision) if revision != 0 && revision < self.revision => self.past(query, revision, budget),
            // A negative revision is the latest, too.
            _ => self.present(query, budget),
        }
    }

    /// The current version of one key.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn at(&self, key: &[u8]) -> Result<Option<Entry>, Fault> {
        Ok(self.keys.get(key)?.map(|version| decode(key, version.value())).transpose()?)
    }

    pub(super) fn check(&self, revision: i64) -> Result<(), Fault> {
        match u64::try_from(revision) {
            Ok(revision) if revision > self.revision => Err(Fault::FutureRevision),
            Ok(revision) if revision != 0 && revision < self.compacted => Err(Fault::Compacted),
            _ => Ok(()),
        }
    }

    fn present(&self, query: &Query, budget: &mut Budget) -> Result<Found, Fault> {
        let mut found = Found::default();
        self.each(&query.range, |key, version| {
            found.take(query, key, version, budget)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Shows the keys of a range with their current versions, one after the other, for as long as they are wanted.
    pub(super) fn each(
        &self,
        range: &Range,
        mut see: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), Fault> {
        for entry in self.keys.range::<&[u8]>(range.start()..)? {
            let (key, version) = entry?;
            if !range.holds(key.value()) || see(key.value(), version.value())?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Of each key the last version up to `revision` counts.
    pub(super) fn past(&self, query: &Query, revision: u64, budget: &mut Budget) -> Result<Found, Fault> {
        let mut found = Found::default();
        let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
        for entry in self.versions.range::<(&[u8], u64)>((query.range.start(), 0)..)? {
            let (place, version) = entry?;
            let (key, changed_at) = place.value();
            if !query.range.holds(key) {
                break;
            }
            if changed_at > revision {
                continue;
            }
            if let Some((last_key, last_version)) = last.take_if(|(last_key, _)| last_key != key) {
                found.take(query, &last_key, &last_version, budget)?;
            }
            last = Some((key.to_vec(), version.value().to_vec()));
        }
        if let Some((key, version)) = last {
            found.take(query, &key, &version, budget)?;
        }
        Ok(found)
    }
}

impl Found {
    fn take(&mut self, query: &Query, key: &[u8], version: &[u8], budget: &mut Budget) -> Result<(), Fault> {
        if version.is_empty() {
            return Ok(());
        }
        self.count += 1;
        if query.limit == 0 || self.entries.len() < query.limit {
            budget.charge(key.len() + version.len())?;
            self.entries.push(decode(key, version)?);
        }
        Ok(())
    }
}
