//! Opening an embedded database, so that one whose making was cut short never stands in the way.

use std::fs;
use std::io;
use std::path::Path;

use redb::{Database, DatabaseError};
use uuid::Uuid;

/// Opens the database in a file, which is made when it is missing.
///
/// A database whose making was cut short, by kill -9 or a power failure, can never be opened. So a new one gets its name when it is
/// complete.
///
/// # Errors
///
/// Another process holds it (`DatabaseAlreadyOpen`), or it cannot be used.
pub(crate) fn open(file: &Path) -> Result<Database, DatabaseError> {
    if !file.try_exists()? {
        make(file)?;
    }
    Database::create(file)
}

fn make(file: &Path) -> Result<(), DatabaseError> {
    let new = file.with_added_extension(format!("new-{}", Uuid::now_v7()));
    Database::create(&new)?.close()?;
    // Unlike a renaming, it does not replace what another process has made meanwhile, and perhaps written to.
    let named = match fs::hard_link(&new, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    fs::remove_file(&new)?;
    named?;
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
        fs::write(directory.path().join("some.redb.new-0"), [0; 4096]).unwrap();

        drop(open(&file).unwrap());
        open(&file).unwrap();
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
