//! How the API is served: `[orchestrator.access]`, `[orchestrator.tls]` and `[orchestrator.limits]`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::key;
use super::show::Shown;
use super::value::Value;
use super::{Reader, parse};

const HOUR: Duration = Duration::from_secs(3600);
const MOST_AT_ONCE: usize = 100_000;
const MOST_PER_SECOND: usize = 1_000_000;
const TOKENS: &str = "tokens.json";

/// The table `orchestrator.access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether everybody needs a token.
    pub required: bool,
    /// Whether other addresses than loopback are served without TLS.
    pub allow_plain: bool,
    /// The file of tokens.
    pub tokens: PathBuf,
    /// The file of the audit log; none: it is part of the log.
    pub audit: Option<PathBuf>,
}

/// The table `orchestrator.tls`: the files with which the API is served over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTls {
    /// Our certificate, and those that lead to its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who vouches for clients; none: clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// The table `orchestrator.limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests at work at the same time.
    pub concurrent_requests: usize,
    /// Requests of one token, or of one address without token.
    pub requests_per_second: NonZeroU32,
    /// How many of them may come at once.
    pub burst: NonZeroU32,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long its body may take to arrive.
    pub body_timeout: Duration,
    /// How long what is at work may take to end once the service is told to stop.
    pub stop_timeout: Duration,
}

impl Reader<'_> {
    pub(super) fn access(&mut self, data_dir: Option<&Path>) -> Option<Access> {
        let required = self.take(&key::ACCESS_REQUIRED, parse::switch);
        let allow_plain = self.take(&key::ACCESS_ALLOW_PLAIN, parse::switch);
        let tokens = if self.collection.known.contains_key(key::ACCESS_TOKENS.path) {
            self.take_path(&key::ACCESS_TOKENS)
        } else {
            let tokens = data_dir.map(|data_dir| data_dir.join(TOKENS));
            let shown =
                tokens.iter().map(|path| Shown::derived(key::ACCESS_TOKENS.path, path.display().to_string().into()));
            self.shown.extend(shown);
            tokens
        };
        let audit = self.take_path(&key::ACCESS_AUDIT);
        Some(Access { required: required?, allow_plain: allow_plain?, tokens: tokens?, audit })
    }

    pub(super) fn own_tls(&mut self) -> Option<OwnTls> {
        let certificate = self.take_path(&key::OWN_CERTIFICATE);
        let own_key = self.take_path(&key::OWN_KEY);
        let client_ca = self.take_path(&key::OWN_CLIENT_CA);
        match (certificate, own_key) {
            (Some(certificate), Some(key)) => Some(OwnTls { certificate, key, client_ca }),
            (Some(_), None) => {
                let why = format!("{} is not set: a certificate is used with its key", key::OWN_KEY.path);
                self.wrong(&key::OWN_CERTIFICATE, why);
                None
            }
            (None, Some(_)) => {
                let why = format!("{} is not set: a key is used with its certificate", key::OWN_CERTIFICATE.path);
                self.wrong(&key::OWN_KEY, why);
                None
            }
            (None, None) => {
                if client_ca.is_some() {
                    let [certificate, own] = [key::OWN_CERTIFICATE.path, key::OWN_KEY.path];
                    let why = format!("clients show certificates over TLS alone: set {certificate} and {own}, too");
                    self.wrong(&key::OWN_CLIENT_CA, why);
                }
                None
            }
        }
    }

    pub(super) fn limits(&mut self) -> Option<Limits> {
        let concurrent_requests = self.take(&key::CONCURRENT_REQUESTS, |value| parse::number(value, 1..=MOST_AT_ONCE));
        let requests_per_second = self.take(&key::REQUESTS_PER_SECOND, rate);
        let burst = self.take(&key::BURST, rate);
        let request_timeout = self.take(&key::REQUEST_TIMEOUT, |value| parse::duration(value, "60s", HOUR));
        let body_timeout = self.take(&key::BODY_TIMEOUT, |value| parse::duration(value, "30s", HOUR));
        let stop_timeout = self.take(&key::STOP_TIMEOUT, |value| parse::duration(value, "10s", HOUR));
        Some(Limits {
            concurrent_requests: concurrent_requests?,
            requests_per_second: requests_per_second?,
            burst: burst?,
            request_timeout: request_timeout?,
            body_timeout: body_timeout?,
            stop_timeout: stop_timeout?,
        })
    }

    /// Other addresses than loopback are served with access control alone.
    pub(super) fn protected(&mut self, listen: Option<SocketAddr>, access: Option<&Access>, has_tls: bool) {
        let (Some(listen), Some(access)) = (listen, access) else { return };
        let mut missing = Vec::new();
        if !access.required {
            missing.push(format!(
                "create a token (`dns-manager token create NAME`) and set {} = true",
                key::ACCESS_REQUIRED.path
            ));
        }
        if !has_tls && !access.allow_plain {
            missing.push(format!(
                "set {} and {}, or, behind a proxy that speaks TLS, {} = true",
                key::OWN_CERTIFICATE.path,
                key::OWN_KEY.path,
                key::ACCESS_ALLOW_PLAIN.path
            ));
        }
        if listen.ip().is_loopback() || missing.is_empty() {
            return;
        }
        let why = format!(
            "\"{listen}\" is not a loopback address, and no other is served without access control and TLS: {}; or write \
             \"127.0.0.1:{}\"",
            missing.join("; "),
            listen.port()
        );
        self.wrong(&key::LISTEN, why);
    }
}

fn rate(value: &Value) -> Result<NonZeroU32, String> {
    let number = parse::number(value, 1..=MOST_PER_SECOND)?;
    // The range above fits.
    u32::try_from(number).ok().and_then(NonZeroU32::new).ok_or_else(|| format!("{number} is out of range"))
}
