//! Changes of record sets on condition (`If-Match`), while somebody else writes.

use dns_manager_tests::{
    cli::{Installation, Serving},
    http,
    site::{Site, on_every_etcd},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ZONE: &[&str] = &["example.com"];
const PATH: &str = "/api/v1/dns/records/pool.example.com/A";
/// Below it is all that is registered at the name.
const KEY: &str = "/skydns/com/example/pool";
const WRITERS: usize = 8;
const ROUNDS: usize = 6;

/// What somebody else does between a read and a write.
#[derive(Clone, Copy, Debug)]
enum Between {
    /// Another process of ours adds a value.
    Registered,
    /// Another process of ours gives the set another TTL.
    Updated,
    /// Somebody edits the TTL of our value in etcd.
    Edited,
    /// Somebody deletes our keys in etcd.
    Wiped,
    /// Somebody deletes our keys in etcd, and writes one of his own.
    Replaced,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_written_after_a_set_was_read_its_tag_changes_nothing_any_more() {
    on_every_etcd(ZONE, async |site| {
        let serving = Installation::of(site).serve().await;
        let other = Installation::of(site);
        for between in [Between::Registered, Between::Updated, Between::Edited, Between::Wiped, Between::Replaced] {
            put(&serving, None, json!({"values": ["10.0.0.1"]}), 200).await;
            let stale = serving.tag(PATH).await;
            assert_eq!(serving.tag(PATH).await, stale, "nobody has written");

            write(site, &other, between).await;

            // The whole store, with its revision.
            let before = site.tree().await;
            let body = put(&serving, Some(&stale), json!({"values": ["10.0.0.7"]}), 412).await;
            assert_eq!(body["error"]["code"], "changed", "{between:?}: {body}");
            delete(&serving, &stale, PATH, 412).await;
            delete(&serving, &stale, &format!("{PATH}?value=10.0.0.1"), 412).await;
            assert_eq!(site.tree().await, before, "{between:?}");

            match between {
                Between::Registered | Between::Updated | Between::Edited => {
                    let fresh = serving.tag(PATH).await;
                    assert_ne!(fresh, stale, "{between:?}");
                    put(&serving, Some(&fresh), json!({"values": ["10.0.0.7"]}), 200).await;
                    assert_eq!(answers(site).await, ["pool.example.com. 300 A 10.0.0.7"], "{between:?}");
                    delete(&serving, &fresh, PATH, 412).await;
                    delete(&serving, &serving.tag(PATH).await, PATH, 200).await;
                }
                Between::Wiped => assert_eq!(serving.status(PATH).await, 404),
                Between::Replaced => {
                    let theirs = serving.tag(PATH).await;
                    let body = put(&serving, Some(&theirs), json!({"values": ["10.0.0.7"]}), 409).await;
                    assert_eq!(body["data"][0]["reason"]["code"], "owned-by", "{body}");
                    assert_eq!(answers(site).await, ["pool.example.com. 60 A 10.9.0.3"]);
                    site.gateway().delete(KEY).await;
                }
            }
            assert!(site.tree().await.is_empty(), "{between:?}: {:#?}", site.tree().await.keys());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_who_change_a_set_as_they_read_it_one_succeeds() {
    on_every_etcd(ZONE, async |site| {
        // Each of the two processes has its own inventory, and both the same records.
        let installations = [Installation::of(site), Installation::of(site)];
        let [one, two] = &installations;
        let services = [one.serve().await, two.serve().await];
        let urls = services.each_ref().map(Serving::url);
        for round in 0..ROUNDS {
            put(&services[0], None, json!({"values": ["10.0.0.1"], "ttl": 60}), 200).await;
            let tag = services[1].tag(PATH).await;
            let mut writers = JoinSet::new();
            for writer in 0..WRITERS {
                let client = http::client();
                let url = format!("{}{PATH}", urls[writer % urls.len()]);
                let value = format!("10.1.{round}.{writer}");
                let request = if writer == round {
                    client.delete(url)
                } else {
                    client.put(url).json(&json!({"values": [&value], "ttl": 60}))
                };
                let request = request.header("If-Match", &tag);
                writers.spawn(async move {
                    let answer = request.send().await.unwrap();
                    let status = answer.status().as_u16();
                    (writer, value, status, answer.text().await.unwrap())
                });
            }
            let told = writers.join_all().await;

            let won: Vec<_> = told.iter().filter(|(_, _, status, _)| *status == 200).collect();
            let [(writer, value, ..)] = won[..] else { panic!("round {round}: not one has won: {told:#?}") };
            assert_eq!(told.iter().filter(|(_, _, status, _)| *status == 412).count(), WRITERS - 1, "{told:#?}");
            let expected = if *writer == round { vec![] } else { vec![format!("pool.example.com. 60 A {value}")] };
            assert_eq!(answers(site).await, expected, "round {round}");
        }
    })
    .await;
}

async fn write(site: &Site, other: &Installation, between: Between) {
    let gateway = site.gateway();
    match between {
        Between::Registered => {
            other.run(&["record", "register", "pool.example.com", "A", "10.0.0.2"]).await.succeeded();
        }
        Between::Updated => {
            other.run(&["record", "update", "pool.example.com", "A", "10.0.0.1", "--ttl", "60"]).await.succeeded();
        }
        Between::Edited => {
            let values = gateway.tree(KEY).await.values();
            let (key, value) = values.iter().find(|(_, value)| value.contains("10.0.0.1")).expect("our value");
            assert_eq!(value.matches("300").count(), 1, "{value}");
            gateway.put(key, value.replace("300", "299")).await;
        }
        Between::Wiped => gateway.delete_below("/skydns/").await,
        Between::Replaced => {
            gateway.delete_below("/skydns/").await;
            gateway.put(KEY, r#"{"host":"10.9.0.3","ttl":60}"#).await;
        }
    }
}

/// Makes the set this, with or without a condition, and is answered so; the body.
async fn put(serving: &Serving, tag: Option<&str>, set: Value, expected: u16) -> Value {
    let (status, body) = serving.call_if(tag, "PUT", PATH, Some(set)).await;
    assert_eq!(status, expected, "{body}");
    body
}

async fn delete(serving: &Serving, tag: &str, path: &str, expected: u16) {
    let (status, body) = serving.call_if(Some(tag), "DELETE", path, None).await;
    assert_eq!(status, expected, "{body}");
}

async fn answers(site: &Site) -> Vec<String> {
    site.coredns.ask("pool.example.com", "A").await.sorted()
}
