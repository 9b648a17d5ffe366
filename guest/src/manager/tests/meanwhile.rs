//! What others do between our reading and our writing, and what is lost on the way.

use super::{
    backend::{Act, Fault},
    *,
};
use crate::verify::tests::{refused, soa, timeout};

/// Another dns-manager, with the same zones, does this.
fn others(zones: &'static str, changes: fn() -> Vec<Change>) -> Act {
    Act(Box::new(move |backend| {
        let other = World::new(zones);
        *other.backend.versions.borrow_mut() = backend.versions.borrow().clone();
        other.backend.revision.set(backend.revision.get());
        other.apply(changes());
        *backend.versions.borrow_mut() = other.backend.versions.borrow().clone();
        backend.revision.set(other.backend.revision.get());
    }))
}

const AROUND: &str = "ex.test z.m.ex.test";

#[test]
fn a_name_keeps_its_guard_for_a_zone_that_comes_to_life_below_it() {
    let world = World::new(AROUND);
    world.apply(vec![add("a.ex.test", a(1)), add("d.m.ex.test", a(2))]);
    world.backend.before_write.borrow_mut().push(others(AROUND, || vec![add("w.z.m.ex.test", a(3))]));

    assert_eq!(world.one(remove("d.m.ex.test")).status, Status::Deleted);

    assert_eq!(world.check_tree().len(), 2);
}

#[test]
fn a_name_loses_its_guard_with_the_last_record_below_it_in_whichever_zone() {
    let world = World::new(AROUND);
    world.apply(vec![add("a.ex.test", a(1)), add("d.m.ex.test", a(2)), add("w.z.m.ex.test", a(3))]);
    world.backend.before_write.borrow_mut().push(others(AROUND, || vec![remove("w.z.m.ex.test")]));

    assert_eq!(world.one(remove("d.m.ex.test")).status, Status::Deleted);

    assert_eq!(world.check_tree().len(), 1);
}

#[test]
fn two_zones_that_come_to_life_at_once_know_of_each_other() {
    for (ours, theirs) in [
        ("a.ex.test", (|| vec![add("w.z.m.ex.test", a(3))]) as fn() -> Vec<Change>),
        ("w.z.m.ex.test", || vec![add("a.ex.test", a(3))]),
    ] {
        let world = World::new(AROUND);
        world.backend.before_write.borrow_mut().push(others(AROUND, theirs));
        assert_eq!(world.one(add(ours, a(1))).status, Status::Created);
        assert_eq!(world.check_tree().len(), 2, "{ours}");
    }
}

#[test]
fn what_others_wrote_stops_a_write_whose_answer_is_lost() {
    let world = World::new("ex.test");
    world.backend.before_write.borrow_mut().push(Act(Box::new(|backend| {
        backend.put("/skydns/test/ex/w", Some(r#"{"host":"10.9.9.9"}"#));
    })));
    world.backend.faults.borrow_mut().push(Fault::LostBefore);

    let outcomes = world.apply(vec![add("w.ex.test", a(1)), add("x.ex.test", a(2))]);

    let statuses: Vec<_> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Conflict, Status::Created], "{outcomes:?}");
}

#[test]
fn what_is_not_written_of_a_lost_transaction_is_written_in_its_order() {
    let world = World::new("ex.test");
    world.one(add("w.ex.test", a(1)));
    world.backend.before_write.borrow_mut().push(others("ex.test", || vec![add("x.ex.test", a(9))]));
    world.backend.faults.borrow_mut().push(Fault::LostBefore);

    let outcomes = world.apply(vec![
        replace("w.ex.test", vec![a(2)]),
        replace("w.ex.test", vec![a(1)]),
        add("y.ex.test", a(3)),
        remove("y.ex.test"),
    ]);

    assert!(outcomes.iter().all(|outcome| outcome.reason.is_none()), "{outcomes:?}");
    let left: Vec<_> = world.check_tree().iter().map(|record| format!("{} {}", record.name, record.data)).collect();
    assert_eq!(left, ["w.ex.test 10.0.0.1", "x.ex.test 10.0.0.9"]);
}

#[test]
fn a_removal_that_others_come_in_between_leaves_nothing() {
    let world = World::new("ex.test");
    world.apply(large());
    // Before the second part.
    let acts = [others("ex.test", || vec![add("x.ex.test", a(9))]), Act(Box::new(|_| {}))];
    world.backend.before_write.borrow_mut().extend(acts);

    let outcome = world.one(remove("w.ex.test"));

    assert_eq!((outcome.status, outcome.before.len()), (Status::Deleted, 150), "{outcome:?}");
    assert_eq!(world.check_tree().len(), 1);
}

#[test]
fn a_part_that_is_written_does_not_spoil_what_the_whole_expects() {
    let world = World::new("ex.test");
    let outcomes = world.apply(large());
    let token = outcomes.last().unwrap().token.clone();
    world.backend.after_writes(1, Fault::LostAfter);

    let set = set("w.ex.test", (100..150u16).map(|i| RData::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, i].into())).collect());
    let outcome = world.one(Change { expect: token, ..change(Action::Replace(set)) });

    assert!(outcome.reason.is_none(), "{outcome:?}");
    assert_eq!(world.check_tree().len(), 150);
}

#[test]
fn a_zone_that_nobody_tells_stops_what_needs_it_alone() {
    let mut world = World::new("");
    world.settings.remove("zones");
    world.answer = Some(|question| match question.name.to_string().as_str() {
        name if name == "ex.test" || name.ends_with(".ex.test") => soa("ex.test", "ns.dns.ex.test"),
        name if name.ends_with("broken.net") => timeout(),
        _ => refused(),
    });

    let outcomes = world.apply(vec![
        add("web.ex.test", a(1)),
        add("x.ex.test", RData::Cname(name("cdn.broken.net"))),
        add("cdn.broken.net", a(2)),
        add("db.ex.test", a(3)),
    ]);

    let statuses: Vec<_> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Created, Status::Failed, Status::Failed, Status::Created], "{outcomes:?}");
    let reason = outcomes[1].reason.as_ref().unwrap();
    assert_eq!(reason.code, Code::Unavailable);
    assert!(reason.message.contains("broken.net"), "{reason:?}");
}
