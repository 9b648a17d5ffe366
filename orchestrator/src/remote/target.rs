//! A service that a command was told to go to, by its URL.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::{Error, Remote, send};

/// A machine far away, over a slow line.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
/// A little more than the service is asked to wait for at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(630);
/// After so long without a word, the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Where a service is, and who asks.
#[derive(Clone)]
pub struct Target {
    base: Url,
    token: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Health {
    /// An older one does not say.
    version: Option<String>,
}

impl Target {
    /// Reads a base URL, and a token as it stands in its file.
    ///
    /// # Errors
    ///
    /// It is no such URL, or no such token.
    pub fn parse(url: &str, token: Option<&str>) -> Result<Self, ConnectError> {
        let wrong = |why: &str| ConnectError::Url { url: url.to_owned(), why: why.to_owned() };
        let base = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if base.scheme() == "https" {
            return Err(wrong(
                "TLS is not spoken by this version: go through a tunnel, `ssh -L 8080:127.0.0.1:8080 HOST`",
            ));
        }
        if base.scheme() != "http" || base.host_str().is_none_or(str::is_empty) {
            return Err(wrong("it does not begin with http:// and a host"));
        }
        if base.query().is_some() || base.fragment().is_some() || !base.username().is_empty() {
            return Err(wrong("a base URL has no query, fragment or user"));
        }
        let token = token.map(|token| bearer(token).ok_or(ConnectError::Token)).transpose()?;
        Ok(Self { base, token })
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
        let away = |source| ConnectError::Away { url: target.base.to_string(), source };
        let mut headers = HeaderMap::new();
        if let Some(token) = &target.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .default_headers(headers)
            // A token is for this service alone.
            .redirect(reqwest::redirect::Policy::none());
        // A proxy for the rest of the world is none for this machine.
        let is_here = matches!(target.base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let client = if is_here { client.no_proxy() } else { client };
        let remote = Self { client: client.build().map_err(away)?, base: target.base.clone() };
        let request = remote.client.get(remote.url(["healthz"])).timeout(HEALTH_TIMEOUT);
        let health: Health = match send(request).await {
            Ok(health) => health,
            Err(Error::Away(source)) => return Err(away(source)),
            Err(source) => return Err(ConnectError::Service(source)),
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
    #[error("--server: \"{url}\": {why}: write http://HOST:PORT, as `dns-manager serve` shows it")]
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
    /// The file with the token cannot be read.
    #[error("--token-file: {file} cannot be read: correct the path, or its permissions")]
    TokenFile {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
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
        matches!(self, Self::Url { .. } | Self::Token | Self::TokenFile { .. })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Somebody who says the same to everybody, once.
    async fn somebody(status: &'static str, body: &'static str) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/below", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 2048];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(
                request.starts_with("GET /below/healthz ") && request.contains("authorization: Bearer t-1"),
                "{request}"
            );
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        url
    }

    async fn refused(status: &'static str, body: &'static str) -> String {
        let target = Target::parse(somebody(status, body).await.as_str(), Some("t-1\n")).unwrap();
        Remote::connect(&target).await.unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_base_url_or_no_token_is_said() {
        for wrong in ["", "localhost:8080", "ftp://localhost", "http://", "http://a/?b", "http://a/#b", "http://u@a"] {
            let error = Target::parse(wrong, None).err().unwrap_or_else(|| panic!("{wrong}"));
            assert!(error.is_usage() && error.to_string().contains("write http://HOST:PORT"), "{wrong}: {error}");
        }
        for wrong in ["", "\n", "two words"] {
            assert!(matches!(Target::parse("http://a:1", Some(wrong)), Err(ConnectError::Token)), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn who_is_no_service_is_told_from_one_that_knows_us_not() {
        let page = refused("200 OK", "<html>It works!</html>").await;
        assert!(page.contains("/below/healthz answers with status 200 OK and no JSON"), "{page}");
        let other = refused("200 OK", r#"{"status": "up"}"#).await;
        assert!(other.contains("as no `dns-manager serve` does"), "{other}");
        let body = r#"{"success": false, "error": {"code": "unauthorized", "message": "no token"}}"#;
        let unknown = refused("401 Unauthorized", body).await;
        assert!(unknown.contains("does not know who asks: no token: give a token with --token-file"), "{unknown}");

        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let target = Target::parse(&format!("http://{free}"), None).unwrap();
        let nobody = Remote::connect(&target).await.unwrap_err();
        assert!(nobody.to_string().starts_with(&format!("nobody answers at http://{free}/: start")), "{nobody}");
        assert!(!nobody.is_usage());
    }

    #[tokio::test]
    async fn another_version_is_told() {
        let body = r#"{"success": true, "data": {"version": "0.0.1"}}"#;
        let target = Target::parse(somebody("200 OK", body).await.as_str(), Some("t-1")).unwrap();
        let (_, warning) = Remote::connect(&target).await.unwrap();
        assert!(warning.is_some_and(|text| text.contains("the service is version 0.0.1, and this command ")));
    }
}
