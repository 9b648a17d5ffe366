//! The configuration, from files and variables to what is in force.

use std::fs;

mod access;
mod provider;

use super::*;

struct Given {
    directory: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Given {
    fn file(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("config.toml"), text).unwrap();
        Self { directory, variables: BTreeMap::from([("HOME".to_owned(), "/home/op".to_owned())]) }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn load(&self) -> Result<Config, Error> {
        let environment = Environment {
            variables: self.variables.clone(),
            directory: self.directory.path().to_owned(),
            ..Default::default()
        };
        Config::load(None, &environment)
    }

    fn error(&self) -> String {
        self.load().unwrap_err().to_string()
    }
}

fn with_dns(lines: &str) -> Given {
    Given::file(&format!("[orchestrator.dns]\n{lines}\n"))
}

fn shown<'a>(config: &'a Config, key: &str) -> &'a Shown {
    config.shown().iter().find(|shown| shown.key == key).unwrap()
}

#[test]
fn defaults_hold_where_nothing_is_set() {
    let config = with_dns("coredns_url = \"http://localhost:2379\"").load().unwrap();

    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.data_dir, Path::new("/home/op/.local/state/dns-manager"));
    assert_eq!(config.domain, None);
    assert_eq!(config.backend()[0].to_string(), "http://localhost:2379");
    assert!(config.dns.auto_register);
    assert!(!config.dns.ptr);
    assert_eq!(config.dns.ttl.seconds(), 300);
    assert_eq!(config.dns.zones, []);
    assert_eq!(config.dns.nameservers, ["localhost:53"]);
    assert_eq!(config.dns.owner, "default");
    assert_eq!(config.dns.path, "/skydns");
    assert_eq!(config.dns.verify_timeout, Duration::from_secs(40));
    assert_eq!(config.dns.plugin, None);
    assert_eq!(config.warnings, <[String; 0]>::default());
}

#[test]
fn variables_override_the_file_and_each_value_knows_its_source() {
    let config = with_dns(
        "coredns_url = \"http://localhost:2379\"\nttl = 60\nowner = \"a\"\n[orchestrator]\nlisten = \"[::1]:1\"",
    )
    .variable("DNS_MANAGER__ORCHESTRATOR__DNS__TTL", "30")
    .variable("DNS_MANAGER__ORCHESTRATOR__DNS__ZONES", "example.com, Example.org.")
    .variable("DNS_MANAGER__ORCHESTRATOR__DNS__AUTO_REGISTER", "false")
    .variable("DNS_MANAGER__ORCHESTRATOR__DNS__SETTINGS__RETRY_BASE_MS", "5")
    .load()
    .unwrap();

    assert_eq!(config.dns.ttl.seconds(), 30);
    assert_eq!(config.dns.zones.iter().map(Name::as_str).collect::<Vec<_>>(), ["example.com", "example.org"]);
    assert!(!config.dns.auto_register);
    assert_eq!(config.dns.settings, BTreeMap::from([("retry-base-ms".to_owned(), "5".to_owned())]));
    assert_eq!(shown(&config, "orchestrator.dns.ttl").source, "DNS_MANAGER__ORCHESTRATOR__DNS__TTL");
    assert_eq!(shown(&config, "orchestrator.dns.owner").source, "config.toml:4");
    assert_eq!(shown(&config, "orchestrator.listen").source, "config.toml:6");
    assert_eq!(shown(&config, "orchestrator.dns.path").source, "default");
    assert_eq!(shown(&config, "orchestrator.domain").value, serde_json::Value::Null);
}

#[test]
fn a_setting_that_looks_like_a_secret_is_masked() {
    let config = with_dns("[orchestrator.dns.settings]\napi-token = \"hush\"\nregion = \"eu\"").load().unwrap();

    assert_eq!(shown(&config, "orchestrator.dns.settings.api-token").value, "********");
    assert_eq!(shown(&config, "orchestrator.dns.settings.region").value, "eu");
    assert_eq!(config.dns.settings["api-token"], "hush");
}

#[test]
fn a_path_in_a_file_is_relative_to_that_file() {
    let given = with_dns("plugin = \"mine.wasm\"");

    assert_eq!(given.load().unwrap().dns.plugin, Some(given.directory.path().join("mine.wasm")));
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    for (file, expected) in [
        (
            "[orchestrator.dns]\nttl = 60\ncoredns_ulr = \"http://localhost:2379\"",
            "config.toml:3: unknown key \"orchestrator.dns.coredns_ulr\": the nearest known one is \
             \"orchestrator.dns.coredns_url\"",
        ),
        (
            "[dns]\nttl = 60",
            "config.toml:2: unknown key \"dns.ttl\": the nearest known one is \"orchestrator.dns.ttl\"",
        ),
        (
            "[orchestrator.dsn]",
            "config.toml:1: unknown key \"orchestrator.dsn\": the nearest known one is \"orchestrator.dns\"",
        ),
        ("orchestrator = 1", "config.toml:1: orchestrator: 1 is not a table: write [orchestrator] and its keys below"),
    ] {
        assert_eq!(Given::file(file).error(), expected);
    }
    assert_eq!(
        Given::file("").variable("DNS_MANAGER__ORCHESTRATOR__DNS__TTLL", "60").error(),
        "DNS_MANAGER__ORCHESTRATOR__DNS__TTLL: unknown key \"orchestrator.dns.ttll\": the nearest known one is \
         \"DNS_MANAGER__ORCHESTRATOR__DNS__TTL\""
    );
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let error = with_dns("ttl = 0\nauto_register = \"yes\"\nnope = 1")
        .variable("DNS_MANAGER__ORCHESTRATOR__LISTEN", "0.0.0.0:80")
        .error();

    assert_eq!(
        error.lines().collect::<Vec<_>>(),
        [
            "config.toml:4: unknown key \"orchestrator.dns.nope\": the nearest known one is \"orchestrator.dns.zones\"",
            "config.toml:3: orchestrator.dns.auto_register: \"yes\" is neither true nor false",
            "config.toml:2: orchestrator.dns.ttl: 0 is out of range: a TTL is 1 to 2147483647 seconds",
            "DNS_MANAGER__ORCHESTRATOR__LISTEN: orchestrator.listen: \"0.0.0.0:80\" is not a loopback address, and no other is \
             served without access control and TLS: create a token (`dns-manager token create NAME`) and set \
             orchestrator.access.required = true; set orchestrator.tls.certificate and orchestrator.tls.key, or, behind a \
             proxy that speaks TLS, orchestrator.access.allow_plain = true; or write \"127.0.0.1:80\"",
        ]
    );
}

#[test]
fn a_wrong_value_says_what_to_write() {
    for (line, expected) in [
        ("ttl = 2147483648", "orchestrator.dns.ttl: 2147483648 is out of range: a TTL is 1 to 2147483647 seconds"),
        ("ttl = \"60\"", "orchestrator.dns.ttl: \"60\" is not a whole number of seconds: write 300, say"),
        ("zones = \"example.com\"", "orchestrator.dns.zones: \"example.com\" is not a list: write [\"example.com\"]"),
        ("zones = []", "orchestrator.dns.zones: the list is empty: leave the key out instead"),
        ("verify_timeout = 40", "orchestrator.dns.verify_timeout: 40 has no unit: write \"40s\""),
        (
            "nameservers = [\"::1:x\"]",
            "orchestrator.dns.nameservers: \"::1:x\" is not a name server: write host and port, such as \"127.0.0.1:53\"",
        ),
        (
            "owner = \"a b\"",
            "orchestrator.dns.owner: \"a b\" cannot mark what is ours: use at most 63 letters, digits, \"-\", \"_\" and \".\"",
        ),
        (
            "path = \"skydns\"",
            "orchestrator.dns.path: \"skydns\" is not a path: write the one of CoreDNS's etcd plugin, such as \"/skydns\"",
        ),
        (
            "coredns_url = \"localhost:2379\"",
            "orchestrator.dns.coredns_url: \"localhost:2379\" has no scheme: write \"http://localhost:2379\"",
        ),
        (
            "coredns_url = [\"https://etcd-1:2379\", \"http://etcd-2:2379\"]",
            "orchestrator.dns.coredns_url: some URLs are http and some are https: write https for all of them",
        ),
        (
            "settings.ttl = 5",
            "orchestrator.dns.settings.ttl: the plugin is handed this one already: set orchestrator.dns.ttl instead",
        ),
        (
            "tls.ca = \"ca.pem\"",
            "orchestrator.dns.tls.ca: orchestrator.dns.coredns_url is not set: there is nothing that TLS could be for",
        ),
        (
            "credentials.username = \"root\"",
            "orchestrator.dns.credentials.username: orchestrator.dns.coredns_url is not set: there is nothing that \
             credentials could be for",
        ),
        (
            "credentials.password = \"hush\"",
            "unknown key \"orchestrator.dns.credentials.password\": the nearest known one is \
             \"orchestrator.dns.credentials.password_env\"",
        ),
    ] {
        assert_eq!(with_dns(line).error(), format!("config.toml:2: {expected}"));
    }
}

#[test]
fn a_url_with_the_dns_port_is_the_name_server_and_a_warning_says_so() {
    let config = with_dns("coredns_url = \"http://localhost:53\"").load().unwrap();

    assert_eq!(config.backend()[0].to_string(), "http://localhost:2379");
    assert_eq!(config.dns.nameservers, ["localhost:53"]);
    assert_eq!(
        config.warnings,
        [
            "orchestrator.dns.coredns_url: \"http://localhost:53\" is where CoreDNS answers DNS, so it is used as the name \
          server; records are managed at \"http://localhost:2379\": write that URL to end this warning"
        ]
    );
}

#[test]
fn several_urls_are_members_of_one_backend() {
    let config =
        with_dns("coredns_url = [\"http://10.0.0.1:2379\", \"http://10.0.0.2:2379\", \"http://10.0.0.1:2380\"]")
            .load()
            .unwrap();

    assert_eq!(config.backend().len(), 3);
    assert_eq!(config.dns.nameservers, ["10.0.0.1:53", "10.0.0.2:53"]);
}

#[test]
fn without_a_url_the_embedded_default_takes_its_place() {
    let config = Given::file("").load().unwrap();

    assert_eq!(config.backend(), []);
    assert_eq!(config.dns_listen.map(|address| address.to_string()).as_deref(), Some("127.0.0.1:1053"));
    assert_eq!(config.dns.zones.iter().map(Name::as_str).collect::<Vec<_>>(), ["example.com"]);
    assert_eq!(config.dns.nameservers, ["127.0.0.1:1053"]);
    assert_eq!(shown(&config, "orchestrator.dns.zones").value, serde_json::json!(["example.com"]));

    let config = Given::file(
        "[orchestrator.embedded]\ndns_listen = \"127.0.0.1:5353\"\n[orchestrator.dns]\nzones = [\"example.org\"]",
    )
    .load()
    .unwrap();
    assert_eq!(config.dns.nameservers, ["127.0.0.1:5353"]);
    assert_eq!(config.dns.zones.iter().map(Name::as_str).collect::<Vec<_>>(), ["example.org"]);

    let config = with_dns("coredns_url = \"http://localhost:2379\"").load().unwrap();
    assert_eq!(config.dns_listen, None);

    for (listen, expected) in [
        ("0.0.0.0:1053", "is not a loopback address"),
        ("127.0.0.1:0", "has no port"),
        ("localhost", "is not an IP address and port"),
    ] {
        let error = Given::file(&format!("[orchestrator.embedded]\ndns_listen = \"{listen}\"")).error();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_named_file_must_be_there_and_be_toml() {
    assert_eq!(
        Given::file("").variable("DNS_MANAGER_CONFIG", "other.toml").error(),
        "configuration file other.toml: it cannot be read"
    );
    let error = Given::file("[orchestrator]\nlisten = \n").error();
    assert!(error.starts_with("config.toml:2: not TOML: "), "{error}");
}
