//! Whose a record is: what others wrote is listed and left, adopted when that
//! is asked for, and ours is handed back; keys that were damaged are mended.

use std::sync::atomic::{AtomicUsize, Ordering};

use dns_manager_host::{
    Call, DnsManager,
    contract::{Change, Code, Filter, Problem, Status},
};
use dns_manager_tests::{
    app,
    change::{A, TXT, a, aaaa, add, adopt, cname, mx, ptr, release, remove, srv, txt},
    cli::Installation,
    gateway::Tree,
    proxy::{Fault, Proxy, Reply},
    site::{Site, on_every_etcd},
};
use serde_json::{Value, json};

const ZONES: &[&str] = &["ex.test", "0.0.10.in-addr.arpa"];

/// As external-dns and people write them: a leaf below the name, or the plain key.
const FOREIGN: [(&str, &str); 8] = [
    ("/skydns/test/ex/app/1a2b3c4d", r#"{"host":"10.9.0.1","ttl":60,"targetstrip":1,"owner":"xd"}"#),
    ("/skydns/test/ex/app/5e6f7081", r#"{"host":"10.9.0.2","ttl":60,"targetstrip":1,"owner":"xd"}"#),
    ("/skydns/test/ex/a-app/1a2b3c4d", r#"{"text":"heritage=external-dns","targetstrip":1,"owner":"xd"}"#),
    ("/skydns/test/ex/www/0a0b0c0d", r#"{"host":"app.ex.test","targetstrip":1}"#),
    ("/skydns/test/ex/hand", r#"{"host":"10.9.0.3","ttl":120}"#),
    ("/skydns/test/ex/note", r#"{"text":"by hand"}"#),
    ("/skydns/test/ex/deep/er", r#"{ "host" : "10.9.0.4" }"#),
    ("/skydns/arpa/in-addr/10/0/0/7", r#"{"host":"app.ex.test"}"#),
];

#[tokio::test(flavor = "multi_thread")]
async fn records_of_others_are_listed_with_their_owner_and_left() {
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        put(site, &FOREIGN).await;

        let listed = app::entries(&manager).await;
        let outcomes = app::apply(
            &manager,
            vec![
                add("app.ex.test", 300, [a("10.0.0.1")]),
                add("hand.ex.test", 300, [txt("t")]),
                remove("app.ex.test", Some(A), []),
                release("app.ex.test", None),
                add("beside.ex.test", 300, [a("10.0.0.1")]),
                add("below.hand.ex.test", 300, [a("10.0.0.2")]),
            ],
        )
        .await;

        assert_eq!(listed.len(), FOREIGN.len());
        assert!(listed.iter().all(|entry| !entry.mine));
        let owner = |name: &str| listed.iter().find(|entry| entry.name == name).and_then(|entry| entry.owner.clone());
        assert_eq!((owner("app.ex.test").as_deref(), owner("hand.ex.test")), (Some("xd"), None));
        for (outcome, by, words) in [
            (&outcomes[0], Some("xd"), "of owner `xd`"),
            (&outcomes[1], None, "of no known owner"),
            (&outcomes[2], Some("xd"), "of owner `xd`"),
        ] {
            let reason = outcome.reason.as_ref().expect("a conflict says why");
            assert_eq!(outcome.status, Status::Conflict);
            assert!(matches!(&reason.code, Code::OwnedBy(owner) if owner.as_deref() == by), "{reason:?}");
            assert!(reason.message.contains(words), "{}", reason.message);
        }
        assert_eq!(app::statuses(&outcomes[3..]), [Status::Unchanged, Status::Created, Status::Created]);
        app::done(&manager, ["beside.ex.test", "below.hand.ex.test"].map(|name| remove(name, None, [])).to_vec()).await;
        assert_foreign_is_untouched(&site.tree().await, &[]);
        assert_eq!(site.tree().await.entries.len(), FOREIGN.len(), "nothing of ours is left");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_adopted_and_answered_right_away() {
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        put(site, &FOREIGN).await;
        let dry = Call { dry_run: true, ..Call::default() };
        let names = ["app.ex.test", "www.ex.test", "hand.ex.test", "note.ex.test", "7.0.0.10.in-addr.arpa"];
        let adoptions: Vec<Change> = names.iter().map(|name| adopt(name, None)).collect();
        let told = manager.apply(adoptions.clone(), dry).await.expect("a dry run");
        assert_foreign_is_untouched(&site.tree().await, &[]);

        let outcomes = app::apply(&manager, adoptions.clone()).await;

        assert_eq!(app::statuses(&outcomes), [Status::Updated; 5], "{outcomes:#?}");
        assert_eq!(app::statuses(&told), app::statuses(&outcomes));
        for (told, outcome) in told.iter().zip(&outcomes) {
            assert_eq!(told.token, outcome.token);
            assert!(outcome.after.iter().all(|entry| entry.mine));
            assert!(outcome.before.iter().all(|entry| !entry.mine));
        }
        assert_eq!(app::statuses(&app::apply(&manager, adoptions).await), [Status::Unchanged; 5]);
        assert_foreign_is_untouched(&site.tree().await, &["ex/app/", "ex/www/", "ex/hand", "ex/note", "0/7"]);
        // What is below no longer leaks into them.
        app::done(&manager, vec![add("x.app.ex.test", 300, [a("10.0.0.9"), a("10.0.0.8")])]).await;
        for (name, rr_type, expected) in [
            ("app.ex.test", "A", &["app.ex.test. 60 A 10.9.0.1", "app.ex.test. 60 A 10.9.0.2"] as &[_]),
            ("app.ex.test", "TXT", &[]),
            (
                "www.ex.test",
                "A",
                &["app.ex.test. 60 A 10.9.0.1", "app.ex.test. 60 A 10.9.0.2", "www.ex.test. 300 CNAME app.ex.test."],
            ),
            ("www.ex.test", "CNAME", &["www.ex.test. 300 CNAME app.ex.test."]),
            ("hand.ex.test", "A", &["hand.ex.test. 120 A 10.9.0.3"]),
            ("note.ex.test", "TXT", &["note.ex.test. 300 TXT \"by hand\""]),
            ("7.0.0.10.in-addr.arpa", "PTR", &["7.0.0.10.in-addr.arpa. 300 PTR app.ex.test."]),
        ] {
            answers(site, name, rr_type, expected).await;
        }
        assert_sound(&manager).await;
        let all = names.iter().chain(&["x.app.ex.test"]).map(|name| remove(name, None, []));
        app::done(&manager, all.collect()).await;
        assert_eq!(site.tree().await.entries.len(), 2, "what was not adopted");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_be_answered_rightly_is_not_adopted() {
    let refused = [
        ("mail.ex.test", "/skydns/test/ex/mail/x", r#"{"host":"mx.world","mail":true,"targetstrip":1}"#, "as MX, too"),
        ("svc.ex.test", "/skydns/test/ex/svc", r#"{"host":"10.0.0.1","port":443}"#, "as SRV with port 443, too"),
        ("both.ex.test", "/skydns/test/ex/both", r#"{"host":"x.world","text":"t"}"#, "cannot stand beside"),
        ("loop.ex.test", "/skydns/test/ex/loop", r#"{"host":"loop.ex.test"}"#, "close a loop"),
        ("bad.ex.test", "/skydns/test/ex/bad", r#"{"host":"#, "cannot be read"),
    ];
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        let keys: Vec<(&str, &str)> = refused.iter().map(|(_, key, value, _)| (*key, *value)).collect();
        put(site, &keys).await;
        let before = site.tree().await;

        let outcomes = app::apply(&manager, refused.iter().map(|(name, ..)| adopt(name, None)).collect()).await;

        for ((name, _, _, words), outcome) in refused.iter().zip(&outcomes) {
            assert!(matches!(outcome.status, Status::Refused | Status::Conflict), "{name}: {outcome:?}");
            let message = &outcome.reason.as_ref().expect("a reason").message;
            assert!(message.contains(words), "{name}: {message}");
        }
        assert_eq!(site.tree().await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_hand_a_name_over_and_back() {
    on_every_etcd(ZONES, async |site| {
        let ours = app::manager(site).await;
        let theirs = app::builder(&site.etcd.url(), site.coredns.address(), &site.zones)
            .setting("owner", "them")
            .build()
            .await
            .expect("a manager");
        app::done(&theirs, vec![add("web.ex.test", 300, [a("10.0.0.1")])]).await;
        let refused = app::apply(&ours, vec![add("web.ex.test", 300, [a("10.0.0.2")])]).await;
        assert!(refused[0].reason.as_ref().is_some_and(|reason| reason.message.contains("`them`")), "{refused:?}");

        app::done(&ours, vec![adopt("web.ex.test", None), add("web.ex.test", 300, [a("10.0.0.2")])]).await;
        let refused = app::apply(&theirs, vec![remove("web.ex.test", None, [])]).await;
        assert!(refused[0].reason.as_ref().is_some_and(|reason| reason.message.contains(app::OWNER)), "{refused:?}");
        app::done(&ours, vec![release("web.ex.test", None)]).await;
        app::done(&theirs, vec![adopt("web.ex.test", None), remove("web.ex.test", None, [])]).await;

        assert!(site.tree().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_is_answered_as_before() {
    let questions: [(&str, &str); 10] = [
        ("ex.test", "A"),
        ("ex.test", "MX"),
        ("web.ex.test", "A"),
        ("web.ex.test", "TXT"),
        ("www.ex.test", "A"),
        ("www.ex.test", "CNAME"),
        ("_sip._tcp.ex.test", "SRV"),
        ("app.ex.test", "A"),
        ("x.app.ex.test", "CNAME"),
        ("1.0.0.10.in-addr.arpa", "PTR"),
    ];
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        fill(&manager).await;
        let before = ask(site, &questions).await;
        let names = ["ex.test", "web.ex.test", "www.ex.test", "_sip._tcp.ex.test", "1.0.0.10.in-addr.arpa"];

        let outcomes = app::done(&manager, names.iter().map(|name| release(name, None)).collect()).await;

        assert_eq!(app::statuses(&outcomes), [Status::Updated; 5]);
        assert_eq!(ask(site, &questions).await, before);
        let listed = app::entries(&manager).await;
        let released: Vec<_> = listed.iter().filter(|entry| names.contains(&entry.name.as_str())).collect();
        assert_eq!(released.len(), 9);
        assert!(released.iter().all(|entry| !entry.mine && entry.owner.is_none()), "{released:#?}");
        let refused = app::apply(&manager, names.iter().map(|name| remove(name, None, [])).collect()).await;
        assert_eq!(app::statuses(&refused), [Status::Conflict; 5]);
        // The guards stay and are kept up, because the answers need them.
        app::done(&manager, ["x.app.ex.test", "app.ex.test"].map(|name| remove(name, None, [])).to_vec()).await;
        app::done(&manager, vec![add("x.web.ex.test", 300, [a("10.0.0.9")])]).await;
        answers(site, "web.ex.test", "A", &["web.ex.test. 300 A 10.0.0.2"]).await;
        assert_sound(&manager).await;
        app::done(&manager, names.iter().flat_map(|name| [adopt(name, None), remove(name, None, [])]).collect()).await;
        app::done(&manager, vec![remove("x.web.ex.test", None, []), remove("app.ex.test", None, [])]).await;
        assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.values());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_deleted_or_damaged_are_mended() {
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        fill(&manager).await;
        put(site, &[("/skydns/test/ex/note", FOREIGN[5].1), ("/skydns/test/ex/bad", "garbage")]).await;
        let gateway = site.gateway();
        let sound = site.tree().await;
        assert_eq!(places(&repair(&manager, false).await), ["/skydns/test/ex/bad"]);
        assert_eq!(site.tree().await, sound, "a sound zone is left alone");

        let structure = |key: &str| {
            ["@GUARD", "!B", "/!A/"].iter().any(|part| key.contains(part)) || !key.contains(char::is_uppercase)
        };
        let ours = sound.entries.iter().filter(|(_, stored)| stored.text().contains("dns-manager"));
        let deleted: Vec<&String> = ours.map(|(key, _)| key).filter(|key| structure(key)).step_by(2).collect();
        for key in &deleted {
            gateway.delete(key).await;
        }
        let damaged = "/skydns/test/ex/web/A-0A000002";
        gateway.put(damaged, r#"{"host":"10.66.66.66","ttl":300,"owner":"example-owner"}"#).await;
        gateway.put("/skydns/test/ex/old/@GUARD", r#"{"host":"old.ex.test","port":-1,"owner":"dns-manager"}"#).await;

        let dry = repair(&manager, true).await;
        let problems = repair(&manager, false).await;

        assert!(dry.iter().all(|problem| !problem.mended));
        assert_eq!(places(&dry), places(&problems));
        for key in deleted.iter().map(|key| key.as_str()).chain([damaged, "/skydns/test/ex/old/@GUARD"]) {
            assert!(problems.iter().any(|problem| problem.place == key && problem.mended), "{key}: {problems:#?}");
        }
        assert_eq!(problems.iter().filter(|problem| !problem.mended).count(), 1, "{problems:#?}");
        assert_eq!(site.tree().await.values(), sound.values());
        answers(site, "web.ex.test", "A", &["web.ex.test. 300 A 10.0.0.2"]).await;
        answers(site, "app.ex.test", "A", &["app.ex.test. 300 A 10.0.0.4"]).await;
        gateway.delete("/skydns/test/ex/bad").await;
        assert_sound(&manager).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_writer_left_is_mended() {
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        let proxy = Proxy::start(site.etcd.address()).await;
        let through = app::manager_at(site, &proxy.url()).await;
        let many = |kind: u8| (0..50).map(move |i| format!("10.{kind}.0.{i}"));
        app::done(
            &manager,
            vec![
                add("big.app.ex.test", 300, many(1).map(|address| a(&address))),
                add("big.app.ex.test", 300, (0..50).map(|i| aaaa(&format!("2001:db8::{i:x}")))),
                add("big.app.ex.test", 300, (0..50).map(|i| txt(&format!("t{i}")))),
            ],
        )
        .await;
        // The removal takes more than one transaction; after the first the writer may write no more.
        let seen = AtomicUsize::new(0);
        proxy.inject(usize::MAX, Fault::Instead(Reply::permission_denied()), move |request| {
            request.is_write() && seen.fetch_add(1, Ordering::Relaxed) > 0
        });
        let outcomes = app::apply(&through, vec![remove("big.app.ex.test", None, [])]).await;
        // Some of it is gone, so that it did not fail as a whole.
        assert_eq!(app::statuses(&outcomes), [Status::Unknown], "{outcomes:?}");
        let left = site.tree().await;
        assert!(left.entries.len() < 170 && !left.is_empty(), "{} keys", left.entries.len());
        // Another one died having written nothing but what others need.
        for (key, value) in [
            ("/skydns/test/ex/gone", json!({"owner": "dns-manager"})),
            ("/skydns/test/ex/gone/@GUARD", json!({"host": "gone.ex.test", "port": -1, "owner": "dns-manager"})),
        ] {
            site.gateway().put(key, value.to_string()).await;
        }

        let problems = repair(&manager, false).await;

        assert!(problems.iter().all(|problem| problem.mended), "{problems:#?}");
        assert!(problems.iter().any(|problem| problem.place == "/skydns/test/ex/gone"), "{problems:#?}");
        assert_sound(&manager).await;
        answers(site, "gone.ex.test", "A", &[]).await;
        app::done(&manager, vec![remove("big.app.ex.test", None, [])]).await;
        assert!(site.tree().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_adopts_releases_and_repairs() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        put(site, &FOREIGN[4..6]).await;
        installation.run(&["record", "register", "web.ex.test", "A", "10.0.0.2"]).await.succeeded();

        let listed = installation.run(&["record", "list", "--output", "json"]).await.succeeded().json();
        let table = installation.run(&["record", "list"]).await.succeeded().stdout;
        let ours = json!({"name": "web.ex.test", "record_type": "A", "value": "10.0.0.2", "ttl": 300});
        let theirs =
            json!({"name": "hand.ex.test", "record_type": "A", "value": "10.9.0.3", "ttl": 120, "owner": null});
        let all = listed.as_array().expect("a list");
        assert!(all.contains(&ours) && all.contains(&theirs), "{listed:#}");
        assert!(table.lines().any(|line| line.contains("hand.ex.test") && line.ends_with("none")), "{table}");

        let adopted = installation.run(&["record", "adopt", "hand.ex.test", "A", "--output", "json"]).await.succeeded();
        assert_eq!(adopted.json()[0]["outcome"], "updated");
        let released = installation.run(&["record", "release", "web.ex.test", "--output", "json"]).await.succeeded();
        assert_eq!(released.json()[0]["outcome"], "updated");
        let conflict = installation.run(&["record", "unregister", "web.ex.test"]).await;
        assert_eq!(conflict.status, 1);
        assert!(conflict.stderr.contains("owned-by"), "{}", conflict.stderr);
        let nothing = installation.run(&["record", "adopt", "nothing.ex.test"]).await.succeeded();
        assert_eq!(nothing.stdout, "there was nothing to adopt\n");

        let sound = installation.run(&["record", "repair", "--output", "json"]).await.succeeded();
        assert_eq!(sound.json(), json!([]));
        site.gateway().delete("/skydns/test/ex/web").await;
        let dry = installation.run(&["record", "repair", "ex.test", "--dry-run", "--output", "json"]).await;
        assert_eq!(dry.status, 1);
        assert_eq!(dry.json()[0]["place"], "/skydns/test/ex/web");
        assert_eq!(dry.json()[0]["mended"], Value::Bool(false));
        let mended = installation.run(&["record", "repair", "ex.test", "--output", "json"]).await.succeeded();
        assert_eq!(mended.json()[0]["mended"], Value::Bool(true));
        let wrong = installation.run(&["record", "repair", "elsewhere.test"]).await;
        assert_eq!(wrong.status, 1);
        assert!(wrong.stderr.contains("outside-zones"), "{}", wrong.stderr);
    })
    .await;
}

/// One type of a name, and the other stays theirs.
#[tokio::test(flavor = "multi_thread")]
async fn one_type_is_adopted_alone() {
    on_every_etcd(ZONES, async |site| {
        let manager = app::manager(site).await;
        let text = ("/skydns/test/ex/app/9a9b9c9d", r#"{"text":"theirs","ttl":60,"targetstrip":1,"owner":"xd"}"#);
        put(site, &[FOREIGN[0], FOREIGN[1], text]).await;

        app::done(&manager, vec![adopt("app.ex.test", Some(A))]).await;

        answers(site, "app.ex.test", "A", &["app.ex.test. 60 A 10.9.0.1", "app.ex.test. 60 A 10.9.0.2"]).await;
        answers(site, "app.ex.test", "TXT", &["app.ex.test. 60 TXT \"theirs\""]).await;
        let tree = site.tree().await;
        assert_eq!(tree.entries[text.0].version, 1);
        app::done(&manager, vec![adopt("app.ex.test", Some(TXT)), remove("app.ex.test", None, [])]).await;
        assert!(site.tree().await.is_empty());
    })
    .await;
}

/// Records of every kind, in both zones.
async fn fill(manager: &DnsManager) {
    app::done(
        manager,
        vec![
            add("ex.test", 300, [a("10.0.0.1")]),
            add("ex.test", 300, [mx(10, "web.ex.test")]),
            add("web.ex.test", 300, [a("10.0.0.2")]),
            add("web.ex.test", 300, [aaaa("2001:db8::2")]),
            add("web.ex.test", 300, [txt("hello")]),
            add("www.ex.test", 300, [cname("web.ex.test")]),
            add("_sip._tcp.ex.test", 300, [srv(0, 10, 5060, "web.ex.test"), srv(0, 30, 5060, "app.ex.test")]),
            add("app.ex.test", 300, [a("10.0.0.4")]),
            add("x.app.ex.test", 300, [cname("web.ex.test")]),
            add("1.0.0.10.in-addr.arpa", 300, [ptr("web.ex.test")]),
        ],
    )
    .await;
}

async fn put(site: &Site, entries: &[(&str, &str)]) {
    for (key, value) in entries {
        site.gateway().put(key, value).await;
    }
}

/// Every foreign key is as it was put, but those below what was adopted.
fn assert_foreign_is_untouched(tree: &Tree, adopted: &[&str]) {
    for (key, value) in FOREIGN {
        let is_adopted = adopted.iter().any(|part| key.contains(part));
        let stored = tree.entries.get(key);
        if is_adopted {
            assert!(stored.is_none_or(|stored| stored.text() != value), "{key}");
        } else {
            let stored = stored.unwrap_or_else(|| panic!("{key} is gone"));
            assert_eq!((stored.text().as_str(), stored.version), (value, 1), "{key}");
        }
    }
}

async fn answers(site: &Site, name: &str, rr_type: &str, expected: &[&str]) {
    assert_eq!(site.coredns.ask(name, rr_type).await.sorted(), expected, "{name} {rr_type}");
}

async fn ask(site: &Site, questions: &[(&str, &str)]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (name, rr_type) in questions {
        let answer = site.coredns.ask(name, rr_type).await.sorted();
        assert!(!answer.is_empty(), "{name} {rr_type}");
        all.push(answer);
    }
    all
}

/// All zones, one after the other.
async fn repair(manager: &DnsManager, is_dry: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for zone in ZONES {
        let call = Call { dry_run: is_dry, ..Call::default() };
        let page = manager.repair(zone, call).await.unwrap_or_else(|error| panic!("{zone}: {error:?}"));
        assert_eq!(page.entries.len(), 0);
        problems.extend(page.problems);
    }
    problems
}

fn places(problems: &[Problem]) -> Vec<String> {
    let mut places: Vec<String> = problems.iter().map(|problem| problem.place.clone()).collect();
    places.sort();
    places
}

/// Nothing is to be mended, and what can be read is.
async fn assert_sound(manager: &DnsManager) {
    assert_eq!(places(&repair(manager, true).await), <[String; 0]>::default());
    manager.list_all(Filter::default(), Call::default()).await.expect("a listing");
}
