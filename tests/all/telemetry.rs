//! Traces reach a collector, and one that is away is in nobody's way.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dns_manager_tests::{cli::Installation, http, port::free_address, wait};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

fn installation(collector: &str) -> Installation {
    Installation::new(&format!(
        "[orchestrator.embedded]\ndns_listen = \"{}\"\n[orchestrator.telemetry]\notlp_endpoint = \"{collector}\"\n",
        free_address()
    ))
}

/// A collector that keeps what comes, whatever it is.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut octets = [0; 16 * 1024];
                while let Ok(length) = connection.read(&mut octets).await {
                    if length == 0 {
                        break;
                    }
                    kept.lock().unwrap().extend_from_slice(&octets[..length]);
                    let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                }
            });
        }
    });
    (url, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_a_workflow_reach_a_collector() {
    let (url, seen) = collector().await;
    let serving = installation(&url);
    let service = serving.serve().await;
    let body = json!({"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]});
    let (status, answer) = service.call("POST", "/api/v1/servers?wait=30s", Some(body)).await;
    assert_eq!(status, 200, "{answer}");

    wait::until("the spans come", Duration::from_secs(30), async || {
        let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
        let is_there = |word: &str| seen.contains(word);
        (is_there("POST /v1/traces") && is_there("dns-manager") && is_there("step") && is_there("web-01.example.com"))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_with_the_trace_of_its_caller() {
    let (url, seen) = collector().await;
    let serving = installation(&url);
    let service = serving.serve().await;
    let (trace, span) = ([0x4b; 16], [0xa7; 8]);
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let client = http::client();
    let ask = async |traceparent: String| {
        let request = client.get(format!("{}/healthz", service.url())).header("traceparent", traceparent);
        assert_eq!(request.send().await.unwrap().status(), 200);
    };
    ask(format!("00-{}-{}-01", hex(&trace), hex(&span))).await;
    // What is malformed is as if it were not there.
    ask(format!("00-{}-{}", hex(&[0x5c; 16]), hex(&span))).await;
    ask("nonsense".to_owned()).await;

    wait::until("the span comes, with its parent", Duration::from_secs(30), async || {
        let seen = seen.lock().unwrap();
        let is_there = |octets: &[u8]| seen.windows(octets.len()).any(|part| part == octets);
        assert!(!is_there(&[0x5c; 16]), "a malformed header was taken");
        (is_there(&trace) && is_there(&span)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_in_nobodys_way() {
    let serving = installation("http://127.0.0.1:1");
    let service = serving.serve().await;
    for number in 0..20 {
        let (status, answer) = service.call("GET", "/api/v1/servers", None).await;
        assert_eq!(status, 200, "{number}: {answer}");
    }
    let lines = service.output().lines().count();
    assert!(lines < 10, "{}", service.output());
}
