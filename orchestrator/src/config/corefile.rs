//! The block of a Corefile with which CoreDNS serves what is written with these settings.

use super::Config;
use super::endpoint::{DNS_PORT, Endpoint};

/// Stands where the operator has to write the zone.
const NO_ZONE: &str = "example.com";

impl Config {
    /// The block of CoreDNS's Corefile that fits these settings.
    ///
    /// ```text
    /// example.com {
    ///     errors
    ///     etcd {
    ///         path /skydns
    ///         endpoint http://localhost:2379
    ///     }
    /// }
    /// ```
    pub fn corefile(&self) -> String {
        let mut text = String::new();
        if self.dns.backend.is_empty() {
            text.push_str(
                "# orchestrator.dns.coredns_url is not set: names are answered by dns-manager itself, and no CoreDNS is needed.\n",
            );
            return text;
        }
        let mut zones: Vec<&str> = self.dns.zones.iter().map(crate::name::Name::as_str).collect();
        if zones.is_empty() {
            text.push_str("# orchestrator.dns.zones is not set: write your zones in place of example.com.\n");
            zones.push(NO_ZONE);
        }
        let port = self.port();
        let heads: Vec<String> = zones
            .iter()
            .map(|zone| if port == DNS_PORT { (*zone).to_owned() } else { format!("{zone}:{port}") })
            .collect();
        let endpoints: Vec<String> = self.dns.backend.iter().map(ToString::to_string).collect();
        text.push_str(&format!("{} {{\n    errors\n    etcd {{\n", heads.join(" ")));
        text.push_str(&format!("        path {}\n        endpoint {}\n", self.dns.path, endpoints.join(" ")));
        if let Some(line) = self.corefile_tls() {
            text.push_str(&format!("        {line}\n"));
        }
        if let Some(credentials) = &self.dns.credentials {
            // CoreDNS needs to read only; whoever sets that up may give it a user of its own.
            text.push_str(&format!("        credentials {} {{$ETCD_PASSWORD}}\n", word(&credentials.username)));
        }
        text.push_str("    }\n}\n");
        if self.dns.credentials.is_some() {
            text.push_str("# Start CoreDNS with the user's password in the environment variable ETCD_PASSWORD.\n");
        }
        text
    }

    /// `tls [CERTIFICATE KEY] [CA]`, of https URLs.
    fn corefile_tls(&self) -> Option<String> {
        let is_secure = self.dns.backend.iter().any(Endpoint::is_secure);
        let mut words = vec!["tls".to_owned()];
        if let Some(tls) = &self.dns.tls {
            let identity = tls.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
            words.extend(identity.chain(&tls.ca).map(|path| word(&path.display().to_string())));
        }
        is_secure.then(|| words.join(" "))
    }

    /// Where CoreDNS is asked: the port of the first name server.
    fn port(&self) -> u16 {
        let first = self.dns.nameservers.first().and_then(|server| server.rsplit_once(':'));
        first.and_then(|(_, port)| port.parse().ok()).unwrap_or(DNS_PORT)
    }
}

/// As one word of a Corefile, whose lexer is Caddy's: in quotes where it needs them, and only a quote is escaped there.
fn word(text: &str) -> String {
    let is_plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "\"#{}".contains(c));
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\\\"")) }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::environment::Environment;

    fn corefile(lines: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, lines).unwrap();
        std::fs::write(folder.path().join("password"), "secret").unwrap();
        let variables = [("HOME".to_owned(), "/home/nobody".to_owned())].into();
        let environment = Environment { variables, directory: folder.path().to_owned(), ..Default::default() };
        Config::load(Some(&file), &environment).unwrap().corefile()
    }

    #[test]
    fn the_block_has_what_the_settings_say() {
        assert_eq!(
            corefile(
                "[orchestrator.dns]\ncoredns_url = [\"https://a:2379\", \"https://b:2379\"]\nzones = [\"example.com\", \
                 \"10.in-addr.arpa\"]\nnameservers = [\"127.0.0.1:1053\"]\npath = \"/dns\"\n[orchestrator.dns.credentials]\n\
                 username = \"writer\"\npassword_file = \"password\"\n"
            ),
            "example.com:1053 10.in-addr.arpa:1053 {\n    errors\n    etcd {\n        path /dns\n        endpoint https://a:2379 \
             https://b:2379\n        tls\n        credentials writer {$ETCD_PASSWORD}\n    }\n}\n# Start CoreDNS with the user's \
             password in the environment variable ETCD_PASSWORD.\n"
        );
        assert_eq!(super::word("/etc/my certificates/#1 \"ca\".pem"), "\"/etc/my certificates/#1 \\\"ca\\\".pem\"");
        let without_zones = corefile("[orchestrator.dns]\ncoredns_url = \"http://localhost:2379\"\n");
        assert!(without_zones.starts_with("# orchestrator.dns.zones is not set"), "{without_zones}");
        assert!(without_zones.contains("\nexample.com {\n"), "{without_zones}");
        assert!(corefile("").contains("no CoreDNS is needed"));
    }
}
