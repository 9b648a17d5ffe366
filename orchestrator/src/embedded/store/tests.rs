use super::*;

fn put(key: &str, value: &str) -> Operation {
    Operation::Put { key: key.into(), value: Some(value.into()), must_exist: false, lease: 0, wants_previous: false }
}

fn delete(key: &str) -> Operation {
    Operation::Delete { range: Range::Key(key.into()), wants_previous: false }
}

fn write(store: &Store, operations: Vec<Operation>) -> u64 {
    store.transact(&Transaction { success: operations, ..Transaction::default() }).unwrap().revision
}

fn texts(store: &Store, revision: i64) -> Result<Vec<String>, Fault> {
    let query = Query { range: Range::below(b"/"), revision, limit: 0 };
    let (_, found) = store.range(&query)?;
    let text = |entry: &Entry| {
        let [key, value] = [&entry.key, &entry.value].map(|octets| String::from_utf8_lossy(octets).into_owned());
        format!("{key}={value} {}/{}/{}", entry.create_revision, entry.mod_revision, entry.version)
    };
    Ok(found.entries.iter().map(text).collect())
}

#[test]
fn every_change_has_a_revision_and_a_place_in_history() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.range(&Query { range: Range::From(vec![0]), revision: 0, limit: 0 }).unwrap().0, 1);

    assert_eq!(write(&store, vec![put("/a", "1"), put("/b", "1")]), 2);
    assert_eq!(write(&store, vec![put("/a", "2")]), 3);
    assert_eq!(write(&store, vec![delete("/b"), delete("/none")]), 4);
    assert_eq!(write(&store, vec![delete("/none")]), 4);
    assert_eq!(write(&store, vec![put("/b", "3")]), 5);

    assert_eq!(texts(&store, 0).unwrap(), ["/a=2 2/3/2", "/b=3 5/5/1"]);
    assert_eq!(texts(&store, 4).unwrap(), ["/a=2 2/3/2"]);
    assert_eq!(texts(&store, 3).unwrap(), ["/a=2 2/3/2", "/b=1 2/2/1"]);
    assert_eq!(texts(&store, 2).unwrap(), ["/a=1 2/2/1", "/b=1 2/2/1"]);
    assert_eq!(texts(&store, 1).unwrap(), [""; 0]);
    assert!(matches!(texts(&store, 6), Err(Fault::FutureRevision)));
}

#[test]
fn old_revisions_go_and_what_they_left_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_keeping(directory.path(), 3).unwrap();
    write(&store, vec![put("/a", "1"), put("/b", "1")]);
    for _ in 0..5 {
        write(&store, vec![put("/c", "x")]);
    }
    write(&store, vec![delete("/b")]);
    write(&store, vec![put("/c", "y")]);

    let revision = store.range(&Query { range: Range::Key("/a".into()), revision: 0, limit: 0 }).unwrap().0;
    assert_eq!(revision, 9);
    assert!(matches!(texts(&store, 5), Err(Fault::Compacted)));
    assert_eq!(texts(&store, 6).unwrap(), ["/a=1 2/2/1", "/b=1 2/2/1", "/c=x 3/6/4"]);
    assert_eq!(texts(&store, 8).unwrap(), ["/a=1 2/2/1", "/c=x 3/7/5"]);

    for _ in 0..5 {
        write(&store, vec![put("/c", "z")]);
    }
    assert_eq!(texts(&store, 11).unwrap(), ["/a=1 2/2/1", "/c=z 3/11/8"]);
    let snapshot = store.snapshot().unwrap();
    let versions = snapshot.versions.iter().unwrap().count();
    assert_eq!(versions, 5, "one of /a, those of /c from revision 11 to 14, and nothing of /b");
}

#[test]
fn a_transaction_is_carried_out_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let absent =
        Compare { range: Range::Key("/a".into()), operator: Operator::Equal, operand: Operand::ModRevision(0) };
    let transaction = Transaction {
        compares: vec![absent],
        success: vec![put("/a", "1")],
        failure: vec![Operation::Range(Query { range: Range::Key("/a".into()), revision: 0, limit: 0 })],
    };
    assert!(store.transact(&transaction).unwrap().succeeded);
    let again = store.transact(&transaction).unwrap();
    assert!(!again.succeeded);
    assert_eq!(again.revision, 2);

    let refused = Transaction {
        success: vec![
            put("/b", "1"),
            Operation::Put { key: "/none".into(), value: None, must_exist: true, lease: 0, wants_previous: false },
        ],
        ..Transaction::default()
    };
    assert!(matches!(store.transact(&refused), Err(Fault::KeyNotFound)));
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(texts(&store, 0).unwrap(), ["/a=1 2/2/1"]);
}

#[test]
fn a_held_store_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let _holder = Store::open(directory.path()).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(OpenError::Held(_))));
}

/// A file on a disk that can be full.
#[derive(Debug)]
struct Disk {
    file: redb::backends::FileBackend,
    is_full: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Disk {
    fn room(&self) -> std::io::Result<()> {
        let is_full = self.is_full.load(std::sync::atomic::Ordering::SeqCst);
        if is_full { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> std::io::Result<()> {
        self.file.close()
    }
}

#[test]
fn a_store_whose_disk_was_full_goes_on_when_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("some.redb");
    let is_full = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let disk = std::sync::Arc::clone(&is_full);
    let open = move || {
        let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file)?;
        let file = redb::backends::FileBackend::new(file)?;
        redb::Builder::new().create_with_backend(Disk { file, is_full: std::sync::Arc::clone(&disk) })
    };
    let store = Store::on(Reopening::new(open).unwrap(), KEPT_REVISIONS).unwrap();
    let set_full = |full| is_full.store(full, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(write(&store, vec![put("/a", "1")]), 2);

    for round in 0..3 {
        set_full(true);
        for _ in 0..3 {
            let change = Transaction { success: vec![put("/b", "lost")], ..Transaction::default() };
            assert!(matches!(store.transact(&change), Err(Fault::Storage(_))));
        }
        set_full(false);
        let kept = texts(&store, 0).unwrap();
        assert!(kept.iter().any(|text| text.starts_with("/a=1")), "round {round}: {kept:?}");
        assert!(!kept.iter().any(|text| text.contains("lost")), "round {round}: {kept:?}");
        write(&store, vec![put("/c", "new")]);
        assert!(texts(&store, 0).unwrap().iter().any(|text| text.starts_with("/c=new")));
    }
}
