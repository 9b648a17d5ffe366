//! Records of servers, as people have them, from the library to an answer.

use std::time::Duration;

use dns_manager_host::{
    Call, DnsManager,
    contract::{Code, Filter, Status},
};
use dns_manager_tests::{
    app,
    change::{A, AAAA, CNAME, TXT, a, aaaa, add, cname, ptr, remove, replace, txt},
    dns::{self, Transport},
    proxy::Proxy,
    site::{Site, on_every_etcd},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const ZONE: &[&str] = &["ex.test"];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_either_address_family_or_both() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;

        let outcomes = app::apply(
            &manager,
            vec![
                add("four.ex.test", 300, [a("192.168.1.10")]),
                add("six.ex.test", 300, [aaaa("2001:db8::10")]),
                add("both.ex.test", 300, [a("192.168.1.11")]),
                add("both.ex.test", 300, [aaaa("2001:db8::11")]),
            ],
        )
        .await;

        assert_eq!(app::statuses(&outcomes), [Status::Created; 4]);
        let nothing: &[&str] = &[];
        for (name, rr_type, expected) in [
            ("four.ex.test", "A", &["four.ex.test. 300 A 192.168.1.10"] as &[_]),
            ("four.ex.test", "AAAA", nothing),
            ("six.ex.test", "A", nothing),
            ("six.ex.test", "AAAA", &["six.ex.test. 300 AAAA 2001:db8::10"]),
            ("both.ex.test", "A", &["both.ex.test. 300 A 192.168.1.11"]),
            ("both.ex.test", "AAAA", &["both.ex.test. 300 AAAA 2001:db8::11"]),
        ] {
            answers(site, name, rr_type, expected).await;
        }
        let all = ["four.ex.test", "six.ex.test", "both.ex.test"];
        app::done(&manager, all.iter().map(|name| remove(name, None, [])).collect()).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_moves_a_name_to_another_address() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(&manager, vec![add("web.ex.test", 300, [a("10.0.0.1")])]).await;

        let moved = app::apply(&manager, vec![replace("web.ex.test", 60, [a("10.0.0.2")])]).await;
        let again = app::apply(&manager, vec![replace("web.ex.test", 60, [a("10.0.0.2")])]).await;

        assert_eq!(app::statuses(&moved), [Status::Updated]);
        assert_eq!(app::statuses(&again), [Status::Unchanged]);
        answers(site, "web.ex.test", "A", &["web.ex.test. 60 A 10.0.0.2"]).await;
        app::done(&manager, vec![remove("web.ex.test", Some(A), [])]).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_values_come_and_go_one_by_one() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(&manager, vec![add("pool.ex.test", 120, [a("10.0.0.1"), a("10.0.0.2")])]).await;

        // The others take the new TTL, for a set has one (RFC 2181 5.2).
        app::done(&manager, vec![add("pool.ex.test", 60, [a("10.0.0.3")])]).await;
        let three = ["pool.ex.test. 60 A 10.0.0.1", "pool.ex.test. 60 A 10.0.0.2", "pool.ex.test. 60 A 10.0.0.3"];
        answers(site, "pool.ex.test", "A", &three).await;

        app::done(&manager, vec![remove("pool.ex.test", Some(A), [a("10.0.0.2")])]).await;
        answers(site, "pool.ex.test", "A", &[three[0], three[2]]).await;

        let absent = app::apply(&manager, vec![remove("pool.ex.test", Some(A), [a("10.0.0.2")])]).await;
        assert_eq!(app::statuses(&absent), [Status::Unchanged]);

        app::done(&manager, vec![remove("pool.ex.test", Some(A), [a("10.0.0.1"), a("10.0.0.3")])]).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_a_thousand_characters_arrives_octet_for_octet() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        let piece = r#"v=1; "quoted" back\slash \"both\" äöü→🦀 "#;
        let text: String = piece.chars().cycle().take(1000).collect();

        app::done(&manager, vec![add("long.ex.test", 300, [txt(&text)])]).await;

        assert_eq!(site.coredns.ask("long.ex.test", "TXT").await.texts, [text.as_bytes()]);
        app::done(&manager, vec![remove("long.ex.test", Some(TXT), [])]).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_every_awkward_length_arrive_octet_for_octet() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        let mut texts: Vec<String> = Vec::new();
        for length in [1, 2, 254, 255, 256, 509, 510, 511, 765, 1000] {
            texts.push("x".repeat(length));
            texts.push("\\".repeat(length.min(600)));
            texts.push(format!("{}\\y", "x".repeat(length)));
            texts.push(format!("{}é", "x".repeat(length)));
        }
        let mut random = StdRng::seed_from_u64(20_250_101);
        for _ in 0..40 {
            let length = random.random_range(1..600);
            let alphabet: Vec<char> = "ab\\\"é; ".chars().collect();
            texts.push((0..length).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect());
        }
        let changes = texts.iter().enumerate().map(|(index, text)| add(&format!("t{index}.ex.test"), 300, [txt(text)]));

        let outcomes = app::apply(&manager, changes.collect()).await;

        for (index, text) in texts.iter().enumerate() {
            assert_eq!(outcomes[index].status, Status::Created, "{text:?}: {:?}", outcomes[index].reason);
            let answer = site.coredns.ask(&format!("t{index}.ex.test"), "TXT").await;
            assert_eq!(answer.texts, [text.as_bytes()], "text {index} of {} octets: {text:?}", text.len());
        }
        let names = (0..texts.len()).map(|index| remove(&format!("t{index}.ex.test"), None, []));
        app::done(&manager, names.collect()).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_followed_to_its_target() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(
            &manager,
            vec![
                add("web.ex.test", 300, [a("10.0.0.1"), a("10.0.0.2")]),
                add("www.ex.test", 60, [cname("web.ex.test")]),
            ],
        )
        .await;

        answers(site, "www.ex.test", "CNAME", &["www.ex.test. 60 CNAME web.ex.test."]).await;
        answers(
            site,
            "www.ex.test",
            "A",
            &["web.ex.test. 300 A 10.0.0.1", "web.ex.test. 300 A 10.0.0.2", "www.ex.test. 60 CNAME web.ex.test."],
        )
        .await;

        app::done(&manager, vec![replace("www.ex.test", 60, [cname("web2.ex.test")])]).await;
        answers(site, "www.ex.test", "CNAME", &["www.ex.test. 60 CNAME web2.ex.test."]).await;

        app::done(&manager, vec![remove("www.ex.test", Some(CNAME), []), remove("web.ex.test", None, [])]).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_beside_other_data_is_a_conflict() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(
            &manager,
            vec![add("web.ex.test", 300, [a("10.0.0.1")]), add("www.ex.test", 300, [cname("web.ex.test")])],
        )
        .await;
        let before = site.tree().await;

        let outcomes = app::apply(
            &manager,
            vec![
                add("web.ex.test", 300, [cname("www.ex.test")]),
                add("www.ex.test", 300, [a("10.0.0.2")]),
                add("other.ex.test", 300, [a("10.0.0.3")]),
            ],
        )
        .await;

        assert_eq!(app::statuses(&outcomes), [Status::Conflict, Status::Conflict, Status::Created]);
        for outcome in &outcomes[..2] {
            let reason = outcome.reason.as_ref().expect("a conflict says why");
            assert_eq!(reason.code.name(), "coexistence", "{reason:?}");
        }
        app::done(&manager, vec![remove("other.ex.test", None, [])]).await;
        assert_eq!(site.tree().await.values(), before.values());
    })
    .await;
}

/// One question about such a loop would kill CoreDNS.
#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_closes_a_loop_is_refused_also_across_zones() {
    on_every_etcd(&["a.test", "b.test"], async |site| {
        let manager = app::manager(site).await;
        app::done(
            &manager,
            vec![add("one.a.test", 300, [cname("two.b.test")]), add("two.b.test", 300, [cname("three.a.test")])],
        )
        .await;
        let before = site.tree().await;

        for (owner, target) in
            [("three.a.test", "one.a.test"), ("three.a.test", "two.b.test"), ("x.a.test", "x.a.test")]
        {
            for change in [add(owner, 300, [cname(target)]), replace(owner, 300, [cname(target)])] {
                let outcome = app::apply(&manager, vec![change]).await.remove(0);
                assert_eq!(outcome.status, Status::Refused, "{owner} -> {target}: {outcome:?}");
                let reason = outcome.reason.expect("a refusal says why");
                assert!(reason.message.contains(owner) && reason.message.contains(target), "{reason:?}");
            }
        }

        assert_eq!(site.tree().await.values(), before.values());
        app::done(&manager, vec![remove("one.a.test", None, []), remove("two.b.test", None, [])]).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_are_found_out_by_asking_where_none_are_configured() {
    on_every_etcd(&["ex.test", "in.ex.test", "0.0.10.in-addr.arpa"], async |site| {
        let manager = DnsManager::builder()
            .component(dns_manager_guest_artifact::COMPONENT)
            .backend([site.etcd.url()])
            .nameservers([site.coredns.address().to_string()])
            .build()
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        let changes = vec![
            add("web.ex.test", 300, [a("10.0.0.1")]),
            add("deep.web.in.ex.test", 300, [a("10.0.0.2")]),
            add("in.ex.test", 300, [a("10.0.0.3")]),
            add("1.0.0.10.in-addr.arpa", 300, [ptr("web.ex.test")]),
            add("web.elsewhere.test", 300, [a("10.0.0.1")]),
        ];

        let outcomes = app::apply(&manager, changes).await;

        let (last, inside) = outcomes.split_last().expect("outcomes");
        assert_eq!(app::statuses(inside), [Status::Created; 4], "{outcomes:#?}");
        assert_eq!(last.status, Status::Refused, "{last:?}");
        assert_eq!(last.reason.as_ref().expect("a refusal says why").code, Code::OutsideZones, "{last:?}");
        answers(site, "deep.web.in.ex.test", "A", &["deep.web.in.ex.test. 300 A 10.0.0.2"]).await;
        answers(site, "web.in.ex.test", "A", &[]).await;
        answers(site, "in.ex.test", "A", &["in.ex.test. 300 A 10.0.0.3"]).await;
        answers(site, "1.0.0.10.in-addr.arpa", "PTR", &["1.0.0.10.in-addr.arpa. 300 PTR web.ex.test."]).await;
        let names = ["web.ex.test", "deep.web.in.ex.test", "in.ex.test", "1.0.0.10.in-addr.arpa"];
        app::done(&manager, names.iter().map(|name| remove(name, None, [])).collect()).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parent_and_child_keep_their_own_records() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(
            &manager,
            vec![
                add("app.ex.test", 300, [a("10.0.0.1")]),
                add("app.ex.test", 300, [txt("parent")]),
                add("v1.app.ex.test", 300, [a("10.0.0.2")]),
                add("v1.app.ex.test", 300, [txt("child")]),
                add("alias.app.ex.test", 300, [cname("v1.app.ex.test")]),
                add("0.app.ex.test", 300, [aaaa("2001:db8::1")]),
                add("deep.er.ex.test", 300, [a("10.0.0.9")]),
            ],
        )
        .await;

        for (name, rr_type, expected) in [
            ("app.ex.test", "A", &["app.ex.test. 300 A 10.0.0.1"] as &[_]),
            ("app.ex.test", "AAAA", &[]),
            ("app.ex.test", "TXT", &["app.ex.test. 300 TXT \"parent\""]),
            ("app.ex.test", "CNAME", &[]),
            ("v1.app.ex.test", "A", &["v1.app.ex.test. 300 A 10.0.0.2"]),
            ("v1.app.ex.test", "TXT", &["v1.app.ex.test. 300 TXT \"child\""]),
            ("er.ex.test", "A", &[]),
            ("er.ex.test", "TXT", &[]),
            ("er.ex.test", "MX", &[]),
        ] {
            answers(site, name, rr_type, expected).await;
        }
        let absent = site.coredns.ask("nope.app.ex.test", "A").await;
        assert_eq!((absent.rcode.as_str(), absent.answers.len()), ("NXDOMAIN", 0));

        // The child goes, the parent stays as it was.
        app::done(&manager, vec![remove("v1.app.ex.test", None, []), remove("alias.app.ex.test", None, [])]).await;
        answers(site, "app.ex.test", "A", &["app.ex.test. 300 A 10.0.0.1"]).await;
        assert_eq!(site.coredns.ask("v1.app.ex.test", "A").await.rcode, "NXDOMAIN");

        let rest = ["app.ex.test", "0.app.ex.test", "deep.er.ex.test"];
        app::done(&manager, rest.iter().map(|name| remove(name, None, [])).collect()).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_sets_are_answered_whole_over_udp_and_tcp() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        let addresses: Vec<_> = (1..=50).map(|last| aaaa(&format!("2001:db8::{last:x}"))).collect();

        app::done(&manager, vec![add("many.ex.test", 300, addresses)]).await;

        assert_eq!(site.coredns.ask("many.ex.test", "AAAA").await.answers.len(), 50);
        let patience = Duration::from_secs(15);
        let short =
            dns::try_ask(site.coredns.address(), "many.ex.test", "AAAA", Transport::Udp, patience).await.unwrap();
        assert!(short.truncated, "50 addresses do not fit a datagram of 512 octets");
        assert!(manager.verify_dns_resolution("many.ex.test").await.unwrap());
        app::done(&manager, vec![remove("many.ex.test", Some(AAAA), [])]).await;
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_five_calls_do_what_they_say() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        let address = |text: &str| text.parse().unwrap();

        manager.register_server_dns("web-01.ex.test", address("192.168.1.10")).await.unwrap();
        manager.register_server_dns("web-01.ex.test", address("2001:db8::10")).await.unwrap();
        assert!(manager.verify_dns_resolution("web-01.ex.test").await.unwrap());
        answers(site, "web-01.ex.test", "A", &["web-01.ex.test. 300 A 192.168.1.10"]).await;

        manager.update_dns_record("web-01.ex.test", address("192.168.1.20")).await.unwrap();
        answers(site, "web-01.ex.test", "A", &["web-01.ex.test. 300 A 192.168.1.20"]).await;
        answers(site, "web-01.ex.test", "AAAA", &["web-01.ex.test. 300 AAAA 2001:db8::10"]).await;
        assert_eq!(manager.list_records().await.unwrap().len(), 2);

        manager.unregister_server_dns("web-01.ex.test").await.unwrap();
        assert!(!manager.verify_dns_resolution("web-01.ex.test").await.unwrap());
        assert_eq!(site.coredns.ask("web-01.ex.test", "A").await.rcode, "NXDOMAIN");
        assert_eq!(manager.list_records().await.unwrap(), []);
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_records_are_neither_changed_nor_removed() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        let somebody = app::builder(&site.etcd.url(), site.coredns.address(), &site.zones)
            .setting("owner", "somebody")
            .build()
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        app::done(&somebody, vec![add("theirs.ex.test", 300, [a("10.9.9.9")])]).await;
        site.gateway().put("/skydns/test/ex/nobodys", r#"{"host":"10.9.9.8"}"#).await;
        let before = site.tree().await;

        let outcomes = app::apply(
            &manager,
            vec![
                add("theirs.ex.test", 300, [a("10.0.0.1")]),
                replace("nobodys.ex.test", 300, [a("10.0.0.1")]),
                remove("theirs.ex.test", None, []),
                add("ours.ex.test", 300, [a("10.0.0.1")]),
            ],
        )
        .await;

        for (outcome, owner) in [(&outcomes[0], Some("somebody")), (&outcomes[1], None)] {
            assert_eq!(outcome.status, Status::Conflict, "{outcome:?}");
            let code = outcome.reason.as_ref().map(|reason| reason.code.clone());
            assert_eq!(code, Some(Code::OwnedBy(owner.map(str::to_owned))), "{outcome:?}");
        }
        assert_ne!(outcomes[2].status, Status::Deleted, "{:?}", outcomes[2]);
        assert_eq!(outcomes[3].status, Status::Created, "{:?}", outcomes[3]);
        app::done(&manager, vec![remove("ours.ex.test", None, [])]).await;
        assert_eq!(site.tree().await.values(), before.values());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_names_take_few_requests_and_come_back_in_pages() {
    on_every_etcd(ZONE, async |site| {
        let proxy = Proxy::start(site.etcd.address()).await;
        let manager = app::manager_at(site, &proxy.url()).await;
        let names: Vec<String> = (0..300).map(|number| format!("web-{number:03}.ex.test")).collect();

        app::done(&manager, names.iter().map(|name| add(name, 300, [a("10.0.0.1"), a("10.0.0.2")])).collect()).await;

        // Three keys a name, 128 operations a transaction.
        let writes = proxy.writes().len();
        assert!((8..=16).contains(&writes), "{writes} writes");
        assert!(proxy.requests().len() <= 40, "{} requests", proxy.requests().len());
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = manager.list(Filter::default(), cursor, 50, Call::default()).await.unwrap();
            let mut last: Vec<String> = page.entries.iter().map(|entry| entry.name.clone()).collect();
            last.dedup();
            assert!(last.first().is_none_or(|name| !seen.contains(name)), "a set spans pages: {last:?}");
            seen.extend(last);
            pages += 1;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        seen.sort();
        assert_eq!(seen, names);
        assert!(pages > 5, "{pages} pages");
        let removed = app::done(&manager, names.iter().map(|name| remove(name, None, [])).collect()).await;
        assert_eq!(app::statuses(&removed), vec![Status::Deleted; 300]);
        nothing_is_left(site).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(&manager, vec![add("web.ex.test", 300, [a("10.0.0.1")])]).await;
        let before = site.tree().await;

        let call = Call { dry_run: true, ..Default::default() };
        let changes = vec![
            add("new.ex.test", 300, [a("10.0.0.2")]),
            replace("web.ex.test", 300, [a("10.0.0.3")]),
            remove("web.ex.test", None, []),
        ];
        let outcomes = manager.apply(changes, call).await.unwrap();

        assert_eq!(outcomes[0].status, Status::Created);
        assert_eq!(outcomes[1].status, Status::Updated);
        assert_eq!(outcomes[2].status, Status::Deleted);
        assert_eq!(site.tree().await, before);
    })
    .await;
}

/// CoreDNS answers exactly this, in any order; a name without data of the type is no absent name.
async fn answers(site: &Site, name: &str, rr_type: &str, expected: &[&str]) {
    let answer = site.coredns.ask(name, rr_type).await;
    assert_eq!(answer.rcode, "NOERROR", "{name} {rr_type}: {answer:?}");
    assert!(answer.authoritative, "{name} {rr_type}: {answer:?}");
    assert_eq!(answer.sorted(), expected, "{name} {rr_type}");
}

async fn nothing_is_left(site: &Site) {
    let tree = site.tree().await;
    assert!(tree.is_empty(), "after the last removal: {:#?}", tree.values());
}
