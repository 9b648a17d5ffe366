//! What commands show while they work: on a terminal all of it, elsewhere nothing.

use std::time::Duration;

use dns_manager_tests::{cli::Installation, port::free_address, wait};

/// Makes a server as soon as there is a file `go`; one of the name `web-03` never.
const SLOW: &str = r#"#!/bin/sh
asked=$(cat)
case $1 in
  create)
    case $asked in
      *web-03*) echo '{"error": {"message": "there is no room", "may_pass": false}}'; exit 1 ;;
    esac
    until [ -e go ]; do sleep 0.05; done ;;
  status) echo '{"status": "ready", "addresses": ["192.0.2.1"]}' ;;
esac
"#;
const SERVERS: &str =
    "- hostname: web-01.example.com\n- hostname: web-02.example.com\n- hostname: web-03.example.com\n";

fn installation() -> Installation {
    let installation = Installation::new(&format!(
        "[orchestrator.embedded]\ndns_listen = \"{}\"\n[orchestrator.provider]\nkind = \"exec\"\nprogram = \"slow\"\n",
        free_address()
    ));
    installation.write_program("slow", SLOW);
    installation.write("servers.yaml", SERVERS);
    installation
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_the_step_at_work_and_each_step_that_has_ended_with_its_time() {
    for beside_a_service in [false, true] {
        let installation = installation();
        let serving = if beside_a_service { Some(installation.serve().await) } else { None };
        let creating = installation.start_on_terminal(&["server", "create", "web-01.example.com"]);
        wait::until("the step is shown with its time", Duration::from_secs(60), async || {
            let seen = creating.seen();
            (1..60).any(|second| seen.contains(&format!(" create, {second}s"))).then_some(())
        })
        .await;
        assert!(!creating.seen().contains(" ms"), "no step has ended: {}", creating.seen());

        installation.write("go", "");

        let created = creating.ended().await.succeeded();
        for step in ["create ", "wait ", "register ", "verify "] {
            let line = created.stderr.lines().find(|line| line.contains(step) && line.contains(" ms"));
            assert!(line.is_some(), "{step}: {}", created.stderr);
        }
        assert!(created.stdout.starts_with("HOSTNAME "), "{created:?}");
        drop(serving);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_many_servers_as_a_bar_with_those_at_work_and_those_that_failed() {
    for beside_a_service in [false, true] {
        let installation = installation();
        let serving = if beside_a_service { Some(installation.serve().await) } else { None };
        let creating = installation.start_on_terminal(&["server", "create", "--file", "servers.yaml"]);
        creating.shows(" 1 of 3 servers, ").await;
        creating.shows("2 at work: web-01.example.com create, web-02.example.com create").await;
        creating.shows("1 failed: web-03.example.com").await;

        installation.write("go", "");

        let created = creating.ended().await;
        assert_eq!(created.status, 1, "{created:?}");
        assert!(created.stderr.contains("error: web-03.example.com: "), "{created:?}");
        assert_eq!(created.stdout.lines().filter(|line| line.contains(" ready ")).count(), 2, "{created:?}");
        let names = ["web-01.example.com", "web-02.example.com", "web-03.example.com"];
        let deleted = installation.run(&[&["server", "delete"], &names[..]].concat()).await.succeeded();
        assert_eq!(deleted.stderr, "");
        drop(serving);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_the_steps_are_on_the_server_alone() {
    let installation = installation();
    installation.write("go", "");
    let create = ["server", "create", "web-01.example.com", "--output", "json"];
    let created = installation.run(&create).await.succeeded();
    let shown = installation.run(&["server", "show", "web-01.example.com", "--output", "json"]).await.succeeded();

    assert_eq!((created.stderr.as_str(), shown.stderr.as_str()), ("", ""));
    for server in [created.json(), shown.json()] {
        let steps = server["steps"].as_array().expect("steps");
        let names: Vec<_> = steps.iter().map(|step| step["name"].as_str().expect("a name")).collect();
        assert_eq!(names, ["create", "wait", "register", "verify"], "{server:#}");
        let is_timed = |step: &serde_json::Value| step["duration_ms"].is_u64() && step["started_at"].is_string();
        assert!(steps.iter().all(is_timed), "{server:#}");
    }
    let many = installation.run(&["server", "create", "--file", "servers.yaml"]).await;
    let errors: Vec<_> = many.stderr.lines().map(|line| line.split_once(": ").map(|(kind, _)| kind)).collect();
    assert_eq!(errors, [Some("error"), Some("error")], "web-01 is there, web-03 cannot be: {many:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wants_quiet_has_it_on_a_terminal_too() {
    let installation = installation();
    let creating = installation.start_on_terminal(&["--quiet", "server", "create", "web-01.example.com"]);
    // Until there would be something to see.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    installation.write("go", "");

    let created = creating.ended().await.succeeded();

    assert_eq!(created.stderr, "", "{created:?}");
}
