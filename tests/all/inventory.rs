//! The inventory in etcd: what its rules are, and who may work on what.

use std::time::Duration;

use dns_manager_orchestrator::{
    inventory::{
        Inventory, Renamed, Stored, Written,
        etcd::{Access, Etcd},
    },
    server::{Server, State},
};
use dns_manager_tests::{
    cli::Installation,
    etcd::{Etcd as EtcdProcess, Release},
    http,
    site::{Site, installed},
    wait,
};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(etcd: &EtcdProcess) -> Etcd {
    let access = Access { urls: vec![etcd.url()], path: "/dns-manager".to_owned(), ..Access::default() };
    Etcd::connect(&access).await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// A server as it is when it is new.
fn server(hostname: &str) -> Server {
    serde_json::from_value(json!({
        "id": uuid::Uuid::now_v7(),
        "hostname": hostname,
        "addresses": ["192.168.1.10"],
        "state": "creating",
        "dns": {"records": [], "verified": null},
        "problem": null,
        "steps": [],
    }))
    .unwrap()
}

async fn on_every_etcd(claim: impl AsyncFn(&EtcdProcess)) {
    for release in installed() {
        claim(&EtcdProcess::start(release).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_orchestrator_writes_another_reads_and_nobody_overwrites_unread() {
    on_every_etcd(async |etcd| {
        let (one, other) = (connect(etcd).await, connect(etcd).await);
        let mut changes = other.changes();
        let mut server = server("web-01.example.com");
        let read_at = one.insert(&server).await.unwrap().unwrap();
        assert_eq!(other.insert(&server).await.unwrap(), None, "the name is taken");
        tokio::time::timeout(PATIENCE, changes.of(&server.hostname)).await.expect("the other is told");
        assert_eq!(
            other.find(&server.hostname).await.unwrap(),
            Some(Stored { server: server.clone(), revision: read_at })
        );

        server.state = State::Waiting;
        let Written::At(second) = other.update(&server, read_at, None).await.unwrap() else { panic!() };
        server.state = State::Failed;
        assert_eq!(one.update(&server, read_at, None).await.unwrap(), Written::Changed);
        assert_eq!(one.remove(&server.hostname, read_at, None).await.unwrap(), Written::Changed);
        assert_eq!(one.find(&server.hostname).await.unwrap().unwrap().server.state, State::Waiting);

        let second_server = self::server("web-02.example.com");
        one.insert(&second_server).await.unwrap();
        let old = server.hostname.clone();
        server.hostname = second_server.hostname.clone();
        assert_eq!(one.rename(&old, &server, second).await.unwrap(), Renamed::Taken);
        server.hostname = "web-03.example.com".parse().unwrap();
        let Renamed::At(third) = one.rename(&old, &server, second).await.unwrap() else { panic!() };
        assert_eq!(one.rename(&old, &server, second).await.unwrap(), Renamed::Changed);
        assert_eq!(other.find(&old).await.unwrap(), None);
        assert!(matches!(other.remove(&server.hostname, third, None).await.unwrap(), Written::At(_)));
        let names: Vec<_> = one.list().await.unwrap().into_iter().map(|stored| stored.server.hostname).collect();
        assert_eq!(names, [second_server.hostname]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_comes_in_pages_and_whole() {
    on_every_etcd(async |etcd| {
        let inventory = connect(etcd).await;
        let mut hostnames = Vec::new();
        for number in 0..450 {
            let server = server(&format!("web-{number:03}.example.com"));
            inventory.insert(&server).await.unwrap();
            hostnames.push(server.hostname);
        }
        let listed: Vec<_> = inventory.list().await.unwrap().into_iter().map(|stored| stored.server.hostname).collect();
        assert_eq!(listed, hostnames);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_orchestrator_at_a_time_works_on_a_server() {
    on_every_etcd(async |etcd| {
        let (one, other) = (connect(etcd).await, connect(etcd).await);
        let mut server = server("web-01.example.com");
        let read_at = one.insert(&server).await.unwrap().unwrap();

        let claim = one.claim(server.id).await.unwrap().unwrap();
        assert!(one.claim(server.id).await.unwrap().is_none(), "nor does another task of the same process");
        assert!(other.claim(server.id).await.unwrap().is_none());
        server.state = State::Waiting;
        let Written::At(second) = one.update(&server, read_at, Some(&claim)).await.unwrap() else { panic!() };
        drop(claim);

        let claim =
            wait::until("the claim is given back", PATIENCE, async || other.claim(server.id).await.unwrap()).await;
        assert!(matches!(other.remove(&server.hostname, second, Some(&claim)).await.unwrap(), Written::At(_)));
        drop(claim);
        wait::until("nothing is left", PATIENCE, async || etcd.gateway().everything().await.is_empty().then_some(()))
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_a_claim_is_told_and_writes_nothing_more() {
    on_every_etcd(async |etcd| {
        let (one, other) = (connect(etcd).await, connect(etcd).await);
        let mut server = server("web-01.example.com");
        let read_at = one.insert(&server).await.unwrap().unwrap();
        let claim = one.claim(server.id).await.unwrap().unwrap();

        // As if it had not been heard of for too long.
        let key = format!("/dns-manager/claims/{}", server.id);
        let lease = etcd.gateway().everything().await.entries[&key].lease;
        etcd.gateway().post("lease/revoke", &json!({"ID": lease.to_string()})).await;

        let second = other.claim(server.id).await.unwrap().expect("it is free");
        assert_ne!(claim.fence(), second.fence());
        server.state = State::Failed;
        assert_eq!(one.update(&server, read_at, Some(&claim)).await.unwrap(), Written::ClaimLost);
        assert_eq!(one.remove(&server.hostname, read_at, Some(&claim)).await.unwrap(), Written::ClaimLost);
        tokio::time::timeout(PATIENCE, claim.lost()).await.expect("its steps are broken off");
        drop(claim);

        server.state = State::Waiting;
        assert!(matches!(other.update(&server, read_at, Some(&second)).await.unwrap(), Written::At(_)));
        drop(second);
        // The first one has a new lease by then.
        wait::until("it works again", PATIENCE, async || one.claim(server.id).await.unwrap()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_not_there_is_told_in_time() {
    let access =
        Access { urls: vec!["http://127.0.0.1:1".to_owned()], path: "/dns-manager".to_owned(), ..Access::default() };
    let opened = tokio::time::timeout(PATIENCE, Etcd::connect(&access)).await.expect("it does not hang");
    assert_eq!(opened.err().unwrap().to_string(), "the inventory cannot be opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reads_and_writes_it() {
    let site = Site::start(Release::Current, &["example.com"]).await;
    let doctor = async |urls: &str| {
        let installation = Installation::new(&format!(
            "[orchestrator.dns]\ncoredns_url = \"{}\"\nnameservers = [\"{}\"]\nzones = [\"example.com\"]\n\
             [orchestrator.inventory]\nkind = \"etcd\"\n{urls}",
            site.etcd.url(),
            site.coredns.address(),
        ));
        let checks = installation.run(&["doctor", "--output", "json"]).await.json();
        let checks = checks.as_array().unwrap().clone();
        checks.into_iter().find(|check| check["id"] == "inventory").expect("it is looked at")
    };

    let well = doctor("").await;
    assert_eq!((&well["level"], &well["remedy"]), (&json!("ok"), &json!("")), "{well}");
    let away = doctor("urls = [\"http://127.0.0.1:1\"]\n").await;
    assert_eq!(away["level"], "fail", "{away}");
    assert!(away["remedy"].as_str().unwrap().contains("orchestrator.inventory"), "{away}");
    assert!(site.gateway().tree("/dns-manager/").await.is_empty(), "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_was_paused_for_long_writes_nothing_more() {
    let site = Site::start(Release::Current, &["example.com"]).await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("provider");
    // Its creation lasts until somebody says that it may end.
    let script = "#!/bin/sh\nfor verb; do :; done\nrequest=$(cat)\ncd FOLDER\necho \"$verb\" >> calls\ncase $verb in\n\
                  create) while [ ! -e go ]; do sleep 0.1; done; touch there ;;\n\
                  status) if [ -e there ]; then echo '{\"status\": \"ready\", \"addresses\": [\"10.0.0.1\"]}'; \
                  else echo '{\"status\": \"absent\"}'; fi ;;\nesac\n";
    std::fs::write(&program, script.replace("FOLDER", &format!("'{}'", folder.path().display()))).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let installation = || {
        Installation::new(&format!(
            "[orchestrator.dns]\ncoredns_url = \"{}\"\nnameservers = [\"{}\"]\nzones = [\"example.com\"]\n\
             [orchestrator.inventory]\nkind = \"etcd\"\n[orchestrator.provider]\nkind = \"exec\"\nprogram = \"{}\"\n",
            site.etcd.url(),
            site.coredns.address(),
            program.display(),
        ))
    };
    let (first, second) = (installation(), installation());
    let paused = first.serve().await;
    let (status, answer) =
        paused.call("POST", "/api/v1/servers", Some(json!({"hostname": "web-01.example.com"}))).await;
    assert_eq!(status, 202, "{answer}");
    let calls = || std::fs::read_to_string(folder.path().join("calls")).unwrap_or_default();
    wait::until("the creation has begun", PATIENCE, async || calls().contains("create").then_some(())).await;
    paused.signal("STOP");

    // Its lease runs out, and the other takes over: it asks, is told that there is nothing yet, and creates.
    let other = second.serve().await;
    wait::until("the other has taken over", PATIENCE * 2, async || {
        (calls().matches("create").count() == 2).then_some(())
    })
    .await;
    std::fs::write(folder.path().join("go"), "").unwrap();
    let path = "/api/v1/servers/web-01.example.com";
    let ready = wait::until("the server is ready", PATIENCE, async || {
        let (_, answer) = other.call("GET", path, None).await;
        (answer["data"]["state"] == "ready").then(|| answer["data"].clone())
    })
    .await;
    let before = site.gateway().tree("/dns-manager/servers/").await;

    paused.signal("CONT");
    wait::until("it knows", PATIENCE, async || paused.output().contains("left to others").then_some(())).await;
    wait::until("it serves again", PATIENCE, async || {
        // It may have closed the connection that was idle for so long.
        let answer = http::client().get(format!("{}{path}", paused.url())).send().await.ok()?;
        let answer: serde_json::Value = answer.json().await.ok()?;
        (answer["data"] == ready).then_some(())
    })
    .await;
    let after = site.gateway().tree("/dns-manager/servers/").await;
    assert_eq!(after.entries, before.entries, "it wrote nothing");
    let answer = site.coredns.ask("web-01.example.com", "A").await;
    assert_eq!(answer.answers, ["web-01.example.com. 300 A 10.0.0.1"]);
}

/// How many watchers an etcd could not tell in time what changed.
async fn slow_watchers(etcd: &EtcdProcess) -> bool {
    let answer = http::client().get(format!("{}/metrics", etcd.url())).send().await.unwrap();
    let metrics = answer.text().await.unwrap();
    let name = "etcd_debugging_mvcc_slow_watcher_total ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)).expect("etcd counts them");
    value.trim() != "0"
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_compacted_before_the_watch_told_of_it_is_not_missed() {
    for release in installed() {
        let site = Site::start(release, &["example.com"]).await;
        let installation = Installation::new(&format!(
            "[orchestrator.dns]\ncoredns_url = \"{}\"\nnameservers = [\"{}\"]\nzones = [\"example.com\"]\n\
             [orchestrator.inventory]\nkind = \"etcd\"\n[orchestrator.log]\nfilter = \"dns_manager_orchestrator=debug\"\n",
            site.etcd.url(),
            site.coredns.address(),
        ));
        let service = installation.serve().await;
        wait::until("it is ready", PATIENCE, async || (service.status("/readyz").await == 200).then_some(())).await;

        // It is told nothing any more, until etcd can keep no more of it.
        service.signal("STOP");
        let mut ballast = server("ballast.example.com");
        ballast.state = State::Ready;
        ballast.addresses = vec!["192.168.1.10".parse().unwrap(); 4_000];
        let ballast = serde_json::to_vec(&ballast).unwrap();
        let mut rounds = 0;
        while !slow_watchers(&site.etcd).await {
            rounds += 1;
            assert!(rounds < 200, "etcd keeps all of it");
            for _ in 0..50 {
                site.gateway().put("/dns-manager/servers/ballast.example.com", &ballast).await;
            }
        }
        let due = server("web-01.example.com");
        site.gateway().put("/dns-manager/servers/web-01.example.com", serde_json::to_vec(&due).unwrap()).await;
        site.gateway().delete("/dns-manager/servers/ballast.example.com").await;
        let answer = site.gateway().post("kv/range", &json!({"key": "AA=="})).await;
        let revision = answer["header"]["revision"].clone();
        site.gateway().post("kv/compaction", &json!({"revision": revision, "physical": true})).await;
        service.signal("CONT");

        wait::until(&format!("the watch begins anew: {}", service.output()), PATIENCE * 2, async || {
            service.output().contains("was compacted before it was told").then_some(())
        })
        .await;
        wait::until("the server is seen to", PATIENCE, async || {
            let (_, answer) = service.call("GET", "/api/v1/servers/web-01.example.com", None).await;
            (answer["data"]["state"] == "ready").then_some(())
        })
        .await;
        let answer = site.coredns.ask("web-01.example.com", "A").await;
        assert_eq!(answer.answers, ["web-01.example.com. 300 A 192.168.1.10"]);
    }
}
