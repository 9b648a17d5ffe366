//! Workflows of a service that is killed, and passes over a tree that others changed.

use std::{collections::BTreeSet, time::Duration};

use dns_manager_tests::{
    cli::{Installation, Serving},
    site::on_every_etcd,
    wait,
};
use serde_json::{Value, json};

const ZONE: &str = "example.com";
const SERVERS: usize = 12;
/// Each server is some ten commits, and a disk may be slow.
const PATIENCE: Duration = Duration::from_secs(300);
/// After so many milliseconds of work the service is killed, in every kind of step.
const KILLED_AFTER: [u64; 4] = [5, 40, 150, 400];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_service_left_is_gone_on_with() {
    on_every_etcd(&[ZONE], async |site| {
        let installation = Installation::of(site);
        let mut caught_in = BTreeSet::new();
        for (round, after) in KILLED_AFTER.into_iter().enumerate() {
            let address = |number: usize| format!("10.0.{round}.{number}");
            let serving = installation.serve().await;
            for number in 0..SERVERS {
                let body = json!({"hostname": hostname(number), "addresses": [address(number)]});
                let (status, answer) = serving.call("POST", "/api/v1/servers", Some(body)).await;
                assert_eq!(status, 202, "{answer}");
            }
            tokio::time::sleep(Duration::from_millis(after)).await;
            drop(serving);
            caught_in.extend(states(&installation).await);

            let serving = installation.serve().await;
            // The first reconciliation registers whatever it overtakes once more, and verifies it again.
            wait::until("every server is ready", PATIENCE, async || {
                let servers = servers(&serving).await;
                let is_well = |server: &Value| {
                    server["state"] == "ready" && server["problem"].is_null() && server["dns"]["verified"] == true
                };
                servers.iter().all(is_well).then_some(())
            })
            .await;
            for number in 0..SERVERS {
                let answer = site.coredns.ask(&hostname(number), "A").await;
                assert_eq!(answer.answers, [format!("{}. 300 A {}", hostname(number), address(number))]);
            }

            for number in 0..SERVERS {
                let path = format!("/api/v1/servers/{}", hostname(number));
                let (status, answer) = serving.call("DELETE", &path, None).await;
                assert_eq!(status, 202, "{answer}");
            }
            tokio::time::sleep(Duration::from_millis(after)).await;
            drop(serving);
            caught_in.extend(states(&installation).await);

            let serving = installation.serve().await;
            wait::until("every server is gone", PATIENCE, async || servers(&serving).await.is_empty().then_some(()))
                .await;
            assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.keys());
        }
        assert!(caught_in.len() > 1, "servers were caught in {caught_in:?} alone");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_store_is_filled_again_and_a_record_changed_by_hand_is_put_back() {
    on_every_etcd(&[ZONE], async |site| {
        let installation = Installation::of(site);
        for number in 0..3 {
            let address = format!("10.0.0.{number}");
            installation.run(&["server", "create", &hostname(number), "--ip", &address]).await.succeeded();
        }
        let before = site.tree().await;
        let well = installation.run(&["reconcile"]).await.succeeded();
        assert_eq!(well.stdout, "everything is registered as it should be\n");

        site.gateway().delete_below("/skydns/").await;
        let planned = installation.run(&["reconcile", "--dry-run", "--output", "json"]).await;
        assert_eq!((planned.status, &planned.json()["summary"]["missing"]), (1, &json!(3)), "{planned:?}");
        assert!(site.tree().await.is_empty(), "a dry run writes nothing");
        installation.run(&["reconcile"]).await.succeeded();
        assert_eq!(site.tree().await.keys(), before.keys());

        // One octet of the address, in the value as it is stored.
        let tree = site.tree().await;
        let values = tree.values();
        let (key, value) = values.iter().find(|(_, value)| value.contains("10.0.0.1")).unwrap();
        site.gateway().put(key, &value.replace("10.0.0.1", "10.0.0.9")).await;
        let reported = installation.run(&["reconcile", "--output", "json"]).await;
        assert_eq!((reported.status, &reported.json()["summary"]["changed"]), (1, &json!(2)), "{reported:?}");
        assert_eq!(site.coredns.ask(&hostname(1), "A").await.answers, [format!("{}. 300 A 10.0.0.9", hostname(1))]);

        let put_back = [("DNS_MANAGER__ORCHESTRATOR__RECONCILE__PUT_BACK", "true")];
        installation.run_with(&["reconcile"], &put_back).await.succeeded();
        assert_eq!(site.coredns.ask(&hostname(1), "A").await.answers, [format!("{}. 300 A 10.0.0.1", hostname(1))]);
        assert_eq!(site.tree().await.keys(), before.keys());
    })
    .await;
}

fn hostname(number: usize) -> String {
    format!("web-{number}.{ZONE}")
}

async fn servers(serving: &Serving) -> Vec<Value> {
    let (status, answer) = serving.call("GET", "/api/v1/servers", None).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"].as_array().unwrap().clone()
}

/// The states in which the inventory has its servers, while no service is at work.
async fn states(installation: &Installation) -> BTreeSet<String> {
    let listed = installation.run(&["server", "list", "--output", "json"]).await.succeeded().json();
    listed.as_array().unwrap().iter().map(|server| server["state"].as_str().unwrap().to_owned()).collect()
}
