//! `coredns_url`: where the records are managed, and what it says about the name server.

use std::fmt;

use reqwest::Url;

/// Where DNS questions are answered.
pub(super) const DNS_PORT: u16 = 53;
/// Where etcd's gateway listens unless told otherwise.
const ETCD_PORT: u16 = 2379;

/// The base URL of one member of the backend: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    secure: bool,
    /// An IPv6 address stands in brackets, as in a URL.
    host: String,
    port: u16,
}

impl Endpoint {
    /// The name server that goes with it, unless others are configured.
    pub(super) fn nameserver(&self) -> String {
        format!("{}:{DNS_PORT}", self.host)
    }

    /// Whether it is https.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The same with https.
    pub(super) fn secured(&self) -> Self {
        Self { secure: true, ..self.clone() }
    }

    /// Whether it is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        address.map_or(self.host == "localhost", |address| address.is_loopback())
    }

    /// The port-53 rule: a URL with the DNS port says where CoreDNS answers; the records are managed beside it.
    ///
    /// Returns what to use instead, if the rule applies.
    pub(super) fn beside_dns_port(&self) -> Option<Self> {
        (self.port == DNS_PORT).then(|| Self { port: ETCD_PORT, ..self.clone() })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// Reads a URL; the error says what is wrong with it and what to write.
pub(super) fn parse(text: &str) -> Result<Endpoint, String> {
    if text.contains('@') {
        // The text is not repeated: it holds a secret.
        return Err("a URL with a user name or password is not accepted: secrets do not belong here".to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("\"{text}\" has no scheme: write \"http://{text}\""));
    };
    let secure = scheme.eq_ignore_ascii_case("https");
    if !secure && !scheme.eq_ignore_ascii_case("http") {
        return Err(format!("\"{text}\": the scheme \"{scheme}\" is not known: write \"http://{rest}\""));
    }
    let url = Url::parse(text).map_err(|error| format!("\"{text}\" is not a URL: {error}"))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(ETCD_PORT);
    let endpoint = Endpoint { secure, host, port };
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("\"{text}\" has more than scheme, host and port: write \"{endpoint}\""));
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_reduced_to_scheme_host_and_port() {
        for (text, expected) in [
            ("http://localhost:2379", "http://localhost:2379"),
            ("http://localhost:2379/", "http://localhost:2379"),
            ("HTTP://ETCD.example.com", "http://etcd.example.com:80"),
            ("http://[::1]:2379", "http://[::1]:2379"),
            ("https://etcd-1:2379", "https://etcd-1:2379"),
            ("HTTPS://etcd", "https://etcd:443"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_what_to_write() {
        for (text, expected) in [
            ("localhost:2379", "\"localhost:2379\" has no scheme: write \"http://localhost:2379\""),
            (
                "https://etcd:2379/v3",
                "\"https://etcd:2379/v3\" has more than scheme, host and port: write \"https://etcd:2379\"",
            ),
            ("ftp://etcd:21", "\"ftp://etcd:21\": the scheme \"ftp\" is not known: write \"http://etcd:21\""),
            (
                "http://etcd:2379/v3",
                "\"http://etcd:2379/v3\" has more than scheme, host and port: write \"http://etcd:2379\"",
            ),
            (
                "http://root:secret@etcd:2379",
                "a URL with a user name or password is not accepted: secrets do not belong here",
            ),
            ("http://", "\"http://\" is not a URL: empty host"),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
    }
}
