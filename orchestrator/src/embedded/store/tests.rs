use super::*;
use crate::database::disk::Disk;

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

#[test]
fn a_store_whose_disk_was_full_goes_on_when_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = Store::on(disk.open(&directory.path().join("some.redb")), KEPT_REVISIONS).unwrap();
    assert_eq!(write(&store, vec![put("/a", "1")]), 2);

    for round in 0..3 {
        disk.set_full(true);
        for _ in 0..3 {
            let change = Transaction { success: vec![put("/b", "lost")], ..Transaction::default() };
            assert!(matches!(store.transact(&change), Err(Fault::Storage(_))));
        }
        disk.set_full(false);
        let kept = texts(&store, 0).unwrap();
        assert!(kept.iter().any(|text| text.starts_with("/a=1")), "round {round}: {kept:?}");
        assert!(!kept.iter().any(|text| text.contains("lost")), "round {round}: {kept:?}");
        write(&store, vec![put("/c", "new")]);
        assert!(texts(&store, 0).unwrap().iter().any(|text| text.starts_with("/c=new")));
    }
}
