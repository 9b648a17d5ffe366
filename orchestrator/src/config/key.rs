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
pub(super) const COREDNS_URL: Key =
    Key { path: "orchestrator.dns.coredns_url", kind: Kind::TextOrList, fallback: Fallback::Absent };
pub(super) const AUTO_REGISTER: Key =
    Key { path: "orchestrator.dns.auto_register", kind: Kind::Switch, fallback: Fallback::Switch(true) };
pub(super) const TTL: Key = Key { path: "orchestrator.dns.ttl", kind: Kind::Number, fallback: Fallback::Number(300) };
pub(super) const ZONES: Key = Key { path: "orchestrator.dns.zones", kind: Kind::List, fallback: Fallback::Absent };
pub(super) const NAMESERVERS: Key =
    Key { path: "orchestrator.dns.nameservers", kind: Kind::List, fallback: Fallback::Absent };
pub(super) const OWNER: Key = text("orchestrator.dns.owner", Fallback::Text("default"));
pub(super) const SKYDNS_PATH: Key = text("orchestrator.dns.path", Fallback::Text("/skydns"));
pub(super) const VERIFY_TIMEOUT: Key = text("orchestrator.dns.verify_timeout", Fallback::Text("40s"));
pub(super) const PLUGIN: Key = Key { path: "orchestrator.dns.plugin", kind: Kind::Path, fallback: Fallback::Absent };
pub(super) const PROVIDER_KIND: Key = text("orchestrator.provider.kind", Fallback::Text("static"));

/// Every key, in the order in which people are shown them.
pub(super) const KEYS: [&Key; 13] = [
    &LISTEN,
    &DATA_DIR,
    &DOMAIN,
    &COREDNS_URL,
    &AUTO_REGISTER,
    &TTL,
    &ZONES,
    &NAMESERVERS,
    &OWNER,
    &SKYDNS_PATH,
    &VERIFY_TIMEOUT,
    &PLUGIN,
    &PROVIDER_KIND,
];

/// The tables that hold them.
const TABLES: [&str; 4] = ["orchestrator", "orchestrator.dns", SETTINGS, "orchestrator.provider"];

/// The table whose keys are free: each is handed to the plugin as it is.
pub(super) const SETTINGS: &str = "orchestrator.dns.settings";

/// Tables of the architecture that this version does not know yet, and what to do instead.
const RESERVED: [(&str, &str); 3] = [
    ("orchestrator.dns.tls", "TLS to the DNS backend is not available yet: remove it and use an http URL"),
    ("orchestrator.dns.credentials", "credentials for the DNS backend are not available yet: remove it"),
    (
        "orchestrator.embedded",
        "the embedded default is not available yet: remove it and set orchestrator.dns.coredns_url",
    ),
];

const fn text(path: &'static str, fallback: Fallback) -> Key {
    Key { path, kind: Kind::Text, fallback }
}

/// The key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.into_iter().find(|key| key.path == path)
}

/// Why this path, in a reserved table, cannot be used yet.
pub(super) fn reserved(path: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|(table, _)| is_within(path, table)).map(|(_, why)| why)
}

/// Whether `path` is a table that holds keys.
pub(super) fn is_table(path: &str) -> bool {
    TABLES.contains(&path)
}

/// Whether `path` is `table` or lies in it.
pub(super) fn is_within(path: &str, table: &str) -> bool {
    path.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The known key that somebody who wrote `path` most likely meant.
pub(super) fn nearest(path: &str) -> &'static str {
    nearest_of(path, KEYS.into_iter().map(|key| key.path))
}

/// The known table that somebody who wrote `path` most likely meant.
pub(super) fn nearest_table(path: &str) -> &'static str {
    nearest_of(path, TABLES.into_iter())
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
