//! Servers by a program: killed with its caller, at its limits, and the programs of `examples/` and of the documentation.

use std::{
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use dns_manager_tests::{
    cli::{Installation, Serving},
    dns, http,
    left_out::{left_out, say},
    port::free_address,
    process::Process,
    site::test_name,
    wait,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const SCHEMA: &str = include_str!("../../docs/provider-exec.schema.json");
const DOCUMENTATION: &str = include_str!("../../docs/providers.md");

/// Keeps what a program is asked and answers in files, and is otherwise that program: the folder, the program, its arguments.
const RECORDER: &str = r#"#!/bin/sh
folder=$1
shift
for verb; do :; done
tee "$folder/$$.request" | "$@" | tee "$folder/$$.$verb"
"#;

/// On the embedded default, with a program that is run as these words; and where names are answered.
fn installation(program: &[String], more: &str) -> (Installation, SocketAddr) {
    let nameserver = free_address();
    let (program, arguments) = program.split_first().unwrap();
    let installation = Installation::new(&format!(
        "[orchestrator.embedded]\ndns_listen = \"{nameserver}\"\n\
         [orchestrator.provider]\nkind = \"exec\"\nprogram = \"{program}\"\narguments = {arguments:?}\n{more}\n"
    ));
    (installation, nameserver)
}

fn example(path: &str) -> String {
    format!("{}/../examples/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// With a recorder before the program.
fn recorded(program: &[String]) -> (Installation, SocketAddr, PathBuf) {
    let records = tempfile::TempDir::with_prefix("dns-manager-records-").unwrap().keep();
    let mut words = vec!["recorder".to_owned(), records.display().to_string()];
    words.extend_from_slice(program);
    let (installation, nameserver) = installation(&words, "");
    installation.write_program("recorder", RECORDER);
    (installation, nameserver, records)
}

/// All that was asked and answered is as the schema has it; the verbs, as often as they were answered.
fn check_records(records: &Path) -> Vec<String> {
    let validator = |kind: &str| {
        let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
        schema.as_object_mut().unwrap().remove("anyOf");
        schema["$ref"] = format!("#/$defs/{kind}").into();
        jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
    };
    let (request, status, other) = (validator("request"), validator("statusAnswer"), validator("otherAnswer"));
    let mut verbs = Vec::new();
    for entry in std::fs::read_dir(records).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file:?}: {error}: {text}"));
        let verb = file.extension().unwrap().to_str().unwrap().to_owned();
        let validator = match verb.as_str() {
            "request" => &request,
            "status" => &status,
            _ => &other,
        };
        assert!(validator.is_valid(&document), "{verb}: {text}");
        if verb != "request" {
            verbs.push(verb);
        }
    }
    std::fs::remove_dir_all(records).unwrap();
    verbs.sort();
    verbs
}

/// The state in which a server comes to rest.
async fn at_rest(serving: &Serving, hostname: &str) -> Value {
    let path = format!("/api/v1/servers/{hostname}");
    wait::until("the server is at rest", PATIENCE, async || {
        let (_, body) = serving.call("GET", &path, None).await;
        matches!(body["data"]["state"].as_str()?, "ready" | "failed").then(|| body["data"].clone())
    })
    .await
}

/// What a program wrote there, once the line is whole.
async fn written(file: &Path) -> String {
    wait::until(&format!("{} is written", file.display()), PATIENCE, async || {
        let text = std::fs::read_to_string(file).ok()?;
        Some(text.strip_suffix('\n')?.to_owned())
    })
    .await
}

/// Waits until these processes have ended.
#[cfg(target_os = "linux")]
async fn are_gone(processes: &str) {
    for process in processes.split(' ') {
        wait::until("the program is gone", PATIENCE, async || {
            // `1234 (sh) S ...`: one that has ended may wait for somebody to take note.
            let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
            matches!(state, None | Some('Z' | 'X')).then_some(())
        })
        .await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_killed_with_its_caller_and_the_next_process_asks_before_it_goes_on() {
    // The first creation hangs, with a process of its own; what it was to make is made by the second.
    let script = r#"#!/bin/sh
echo "$1" >> calls
case $1 in
  create)
    if [ ! -e process ]; then
      sleep 1000 &
      echo "$$ $!" > process
      wait
    fi
    touch made ;;
  status)
    if [ -e made ]; then echo '{"status": "ready", "addresses": ["192.0.2.1"]}'; else echo '{"status": "absent"}'; fi ;;
  delete)
    rm -f made ;;
esac
"#;
    let (installation, nameserver) = installation(&["cloud".to_owned()], "");
    installation.write_program("cloud", script);
    let serving = installation.serve().await;
    serving.call("POST", "/api/v1/servers", Some(json!({"hostname": "web-01.example.com"}))).await;
    let processes = written(&installation.folder().join("process")).await;

    // SIGKILL.
    drop(serving);

    are_gone(&processes).await;
    assert!(!installation.folder().join("made").exists());
    let serving = installation.serve().await;
    let server = at_rest(&serving, "web-01.example.com").await;
    assert_eq!((&server["state"], &server["addresses"]), (&json!("ready"), &json!(["192.0.2.1"])), "{server}");
    let calls = std::fs::read_to_string(installation.folder().join("calls")).unwrap();
    assert_eq!(calls.lines().collect::<Vec<_>>(), ["create", "status", "create", "status"]);
    assert_eq!(dns::ask(nameserver, "web-01.example.com", "A").await.answers, ["web-01.example.com. 300 A 192.0.2.1"]);
    installation.run(&["server", "delete", "web-01.example.com"]).await.succeeded();
    assert!(!installation.folder().join("made").exists());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_stopped_in_a_slow_step_ends_in_time_and_the_next_one_asks_before_it_goes_on() {
    // What it is asked for is made, and a creation does not end.
    let script = r#"#!/bin/sh
echo "$1" >> calls
case $1 in
  create)
    touch made
    sleep 1000 &
    echo "$$ $!" > process
    wait ;;
  status)
    if [ -e made ]; then echo '{"status": "ready", "addresses": ["192.0.2.1"]}'; else echo '{"status": "absent"}'; fi ;;
  delete)
    rm made ;;
esac
"#;
    let (installation, nameserver) =
        installation(&["cloud".to_owned()], "timeout = \"900s\"\n[orchestrator.limits]\nstop_timeout = \"1s\"");
    installation.write_program("cloud", script);
    let serving = installation.serve().await;
    let create = serving.call("POST", "/api/v1/servers", Some(json!({"hostname": "web-01.example.com"}))).await;
    assert_eq!(create.0, 202, "{}", create.1);
    let processes = written(&installation.folder().join("process")).await;

    let (status, log) = serving.ended_by("TERM").await;

    assert_eq!(status, 0, "{log}");
    assert!(log.contains("stopped while workflows were at work"), "{log}");
    are_gone(&processes).await;
    let left = installation.run(&["server", "list", "--output", "json"]).await.succeeded().json();
    let step = &left[0]["steps"][0];
    assert_eq!((&left[0]["state"], &step["outcome"]), (&json!("creating"), &json!("running")), "{left:#}");

    let serving = installation.serve().await;
    let server = at_rest(&serving, "web-01.example.com").await;
    assert_eq!((&server["state"], &server["problem"]), (&json!("ready"), &Value::Null), "{server:#}");
    let names: Vec<_> = server["steps"].as_array().unwrap().iter().map(|step| step["name"].clone()).collect();
    assert_eq!(names, ["create", "wait", "register", "verify"], "{server:#}");
    let (_, listed) = serving.call("GET", "/api/v1/dns/records", None).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed:#}");
    assert_eq!(dns::ask(nameserver, "web-01.example.com", "A").await.answers, ["web-01.example.com. 300 A 192.0.2.1"]);
    installation.run(&["server", "delete", "web-01.example.com"]).await.succeeded();
    assert!(!installation.folder().join("made").exists());
    let calls = std::fs::read_to_string(installation.folder().join("calls")).unwrap();
    assert_eq!(calls.lines().collect::<Vec<_>>(), ["create", "status", "status", "stop", "delete"]);
}

#[tokio::test]
async fn what_a_program_does_wrong_is_on_the_server_and_in_the_log() {
    let script = r#"#!/bin/sh
echo "the image is gone" >&2
case $1 in
  create) echo '{"error": {"message": "there is no image \"web\"", "may_pass": false}}'; exit 1 ;;
  *) sleep 1000 ;;
esac
"#;
    let (installation, _) = installation(&["cloud".to_owned()], "timeout = \"3s\"");
    installation.write_program("cloud", script);
    let serving = installation.serve().await;

    serving.call("POST", "/api/v1/servers", Some(json!({"hostname": "web-01.example.com"}))).await;
    let server = at_rest(&serving, "web-01.example.com").await;

    assert_eq!(server["state"], "failed", "{server}");
    assert_eq!(
        server["problem"],
        "the provider did not create it: `cloud create`: there is no image \"web\": put that right and run `dns-manager \
         server retry`, or delete the server"
    );
    let log = serving.output();
    let line = log.lines().find(|line| line.ends_with("hostname=web-01.example.com verb=create"));
    assert!(line.is_some_and(|line| line.contains("provider: the image is gone")), "{log}");

    // The limit, by a command, which tries for a few seconds.
    drop(serving);
    let deleted = installation.run(&["server", "delete", "web-01.example.com"]).await;
    assert_eq!(deleted.status, 1, "{deleted:?}");
    let expected = "`cloud stop`: it took longer than 3s, and was ended; it said last: the image is gone";
    assert!(deleted.stderr.contains(expected), "{deleted:?}");
}

#[tokio::test]
async fn a_program_that_is_missing_is_a_wrong_configuration() {
    let (installation, _) = installation(&["cloud".to_owned()], "");

    let refused = installation.run(&["server", "create", "web-01.example.com"]).await;

    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.stderr.contains("orchestrator.provider.program: "), "{refused:?}");
}

#[tokio::test]
async fn a_probe_holds_a_server_up_until_it_answers() {
    // It refuses connections until it listens, and is nobody else's.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let installation = Installation::new(&format!(
        "[orchestrator.embedded]\ndns_listen = \"{}\"\n[orchestrator.provider]\nprobes = [\"tcp:{port}\"]\n",
        free_address()
    ));
    let serving = installation.serve().await;
    let asked = json!({"hostname": "web-01.example.com", "addresses": ["127.0.0.1"]});
    serving.call("POST", "/api/v1/servers", Some(asked)).await;
    wait::until("the log says what it waits for", PATIENCE, async || {
        serving.output().contains(&format!("127.0.0.1:{port} takes no connection")).then_some(())
    })
    .await;
    let (_, waiting) = serving.call("GET", "/api/v1/servers/web-01.example.com", None).await;
    assert_eq!(waiting["data"]["state"], "waiting", "{waiting}");

    let _listener = socket.listen(8).unwrap();

    assert_eq!(at_rest(&serving, "web-01.example.com").await["state"], "ready");
}

#[tokio::test]
async fn the_program_in_the_documentation_works() {
    let (_, rest) = DOCUMENTATION.split_once("```python\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let servers = tempfile::tempdir().unwrap();
    let folder = servers.path().join("servers");
    let program = servers.path().join("provider");
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (installation, nameserver, records) = recorded(&[program.display().to_string(), folder.display().to_string()]);

    let _serving = installation.serve().await;
    installation.run(&["server", "create", "web-01.example.com"]).await.succeeded();
    installation.run(&["server", "create", "web-02.example.com", "--ip", "192.0.2.77"]).await.succeeded();
    assert_eq!(dns::ask(nameserver, "web-01.example.com", "A").await.answers, ["web-01.example.com. 300 A 192.0.2.10"]);
    assert_eq!(dns::ask(nameserver, "web-02.example.com", "A").await.answers, ["web-02.example.com. 300 A 192.0.2.77"]);
    installation.run(&["server", "delete", "web-01.example.com"]).await.succeeded();
    installation.run(&["server", "delete", "web-02.example.com"]).await.succeeded();

    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    let verbs = check_records(&records);
    assert_eq!(verbs, ["create", "create", "delete", "delete", "status", "status", "stop", "stop"]);
}

#[tokio::test]
async fn the_example_for_a_cloud_works_on_one_that_is_often_busy() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token").display().to_string();
    std::fs::write(&token, "some-token\n").unwrap();
    let mut command = Command::new(example("rest-cloud/cloud.py"));
    command.args(["--port", "0", "--token-file", &token, "--boot-seconds", "0.3", "--fail-every", "3"]);
    let cloud = Process::start(&mut command, &folder.path().join("log"));
    let url = wait::until("the cloud says where it is", PATIENCE, async || {
        cloud.output().lines().find_map(|line| line.strip_prefix("the cloud is at ").map(str::to_owned))
    })
    .await;
    let program = [&example("rest-cloud/provider.py"), "--url", &url, "--token-file", &token].map(str::to_owned);
    let (installation, nameserver, records) = recorded(&program);

    let _serving = installation.serve().await;
    for (hostname, address) in [("web-01.example.com", "127.66.0.1"), ("web-02.example.com", "127.66.0.2")] {
        installation.run(&["server", "create", hostname]).await.succeeded();
        let expected = format!("{hostname}. 300 A {address}");
        assert_eq!(dns::ask(nameserver, hostname, "A").await.answers, [expected]);
    }
    for hostname in ["web-01.example.com", "web-02.example.com"] {
        installation.run(&["server", "delete", hostname]).await.succeeded();
    }

    let http = http::client();
    let left = wait::until("the cloud is not busy", PATIENCE, async || {
        let answer = http.get(format!("{url}/servers")).bearer_auth("some-token").send().await.unwrap();
        if answer.status() == 200 { Some(answer.text().await.unwrap()) } else { None }
    })
    .await;
    assert_eq!(left, "[]");
    let verbs = check_records(&records);
    assert!(verbs.len() > 8, "the cloud was busy, and was asked again: {verbs:?}");
}

/// What makes network namespaces, or why it cannot here.
#[cfg(target_os = "linux")]
fn ip(words: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(words).output().map_err(|error| format!("`ip`, of iproute2: {error}"))?;
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn the_example_with_namespaces_makes_hosts_that_answer_by_name_and_leaves_nothing() {
    // Only root can make namespaces; where it can, they are made.
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return say(&format!("left out: {}: it needs root\n", test_name()));
    }
    // An installation of its own beside others: all that they could share bears the number of this process.
    let number = std::process::id();
    let scout = format!("dnsm-test-{number}");
    if let Err(missing) = ip(&["netns", "add", &scout]) {
        return left_out(&test_name(), &format!("network namespaces: {}", missing.trim()));
    }
    ip(&["netns", "delete", &scout]).unwrap();
    let (bridge, state) = (format!("dnsmt{number}"), format!("/run/dns-manager-netns-{number}"));
    let network = format!("10.213.{}.0/24", number % 256);
    let program = [&example("netns/provider"), "--network", &network, "--bridge", &bridge, "--state", &state];
    let (installation, nameserver) =
        installation(&program.map(str::to_owned), "probes = [\"tcp:8080\", \"http://:8080/healthz\"]");
    let hostnames = ["web-01.example.com", "web-02.example.com", "web-03.example.com"];
    let http = http::client();

    let mut serving = installation.serve().await;
    for hostname in hostnames {
        let (status, body) = serving.call("POST", "/api/v1/servers", Some(json!({"hostname": hostname}))).await;
        assert_eq!(status, 202, "{body}");
    }
    // Killed in the middle of it.
    drop(serving);
    serving = installation.serve().await;
    for hostname in hostnames {
        let server = at_rest(&serving, hostname).await;
        assert_eq!((&server["state"], &server["problem"]), (&json!("ready"), &Value::Null), "{server}");
        let address = server["addresses"][0].as_str().unwrap();
        let expected = format!("{hostname}. 300 A {address}");
        assert_eq!(dns::ask(nameserver, hostname, "A").await.answers, [expected]);
        let text = http.get(format!("http://{address}:8080/")).send().await.unwrap().text().await.unwrap();
        assert_eq!(text, format!("{hostname}\n"));
        let namespace = format!("dnsm-{}", server["id"].as_str().unwrap());
        assert!(ip(&["netns"]).unwrap().contains(&namespace));
    }
    let (_, servers) = serving.call("GET", "/api/v1/servers", None).await;
    for hostname in hostnames {
        installation.run(&["server", "delete", hostname]).await.succeeded();
    }

    let (namespaces, devices) = (ip(&["netns"]).unwrap(), ip(&["link"]).unwrap());
    for server in servers["data"].as_array().unwrap() {
        let id = server["id"].as_str().unwrap();
        assert!(!namespaces.contains(id), "{namespaces}");
        assert!(!devices.contains(&id.replace('-', "")[20..]), "{devices}");
    }
    assert!(!devices.contains(&bridge), "{devices}");
    assert!(!Path::new(&state).exists());
}
