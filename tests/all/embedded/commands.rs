//! The binary on the embedded default: alone, beside a running `serve`, and killed at any moment.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dns_manager_tests::{
    cli::{Installation, Serving},
    dns, http,
    left_out::say,
    port::free_address,
    wait,
};
use serde_json::{Value, json};

/// How often it is killed.
const KILLS: usize = 4;
/// Who writes at the same time.
const WRITERS: usize = 3;

/// With a name server at a free port, and where that is.
fn installation() -> (Installation, SocketAddr) {
    let nameserver = free_address();
    (Installation::new(&format!("[orchestrator.embedded]\ndns_listen = \"{nameserver}\"\n")), nameserver)
}

async fn values(installation: &Installation) -> Vec<String> {
    let listed = installation.run(&["record", "list", "--output", "json"]).await.succeeded().json();
    let value = |record: &Value| format!("{} {}", record["name"].as_str().unwrap(), record["value"].as_str().unwrap());
    listed.as_array().unwrap().iter().map(value).collect()
}

#[tokio::test]
async fn commands_work_alone_and_beside_a_running_service() {
    let (installation, nameserver) = installation();
    let run = async |arguments: &[&str]| installation.run(arguments).await;

    run(&["record", "register", "web-01.example.com", "A", "192.168.1.10"]).await.succeeded();
    run(&["record", "verify", "web-01.example.com"]).await.succeeded();
    run(&["server", "create", "db-01.example.com", "--ip", "192.168.1.20"]).await.succeeded();
    assert_eq!(values(&installation).await, ["db-01.example.com 192.168.1.20", "web-01.example.com 192.168.1.10"]);

    let serving = installation.serve().await;
    assert_eq!(
        dns::ask(nameserver, "web-01.example.com", "A").await.answers,
        ["web-01.example.com. 300 A 192.168.1.10"]
    );
    run(&["record", "register", "web-01.example.com", "A", "192.168.1.11", "--ttl", "60"]).await.succeeded();
    run(&["record", "update", "db-01.example.com", "A", "192.168.1.21"]).await.succeeded();
    run(&["record", "register", "web-01.example.com", "TXT", "v=1"]).await.succeeded();
    run(&["record", "verify", "web-01.example.com", "--wait", "1s"]).await.succeeded();
    let refused = run(&["record", "register", "web-01.example.com", "A", "nonsense"]).await;
    assert_eq!(refused.status, 1, "{refused:?}");
    let listed = run(&["record", "list", "--name", "web-01.example.com", "--type", "A", "--output", "json"]).await;
    assert_eq!(listed.succeeded().json().as_array().unwrap().len(), 2);
    run(&["server", "create", "web-02.example.com", "--ip", "192.168.1.30"]).await.succeeded();
    let removed = run(&["record", "unregister", "web-01.example.com", "--output", "json"]).await.succeeded().json();
    assert_eq!(removed.as_array().unwrap().len(), 3, "{removed}");
    let (status, body) = serving.call("GET", "/api/v1/dns/records", None).await;
    assert_eq!((status, body["data"].as_array().unwrap().len()), (200, 2), "{body}");
    drop(serving);

    assert_eq!(values(&installation).await, ["db-01.example.com 192.168.1.21", "web-02.example.com 192.168.1.30"]);
    run(&["server", "delete", "web-02.example.com"]).await.succeeded();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let (installation, nameserver) = installation();
    let _taken = tokio::net::UdpSocket::bind(nameserver).await.unwrap();

    let ran = installation.run(&["record", "list"]).await;

    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("orchestrator.embedded.dns_listen"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_it_is_killed() {
    let (installation, nameserver) = installation();
    let mut acknowledged = BTreeMap::new();
    for kill in 0..KILLS {
        let serving = installation.serve().await;
        check(&serving, &acknowledged).await;
        let count = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(write(serving.url(), kill, writer, Arc::clone(&count)))).collect();
        wait::until("some records are acknowledged", Duration::from_secs(60), async || {
            (count.load(Ordering::Relaxed) > 1).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..2000))).await;
        // As a power failure would: SIGKILL, in the middle of whatever it does.
        drop(serving);
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
    }
    let serving = installation.serve().await;
    check(&serving, &acknowledged).await;
    for (name, value) in &acknowledged {
        let answer = dns::ask(nameserver, name, "A").await;
        assert_eq!(answer.answers, [format!("{name}. 300 A {value}")]);
    }
    assert!(acknowledged.len() > KILLS, "only {} records were acknowledged", acknowledged.len());
    say(&format!("{KILLS} kills, {} records acknowledged, all of them there\n", acknowledged.len()));
}

/// Everything acknowledged is listed.
async fn check(serving: &Serving, acknowledged: &BTreeMap<String, String>) {
    let (status, body) = serving.call("GET", "/api/v1/dns/records", None).await;
    assert_eq!(status, 200, "{body}");
    let listed: BTreeMap<&str, &str> = body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (record["name"].as_str().unwrap(), record["value"].as_str().unwrap()))
        .collect();
    for (name, value) in acknowledged {
        assert_eq!(listed.get(name.as_str()), Some(&value.as_str()), "{name} was acknowledged");
    }
}

/// Registers one record after the other until the service is gone; those that it acknowledged.
async fn write(url: String, kill: usize, writer: usize, count: Arc<AtomicUsize>) -> Vec<(String, String)> {
    let http = http::client();
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let name = format!("k{kill}-w{writer}-{number}.example.com");
        let value = format!("10.{kill}.{writer}.{}", number % 250);
        let body = json!({"name": name, "record_type": "A", "values": [value]});
        let Ok(answer) = http.post(format!("{url}/api/v1/dns/records")).json(&body).send().await else { break };
        if answer.status() == 200 {
            acknowledged.push((name, value));
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}
