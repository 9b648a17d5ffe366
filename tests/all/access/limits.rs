//! How much at a time, how often, and how long.

use std::time::{Duration, Instant};

use dns_manager_tests::{http, wait};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{installation, send, set, status};

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let installation = installation("[orchestrator.limits]\nrequests_per_second = 1\nburst = 3\n");
    let serving = installation.serve().await;
    let refused = wait::until("it is too much", Duration::from_secs(60), async || {
        let at_once = (0..10).map(|_| send(&serving, "", "GET /api/v1/servers", None));
        futures_util::future::join_all(at_once).await.into_iter().find(|answer| answer.status == 429)
    })
    .await;
    assert_eq!(
        (&refused.body["error"]["code"], &refused.headers["retry-after"]),
        (&json!("too-many-requests"), &"1".parse().unwrap())
    );
    assert_eq!(status(&serving, "", "GET /healthz", None).await, 200);
    // Commands on this machine are not counted.
    for _ in 0..5 {
        installation.run(&["server", "list"]).await.succeeded();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_are_all_answered() {
    let serving = installation("[orchestrator.limits]\nconcurrent_requests = 8\n").serve().await;
    let client = http::client();
    // Each request may have a connection of its own.
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let begun = Instant::now();
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let request =
            client.post(format!("{}/api/v1/dns/records", serving.url())).json(&set(&format!("h{number}.example.com")));
        requests.spawn(async move {
            let answer = request.send().await.unwrap();
            (
                answer.status().as_u16(),
                answer.headers().contains_key("retry-after"),
                answer.json::<Value>().await.unwrap(),
            )
        });
    }
    let answers = requests.join_all().await;
    let took = begun.elapsed();

    let (done, shed): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, ..)| *status == 200);
    println!("{} done, {} turned away, in {took:?}", done.len(), shed.len());
    assert!(!done.is_empty() && took < Duration::from_secs(60), "{took:?}");
    for (status, has_retry_after, body) in shed {
        assert_eq!((*status, *has_retry_after, &body["error"]["code"]), (503, true, &json!("overloaded")), "{body}");
    }
    let listed = send(&serving, "", "GET /api/v1/dns/records", None).await.body;
    assert_eq!(listed["data"].as_array().unwrap().len(), done.len());
}

#[tokio::test]
async fn a_body_that_does_not_arrive_ends() {
    let serving = installation("[orchestrator.limits]\nbody_timeout = \"1s\"\n").serve().await;
    let mut stream = TcpStream::connect(serving.url().strip_prefix("http://").unwrap()).await.unwrap();
    let head = "POST /api/v1/dns/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    // Large enough for all of it: what is left in the socket goes with a connection that is reset.
    let mut answer = Vec::with_capacity(8192);
    while !String::from_utf8_lossy(&answer).contains("\"code\":\"timeout\"") {
        let read = tokio::time::timeout(Duration::from_secs(60), reading.read_buf(&mut answer)).await.unwrap().unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
    }
    drip.abort();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"timeout\""), "{answer}");
}

#[tokio::test]
async fn each_answer_has_an_id_and_may_be_compressed() {
    let serving = installation("").serve().await;
    let client = http::client();
    let ask = |id: &'static str| client.get(format!("{}/nowhere", serving.url())).header("x-request-id", id).send();
    let own = ask("mine-1").await.unwrap();
    assert_eq!(own.headers()["x-request-id"], "mine-1");
    assert_eq!(own.json::<Value>().await.unwrap()["error"]["request_id"], "mine-1");
    assert_ne!(ask("not \"sane\"").await.unwrap().headers()["x-request-id"], "not \"sane\"");
    let packed =
        client.get(format!("{}/nowhere", serving.url())).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
}
