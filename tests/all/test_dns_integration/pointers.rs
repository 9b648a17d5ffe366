//! `ptr = true`: the PTR of every address comes and goes with it, where a reverse zone is served.

use dns_manager_tests::{
    app::OWNER,
    cli::Installation,
    site::{Site, on_every_etcd},
};
use serde_json::{Value, json};

const ZONES: &[&str] = &["example.com", "0.0.10.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"];
const POINTER: &str = "5.0.0.10.in-addr.arpa";
/// That of 2001:db8::10.
const POINTER6: &str = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
const WITH_PTR: &[(&str, &str)] = &[("DNS_MANAGER__ORCHESTRATOR__DNS__PTR", "true")];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_its_ptrs_from_creation_to_deletion() {
    on_every_etcd(ZONES, async |site| {
        // Once with configured zones, once with zones that are found.
        for installation in [Installation::of(site), without_zones(site)] {
            let run = async |arguments: &[&str]| installation.run_with(arguments, WITH_PTR).await;
            let create = ["server", "create", "web-01.example.com", "--ip", "10.0.0.5", "--ip", "2001:db8::10"];
            let created = run(&[&create[..], &["--output", "json"]].concat()).await.succeeded();

            assert!(!created.stderr.contains("warning"), "{created:?}");
            let server = created.json();
            assert_eq!(server["dns"]["verified"], true, "{server}");
            let records: Vec<_> = server["dns"]["records"].as_array().expect("records").iter().map(told).collect();
            assert_eq!(
                records,
                [
                    "web-01.example.com A 10.0.0.5 created",
                    "web-01.example.com AAAA 2001:db8::10 created",
                    "5.0.0.10.in-addr.arpa PTR web-01.example.com created",
                    &format!("{POINTER6} PTR web-01.example.com created"),
                ]
            );
            for pointer in [POINTER, POINTER6] {
                let answer = site.coredns.ask(pointer, "PTR").await.answers;
                assert_eq!(answer, [format!("{pointer}. 300 PTR web-01.example.com.")]);
            }

            run(&["server", "delete", "web-01.example.com"]).await.succeeded();
            assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.keys());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_it_took_to_resolve_is_on_the_server() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        let run = async |arguments: &[&str]| installation.run_with(arguments, WITH_PTR).await;
        let create = ["server", "create", "web-01.example.com", "--ip", "10.0.0.5", "--output", "json"];

        let created = run(&create).await.succeeded();

        let nameserver = site.coredns.address().to_string();
        let after = created.json()["dns"]["resolvable_ms"][&nameserver].as_u64();
        assert!(after.is_some_and(|after| (1..40_000).contains(&after)), "{created:?}");
        let detail = format!("A, PTR verified, resolvable at {nameserver} after {} ms", after.unwrap_or_default());
        assert!(created.stdout.contains(&detail), "{created:?}");
        let shown = run(&["server", "show", "web-01.example.com"]).await.succeeded();
        assert!(shown.stdout.contains(&detail), "{shown:?}");
        let line = format!("{nameserver} after {} ms", after.unwrap_or_default());
        assert!(shown.stdout.contains(&line), "{shown:?}");

        let verify = ["record", "verify", "web-01.example.com", "A", "--output", "json"];
        let verified = run(&verify).await.succeeded().json();
        assert!(verified[0]["answers"][0]["resolvable_ms"].is_u64(), "{verified}");
        let absent = ["record", "verify", "web-01.example.com", "A", "10.0.0.9", "--wait", "0s", "--output", "json"];
        let absent = run(&absent).await.json();
        assert_eq!(absent[0]["answers"][0].get("resolvable_ms"), None, "{absent}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reverse_zone_there_is_no_ptr_and_one_word_about_it() {
    on_every_etcd(&["example.com"], async |site| {
        for installation in [Installation::of(site), without_zones(site)] {
            let run = async |arguments: &[&str]| installation.run_with(arguments, WITH_PTR).await;
            let create = ["server", "create", "web-01.example.com", "--ip", "10.0.0.5", "--ip", "2001:db8::10"];

            let created = run(&[&create[..], &["--output", "json"]].concat()).await.succeeded();

            let server = created.json();
            assert_eq!((&server["problem"], &server["dns"]["verified"]), (&Value::Null, &json!(true)), "{server}");
            let word = "no PTR is registered for 10.0.0.5, 2001:db8::10";
            assert_eq!(created.stderr.matches(word).count(), 1, "{created:?}");
            let registered =
                run(&["record", "register", "w.example.com", "A", "10.0.0.6", "10.0.0.7"]).await.succeeded();
            assert_eq!(registered.stderr.matches("warning: ").count(), 1, "{registered:?}");
            let removed = run(&["record", "unregister", "w.example.com"]).await.succeeded();
            assert!(!removed.stderr.contains("warning"), "{removed:?}");
            run(&["server", "delete", "web-01.example.com"]).await.succeeded();
            assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.keys());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_a_ptr_for_another_name_keeps_it_with_a_warning() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        let run = async |arguments: &[&str]| installation.run_with(arguments, WITH_PTR).await;
        run(&["server", "create", "web-01.example.com", "--ip", "10.0.0.5"]).await.succeeded();

        let second = run(&["server", "create", "web-02.example.com", "--ip", "10.0.0.5"]).await.succeeded();

        assert!(second.stderr.contains("warning: 10.0.0.5: has no PTR of its own: "), "{second:?}");
        assert!(second.stderr.contains("`5.0.0.10.in-addr.arpa` has the PTR `web-01.example.com`"), "{second:?}");
        let by_hand = run(&["record", "register", "www.example.com", "A", "10.0.0.5"]).await.succeeded();
        assert!(by_hand.stderr.starts_with("warning: www.example.com A 10.0.0.5: "), "{by_hand:?}");
        assert_eq!(answers(site).await, ["5.0.0.10.in-addr.arpa. 300 PTR web-01.example.com."]);

        // Whoever goes takes no PTR but its own along.
        run(&["server", "delete", "web-02.example.com"]).await.succeeded();
        run(&["record", "unregister", "www.example.com"]).await.succeeded();
        assert_eq!(answers(site).await, ["5.0.0.10.in-addr.arpa. 300 PTR web-01.example.com."]);
        run(&["server", "delete", "web-01.example.com"]).await.succeeded();
        assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.keys());

        // The PTR of another program stays, too.
        let theirs = r#"{"host":"theirs.example.com","ttl":60}"#;
        site.gateway().put("/skydns/arpa/in-addr/10/0/0/5", theirs).await;
        let created = run(&["server", "create", "web-03.example.com", "--ip", "10.0.0.5"]).await.succeeded();
        assert!(created.stderr.contains("of no known owner"), "{created:?}");
        assert_eq!(answers(site).await, ["5.0.0.10.in-addr.arpa. 60 PTR theirs.example.com."]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ptrs_follow_records_by_command_and_over_rest() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        let run = async |arguments: &[&str]| installation.run_with(arguments, WITH_PTR).await;

        run(&["record", "register", "web.example.com", "A", "10.0.0.5", "10.0.0.6", "--ttl", "60"]).await.succeeded();
        run(&["record", "register", "web.example.com", "AAAA", "2001:db8::10"]).await.succeeded();
        assert_eq!(answers(site).await, ["5.0.0.10.in-addr.arpa. 60 PTR web.example.com."]);
        assert_eq!(site.coredns.ask(POINTER6, "PTR").await.answers, [format!("{POINTER6}. 300 PTR web.example.com.")]);
        let updated =
            run(&["record", "update", "web.example.com", "A", "10.0.0.6", "--output", "json"]).await.succeeded();
        let told: Vec<_> = updated.json().as_array().expect("outcomes").iter().map(told).collect();
        assert_eq!(
            told,
            [
                "web.example.com A 10.0.0.6 updated",
                "web.example.com A 10.0.0.5 deleted",
                "5.0.0.10.in-addr.arpa PTR web.example.com deleted",
                "6.0.0.10.in-addr.arpa PTR web.example.com updated",
            ]
        );
        assert_eq!(site.coredns.ask(POINTER, "PTR").await.rcode, "NXDOMAIN");
        run(&["record", "unregister", "web.example.com"]).await.succeeded();
        assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.keys());

        // What a server's record is replaced by is the server's, and so is its PTR.
        run(&["server", "create", "web-01.example.com", "--ip", "10.0.0.5"]).await.succeeded();
        run(&["record", "update", "web-01.example.com", "A", "10.0.0.7"]).await.succeeded();
        assert_eq!(
            site.coredns.ask("7.0.0.10.in-addr.arpa", "PTR").await.answers,
            ["7.0.0.10.in-addr.arpa. 300 PTR web-01.example.com."]
        );
        run(&["server", "delete", "web-01.example.com"]).await.succeeded();
        assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.keys());

        let serving = with_ptr(site).serve().await;
        let set = json!({"name": "web.example.com", "record_type": "A", "values": ["10.0.0.5"]});
        let (status, body) = serving.call("POST", "/api/v1/dns/records", Some(set)).await;
        assert_eq!((status, &body["data"][1]["record_type"]), (200, &json!("PTR")), "{body}");
        assert_eq!(answers(site).await, ["5.0.0.10.in-addr.arpa. 300 PTR web.example.com."]);
        let (status, body) = serving.call("DELETE", "/api/v1/dns/records/web.example.com/A", None).await;
        assert_eq!((status, &body["data"][1]["outcome"]), (200, &json!("deleted")), "{body}");
        let server = json!({"hostname": "web-01.example.com", "addresses": ["10.0.0.5"]});
        let (status, body) = serving.call("POST", "/api/v1/servers?wait=60s", Some(server)).await;
        assert_eq!((status, &body["data"]["dns"]["records"][1]["name"]), (200, &json!(POINTER)), "{body}");
        assert!(body["data"]["dns"]["resolvable_ms"][site.coredns.address().to_string()].is_u64(), "{body}");
        let (status, body) = serving.call("DELETE", "/api/v1/servers/web-01.example.com?wait=60s", None).await;
        assert_eq!(status, 200, "{body}");
        assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.keys());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_does_not_ask_for_them_has_ptrs() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        installation.run(&["server", "create", "web-01.example.com", "--ip", "10.0.0.5"]).await.succeeded();
        assert_eq!(site.coredns.ask(POINTER, "PTR").await.rcode, "NXDOMAIN");
    })
    .await;
}

fn without_zones(site: &Site) -> Installation {
    Installation::with_dns(&[
        format!("coredns_url = \"{}\"", site.etcd.url()),
        format!("nameservers = [\"{}\"]", site.coredns.address()),
        format!("owner = \"{OWNER}\""),
    ])
}

fn with_ptr(site: &Site) -> Installation {
    Installation::with_dns(&[
        format!("coredns_url = \"{}\"", site.etcd.url()),
        format!("nameservers = [\"{}\"]", site.coredns.address()),
        format!("zones = [\"{}\"]", ZONES.join("\", \"")),
        format!("owner = \"{OWNER}\""),
        "ptr = true".to_owned(),
    ])
}

async fn answers(site: &Site) -> Vec<String> {
    site.coredns.ask(POINTER, "PTR").await.answers
}

/// `name type value outcome`.
fn told(outcome: &Value) -> String {
    ["name", "record_type", "value", "outcome"].map(|key| outcome[key].as_str().unwrap_or("-").to_owned()).join(" ")
}
