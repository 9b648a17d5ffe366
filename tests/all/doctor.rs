//! `dns-manager doctor` in each situation, made with the real programs.

mod backend;
mod nameserver;

use std::{net::SocketAddr, time::Duration};

use dns_manager_tests::{
    cli::{Installation, Ran},
    port::free_address,
    site::{Site, installed},
    wait,
};
use serde_json::Value;
use tokio::net::UdpSocket;

const ZONE: &str = "example.com";

/// What `doctor` says: its exit status and its checks.
struct Report {
    status: i32,
    checks: Vec<Value>,
}

impl Report {
    async fn of(lines: &[String]) -> Self {
        Self::read(&Installation::with_dns(lines).run(&["doctor", "--output", "json"]).await)
    }

    fn read(ran: &Ran) -> Self {
        Self { status: ran.status, checks: ran.json().as_array().expect("a list of checks").clone() }
    }

    /// The levels of all checks of an id.
    fn levels(&self, id: &str) -> Vec<&str> {
        self.checks.iter().filter(|check| check["id"] == id).filter_map(|check| check["level"].as_str()).collect()
    }

    /// Fails unless a check of this id and level saw this and has this remedy.
    fn says(&self, level: &str, id: &str, saw: &str, remedy: &str) {
        let text = |check: &Value, field: &str| check[field].as_str().unwrap_or_default().to_owned();
        let found = self.checks.iter().any(|check| {
            check["id"] == id
                && check["level"] == level
                && text(check, "saw").contains(saw)
                && text(check, "remedy").contains(remedy)
        });
        assert!(found, "no {level} {id} with `{saw}` and `{remedy}` in {:#?}", self.checks);
        assert_eq!(
            self.status,
            i32::from(self.checks.iter().any(|check| check["level"] == "fail")),
            "{:#?}",
            self.checks
        );
    }
}

fn settings(url: &str, nameserver: SocketAddr, zone: &str) -> Vec<String> {
    vec![
        format!("coredns_url = \"{url}\""),
        format!("nameservers = [\"{nameserver}\"]"),
        format!("zones = [\"{zone}\"]"),
    ]
}

fn settings_of(site: &Site) -> Vec<String> {
    settings(&site.etcd.url(), site.coredns.address(), ZONE)
}

/// One site, where both programs are installed.
async fn site() -> Option<Site> {
    Some(Site::start(installed().first().copied()?, &[ZONE]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_is_ok_and_the_probe_leaves_nothing() {
    let Some(site) = site().await else { return };
    let report = Report::of(&settings_of(&site)).await;
    report.says("warn", "name-server-records", "no name server records", "record register ns1.ns.dns.example.com A");
    assert_eq!(report.status, 0, "{:#?}", report.checks);
    assert!(site.tree().await.is_empty(), "{:?}", site.tree().await.keys());

    // The command that it names, done.
    let installation = Installation::with_dns(&settings_of(&site));
    installation.run(&["record", "register", "ns1.ns.dns.example.com", "A", "127.0.0.1"]).await.succeeded();
    let report = Report::of(&settings_of(&site)).await;
    for id in [
        "configuration",
        "settings",
        "backend-reachable",
        "backend-gateway",
        "nameserver-reachable",
        "zone-served",
        "name-server-records",
        "stored-values",
        "nameserver-transport",
        "probe-written",
        "probe-resolves",
        "probe-removed",
    ] {
        assert_eq!(report.levels(id), ["ok"], "{id} in {:#?}", report.checks);
    }
    assert!(report.levels("cache").is_empty());
    assert_eq!(report.status, 0);

    let ran = installation.run(&["doctor"]).await.succeeded();
    assert!(ran.stdout.lines().all(|line| line.starts_with("ok    ")), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_need_not_be_configured_once_something_is_stored() {
    let Some(site) = site().await else { return };
    let lines = &settings_of(&site)[..2];
    Report::of(lines).await.says("warn", "probe", "no zone is known", "zones = [");

    let installation = Installation::with_dns(lines);
    installation.run(&["record", "register", "web.example.com", "A", "192.0.2.1"]).await.succeeded();
    Report::of(lines).await.says("ok", "probe-resolves", "over UDP and over TCP", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_a_failed_check() {
    let report = Report::of(&["coredns_ulr = \"http://localhost:2379\"".to_owned(), "ttl = 0".to_owned()]).await;
    report.says("fail", "configuration", "nearest known one is \"orchestrator.dns.coredns_url\"", "correct that line");
    assert_eq!(report.levels("configuration"), ["fail", "fail"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_that_is_told_to_stop_removes_its_probe() {
    let Some(site) = site().await else { return };
    // Whoever asks it waits, so that there is time to interrupt.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let installation = Installation::with_dns(&settings(&site.etcd.url(), silent.local_addr().unwrap(), ZONE));
    let doctor = installation.start(&["doctor", "--output", "json"]);
    wait::until("the probe is written", Duration::from_secs(120), async || {
        (site.tree().await.keys().iter().filter(|key| key.contains("-probe-")).count() >= 2).then_some(())
    })
    .await;

    let ran = doctor.ended_by("TERM").await;

    Report::read(&ran).says("fail", "interrupted", "before everything was checked", "dns-manager doctor");
    assert!(site.tree().await.is_empty(), "{:?}", site.tree().await.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_break_answers_are_named_with_their_owner() {
    let Some(site) = site().await else { return };
    let gateway = site.gateway();
    gateway.put("/skydns/com/example/bad", "no json").await;
    gateway.put("/skydns/com/example/worse", r#"{"host":"10.0.0.1","ttl":-1,"owner":"k8s"}"#).await;
    assert_eq!(site.coredns.ask("bad.example.com", "A").await.rcode, "SERVFAIL");
    assert_eq!(site.coredns.ask("worse.example.com", "A").await.rcode, "SERVFAIL");

    let report = Report::of(&settings_of(&site)).await;
    report.says("fail", "stored-values", "/skydns/com/example/bad (nobody's", "etcdctl del /skydns/com/example/bad");
    report.says("fail", "stored-values", "/skydns/com/example/worse (of the owner `k8s`", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_default_is_sound_alone_and_behind_a_service() {
    let listen = free_address();
    let installation = Installation::new(&format!("[orchestrator.embedded]\ndns_listen = \"{listen}\"\n"));
    for serving in [None, Some(())] {
        let service = match serving {
            Some(()) => Some(installation.serve().await),
            None => None,
        };
        let report = Report::read(&installation.run(&["doctor", "--output", "json"]).await);
        assert_eq!(report.status, 0, "{:#?}", report.checks);
        report.says("ok", "probe-resolves", "over UDP and over TCP", "");
        report.says("ok", "probe-removed", "", "");
        if service.is_some() {
            report.says("ok", "backend", "holds the embedded store", "");
        }
    }
}
