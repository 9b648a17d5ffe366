//! Handlers that break down or take too long, bodies that are too large or too slow, and clients that break off.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const RECORDS: &str = "/api/v1/dns/records";
const SERVER: &str = "/api/v1/servers/web-01.example.com";

fn set() -> Value {
    json!({"name": "web.example.com", "record_type": "A", "values": ["192.0.2.1"]})
}

fn server() -> Value {
    json!({"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]})
}

/// Asks again and again until there is a value.
async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it comes to pass")
}

impl Api {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.base.strip_prefix("http://").unwrap()).await.unwrap()
    }

    /// Sends a request and hangs on to the connection.
    async fn begin(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut connection = self.connect().await;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        connection.write_all(request.as_bytes()).await.unwrap();
        connection
    }

    /// The status alone: a stream of events has no end.
    async fn status(&self, path: &str) -> u16 {
        let client = client();
        client.get(format!("{}{path}", self.base)).send().await.unwrap().status().as_u16()
    }

    /// With an idempotency key; the status, and whether the answer is that of an earlier request.
    async fn post_once(&self, path: &str, body: &Value) -> (u16, bool) {
        let client = client();
        let request = client.post(format!("{}{path}", self.base)).header("idempotency-key", "one").json(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.headers().contains_key("idempotent-replayed"))
    }

    async fn metrics(&self) -> String {
        let client = client();
        client.get(format!("{}/metrics", self.base)).send().await.unwrap().text().await.unwrap()
    }
}

#[tokio::test]
async fn a_handler_that_breaks_down_is_an_error_and_the_service_goes_on() {
    let api = Api::guarded(FakeDns::default(), &[("CONCURRENT_REQUESTS", "1")]).await;
    api.dns.set_broken(true);

    for (method, path, body) in [("GET", RECORDS, None), ("POST", RECORDS, Some(set())), ("GET", RECORDS, None)] {
        let body = body.map(|body| body.to_string());
        let (status, answer) = api.send(method, path, body.as_deref()).await;
        assert_eq!((status, code(&answer), &answer["success"]), (500, "internal", &json!(false)), "{answer}");
        assert_eq!(message(&answer), "something broke in this service; its log says what");
        assert!(answer["error"]["request_id"].is_string(), "{answer}");
    }
    assert_eq!(api.post_once(RECORDS, &set()).await, (500, false));
    let (status, answer) = api.post("/api/v1/servers?wait=10s", &server()).await;
    assert_eq!((status, code(&answer)), (500, "internal"), "{answer}");

    api.dns.set_broken(false);
    assert_eq!(api.get(RECORDS).await, (200, json!({"success": true, "data": []})));
    assert_eq!(api.post_once(RECORDS, &set()).await, (200, false), "it may be tried again with the same key");
    let (status, answer) = api.send("DELETE", &format!("{SERVER}?wait=10s"), None).await;
    assert_eq!((status, &answer["data"]["state"]), (200, &json!("deleted")), "nobody holds it: {answer}");
    let metrics = api.metrics().await;
    for line in [
        format!("dns_manager_http_requests_total{{method=\"GET\",route=\"{RECORDS}\",status=\"500\"}} 2"),
        format!("dns_manager_http_requests_total{{method=\"POST\",route=\"{RECORDS}\",status=\"500\"}} 2"),
    ] {
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_an_error_that_says_whether_it_may_have_been_done() {
    let limits = [("REQUEST_TIMEOUT", "500ms"), ("CONCURRENT_REQUESTS", "1")];
    let api = Api::guarded(FakeDns::default(), &limits).await;
    api.dns.set_stalled(true);

    let (status, answer) = api.post(RECORDS, &set()).await;
    assert_eq!((status, code(&answer)), (504, "timeout"), "{answer}");
    assert_eq!(
        message(&answer),
        "it was not done within 500ms, and what became of it is unknown: look before you send it again"
    );
    assert_eq!(api.dns.stored(), ["web.example.com 192.0.2.1 -"], "here it was done");
    let (status, answer) = api.get(RECORDS).await;
    assert_eq!((status, message(&answer)), (504, "it was not done within 500ms"), "{answer}");
    assert_eq!(api.post_once("/api/v1/reconcile", &json!({"dry_run": true})).await, (504, false));
    // A workflow goes on by itself, and whoever asked is told how far it is.
    let (status, answer) = api.post("/api/v1/servers?wait=1s", &server()).await;
    assert_eq!((status, &answer["data"]["state"]), (202, &json!("registering")), "{answer}");

    api.dns.set_stalled(false);
    let (status, answer) = api.get(RECORDS).await;
    assert_eq!((status, &answer["data"][0]["value"]), (200, &json!("192.0.2.1")), "{answer}");
    assert_eq!(api.post_once("/api/v1/reconcile", &json!({"dry_run": true})).await, (200, false));
    eventually(async || (api.get(SERVER).await.1["data"]["state"] == "ready").then_some(())).await;
    let metrics = api.metrics().await;
    let line = format!("dns_manager_http_requests_total{{method=\"POST\",route=\"{RECORDS}\",status=\"504\"}} 1");
    assert!(metrics.contains(&line), "{metrics}");
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_the_workflow_to_its_end() {
    let api = Api::guarded(FakeDns::default(), &[("CONCURRENT_REQUESTS", "1")]).await;
    api.dns.set_stalled(true);
    let client = api.begin("POST", "/api/v1/servers?wait=60s", &server().to_string()).await;
    eventually(async || api.dns.asked().contains(&"apply 1".to_owned()).then_some(())).await;

    drop(client);
    api.dns.set_stalled(false);

    let ready = eventually(async || {
        let (_, answer) = api.get(SERVER).await;
        (answer["data"]["state"] == "ready").then(|| answer["data"].clone())
    })
    .await;
    assert_eq!((&ready["problem"], &ready["dns"]["verified"]), (&Value::Null, &json!(true)), "{ready}");
    assert_eq!(api.dns.asked().iter().filter(|asked| *asked == "apply 1").count(), 1, "{:?}", api.dns.asked());
    // Its place is free again.
    eventually(async || {
        let (status, answer) = api.send("DELETE", &format!("{SERVER}?wait=10s"), None).await;
        assert!(matches!(status, 200 | 503), "{answer}");
        (status == 200).then_some(())
    })
    .await;
    assert_eq!(api.dns.stored(), [] as [String; 0]);
}

#[tokio::test]
async fn a_client_that_breaks_off_a_change_has_it_made_once() {
    let api = Api::guarded(FakeDns::default(), &[("CONCURRENT_REQUESTS", "1")]).await;
    api.dns.set_stalled(true);
    let client = api.begin("POST", RECORDS, &set().to_string()).await;
    eventually(async || (!api.dns.asked().is_empty()).then_some(())).await;
    assert_eq!(api.status(RECORDS).await, 503, "there is one place");

    drop(client);
    api.dns.set_stalled(false);

    let listed = eventually(async || {
        let (status, answer) = api.get(RECORDS).await;
        (status == 200).then_some(answer)
    })
    .await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(api.dns.asked(), ["apply 1", "list"]);
}

#[tokio::test]
async fn whoever_listens_takes_a_place_until_he_breaks_off() {
    let api = Api::guarded(FakeDns::default(), &[("CONCURRENT_REQUESTS", "1")]).await;
    assert_eq!(api.post("/api/v1/servers?wait=10s", &server()).await.0, 200);
    let mut listening = api.begin("GET", "/api/v1/servers/events", "").await;
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("event: server") {
        assert_ne!(listening.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
    }

    let (status, refused) = api.get(&format!("{SERVER}/events")).await;
    assert_eq!((status, code(&refused)), (503, "overloaded"), "{refused}");
    assert_eq!(api.status(SERVER).await, 200, "those who do not listen have places of their own");

    drop(listening);
    eventually(async || (api.status(&format!("{SERVER}/events")).await == 200).then_some(())).await;
}

#[tokio::test]
async fn a_body_that_does_not_end_in_time_is_refused_and_its_connection_closed() {
    let limits = [("BODY_TIMEOUT", "200ms"), ("CONCURRENT_REQUESTS", "1")];
    let api = Api::guarded(FakeDns::default(), &limits).await;
    let mut client = api.connect().await;
    let head = format!("POST {RECORDS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    client.write_all(format!("{head}Content-Length: 1000\r\n\r\n{{").as_bytes()).await.unwrap();
    let (mut reading, mut writing) = client.into_split();
    // What comes in small pieces is no faster.
    let drip = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });

    let mut answer = Vec::new();
    // A connection that is closed while somebody writes to it may end in an error.
    let closed = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut answer)).await;

    drip.abort();
    assert!(closed.is_ok(), "the connection is closed");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("within 200ms; nothing was done"), "{answer}");
    assert_eq!(api.dns.asked(), [] as [String; 0]);
    assert_eq!(api.status(RECORDS).await, 200, "its place is free again");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_or_not_it_says_so() {
    let api = Api::guarded(FakeDns::default(), &[("CONCURRENT_REQUESTS", "1")]).await;
    let large = " ".repeat(MAX_BODY_BYTES + 1);
    let head = format!(
        "POST {RECORDS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    );
    for (more, length) in
        [("", "said"), ("Idempotency-Key: one\r\n", "said"), ("", "chunked"), ("Idempotency-Key: one\r\n", "chunked")]
    {
        let (said, body) = match length {
            "said" => (format!("Content-Length: {}", large.len()), large.clone()),
            _ => ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len())),
        };
        let (mut reading, mut writing) = api.connect().await.into_split();
        let request = format!("{head}{more}{said}\r\n\r\n{body}");
        // The answer may come before the end of the body.
        let sending = tokio::spawn(async move {
            let sent = writing.write_all(request.as_bytes()).await;
            // Dropped before the answer is there, it would look as if the client had gone.
            (sent, writing)
        });
        let mut answer = Vec::new();
        let ended = reading.read_to_end(&mut answer).await;
        sending.abort();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"code\":\"too-large\""),
            "{length} {more}: {ended:?} {answer}"
        );
    }
    assert_eq!(api.dns.asked(), [] as [String; 0]);
    assert_eq!(api.status(RECORDS).await, 200, "its place is free again");
}
