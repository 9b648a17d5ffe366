//! Probes: what has to answer at each address of a server before it counts as ready, beyond its provider's word.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use reqwest::Url;
use reqwest::redirect::Policy;
use tokio::net::TcpStream;

use super::{Error, Provider, Status};
use crate::client;
use crate::server::Server;

/// A server that is ready answers at once; what does not is asked again.
const WITHIN: Duration = Duration::from_secs(2);
const HTTP_PORT: u16 = 80;

/// What has to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Something accepts connections at this port.
    Tcp(u16),
    /// A GET of this path is answered with a status from 200 to 399.
    Http {
        /// The port.
        port: u16,
        /// The path, and a query if there is one.
        path: String,
    },
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLES: &str = "write \"tcp:22\" or \"http://:8080/healthz\", say";
        if let Some(port) = text.strip_prefix("tcp:") {
            let port = port_of(port).ok_or_else(|| format!("\"{text}\" has no port from 1 to 65535: {EXAMPLES}"))?;
            return Ok(Self::Tcp(port));
        }
        if text.starts_with("https:") {
            return Err(format!(
                "\"{text}\": a certificate is not for an address, so https is not probed: write \"tcp:443\", or ask a port with \
                 http"
            ));
        }
        let rest = text.strip_prefix("http://").ok_or_else(|| format!("\"{text}\" is not a probe: {EXAMPLES}"))?;
        let (place, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let port = match place.strip_prefix(':') {
            None if place.is_empty() => HTTP_PORT,
            None => {
                return Err(format!(
                    "\"{text}\" names a host: write \"http://:{HTTP_PORT}{path}\", which is asked of each address of the server"
                ));
            }
            Some(port) => port_of(port).ok_or_else(|| format!("\"{text}\" has no port from 1 to 65535: {EXAMPLES}"))?,
        };
        // Its text is what is sent, with what a URL cannot hold written as it must be.
        let url = Url::parse(&format!("http://localhost:{port}{path}"));
        let url = url.map_err(|error| format!("\"{text}\" is not a probe ({error}): {EXAMPLES}"))?;
        if url.fragment().is_some() {
            return Err(format!("\"{text}\": what follows \"#\" is not sent: leave it out"));
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self::Http { port, path: format!("{}{query}", url.path()) })
    }
}

fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::Http { port, path } => write!(f, "http://:{port}{path}"),
        }
    }
}

impl Probe {
    /// What is not yet as it should be at an address; none: all is well.
    async fn complaint(&self, address: IpAddr, http: &Result<reqwest::Client, String>) -> Option<String> {
        match self {
            Self::Tcp(port) => {
                let place = SocketAddr::new(address, *port);
                match tokio::time::timeout(WITHIN, TcpStream::connect(place)).await {
                    Ok(Ok(_)) => None,
                    Ok(Err(error)) => Some(format!("{place} takes no connection: {error}")),
                    Err(_) => Some(format!("{place} takes no connection within {WITHIN:?}")),
                }
            }
            Self::Http { port, path } => {
                let url = format!("http://{}{path}", SocketAddr::new(address, *port));
                let http = match http {
                    Ok(http) => http,
                    Err(why) => return Some(format!("{url} cannot be asked: {why}")),
                };
                match http.get(&url).timeout(WITHIN).send().await {
                    Ok(answer) if (200..400).contains(&answer.status().as_u16()) => None,
                    Ok(answer) => Some(format!("{url} answers {}", answer.status().as_u16())),
                    Err(error) if error.is_timeout() => Some(format!("{url} does not answer within {WITHIN:?}")),
                    // Its own text repeats the URL.
                    Err(error) => Some(format!("{url} does not answer: {}", crate::error_chain(&error.without_url()))),
                }
            }
        }
    }
}

/// A provider whose servers are ready when the probes say so, too.
pub(super) struct Probed {
    provider: Arc<dyn Provider>,
    probes: Vec<Probe>,
    /// Or why there is none.
    http: Result<reqwest::Client, String>,
}

impl Probed {
    pub(super) fn new(provider: Arc<dyn Provider>, probes: Vec<Probe>) -> Self {
        // An address is asked itself, and what it says counts, not where it points to.
        let http = client::plain().and_then(|http| {
            let http = http.no_proxy().redirect(Policy::none()).pool_max_idle_per_host(0).build();
            http.map_err(|error| crate::error_chain(&error))
        });
        Self { provider, probes, http }
    }

    async fn probed(&self, server: &Server) -> Result<Status, Error> {
        let addresses = match self.provider.status(server).await? {
            Status::Ready(addresses) => addresses,
            other @ (Status::Absent | Status::Pending(_)) => return Ok(other),
        };
        let asked =
            addresses.iter().flat_map(|address| self.probes.iter().map(|probe| probe.complaint(*address, &self.http)));
        let complaints: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        Ok(if complaints.is_empty() { Status::Ready(addresses) } else { Status::Pending(complaints.join("; ")) })
    }
}

impl Provider for Probed {
    fn check(&self, addresses: &[IpAddr]) -> Result<(), Error> {
        self.provider.check(addresses)
    }

    fn create<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        self.provider.create(server)
    }

    fn status<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Status, Error>> {
        Box::pin(self.probed(server))
    }

    fn stop<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        self.provider.stop(server)
    }

    fn delete<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        self.provider.delete(server)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::provider::Kind;

    #[test]
    fn a_probe_is_a_port_or_a_path_of_one() {
        for (text, expected) in [
            ("tcp:22", Ok("tcp:22")),
            ("http://:8080/healthz", Ok("http://:8080/healthz")),
            ("http://:8080", Ok("http://:8080/")),
            ("http:///ready?full=yes&who=a b", Ok("http://:80/ready?full=yes&who=a%20b")),
            ("tcp:0", Err("\"tcp:0\" has no port from 1 to 65535: write \"tcp:22\" or \"http://:8080/healthz\", say")),
            ("22", Err("\"22\" is not a probe: write \"tcp:22\" or \"http://:8080/healthz\", say")),
            (
                "http://:99999/",
                Err(
                    "\"http://:99999/\" has no port from 1 to 65535: write \"tcp:22\" or \"http://:8080/healthz\", say",
                ),
            ),
            (
                "http://web-01:8080/x",
                Err(
                    "\"http://web-01:8080/x\" names a host: write \"http://:80/x\", which is asked of each address of the server",
                ),
            ),
            ("http://:80/a#b", Err("\"http://:80/a#b\": what follows \"#\" is not sent: leave it out")),
            (
                "https://:443/",
                Err(
                    "\"https://:443/\": a certificate is not for an address, so https is not probed: write \"tcp:443\", or \
                     ask a port with http",
                ),
            ),
        ] {
            assert_eq!(
                text.parse::<Probe>().map(|probe| probe.to_string()),
                expected.map(str::to_owned).map_err(str::to_owned)
            );
        }
    }

    /// Answers each connection with the next status, the last one from then on.
    async fn service(address: &str, statuses: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let place = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for status in statuses.iter().chain(std::iter::repeat(statuses.last().unwrap())) {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let count = connection.read(&mut request).await.unwrap();
                assert!(
                    request[..count].starts_with(b"GET /healthz HTTP/1.1\r\n"),
                    "{:?}",
                    request[..count].to_ascii_lowercase()
                );
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        place
    }

    #[tokio::test]
    async fn a_server_is_ready_when_every_probe_is_answered() {
        for host in ["127.0.0.1", "::1"] {
            if host == "::1" && std::net::TcpListener::bind("[::1]:0").is_err() {
                // This machine has no IPv6.
                continue;
            }
            let place = service(host, &["503 Busy", "200 OK"]).await;
            let probe = Probe::Http { port: place.port(), path: "/healthz".to_owned() };
            let probed = Probed::new(Kind::Static.provider(), vec![probe]);
            let server = Server::new("web-01.example.com".parse().unwrap(), vec![place.ip()]);

            let busy = Status::Pending(format!("http://{place}/healthz answers 503"));
            assert_eq!(probed.status(&server).await, Ok(busy));
            assert_eq!(probed.status(&server).await, Ok(Status::Ready(vec![place.ip()])));
        }
    }

    #[tokio::test]
    async fn what_does_not_answer_is_named_with_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let probes = vec![Probe::Tcp(place.port())];
        let probed = Probed::new(Kind::Static.provider(), probes);
        // Nobody else can have this port there: the listener has it at the address that others would ask for.
        let silent = "127.0.0.77".parse().unwrap();
        let expected = format!("127.0.0.77:{} takes no connection: Connection refused", place.port());
        for addresses in [vec![place.ip(), silent], vec![silent, place.ip()]] {
            let server = Server::new("web-01.example.com".parse().unwrap(), addresses);
            let Ok(Status::Pending(waits_for)) = probed.status(&server).await else { panic!("it cannot be ready") };
            assert!(waits_for.starts_with(&expected) && !waits_for.contains(&place.to_string()), "{waits_for}");
        }
    }
}
