//! The table of all configuration keys, the one place that knows them.

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A file or directory; in a configuration file, relative to the directory of that file.
    Path,
    Number,
    Switch,
    List,
    /// One text or several.
    TextOrList,
}

/// What holds when nobody sets a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fallback {
    Text(&'static str),
    Number(i64),
    Switch(bool),
    /// Nothing, or something that follows from other settings.
    Absent,
}

/// One configuration key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) fallback: Fallback,
}

pub(super) const LISTEN: Key = text("orchestrator.listen", Fallback::Text("127.0.0.1:8080"));
pub(super) const DATA_DIR: Key = Key { path: "orchestrator.data_dir", kind: Kind::Path, fallback: Fallback::Absent };
pub(super) const DOMAIN: Key = text("orchestrator.domain", Fallback::Absent);
pub(super) const EMBEDDED_DNS_LISTEN: Key = text("orchestrator.embedded.dns_listen", Fallback::Text("127.0.0.1:1053"));
pub(super) const COREDNS_URL: Key =
    Key { path: "orchestrator.dns.coredns_url", kind: Kind::TextOrList, fallback: Fallback::Absent };
pub(super) const AUTO_REGISTER: Key =
    Key { path: "orchestrator.dns.auto_register", kind: Kind::Switch, fallback: Fallback::Switch(true) };
pub(super) const PTR: Key = Key { path: "orchestrator.dns.ptr", kind: Kind::Switch, fallback: Fallback::Switch(false) };
pub(super) const TTL: Key = Key { path: "orchestrator.dns.ttl", kind: Kind::Number, fallback: Fallback::Number(300) };
pub(super) const ZONES: Key = Key { path: "orchestrator.dns.zones", kind: Kind::List, fallback: Fallback::Absent };
pub(super) const NAMESERVERS: Key =
    Key { path: "orchestrator.dns.nameservers", kind: Kind::List, fallback: Fallback::Absent };
pub(super) const OWNER: Key = text("orchestrator.dns.owner", Fallback::Text("default"));
pub(super) const SKYDNS_PATH: Key = text("orchestrator.dns.path", Fallback::Text("/skydns"));
pub(super) const VERIFY_TIMEOUT: Key = text("orchestrator.dns.verify_timeout", Fallback::Text("40s"));
pub(super) const PLUGIN: Key = Key { path: "orchestrator.dns.plugin", kind: Kind::Path, fallback: Fallback::Absent };
pub(super) const TLS_CA: Key = file("orchestrator.dns.tls.ca");
pub(super) const TLS_CERTIFICATE: Key = file("orchestrator.dns.tls.certificate");
pub(super) const TLS_KEY: Key = file("orchestrator.dns.tls.key");
pub(super) const USERNAME: Key = text("orchestrator.dns.credentials.username", Fallback::Absent);
pub(super) const PASSWORD_FILE: Key = file("orchestrator.dns.credentials.password_file");
pub(super) const PASSWORD_ENV: Key = text("orchestrator.dns.credentials.password_env", Fallback::Absent);
pub(super) const PROVIDER_KIND: Key = text("orchestrator.provider.kind", Fallback::Text("static"));
pub(super) const INVENTORY_KIND: Key = text("orchestrator.inventory.kind", Fallback::Text("embedded"));
pub(super) const INVENTORY_URLS: Key =
    Key { path: "orchestrator.inventory.urls", kind: Kind::TextOrList, fallback: Fallback::Absent };
pub(super) const INVENTORY_PATH: Key = text("orchestrator.inventory.path", Fallback::Text("/dns-manager"));
pub(super) const INVENTORY_TLS_CA: Key = file("orchestrator.inventory.tls.ca");
pub(super) const INVENTORY_TLS_CERTIFICATE: Key = file("orchestrator.inventory.tls.certificate");
pub(super) const INVENTORY_TLS_KEY: Key = file("orchestrator.inventory.tls.key");
pub(super) const INVENTORY_USERNAME: Key = text("orchestrator.inventory.credentials.username", Fallback::Absent);
pub(super) const INVENTORY_PASSWORD_FILE: Key = file("orchestrator.inventory.credentials.password_file");
pub(super) const INVENTORY_PASSWORD_ENV: Key =
    text("orchestrator.inventory.credentials.password_env", Fallback::Absent);
pub(super) const PROVIDER_PROGRAM: Key = file("orchestrator.provider.program");
pub(super) const PROVIDER_ARGUMENTS: Key =
    Key { path: "orchestrator.provider.arguments", kind: Kind::List, fallback: Fallback::Absent };
pub(super) const PROVIDER_ENVIRONMENT: Key =
    Key { path: "orchestrator.provider.environment", kind: Kind::List, fallback: Fallback::Absent };
pub(super) const PROVIDER_TIMEOUT: Key = text("orchestrator.provider.timeout", Fallback::Text("60s"));
pub(super) const PROVIDER_STATUS_TIMEOUT: Key = text("orchestrator.provider.status_timeout", Fallback::Text("10s"));
pub(super) const PROVIDER_PROBES: Key =
    Key { path: "orchestrator.provider.probes", kind: Kind::List, fallback: Fallback::Absent };
pub(super) const READY_TIMEOUT: Key = text("orchestrator.workflow.ready_timeout", Fallback::Text("5m"));
pub(super) const RETRY_FOR: Key = text("orchestrator.workflow.retry_for", Fallback::Text("10m"));
pub(super) const IN_FLIGHT: Key =
    Key { path: "orchestrator.workflow.in_flight", kind: Kind::Number, fallback: Fallback::Number(32) };
pub(super) const RECONCILE_EVERY: Key = text("orchestrator.reconcile.every", Fallback::Text("5m"));
pub(super) const RECONCILE_PUT_BACK: Key =
    Key { path: "orchestrator.reconcile.put_back", kind: Kind::Switch, fallback: Fallback::Switch(false) };
pub(super) const ACCESS_REQUIRED: Key =
    Key { path: "orchestrator.access.required", kind: Kind::Switch, fallback: Fallback::Switch(false) };
pub(super) const ACCESS_ALLOW_PLAIN: Key =
    Key { path: "orchestrator.access.allow_plain", kind: Kind::Switch, fallback: Fallback::Switch(false) };
pub(super) const ACCESS_TOKENS: Key = file("orchestrator.access.tokens");
pub(super) const ACCESS_AUDIT: Key = file("orchestrator.access.audit");
pub(super) const OWN_CERTIFICATE: Key = file("orchestrator.tls.certificate");
pub(super) const OWN_KEY: Key = file("orchestrator.tls.key");
pub(super) const OWN_CLIENT_CA: Key = file("orchestrator.tls.client_ca");
pub(super) const CONCURRENT_REQUESTS: Key =
    Key { path: "orchestrator.limits.concurrent_requests", kind: Kind::Number, fallback: Fallback::Number(512) };
pub(super) const REQUESTS_PER_SECOND: Key =
    Key { path: "orchestrator.limits.requests_per_second", kind: Kind::Number, fallback: Fallback::Number(500) };
pub(super) const BURST: Key =
    Key { path: "orchestrator.limits.burst", kind: Kind::Number, fallback: Fallback::Number(2000) };
pub(super) const REQUEST_TIMEOUT: Key = text("orchestrator.limits.request_timeout", Fallback::Text("60s"));
pub(super) const STOP_TIMEOUT: Key = text("orchestrator.limits.stop_timeout", Fallback::Text("10s"));
pub(super) const BODY_TIMEOUT: Key = text("orchestrator.limits.body_timeout", Fallback::Text("30s"));
pub(super) const LOG_FORMAT: Key = text("orchestrator.log.format", Fallback::Text("text"));
pub(super) const OTLP_ENDPOINT: Key = text("orchestrator.telemetry.otlp_endpoint", Fallback::Absent);
pub(super) const LOG_FILTER: Key = text("orchestrator.log.filter", Fallback::Text("info,hickory_server=warn"));

/// The keys that say how one etcd is entered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entrance {
    /// The table of the next three.
    pub(super) tls: &'static str,
    pub(super) ca: &'static Key,
    pub(super) certificate: &'static Key,
    pub(super) key: &'static Key,
    pub(super) username: &'static Key,
    pub(super) password_file: &'static Key,
    pub(super) password_env: &'static Key,
}

/// That of the records.
pub(super) const RECORDS: Entrance = Entrance {
    tls: "orchestrator.dns.tls",
    ca: &TLS_CA,
    certificate: &TLS_CERTIFICATE,
    key: &TLS_KEY,
    username: &USERNAME,
    password_file: &PASSWORD_FILE,
    password_env: &PASSWORD_ENV,
};

/// That of the inventory.
pub(super) const INVENTORY: Entrance = Entrance {
    tls: "orchestrator.inventory.tls",
    ca: &INVENTORY_TLS_CA,
    certificate: &INVENTORY_TLS_CERTIFICATE,
    key: &INVENTORY_TLS_KEY,
    username: &INVENTORY_USERNAME,
    password_file: &INVENTORY_PASSWORD_FILE,
    password_env: &INVENTORY_PASSWORD_ENV,
};

/// Every key, in the order in which people are shown them.
pub(super) const KEYS: &[&Key] = &[
    &LISTEN,
    &DATA_DIR,
    &DOMAIN,
    &EMBEDDED_DNS_LISTEN,
    &COREDNS_URL,
    &AUTO_REGISTER,
    &PTR,
    &TTL,
    &ZONES,
    &NAMESERVERS,
    &OWNER,
    &SKYDNS_PATH,
    &VERIFY_TIMEOUT,
    &PLUGIN,
    &TLS_CA,
    &TLS_CERTIFICATE,
    &TLS_KEY,
    &USERNAME,
    &PASSWORD_FILE,
    &PASSWORD_ENV,
    &PROVIDER_KIND,
    &INVENTORY_KIND,
    &INVENTORY_URLS,
    &INVENTORY_PATH,
    &INVENTORY_TLS_CA,
    &INVENTORY_TLS_CERTIFICATE,
    &INVENTORY_TLS_KEY,
    &INVENTORY_USERNAME,
    &INVENTORY_PASSWORD_FILE,
    &INVENTORY_PASSWORD_ENV,
    &PROVIDER_PROGRAM,
    &PROVIDER_ARGUMENTS,
    &PROVIDER_ENVIRONMENT,
    &PROVIDER_TIMEOUT,
    &PROVIDER_STATUS_TIMEOUT,
    &PROVIDER_PROBES,
    &READY_TIMEOUT,
    &RETRY_FOR,
    &IN_FLIGHT,
    &RECONCILE_EVERY,
    &RECONCILE_PUT_BACK,
    &ACCESS_REQUIRED,
    &ACCESS_ALLOW_PLAIN,
    &ACCESS_TOKENS,
    &ACCESS_AUDIT,
    &OWN_CERTIFICATE,
    &OWN_KEY,
    &OWN_CLIENT_CA,
    &CONCURRENT_REQUESTS,
    &REQUESTS_PER_SECOND,
    &BURST,
    &REQUEST_TIMEOUT,
    &BODY_TIMEOUT,
    &STOP_TIMEOUT,
    &LOG_FORMAT,
    &LOG_FILTER,
    &OTLP_ENDPOINT,
];

/// The tables that hold them.
const TABLES: &[&str] = &[
    "orchestrator",
    "orchestrator.dns",
    "orchestrator.dns.tls",
    "orchestrator.dns.credentials",
    SETTINGS,
    "orchestrator.provider",
    "orchestrator.embedded",
    "orchestrator.inventory",
    "orchestrator.inventory.tls",
    "orchestrator.inventory.credentials",
    "orchestrator.workflow",
    "orchestrator.reconcile",
    "orchestrator.access",
    "orchestrator.tls",
    "orchestrator.limits",
    "orchestrator.log",
    "orchestrator.telemetry",
];

/// The table whose keys are free: each is handed to the plugin as it is.
pub(super) const SETTINGS: &str = "orchestrator.dns.settings";

const fn text(path: &'static str, fallback: Fallback) -> Key {
    Key { path, kind: Kind::Text, fallback }
}

const fn file(path: &'static str) -> Key {
    Key { path, kind: Kind::Path, fallback: Fallback::Absent }
}

/// The key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().copied().find(|key| key.path == path)
}

/// Whether `path` is a table that holds keys.
pub(super) fn is_table(path: &str) -> bool {
    TABLES.contains(&path)
}

/// The known key that somebody who wrote `path` most likely meant.
pub(super) fn nearest(path: &str) -> &'static str {
    nearest_of(path, KEYS.iter().map(|key| key.path))
}

/// The known table that somebody who wrote `path` most likely meant.
pub(super) fn nearest_table(path: &str) -> &'static str {
    nearest_of(path, TABLES.iter().copied())
}

/// One of the right name in the wrong table comes before one with a similar spelling.
fn nearest_of(path: &str, known: impl Iterator<Item = &'static str>) -> &'static str {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().trim_matches('"').to_owned();
    known.min_by_key(|known| (last(known) != last(path), strsim::damerau_levenshtein(known, path))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (written, meant) in [
            ("orchestrator.dns.tttl", "orchestrator.dns.ttl"),
            ("orchestrator.dns.coredns_ulr", "orchestrator.dns.coredns_url"),
            ("orchestrator.ttl", "orchestrator.dns.ttl"),
            ("dns.ttl", "orchestrator.dns.ttl"),
            ("\"orchestrator.dns.ttl\"", "orchestrator.dns.ttl"),
            ("orchestrator.dns.domain", "orchestrator.domain"),
            ("orchestrator.dns.auto-register", "orchestrator.dns.auto_register"),
            ("orchestrator.dns.verify_time", "orchestrator.dns.verify_timeout"),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
    }
}
