//! Keys and values with their history, as etcd keeps them, in one crash-safe file.
//!
//! Every transaction that changes something raises the revision of the whole store by one, and is on the disk before it is
//! acknowledged. The last revisions stay readable; older ones are compacted away as new ones come. [`transaction`] says
//! what a transaction is and carries it out. What one request reads is bounded, and so is what the file grows to.

pub mod transaction;
mod view;
mod writer;

use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableTable, TableDefinition};

use crate::database::{self, MayBeOfDisk, Reopening, Wrote};

pub use transaction::{Answer, Compare, Done, Operand, Operation, Operator, Transaction};
pub use view::{Snapshot, View};
use writer::Writer;

/// How many revisions back the store can be read.
pub const KEPT_REVISIONS: u64 = 10_000;
/// Octets of keys and values that the answer to one request may have, all its ranges together.
pub const ANSWER_OCTETS: usize = 16 << 20;
/// etcd's default quota: nothing is put into a larger file.
const QUOTA: u64 = 2 << 30;

const FILE: &str = "records.redb";
/// The revision of a store that was never written, as etcd has it.
const FIRST_REVISION: u64 = 1;

/// `revision` and `compacted`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Key -> its current version.
const KEYS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("keys");
/// Key and revision -> the version that this revision put; nothing if it deleted the key.
const VERSIONS: TableDefinition<'_, (&[u8], u64), &[u8]> = TableDefinition::new("versions");
/// Revision and key that it changed.
const CHANGES: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("changes");

const REVISION: &str = "revision";
const COMPACTED: &str = "compacted";

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The store of one directory, held by this process alone.
pub struct Store {
    database: Reopening,
    file: PathBuf,
    kept: u64,
    quota: u64,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision that made the key.
    pub create_revision: u64,
    /// The revision that put this value.
    pub mod_revision: u64,
    /// How many times it was put since it was made.
    pub version: u64,
}

/// Which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// This one.
    Key(Vec<u8>),
    /// From the first up to, not with, the second.
    Between(Vec<u8>, Vec<u8>),
    /// This one and all behind it.
    From(Vec<u8>),
}

/// What is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The keys.
    pub range: Range,
    /// As of this revision; 0: the latest.
    pub revision: i64,
    /// At most so many; 0: all.
    pub limit: usize,
}

/// What a query found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of the keys.
    pub entries: Vec<Entry>,
    /// All keys of the range, those behind the limit, too.
    pub count: usize,
}

/// How many octets of keys and values may still be read.
#[derive(Debug)]
pub struct Budget(usize);

impl Budget {
    /// So many.
    pub fn new(octets: usize) -> Self {
        Self(octets)
    }

    fn charge(&mut self, octets: usize) -> Result<(), Fault> {
        self.0 = self.0.checked_sub(octets).ok_or(Fault::TooLarge)?;
        Ok(())
    }
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The revision is no longer kept.
    #[error("required revision has been compacted")]
    Compacted,
    /// The revision is yet to come.
    #[error("required revision is a future revision")]
    FutureRevision,
    /// The key whose value was to be kept is not there.
    #[error("key not found")]
    KeyNotFound,
    /// There are no leases.
    #[error("requested lease not found")]
    LeaseNotFound,
    /// The answer would be larger than it may be.
    #[error("the answer is too large")]
    TooLarge,
    /// The file has reached its quota.
    #[error("database space exceeded")]
    NoSpace,
    /// The disk, or what is on it. What was to be written may have been.
    #[error("the embedded store cannot be used")]
    Storage(#[source] Source),
}

impl MayBeOfDisk for Fault {
    fn is_of_disk(&self) -> bool {
        match self {
            Self::Storage(why) => why.is_of_disk(),
            Self::Compacted
            | Self::FutureRevision
            | Self::KeyNotFound
            | Self::LeaseNotFound
            | Self::TooLarge
            | Self::NoSpace => false,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Storage(Box::new(error.into()))
    }
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error("the embedded store in {} is held by another dns-manager process", .0.display())]
    Held(PathBuf),
    /// It cannot be used.
    #[error("the embedded store in {} cannot be opened", directory.display())]
    Unusable {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: Source,
    },
}

impl Store {
    /// Opens the store in `directory`; both are made when they are missing.
    ///
    /// # Errors
    ///
    /// Another process holds it, or it cannot be used.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_keeping(directory, KEPT_REVISIONS)
    }

    /// The same, with another number of revisions that stay readable.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_keeping(directory: &Path, kept: u64) -> Result<Self, OpenError> {
        let unusable = |source: Source| OpenError::Unusable { directory: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(|error| unusable(error.into()))?;
        let file = directory.join(FILE);
        let opened = file.clone();
        let database = match Reopening::new(move || opened_with_room(&opened, QUOTA)) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(OpenError::Held(directory.to_owned())),
            Err(error) => return Err(unusable(error.into())),
        };
        Self::on(database, file, kept).map_err(|fault| unusable(fault.into()))
    }

    fn on(database: Reopening, file: PathBuf, kept: u64) -> Result<Self, Fault> {
        let store = Self { database, file, kept, quota: QUOTA };
        store.make_tables()?;
        Ok(store)
    }

    fn reading<T>(&self, read: impl Fn(&Snapshot) -> Result<T, Fault>) -> Result<T, Fault> {
        self.database.reading(|transaction| read(&Snapshot::of(transaction)?))
    }

    /// Reads; the revision of the store comes with it.
    ///
    /// # Errors
    ///
    /// The revision cannot be read, there is too much of it for one answer, or the store cannot be read.
    pub fn range(&self, query: &Query) -> Result<(u64, Found), Fault> {
        self.reading(|snapshot| Ok((snapshot.revision, snapshot.range(query, &mut Budget::new(ANSWER_OCTETS))?)))
    }

    fn is_full(&self) -> bool {
        size_of_file(&self.file) > self.quota
    }

    /// The store as it is now, and stays for who holds this.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, Fault> {
        self.database.reading(Snapshot::of)
    }

    /// Reading a table that nobody has made yet is an error.
    fn make_tables(&self) -> Result<(), Fault> {
        self.database.writing(|transaction| {
            transaction.open_table(META)?;
            transaction.open_table(KEYS)?;
            transaction.open_table(VERSIONS)?;
            transaction.open_table(CHANGES)?;
            Ok(((), Wrote::Something))
        })
    }
}

/// Opens the database. One that has reached its quota is made as small as what is in it: a file does not shrink by
/// itself.
fn opened_with_room(file: &Path, quota: u64) -> Result<Database, DatabaseError> {
    let mut database = database::open(file)?;
    if size_of_file(file) > quota
        && let Err(error) = database.compact()
    {
        tracing::warn!(%error, "the embedded store has reached its quota, and cannot be made smaller");
    }
    Ok(database)
}

/// 0 if nobody can tell: whether it can be written to is then found out by writing.
fn size_of_file(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

impl Range {
    /// The first key that it can hold.
    pub fn start(&self) -> &[u8] {
        match self {
            Self::Key(start) | Self::Between(start, _) | Self::From(start) => start,
        }
    }

    /// Whether it holds this key.
    pub fn covers(&self, key: &[u8]) -> bool {
        key >= self.start() && self.holds(key)
    }

    /// Whether it holds this key, which is not before its start.
    fn holds(&self, key: &[u8]) -> bool {
        match self {
            Self::Key(only) => key == only,
            Self::Between(_, end) => key < end.as_slice(),
            Self::From(_) => true,
        }
    }

    /// All keys that begin with `prefix`, which is not empty and does not end in 0xff.
    pub fn below(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        Self::Between(prefix.to_vec(), end)
    }
}

fn number(meta: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<Option<u64>, Fault> {
    Ok(meta.get(name)?.map(|value| value.value()))
}

/// Three numbers of eight octets, then the value.
fn encode(entry: &Entry) -> Vec<u8> {
    let numbers = [entry.create_revision, entry.mod_revision, entry.version];
    let mut version: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
    version.extend_from_slice(&entry.value);
    version
}

fn decode(key: &[u8], version: &[u8]) -> Result<Entry, redb::StorageError> {
    fn split(octets: &[u8]) -> Option<(u64, &[u8])> {
        let (number, rest) = octets.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*number), rest))
    }
    let read = || {
        let (create_revision, rest) = split(version)?;
        let (mod_revision, rest) = split(rest)?;
        let (version, value) = split(rest)?;
        Some(Entry { key: key.to_vec(), value: value.to_vec(), create_revision, mod_revision, version })
    };
    read().ok_or_else(|| redb::StorageError::Corrupted("a version is cut short".to_owned()))
}

#[cfg(test)]
mod tests;
