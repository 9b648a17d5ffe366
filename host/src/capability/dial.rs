//! Connections to the backend: look up once, judge every address, dial only
//! what was judged, fail over from member to member.
//!
//! The pool above calls this only when it needs a new connection. A member
//! that is found not to answer ([`Dial::blame`]) is left for last from then
//! on, and what the pool keeps of it is closed, so that it costs a second time
//! neither a dial nor a request.

use std::{
    collections::{HashMap, HashSet},
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
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use crate::capability::{
    policy::{Authority, Endpoint, Policy, Route},
    tls::{Secured, Tls, TlsFault},
};

/// How long a member that could not be reached is left for last.
const SHUNNED: Duration = Duration::from_secs(30);
/// A dial that was given up after this long counts against the member.
const SUSPICIOUS: Duration = Duration::from_millis(250);
/// A connection on which nothing came for so long, and on which nothing is
/// asked, is idle. Before, a response may be under way.
const QUIET: Duration = Duration::from_millis(250);

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
    /// What answers is not to be trusted, or does not trust us.
    Tls(TlsFault),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("not granted"),
            Self::Prohibited(ip) => write!(f, "the address {ip} must not be dialled"),
            Self::Lookup(error) => write!(f, "looking up the name: {error}"),
            Self::Full => f.write_str("all connections are in use"),
            Self::Timeout => f.write_str("nobody answered in time"),
            Self::Connect(error) => write!(f, "connecting: {error}"),
            Self::Tls(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lookup(error) | Self::Connect(error) => Some(error),
            Self::Denied | Self::Prohibited(_) | Self::Full | Self::Timeout | Self::Tls(_) => None,
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
    tls: Option<Secured>,
    timeout: Duration,
    permits: Arc<Semaphore>,
    failures: Mutex<HashMap<Authority, Instant>>,
    /// Who has ever answered without TLS.
    plain: Mutex<HashSet<Authority>>,
    /// How often each member failed. Every connection listens, and ends when
    /// it is idle and its member has failed once more.
    failed: watch::Sender<HashMap<Authority, u64>>,
}

impl Dial {
    /// At most `connections` at one time, each within `timeout` per member.
    pub(crate) fn new(
        policy: Arc<Policy>,
        lookup: Arc<dyn Lookup>,
        tls: Option<Secured>,
        timeout: Duration,
        connections: usize,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
        let (failures, plain, failed) = (Mutex::default(), Mutex::default(), watch::Sender::default());
        Self(Arc::new(Inner { policy, lookup, tls, timeout, permits, failures, plain, failed }))
    }

    /// How many more connections there can be.
    pub(crate) fn free(&self) -> usize {
        self.0.permits.available_permits()
    }

    /// Leaves a member for last from now on, and closes its idle connections.
    pub(crate) fn blame(&self, member: &Member) {
        self.0.note(&member.0, false);
    }

    /// Notes that a member has answered without TLS.
    pub(crate) fn answered_plainly(&self, member: &Member) {
        let mut plain = self.0.plain.lock().unwrap_or_else(PoisonError::into_inner);
        if !plain.contains(&member.0) {
            plain.insert(member.0.clone());
        }
    }

    /// Whether a member that closed a connection without a word, and has never
    /// answered, wants TLS: etcd says nothing to whom speaks plainly there.
    pub(crate) async fn wants_tls(&self, endpoint: &Endpoint, member: &Member) -> Option<TlsFault> {
        if endpoint.secure || self.0.plain.lock().unwrap_or_else(PoisonError::into_inner).contains(&member.0) {
            return None;
        }
        let hello = async {
            let stream = self.0.connect(endpoint, &member.0).await.ok()?;
            Tls::nobody().ready().ok()?.handshake(&member.0, stream).await.err()
        };
        match timeout(self.0.timeout, hello).await.ok()?? {
            TlsFault::Certificate { alert, .. } => {
                let message = format!("{}: it speaks TLS; write https:// instead of http://", member.0);
                Some(TlsFault::Certificate { alert, message })
            }
            TlsFault::Protocol(_) => None,
        }
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
        let mut failed: Vec<(&Authority, String)> = Vec::new();
        for member in self.0.in_order(members) {
            let mut suspect = Suspect { dial: &self.0, member, since: Instant::now(), armed: true };
            let dialled = timeout(self.0.timeout, self.0.member(endpoint, member)).await;
            suspect.armed = false;
            match dialled.unwrap_or(Err(DialError::Timeout)) {
                Ok(stream) => {
                    // Each is left for last after this, and so not told of with every call.
                    for (failed, error) in failed {
                        tracing::warn!("the backend's member {failed} cannot be used, {member} is instead: {error}");
                    }
                    let ended = self.0.ended(member.clone());
                    self.0.note(member, true);
                    return Ok(Held::new(stream, Member(member.clone()), ended, permit));
                }
                Err(error) => {
                    self.0.note(member, false);
                    tracing::debug!(%member, %error, "the backend's member cannot be reached");
                    failed.push((member, error.to_string()));
                    // A certificate that does not fit tells more than a member that is away.
                    if !matches!(last, DialError::Tls(_)) {
                        last = error;
                    }
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
            self.failed.send_modify(|failed| *failed.entry(member.clone()).or_default() += 1);
        }
    }

    /// Ends when `member` fails from now on.
    fn ended(&self, member: Authority) -> BoxFuture<'static, ()> {
        let mut failed = self.failed.subscribe();
        let before = failed.borrow().get(&member).copied();
        Box::pin(async move {
            // An error says that the dialler is gone, and with it the pool.
            let _ = failed.wait_for(|failed| failed.get(&member).copied() != before).await;
        })
    }

    async fn member(&self, endpoint: &Endpoint, member: &Authority) -> Result<Stream, DialError> {
        let stream = self.connect(endpoint, member).await?;
        match (&self.tls, endpoint.secure) {
            (_, false) => Ok(Stream::Plain(stream)),
            (Some(tls), true) => {
                let stream = tls.handshake(member, stream).await.map_err(DialError::Tls)?;
                Ok(Stream::Tls(Box::new(stream)))
            }
            (None, true) => Err(DialError::Denied),
        }
    }

    async fn connect(&self, endpoint: &Endpoint, member: &Authority) -> Result<TcpStream, DialError> {
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

/// The member that a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member(pub(crate) Authority);

/// A connection, with TLS or without.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}

/// A connection that holds its permit for as long as it lives, and ends when
/// it is idle and its member has failed elsewhere.
pub(crate) struct Held {
    stream: TokioIo<Stream>,
    member: Member,
    /// Something was written, and nothing came back yet.
    awaits: bool,
    /// When something came last.
    read_at: Instant,
    /// Until the connection is idle, once its member has failed.
    quiet: Pin<Box<Sleep>>,
    /// Until the member fails.
    ended: Option<BoxFuture<'static, ()>>,
    _permit: OwnedSemaphorePermit,
}

impl Held {
    fn new(stream: Stream, member: Member, ended: BoxFuture<'static, ()>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            stream: TokioIo::new(stream),
            member,
            awaits: false,
            read_at: Instant::now(),
            quiet: Box::pin(sleep(QUIET)),
            ended: Some(ended),
            _permit: permit,
        }
    }

    /// Whether nothing has come for long enough. If not, `cx` is woken then.
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let until = self.read_at + QUIET;
        if Instant::now() >= until {
            return true;
        }
        self.quiet.as_mut().reset(until);
        self.quiet.as_mut().poll(cx).is_ready()
    }

    /// Whether the member has failed. If not, `cx` is woken when it does.
    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.ended {
            Some(ended) => {
                let ready = ended.as_mut().poll(cx).is_ready();
                if ready {
                    self.ended = None;
                }
                ready
            }
            None => true,
        }
    }
}

impl Connection for Held {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.member.clone())
    }
}

impl Read for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.awaits = false;
            self.read_at = Instant::now();
            return polled;
        }
        // An exchange that is under way may still come to its end.
        if !self.awaits && self.has_ended(cx) && self.is_quiet(cx) {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

impl Write for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.awaits = true;
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
        self.awaits = true;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests;
