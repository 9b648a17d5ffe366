//! A CoreDNS that remembers: a stale answer is called stale, with the seconds it has left, and the workflow goes on.

use std::time::Duration;

use dns_manager_tests::{
    cli::Installation,
    coredns::{CoreDns, Plan},
    etcd::Etcd,
    wait,
};
use serde_json::{Value, json};

use super::{ZONE, release};

#[tokio::test(flavor = "multi_thread")]
async fn a_long_negative_cache_is_reported_and_settled_later() {
    let Some(mut site) = Cached::start("cache 30 {\nsuccess 9984 30\ndenial 9984 3600 3600\n}").await else { return };
    let name = format!("web-01.{ZONE}");
    // Somebody is too early, and CoreDNS keeps what it told him for an hour.
    assert_eq!(site.coredns.ask(&name, "A").await.rcode, "NXDOMAIN");

    let created = site.installation.run(&["server", "create", &name, "--ip", "192.0.2.1", "--output", "json"]).await;

    let server = created.json();
    assert_eq!(server["state"], "ready", "the workflow goes on: {server:#}");
    assert_eq!(server["dns"]["records"][0]["outcome"], "created", "{server:#}");
    assert_eq!(server["dns"]["verified"], false, "{server:#}");
    let problem = server["problem"].as_str().expect("it says why");
    let left = seconds_left(problem);
    assert!((3500..3600).contains(&left), "{problem}");
    let asked = site.coredns.address();
    let expected = format!(
        "{name} A: {asked}: not-found, it answers NXDOMAIN without a value (a stale answer out of a cache, for {left} \
         more seconds)"
    );
    assert_eq!(problem, expected);
    assert_eq!(site.verify(&name).await["outcome"], "not-found");

    // Whoever cannot wait empties the cache.
    site.coredns.restart().await;

    assert_eq!(site.verify(&name).await["outcome"], "verified");
    let server = site.installation.run(&["server", "show", &name, "--output", "json"]).await.succeeded().json();
    assert_eq!((&server["dns"]["verified"], &server["problem"]), (&Value::Bool(true), &Value::Null), "{server:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_beside_a_service_tells_the_service() {
    let Some(mut site) = Cached::start("cache 30 {\nsuccess 9984 30\ndenial 9984 3600 3600\n}").await else { return };
    let name = format!("web-01.{ZONE}");
    assert_eq!(site.coredns.ask(&name, "A").await.rcode, "NXDOMAIN");
    // The service holds the inventory, and the command asks the name servers itself.
    let service = site.installation.serve().await;
    let body = json!({"hostname": name, "addresses": ["192.0.2.1"]});
    let (_, created) = service.call("POST", "/api/v1/servers?wait=30s", Some(body)).await;
    assert_eq!(created["data"]["dns"]["verified"], false, "{created:#}");
    site.coredns.restart().await;

    assert_eq!(site.verify(&name).await["outcome"], "verified");

    let server = wait::until("the service knows", Duration::from_secs(60), async || {
        let (_, answer) = service.call("GET", &format!("/api/v1/servers/{name}"), None).await;
        let server = answer["data"].clone();
        (server["dns"]["verified"] == true && server["problem"].is_null()).then_some(server)
    })
    .await;
    let detail = server["steps"].as_array().unwrap().last().unwrap()["detail"].as_str().unwrap();
    assert!(detail.starts_with("A verified"), "{server:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_address_is_reported_until_it_has_run_out() {
    let Some(site) = Cached::start("cache 30").await else { return };
    let name = format!("web-02.{ZONE}");
    site.installation.run(&["record", "register", &name, "A", "192.0.2.1"]).await.succeeded();
    assert_eq!(site.verify(&name).await["outcome"], "verified", "and from now on it is remembered");
    site.installation.run(&["record", "update", &name, "A", "192.0.2.2"]).await.succeeded();

    let stale = site.verify(&name).await;

    assert_eq!(stale["outcome"], "mismatch", "{stale:#}");
    let answer = &stale["answers"][0];
    assert_eq!(answer["values"][0], "192.0.2.1", "{stale:#}");
    let left = seconds_left(answer["reason"]["message"].as_str().expect("it says why"));
    assert!((1..=30).contains(&left), "{stale:#}");
    assert_eq!(answer["ttl"], left, "{stale:#}");
    wait::until("the answer has run out", Duration::from_secs(45), async || {
        (site.verify(&name).await["outcome"] == "verified").then_some(())
    })
    .await;
}

/// An etcd, a CoreDNS with a cache, and commands that wait two seconds for a name to resolve.
struct Cached {
    _etcd: Etcd,
    coredns: CoreDns,
    installation: Installation,
}

impl Cached {
    async fn start(cache: &str) -> Option<Self> {
        let etcd = Etcd::start(release()?).await;
        let mut plan = Plan::new(&etcd.url(), &[ZONE]);
        plan.plugins = cache.to_owned();
        let coredns = CoreDns::start(plan).await;
        let installation = Installation::with_dns(&[
            format!("coredns_url = \"{}\"", etcd.url()),
            format!("nameservers = [\"{}\"]", coredns.address()),
            format!("zones = [\"{ZONE}\"]"),
            "verify_timeout = \"2s\"".to_owned(),
            // A pass would verify by itself.
            "[orchestrator.reconcile]\nevery = \"never\"".to_owned(),
        ]);
        Some(Self { _etcd: etcd, coredns, installation })
    }

    /// What `record verify` says of a name's address.
    async fn verify(&self, name: &str) -> Value {
        let ran = self.installation.run(&["record", "verify", name, "A", "--output", "json"]).await;
        let verification = ran.json()[0].clone();
        assert_eq!(ran.status == 0, verification["outcome"] == "verified", "{verification:#}");
        verification
    }
}

fn seconds_left(text: &str) -> u32 {
    let number = text.split("a stale answer out of a cache, for ").nth(1).and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no seconds in: {text}"))
}
