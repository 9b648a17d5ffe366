//! Whatever changes come in whatever order: the tree is the encoding of its records.

use super::*;

/// Names that sort on all sides of the guards, and stand above and inside each other's zones.
pub(super) const NAMES: [&str; 22] = [
    "ex.test",
    "w.ex.test",
    "c.w.ex.test",
    "-d.w.ex.test",
    "0.w.ex.test",
    "a.0.w.ex.test",
    "_s.ex.test",
    "dns.ex.test",
    "x.dns.ex.test",
    "ns1.ns.dns.ex.test",
    "m.ex.test",
    "z.m.ex.test",
    "k.z.m.ex.test",
    "l.k.z.m.ex.test",
    "q.p.o.ex.test",
    "w-1.ex.test",
    "w0.ex.test",
    "1.0.0.10.in-addr.arpa",
    "0.0.10.in-addr.arpa",
    "2.1.0.10.in-addr.arpa",
    "i.z.m.ex.test",
    "apex.ex.test",
];

/// An IPv6 reverse zone, the names between it and two addresses, one of them, and what may stand beside them.
pub(super) const NAMES_IP6: [&str; 11] = [
    "8.b.d.0.1.0.0.2.ip6.arpa",
    "0.8.b.d.0.1.0.0.2.ip6.arpa",
    "1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "f.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "2.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "a.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "6.5.4.3.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "7.5.4.3.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "5.4.3.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "dns.8.b.d.0.1.0.0.2.ip6.arpa",
    "ns1.ns.dns.8.b.d.0.1.0.0.2.ip6.arpa",
];

pub(super) fn any_change(names: &'static [&'static str]) -> impl Strategy<Value = Change> {
    let data = prop_oneof![
        4 => (1u8..4).prop_map(a),
        1 => (1u16..3).prop_map(|i| RData::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, i].into())),
        3 => (0..names.len()).prop_map(|i| cname(names[i])),
        1 => Just(cname("ext.world")),
        if names.len() == NAMES.len() { 2 } else { 12 } => Just(RData::Ptr(name("w.ex.test"))),
        2 => "[a-c]".prop_map(|text| RData::Txt(text.into_bytes())),
        1 => Just(RData::Mx { preference: 10, exchange: name("w.ex.test") }),
        1 => (0u16..3).prop_map(|weight| RData::Srv { priority: 10, weight, port: 1, target: name("w.ex.test") }),
    ];
    (0..names.len(), data, 0..10).prop_map(|(i, data, what)| match what {
        0..5 => add(names[i], data),
        5..7 => replace(names[i], vec![data]),
        7 => {
            let rr_type = Some(data.rr_type());
            change(Action::Remove(Selector { name: name(names[i]), rr_type, data: vec![], resource: None }))
        }
        _ => remove(names[i]),
    })
}

/// Makes the changes, call by call, in the zones: the tree must be the encoding of its records after each, and empty in the end.
pub(super) fn assert_incremental_is_full(
    zones: &str,
    names: &[&str],
    calls: &[Vec<Change>],
) -> Result<(), TestCaseError> {
    let world = World::new(zones);
    for changes in calls {
        let outcomes = world.apply(changes.clone());
        prop_assert_eq!(outcomes.len(), changes.len());
        let failed = |outcome: &Outcome| matches!(outcome.status, Status::Failed | Status::Unknown);
        prop_assert!(!outcomes.iter().any(failed), "{:?}", outcomes);
        world.check_tree();
    }
    world.apply(names.iter().map(|name| remove(name)).collect());
    prop_assert_eq!(world.backend.tree(), BTreeMap::new());
    Ok(())
}

proptest! {
    #![proptest_config(Proptest::with_cases(150))]

    /// Whatever is changed, one call or many: the tree is the full encoding of the records that it holds, octet for octet.
    #[test]
    fn incremental_is_full(calls in prop::collection::vec(prop::collection::vec(any_change(&NAMES), 1..4), 1..40)) {
        for zones in ["ex.test 10.in-addr.arpa", "ex.test z.m.ex.test k.z.m.ex.test 10.in-addr.arpa 0.0.10.in-addr.arpa"] {
            assert_incremental_is_full(zones, &NAMES, &calls)?;
        }
    }

    /// The same in IPv6 reverse zones, where a PTR is in short form and everything else is not.
    #[test]
    fn incremental_is_full_in_ipv6_reverse_zones(
        calls in prop::collection::vec(prop::collection::vec(any_change(&NAMES_IP6), 1..4), 1..40),
    ) {
        for zones in [
            "8.b.d.0.1.0.0.2.ip6.arpa",
            "8.b.d.0.1.0.0.2.ip6.arpa 0.8.b.d.0.1.0.0.2.ip6.arpa",
            "8.b.d.0.1.0.0.2.ip6.arpa 5.4.3.1.0.8.b.d.0.1.0.0.2.ip6.arpa 1.0.8.b.d.0.1.0.0.2.ip6.arpa",
        ] {
            assert_incremental_is_full(zones, &NAMES_IP6, &calls)?;
        }
    }
}
