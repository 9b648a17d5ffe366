//! The coredns provider of external-dns, as it is, on one tree with us: each reads the other's records without harm, and leaves
//! them intact.

use std::collections::BTreeSet;

use dns_manager_host::{Call, contract::Status};
use dns_manager_tests::{
    app,
    change::{a, aaaa, add, cname, mx, remove, srv, txt},
    external_dns::{ExternalDns, Registry, endpoint},
    gateway::Tree,
    site::on_every_etcd,
};
use serde_json::json;

const ZONE: &str = "ex.test";

#[tokio::test(flavor = "multi_thread")]
async fn external_dns_reads_our_records_right_and_none_of_our_guards() {
    on_every_etcd(&[ZONE], async |site| {
        let Some(external_dns) = ExternalDns::new(&site.etcd.url()) else { return };
        let manager = app::manager(site).await;
        app::done(
            &manager,
            vec![
                add("web.ex.test", 60, [a("10.0.0.1"), a("10.0.0.2")]),
                add("web.ex.test", 60, [aaaa("2001:db8::1")]),
                add("deep.er.web.ex.test", 60, [txt("a text")]),
                add("www.ex.test", 60, [cname("web.ex.test")]),
                add("ex.test", 60, [a("10.0.0.3")]),
                add("ex.test", 60, [mx(10, "web.ex.test")]),
                add("_sip._tcp.ex.test", 60, [srv(10, 5, 5060, "web.ex.test")]),
            ],
        )
        .await;

        let ran = external_dns.for_domains(&[ZONE]).records();

        assert!(ran.error.is_empty() && !ran.panic, "{ran:?}");
        let read: BTreeSet<(String, String, String)> = ran
            .endpoints
            .iter()
            .flat_map(|endpoint| {
                endpoint.targets.iter().map(|target| {
                    (endpoint.dns_name.clone(), endpoint.record_type.clone(), target.trim_matches('"').to_owned())
                })
            })
            .collect();
        let ours = [
            ("ex.test", "A", "10.0.0.3"),
            ("deep.er.web.ex.test", "TXT", "a text"),
            ("web.ex.test", "A", "10.0.0.1"),
            ("web.ex.test", "A", "10.0.0.2"),
            // A fault of its own: of A and AAAA at one name it makes one endpoint of the first key's type.
            ("web.ex.test", "A", "2001:db8::1"),
            ("www.ex.test", "CNAME", "web.ex.test"),
        ];
        let ours = ours.map(|(name, rr_type, value)| (name.to_owned(), rr_type.to_owned(), value.to_owned()));
        assert_eq!(read, BTreeSet::from(ours));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_touches_what_the_other_wrote() {
    for (registry, is_strict) in [(Registry::Txt, false), (Registry::Txt, true), (Registry::Noop, true)] {
        on_every_etcd(&[ZONE], async |site| {
            let Some(external_dns) = ExternalDns::new(&site.etcd.url()) else { return };
            let external_dns = external_dns.for_domains(&[ZONE]).strict(is_strict, "xd");
            let manager = app::manager(site).await;
            app::done(
                &manager,
                vec![
                    add("ours.ex.test", 60, [a("10.0.0.1")]),
                    add("alias.ours.ex.test", 60, [cname("ours.ex.test")]),
                    add("ex.test", 60, [txt("ours")]),
                ],
            )
            .await;
            let before = site.tree().await;

            let one = endpoint("one.ex.test", "A", &["10.9.0.1", "10.9.0.2"]);
            let two = endpoint("two.ex.test", "CNAME", &["one.ex.test"]);
            external_dns.sync(registry, "sync", &json!([one, two]));
            let theirs = others(&site.tree().await, &before);
            assert!(theirs.len() >= 3, "{theirs:?}");
            assert_intact(&site.tree().await, &before);

            // We go on beside it, and are refused where its records stand.
            app::done(
                &manager,
                vec![add("more.ex.test", 60, [a("10.0.0.2")]), add("x.ours.ex.test", 60, [txt("below")])],
            )
            .await;
            let collision = vec![
                add("one.ex.test", 60, [a("10.0.0.9")]),
                remove("one.ex.test", None, []),
                remove("two.ex.test", None, []),
            ];
            let outcomes = manager.apply(collision, Call::default()).await.expect("a call");
            assert_eq!(outcomes[0].status, Status::Conflict, "{outcomes:#?}");
            assert!(outcomes.iter().all(|outcome| outcome.before == outcome.after), "{outcomes:#?}");
            let after = site.tree().await;
            for (key, value) in &theirs {
                assert_eq!(after.entries.get(key).map(|stored| stored.text()).as_ref(), Some(value), "{key}");
            }

            // It changes and deletes its own, and nothing else.
            let ours = site.tree().await;
            external_dns.sync(registry, "sync", &json!([endpoint("one.ex.test", "A", &["10.9.0.3"])]));
            external_dns.sync(registry, "sync", &json!([]));
            let left = site.tree().await;
            for (key, stored) in ours.entries.iter().filter(|(key, _)| !theirs.iter().any(|(its, _)| its == *key)) {
                assert_eq!(left.entries.get(key), Some(stored), "{registry:?} {is_strict}: {key}");
            }
            assert_eq!(
                left.entries.len(),
                ours.entries.len() - theirs.len(),
                "{registry:?} {is_strict}: {:?}",
                left.keys()
            );
            assert_eq!(site.coredns.ask("ours.ex.test", "A").await.sorted(), ["ours.ex.test. 60 A 10.0.0.1"]);
        })
        .await;
    }
}

/// What is in a tree and was not before.
fn others(tree: &Tree, before: &Tree) -> Vec<(String, String)> {
    let is_new = |key: &&String| !before.entries.contains_key(*key);
    tree.entries.keys().filter(is_new).map(|key| (key.clone(), tree.entries[key].text())).collect()
}

/// Everything that was there is as it was.
fn assert_intact(tree: &Tree, before: &Tree) {
    for (key, stored) in &before.entries {
        assert_eq!(tree.entries.get(key), Some(stored), "{key}");
    }
}
