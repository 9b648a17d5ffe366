//! A service that a command was told to go to, by its URL.

use std::net::IpAddr;
use std::time::Duration;

use dns_manager_host::{Tls, TlsError};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::fault::{self, Fault};
use super::{Error, Remote, send};
use crate::client;

/// A machine far away, over a slow line.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
/// A little more than the service is asked to wait for at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(630);
/// After so long without a word, the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where a service is, who asks, and whom a certificate has to be of.
#[derive(Clone)]
pub struct Target {
    base: Url,
    token: Option<HeaderValue>,
    tls: Tls,
    /// The file of the authorities; none: those of the system.
    ca: Option<String>,
}

#[derive(Deserialize)]
struct Health {
    /// An older one does not say.
    version: Option<String>,
}

impl Target {
    /// Reads a base URL, and a token as it stands in its file. A certificate has to be of an authority that the system trusts.
    ///
    /// # Errors
    ///
    /// It is no such URL, or no such token.
    pub fn parse(url: &str, token: Option<&str>) -> Result<Self, ConnectError> {
        // What may hold a secret is not repeated.
        let shown = if url.contains('@') { "URL" } else { url };
        let wrong = |why: &str| ConnectError::Url { url: shown.to_owned(), why: why.to_owned() };
        let base = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none_or(str::is_empty) {
            return Err(wrong("it does not begin with http:// or https:// and a host"));
        }
        if base.query().is_some() || base.fragment().is_some() || url.contains('@') {
            return Err(wrong("a base URL has no query, fragment or user"));
        }
        let token = token.map(|token| bearer(token).ok_or(ConnectError::Token)).transpose()?;
        let tls = if base.scheme() == "https" { Tls::default() } else { Tls::nobody() };
        Ok(Self { base, token, tls, ca: None })
    }

    /// The same, whose certificate has to be of an authority in this file, which holds `pem`.
    ///
    /// # Errors
    ///
    /// There is no authority in it, or nothing that one could have issued.
    pub fn trusting(self, file: &str, pem: &[u8]) -> Result<Self, ConnectError> {
        let file = file.to_owned();
        if !self.is_secure() {
            let instead = fault::with_scheme(&self.base, "https");
            return Err(ConnectError::NothingToTrust { file, url: self.base.to_string(), instead });
        }
        match Tls::default().authorities(pem) {
            Ok(tls) => Ok(Self { tls, ca: Some(file), ..self }),
            Err(why) => Err(ConnectError::Ca { file, why }),
        }
    }

    /// Whether a certificate is to be shown.
    pub fn is_secure(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// That others can read the token on its way, if they can.
    pub fn warning(&self) -> Option<String> {
        (self.token.is_some() && !self.is_secure() && !self.is_here()).then(|| {
            format!(
                "--server: the token goes to {} in clear text, for everybody on the way to read: use https",
                self.base
            )
        })
    }

    /// Whether it is this machine.
    fn is_here(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host.parse::<IpAddr>().map_or(host == "localhost", |address| address.to_canonical().is_loopback())
    }

    /// What is wrong with an answer, or why there is none.
    async fn why(&self, error: Error) -> ConnectError {
        let found = match &error {
            Error::Away(source) if self.is_secure() => fault::of(source, &self.base, self.ca.as_deref()),
            // Who waits for a TLS handshake closes the connection at the first word, or answers with what is no HTTP.
            Error::Away(source) if !source.is_connect() && self.speaks_tls().await => {
                Some(fault::wants_tls(&self.base))
            }
            // Some proxies understand, and answer with a page that says so.
            Error::Stranger { .. } if !self.is_secure() && self.speaks_tls().await => {
                Some(fault::wants_tls(&self.base))
            }
            _ => None,
        };
        match (found, error) {
            (Some(Fault { why, remedy }), _) => ConnectError::Secure { url: self.base.to_string(), why, remedy },
            (None, Error::Away(source)) => ConnectError::Away { url: self.base.to_string(), source },
            (None, error) => ConnectError::Service(error),
        }
    }

    /// Whether somebody shows a certificate there. Nothing is asked of him: none is trusted.
    async fn speaks_tls(&self) -> bool {
        let Some(client) = client::plain().ok().and_then(|client| self.reached(client).build().ok()) else {
            return false;
        };
        let asked = client.get(fault::with_scheme(&self.base, "https")).timeout(HEALTH_TIMEOUT).send().await;
        asked.is_err_and(|error| fault::has_shown_a_certificate(&error))
    }

    fn reached(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        // A token is for this service alone.
        let client = client.connect_timeout(CONNECT_TIMEOUT).redirect(reqwest::redirect::Policy::none());
        // A proxy for the rest of the world is none for this machine.
        if self.is_here() { client.no_proxy() } else { client }
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let token = token.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Remote {
    /// The service at a URL, which is asked whether it is one; and what deserves a look.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or somebody else.
    pub async fn connect(target: &Target) -> Result<(Self, Option<String>), ConnectError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &target.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let client = client::trusting(&target.tls).map_err(ConnectError::NobodyTrusted)?;
        let client = target.reached(client).timeout(ANSWER_TIMEOUT).tcp_keepalive(KEEPALIVE).default_headers(headers);
        let client = client.build().map_err(|source| ConnectError::Away { url: target.base.to_string(), source })?;
        let remote = Self { client, base: target.base.clone() };
        let request = remote.client.get(remote.url(["healthz"])).timeout(HEALTH_TIMEOUT);
        let health: Health = match send(request).await {
            Ok(health) => health,
            Err(error) => return Err(target.why(error).await),
        };
        let own = env!("CARGO_PKG_VERSION");
        let warning = health.version.filter(|version| version != own).map(|version| {
            format!(
                "{}: the service is version {version}, and this command {own}: use the same version of both",
                target.base
            )
        });
        Ok((remote, warning))
    }
}

/// Why a command does not reach the service that it was told to go to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It is no base URL.
    #[error("--server: \"{url}\": {why}: write http://HOST:PORT or https://HOST:PORT, as `dns-manager serve` shows it")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// What is in the file is none.
    #[error(
        "the token is empty, or more than one word: `dns-manager token create` shows it once; put that into the file alone"
    )]
    Token,
    /// A file cannot be read.
    #[error("{option}: {file} cannot be read: correct the path, or its permissions")]
    File {
        /// What names it.
        option: &'static str,
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file has no authorities.
    #[error("--ca: {file}: {why}: name the file of the authority that issued the service's certificate")]
    Ca {
        /// Which.
        file: String,
        /// Why.
        why: TlsError,
    },
    /// Authorities, and nothing that they could have issued.
    #[error(
        "--ca: {file} is for https, and --server is \"{url}\", which has no certificate: write {instead} if the service \
         has TLS, else leave --ca out"
    )]
    NothingToTrust {
        /// The file.
        file: String,
        /// The URL.
        url: String,
        /// The same place with https.
        instead: String,
    },
    /// The system has no authorities.
    #[error("--server: {0}: give the file of the authority that issued the service's certificate by --ca")]
    NobodyTrusted(String),
    /// TLS, or its absence, is in the way.
    #[error("--server: {url}: {why}: {remedy}")]
    Secure {
        /// Where.
        url: String,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// Nobody answers.
    #[error("nobody answers at {url}: start `dns-manager serve` there, or correct --server or $DNS_MANAGER_SERVER")]
    Away {
        /// Where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// Somebody does who is no such service, or who does not let us in.
    #[error(transparent)]
    Service(#[from] Error),
}

impl ConnectError {
    /// Whether arguments have to be changed, whatever the service does.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Self::Url { .. }
            | Self::Token
            | Self::File { .. }
            | Self::Ca { .. }
            | Self::NothingToTrust { .. }
            | Self::NobodyTrusted(_) => true,
            Self::Secure { .. } | Self::Away { .. } | Self::Service(_) => false,
        }
    }
}
