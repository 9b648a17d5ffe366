//! PTR of IPv6 addresses, in short form: few keys, and CoreDNS's answers at the address, at the names above it, and in a tree of a
//! release that wrote the full form.

use dns_manager_guest::{
    layout::{Keys, Layout},
    name::Name,
    rdata::RData,
    record::Record,
    skydns::service::Service,
    zone::Zone,
};
use dns_manager_tests::{
    app,
    change::{a, add, ptr, remove, txt},
    site::{Site, on_every_etcd},
};

const ZONE: &str = "8.b.d.0.1.0.0.2.ip6.arpa";
const ZONES: &[&str] = &[ZONE];
const LASTS: [&str; 4] = ["0", "1", "f", "2"];

/// The name of 2001:db8::1:x, or of another when the nibbles above it are others.
fn pointer(last: &str, above: &str) -> String {
    format!("{last}.0.0.0.{above}.{}{ZONE}", "0.".repeat(19))
}

/// The names between an address and its zone.
fn between(pointer: &str) -> Vec<String> {
    let name: Name = pointer.parse().expect("a name");
    let apex: Name = ZONE.parse().expect("a name");
    name.ancestors_up_to(&apex).into_iter().filter(|above| *above != apex).map(|above| above.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_ptr_takes_few_keys_and_leaks_into_nothing() {
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        let first = pointer("0", "1");
        app::done(&manager, vec![add(&first, 300, [ptr("h0.ex.test")])]).await;
        assert_eq!(site.tree().await.entries.len(), 11, "the zone's own ten, and one: {:#?}", site.tree().await.keys());
        for (i, last) in LASTS.iter().enumerate().skip(1) {
            app::done(&manager, vec![add(&pointer(last, "1"), 60, [ptr(&format!("h{i}.ex.test"))])]).await;
        }
        app::done(&manager, vec![add(&pointer("0", "a"), 60, [ptr("h0.ex.test")])]).await;
        assert_eq!(site.tree().await.entries.len(), 15);
        app::done(&manager, vec![add(ZONE, 60, [txt("apex")])]).await;

        assert_pointers(site, &LASTS).await;
        assert_above(site, &first, "NXDOMAIN").await;
        assert_eq!(site.coredns.ask(ZONE, "TXT").await.texts, [b"apex"]);
        for rr_type in ["A", "AAAA", "PTR", "CNAME", "MX", "SRV"] {
            assert_no_data(site, ZONE, rr_type).await;
        }
        assert_eq!(site.coredns.ask(&pointer("9", "1"), "PTR").await.rcode, "NXDOMAIN");
        assert_eq!(site.coredns.ask(&pointer("0", "b"), "A").await.rcode, "NXDOMAIN");

        app::done(&manager, LASTS.iter().map(|last| remove(&pointer(last, "1"), None, [])).collect()).await;
        app::done(&manager, vec![remove(&pointer("0", "a"), None, []), remove(ZONE, None, [])]).await;
        assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.keys());
    })
    .await;
}

/// What is no PTR has all of its structure, and is answered as in any other zone.
#[tokio::test(flavor = "multi_thread")]
async fn other_records_beside_ipv6_ptrs_are_answered_alone() {
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        let [high, low] = [format!("a.{ZONE}"), format!("b.0.a.{ZONE}")];
        let pointers = [format!("1.0.a.{ZONE}"), format!("c.b.0.a.{ZONE}"), format!("1.{ZONE}"), format!("0.a.{ZONE}")];
        app::done(&manager, pointers.iter().map(|name| add(name, 60, [ptr("w.ex.test")])).collect()).await;
        app::done(
            &manager,
            vec![add(&high, 60, [a("10.0.0.1")]), add(&low, 60, [a("10.0.0.2")]), add(&low, 60, [txt("low")])],
        )
        .await;

        assert_eq!(site.coredns.ask(&high, "A").await.answers, [format!("{high}. 60 A 10.0.0.1")]);
        assert_eq!(site.coredns.ask(&low, "A").await.answers, [format!("{low}. 60 A 10.0.0.2")]);
        assert!(site.coredns.ask(&low, "TXT").await.texts.contains(&b"low".to_vec()));
        for name in &pointers {
            assert_eq!(site.coredns.ask(name, "PTR").await.answers, [format!("{name}. 60 PTR w.ex.test.")]);
            assert_no_data(site, name, "A").await;
        }
        // A name with such a record below it is there for every question.
        assert_no_data(site, &high, "PTR").await;
        assert_no_data(site, &high, "TXT").await;

        app::done(&manager, [&high, &low].map(|name| remove(name, None, [])).into()).await;
        for name in &pointers {
            assert_eq!(site.coredns.ask(name, "PTR").await.answers, [format!("{name}. 60 PTR w.ex.test.")]);
        }
        assert_eq!(site.tree().await.entries.len(), 14);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_in_the_full_form_is_read_answered_and_mended() {
    on_every_etcd(ZONES, async |site| {
        let old = full_form(&["0", "1"]);
        assert!(old.len() > 98);
        let entries: Vec<_> = old.into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
        site.gateway().put_all(&entries).await;
        let manager = app::manager(site).await;
        assert_eq!(app::entries(&manager).await.len(), 2);
        let first = pointer("0", "1");
        assert_above(site, &first, "NOERROR").await;

        // Beside them one in short form: all are answered, and nothing leaks.
        app::done(&manager, vec![add(&pointer("f", "1"), 60, [ptr("h2.ex.test")])]).await;
        assert_pointers(site, &["0", "1", "f"]).await;
        assert_above(site, &first, "NOERROR").await;

        // Those who register them again mend them.
        let outcomes = app::done(
            &manager,
            vec![add(&first, 300, [ptr("h0.ex.test")]), add(&pointer("1", "1"), 60, [ptr("h1.ex.test")])],
        )
        .await;
        assert!(outcomes.iter().all(|outcome| outcome.warnings.len() == 1), "{outcomes:?}");
        assert_eq!(site.tree().await.entries.len(), 13);
        assert_pointers(site, &["0", "1", "f"]).await;
        assert_above(site, &first, "NXDOMAIN").await;

        app::done(&manager, ["0", "1", "f"].map(|last| remove(&pointer(last, "1"), None, [])).into()).await;
        assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.keys());
    })
    .await;
}

/// Each has its PTR, and no data of any other type.
async fn assert_pointers(site: &Site, lasts: &[&str]) {
    for (i, last) in lasts.iter().enumerate() {
        let name = pointer(last, "1");
        let ttl = if i == 0 { 300 } else { 60 };
        assert_eq!(site.coredns.ask(&name, "PTR").await.answers, [format!("{name}. {ttl} PTR h{i}.ex.test.")]);
        for rr_type in ["A", "AAAA", "MX", "SRV", "CAA", "NS"] {
            assert_no_data(site, &name, rr_type).await;
        }
    }
}

/// The names above have no data; `rcode` is what PTR and CNAME questions there get.
async fn assert_above(site: &Site, pointer: &str, rcode: &str) {
    for above in between(pointer) {
        for rr_type in ["A", "AAAA", "MX", "SRV", "CAA", "NS"] {
            assert_no_data(site, &above, rr_type).await;
        }
        for rr_type in ["PTR", "CNAME"] {
            let answer = site.coredns.ask(&above, rr_type).await;
            assert_eq!((answer.rcode.as_str(), answer.answers.len()), (rcode, 0), "{above} {rr_type}: {answer:?}");
        }
    }
}

async fn assert_no_data(site: &Site, name: &str, rr_type: &str) {
    let answer = site.coredns.ask(name, rr_type).await;
    assert_eq!((answer.rcode.as_str(), answer.answers.len()), ("NOERROR", 0), "{name} {rr_type}: {answer:?}");
}

/// What releases before the short form wrote: guards and markers at every name above, and a guard at the PTR.
fn full_form(lasts: &[&str]) -> Keys {
    let (layout, zone) = (Layout::new("skydns"), Zone::new(ZONE.parse().expect("a name")).expect("a zone"));
    let mut keys = Keys::new();
    for (i, last) in lasts.iter().enumerate() {
        let record = Record {
            name: pointer(last, "1").parse().expect("a name"),
            data: RData::Ptr(format!("h{i}.ex.test").parse().expect("a name")),
            ttl: if i == 0 { 300 } else { 60 },
            owner: Some(app::OWNER.to_owned()),
            resource: None,
        };
        keys.extend(layout.encode(std::slice::from_ref(&zone), std::slice::from_ref(&record)));
        let (key, service) = layout.record(&zone, &record);
        keys.insert(key, Service { text: String::new(), ..service }.to_json());
        keys.extend(layout.site(&zone, &record.name, &[], true).remove_entry(&layout.guard_key(&record.name)));
        for above in record.name.ancestors_up_to(zone.apex()) {
            keys.extend(layout.site(&zone, &above, &[], true));
            keys.extend(layout.reverse_guards(&above));
        }
    }
    keys
}
