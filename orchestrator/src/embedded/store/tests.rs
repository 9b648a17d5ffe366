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
    let (disk, file) = (Disk::default(), directory.path().join("some.redb"));
    let store = Store::on(disk.open(&file), file, KEPT_REVISIONS).unwrap();
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

#[test]
fn what_one_request_reads_is_bounded_over_all_its_ranges() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let large = "x".repeat(1 << 20);
    for key in ["/a", "/b", "/c"] {
        write(&store, vec![put(key, &large)]);
    }
    let all = Query { range: Range::below(b"/"), revision: 0, limit: 0 };
    let reading =
        |ranges: usize| Transaction { success: vec![Operation::Range(all.clone()); ranges], ..Transaction::default() };
    assert_eq!(store.transact(&reading(5)).unwrap().results.len(), 5);
    assert!(matches!(store.transact(&reading(6)), Err(Fault::TooLarge)));

    let past = Query { revision: 3, ..all.clone() };
    let ranges = vec![Operation::Range(past); 9];
    assert!(matches!(store.transact(&Transaction { success: ranges, ..Transaction::default() }), Err(Fault::TooLarge)));

    let mut changing = reading(6);
    changing.success.push(put("/d", "lost"));
    assert!(matches!(store.transact(&changing), Err(Fault::TooLarge)));
    assert_eq!(texts(&store, 0).unwrap().len(), 3, "nothing of it was done");
    // Neither a comparison nor a deletion answers what it goes over.
    let deleting = Transaction {
        compares: vec![
            Compare { range: Range::below(b"/"), operator: Operator::Greater, operand: Operand::Version(0) };
            20
        ],
        success: vec![Operation::Delete { range: Range::below(b"/"), wants_previous: false }],
        ..Transaction::default()
    };
    assert_eq!(store.transact(&deleting).unwrap().results, [(5, Answer::Delete(3, Vec::new()))]);
}

#[test]
fn nothing_is_put_into_a_full_store_and_deletions_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    write(&store, vec![put("/a", "1")]);
    store.quota = 1;

    let more = Transaction { success: vec![put("/b", "1")], ..Transaction::default() };
    assert!(matches!(store.transact(&more), Err(Fault::NoSpace)));
    assert_eq!(write(&store, vec![delete("/a")]), 3);
    assert_eq!(texts(&store, 0).unwrap(), [""; 0]);
}

#[test]
fn a_full_store_is_made_smaller_when_it_is_opened_and_keeps_what_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open_keeping(directory.path(), 1).unwrap();
    write(&store, vec![put("/a", "1")]);
    let large = "x".repeat(1 << 20);
    write(&store, (0..8).map(|number| put(&format!("/b/{number}"), &large)).collect());
    write(&store, vec![Operation::Delete { range: Range::below(b"/b/"), wants_previous: false }]);
    write(&store, vec![put("/c", "1")]);
    write(&store, vec![put("/c", "2")]);
    drop(store);
    let file = directory.path().join(FILE);
    let before = size_of_file(&file);

    drop(opened_with_room(&file, 1).unwrap());

    assert!(size_of_file(&file) < before, "{} octets after {before}", size_of_file(&file));
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(texts(&store, 0).unwrap(), ["/a=1 2/2/1", "/c=2 5/6/2"]);
}
