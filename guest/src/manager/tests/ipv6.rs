//! PTR of IPv6 addresses, in short form; trees of the full form are read and mended.

use super::*;

pub(super) const ZONE_IP6: &str = "8.b.d.0.1.0.0.2.ip6.arpa";

/// The name of 2001:db8::x, its last nibble being `last`.
fn pointer(last: char) -> String {
    format!("{last}.{}{ZONE_IP6}", "0.".repeat(23))
}

fn ptr(target: &str) -> RData {
    RData::Ptr(name(target))
}

#[test]
fn the_first_ptr_of_an_ipv6_zone_takes_few_keys_and_requests() {
    let world = World::new(ZONE_IP6);
    assert_eq!(world.one(add(&pointer('1'), ptr("w.ex.test"))).status, Status::Created);
    assert_eq!(world.check_tree().len(), 1);
    assert_eq!(world.backend.tree().len(), 11, "{:#?}", world.backend.tree());
    assert_eq!(world.backend.requests.get(), 2, "one read and one write");
    assert_eq!(world.one(add(&pointer('2'), ptr("x.ex.test"))).status, Status::Created);
    assert_eq!(world.backend.tree().len(), 12);
    assert_eq!(world.one(remove(&pointer('1'))).status, Status::Deleted);
    assert!(world.backend.requests.get() <= 7, "{} for the second and a removal", world.backend.requests.get() - 2);
    world.check_tree();
}

/// The tree of releases before the short form: a guard pair, a marker and a guard at every name above a PTR, and a guard at its own.
fn full_form(lasts: &[char]) -> Vec<(String, String)> {
    let (layout, zone) = (Layout::new("skydns"), Zone::new(name(ZONE_IP6)).unwrap());
    let records: Vec<Record> = lasts
        .iter()
        .map(|last| Record {
            name: name(&pointer(*last)),
            data: ptr("w.ex.test"),
            ttl: 60,
            owner: Some("us".into()),
            resource: None,
        })
        .collect();
    let mut keys = layout.encode(std::slice::from_ref(&zone), &records);
    for record in &records {
        let (key, service) = layout.record(&zone, record);
        keys.insert(key, crate::skydns::service::Service { text: String::new(), ..service }.to_json());
        let guard = layout.guard_key(&record.name);
        let guard = layout.site(&zone, &record.name, &[], true).remove_entry(&guard).unwrap();
        keys.extend([guard]);
        for above in record.name.ancestors_up_to(zone.apex()) {
            keys.extend(layout.site(&zone, &above, &[], true));
            keys.extend(layout.reverse_guards(&above));
        }
    }
    keys.into_iter().collect()
}

#[test]
fn the_full_form_of_earlier_releases_is_read_and_mended() {
    let world = World::new(ZONE_IP6);
    let written = full_form(&['1', '2']);
    assert!(written.len() > 98, "{}", written.len());
    for (key, value) in &written {
        world.backend.put(key, Some(value));
    }
    let list = || {
        let options = Options { budget: Duration::from_secs(1), dry_run: false, request_id: String::new() };
        Manager::new(&world).list(&Filter::default(), None, 100, &options).unwrap()
    };
    assert_eq!((list().records.len(), list().problems.len()), (2, 0));

    // A third beside them is in short form and leaves what the two have.
    assert_eq!(world.one(add(&pointer('3'), ptr("w.ex.test"))).status, Status::Created);
    assert_eq!(world.backend.tree().len(), written.len() + 1);
    // To ask for a PTR again mends it; what both share stays as long as the other needs it.
    let outcome = world.one(add(&pointer('1'), ptr("w.ex.test")));
    assert_eq!((outcome.status, outcome.warnings.len()), (Status::Updated, 1), "{outcome:?}");
    assert_eq!(world.backend.tree().len(), written.len(), "its guard is gone");
    assert_eq!(world.one(remove(&pointer('2'))).status, Status::Deleted);
    assert_eq!(world.check_tree().len(), 2);

    // The same where all go.
    for (key, value) in full_form(&['1', '2']) {
        world.backend.put(&key, Some(&value));
    }
    world.apply(['1', '2', '3'].map(|last| remove(&pointer(last))).into());
    assert_eq!(world.backend.tree(), BTreeMap::new());
}
