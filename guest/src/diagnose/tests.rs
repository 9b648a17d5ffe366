//! What a diagnosis says of which trouble.

use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{backend::stored_name, values::bad_value, *};
use crate::{
    ports::{Answer, HttpFault, HttpReply, Question},
    rdata::{RData, RrType},
    verify::tests::{
        FakeClock, FakePorts, FakeResolver, Reply, data, name, nxdomain, refused, rr, servfail, soa, timeout,
    },
};

const URL: &str = "http://127.0.0.1:2379";

fn reply(status: u16, body: &str) -> Result<HttpReply, HttpFault> {
    Ok(HttpReply { status, body: body.into() })
}

fn version() -> Result<HttpReply, HttpFault> {
    reply(200, r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#)
}

fn range() -> Result<HttpReply, HttpFault> {
    let key = BASE64.encode(b"/skydns/test/ex/web");
    reply(200, &format!(r#"{{"header":{{}},"kvs":[{{"key":"{key}"}}],"count":"7","more":true}}"#))
}

fn run(ports: &FakePorts<'_>) -> Vec<Check> {
    diagnose(ports, &Options { budget: Duration::from_secs(30), dry_run: false, request_id: String::new() })
}

fn levels(checks: &[Check]) -> Vec<(&'static str, Level)> {
    checks.iter().map(|check| (check.id, check.level)).collect()
}

/// A check of an id, the only one.
fn the<'a>(checks: &'a [Check], id: &str) -> &'a Check {
    let mut found = checks.iter().filter(|check| check.id == id);
    let check = found.next().unwrap_or_else(|| panic!("{id} is not in {checks:#?}"));
    assert_eq!(found.next(), None);
    check
}

fn etcd_plugin(question: &Question) -> Reply {
    match question.rr_type {
        RrType::Soa if question.name.is_within(&name("ex.test")) => soa("ex.test", "ns.dns.ex.test"),
        RrType::Ns => data(vec![rr("ex.test", 300, RData::Ns(name("ns1.ns.dns.ex.test")))]),
        _ => refused(),
    }
}

fn ports<'a>(clock: &'a FakeClock, answer: impl Fn(&Question) -> Reply + 'a) -> FakePorts<'a> {
    let mut ports = FakePorts::new(clock, FakeResolver::new(&["10.0.0.2:53"], answer));
    ports.settings = vec![("url", URL), ("zones", "ex.test")];
    ports.http = Box::new(|path, _| match path {
        "/version" => version(),
        "/v3/kv/range" => range(),
        "/v3/kv/txn" => values(&[("/skydns/test/ex/web", "{}")]),
        _ => reply(404, "404 page not found\n"),
    });
    ports
}

/// What a read of one range gives.
fn values(entries: &[(&str, &str)]) -> Result<HttpReply, HttpFault> {
    let base64 = |text: &str| BASE64.encode(text.as_bytes());
    let kvs: Vec<Value> = entries
        .iter()
        .map(|(key, value)| json!({"key": base64(key), "value": base64(value), "mod_revision": "3"}))
        .collect();
    let range = json!({"response_range": {"kvs": kvs}});
    reply(200, &json!({"header": {"revision": "9"}, "succeeded": true, "responses": [range]}).to_string())
}

#[test]
fn values_that_coredns_stops_at_are_named_with_their_owner() {
    let clock = FakeClock::default();
    let mut ports = ports(&clock, etcd_plugin);
    ports.http = Box::new(|path, body| match path {
        "/version" => version(),
        "/v3/kv/range" => range(),
        // The second range of the zone, which holds its names.
        "/v3/kv/txn" if String::from_utf8_lossy(body.unwrap_or_default()).contains("range_end") => values(&[
            ("/skydns/test/ex/a", "{}"),
            ("/skydns/test/ex/b", "not json"),
            ("/skydns/test/ex/c", r#"{"host":"10.0.0.1","port":"80","owner":"k8s"}"#),
            // CoreDNS does not look at the owner.
            ("/skydns/test/ex/d", r#"{"host":"10.0.0.1","owner":5}"#),
        ]),
        "/v3/kv/txn" => values(&[]),
        _ => reply(404, "404 page not found\n"),
    });
    let checks = run(&ports);
    let check = the(&checks, "stored-values");
    assert_eq!(check.level, Level::Fail);
    assert!(check.saw.contains("cannot read 2") && check.saw.contains("/skydns/test/ex/b (nobody's"), "{check:?}");
    assert!(check.saw.contains("/skydns/test/ex/c (of the owner `k8s`") && !check.saw.contains("ex/d"), "{check:?}");
    assert!(check.remedy.contains("etcdctl del /skydns/test/ex/b"), "{check:?}");

    let hostile = bad_value(b"/skydns/$(reboot)", b"x").unwrap();
    assert!(!hostile.remedy.contains("reboot"), "a stranger's key is never in a command");
}

#[test]
fn a_gateway_that_reads_nothing_is_asked_for_no_alarm() {
    let clock = FakeClock::default();
    let asked = std::cell::RefCell::new(Vec::new());
    let mut ports = ports(&clock, etcd_plugin);
    ports.http = Box::new(|path, _| {
        asked.borrow_mut().push(path.to_owned());
        if path == "/version" { version() } else { reply(503, r#"{"code":14,"message":"etcdserver: no leader"}"#) }
    });
    let checks = run(&ports);
    drop(ports);

    assert_eq!(the(&checks, "backend-gateway").level, Level::Fail);
    let asked = asked.into_inner();
    assert!(
        asked.contains(&"/v3/kv/range".to_owned()) && !asked.iter().any(|path| path.contains("alarm")),
        "{asked:?}"
    );
}

#[test]
fn values_that_cannot_be_read_are_a_warning() {
    let clock = FakeClock::default();
    let mut ports = ports(&clock, etcd_plugin);
    ports.http = Box::new(|path, _| match path {
        "/version" => version(),
        "/v3/kv/range" => range(),
        "/v3/kv/txn" => reply(503, r#"{"code":14,"message":"etcdserver: request timed out"}"#),
        _ => reply(404, "404 page not found\n"),
    });
    let checks = run(&ports);
    let check = the(&checks, "stored-values");
    assert_eq!(check.level, Level::Warn, "{check:?}");
    assert!(check.saw.contains("request timed out"), "{check:?}");
}

#[test]
fn values_that_are_too_many_octets_for_one_answer_are_read_in_smaller_parts() {
    let clock = FakeClock::default();
    let limits = std::cell::RefCell::new(Vec::new());
    let mut ports = ports(&clock, etcd_plugin);
    ports.http = Box::new(|path, body| match path {
        "/version" => version(),
        "/v3/kv/range" => range(),
        "/v3/kv/txn" => {
            let body: Value = serde_json::from_slice(body.unwrap()).unwrap();
            let limit = body["success"][0]["request_range"]["limit"].as_str();
            // One key has none.
            let limit: u32 = limit.map_or(1, |limit| limit.parse().unwrap());
            limits.borrow_mut().push(limit);
            if limit > 250 { Err(HttpFault::TooLarge) } else { values(&[("/skydns/test/ex/web", "{}")]) }
        }
        _ => reply(404, "404 page not found\n"),
    });
    let checks = run(&ports);
    drop(ports);

    assert_eq!(the(&checks, "stored-values").level, Level::Ok, "{checks:#?}");
    assert_eq!(limits.into_inner(), [1, 1_000, 500, 250]);
}

#[test]
fn a_sound_installation_is_ok_throughout() {
    let clock = FakeClock::default();
    for settings in [vec![("url", URL), ("zones", "ex.test")], vec![("url", URL)]] {
        let mut ports = ports(&clock, etcd_plugin);
        ports.settings = settings;
        let checks = run(&ports);

        let ids = [
            "settings",
            "backend-reachable",
            "backend-gateway",
            "nameservers",
            "nameserver-reachable",
            "zone-served",
            "name-server-records",
            "stored-values",
        ];
        assert_eq!(levels(&checks), ids.map(|id| (id, Level::Ok)), "{checks:#?}");
        assert!(checks.iter().all(|check| check.remedy.is_empty() && !check.saw.contains('\n')), "{checks:#?}");
        assert_eq!(the(&checks, "zone-served").attributes, [("zone", "ex.test".to_owned())]);
        assert!(the(&checks, "backend-gateway").saw.contains("7 keys below /skydns/"));
    }
}

#[test]
fn a_certificate_that_does_not_fit_has_its_own_remedy() {
    for (why, remedy) in [
        ("its certificate expired at 2001-02-03T00:00:00Z", "renew etcd's certificate"),
        ("its certificate is for a, not for b", "name the host as its certificate does"),
        ("it asks for a client certificate, and none is configured", "set certificate and key in"),
        ("its certificate is of an authority that is not trusted here", "set ca in"),
        ("it does not accept our client certificate: it has expired", "renew our certificate"),
        ("it does not accept our client certificate", "set certificate and key in"),
        ("its certificate is not valid before 2100-01-01T00:00:00Z; is the clock right?", "set this machine's clock"),
        ("its certificate is an authority's own; issue one for the server", "issue etcd a certificate of its own"),
    ] {
        let clock = FakeClock::default();
        let mut ports = ports(&clock, etcd_plugin);
        ports.settings = vec![("url", "https://127.0.0.1:2379"), ("zones", "ex.test")];
        ports.http = Box::new(|_, _| Err(HttpFault::NotTrusted(why.into())));
        let checks = run(&ports);
        let check = the(&checks, "backend-reachable");
        // What others say is escaped.
        let saw = check.saw.replace("\\'", "'");
        assert!(saw.contains(why) && check.remedy.contains(remedy), "{check:?}");
    }
}

#[test]
fn a_backend_that_is_no_etcd_is_told_by_what_it_says() {
    let cases = [
        (Err(HttpFault::NotSent("connection refused".into())), "start etcd, or correct coredns_url"),
        (Err(HttpFault::Denied("link-local".into())), "link-local and metadata addresses never"),
        (Err(HttpFault::Lost("protocol error".into())), "not CoreDNS's port 53"),
        (Err(HttpFault::TooLarge), "correct coredns_url"),
        (Err(HttpFault::NotSent("no connection in time".into())), "all of its members"),
        (reply(200, "<html>Welcome to nginx!</html>"), "etcd's client port (2379)"),
        (reply(400, "Client sent an HTTP request to an HTTPS server.\n"), "coredns_url = \"https://127.0.0.1:2379\""),
        (reply(200, r#"{"etcdserver":"3.3.27","etcdcluster":"3.3.0"}"#), "upgrade etcd"),
        (reply(200, "\u{0}\u{1b}[31m\u{202e}"), "correct coredns_url"),
        (Err(HttpFault::NotSent("no TLS connection comes about".into())), "if etcd takes no TLS there"),
        (
            reply(401, r#"{"code":16,"message":"the login as `dns` is refused: authentication failed"}"#),
            "[orchestrator.dns.credentials]",
        ),
    ];
    for (answer, remedy) in cases {
        let clock = FakeClock::default();
        let mut ports = ports(&clock, etcd_plugin);
        ports.http = Box::new(|_, _| answer.clone());
        let checks = run(&ports);
        let check = the(&checks, "backend-reachable");
        assert_eq!(check.level, Level::Fail);
        assert!(check.remedy.contains(remedy), "{check:?}");
        assert!(!check.saw.contains(char::is_control), "{check:?}");
        assert_eq!(the(&checks, "zone-served").level, Level::Ok, "the name servers are looked at all the same");
    }
}

#[test]
fn what_the_gateway_refuses_has_its_remedy() {
    let cases = [
        (404, "404 page not found\n", "enable-grpc-gateway: true"),
        (
            400,
            r#"{"error":"etcdserver: user name is empty","code":3,"message":"etcdserver: user name is empty"}"#,
            "[orchestrator.dns.credentials]",
        ),
        (401, r#"{"code":16,"message":"etcdserver: invalid auth token"}"#, "[orchestrator.dns.credentials]"),
        (400, "CommonName of client sending a request against gateway will be ignored\n", "issue one without"),
        (
            403,
            r#"{"code":7,"message":"etcdserver: permission denied"}"#,
            "etcdctl role grant-permission ROLE --prefix=true readwrite /skydns/",
        ),
        (503, r#"{"code":14,"message":"etcdserver: request timed out"}"#, "etcdctl endpoint health"),
        (500, r#"{"code":2,"message":"context deadline exceeded"}"#, "etcdctl endpoint health"),
        (200, "OK", "see etcd's log"),
    ];
    for (status, body, remedy) in cases {
        let clock = FakeClock::default();
        let mut ports = ports(&clock, etcd_plugin);
        ports.http = Box::new(|path, _| if path == "/version" { version() } else { reply(status, body) });
        let checks = run(&ports);
        let check = the(&checks, "backend-gateway");
        assert_eq!(check.level, Level::Fail, "{body}");
        assert!(check.remedy.contains(remedy), "{check:?}");
    }
}

#[test]
fn a_full_backend_is_told() {
    let clock = FakeClock::default();
    let mut ports = ports(&clock, etcd_plugin);
    ports.http = Box::new(|path, _| match path {
        "/version" => version(),
        "/v3/kv/range" => range(),
        _ => reply(200, r#"{"header":{},"alarms":[{"memberID":"1","alarm":"NOSPACE"}]}"#),
    });
    assert_eq!(the(&run(&ports), "backend-room").level, Level::Fail);
}

#[test]
fn a_zone_that_is_not_served_from_etcd_says_by_whom() {
    let second_hand = || soa("ex.test", "ns.dns.ex.test").map(|answer| Answer { authoritative: false, ..answer });
    let cases: [(Reply, Level, &str, &str); 6] = [
        (refused(), Level::Fail, "does not serve `ex.test` (REFUSED)", "config show --corefile"),
        (soa("ex.test", "a.ns.test"), Level::Fail, "its SOA names `a.ns.test`", "serve `ex.test` with `etcd`"),
        (soa("test", "ns.dns.test"), Level::Fail, "a part of the zone `test`", "zones = [\"test\"]"),
        (second_hand(), Level::Fail, "not authoritative", "CoreDNS itself"),
        (nxdomain("test", 30), Level::Fail, "NXDOMAIN", "config show --corefile"),
        (servfail(), Level::Warn, "SERVFAIL", "dig @10.0.0.2 -p 53 ex.test SOA"),
    ];
    for (answer, level, saw, remedy) in cases {
        let clock = FakeClock::default();
        let ports = ports(&clock, |_| answer.clone());
        let checks = run(&ports);
        let check = the(&checks, "zone-served");
        assert_eq!(check.level, level, "{check:?}");
        assert!(check.saw.contains(saw) && check.remedy.contains(remedy), "{check:?}");
    }
}

#[test]
fn each_name_server_has_its_own_checks() {
    let clock = FakeClock::default();
    let mut ports = ports(&clock, etcd_plugin);
    ports.resolver =
        FakeResolver::new(&["10.0.0.2:53", "[2001:db8::1]:53"], |question| match question.server.as_str() {
            "10.0.0.2:53" => etcd_plugin(question),
            _ => timeout(),
        });
    let checks = run(&ports);
    let reachable: Vec<_> = checks.iter().filter(|check| check.id == "nameserver-reachable").collect();
    assert_eq!(reachable.iter().map(|check| check.level).collect::<Vec<_>>(), [Level::Ok, Level::Fail]);
    assert!(reachable[1].remedy.contains("dig @2001:db8::1 -p 53 ex.test SOA"), "{reachable:?}");
    assert!(the(&checks, "zone-served").saw.contains("10.0.0.2:53"), "a silent server has one line only");
}

#[test]
fn a_zone_without_name_server_records_says_how_to_make_them() {
    let clock = FakeClock::default();
    let ports = ports(&clock, |question| match question.rr_type {
        RrType::Ns => nxdomain("ex.test", 30),
        _ => etcd_plugin(question),
    });
    let checks = run(&ports);
    let check = the(&checks, "name-server-records");
    assert_eq!(check.level, Level::Warn);
    assert_eq!(check.remedy, "dns-manager record register ns1.ns.dns.ex.test A <address of CoreDNS>");
}

#[test]
fn a_stranger_s_key_never_reaches_a_command() {
    for (key, stands_for) in [
        ("/skydns/test/ex/web", Some("web.ex.test")),
        ("/skydns/test/ex/$(reboot)/web", Some("ex.test")),
        ("/skydns/test/ex/@GUARD", Some("ex.test")),
        ("/skydns/`reboot`", None),
        ("/elsewhere/test", None),
    ] {
        let answer = json!({ "kvs": [{ "key": BASE64.encode(key.as_bytes()) }] });
        assert_eq!(stored_name(&answer, "/skydns/"), stands_for.map(name), "{key}");
    }
}

#[test]
fn settings_that_are_missing_are_named() {
    let clock = FakeClock::default();
    let mut ports = ports(&clock, |_| refused());
    ports.settings = Vec::new();
    ports.resolver = FakeResolver::new(&[], |_| timeout());
    let checks = run(&ports);
    assert_eq!(levels(&checks), [("settings", Level::Fail), ("nameservers", Level::Fail)]);
    assert!(the(&checks, "settings").remedy.contains("coredns_url"));
    assert!(the(&checks, "nameservers").remedy.contains("nameservers = "));
}

#[test]
fn what_the_budget_does_not_allow_is_said() {
    let clock = FakeClock::default();
    let mut ports = ports(&clock, etcd_plugin);
    ports.http = Box::new(|_, _| {
        clock.advance(Duration::from_secs(29));
        version()
    });
    let checks = run(&ports);
    assert_eq!(checks.last().map(|check| (check.id, check.level)), Some(("budget", Level::Warn)));
}
