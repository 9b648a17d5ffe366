//! Secrets stay in the host, be the backend as talkative as it likes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use dns_manager_host::{Call, DnsManager};
use dns_manager_tests::{
    app::{self, apply},
    change::{a, add},
    fixture,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const USER: &str = "dns";
const PASSWORD: &str = "correct horse battery staple";
const TOKEN: &str = "QbXnYdLkPzRs.42";

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_echoes_headers_tells_the_plugin_no_secret() {
    let (address, seen) = echoing().await;
    let url = format!("http://{address}");
    let hostile = DnsManager::builder()
        .component(fixture::component("hostile"))
        .backend([url.clone()])
        .nameservers(["127.0.0.1:9"])
        .credentials(USER, PASSWORD)
        .build()
        .await
        .unwrap();
    let wish = format!("fetch {address}/v3/echo");
    let checks = hostile.diagnose(Call { request_id: wish, ..Call::default() }).await.unwrap();
    let saw = &checks[0].saw;
    let denied = format!("fetch {address}/v3/auth/user/list");
    let denied = hostile.diagnose(Call { request_id: denied, ..Call::default() }).await.unwrap();
    let builder = app::builder(&url, "127.0.0.1:9".parse().unwrap(), &["ex.test".to_owned()]);
    let manager = builder.credentials(USER, PASSWORD).build().await.unwrap();
    let outcomes = apply(&manager, vec![add("w.ex.test", 60, [a("10.0.0.1")])]).await;

    let requests = seen.lock().unwrap().join("\n");
    assert!(requests.contains(&format!("authorization: {TOKEN}")), "the backend got the token: {requests}");
    assert!(requests.contains(PASSWORD), "and, once, the password");
    assert!(!requests.contains("/v3/auth/user/list"), "{requests}");
    assert!(saw.contains("authorization header: forbidden"), "{saw}");
    assert!(saw.contains("x-mine"), "what is not secret comes back: {saw}");
    assert!(denied[0].saw.contains("HttpRequestDenied"), "{}", denied[0].saw);
    for told in [saw.clone(), format!("{outcomes:?}"), format!("{manager:?}"), format!("{hostile:?}")] {
        assert!(!told.contains(TOKEN) && !told.contains(PASSWORD), "{told}");
    }
}

/// Gives a token to everybody, and else sends back what it got, in a header and in the body.
async fn echoing() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let log = log.clone();
            tokio::spawn(async move {
                let mut octets = Vec::new();
                loop {
                    let mut buffer = [0; 8192];
                    let read = stream.read(&mut buffer).await?;
                    if read == 0 {
                        return Ok::<_, std::io::Error>(());
                    }
                    octets.extend_from_slice(&buffer[..read]);
                    let text = String::from_utf8_lossy(&octets).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    if body.len() < length.map_or(0, |length| length.parse().unwrap()) {
                        continue;
                    }
                    log.lock().unwrap().push(text.clone());
                    octets.clear();
                    let one_line = head.replace("\r\n", " | ");
                    let answer = if head.contains("/v3/auth/authenticate") {
                        format!("{{\"token\":\"{TOKEN}\"}}")
                    } else {
                        serde_json::json!({"code": 3, "message": one_line}).to_string()
                    };
                    let status = if answer.contains("\"code\"") { "400 Bad Request" } else { "200 OK" };
                    let reply = format!(
                        "HTTP/1.1 {status}\r\nx-echo: {one_line}\r\nauthorization: {TOKEN}\r\ncontent-length: {}\r\n\r\n{answer}",
                        answer.len()
                    );
                    stream.write_all(reply.as_bytes()).await?;
                }
            });
        }
    });
    (address, seen)
}
