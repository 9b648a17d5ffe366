//! Taking over from others and handing back: what becomes whose, what is refused, and that the tree stays the full encoding.

use super::*;

const LEAF: &str = "/skydns/test/ex/w/1a2b3c4d";

fn adopt(owner: &str) -> Change {
    change(Action::Adopt(selector(owner)))
}

fn release(owner: &str) -> Change {
    change(Action::Release(selector(owner)))
}

fn selector(owner: &str) -> Selector {
    Selector { name: name(owner), rr_type: None, data: vec![], resource: None }
}

fn adopt_type(owner: &str, rr_type: RrType) -> Change {
    change(Action::Adopt(Selector { rr_type: Some(rr_type), ..selector(owner) }))
}

fn owners(records: &[Record]) -> Vec<Option<&str>> {
    records.iter().map(|record| record.owner.as_deref()).collect()
}

impl World {
    /// The same backend for somebody else.
    fn owned_by(mut self, owner: &str) -> Self {
        self.settings.insert("owner", owner.to_owned());
        self
    }

    fn put(&self, key: &str, value: &str) {
        self.backend.put(key, Some(value));
    }
}

#[test]
fn what_others_wrote_becomes_ours_in_our_form() {
    for (what, entries, records) in [
        ("hand-written", vec![("/skydns/test/ex/w", r#"{"host":"10.0.0.1"}"#)], 1),
        ("external-dns", vec![(LEAF, r#"{"host":"10.0.0.1","targetstrip":1,"ttl":60}"#)], 1),
        ("with a text", vec![(LEAF, r#"{"host":"10.0.0.1","text":"heritage=external-dns","targetstrip":1}"#)], 2),
        ("of an owner", vec![(LEAF, r#"{"host":"2001:db8::1","targetstrip":1,"owner":"xd"}"#)], 1),
        ("two labels below", vec![("/skydns/test/ex/w/a/b", r#"{"host":"10.0.0.1","targetstrip":2}"#)], 1),
        (
            "the same value twice",
            vec![(LEAF, r#"{"host":"10.0.0.1","targetstrip":1}"#), ("/skydns/test/ex/w", r#"{"host":"10.0.0.1"}"#)],
            1,
        ),
        ("an alias", vec![(LEAF, r#"{"host":"x.ex.test","targetstrip":1}"#)], 1),
    ] {
        let world = World::new("ex.test");
        for (key, value) in &entries {
            world.put(key, value);
        }

        let outcome = world.one(adopt("w.ex.test"));

        assert_eq!(outcome.status, Status::Updated, "{what}: {outcome:?}");
        assert_eq!(owners(&outcome.after), vec![Some("us"); records], "{what}");
        assert!(outcome.before.iter().all(|record| record.owner.as_deref() != Some("us")), "{what}");
        assert_eq!(world.check_tree().len(), records, "{what}");
        assert!(!world.backend.tree().contains_key(LEAF), "{what}");
        let again = world.one(adopt("w.ex.test"));
        assert_eq!((again.status, again.token), (Status::Unchanged, outcome.token), "{what}");
        assert_eq!(world.one(remove("w.ex.test")).status, Status::Deleted, "{what}");
        assert_eq!(world.backend.tree(), BTreeMap::new(), "{what}");
    }
}

#[test]
fn addresses_that_coredns_finds_for_an_apex_are_in_the_way_of_ours() {
    for key in ["/skydns/test/ex/dns/apex", "/skydns/test/ex/dns/apex/x1", "/skydns/test/ex/dns/apex/a/b"] {
        let world = World::new("ex.test");
        world.put(key, r#"{"host":"10.0.0.1","owner":"xd"}"#);
        let before = world.backend.tree();

        let outcome = world.one(add("ex.test", a(2)));

        assert_eq!(outcome.status, Status::Conflict, "{key}: {outcome:?}");
        assert_eq!(outcome.reason.map(|reason| reason.code), Some(Code::OwnedBy(Some("xd".to_owned()))), "{key}");
        assert_eq!(world.backend.tree(), before, "{key}");
    }
}

#[test]
fn addresses_of_an_apex_are_adopted_where_coredns_looks_for_them() {
    for key in ["/skydns/test/ex/dns/apex", "/skydns/test/ex/dns/apex/x1", "/skydns/test/ex/1a2b3c4d"] {
        let world = World::new("ex.test");
        let strip = if key.ends_with("4d") { r#","targetstrip":1"# } else { "" };
        world.put(key, &format!(r#"{{"host":"10.0.0.1"{strip}}}"#));
        let outcome = world.one(adopt("ex.test"));
        assert_eq!((outcome.status, outcome.after.len()), (Status::Updated, 1), "{key}: {outcome:?}");
        assert_eq!(world.check_tree()[0].name, name("ex.test"), "{key}");
    }
}

#[test]
fn records_of_another_dns_manager_change_hands_key_for_key() {
    let world = World::new("ex.test").owned_by("them");
    let srv = RData::Srv { priority: 1, weight: 7, port: 1, target: name("w.ex.test") };
    world.apply(vec![
        add("w.ex.test", a(1)),
        add("w.ex.test", srv),
        add("x.ex.test", cname("w.ex.test")),
        add("c.x.ex.test", a(2)),
    ]);
    let keys: Vec<String> = world.backend.tree().into_keys().collect();
    let world = world.owned_by("us");
    let refused = world.one(add("w.ex.test", a(3)));
    assert!(refused.reason.unwrap().message.contains("of owner `them`"));

    let outcomes = world.apply(vec![adopt("w.ex.test"), adopt("x.ex.test")]);

    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Updated), "{outcomes:?}");
    assert_eq!(world.backend.tree().into_keys().collect::<Vec<_>>(), keys);
    let records = world.check_tree();
    assert_eq!(records.iter().filter(|record| record.owner.as_deref() == Some("us")).count(), 3);
    assert_eq!(world.one(add("w.ex.test", a(3))).status, Status::Updated);
}

#[test]
fn what_cannot_be_served_rightly_is_not_adopted() {
    let plain = "/skydns/test/ex/w";
    let both = r#"{"host":"10.0.0.1","text":"t","targetstrip":1}"#;
    let of = |rr_type| adopt_type("w.ex.test", rr_type);
    let all = || adopt("w.ex.test");
    let absent = change(Action::Adopt(Selector { data: vec![a(9)], ..selector("w.ex.test") }));
    for (entries, change, part) in [
        (vec![(LEAF, both)], of(RrType::A), "together only"),
        (vec![(LEAF, r#"{"host":"m.world","mail":true,"targetstrip":1}"#)], all(), "as MX, too"),
        (vec![(plain, r#"{"host":"10.0.0.1","port":8080}"#)], all(), "as SRV with port 8080, too"),
        (
            vec![(plain, r#"{"text":"t"}"#), (LEAF, r#"{"host":"10.0.0.1","targetstrip":1}"#)],
            of(RrType::A),
            "would be hidden",
        ),
        (vec![(LEAF, r#"{"host":"x.world","text":"t","targetstrip":1}"#)], all(), "cannot stand beside"),
        (vec![(LEAF, r#"{"host":"10.0.0.1","targetstrip":1,"ttl":4000000000}"#)], all(), "the most that DNS allows"),
        (vec![(plain, "garbage"), (LEAF, r#"{"host":"10.0.0.1","targetstrip":1}"#)], all(), "cannot be read"),
        (vec![(plain, r#"{"host":"w.ex.test"}"#)], all(), "close a loop"),
        (
            vec![(plain, r#"{"host":"a.world"}"#), (LEAF, r#"{"host":"b.world","targetstrip":1}"#)],
            all(),
            "one CNAME only",
        ),
        (vec![(LEAF, r#"{"host":"10.0.0.1","targetstrip":1}"#)], absent, "has no A `10.0.0.9`"),
        (vec![], adopt("w.other.test"), "none of the zones"),
        (vec![], adopt("any.ex.test"), "choose another name"),
    ] {
        let world = World::new("ex.test");
        for (key, value) in &entries {
            world.put(key, value);
        }
        let before = world.backend.tree();

        let outcome = world.one(change);

        assert!(matches!(outcome.status, Status::Refused | Status::Conflict), "{part}: {outcome:?}");
        let message = outcome.reason.unwrap().message;
        assert!(message.contains(part), "{part}: {message}");
        assert_eq!(world.backend.tree(), before, "{part}");
    }
}

#[test]
fn one_type_can_be_adopted_and_the_rest_stays_theirs() {
    let world = World::new("ex.test");
    let text = r#"{"text":"t","targetstrip":1}"#;
    world.put("/skydns/test/ex/w/ffffffff", text);
    world.put(LEAF, r#"{"host":"10.0.0.1","targetstrip":1}"#);

    assert_eq!(world.one(adopt_type("w.ex.test", RrType::A)).status, Status::Updated);

    assert_eq!(world.backend.tree()["/skydns/test/ex/w/ffffffff"], text);
    assert_eq!(world.check_tree().len(), 1);
    assert!(matches!(code(&world.one(add("w.ex.test", a(2)))), Some(Code::OwnedBy(None))));
}

#[test]
fn a_set_that_is_adopted_has_one_ttl() {
    let world = World::new("ex.test");
    world.put(LEAF, r#"{"host":"10.0.0.1","targetstrip":1,"ttl":30}"#);
    world.put("/skydns/test/ex/w/1a2b3c4e", r#"{"host":"10.0.0.2","targetstrip":1,"ttl":900}"#);
    let outcome = world.one(adopt("w.ex.test"));
    assert_eq!(outcome.after.iter().map(|record| record.ttl).collect::<Vec<_>>(), [30, 30]);
}

#[test]
fn a_change_of_theirs_meanwhile_is_not_lost() {
    for (what, act) in [("changed", Some(r#"{"host":"10.0.0.2","targetstrip":1}"#)), ("deleted", None)] {
        let world = World::new("ex.test");
        world.put(LEAF, r#"{"host":"10.0.0.1","targetstrip":1}"#);
        let value = act.map(str::to_owned);
        world.backend.before_write.borrow_mut().push(Act(Box::new(move |backend| backend.put(LEAF, value.as_deref()))));

        let outcome = world.one(adopt("w.ex.test"));

        let records = world.check_tree();
        match act {
            Some(_) => assert_eq!(records[0].data, a(2), "{what}: {outcome:?}"),
            None => assert_eq!((outcome.status, records.len()), (Status::Unchanged, 0), "{what}"),
        }
    }
    // What comes new beside it is seen, too.
    let world = World::new("ex.test");
    world.put(LEAF, r#"{"host":"10.0.0.1","targetstrip":1}"#);
    world.backend.before_write.borrow_mut().push(Act(Box::new(|backend| {
        backend.put("/skydns/test/ex/w/5e6f7081", Some(r#"{"host":"10.0.0.2","targetstrip":1}"#));
    })));
    assert_eq!(world.one(adopt("w.ex.test")).after.len(), 2);
    assert_eq!(world.check_tree().len(), 2);
}

#[test]
fn lost_answers_of_adoptions_are_settled() {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::ReadLost] {
        let world = World::new("ex.test b.test");
        world.put(LEAF, r#"{"host":"x.b.test","targetstrip":1}"#);
        world.one(add("x.b.test", a(1)));
        world.backend.faults.borrow_mut().push(fault);
        // The zone that the alias leads into is only read.
        let outcome = world.one(adopt("w.ex.test"));
        assert!(matches!(outcome.status, Status::Updated | Status::Unchanged), "{fault:?}: {outcome:?}");
        assert_eq!(world.check_tree().len(), 2);
    }
}

#[test]
fn a_dry_run_and_an_expectation_hold_for_both() {
    let world = World::new("ex.test");
    world.put(LEAF, r#"{"host":"10.0.0.1","targetstrip":1}"#);
    let before = world.backend.tree();
    let told = world.apply_with(vec![adopt("w.ex.test"), release("w.ex.test")], true);
    assert_eq!((told[0].status, told[1].status), (Status::Updated, Status::Updated));
    assert_eq!(owners(&told[1].after), [None]);
    assert_eq!(world.backend.tree(), before);

    let token = world.one(adopt("w.ex.test")).token;
    let expecting = |change: Change| Change { expect: token.clone(), ..change };
    assert_eq!(world.one(expecting(release("w.ex.test"))).status, Status::Updated);
    assert_eq!(code(&world.one(expecting(release("w.ex.test")))), Some(&Code::Changed));
    assert_eq!(code(&world.one(expecting(adopt("w.ex.test")))), Some(&Code::Changed));
}

#[test]
fn what_is_released_keeps_its_form_and_its_guards() {
    let world = World::new("ex.test 10.in-addr.arpa");
    let srv = RData::Srv { priority: 1, weight: 7, port: 1, target: name("w.ex.test") };
    let mx = RData::Mx { preference: 10, exchange: name("w.ex.test") };
    let names = ["w.ex.test", "x.ex.test", "ex.test", "1.0.0.10.in-addr.arpa"];
    world.apply(vec![
        add("w.ex.test", a(1)),
        add("w.ex.test", srv),
        add("w.ex.test", mx),
        add("w.ex.test", RData::Txt(b"t".to_vec())),
        Change { resource: Some("s1".into()), ..add("x.ex.test", cname("w.ex.test")) },
        add("c.x.ex.test", a(2)),
        add("ex.test", a(3)),
        add("1.0.0.10.in-addr.arpa", RData::Ptr(name("w.ex.test"))),
    ]);
    let before = world.backend.tree();

    let outcomes = world.apply(names.iter().map(|name| release(name)).collect());

    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Updated), "{outcomes:?}");
    let after = world.backend.tree();
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (key, value) in &before {
        // Only the marks are gone.
        let unmarked = value.replace(r#","owner":"us""#, "").replace(r#","resource":"s1""#, "");
        let marked = after[key].replace(r#","owner":"dns-manager""#, "");
        assert!(after[key] == *value || after[key] == unmarked || marked == unmarked, "{key}: {}", after[key]);
    }
    let records = world.check_tree();
    assert_eq!(records.iter().filter(|record| record.owner.is_some()).count(), 1);
    assert!(matches!(code(&world.one(add("w.ex.test", a(9)))), Some(Code::OwnedBy(None))));
    assert!(matches!(code(&world.one(remove("x.ex.test"))), Some(Code::OwnedBy(None))));
    assert_eq!(world.one(release("w.ex.test")).status, Status::Unchanged);

    // And back again; the tree is as it was but for the server's id.
    world.apply(names.iter().map(|name| adopt(name)).collect());
    let back = world.backend.tree();
    assert_eq!(back["/skydns/test/ex/w/A-0A000001"], before["/skydns/test/ex/w/A-0A000001"]);
    assert_eq!(world.check_tree().len(), 8);
    let others: Vec<Change> = names.iter().chain(&["c.x.ex.test"]).map(|name| remove(name)).collect();
    world.apply(others);
    assert_eq!(world.backend.tree(), BTreeMap::new());
}

#[test]
fn only_what_is_ours_is_released() {
    let world = World::new("ex.test").owned_by("them");
    world.one(add("w.ex.test", a(1)));
    let world = world.owned_by("us");
    let outcome = world.one(release("w.ex.test"));
    assert_eq!((outcome.status, code(&outcome)), (Status::Conflict, Some(&Code::OwnedBy(Some("them".into())))));
    assert_eq!(world.one(release("nothing.ex.test")).status, Status::Unchanged);
}

fn any_step() -> impl Strategy<Value = (bool, Change)> {
    let owner = |i: usize| NAMES[i];
    let step = prop_oneof![
        5 => any_change(&NAMES),
        2 => (0..NAMES.len()).prop_map(move |i| adopt(owner(i))),
        2 => (0..NAMES.len()).prop_map(move |i| release(owner(i))),
        1 => (0..NAMES.len(), prop_oneof![Just(RrType::A), Just(RrType::Txt), Just(RrType::Cname)])
            .prop_map(move |(i, rr_type)| adopt_type(owner(i), rr_type)),
    ];
    (any::<bool>(), step)
}

proptest! {
    #![proptest_config(Proptest::with_cases(80))]

    /// Two owners who add, take over and hand back: the tree is the full encoding of its records after each step, and foreign
    /// keys are as they were or gone by an adoption.
    #[test]
    fn whoever_owns_what_the_tree_is_the_full_encoding(
        steps in prop::collection::vec(any_step(), 1..60),
        foreign in prop::collection::vec((0..NAMES.len(), 0u8..3), 0..6),
    ) {
        let mut world = World::new("ex.test z.m.ex.test 10.in-addr.arpa");
        let layout = Layout::new("skydns");
        let mut theirs = BTreeMap::new();
        for (i, kind) in foreign {
            let key = layout.key(&name(NAMES[i]));
            let (key, value) = match kind {
                0 => (format!("{key}/1a2b3c4d"), r#"{"host":"10.7.7.7","targetstrip":1}"#),
                1 => (format!("{key}/1a2b3c4e"), r#"{"host":"10.7.7.8","text":"t","targetstrip":1,"owner":"xd"}"#),
                _ => (format!("{key}/1a2b3c4f"), r#"{"host":"y.world","targetstrip":1}"#),
            };
            world.put(&key, value);
            theirs.insert(key, value);
        }
        for (is_us, change) in steps {
            world = world.owned_by(if is_us { "us" } else { "them" });
            let adopts = matches!(change.action, Action::Adopt(_)).then(|| layout.key(change.action.name()));
            let outcome = world.one(change);
            prop_assert!(!matches!(outcome.status, Status::Failed | Status::Unknown), "{:?}", outcome);
            world.check_tree();
            let tree = world.backend.tree();
            theirs.retain(|key, value| {
                let stands = tree.get(key).is_some_and(|now| now == value);
                let is_adopted = adopts.as_ref().is_some_and(|adopted| key.starts_with(&format!("{adopted}/")));
                assert!(stands || is_adopted && outcome.status == Status::Updated, "{key}");
                stands
            });
        }
    }
}
