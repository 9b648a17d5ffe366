//! The REST API on a real connection, with DNS and inventory faked.

mod protocol;
mod trouble;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dns_manager_host::contract::{Check, Level, Verdict};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::environment::Environment;
use crate::lifecycle::{Keeper, Policy};
use crate::metrics::{Metered, Metrics};
use crate::provider::Kind;
use crate::record::Ttl;
use crate::remote::Remote;
use crate::serve::Holder;
use crate::server::Step;
use crate::testing::{FakeDns, FakeInventory};

struct Api {
    base: String,
    instance: Uuid,
    dns: Arc<FakeDns>,
    lifecycle: Lifecycle,
}

impl Api {
    async fn start(dns: FakeDns) -> Self {
        Self::serve(dns, Metrics::default(), |router| router).await
    }

    /// With what stands before the paths; `limits` has keys of `orchestrator.limits`.
    async fn guarded(dns: FakeDns, limits: &[(&str, &str)]) -> Self {
        let metrics = Metrics::default();
        let guard = Guard::new(&config(limits), "secret", metrics.clone()).unwrap();
        Self::serve(dns, metrics, |router| guard.before(router, Door::Public)).await
    }

    async fn serve(dns: FakeDns, metrics: Metrics, guarded: impl FnOnce(Router) -> Router) -> Self {
        let dns = Arc::new(dns);
        let ttl = Ttl::try_from(300).unwrap();
        let policy = Policy {
            auto_register: true,
            ptr: false,
            ttl,
            verify_timeout: Duration::from_secs(1),
            ready_timeout: Duration::from_secs(1),
            retry_for: Duration::ZERO,
            domain: None,
            suggested_domain: "example.com".to_owned(),
        };
        let inventory = Arc::new(FakeInventory::default());
        let metered = Arc::new(Metered::new(dns.clone(), metrics.clone()));
        let lifecycle = Lifecycle::counted(metered.clone(), Kind::Static.provider(), inventory, policy, metrics);
        let zones = vec!["example.com".parse().unwrap()];
        let reconcile = crate::reconcile::Policy { auto_register: true, ttl, put_back: false, zones };
        let service = Service {
            dns: metered.clone(),
            registry: Registry::new(metered.clone(), ttl),
            desired: Desired::new(metered.clone(), ttl, ["example.com"]),
            reconciler: Reconciler::new(metered, lifecycle.clone(), reconcile),
            lifecycle: lifecycle.clone(),
            zones: vec!["example.com".to_owned()],
            stopping: watch::channel(false).1,
            openapi: Arc::default(),
            instance: Uuid::now_v7(),
            last_look: LastLook::default(),
        };
        let instance = service.instance;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let service = guarded(router(service)).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(axum::serve(listener, service).into_future());
        Self { base, instance, dns, lifecycle }
    }

    async fn send(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = client().request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, None).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, Some(&body.to_string())).await
    }
}

/// The default configuration with other limits.
fn config(limits: &[(&str, &str)]) -> Config {
    let limit =
        |(key, value): &(&str, &str)| (format!("DNS_MANAGER__ORCHESTRATOR__LIMITS__{key}"), (*value).to_owned());
    let mut variables: BTreeMap<_, _> = limits.iter().map(limit).collect();
    variables.insert("HOME".to_owned(), "/nowhere".to_owned());
    let environment = Environment { variables, directory: "/nowhere".into(), ..Environment::default() };
    Config::load(None, &environment).unwrap()
}

fn client() -> Client {
    crate::client::plain().unwrap().no_proxy().build().unwrap()
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap()
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap()
}

#[tokio::test]
async fn records_are_listed_in_the_envelope_of_the_users_document() {
    let api = Api::start(FakeDns::default()).await;
    let set = json!({"name": "web-01.example.com", "record_type": "A", "values": ["192.168.1.10"]});

    let (created, outcomes) = api.post("/api/v1/dns/records", &set).await;
    let client = client();
    let listed = client.get(format!("{}/api/v1/dns/records", api.base)).send().await.unwrap();

    assert_eq!((created, listed.status().as_u16()), (200, 200));
    assert_eq!(
        outcomes,
        json!({"success": true, "data": [
            {"name": "web-01.example.com", "record_type": "A", "value": "192.168.1.10", "ttl": 300, "outcome": "created"}
        ]})
    );
    assert_eq!(
        listed.text().await.unwrap(),
        r#"{"success":true,"data":[{"name":"web-01.example.com","record_type":"A","value":"192.168.1.10","ttl":300}]}"#
    );
}

#[tokio::test]
async fn an_outcome_that_is_not_done_is_an_error_and_data() {
    let api = Api::start(FakeDns::default().conflict_at("taken")).await;
    let sets = json!([
        {"name": "taken.example.com", "record_type": "A", "values": ["192.0.2.1"]},
        {"name": "free.example.com", "record_type": "A", "values": ["192.0.2.2"], "ttl": 60},
        {"name": "odd.example.com", "record_type": "AAAA", "values": ["192.0.2.3"]},
    ]);

    let (status, answer) = api.post("/api/v1/dns/records", &sets).await;

    assert_eq!((status, code(&answer)), (409, "owned-by"));
    assert_eq!(message(&answer), "taken.example.com belongs to somebody else (and 1 more, see data)");
    let outcomes: Vec<_> = answer["data"].as_array().unwrap().iter().map(|outcome| &outcome["outcome"]).collect();
    assert_eq!(outcomes, ["conflict", "created", "refused"]);
}

#[tokio::test]
async fn a_record_set_is_replaced_and_removed_by_its_path() {
    let api = Api::start(FakeDns::default()).await;
    let path = "/api/v1/dns/records/web-01.example.com/a";

    let (put, _) = api.send("PUT", path, Some(r#"{"values": ["192.0.2.1"], "ttl": 60}"#)).await;
    let (deleted, answer) = api.send("DELETE", &format!("{path}?value=192.0.2.1&value=192.0.2.9"), None).await;

    assert_eq!((put, deleted), (200, 200));
    let outcomes: Vec<_> = answer["data"].as_array().unwrap().iter().map(|outcome| &outcome["outcome"]).collect();
    assert_eq!(outcomes, ["deleted", "deleted"]);
}

#[tokio::test]
async fn a_request_that_is_none_of_ours_is_answered_in_the_envelope() {
    let api = Api::start(FakeDns::default()).await;
    let set = r#"{"name": "a.example.com", "record_type": "A", "values": ["192.0.2.1"]"#;
    for (method, path, body, status, expected) in [
        ("GET", "/nowhere", None, 404, "there is nothing at /nowhere"),
        ("GET", "/api/v1/dns/nowhere", None, 404, "there is nothing at /api/v1/dns/nowhere"),
        ("PATCH", "/api/v1/dns/records", None, 405, "PATCH is not available at /api/v1/dns/records"),
        (
            "GET",
            "/api/v1/dns/records?zon=x",
            None,
            400,
            "unknown query parameter \"zon\": known here are zone, name, below, type, owner, resource, limit, cursor",
        ),
        ("GET", "/api/v1/dns/records?zone=a&zone=b", None, 400, "query parameter \"zone\" is given more than once"),
        (
            "GET",
            "/api/v1/dns/records?type=ANY",
            None,
            400,
            "\"ANY\" is not a record type: write A, AAAA, CNAME, TXT, MX, SRV, PTR or NS, say",
        ),
        ("POST", "/api/v1/dns/records", None, 400, "the body is empty: send JSON"),
        ("POST", "/api/v1/dns/records", Some("[{}]"), 400, "item 0: missing field `name`"),
        (
            "POST",
            "/api/v1/dns/records",
            Some(r#"{"name": "a.example.com", "record_type": "A", "values": []}"#),
            400,
            "the body: values is empty: to remove a record set, use DELETE",
        ),
        (
            "PUT",
            "/api/v1/dns/records/a.example.com/A",
            Some(r#"{"values": ["192.0.2.1"], "tll": 1}"#),
            400,
            "the body: unknown field `tll`, expected `values` or `ttl` at line 1 column 31",
        ),
        ("POST", "/api/v1/dns/records", Some(set), 400, "the body: EOF while parsing an object at line 1 column 69"),
        (
            "POST",
            "/api/v1/servers?wait=long",
            Some(r#"{"hostname": "a.example.com"}"#),
            400,
            "wait: \"long\" is not a duration of at most 10m: write 30s, say",
        ),
        (
            "POST",
            "/api/v1/servers",
            Some(r#"{"hostname": "a.example.com", "addresses": ["x"]}"#),
            400,
            "addresses: \"x\" is not an IP address",
        ),
        (
            "GET",
            "/api/v1/servers/a.example.com",
            None,
            404,
            "there is no server a.example.com: `dns-manager server list` shows all",
        ),
    ] {
        let (found, answer) = api.send(method, path, body).await;
        assert_eq!((found, message(&answer)), (status, expected), "{method} {path}");
        assert_eq!(answer["success"], false);
    }
    assert_eq!(api.dns.asked(), <[String; 0]>::default());
}

#[tokio::test]
async fn a_body_must_be_json_and_not_too_large() {
    let api = Api::start(FakeDns::default()).await;
    let url = format!("{}/api/v1/dns/records", api.base);
    let client = client();

    let plain = client.post(&url).header("content-type", "text/plain").body("{}").send().await.unwrap();
    let large = client.post(&url).header("content-type", "application/json").body(" ".repeat(MAX_BODY_BYTES + 1));
    let large = large.send().await.unwrap();

    assert_eq!((plain.status().as_u16(), large.status().as_u16()), (415, 413));
    assert_eq!(code(&plain.json().await.unwrap()), "unsupported-media-type");
    assert_eq!(code(&large.json().await.unwrap()), "too-large");
}

#[tokio::test]
async fn a_server_is_created_shown_and_deleted() {
    let api = Api::start(FakeDns::default()).await;
    let body = json!({"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]});

    let (created, server) = api.post("/api/v1/servers?wait=10s", &body).await;
    let (again, conflict) = api.post("/api/v1/servers", &body).await;
    let (_, listed) = api.get("/api/v1/servers").await;
    let (deleted, gone) = api.send("DELETE", "/api/v1/servers/web-01.example.com?wait=10", None).await;

    assert_eq!((created, &server["data"]["state"]), (200, &json!("ready")));
    assert_eq!(server["data"]["dns"]["verified"], true);
    assert_eq!((again, code(&conflict)), (409, "exists"));
    assert_eq!(listed["data"][0]["hostname"], "web-01.example.com");
    assert_eq!((deleted, &gone["data"]["state"]), (200, &json!("deleted")));
    assert_eq!(api.get("/api/v1/servers").await.1["data"], json!([]));
}

#[tokio::test]
async fn without_wait_a_server_is_accepted() {
    let api = Api::start(FakeDns::default()).await;
    let body = json!({"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]});

    let (status, answer) = api.post("/api/v1/servers", &body).await;

    assert_eq!((status, &answer["data"]["state"]), (202, &json!("creating")));
}

#[tokio::test]
async fn a_workflow_that_stopped_is_an_error_with_the_server() {
    let api = Api::start(FakeDns::default()).await;
    let body = json!({"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]});
    api.post("/api/v1/servers?wait=10s", &body).await;
    api.dns.set_unavailable(true);

    let (status, answer) = api.send("DELETE", "/api/v1/servers/web-01.example.com?wait=10s", None).await;

    assert_eq!((status, code(&answer), &answer["data"]["state"]), (503, "failed", &json!("failed")));
}

#[tokio::test]
async fn a_command_sees_the_steps_of_a_running_service() {
    let api = Api::start(FakeDns::default()).await;
    let holder = Holder { url: api.base.clone(), instance: api.instance, secret: None };
    let stale = Holder { instance: Uuid::now_v7(), ..holder.clone() };
    let remote = Remote::find(&holder).await.unwrap();
    let mut steps = Vec::new();

    let addresses = ["192.168.1.10".parse().unwrap()];
    let mut ended = |step: &Step| steps.extend((!step.is_open()).then(|| step.name.clone()));
    let created = remote.create("web-01.example.com", &addresses, &mut ended).await.unwrap();
    let refused = remote.create("web-01.example.com", &addresses, |_| {}).await.unwrap_err();
    let deleted = remote.delete("web-01.example.com", &mut ended).await.unwrap();

    assert_eq!((created.dns.verified, deleted.state), (Some(true), crate::server::State::Deleted));
    assert_eq!(steps, ["create", "wait", "register", "verify", "stop", "unregister", "delete", "remove"]);
    assert_eq!(
        refused.to_string(),
        "there is a server web-01.example.com already: delete it first, or choose another name"
    );
    assert!(Remote::find(&stale).await.is_none());
}

#[tokio::test]
async fn readiness_says_why_not() {
    let failing = Check {
        id: "backend-reachable".to_owned(),
        level: Level::Fail,
        saw: "http://localhost:2379 refuses connections".to_owned(),
        remedy: "start etcd".to_owned(),
        attributes: Vec::new(),
    };
    let well = Api::start(FakeDns::default()).await;
    let ill = Api::start(FakeDns::default().check(failing)).await;

    assert_eq!(well.get("/readyz").await, (200, json!({"success": true, "data": {"ready": true}})));
    assert_eq!(
        ill.get("/readyz").await,
        (
            503,
            json!({"success": false, "error": {
                "code": "not-ready",
                "message": "backend-reachable: http://localhost:2379 refuses connections: start etcd",
            }})
        )
    );
    assert_eq!(ill.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn a_file_is_json_or_yaml_and_what_is_wrong_with_a_request_is_said() {
    let api = Api::start(FakeDns::default()).await;
    let send = async |path: &str, kind: &str, body: &str| {
        let client = client();
        let request = client.post(format!("{}/api/v1/dns/{path}", api.base)).header("content-type", kind);
        let response = request.body(body.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let yaml = "- {name: a.example.com, record_type: A, values: [192.0.2.1]}\n";

    let (status, planned) = send("plan", "application/yaml; charset=utf-8", yaml).await;
    assert_eq!((status, &planned["data"]["summary"]["create"]), (200, &json!(1)), "{planned}");
    // More than other bodies may have.
    let padded = format!("# {}\n{yaml}", "x".repeat(2 * MAX_BODY_BYTES));
    assert_eq!(send("plan", "application/yaml", &padded).await.0, 200);
    let (status, answer) = api.get("/api/v1/dns/plan").await;
    assert_eq!((status, code(&answer)), (405, "method-not-allowed"));
    let (status, answer) = send("apply", "text/plain", yaml).await;
    assert_eq!((status, code(&answer)), (415, "unsupported-media-type"));
    for (path, body, expected) in [
        ("plan", "", "the body is empty: send a list of record sets"),
        ("plan?prune=maybe", "[]", "prune: \"maybe\" is neither true nor false"),
        (
            "apply?max_deletes=half",
            "[]",
            "max_deletes: \"half\" is not how many names may be deleted: write a number, such as 5, or a share of a zone's names, \
             such as 50%",
        ),
        (
            "apply",
            "{\"record_sets\": [\n\n{\"name\": \"a\", \"record_type\": \"A\", \"values\": []}]}",
            "record_sets:1:41: \"values\" is empty: remove the record set from the file, and apply with --prune",
        ),
        ("apply", "{}", "the body: missing field `record_sets` at line 1 column 2"),
        ("plan?force=1", "[]", "unknown query parameter \"force\": known here are prune, max_deletes"),
    ] {
        let (status, answer) = send(path, "application/json", body).await;
        assert_eq!((status, message(&answer)), (400, expected), "{path}");
    }
}

#[tokio::test]
async fn a_pass_tells_what_is_not_as_it_should_be_and_mends_it() {
    let api = Api::start(FakeDns::default()).await;
    let body = r#"{"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]}"#;
    assert_eq!(api.send("POST", "/api/v1/servers?wait=10s", Some(body)).await.0, 200);
    api.dns.tamper(Vec::clear);

    let (status, planned) = api.send("POST", "/api/v1/reconcile", Some(r#"{"dry_run": true}"#)).await;
    assert_eq!((status, &planned["data"]["summary"]["missing"]), (200, &json!(1)), "{planned}");
    assert_eq!(planned["data"]["drift"][0]["treatment"], "planned", "{planned}");
    assert_eq!(api.dns.stored(), [] as [String; 0]);

    let (status, done) = api.send("POST", "/api/v1/reconcile", None).await;
    assert_eq!((status, &done["data"]["drift"][0]["treatment"]), (200, &json!("registering")), "{done}");
    let (status, refused) = api.send("POST", "/api/v1/reconcile", Some(r#"{"max_deletes": "many"}"#)).await;
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("invalid")), "{refused}");
}

#[tokio::test]
async fn a_verification_that_succeeds_is_on_its_server() {
    let api = Api::start(FakeDns::default().verdict(Verdict::NotFound)).await;
    let body = r#"{"hostname": "web-01.example.com", "addresses": ["192.168.1.10"]}"#;
    let (_, created) = api.send("POST", "/api/v1/servers?wait=10s", Some(body)).await;
    assert_eq!(created["data"]["dns"]["verified"], json!(false), "{created}");
    let verify = async || api.send("POST", "/api/v1/dns/records/web-01.example.com/verify", None).await;
    let verified = async || api.get("/api/v1/servers/web-01.example.com").await.1["data"]["dns"]["verified"].clone();

    assert_eq!(verify().await.0, 200);
    assert_eq!(verified().await, json!(false));
    api.dns.set_verdict(Verdict::Verified);
    assert_eq!(verify().await.0, 200);
    assert_eq!(verified().await, json!(true));
}

#[tokio::test]
async fn metrics_tell_what_was_done_and_no_names() {
    let api = Api::guarded(FakeDns::default(), &[]).await;
    let body = json!({"hostname": "web-01.example.com", "addresses": ["192.0.2.1"]});
    let (status, _) = api.send("POST", "/api/v1/servers?wait=10s", Some(&body.to_string())).await;
    assert!((200..300).contains(&status), "{status}");
    api.get("/api/v1/servers/web-01.example.com").await;
    api.get("/nowhere/at-all").await;
    api.dns.set_unavailable(true);
    api.get("/api/v1/dns/records").await;
    // One look around of the background work, which counts servers; then it is stopped.
    Keeper::new(&api.lifecycle, 1).run(tokio::task::yield_now()).await;

    let client = client();
    let response = client.get(format!("{}/metrics", api.base)).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = response.text().await.unwrap();
    for line in [
        "dns_manager_http_requests_total{method=\"GET\",route=\"/api/v1/servers/{hostname}\",status=\"200\"} 1",
        "dns_manager_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "dns_manager_http_request_duration_seconds_count{method=\"GET\",route=\"/api/v1/servers/{hostname}\"} 1",
        "dns_manager_workflow_steps_total{step=\"register\",outcome=\"done\"} 1",
        "dns_manager_workflow_step_duration_seconds_count{step=\"verify\"} 1",
        "dns_manager_servers{state=\"ready\"} 1",
        "dns_manager_dns_outcomes_total{action=\"add\",record_type=\"A\",outcome=\"created\"} 1",
        "dns_manager_verification_duration_seconds_count{outcome=\"verified\"} 1",
        "dns_manager_time_to_resolvable_seconds_count 1",
        "dns_manager_component_places 16",
        "dns_manager_component_places_in_use 0",
        "dns_manager_build_info{version=",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let described = text.lines().filter(|line| line.starts_with("# HELP dns_manager_")).count();
    assert_eq!(described, text.lines().filter(|line| line.starts_with("# TYPE dns_manager_")).count(), "{text}");
    assert_eq!(described, 13, "{text}");
    assert!(!text.contains("web-01") && !text.contains("at-all"), "{text}");
}

#[tokio::test]
async fn however_many_ask_whether_it_is_ready_one_looks() {
    let api = Api::start(FakeDns::default()).await;
    let began = Instant::now();
    let answers = futures_util::future::join_all((0..20).map(|_| api.get("/readyz"))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    // One a second.
    let looks = api.dns.asked().iter().filter(|asked| *asked == "diagnose").count() as u64;
    assert!((1..=1 + began.elapsed().as_secs()).contains(&looks), "{:?}", api.dns.asked());

    api.dns.set_unavailable(true);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (status, answer) = api.get("/readyz").await;
    assert_eq!((status, code(&answer)), (503, "not-ready"));
    assert!(message(&answer).contains("is not reached"), "{answer}");
}
