use super::*;

fn gateway() -> (tempfile::TempDir, Gateway) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, Gateway::new(Arc::new(store)))
}

fn call(gateway: &Gateway, path: &str, body: &str) -> (u16, Value) {
    let request = Request::post(path).body(Bytes::from(body.to_owned())).unwrap();
    let response = gateway.answer(&request);
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

#[test]
fn answers_leave_out_what_is_zero() {
    let (_directory, gateway) = gateway();
    let header = |revision: &str| serde_json::json!({"cluster_id": "1", "member_id": "1", "raft_term": "1", "revision": revision});
    assert_eq!(call(&gateway, "/v3/kv/range", r#"{"key":"YQ=="}"#), (200, serde_json::json!({"header": header("1")})));
    let body = r#"{"compare":[{"key":"YQ==","target":"MOD","mod_revision":"0"}],
        "success":[{"request_put":{"key":"YQ==","value":"Yg=="}},{"requestRange":{"key":"YQ"}}]}"#;
    assert_eq!(
        call(&gateway, "/v3/kv/txn", body),
        (
            200,
            serde_json::json!({"header": header("2"), "succeeded": true, "responses": [
                {"response_put": {"header": {"revision": "2"}}},
                {"response_range": {"header": {"revision": "2"}, "count": "1", "kvs": [
                    {"key": "YQ==", "create_revision": "2", "mod_revision": "2", "version": "1", "value": "Yg=="}]}},
            ]})
        )
    );
    assert_eq!(call(&gateway, "/v3/kv/txn", body), (200, serde_json::json!({"header": header("2")})));
}

#[test]
fn refusals_bear_the_codes_of_etcd() {
    let (_directory, gateway) = gateway();
    let many = format!(r#"{{"compare":[{}]}}"#, vec![r#"{"key":"YQ=="}"#; 129].join(","));
    let large = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "YWFh".repeat(524_288));
    let larger = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "YWFh".repeat(700_000));
    for (path, body, status, code, message) in [
        ("/v3/kv/range", "", 400, 3, "etcdserver: key is not provided"),
        ("/v3/kv/range", "[]", 400, 3, "syntax error"),
        ("/v3/kv/range", "{", 400, 3, "syntax error"),
        ("/v3/kv/range", r#"{"key":"!!"}"#, 400, 3, "bytes field key"),
        (
            "/v3/kv/range",
            r#"{"key":"YQ==","revision":9}"#,
            400,
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        ("/v3/kv/put", r#"{"key":"YQ==","lease":"7"}"#, 404, 5, "etcdserver: requested lease not found"),
        ("/v3/kv/put", r#"{"key":"YQ==","ignore_value":true}"#, 400, 3, "etcdserver: key not found"),
        ("/v3/kv/put", &large, 400, 3, "etcdserver: request is too large"),
        ("/v3/kv/put", &larger, 429, 8, "grpc: received message larger than max"),
        ("/v3/kv/txn", &many, 400, 3, "etcdserver: too many operations in txn request"),
        ("/v3/kv/txn", r#"{"success":[{}]}"#, 400, 3, "etcdserver: key not found"),
        (
            "/v3/kv/txn",
            r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_delete_range":{"key":"YQ=="}}]}"#,
            400,
            3,
            "etcdserver: duplicate key given in txn request",
        ),
        ("/v3/kv/txn", r#"{"success":[{"request_txn":{}}]}"#, 501, 12, "nested transactions"),
        ("/v3/lease/grant", "{}", 404, 5, "Not Found"),
    ] {
        let (seen, answer) = call(&gateway, path, body);
        let start = &body[..body.len().min(80)];
        assert_eq!((seen, answer["code"].as_u64()), (status, Some(code)), "{path} {start}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(message), "{path} {start}: {answer}");
    }
    let request = Request::get("/v3/kv/range").body(Bytes::new()).unwrap();
    assert_eq!(gateway.answer(&request).status(), 501);
}

#[test]
fn what_does_not_fit_is_refused_as_exhausted() {
    for (fault, message) in [
        (Fault::TooLarge, "grpc: trying to send message larger than max (over 16777216 octets)"),
        (Fault::NoSpace, "etcdserver: mvcc: database space exceeded"),
    ] {
        let refusal = Refusal::from(fault);
        assert_eq!((refusal.status.as_u16(), refusal.body()["code"].as_u64()), (429, Some(8)));
        assert_eq!(refusal.body()["message"], message);
    }
}

#[tokio::test]
async fn a_request_waits_for_a_place() {
    let (_directory, gateway) = gateway();
    let taken = Arc::clone(&gateway.places).acquire_many_owned(16).await.unwrap();
    let request = || Request::get("/version").body(Bytes::new()).unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(20), gateway.handle(request())).await;
    assert!(waited.is_err());
    drop(taken);
    assert_eq!(gateway.handle(request()).await.status(), 200);
}
