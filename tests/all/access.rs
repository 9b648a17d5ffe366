//! Who may use the REST API of a real `serve`, how far, and how much at a time.

mod limits;
mod tls;
mod zones;

use std::time::Duration;

use dns_manager_tests::{
    cli::{Installation, Serving},
    http,
    port::free_address,
    wait,
};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// On the embedded default, with these lines in the file; its audit log is `audit`.
fn installation(config: &str) -> Installation {
    let embedded = format!("[orchestrator.embedded]\ndns_listen = \"{}\"\n", free_address());
    Installation::new(&format!("{embedded}{config}"))
}

const REQUIRED: &str = "[orchestrator.access]\nrequired = true\naudit = \"audit\"\n";

async fn token(installation: &Installation, arguments: &[&str]) -> String {
    let created = installation.run(&[&["token", "create"], arguments].concat()).await.succeeded();
    assert!(created.stdout.starts_with("dnsm_"), "{created:?}");
    created.stdout.trim().to_owned()
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

/// Sends a request, with a token unless it is empty.
async fn send(serving: &Serving, token: &str, line: &str, body: Option<Value>) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let client = http::client();
    let mut request = client.request(method.parse().unwrap(), format!("{}{path}", serving.url()));
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, body: answer.json().await.unwrap() }
}

async fn status(serving: &Serving, token: &str, line: &str, body: Option<Value>) -> u16 {
    send(serving, token, line, body).await.status
}

fn set(name: &str) -> Value {
    json!({"name": name, "record_type": "A", "values": ["192.0.2.1"]})
}

#[tokio::test]
async fn a_token_allows_what_its_role_does_until_it_is_revoked() {
    let installation = installation(REQUIRED);
    let serving = installation.serve().await;
    let reader = token(&installation, &["reader"]).await;
    let writer = token(&installation, &["writer", "--role", "write", "--expires", "90d"]).await;
    let admin = token(&installation, &["admin", "--role", "admin"]).await;

    assert_eq!(status(&serving, "", "GET /healthz", None).await, 200);
    let nobody = send(&serving, "", "GET /api/v1/servers", None).await;
    assert_eq!((nobody.status, &nobody.body["error"]["code"]), (401, &json!("unauthenticated")));
    assert_eq!(nobody.headers["www-authenticate"], "Bearer realm=\"dns-manager\"");
    assert_eq!(nobody.body["error"]["request_id"], nobody.headers["x-request-id"].to_str().unwrap());
    for wrong in ["nonsense", "dnsm_local_0", &format!("{}0", &writer[..writer.len() - 1]), &format!("{writer}0")] {
        if wrong != writer {
            assert_eq!(status(&serving, wrong, "GET /api/v1/servers", None).await, 401, "{wrong}");
        }
    }

    let register = || Some(set("web.example.com"));
    for (line, body, statuses) in [
        ("GET /api/v1/servers", None, [200, 200, 200]),
        ("GET /readyz", None, [200, 200, 200]),
        ("POST /api/v1/dns/plan", Some(json!([set("p.example.com")])), [200, 200, 200]),
        ("POST /api/v1/dns/records", register(), [403, 200, 200]),
        ("POST /api/v1/dns/apply", Some(json!([set("p.example.com")])), [403, 200, 200]),
        ("DELETE /api/v1/dns/records/p.example.com/A", None, [403, 200, 200]),
        ("POST /api/v1/reconcile", Some(json!({"dry_run": true})), [403, 403, 200]),
    ] {
        for (token, expected) in [&reader, &writer, &admin].into_iter().zip(statuses) {
            let answer = send(&serving, token, line, body.clone()).await;
            assert_eq!(answer.status, expected, "{line}: {}", answer.body);
        }
    }
    let refused = send(&serving, &reader, "POST /api/v1/dns/records", register()).await.body;
    assert_eq!(
        refused["error"]["message"],
        "the token reader has the role read, and POST /api/v1/dns/records needs write"
    );

    // Commands on the same machine need none.
    let listed = installation.run(&["record", "list", "--output", "json"]).await.succeeded().json();
    assert_eq!(listed[0]["name"], "web.example.com");
    installation.run(&["server", "create", "srv.example.com", "--ip", "192.0.2.7"]).await.succeeded();

    installation.run(&["token", "revoke", "writer"]).await.succeeded();
    assert_eq!(status(&serving, &writer, "GET /api/v1/servers", None).await, 401);
    assert_eq!(status(&serving, &reader, "GET /api/v1/servers", None).await, 200);
    assert!(!installation.run(&["token", "list"]).await.succeeded().stdout.contains("writer"));

    let audit = std::fs::read_to_string(installation.folder().join("audit")).unwrap();
    let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by = |who: &str, status: u16| {
        lines.iter().find(|line| line["who"] == who && line["status"] == status).unwrap_or_else(|| panic!("{audit}"))
    };
    let written = by("writer", 200);
    assert_eq!(written["items"], json!([{"name": "web.example.com", "type": "A", "outcome": "created"}]));
    assert_eq!((&written["role"], &written["address"]), (&json!("write"), &json!("127.0.0.1")));
    assert_eq!(by("reader", 403)["code"], "forbidden");
    assert_eq!(by("anonymous", 401)["role"], Value::Null);
    assert_eq!(by("local", 200)["items"][0]["name"], "srv.example.com");
    assert!(lines.iter().all(|line| line["method"] != "GET" || line["status"] == 401), "{audit}");
    for token in [&reader, &writer, &admin] {
        let secret = token.rsplit('_').next().unwrap();
        assert!(!audit.contains(secret) && !serving.output().contains(secret));
    }
    assert!(!audit.contains("192.0.2.1"), "{audit}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_lets_somebody_in_is_its_owners_alone_and_damage_lets_nobody_in() {
    use std::os::unix::fs::PermissionsExt as _;
    let installation = installation(REQUIRED);
    let reader = token(&installation, &["reader"]).await;
    let serving = installation.serve().await;
    let data = installation.folder().join("state/dns-manager");
    for file in [data.join("tokens.json"), data.join("serve.json"), installation.folder().join("audit")] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    assert_eq!(status(&serving, &reader, "GET /api/v1/servers", None).await, 200);

    std::fs::write(data.join("tokens.json"), "{").unwrap();

    let answer = send(&serving, &reader, "GET /api/v1/servers", None).await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (503, &json!("tokens-unusable")));
    assert!(serving.output().contains("tokens.json is damaged, and nobody is let in by it"), "{}", serving.output());
    let created = installation.run(&["token", "create", "other"]).await;
    assert!(created.status == 1 && created.stderr.contains("is damaged"), "{created:?}");
}

#[tokio::test]
async fn other_addresses_are_served_with_access_control_alone() {
    let port = free_address().port();
    let listen = format!("[orchestrator]\nlisten = \"0.0.0.0:{port}\"\n");
    let open = installation(&listen);
    let refused = open.run(&["serve"]).await;
    assert_eq!(refused.status, 2, "{refused:?}");
    for part in ["is not a loopback address", "orchestrator.access.required = true", "allow_plain = true", "127.0.0.1:"]
    {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    let no_tls = installation(&format!("{listen}{REQUIRED}")).run(&["serve"]).await;
    assert!(no_tls.status == 2 && no_tls.stderr.contains("orchestrator.tls.certificate"), "{no_tls:?}");

    let closed = installation(&format!("{listen}{REQUIRED}allow_plain = true\n"));
    let nobody = closed.run(&["serve"]).await;
    assert!(nobody.status == 2 && nobody.stderr.contains("there is no token in"), "{nobody:?}");
    token(&closed, &["ci"]).await;
    let running = closed.start(&["serve"]);
    let url = format!("http://127.0.0.1:{port}/api/v1/servers");
    let client = http::builder().timeout(Duration::from_secs(5)).build().unwrap();
    let status = wait::until("it listens", Duration::from_secs(60), async || {
        Some(client.get(&url).send().await.ok()?.status().as_u16())
    })
    .await;
    assert_eq!(status, 401);
    closed.run(&["server", "list"]).await.succeeded();
    let ended = running.ended_by("TERM").await;
    assert_eq!(ended.status, 0, "{ended:?}");
}

#[tokio::test]
async fn a_page_whose_name_points_here_is_refused() {
    let serving = installation("").serve().await;
    let client = http::client();
    for (host, expected) in
        [("localhost:1", 200), ("127.0.0.1", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403)]
    {
        let answer = client.get(format!("{}/api/v1/servers", serving.url())).header("host", host).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{host}");
    }
    // A browser sends such a request without asking, and says whose page it is.
    let path = format!("{}/api/v1/dns/records/web-01.example.com/release", serving.url());
    for (origin, expected) in [("http://localhost:3000", 200), ("https://evil.example", 403), ("null", 403)] {
        let answer = client.post(&path).header("origin", origin).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{origin}");
    }
}
