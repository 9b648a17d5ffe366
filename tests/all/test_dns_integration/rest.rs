//! The REST API of `dns-manager serve`, envelope and all.

use std::{net::SocketAddr, time::Duration};

use dns_manager_tests::{
    cli::Installation,
    site::{Site, on_every_etcd},
    wait,
};
use serde_json::{Value, json};

const ZONE: &[&str] = &["example.com"];

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_the_envelope_of_the_users_document() {
    on_every_etcd(ZONE, async |site| {
        let serving = Installation::of(site).serve().await;

        assert_eq!(serving.call("GET", "/api/v1/dns/records", None).await, (200, json!({"success": true, "data": []})));
        let set = json!({"name": "web-01.example.com", "record_type": "A", "ttl": 300, "values": ["192.168.1.10"]});
        let (status, body) = serving.call("POST", "/api/v1/dns/records", Some(set)).await;

        assert_eq!((status, &body["success"]), (200, &json!(true)), "{body}");
        assert_eq!(body["data"][0]["outcome"], "created", "{body}");
        let expected = json!({
            "success": true,
            "data": [{"name": "web-01.example.com", "record_type": "A", "value": "192.168.1.10", "ttl": 300}],
        });
        assert_eq!(serving.call("GET", "/api/v1/dns/records", None).await, (200, expected));
        assert_eq!(
            site.coredns.ask("web-01.example.com", "A").await.answers,
            ["web-01.example.com. 300 A 192.168.1.10"]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_set_is_added_to_replaced_verified_and_removed() {
    on_every_etcd(ZONE, async |site| {
        let serving = Installation::of(site).serve().await;
        let path = "/api/v1/dns/records/pool.example.com/A";
        let add = |value: &str| json!([{"name": "pool.example.com", "record_type": "A", "values": [value]}]);

        for value in ["10.0.0.1", "10.0.0.2"] {
            let (status, body) = serving.call("POST", "/api/v1/dns/records", Some(add(value))).await;
            assert_eq!(status, 200, "{body}");
        }
        assert_eq!(addresses(site).await, ["pool.example.com. 300 A 10.0.0.1", "pool.example.com. 300 A 10.0.0.2"]);

        let (status, body) =
            serving.call("PUT", path, Some(json!({"values": ["10.0.0.2", "10.0.0.3"], "ttl": 60}))).await;
        assert_eq!(status, 200, "{body}");
        let outcome = |value: &str| {
            let outcomes = body["data"].as_array().into_iter().flatten();
            outcomes
                .filter(|outcome| outcome["value"] == value)
                .map(|outcome| outcome["outcome"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(outcome("10.0.0.1"), ["deleted"], "values that a change removed appear: {body}");
        assert_eq!(outcome("10.0.0.3"), ["created"], "{body}");
        assert_eq!(addresses(site).await, ["pool.example.com. 60 A 10.0.0.2", "pool.example.com. 60 A 10.0.0.3"]);

        let (status, body) = serving.call("POST", "/api/v1/dns/records/pool.example.com/verify", None).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["data"][0]["outcome"], "verified", "{body}");

        let (status, body) = serving.call("DELETE", &format!("{path}?value=10.0.0.2"), None).await;
        assert_eq!((status, &body["data"][0]["outcome"]), (200, &json!("deleted")), "{body}");
        assert_eq!(addresses(site).await, ["pool.example.com. 60 A 10.0.0.3"]);
        let (status, body) = serving.call("DELETE", path, None).await;
        assert_eq!(status, 200, "{body}");
        assert!(site.tree().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_does_not_stop_the_others_and_shows_in_the_status() {
    on_every_etcd(ZONE, async |site| {
        let serving = Installation::of(site).serve().await;
        let sets = json!([
            {"name": "good.example.com", "record_type": "A", "values": ["10.0.0.1"]},
            {"name": "any.example.com", "record_type": "A", "values": ["10.0.0.2"]},
        ]);

        let (status, body) = serving.call("POST", "/api/v1/dns/records", Some(sets)).await;

        assert_eq!((status, &body["success"]), (400, &json!(false)), "{body}");
        assert!(body["error"]["code"].is_string() && body["error"]["message"].is_string(), "{body}");
        assert_eq!(body["data"][0]["outcome"], "created", "{body}");
        assert_eq!(body["data"][1]["outcome"], "refused", "{body}");
        assert_eq!(body["data"][1]["reason"]["code"], "unsupported", "{body}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_409() {
    on_every_etcd(ZONE, async |site| {
        let serving = Installation::of(site).serve().await;
        let set =
            |rr_type: &str, value: &str| json!({"name": "web.example.com", "record_type": rr_type, "values": [value]});
        let (status, body) = serving.call("POST", "/api/v1/dns/records", Some(set("A", "10.0.0.1"))).await;
        assert_eq!(status, 200, "{body}");

        let (status, body) = serving.call("POST", "/api/v1/dns/records", Some(set("CNAME", "other.example.com"))).await;
        assert_eq!((status, &body["data"][0]["outcome"]), (409, &json!("conflict")), "{body}");
        assert_eq!(body["data"][0]["reason"]["code"], "coexistence", "{body}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_backend_is_503() {
    // Nobody is given this port.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let serving = Installation::with_dns(&[
        format!("coredns_url = \"http://{nobody}\""),
        format!("nameservers = [\"{nobody}\"]"),
        "zones = [\"example.com\"]".to_owned(),
    ])
    .serve()
    .await;
    let set = json!({"name": "web.example.com", "record_type": "A", "values": ["10.0.0.1"]});

    let (status, body) = serving.call("POST", "/api/v1/dns/records", Some(set)).await;

    assert_eq!((status, &body["data"][0]["outcome"]), (503, &json!("failed")), "{body}");
    assert_eq!(body["data"][0]["reason"]["code"], "unavailable", "{body}");
    assert_eq!(serving.status("/healthz").await, 200);
    assert_eq!(serving.status("/readyz").await, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_created_and_deleted_over_rest() {
    on_every_etcd(ZONE, async |site| {
        let serving = Installation::of(site).serve().await;
        let server = json!({"hostname": "web-01.example.com", "addresses": ["192.168.1.10", "2001:db8::10"]});

        let (status, body) = serving.call("POST", "/api/v1/servers?wait=60s", Some(server)).await;

        assert_eq!((status, &body["data"]["state"]), (200, &json!("ready")), "{body}");
        assert_eq!(body["data"]["dns"]["verified"], true, "{body}");
        assert_eq!(
            site.coredns.ask("web-01.example.com", "AAAA").await.answers,
            ["web-01.example.com. 300 AAAA 2001:db8::10"]
        );
        let (status, body) = serving.call("GET", "/api/v1/servers", None).await;
        assert_eq!((status, body["data"].as_array().map(Vec::len)), (200, Some(1)), "{body}");
        let (status, body) = serving.call("DELETE", "/api/v1/servers/web-01.example.com?wait=60s", None).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(site.coredns.ask("web-01.example.com", "A").await.rcode, "NXDOMAIN");
        assert!(site.tree().await.is_empty());
        let (status, body) = serving.call("GET", "/api/v1/servers/nobody.example.com", None).await;
        assert_eq!((status, &body["success"]), (404, &json!(false)), "{body}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_about_the_process_and_readiness_about_the_backend() {
    on_every_etcd(ZONE, async |site| {
        let serving = Installation::of(site).serve().await;
        assert_eq!(serving.status("/healthz").await, 200);
        assert_eq!(serving.status("/readyz").await, 200);

        site.etcd.stop();

        assert_eq!(serving.status("/healthz").await, 200);
        // It is looked at once a second.
        wait::until("it is not ready", Duration::from_secs(15), async || {
            (serving.status("/readyz").await == 503).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_answered_in_the_envelope() {
    on_every_etcd(ZONE, async |site| {
        let serving = Installation::of(site).serve().await;
        for (method, path, body) in [
            ("POST", "/api/v1/dns/records", Some(json!({"name": "web.example.com"}))),
            ("POST", "/api/v1/dns/records", Some(json!("web.example.com"))),
            ("PUT", "/api/v1/dns/records/web.example.com/A", Some(json!({"value": "10.0.0.1"}))),
            ("GET", "/api/v1/nowhere", None),
            ("PATCH", "/api/v1/dns/records", None),
        ] {
            let (status, answer) = serving.call(method, path, body).await;
            assert!((400..500).contains(&status), "{method} {path}: {status} {answer}");
            assert_eq!(answer["success"], false, "{method} {path}: {answer}");
            let error = &answer["error"];
            assert!(error["code"].is_string() && error["message"].is_string(), "{method} {path}: {answer}");
            assert_ne!(error["message"], Value::from(""), "{method} {path}: {answer}");
        }
    })
    .await;
}

async fn addresses(site: &Site) -> Vec<String> {
    site.coredns.ask("pool.example.com", "A").await.sorted()
}
