//! An embedded database: opened so that one whose making was cut short never stands in the way, and opened again when the
//! disk has failed it.

use std::error::Error as StdError;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{
    Builder, CommitError, Database, DatabaseError, ReadTransaction, ReadableDatabase as _, StorageError, TableError,
    TransactionError, WriteTransaction,
};

/// redb writes the first of these octets, its magic number, when a new file is complete.
const HEAD: usize = 9;

/// Opens the database in a file, which is made when it is missing.
///
/// One whose making was cut short, by kill -9 or a power failure, was never written to: it is made anew.
///
/// # Errors
///
/// Another process holds it (`DatabaseAlreadyOpen`), or it cannot be used.
pub(crate) fn open(file: &Path) -> Result<Database, DatabaseError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file)?;
    // The lock that the database itself takes, on the same open file: nobody else looks at it meanwhile.
    match opened.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(DatabaseError::DatabaseAlreadyOpen),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    if is_cut_short(&opened)? {
        opened.set_len(0)?;
    }
    let database = Builder::new().create_with_backend(FileBackend::new(opened)?)?;
    #[cfg(unix)]
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        // The file's name is on the disk, too.
        File::open(directory)?.sync_all()?;
    }
    Ok(database)
}

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// A database that is opened again after the disk has failed it: a full one, say, that has room again.
///
/// redb refuses everything after such a failure, for what it holds in memory may not be what is in the file.
pub(crate) struct Reopening {
    open: Open,
    opened: RwLock<Option<Database>>,
    /// It failed somebody.
    is_suspect: AtomicBool,
}

impl Reopening {
    /// Opens it with `open`, now and whenever it must be opened again.
    pub(crate) fn new(
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, DatabaseError> {
        let opened = RwLock::new(Some(open()?));
        Ok(Self { open: Box::new(open), opened, is_suspect: AtomicBool::new(false) })
    }

    /// Reads; once more if the disk had failed the database before.
    pub(crate) fn reading<T, E: MayBeOfDisk>(&self, read: impl Fn(&ReadTransaction) -> Result<T, E>) -> Result<T, E> {
        let once = || read(&self.begin(|database| Ok(database.begin_read()?))?);
        match once() {
            Err(error) if error.is_of_disk() => {
                self.suspect();
                once()
            }
            read => read,
        }
    }

    /// Carries out a transaction; what it wrote is on the disk when it says that it has written.
    ///
    /// Never done twice: when the disk fails, it may have been done.
    pub(crate) fn writing<T, E>(&self, write: impl FnOnce(&WriteTransaction) -> Result<(T, Wrote), E>) -> Result<T, E>
    where
        E: MayBeOfDisk + From<CommitError> + From<StorageError>,
    {
        let once = || -> Result<T, E> {
            let transaction = self.begin(|database| Ok(database.begin_write()?))?;
            let (result, wrote) = write(&transaction)?;
            match wrote {
                Wrote::Something => transaction.commit()?,
                Wrote::Nothing => transaction.abort()?,
            }
            Ok(result)
        };
        let result = once();
        if result.as_ref().is_err_and(E::is_of_disk) {
            self.suspect();
        }
        result
    }

    /// Has it opened again before it is used next.
    fn suspect(&self) {
        self.is_suspect.store(true, Ordering::Release);
    }

    /// Nothing of a transaction is done when it begins, so that it can begin again.
    fn begin<T>(&self, begin: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        let is_dead = |error: &redb::Error| matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo);
        if !self.is_suspect.load(Ordering::Acquire)
            && let Some(database) = &*self.opened.read().unwrap_or_else(PoisonError::into_inner)
        {
            match begin(database) {
                Err(error) if is_dead(&error) => {}
                begun => return begun,
            }
        }
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have done it meanwhile.
        if !self.is_suspect.swap(false, Ordering::AcqRel)
            && let Some(database) = &*opened
        {
            match begin(database) {
                Err(error) if is_dead(&error) => {}
                begun => return begun,
            }
        }
        // First gone: its lock is on the file.
        *opened = None;
        let database = (self.open)()?;
        tracing::warn!("an embedded database was opened again, after the disk had failed it");
        begin(opened.insert(database))
    }
}

/// Whether a transaction has changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// It is to be kept.
    Something,
    /// There is nothing to keep.
    Nothing,
}

/// An error of somebody who works with a database.
pub(crate) trait MayBeOfDisk: From<redb::Error> {
    /// Whether the disk failed, now or before: what is read again from it may be good.
    fn is_of_disk(&self) -> bool;
}

impl MayBeOfDisk for Box<dyn StdError + Send + Sync> {
    fn is_of_disk(&self) -> bool {
        if let Some(error) = self.downcast_ref() {
            return matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo);
        }
        // Each call of redb has an error of its own.
        let storage = match (self.downcast_ref(), self.downcast_ref(), self.downcast_ref()) {
            (Some(TransactionError::Storage(storage)), _, _)
            | (_, Some(TableError::Storage(storage)), _)
            | (_, _, Some(CommitError::Storage(storage))) => Some(storage),
            _ => self.downcast_ref(),
        };
        matches!(storage, Some(StorageError::Io(_) | StorageError::PreviousIo))
    }
}

impl fmt::Debug for Reopening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reopening").field("is_suspect", &self.is_suspect).finish_non_exhaustive()
    }
}

/// Whether a file has a beginning of zeros alone, or less than a whole one.
fn is_cut_short(mut file: &File) -> io::Result<bool> {
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head.len() < HEAD || head.iter().all(|octet| *octet == 0))
}

#[cfg(test)]
pub(crate) mod disk;

#[cfg(test)]
mod tests {
    use std::fs;

    use redb::{ReadableDatabase, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("table");

    #[test]
    fn what_is_written_is_there_when_it_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("some.redb");
        let database = open(&file).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TABLE).unwrap().insert(1, 2).unwrap();
        transaction.commit().unwrap();
        drop(database);

        let table = open(&file).unwrap().begin_read().unwrap().open_table(TABLE).unwrap();
        assert_eq!(table.get(1).unwrap().unwrap().value(), 2);
        let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["some.redb"], "and nothing else is left");
    }

    #[test]
    fn a_making_that_was_cut_short_does_not_stand_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("some.redb");
        // As redb leaves it before it writes its magic number.
        for cut_short in [vec![], vec![0], vec![0; 4096], vec![0; 1_056_768]] {
            fs::write(&file, &cut_short).unwrap();
            drop(open(&file).unwrap());
            drop(open(&file).unwrap());
        }
    }

    #[test]
    fn what_is_no_database_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("some.redb");
        fs::write(&file, "something that somebody wants to keep").unwrap();

        assert!(open(&file).is_err());

        assert_eq!(fs::read_to_string(&file).unwrap(), "something that somebody wants to keep");
    }

    #[test]
    fn of_many_that_make_it_at_once_each_gets_it_or_finds_it_held() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("some.redb");
        let opened = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&file))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });

        let holders = opened.iter().filter(|opened| opened.is_ok()).count();
        let held = opened.iter().filter(|opened| matches!(opened, Err(DatabaseError::DatabaseAlreadyOpen))).count();
        assert_eq!((holders, held), (1, 7));
    }
}
