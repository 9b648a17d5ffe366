//! A token that is limited to a zone sees and changes nothing else.

use std::time::Duration;

use dns_manager_tests::http;
use serde_json::{Value, json};

use super::{REQUIRED, installation, send, set, status, token};

const PATIENCE: Duration = Duration::from_secs(30);
const A: &str = "web.a.example.com";
const B: &str = "web.b.example.com";

#[tokio::test]
async fn a_token_of_one_zone_sees_and_changes_nothing_else() {
    let installation = installation(REQUIRED);
    let serving = installation.serve().await;
    let all = token(&installation, &["all", "--role", "admin"]).await;
    let own = token(&installation, &["own", "--role", "admin", "--zone", "A.example.com"]).await;
    assert_eq!(status(&serving, &all, "POST /api/v1/dns/records", Some(json!([set(A), set(B)]))).await, 200);
    for host in ["srv.a.example.com", "srv.b.example.com"] {
        let server = json!({"hostname": host, "addresses": ["192.0.2.9"]});
        assert_eq!(status(&serving, &all, "POST /api/v1/servers?wait=60s", Some(server)).await, 200, "{host}");
    }
    let before = send(&serving, &all, "GET /api/v1/dns/export", None).await.body;

    for path in ["dns/records", "dns/records?name=web.b.example.com", "dns/export", "servers"] {
        let everything = send(&serving, &all, &format!("GET /api/v1/{path}"), None).await.body;
        assert!(everything.to_string().contains("b.example.com"), "{everything}");
        let seen = send(&serving, &own, &format!("GET /api/v1/{path}"), None).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
        assert!(!seen.body["data"].to_string().contains("b.example.com"), "{path}: {}", seen.body);
        assert_eq!(seen.body["data"].as_array().unwrap().is_empty(), path.contains('?'), "{}", seen.body);
    }
    // Nor by pages, and where the next one begins.
    for (path, count) in [("dns/records", 2), ("servers", 1)] {
        let (mut seen, mut cursor) = (0, String::new());
        loop {
            let page = send(&serving, &own, &format!("GET /api/v1/{path}?limit=1{cursor}"), None).await;
            assert_eq!(page.status, 200, "{}", page.body);
            seen += page.body["data"].as_array().unwrap().len();
            let Some(next) = page.body["next"].as_str() else { break };
            let place = data_encoding::BASE64URL_NOPAD.decode(next.as_bytes()).unwrap();
            assert!(!String::from_utf8_lossy(&place).contains("b.example.com"), "{path}: {}", page.body);
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, count, "{path}");
    }
    let wish = |name: &str| json!({"record_sets": [set(A), set(name)]});
    for (line, body) in [
        ("GET /api/v1/servers/srv.b.example.com", None),
        ("DELETE /api/v1/servers/srv.b.example.com", None),
        ("DELETE /api/v1/servers/SRV.B.example.com.", None),
        ("POST /api/v1/servers", Some(json!({"hostname": "new.b.example.com", "addresses": ["192.0.2.1"]}))),
        ("POST /api/v1/servers", Some(json!({"hostname": "xa.example.com", "addresses": ["192.0.2.1"]}))),
        ("POST /api/v1/dns/records", Some(set(B))),
        ("POST /api/v1/dns/records", Some(json!([set("new.a.example.com"), set(B)]))),
        ("POST /api/v1/dns/records", Some(set("web\\.a.example.com"))),
        ("PUT /api/v1/dns/records/web.b.example.com/A", Some(json!({"values": ["192.0.2.2"]}))),
        ("PUT /api/v1/dns/records/web.%62.example.com/A", Some(json!({"values": ["192.0.2.2"]}))),
        ("DELETE /api/v1/dns/records/web.b.example.com/A", None),
        ("DELETE /api/v1/dns/records/web.b.example.com", None),
        ("DELETE /api/v1/dns/records/example.com/A", None),
        ("POST /api/v1/dns/records/web.b.example.com/verify", None),
        ("POST /api/v1/dns/plan", Some(wish(B))),
        ("POST /api/v1/dns/plan", Some(json!([set(B)]))),
        ("POST /api/v1/dns/apply", Some(wish(B))),
        ("POST /api/v1/dns/apply", Some(json!([set(B)]))),
        ("POST /api/v1/reconcile", Some(json!({"dry_run": true}))),
        ("POST /api/v1/servers/srv.b.example.com/rename", Some(json!({"to": "new.a.example.com"}))),
        ("POST /api/v1/servers/srv.a.example.com/rename", Some(json!({"to": "new.b.example.com"}))),
    ] {
        let answer = send(&serving, &own, line, body).await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (403, &json!("forbidden")),
            "{line}: {}",
            answer.body
        );
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("the token own is limited to a.example.com: "), "{message}");
    }
    assert_eq!(send(&serving, &all, "GET /api/v1/dns/export", None).await.body, before);

    // Within its zone it does what others do; what it prunes is its own.
    let pruned = json!({"record_sets": [set("new.a.example.com")], "prune": true, "max_deletes": "100%"});
    let plan = send(&serving, &own, "POST /api/v1/dns/plan", Some(pruned.clone())).await;
    assert_eq!(plan.status, 200, "{}", plan.body);
    assert!(plan.body.to_string().contains(A) && !plan.body.to_string().contains("b.example.com"), "{}", plan.body);
    let applied = send(&serving, &own, "POST /api/v1/dns/apply", Some(pruned)).await;
    assert_eq!(applied.status, 200, "{}", applied.body);
    let names = |body: &Value| {
        let sets = body["data"].as_array().unwrap().iter();
        sets.map(|set| set["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut left = names(&send(&serving, &all, "GET /api/v1/dns/records", None).await.body);
    left.sort();
    assert_eq!(left, ["new.a.example.com", "srv.a.example.com", "srv.b.example.com", B]);
    let to = json!({"to": "moved.a.example.com"});
    let line = "POST /api/v1/servers/srv.a.example.com/rename?wait=60s";
    assert_eq!(status(&serving, &own, line, Some(to)).await, 200);
    assert_eq!(status(&serving, &own, "DELETE /api/v1/servers/moved.a.example.com?wait=60s", None).await, 200);
}

#[tokio::test]
async fn whoever_follows_a_server_does_not_see_it_leave_his_zone() {
    let installation = installation(REQUIRED);
    let serving = installation.serve().await;
    let all = token(&installation, &["all", "--role", "admin"]).await;
    let own = token(&installation, &["own", "--zone", "a.example.com"]).await;
    let server = json!({"hostname": "srv.a.example.com", "addresses": ["192.0.2.9"]});
    assert_eq!(status(&serving, &all, "POST /api/v1/servers?wait=60s", Some(server)).await, 200);

    let follow = |token: &str| {
        let url = format!("{}/api/v1/servers/srv.a.example.com/events", serving.url());
        http::client().get(url).bearer_auth(token).send()
    };
    let mut streams = [follow(&all).await.unwrap(), follow(&own).await.unwrap()];
    for stream in &mut streams {
        assert!(told_until(stream, "srv.a.example.com").await.contains("event: server\n"));
    }
    let to = json!({"to": "moved.b.example.com"});
    let line = "POST /api/v1/servers/srv.a.example.com/rename?wait=60s";
    assert_eq!(status(&serving, &all, line, Some(to)).await, 200);

    let [mut of_all, of_own] = streams;
    let ended = tokio::time::timeout(PATIENCE, of_own.text()).await.expect("it ends").unwrap();
    assert!(ended.contains("event: deleted\n"), "{ended}");
    assert!(!ended.contains("b.example.com"), "{ended}");
    let told = told_until(&mut of_all, "moved.b.example.com").await;
    assert!(!told.contains("event: deleted\n"), "who may see it goes on following it: {told}");
}

/// What a stream tells until these words have come.
async fn told_until(stream: &mut reqwest::Response, words: &str) -> String {
    let mut told = String::new();
    while !told.contains(words) {
        let chunk = tokio::time::timeout(PATIENCE, stream.chunk()).await.expect("it is told").unwrap();
        told.push_str(&String::from_utf8_lossy(&chunk.expect("the stream goes on")));
    }
    told
}
