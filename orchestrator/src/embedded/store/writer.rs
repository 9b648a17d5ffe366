//! The store as it is written, one transaction at a time.

use redb::{ReadableTable, Table, WriteTransaction};

use super::{CHANGES, COMPACTED, Entry, FIRST_REVISION, Fault, KEYS, META, REVISION, VERSIONS, View, encode, number};

type Keys<'t> = Table<'t, &'static [u8], &'static [u8]>;
type Versions<'t> = Table<'t, (&'static [u8], u64), &'static [u8]>;

/// The tables of one writing transaction.
pub(super) struct Writer<'t> {
    pub(super) view: View<Keys<'t>, Versions<'t>>,
    changes: Table<'t, (u64, &'static [u8]), ()>,
    meta: Table<'t, &'static str, u64>,
    /// What changes get.
    next: u64,
    pub(super) is_changed: bool,
}

impl<'t> Writer<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        let meta = transaction.open_table(META)?;
        let revision = number(&meta, REVISION)?.unwrap_or(FIRST_REVISION);
        let view = View {
            revision,
            compacted: number(&meta, COMPACTED)?.unwrap_or_default(),
            keys: transaction.open_table(KEYS)?,
            versions: transaction.open_table(VERSIONS)?,
        };
        let changes = transaction.open_table(CHANGES)?;
        Ok(Self { view, changes, meta, next: revision + 1, is_changed: false })
    }

    /// The revision that an answer bears.
    pub(super) fn revision(&self) -> u64 {
        if self.is_changed { self.next } else { self.view.revision }
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let before = self.view.at(key)?;
        let entry = Entry {
            key: key.to_vec(),
            value: value.to_vec(),
            create_revision: before.as_ref().map_or(self.next, |entry| entry.create_revision),
            mod_revision: self.next,
            version: before.map_or(1, |entry| entry.version + 1),
        };
        let version = encode(&entry);
        self.view.keys.insert(key, version.as_slice())?;
        self.change(key, &version)
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.view.keys.remove(key)?;
        self.change(key, &[])
    }

    fn change(&mut self, key: &[u8], version: &[u8]) -> Result<(), Fault> {
        self.view.versions.insert((key, self.next), version)?;
        self.changes.insert((self.next, key), ())?;
        self.is_changed = true;
        Ok(())
    }

    /// Keeps the new revision, and forgets those that are `kept` behind it.
    pub(super) fn finish(mut self, kept: u64) -> Result<(), Fault> {
        self.meta.insert(REVISION, self.next)?;
        let compacted = self.next.saturating_sub(kept);
        if compacted > self.view.compacted {
            self.compact(compacted)?;
            self.meta.insert(COMPACTED, compacted)?;
        }
        Ok(())
    }

    /// Removes what no revision from `compacted` on shows: what its successor is not newer than it, and deletions.
    fn compact(&mut self, compacted: u64) -> Result<(), Fault> {
        let mut passed = Vec::new();
        for entry in self.changes.range::<(u64, &[u8])>(..(compacted + 1, [].as_slice()))? {
            let place = entry?.0;
            let (revision, key) = place.value();
            passed.push((revision, key.to_vec()));
        }
        for (revision, key) in passed {
            let key = key.as_slice();
            let mut older = Vec::new();
            for entry in self.view.versions.range::<(&[u8], u64)>((key, 0)..(key, revision))? {
                older.push(entry?.0.value().1);
            }
            for old in older {
                self.view.versions.remove((key, old))?;
            }
            let is_deletion =
                self.view.versions.get((key, revision))?.is_some_and(|version| version.value().is_empty());
            if is_deletion {
                self.view.versions.remove((key, revision))?;
            }
            self.changes.remove((revision, key))?;
        }
        Ok(())
    }
}
