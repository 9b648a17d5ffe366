//! The real binary, where neither a backend nor a name server is needed.

#![allow(clippy::unwrap_used, reason = "the whole file is tests; clippy exempts only the test functions themselves")]

use std::path::Path;
use std::process::{Command, Output};

struct Run {
    directory: tempfile::TempDir,
}

impl Run {
    fn with_config(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("config.toml"), text).unwrap();
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dns-manager"));
        command.args(arguments).current_dir(self.path()).env_clear().env("HOME", self.path());
        command
    }

    fn output(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        read(&self.command(arguments).output().unwrap())
    }
}

fn read(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_command_has_help_with_an_example() {
    let run = Run::with_config("");
    for command in [
        "server create",
        "server delete",
        "server list",
        "server show",
        "record list",
        "record register",
        "record update",
        "record unregister",
        "record adopt",
        "record release",
        "record repair",
        "record verify",
        "record plan",
        "record apply",
        "record export",
        "serve",
        "config show",
        "plugin inspect",
    ] {
        let mut arguments: Vec<_> = command.split(' ').collect();
        arguments.push("--help");
        let (code, stdout, stderr) = run.output(&arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{command}");
        assert!(stdout.contains(&format!("  dns-manager {command}")), "{command}: {stdout}");
    }
}

#[test]
fn wrong_arguments_are_status_2() {
    let run = Run::with_config("");

    let (code, stdout, stderr) = run.output(&["record", "register", "web.example.com", "AA", "192.0.2.1"]);

    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("\"AA\" is not a record type"), "{stderr}");
}

#[test]
fn a_wrong_configuration_is_status_2_and_all_of_it_is_said() {
    let run = Run::with_config("[orchestrator.dns]\ncoredns_ulr = \"http://localhost:2379\"\nttl = 0\n");

    let (code, stdout, stderr) = run.output(&["server", "list"]);

    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert_eq!(
        stderr,
        "error: config.toml:2: unknown key \"orchestrator.dns.coredns_ulr\": the nearest known one is \
         \"orchestrator.dns.coredns_url\"\n\
         error: config.toml:3: orchestrator.dns.ttl: 0 is out of range: a TTL is 1 to 2147483647 seconds\n"
    );
}

#[test]
fn config_show_explains_where_values_come_from() {
    let run = Run::with_config("[orchestrator.dns]\ncoredns_url = \"http://localhost:53\"\n");
    let mut command = run.command(&["config", "show", "--output", "json"]);

    let (code, stdout, stderr) = read(&command.env("DNS_MANAGER__ORCHESTRATOR__DNS__TTL", "60").output().unwrap());

    let shown: Vec<serde_json::Value> = serde_json::from_str(&stdout).unwrap();
    let of = |key: &str| shown.iter().find(|shown| shown["key"] == key).unwrap().clone();
    assert_eq!(code, Some(0));
    assert_eq!(
        of("orchestrator.dns.ttl"),
        serde_json::json!({"key": "orchestrator.dns.ttl", "value": 60, "source": "DNS_MANAGER__ORCHESTRATOR__DNS__TTL"})
    );
    assert_eq!(of("orchestrator.dns.coredns_url")["source"], "config.toml:2");
    assert_eq!(of("orchestrator.dns.nameservers")["value"], serde_json::json!(["localhost:53"]));
    assert_eq!(
        stderr,
        "warning: orchestrator.dns.coredns_url: \"http://localhost:53\" is where CoreDNS answers DNS, so it is used as the \
         name server; records are managed at \"http://localhost:2379\": write that URL to end this warning\n"
    );
}

/// One that nobody is given who asks for just any.
fn free_port() -> u16 {
    let begin = std::process::id() as usize % 10_000;
    let is_free = |port: &u16| {
        std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()
            && std::net::UdpSocket::bind(("127.0.0.1", *port)).is_ok()
    };
    (20_000..30_000).cycle().skip(begin).take(10_000).find(is_free).unwrap()
}

#[test]
fn without_a_backend_records_are_kept_by_the_embedded_default() {
    let port = free_port();
    let run = Run::with_config(&format!("[orchestrator.embedded]\ndns_listen = \"127.0.0.1:{port}\"\n"));

    let (code, _, stderr) = run.output(&["record", "register", "web-01.example.com", "A", "192.168.1.10"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));

    let (code, stdout, _) = run.output(&["record", "list", "--output", "json"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("192.168.1.10"), "{stdout}");
    assert_eq!(run.output(&["record", "verify", "web-01.example.com"]).0, Some(0));
}

#[test]
fn an_empty_inventory_is_listed() {
    let run = Run::with_config("");

    assert_eq!(run.output(&["server", "list", "--output", "json"]), (Some(0), "[]\n".to_owned(), String::new()));
}

#[test]
fn a_short_host_name_is_refused_with_the_full_one_proposed() {
    let run = Run::with_config("[orchestrator.dns]\ncoredns_url = \"http://127.0.0.1:1\"\nzones = [\"example.org\"]\n");

    let (code, _, stderr) = run.output(&["server", "show", "web-01"]);

    assert_eq!(code, Some(2));
    assert_eq!(
        stderr,
        "error: \"web-01\" is not a full host name: give \"web-01.example.org\", say, or set orchestrator.domain\n"
    );
}

#[test]
fn a_file_that_is_no_component_is_not_inspected() {
    let run = Run::with_config("");
    std::fs::write(run.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();

    let (code, stdout, stderr) = run.output(&["plugin", "inspect", "core.wasm"]);

    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, "error: core.wasm is not a component: it is a core module\n");
}
