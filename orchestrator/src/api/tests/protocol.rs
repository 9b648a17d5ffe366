//! What paths have in common: pages, conditions, keys, events, and their description.

use super::*;

#[tokio::test]
async fn a_list_comes_in_pages() {
    let api = Api::start(FakeDns::default()).await;
    for number in 1..=5 {
        let body = format!(r#"{{"hostname": "web-{number}.example.com", "addresses": ["192.168.1.{number}"]}}"#);
        assert_eq!(api.send("POST", "/api/v1/servers?wait=10s", Some(&body)).await.0, 200);
    }
    for path in ["/api/v1/servers", "/api/v1/dns/records"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let (status, page) = api.send("GET", &format!("{path}?limit=2{cursor}"), None).await;
            assert_eq!(status, 200, "{page}");
            let items = page["data"].as_array().unwrap();
            assert!(items.len() <= 2);
            seen.extend(items.iter().map(|item| item.get("hostname").or(item.get("name")).unwrap().to_string()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, (1..=5).map(|number| format!("\"web-{number}.example.com\"")).collect::<Vec<_>>(), "{path}");
    }
    let (_, filtered) = api.send("GET", "/api/v1/servers?state=ready&name=web-3.example.com", None).await;
    assert_eq!(filtered["data"].as_array().unwrap().len(), 1, "{filtered}");
    for wrong in ["limit=0", "limit=x", "cursor=%20", "state=fine"] {
        let (status, refused) = api.send("GET", &format!("/api/v1/servers?{wrong}"), None).await;
        assert_eq!((status, &refused["error"]["code"]), (400, &json!("invalid")), "{wrong}");
    }
}

#[tokio::test]
async fn a_change_can_be_made_to_depend_on_what_was_read() {
    let api = Api::start(FakeDns::default()).await;
    let body = r#"{"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]}"#;
    assert_eq!(api.send("POST", "/api/v1/servers?wait=10s", Some(body)).await.0, 200);
    let client = client();
    let url = format!("{}/api/v1/servers/web-01.example.com", api.base);
    let shown = client.get(&url).send().await.unwrap();
    let tag = shown.headers()["etag"].clone();

    let known = client.get(&url).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!((known.status().as_u16(), known.text().await.unwrap().as_str()), (304, ""));
    let stale = client.delete(&url).header("if-match", "\"0\"").send().await.unwrap();
    assert_eq!(stale.status().as_u16(), 412);
    let stale: Value = stale.json().await.unwrap();
    assert_eq!(stale["error"]["code"], "changed", "{stale}");
    let deleted = client.delete(format!("{url}?wait=10s")).header("if-match", &tag).send().await.unwrap();
    assert_eq!(deleted.status().as_u16(), 200);
}

#[tokio::test]
async fn a_record_set_can_be_changed_only_as_it_was_read() {
    let api = Api::start(FakeDns::default()).await;
    let body = r#"{"name": "web.example.com", "record_type": "A", "values": ["192.0.2.1"]}"#;
    assert_eq!(api.send("POST", "/api/v1/dns/records", Some(body)).await.0, 200);
    let client = client();
    let url = format!("{}/api/v1/dns/records/web.example.com/A", api.base);
    let tag = client.get(&url).send().await.unwrap().headers()["etag"].clone();
    let put = async |tag: &reqwest::header::HeaderValue, value: &str| {
        let body = json!({"values": [value]});
        client.put(&url).header("if-match", tag).json(&body).send().await.unwrap().status().as_u16()
    };

    assert_eq!(put(&tag, "192.0.2.2").await, 200);
    assert_eq!(put(&tag, "192.0.2.3").await, 412, "it is another set by now");
    let stale = client.delete(&url).header("if-match", &tag).send().await.unwrap();
    let stale: Value = stale.json().await.unwrap();
    assert_eq!(stale["error"]["code"], "changed", "{stale}");
    let stored = api.dns.stored().join(", ");
    assert!(stored.contains("192.0.2.2") && !stored.contains("192.0.2.3"), "{stored}");

    // Of all types at once there is no tag: a condition is not passed over.
    let all = client.delete(url.strip_suffix("/A").unwrap());
    let refused = all.try_clone().unwrap().header("if-match", &tag).send().await.unwrap();
    let refused = (refused.status().as_u16(), refused.json::<Value>().await.unwrap());
    assert_eq!((refused.0, &refused.1["error"]["code"]), (400, &json!("invalid")));
    assert_eq!(api.dns.stored().join(", "), stored);
    assert_eq!(all.send().await.unwrap().status().as_u16(), 200);
    assert!(api.dns.stored().is_empty(), "{:?}", api.dns.stored());
}

#[tokio::test]
async fn a_request_with_a_key_is_carried_out_once() {
    let api = Api::start(FakeDns::default()).await;
    let client = client();
    let post = async |key: &str, path: &str, body: &str| {
        let request = client.post(format!("{}{path}", api.base)).header("idempotency-key", key);
        let answer = request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap();
        let is_replayed = answer.headers().contains_key("idempotent-replayed");
        (answer.status().as_u16(), is_replayed, answer.json::<Value>().await.unwrap())
    };
    let body = r#"{"name": "web.example.com", "record_type": "A", "values": ["192.0.2.1"]}"#;

    let (first, again) =
        tokio::join!(post("one", "/api/v1/dns/records", body), post("one", "/api/v1/dns/records", body));
    assert_eq!((first.0, again.0, &first.2), (200, 200, &again.2));
    assert_eq!(api.dns.asked(), ["apply 1"]);
    let replayed = post("one", "/api/v1/dns/records", body).await;
    assert_eq!((replayed.0, replayed.1, replayed.2), (200, true, first.2));
    let reused = post("one", "/api/v1/dns/records", "{}").await;
    assert_eq!((reused.0, &reused.2["error"]["code"]), (422, &json!("idempotency-key-reused")));

    let server = r#"{"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]}"#;
    let first = post("two", "/api/v1/servers", server).await;
    let again = post("two", "/api/v1/servers?wait=10s", server).await;
    assert_eq!(
        (first.0, &again.2["error"]["code"]),
        (202, &json!("idempotency-key-reused")),
        "another query is another request"
    );
}

#[tokio::test]
async fn a_server_that_is_renamed_and_retried_over_rest() {
    let api = Api::start(FakeDns::default()).await;
    let body = r#"{"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]}"#;
    assert_eq!(api.send("POST", "/api/v1/servers?wait=10s", Some(body)).await.0, 200);

    let path = "/api/v1/servers/web-01.example.com/rename?wait=10s";
    let (status, renamed) = api.send("POST", path, Some(r#"{"to": "app-01.example.com"}"#)).await;
    assert_eq!((status, &renamed["data"]["hostname"]), (200, &json!("app-01.example.com")), "{renamed}");
    let (status, refused) = api.send("POST", "/api/v1/servers/app-01.example.com/retry", None).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("nothing-to-retry")), "{refused}");
}

#[tokio::test]
async fn events_tell_what_becomes_of_a_server() {
    let api = Api::start(FakeDns::default()).await;
    let body = r#"{"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]}"#;
    assert_eq!(api.send("POST", "/api/v1/servers?wait=10s", Some(body)).await.0, 200);
    let client = client();
    let events = |path: &str| client.get(format!("{}/api/v1/servers/{path}", api.base)).send();

    let at_rest = events("web-01.example.com/events?until=rest").await.unwrap().text().await.unwrap();
    assert!(at_rest.starts_with("event: server\n") && at_rest.contains("\"state\":\"ready\""), "{at_rest}");
    let following = events("web-01.example.com/events").await.unwrap();
    assert_eq!(api.send("DELETE", "/api/v1/servers/web-01.example.com?wait=10s", None).await.0, 200);
    let followed = tokio::time::timeout(Duration::from_secs(10), following.text()).await.expect("it ends").unwrap();
    assert!(followed.contains("event: deleted\n"), "{followed}");
    assert_eq!(events("web-02.example.com/events").await.unwrap().status().as_u16(), 404);
}

#[tokio::test]
async fn every_path_is_described() {
    let api = Api::start(FakeDns::default()).await;
    let document: Value =
        client().get(format!("{}/openapi.json", api.base)).send().await.unwrap().json().await.unwrap();

    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in [
        ("/api/v1/dns/records", vec!["get", "post"]),
        ("/api/v1/dns/records/{name}/{type}", vec!["get", "put", "delete"]),
        ("/api/v1/dns/plan", vec!["post"]),
        ("/api/v1/servers/{hostname}", vec!["get", "delete"]),
        ("/api/v1/servers/{hostname}/rename", vec!["post"]),
        ("/readyz", vec!["get"]),
    ] {
        for method in methods {
            assert!(paths[path][method]["responses"].is_object(), "{method} {path}: {:#}", paths[path]);
        }
    }
    // OpenAPI wants a word on every response.
    for operation in paths.values().flat_map(|item| item.as_object().unwrap().values()) {
        let responses = operation["responses"].as_object().unwrap();
        assert!(!responses.is_empty(), "{operation:#}");
        for (status, response) in responses {
            assert!(response["description"].as_str().is_some_and(|words| !words.is_empty()), "{status}: {operation:#}");
        }
    }
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
}
