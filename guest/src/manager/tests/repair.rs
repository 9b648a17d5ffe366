//! Keys that were damaged, deleted or left over: they are found, told, and mended where they are ours.

use super::*;
use crate::change::Problem;

impl World {
    fn options(&self, dry_run: bool) -> Options {
        Options { budget: Duration::from_secs(60), dry_run, request_id: "test".into() }
    }

    /// All pages of all zones.
    fn repair(&self, dry_run: bool) -> Vec<Problem> {
        let (mut problems, options) = (Vec::new(), self.options(dry_run));
        for zone in self.settings["zones"].split(' ') {
            let mut cursor = None;
            for _ in 0..100 {
                let page = Manager::new(self).repair(&name(zone), cursor.as_deref(), &options).unwrap();
                problems.extend(page.problems);
                assert!(page.next.is_none() || page.next != cursor, "the cursor moves on");
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(cursor, None, "it ends");
        }
        problems
    }
}

/// `what place` of each.
fn told(problems: &[Problem]) -> Vec<String> {
    let mut told: Vec<String> = problems
        .iter()
        .map(|problem| match &problem.reason.code {
            Code::Other(what) => format!("{what} {}", problem.place),
            other => format!("{other:?} {}", problem.place),
        })
        .collect();
    told.sort();
    told
}

fn filled() -> World {
    let world = World::new("ex.test 10.in-addr.arpa");
    let srv = RData::Srv { priority: 1, weight: 7, port: 1, target: name("w.ex.test") };
    world.apply(vec![
        add("ex.test", a(1)),
        add("w.ex.test", a(1)),
        add("w.ex.test", srv),
        add("w.ex.test", RData::Txt(b"t".to_vec())),
        add("a.b.ex.test", cname("w.ex.test")),
        add("c.a.b.ex.test", a(2)),
        add("ns1.ns.dns.ex.test", a(3)),
        add("1.0.0.10.in-addr.arpa", RData::Ptr(name("w.ex.test"))),
    ]);
    world.check_tree();
    world
}

#[test]
fn a_sound_tree_is_left_alone() {
    let world = filled();
    let revision = world.backend.revision.get();
    assert_eq!(world.repair(false), []);
    assert_eq!(world.backend.revision.get(), revision);
    assert_eq!(World::new("ex.test").repair(false), []);
}

/// Each key of the structure is put back; with a record's own key the record is gone, and what only it needed.
#[test]
fn every_key_that_is_deleted_is_missed() {
    let sound = filled().backend.tree();
    for key in sound.keys() {
        let world = filled();
        world.backend.put(key, None);
        let is_record = matches!(Layout::new("skydns").decode(key.as_bytes(), sound[key].as_bytes()), Decoded::Ours(_));

        let dry = world.repair(true);
        assert_eq!(world.backend.tree().get(key), None, "a dry run of {key} writes nothing");
        let problems = world.repair(false);

        assert_eq!(told(&dry), told(&problems), "{key}");
        assert!(dry.iter().all(|problem| !problem.mended) && problems.iter().all(|problem| problem.mended), "{key}");
        world.check_tree();
        if !is_record {
            assert_eq!(told(&problems), [format!("missing {key}")]);
            assert_eq!(world.backend.tree(), sound, "{key}");
        }
        assert_eq!(world.repair(false), [], "{key}");
    }
}

#[test]
fn values_that_were_damaged_are_as_they_were() {
    let sound = filled().backend.tree();
    for (key, value) in &sound {
        for (from, to) in [
            (r#""group":""#, r#""group":"x."#),
            (r#""port":-1"#, r#""port":0"#),
            (r#""targetstrip":"#, r#""targetstrip":1"#),
            (r#"{"#, r#"{"note":1,"#),
        ] {
            let damaged = value.replace(from, to);
            if damaged == *value {
                continue;
            }
            let world = filled();
            world.backend.put(key, Some(&damaged));
            let problems = world.repair(false);
            if key.ends_with("ex/@GUARD") || key.ends_with("in-addr/10/@GUARD") {
                // The epoch: with the owner's mark it is ours in whatever form.
                assert!(!problems.is_empty(), "{key} {damaged}");
            }
            assert!(problems.iter().all(|problem| problem.mended), "{key} {damaged}: {problems:?}");
            assert_eq!(world.backend.tree(), sound, "{damaged}: {problems:?}");
        }
    }
}

#[test]
fn the_address_in_a_key_outweighs_its_value() {
    let world = filled();
    let sound = world.backend.tree();
    let key = "/skydns/test/ex/w/A-0A000001";
    world.backend.put(key, Some(&sound[key].replace("10.0.0.1", "10.6.6.6")));
    assert_eq!(told(&world.repair(false)), [format!("wrong {key}")]);
    assert_eq!(world.backend.tree(), sound);
}

/// At a plain key, which other programs use as well, one of the two marks of ours must be left: the group or the port.
#[test]
fn what_lost_both_marks_is_somebody_elses() {
    for (zones, owner, data) in
        [("ex.test", "alias.ex.test", cname("w.ex.test")), (ZONE_IP6, NAMES_IP6[0], RData::Ptr(name("w.ex.test")))]
    {
        let key = Layout::new("skydns").key(&name(owner));
        let marks = [(r#""group":""#, r#""group":"x."#), (r#""port":-1"#, r#""port":0"#)];
        for lost in [&marks[..1], &marks[1..], &marks[..]] {
            let world = World::new(zones);
            world.apply(vec![add(owner, data.clone())]);
            let sound = world.backend.tree();
            let damaged = lost.iter().fold(sound[&key].clone(), |value, (from, to)| value.replace(from, to));
            world.backend.put(&key, Some(&damaged));

            let problems = world.repair(false);

            if lost.len() == 1 {
                assert_eq!(told(&problems), [format!("wrong {key}")], "{damaged}");
                assert_eq!(world.backend.tree(), sound, "{damaged}");
            } else {
                assert!(problems.iter().any(|problem| problem.place != key && problem.mended), "{problems:?}");
                assert_eq!(world.backend.tree()[&key], damaged, "it is left as it is");
            }
        }
    }
}

#[test]
fn what_a_writer_left_that_died_goes() {
    let marker = r#"{"owner":"dns-manager"}"#;
    for world in [filled(), World::new("ex.test 10.in-addr.arpa")] {
        let sound = world.backend.tree();
        let left = [
            "/skydns/test/ex/gone",
            "/skydns/test/ex/gone/x",
            "/skydns/test/ex/gone/@GUARD",
            "/skydns/test/ex/gone/!B",
            "/skydns/test/ex/gone/!A/0123456789ABCDEF",
            "/skydns/test/ex/!A/0123456789ABCDEF",
            "/skydns/test/ex/w/CNAME-0123456789ABCDEF",
            "/skydns/test/ex/w/W-00010",
            "/skydns/test/ex/dns/ns/old",
            "/skydns/test/ex/dns/apex/x",
        ];
        for key in left {
            world.backend.put(key, Some(marker));
        }

        let problems = world.repair(false);

        assert!(problems.iter().all(|problem| problem.mended), "{problems:?}");
        for key in left {
            assert!(problems.iter().any(|problem| problem.place == key), "{key}: {:?}", told(&problems));
        }
        assert_eq!(world.backend.tree(), sound);
        assert_eq!(world.repair(false), []);
    }
}

#[test]
fn what_others_wrote_is_told_and_left() {
    let world = filled();
    let foreign = [
        ("/skydns/test/ex/w/1a2b3c4d", r#"{"host":"10.9.9.9","targetstrip":1}"#),
        ("/skydns/test/ex/y/1a2b3c4d", r#"{"host":"10.9.9.9","targetstrip":1,"owner":"us"}"#),
        ("/skydns/test/ex/z", r#"{"host":"x.world","owner":"us"}"#),
        ("/skydns/test/ex/v", "garbage"),
        ("/skydns/test/ex/b", r#"{"host":"10.9.9.9"}"#),
        ("/skydns/test/ex/u/MX-0123456789ABCDEF", r#"{"host":"10.9.9.9","owner":"us"}"#),
    ];
    for (key, value) in foreign {
        world.backend.put(key, Some(value));
    }

    let problems = world.repair(false);

    assert_eq!(
        told(&problems),
        [
            "OwnedBy(None) /skydns/test/ex/b",
            "Protocol /skydns/test/ex/u/MX-0123456789ABCDEF",
            "Protocol /skydns/test/ex/v",
        ]
    );
    assert!(problems.iter().all(|problem| !problem.mended), "{problems:?}");
    for (key, value) in foreign {
        assert_eq!(world.backend.tree()[key], value);
    }
}

#[test]
fn records_of_another_owner_are_told_and_left_and_their_structure_is_mended() {
    let mut world = filled();
    world.settings.insert("owner", "them".into());
    let key = "/skydns/test/ex/w/A-0A000001";
    let value = world.backend.tree()[key].replace(r#"{"#, r#"{"note":1,"#);
    world.backend.put(key, Some(&value));
    world.backend.put("/skydns/test/ex/w", None);
    let problems = world.repair(false);
    assert_eq!(told(&problems), [format!("OwnedBy(Some(\"us\")) {key}"), "missing /skydns/test/ex/w".to_owned()]);
    assert!(problems.iter().find(|problem| !problem.mended).unwrap().reason.message.contains("owner `us`"));
    assert_eq!(world.backend.tree()[key], value);
}

#[test]
fn an_alias_that_comes_meanwhile_keeps_its_guards() {
    let world = filled();
    let hash = crate::layout::digest(b"new.ex.test");
    world.backend.put(&format!("/skydns/test/ex/!A/{hash}"), Some(&world.backend.tree()[&guard_of(&world)]));
    world.backend.before_write.borrow_mut().push(Act(Box::new(|backend| {
        let other = World::new("ex.test 10.in-addr.arpa");
        *other.backend.versions.borrow_mut() = backend.versions.borrow().clone();
        other.backend.revision.set(backend.revision.get());
        assert_eq!(other.one(add("new.ex.test", cname("w.ex.test"))).status, Status::Created);
        *backend.versions.borrow_mut() = other.backend.versions.borrow().clone();
        backend.revision.set(other.backend.revision.get());
    })));
    let problems = world.repair(false);
    assert!(problems.iter().any(|problem| problem.reason.code == Code::Changed), "{problems:?}");
    world.check_tree();
}

fn guard_of(world: &World) -> String {
    world.backend.tree().into_keys().find(|key| key.starts_with("/skydns/test/ex/!A/")).unwrap()
}

#[test]
fn a_large_zone_is_repaired_in_pages() {
    let world = World::new("ex.test");
    let changes = (0..900)
        .flat_map(|i| [add(&format!("w{i}.ex.test"), a(1)), add(&format!("x{i}.app.ex.test"), cname("w.ex.test"))]);
    for changes in changes.collect::<Vec<_>>().chunks(1000) {
        world.apply(changes.to_vec());
    }
    let sound = world.backend.tree();
    let damaged: Vec<&String> =
        sound.keys().filter(|key| !key.contains("A-") && !key.contains("app/x")).step_by(7).collect();
    for key in &damaged {
        world.backend.put(key, None);
    }

    let problems = world.repair(false);

    assert_eq!(problems.len(), damaged.len());
    assert_eq!(world.backend.tree(), sound);
    assert_eq!(world.repair(true), []);
}

#[test]
fn only_zones_of_ours_are_repaired() {
    let world = filled();
    for (zone, cursor, code) in [
        ("w.ex.test", None, Code::OutsideZones),
        ("other.test", None, Code::OutsideZones),
        ("ex.test", Some("."), Code::Invalid),
    ] {
        let error = Manager::new(&world).repair(&name(zone), cursor, &world.options(false)).unwrap_err();
        assert_eq!(error.code, code, "{zone}");
    }
}

/// What happens to a tree by other hands.
#[derive(Clone, Debug)]
enum Damage {
    Delete(usize),
    Leave(usize, usize),
    Spoil(usize, usize),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => (0usize..1000).prop_map(Damage::Delete),
        2 => (0..NAMES.len(), 0usize..6).prop_map(|(name, leaf)| Damage::Leave(name, leaf)),
        1 => (0usize..1000, 0usize..4).prop_map(|(key, how)| Damage::Spoil(key, how)),
    ]
}

/// Damages a tree and repairs it: it must be the full encoding of the records that it holds.
fn assert_repaired(zones: &str, names: &[&str], changes: &[Change], damages: &[Damage]) -> Result<(), TestCaseError> {
    let world = World::new(zones);
    world.apply(changes.to_vec());
    let layout = Layout::new("skydns");
    let mut unmarked: BTreeMap<String, usize> = BTreeMap::new();
    for damage in damages {
        let tree = world.backend.tree();
        match damage {
            Damage::Leave(owner, leaf) => {
                let leaf = ["", "/@GUARD", "/!B", "/!A/0123456789ABCDEF", "/W-00010", "/CNAME-0123456789ABCDEF"][*leaf];
                let key = format!("{}{leaf}", layout.key(&name(names[*owner % names.len()])));
                if !tree.contains_key(&key) {
                    world.backend.put(&key, Some(r#"{"owner":"dns-manager"}"#));
                }
            }
            Damage::Delete(which) => {
                if let Some(key) = tree.keys().nth(which % tree.len().max(1)) {
                    world.backend.put(key, None);
                }
            }
            Damage::Spoil(which, how) => {
                if let Some((key, value)) = tree.iter().nth(which % tree.len().max(1)) {
                    // Of a value that lost both of its marks nobody can tell whose it is; that has a test of its own.
                    if *how < 2 && *unmarked.entry(key.clone()).or_insert(*how) != *how {
                        continue;
                    }
                    let (from, to) = [
                        (r#""group":""#, r#""group":"x."#),
                        (r#""port":-1"#, r#""port":0"#),
                        (r#""ttl":60"#, r#""ttl":61"#),
                        ("{", r#"{"note":1,"#),
                    ][*how];
                    world.backend.put(key, Some(&value.replace(from, to)));
                }
            }
        }
    }
    let (before, dry) = (world.backend.tree(), world.repair(true));
    prop_assert_eq!(&world.backend.tree(), &before);
    let problems = world.repair(false);
    prop_assert!(problems.iter().all(|problem| problem.mended), "{:?}", problems);
    prop_assert_eq!(dry.is_empty(), problems.is_empty());
    world.check_tree();
    // An outer zone may have come back to life with an inner one's mending: one more round finds nothing.
    prop_assert_eq!(world.repair(true), vec![]);
    Ok(())
}

proptest! {
    #![proptest_config(Proptest::with_cases(120))]

    /// Whatever keys are deleted, left over or spoilt.
    #[test]
    fn what_is_repaired_is_the_full_encoding(
        changes in prop::collection::vec(any_change(&NAMES), 1..40),
        damages in prop::collection::vec(any_damage(), 1..12),
    ) {
        for zones in ["ex.test 10.in-addr.arpa", "ex.test z.m.ex.test k.z.m.ex.test 10.in-addr.arpa 0.0.10.in-addr.arpa"] {
            assert_repaired(zones, &NAMES, &changes, &damages)?;
        }
    }

    /// The same where PTR are kept in short form.
    #[test]
    fn what_is_repaired_in_an_ipv6_zone_is_the_full_encoding(
        changes in prop::collection::vec(any_change(&NAMES_IP6), 1..40),
        damages in prop::collection::vec(any_damage(), 1..12),
    ) {
        assert_repaired(ZONE_IP6, &NAMES_IP6, &changes, &damages)?;
    }
}
