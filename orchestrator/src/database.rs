//! Opening an embedded database, so that one whose making was cut short never stands in the way.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};

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

/// Whether a file has a beginning of zeros alone, or less than a whole one.
fn is_cut_short(mut file: &File) -> io::Result<bool> {
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head.len() < HEAD || head.iter().all(|octet| *octet == 0))
}

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
