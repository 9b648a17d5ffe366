//! The operations over a backend in memory that speaks the gateway's language: the order of reads and writes, faults, races.
//!
//! Whether the keys give the right answers is for the tests with a real CoreDNS to say.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use data_encoding::BASE64;
use proptest::{prelude::*, test_runner::Config as Proptest};
use serde_json::{Value, json};

use super::*;
use crate::{
    change::{Action, Selector, Status},
    decode::Decoded,
    ports::{Answer, Clock, DnsFault, HttpClient, HttpFault, HttpReply, Log, Question, Resolver, Settings},
    reason::Code,
    record::{Record, RecordSet, Ttl},
    verify::tests::Reply,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn set(owner: &str, data: Vec<RData>) -> RecordSet {
    RecordSet { name: name(owner), ttl: Ttl::try_from(60).unwrap(), data }
}

fn change(action: Action) -> Change {
    Change { action, resource: None, expect: None }
}

fn add(owner: &str, data: RData) -> Change {
    change(Action::Add(set(owner, vec![data])))
}

fn replace(owner: &str, data: Vec<RData>) -> Change {
    change(Action::Replace(set(owner, data)))
}

fn remove(owner: &str) -> Change {
    change(Action::Remove(Selector { name: name(owner), rr_type: None, data: vec![], resource: None }))
}

fn a(last: u8) -> RData {
    RData::A([10, 0, 0, last].into())
}

fn cname(target: &str) -> RData {
    RData::Cname(name(target))
}

fn code(outcome: &Outcome) -> Option<&Code> {
    outcome.reason.as_ref().map(|reason| &reason.code)
}

#[test]
fn a_name_comes_and_goes() {
    let world = World::new("ex.test");
    let outcome = world.one(add("w.ex.test", a(1)));
    assert_eq!((outcome.status, outcome.before.len(), outcome.after.len()), (Status::Created, 0, 1));
    assert_eq!(world.check_tree().len(), 1);
    assert_eq!(world.backend.requests.get(), 2, "one read and one write");

    assert_eq!(world.one(add("w.ex.test", a(1))).status, Status::Unchanged);
    assert_eq!(world.one(add("w.ex.test", a(2))).status, Status::Updated);
    assert_eq!(world.one(replace("w.ex.test", vec![a(3)])).after.len(), 1);
    assert_eq!(world.check_tree().len(), 1);

    let outcome = world.one(remove("w.ex.test"));
    assert_eq!((outcome.status, outcome.before.len(), outcome.after.len()), (Status::Deleted, 1, 0));
    assert_eq!(world.backend.tree(), BTreeMap::new());
    assert_eq!(world.one(remove("w.ex.test")).status, Status::Unchanged);
}

#[test]
fn many_names_take_few_requests() {
    let world = World::new("ex.test");
    let changes: Vec<Change> = (0..1000).map(|i| add(&format!("w{i}.ex.test"), a(1))).collect();
    assert!(world.apply(changes).iter().all(|outcome| outcome.status == Status::Created));
    assert!(world.backend.requests.get() <= 40, "{}", world.backend.requests.get());
    world.check_tree();
    world.backend.requests.set(0);
    assert_eq!(world.one(add("new.ex.test", a(1))).status, Status::Created);
    assert_eq!(world.backend.requests.get(), 2, "a large zone costs no more");
    world.backend.requests.set(0);
    let changes: Vec<Change> =
        (0..1000).map(|i| remove(&format!("w{i}.ex.test"))).chain([remove("new.ex.test")]).collect();
    for (i, outcome) in world.apply(changes).iter().enumerate() {
        assert_eq!(outcome.status, Status::Deleted, "{i}: {outcome:?}");
    }
    assert!(world.backend.requests.get() <= 60, "{}", world.backend.requests.get());
    assert_eq!(world.backend.tree(), BTreeMap::new());
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let world = World::new("ex.test");
    let outcomes =
        world.apply_with(vec![add("w.ex.test", a(1)), add("w.ex.test", a(2)), add("w.ex.test", cname("x.y"))], true);
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Created, Status::Updated, Status::Conflict]);
    assert_eq!(world.backend.revision.get(), 0);
}

#[test]
fn one_item_does_not_stop_another() {
    let world = World::new("ex.test");
    let outcomes = world.apply(vec![
        add("w.ex.test", a(1)),
        add("w.ex.test", cname("x.ex.test")),
        add("any.ex.test", a(1)),
        add("w.other.test", a(1)),
        add("x.ex.test", a(2)),
    ]);
    let codes: Vec<Option<&Code>> = outcomes.iter().map(code).collect();
    assert_eq!(codes, [None, Some(&Code::Coexistence), Some(&Code::Unsupported), Some(&Code::OutsideZones), None]);
    assert_eq!(world.check_tree().len(), 2);
}

#[test]
fn what_others_own_is_left_alone() {
    let world = World::new("ex.test");
    let theirs = r#"{"host":"10.9.9.9","targetstrip":1,"owner":"them"}"#;
    world.backend.put("/skydns/test/ex/w/1a2b3c4d", Some(theirs));
    world.backend.put("/skydns/test/ex/x", Some(r#"{"host":"10.9.9.8"}"#));
    world.backend.put("/skydns/test/ex/y", Some("garbage"));
    let outcomes =
        world.apply(vec![add("w.ex.test", a(1)), add("x.ex.test", a(1)), add("y.ex.test", a(1)), remove("x.ex.test")]);
    let codes: Vec<Option<&Code>> = outcomes.iter().map(code).collect();
    let (them, nobody) = (Code::OwnedBy(Some("them".into())), Code::OwnedBy(None));
    assert_eq!(codes, [Some(&them), Some(&nobody), Some(&nobody), Some(&nobody)]);
    assert_eq!(world.backend.tree().len(), 3);

    // Below a name of theirs ours can stand; their key stays as it is.
    let outcome = world.one(add("c.x.ex.test", a(1)));
    assert_eq!((outcome.status, outcome.warnings.len()), (Status::Created, 1));
    assert_eq!(world.backend.tree()["/skydns/test/ex/x"], r#"{"host":"10.9.9.8"}"#);
    world.one(remove("c.x.ex.test"));
    assert_eq!(world.backend.tree().len(), 3);
}

#[test]
fn a_foreign_value_where_writers_take_turns_stops_the_zone_and_stays() {
    let world = World::new("ex.test b.ex.test other.test");
    let theirs = r#"{"host":"ex.test","targetstrip":3}"#;
    world.backend.put("/skydns/test/ex/@GUARD", Some(theirs));
    let outcomes = world.apply(vec![
        add("w.ex.test", a(1)),
        add("ex.test", a(1)),
        // The zone around it would be written, too.
        add("w.b.ex.test", a(1)),
        // The alias leads into it.
        add("w.other.test", cname("x.ex.test")),
        add("x.other.test", a(1)),
    ]);
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    use Status::{Conflict, Created};
    assert_eq!(statuses, [Conflict, Conflict, Conflict, Conflict, Created]);
    assert_eq!(world.backend.tree()["/skydns/test/ex/@GUARD"], theirs);
    assert!(!world.backend.tree().keys().any(|key| key.starts_with("/skydns/test/ex/") && !key.ends_with("@GUARD")));
}

#[test]
fn records_of_a_server_go_by_its_id() {
    let world = World::new("ex.test");
    let of = |resource: &str, last: u8| Change { resource: Some(resource.into()), ..add("w.ex.test", a(last)) };
    world.apply(vec![of("s1", 1), of("s2", 2), add("w.ex.test", a(3))]);
    assert!(matches!(code(&world.one(of("s2", 1))), Some(Code::OwnedBy(_))));
    let by_id = Selector { name: name("w.ex.test"), rr_type: None, data: vec![], resource: Some("s1".into()) };
    let outcome = world.one(change(Action::Remove(by_id)));
    assert_eq!((outcome.status, outcome.after.len()), (Status::Deleted, 2));

    // What replaces values of one server is that server's.
    world.one(remove("w.ex.test"));
    world.one(of("s1", 1));
    let outcome = world.one(replace("w.ex.test", vec![a(7)]));
    assert_eq!(outcome.after[0].resource.as_deref(), Some("s1"));
}

#[test]
fn a_token_that_is_no_longer_true_stops_the_change() {
    let world = World::new("ex.test");
    let token = world.one(add("w.ex.test", a(1))).token;
    let expecting = |data| Change { expect: token.clone(), ..replace("w.ex.test", vec![data]) };
    assert_eq!(world.one(expecting(a(2))).status, Status::Updated);
    assert_eq!(code(&world.one(expecting(a(3)))), Some(&Code::Changed));
}

#[test]
fn loops_of_aliases_are_refused_across_zones() {
    let world = World::new("a.test b.test");
    let outcomes = world.apply(vec![
        add("x.a.test", cname("y.b.test")),
        add("y.b.test", cname("z.a.test")),
        add("z.a.test", cname("x.a.test")),
        add("self.a.test", cname("self.a.test")),
    ]);
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Created, Status::Created, Status::Refused, Status::Refused]);
    world.check_tree();
    // Now with the first two in the tree, not in the same call.
    let outcome = world.one(add("z.a.test", cname("x.a.test")));
    let message = outcome.reason.unwrap().message;
    assert!(message.contains("z.a.test -> x.a.test -> y.b.test -> z.a.test"), "{message}");
}

#[test]
fn a_loop_that_another_writer_closes_meanwhile_is_refused() {
    let world = World::new("a.test b.test");
    world.backend.before_write.borrow_mut().push(Act(Box::new(|backend| {
        let other = World::new("a.test b.test");
        *other.backend.versions.borrow_mut() = backend.versions.borrow().clone();
        other.backend.revision.set(backend.revision.get());
        assert_eq!(other.one(add("y.b.test", cname("x.a.test"))).status, Status::Created);
        *backend.versions.borrow_mut() = other.backend.versions.borrow().clone();
        backend.revision.set(other.backend.revision.get());
    })));
    assert_eq!(world.one(add("x.a.test", cname("y.b.test"))).status, Status::Refused);
    world.check_tree();
}

#[test]
fn lost_answers_are_settled_by_reading() {
    for fault in [
        Fault::Refused,
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::ReadLost,
        Fault::Answer(503, "<html>"),
        Fault::Answer(429, ""),
        Fault::Answer(200, "garbage"),
        Fault::Answer(503, r#"{"code":14,"message":"etcdserver: leader changed"}"#),
    ] {
        let world = World::new("ex.test");
        world.one(add("before.ex.test", a(1)));
        world.backend.faults.borrow_mut().extend([fault, fault]);
        let outcome = world.one(add("w.ex.test", a(1)));
        assert_eq!(outcome.status, Status::Created, "{fault:?}: {outcome:?}");
        assert_eq!(world.check_tree().len(), 2);
        // What was done is not done again.
        assert_eq!(world.backend.faults.borrow().len(), usize::from(fault == Fault::LostAfter), "{fault:?}");
    }
}

#[test]
fn what_cannot_be_settled_is_unknown() {
    let world = World::new("ex.test");
    world.backend.faults.borrow_mut().extend(vec![Fault::ReadLost; 10_000]);
    world.backend.faults.borrow_mut().push(Fault::LostAfter);
    // The first reads must work for a write to be tried at all.
    let lost: Vec<Fault> = world.backend.faults.borrow().clone();
    world.backend.faults.borrow_mut().clear();
    let act = Act(Box::new(move |backend| *backend.faults.borrow_mut() = lost.clone()));
    world.backend.before_write.borrow_mut().push(act);
    let outcomes = world.apply(vec![add("w.ex.test", a(1)), add("x.ex.test", a(2))]);
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Unknown), "{outcomes:?}");
    assert_eq!(world.check_tree().len(), 2, "it was written; nobody could know");
}

#[test]
fn permanent_faults_fail_at_once() {
    for (fault, expected) in [
        (Fault::Answer(404, "404 page not found"), Code::Misconfigured),
        (Fault::Answer(403, r#"{"code":7,"message":"etcdserver: permission denied"}"#), Code::Denied),
        (Fault::Answer(429, r#"{"code":8,"message":"etcdserver: mvcc: database space exceeded"}"#), Code::Full),
    ] {
        let world = World::new("ex.test");
        world.backend.faults.borrow_mut().push(fault);
        let outcome = world.one(add("w.ex.test", a(1)));
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, Some(&expected)));
        assert_eq!(world.backend.requests.get(), 1);
    }
}

#[test]
fn another_writer_costs_a_try_and_nothing_else() {
    let world = World::new("ex.test");
    world.one(add("w.ex.test", a(1)));
    world.backend.before_write.borrow_mut().push(Act(Box::new(|backend| {
        let other = World::new("ex.test");
        *other.backend.versions.borrow_mut() = backend.versions.borrow().clone();
        other.backend.revision.set(backend.revision.get());
        other.apply(vec![add("c.w.ex.test", a(9)), remove("w.ex.test")]);
        *backend.versions.borrow_mut() = other.backend.versions.borrow().clone();
        backend.revision.set(other.backend.revision.get());
    })));
    assert_eq!(world.one(add("w.ex.test", a(2))).status, Status::Created);
    assert_eq!(world.check_tree().len(), 2);
}

#[test]
fn a_foreign_write_meanwhile_is_seen() {
    let world = World::new("ex.test");
    world.backend.before_write.borrow_mut().push(Act(Box::new(|backend| {
        backend.put("/skydns/test/ex/w", Some(r#"{"host":"10.9.9.9"}"#));
    })));
    assert_eq!(world.one(add("w.ex.test", a(2))).status, Status::Conflict);
    assert_eq!(world.backend.tree().len(), 1);
}

#[test]
fn a_set_too_large_for_a_transaction_is_written_in_parts() {
    let world = World::new("ex.test");
    let values = |from: u8| (from..from + 50).map(a).collect::<Vec<_>>();
    let text = (0..50u8).map(|i| RData::Txt(vec![b'a' + i % 26, b'0' + i / 26])).collect::<Vec<_>>();
    let v6 = (0..50u16).map(|i| RData::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, i].into())).collect::<Vec<_>>();
    let outcomes = world.apply(vec![
        replace("w.ex.test", values(1)),
        replace("w.ex.test", text),
        replace("w.ex.test", v6),
        replace("w.ex.test", values(100)),
    ]);
    assert!(outcomes.iter().all(|outcome| outcome.reason.is_none()), "{outcomes:?}");
    assert_eq!(world.check_tree().len(), 150);
    assert_eq!(world.one(remove("w.ex.test")).status, Status::Deleted);
    assert_eq!(world.backend.tree(), BTreeMap::new());
}

/// Three sets at one name: adopting or removing them all takes more than one transaction.
fn large() -> Vec<Change> {
    let values = (1..51).map(a).collect::<Vec<_>>();
    let text = (0..50u8).map(|i| RData::Txt(vec![b'a' + i % 26, b'0' + i / 26])).collect::<Vec<_>>();
    let v6 = (0..50u16).map(|i| RData::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, i].into())).collect::<Vec<_>>();
    vec![replace("w.ex.test", values), replace("w.ex.test", text), replace("w.ex.test", v6)]
}

#[test]
fn a_part_whose_answer_is_lost_is_not_taken_for_the_whole() {
    for place in 0..3 {
        for lost in [Fault::LostAfter, Fault::LostBefore] {
            let world = World::new("ex.test");
            world.apply(large());
            let before = world.check_tree().len();
            world.backend.after_writes(place, lost);

            let outcome = world.one(remove("w.ex.test"));

            assert_eq!(
                (outcome.status, outcome.before.len()),
                (Status::Deleted, before),
                "{place} {lost:?}: {outcome:?}"
            );
            assert_eq!(world.backend.tree(), BTreeMap::new(), "{place} {lost:?}");
        }
    }
}

#[test]
fn what_was_written_in_part_did_not_fail() {
    let world = World::new("ex.test");
    world.apply(large());
    let before = world.backend.tree().len();
    world.backend.after_writes(1, Fault::Answer(403, r#"{"code":7,"message":"etcdserver: permission denied"}"#));

    let outcome = world.one(remove("w.ex.test"));

    assert!(world.backend.tree().len() < before, "the first part is written");
    assert_eq!(outcome.status, Status::Unknown, "{outcome:?}");
    assert_eq!(outcome.before.len(), 150);
    let reason = outcome.reason.unwrap();
    assert!(reason.message.starts_with("a part of this was written, perhaps, and then: "), "{reason:?}");
    assert!(reason.message.contains("permission denied"), "{reason:?}");

    assert_eq!(world.one(remove("w.ex.test")).status, Status::Deleted);
    assert_eq!(world.backend.tree(), BTreeMap::new());
}

#[test]
fn a_page_ends_after_so_many_keys_whatever_fits() {
    let world = World::new("ex.test");
    world.apply((0..4).map(|i| add(&format!("w{i}.ex.test"), a(i))).collect());
    for number in 0..21_000 {
        world.backend.put(&format!("/skydns/test/ex/w0/v/x{number:05}"), Some(r#"{"text":"another program's"}"#));
    }
    let options = Options { budget: Duration::from_secs(1), dry_run: false, request_id: String::new() };
    let filter = Filter { owner: Some("us".to_owned()), ..Filter::default() };

    let first = Manager::new(&world).list(&filter, None, 100, &options).unwrap();
    let second = Manager::new(&world).list(&filter, first.next.as_deref(), 100, &options).unwrap();

    assert_eq!((first.records.len(), second.records.len()), (1, 3));
    assert!(first.next.is_some() && second.next.is_none());
}

#[test]
fn pages_hold_whole_sets_and_everything_once() {
    let world = World::new("ex.test");
    let mut changes: Vec<Change> = (0..30).map(|i| replace(&format!("w{i}.ex.test"), vec![a(1), a(2), a(3)])).collect();
    changes.push(add("ex.test", a(1)));
    world.apply(changes);
    world.backend.put("/skydns/test/ex/bad", Some("garbage"));
    let options = Options { budget: Duration::from_secs(1), dry_run: false, request_id: String::new() };
    let manager = Manager::new(&world);
    let (mut records, mut problems, mut cursor, mut pages) = (Vec::new(), 0, None, 0);
    loop {
        let page = manager.list(&Filter::default(), cursor.as_deref(), 10, &options).unwrap();
        assert!(page.records.len() <= 12);
        records.extend(page.records);
        problems += page.problems.len();
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((records.len(), problems), (91, 1));
    assert!(pages >= 8);
    let only = |filter: Filter| manager.list(&filter, None, 100, &options).unwrap().records.len();
    assert_eq!(only(Filter { name: Some(name("w1.ex.test")), ..Filter::default() }), 3);
    assert_eq!(only(Filter { name: Some(name("ex.test")), ..Filter::default() }), 1);
    assert_eq!(only(Filter { name: Some(name("ex.test")), below: true, ..Filter::default() }), 91);
    assert_eq!(only(Filter { owner: Some("them".into()), ..Filter::default() }), 0);
    assert_eq!(manager.list(&Filter::default(), Some("x"), 1, &options).unwrap_err().code, Code::Invalid);
}

mod backend;
mod generated;
mod ipv6;
mod meanwhile;
mod ownership;
mod repair;
mod world;

use backend::{Act, Fault};
use generated::{NAMES, NAMES_IP6, any_change};
use ipv6::ZONE_IP6;
use world::World;
