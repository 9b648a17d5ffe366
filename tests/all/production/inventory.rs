//! The inventory in such an etcd: users of its own, members that go and come back, and another etcd than the records'.

use std::time::Duration;

use dns_manager_tests::{
    cli::{Installation, Serving},
    cluster::{Cluster, PASSWORD, USER},
    coredns::CoreDns,
    wait,
};
use serde_json::{Value, json};

use super::{Production, ZONE, plan, release, tls_lines};

const PATIENCE: Duration = Duration::from_secs(120);
const GRANT: &str = "etcdctl role grant-permission ROLE readwrite --prefix=true /dns-manager/";

/// The inventory's own user, and its password.
const KEEPER: (&str, &str) = ("keeper", "a secret of its own");

impl Production {
    /// The records' user and TLS, and the inventory in etcd with more lines about it.
    fn sharing(&self, more: &[&str]) -> Installation {
        let mut lines = self.entered_lines();
        lines.extend(["[orchestrator.inventory]", "kind = \"etcd\""].map(str::to_owned));
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        let installation = Installation::with_dns(&lines);
        installation.write("password", PASSWORD);
        installation.write("keeper", KEEPER.1);
        installation
    }

    /// The same with a user for the inventory alone.
    fn sharing_as_keeper(&self) -> Installation {
        self.sharing(&[
            "[orchestrator.inventory.credentials]",
            &format!("username = \"{}\"", KEEPER.0),
            "password_file = \"keeper\"",
        ])
    }

    async fn is_empty(&self) -> bool {
        self.cluster.as_root(0).await.everything().await.is_empty()
    }
}

async fn begin(service: &Serving, hostname: &str, address: &str) -> (u16, Value) {
    let body = json!({"hostname": hostname, "addresses": [address]});
    service.call("POST", "/api/v1/servers", Some(body)).await
}

/// Asks for a server until it is accepted: what was in doubt, during an election, say, is asked for again.
async fn accepted(service: &Serving, hostname: &str, address: &str) {
    wait::until(&format!("{hostname} is accepted"), PATIENCE, async || {
        let (status, answer) = begin(service, hostname, address).await;
        (status == 202 || answer["error"]["code"] == "exists").then_some(())
    })
    .await;
}

/// Waits until all servers are ready, and there are so many.
async fn are_ready(service: &Serving, count: usize) {
    wait::until(&format!("{count} servers are ready; {}", service.output()), PATIENCE * 2, async || {
        let (status, answer) = service.call("GET", "/api/v1/servers", None).await;
        let servers = answer["data"].as_array().filter(|_| status == 200)?;
        let ready = servers.iter().filter(|server| server["state"] == "ready").count();
        (servers.len() == count && ready == count).then_some(())
    })
    .await;
}

/// Each step of each server was taken once.
async fn nothing_was_doubled(service: &Serving) {
    let (_, answer) = service.call("GET", "/api/v1/servers", None).await;
    for server in answer["data"].as_array().unwrap() {
        let steps: Vec<_> = server["steps"].as_array().unwrap().iter().map(|step| step["name"].clone()).collect();
        assert_eq!(steps, ["create", "wait", "register", "verify"], "{server:#}");
    }
}

async fn is_ready(service: &Serving) -> Result<(), String> {
    let (status, answer) = service.call("GET", "/readyz", None).await;
    if status == 200 { Ok(()) } else { Err(answer["error"]["message"].as_str().unwrap().to_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_rights_to_the_inventory_alone_is_enough_for_it() {
    let Some(site) = Production::start().await else { return };
    site.cluster.admit(KEEPER.0, KEEPER.1, "/dns-manager/").await;
    let installation = site.sharing_as_keeper();

    installation.run(&["server", "create", "web-01.ex.test", "--ip", "192.0.2.1"]).await.succeeded();
    let listed = installation.run(&["server", "list", "--output", "json"]).await.succeeded().json();
    assert_eq!((&listed[0]["hostname"], &listed[0]["state"]), (&json!("web-01.ex.test"), &json!("ready")));
    let checks = installation.run(&["doctor", "--output", "json"]).await.json();
    let inventory = checks.as_array().unwrap().iter().find(|check| check["id"] == "inventory").unwrap();
    assert_eq!(inventory["level"], "ok", "{inventory}");

    let service = installation.serve().await;
    accepted(&service, "web-02.ex.test", "192.0.2.2").await;
    are_ready(&service, 2).await;
    assert_eq!(is_ready(&service).await, Ok(()));
    let (status, answer) = service.call("DELETE", "/api/v1/servers/web-02.ex.test?wait=30s", None).await;
    assert_eq!(status, 200, "{answer}");
    let root = site.cluster.as_root(0).await;
    assert_eq!(root.tree("/dns-manager/servers/").await.keys(), ["/dns-manager/servers/web-01.ex.test"]);
    // Tokens are forgotten by etcd when it likes.
    root.post("auth/disable", &json!({})).await;
    let open = site.cluster.plain_gateway(0);
    open.post("auth/enable", &json!({})).await;
    accepted(&service, "web-03.ex.test", "192.0.2.3").await;
    are_ready(&service, 2).await;

    // A command beside the service.
    installation.run(&["server", "delete", "web-01.ex.test", "web-03.ex.test"]).await.succeeded();
    let (status, printed) = service.ended_by("TERM").await;
    assert_eq!(status, 0, "{printed}");
    let left = site.cluster.as_root(0).await.everything().await;
    assert!(left.is_empty(), "{:?}", left.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights_is_told_which_and_who_grants_them() {
    let Some(site) = Production::start().await else { return };
    site.cluster.admit(KEEPER.0, KEEPER.1, "/elsewhere/").await;

    for (installation, user) in [(site.sharing(&[]), USER), (site.sharing_as_keeper(), KEEPER.0)] {
        for command in
            [["server", "list"].as_slice(), &["server", "create", "web-01.ex.test", "--ip", "192.0.2.1"], &["serve"]]
        {
            let ran = installation.run(command).await;
            assert_eq!(ran.status, 1, "{ran:?}");
            let told =
                format!("permission denied for the user `{user}`, who needs to read and write all below /dns-manager/");
            assert!(ran.stderr.contains(&told) && ran.stderr.contains(GRANT), "{ran:?}");
        }
        let checks = installation.run(&["doctor", "--output", "json"]).await.json();
        let check = checks.as_array().unwrap().iter().find(|check| check["id"] == "inventory").unwrap();
        assert_eq!((&check["level"], &check["remedy"]), (&json!("fail"), &json!(GRANT)), "{check}");
    }
    let installation = site.sharing_as_keeper();
    installation.write("keeper", "open sesame");
    let ran = installation.run(&["server", "list"]).await;
    let told = "the login as `keeper` is refused: authentication failed, invalid user ID or password";
    assert!(ran.status == 1 && ran.stderr.contains(told) && !ran.stderr.contains("open sesame"), "{ran:?}");
    assert!(site.is_empty().await, "nothing was written");

    // What it says is done, for the role of the records' user.
    site.cluster.grant("skydns", "/dns-manager/").await;
    let installation = site.sharing(&[]);
    installation.run(&["server", "create", "web-01.ex.test", "--ip", "192.0.2.1"]).await.succeeded();
    installation.run(&["server", "delete", "web-01.ex.test"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_of_three_is_not_missed_and_two_are_waited_for() {
    let Some(mut site) = Production::start().await else { return };
    let release = release().unwrap();
    site.cluster.grant("skydns", "/dns-manager/").await;
    let installation = site.sharing(&[]);

    // One is down when it starts.
    let root = site.cluster.as_root(1).await;
    site.cluster.kill(0);
    wait::until("the others have a leader", PATIENCE, async || root.is_ready().await.then_some(())).await;
    installation.run(&["server", "create", "web-00.ex.test", "--ip", "192.0.2.100"]).await.succeeded();
    let service = installation.serve().await;
    for number in 1..=8 {
        accepted(&service, &format!("web-0{number}.ex.test"), &format!("192.0.2.{number}")).await;
    }
    are_ready(&service, 9).await;
    assert_eq!(is_ready(&service).await, Ok(()));

    // Another one goes while it works.
    site.cluster.restart(release, 0).await;
    for number in 10..=25 {
        if number == 14 {
            site.cluster.kill(1);
        }
        accepted(&service, &format!("web-{number}.ex.test"), &format!("192.0.2.{number}")).await;
    }
    are_ready(&service, 25).await;
    nothing_was_doubled(&service).await;

    // Then a second one: nobody can go on.
    for number in 26..=30 {
        accepted(&service, &format!("web-{number}.ex.test"), &format!("192.0.2.{number}")).await;
    }
    site.cluster.kill(2);
    let why = wait::until("it is not ready", PATIENCE, async || is_ready(&service).await.err()).await;
    assert!(why.contains("the inventory cannot be read"), "{why}");
    let why = wait::until("it says why", PATIENCE, async || {
        is_ready(&service).await.err().filter(|why| why.contains("a majority of its members must run"))
    })
    .await;
    assert!(!why.contains("grpc") && !why.contains("etcdserver"), "{why}");
    let (status, answer) = begin(&service, "web-31.ex.test", "192.0.2.31").await;
    assert_eq!(status, 503, "{answer}");
    let command = installation.run(&["server", "list"]).await;
    assert!(command.status == 1 && command.stderr.contains("a majority of its members must run"), "{command:?}");

    // Both come back, and it goes on by itself.
    site.cluster.restart(release, 1).await;
    site.cluster.restart(release, 2).await;
    wait::until("it is ready again", PATIENCE, async || is_ready(&service).await.ok()).await;
    are_ready(&service, 30).await;
    // Where the registration itself met the outage, it is done again after a while.
    wait::until("it is answered", PATIENCE, async || {
        let answer = site.coredns.ask("web-30.ex.test", "A").await;
        answer.answers.iter().any(|line| line.ends_with("192.0.2.30")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_may_be_entered_otherwise_than_the_records() {
    let Some(release) = release() else { return };
    // Nobody logs in here.
    let cluster = Cluster::start(release, 1).await;
    let coredns = CoreDns::start(open_plan(&cluster)).await;
    let (plain, secure) = (cluster.plain_url(), cluster.urls()[0].clone());
    let tls = tls_lines(&cluster).join("\n");
    let installation = |records: &str, records_tls: &str, inventory: &str| {
        Installation::new(&format!(
            "[orchestrator.dns]\ncoredns_url = \"{records}\"\nnameservers = [\"{}\"]\nzones = [\"{ZONE}\"]\n{records_tls}\n\
             [orchestrator.inventory]\nkind = \"etcd\"\n{inventory}\n",
            coredns.address()
        ))
    };
    let own_tls = format!("[orchestrator.inventory.tls]\n{tls}");
    let users = "[orchestrator.inventory.credentials]\nusername = \"keeper\"\npassword_file = \"keeper\"\n";
    for (name, installation) in [
        ("https beside http", installation(&plain, "", &format!("urls = \"{secure}\"\n{own_tls}"))),
        (
            "http beside https",
            installation(&secure, &format!("[orchestrator.dns.tls]\n{tls}"), &format!("urls = \"{plain}\"")),
        ),
        ("a user that nobody asks for", installation(&plain, "", users)),
    ] {
        installation.write("keeper", KEEPER.1);
        installation.run(&["server", "create", "web-01.ex.test", "--ip", "192.0.2.1"]).await.succeeded();
        let keys = cluster.plain_gateway(0).tree("/dns-manager/servers/").await;
        assert_eq!(keys.keys(), ["/dns-manager/servers/web-01.ex.test"], "{name}");
        installation.run(&["server", "delete", "web-01.ex.test"]).await.succeeded();
    }

    // What does not fit is named.
    let distrusting = installation(&plain, "", &format!("urls = \"{secure}\""));
    let ran = distrusting.run(&["server", "list"]).await;
    assert!(ran.status == 1 && ran.stderr.contains("certificate"), "{ran:?}");
}

/// A CoreDNS that reads a cluster which asks nobody who they are.
fn open_plan(cluster: &Cluster) -> dns_manager_tests::coredns::Plan {
    let mut plan = plan(cluster);
    plan.in_place_of_etcd = Some(format!("etcd {ZONE} {{\npath /skydns\nendpoint {}\n}}", cluster.plain_url()));
    plan
}
