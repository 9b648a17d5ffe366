//! Connections to the backend: look up once, judge every address, dial only
//! what was judged, fail over from member to member.
//!
//! The pool above calls this only when it needs a new connection.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::capability::policy::{Authority, Endpoint, Policy, Route};

/// How long a member that could not be reached is left for last.
const SHUNNED: Duration = Duration::from_secs(30);
/// A dial that was given up after this long counts against the member.
const SUSPICIOUS: Duration = Duration::from_millis(250);

/// Why there is no connection. Nothing was sent.
#[derive(Debug)]
pub(crate) enum DialError {
    /// No endpoint of that authority.
    Denied,
    /// The name leads to an address that must not be dialled.
    Prohibited(IpAddr),
    /// The name could not be looked up.
    Lookup(io::Error),
    /// All connections are in use.
    Full,
    /// Nobody answered.
    Timeout,
    /// The system could not connect.
    Connect(io::Error),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("not granted"),
            Self::Prohibited(ip) => write!(f, "the address {ip} must not be dialled"),
            Self::Lookup(_) => f.write_str("looking up the name"),
            Self::Full => f.write_str("all connections are in use"),
            Self::Timeout => f.write_str("nobody answered in time"),
            Self::Connect(_) => f.write_str("connecting"),
        }
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lookup(error) | Self::Connect(error) => Some(error),
            Self::Denied | Self::Prohibited(_) | Self::Full | Self::Timeout => None,
        }
    }
}

/// Looks up host names; tests count and forge.
pub(crate) trait Lookup: Send + Sync + 'static {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// The system's own look-up.
pub(crate) struct System;

impl Lookup for System {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Opens connections for hyper's client.
#[derive(Clone)]
pub(crate) struct Dial(Arc<Inner>);

struct Inner {
    policy: Arc<Policy>,
    lookup: Arc<dyn Lookup>,
    timeout: Duration,
    permits: Arc<Semaphore>,
    failures: Mutex<HashMap<Authority, Instant>>,
}

impl Dial {
    /// At most `connections` at one time, each within `timeout` per member.
    pub(crate) fn new(policy: Arc<Policy>, lookup: Arc<dyn Lookup>, timeout: Duration, connections: usize) -> Self {
        let permits = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Inner { policy, lookup, timeout, permits, failures: Mutex::default() }))
    }

    async fn dial(self, uri: Uri) -> Result<Held, DialError> {
        let authority = Authority::of(&uri).map_err(|_| DialError::Denied)?;
        let endpoint = self.0.policy.endpoint(&authority).ok_or(DialError::Denied)?;
        let Route::Network(members) = &endpoint.route else { return Err(DialError::Denied) };
        let permit = timeout(self.0.timeout, self.0.permits.clone().acquire_owned())
            .await
            .map_err(|_| DialError::Full)?
            .map_err(|_closed| DialError::Full)?;
        let mut last = DialError::Denied;
        for member in self.0.in_order(members) {
            let mut suspect = Suspect { dial: &self.0, member, since: Instant::now(), armed: true };
            let dialled = timeout(self.0.timeout, self.0.member(endpoint, member)).await;
            suspect.armed = false;
            match dialled.unwrap_or(Err(DialError::Timeout)) {
                Ok(stream) => {
                    self.0.note(member, true);
                    return Ok(Held { stream: TokioIo::new(stream), _permit: permit });
                }
                Err(error) => {
                    self.0.note(member, false);
                    tracing::debug!(%member, %error, "the backend's member cannot be reached");
                    last = error;
                }
            }
        }
        Err(last)
    }
}

impl Inner {
    /// Members that failed lately come last.
    fn in_order<'a>(&self, members: &'a [Authority]) -> Vec<&'a Authority> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let shunned = |member: &&Authority| failures.get(member).is_some_and(|since| since.elapsed() < SHUNNED);
        let (last, first): (Vec<_>, Vec<_>) = members.iter().partition(shunned);
        [first, last].concat()
    }

    fn note(&self, member: &Authority, reached: bool) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if reached {
            failures.remove(member);
        } else {
            failures.insert(member.clone(), Instant::now());
        }
    }

    async fn member(&self, endpoint: &Endpoint, member: &Authority) -> Result<TcpStream, DialError> {
        let addresses = match member.ip() {
            Some(ip) => vec![SocketAddr::new(ip, member.port)],
            None => self.lookup.lookup(&member.host, member.port).await.map_err(DialError::Lookup)?,
        };
        // One bad answer refuses all: a name that leads to both a server and
        // the metadata service is not to be trusted with either.
        if let Some(bad) = addresses.iter().find(|address| !endpoint.admits(address.ip())) {
            return Err(DialError::Prohibited(bad.ip()));
        }
        let mut last = DialError::Lookup(io::ErrorKind::NotFound.into());
        let deadline = Instant::now() + self.timeout;
        let mut untried = addresses.len();
        for address in addresses {
            // A silent address leaves time for those after it.
            let share = (deadline - Instant::now()) / u32::try_from(untried).unwrap_or(u32::MAX).max(1);
            untried -= 1;
            let address = SocketAddr::new(address.ip(), member.port);
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Small requests, answered one by one: waiting to fill a
                    // segment costs 40 ms each.
                    stream.set_nodelay(true).map_err(DialError::Connect)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = DialError::Connect(error),
                Err(_) => last = DialError::Timeout,
            }
        }
        Err(last)
    }
}

/// Blames a member whose dial the caller gave up.
struct Suspect<'a> {
    dial: &'a Inner,
    member: &'a Authority,
    since: Instant,
    armed: bool,
}

impl Drop for Suspect<'_> {
    fn drop(&mut self) {
        if self.armed && self.since.elapsed() >= SUSPICIOUS {
            self.dial.note(self.member, false);
        }
    }
}

impl tower_service::Service<Uri> for Dial {
    type Response = Held;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<Held, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().dial(uri))
    }
}

/// A connection that holds its permit for as long as it lives.
pub(crate) struct Held {
    stream: TokioIo<TcpStream>,
    _permit: OwnedSemaphorePermit,
}

impl Connection for Held {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests;
