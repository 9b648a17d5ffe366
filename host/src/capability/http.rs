//! The import `wasi:http/outgoing-handler`: ask the policy, send, bound.
//!
//! Every request of a plugin comes through [`Hooks::send_request`]; the
//! runtime is built without a sender of its own. The client and its
//! connections are shared by all calls of one manager. No redirect is
//! followed, nothing is decompressed, and nothing is sent twice, but what the
//! backend refused for a token that it no longer knew ([`login`]).
//!
//! # What the plugin can conclude from an error
//!
//! | code | what happened | was it sent? |
//! |---|---|---|
//! | `HTTP-request-denied` | policy, or too many requests in this call | no |
//! | `HTTP-request-URI-invalid` | no usable target | no |
//! | `DNS-error`, `destination-IP-prohibited` | the backend's name leads nowhere, or where it must not | no |
//! | `TLS-protocol-error` | what answers there speaks no TLS, or none that we do | no |
//! | `TLS-alert-received` | a certificate is not good, theirs or ours; the message says which and why | no |
//! | `connection-refused` | no member was reached, or a kept connection closed before it took the request up | no |
//! | `connection-timeout` | no connection in time | no |
//! | `connection-limit-reached` | all connections are in use | no |
//! | `HTTP-request-body-size` | the request's body is too large | not whole |
//! | `connection-terminated` | the connection broke before the response | perhaps |
//! | `HTTP-response-timeout` | no response in time, or the exchange took too long | perhaps |
//! | `HTTP-protocol-error` | the response is no HTTP | perhaps |
//! | `HTTP-response-incomplete`, `connection-read-timeout`, `HTTP-response-body-size` | in the response's body | yes |
//!
//! *No* is certain: a request counts as sent as soon as a connection has taken
//! it up ([`Departure`]), whatever then became of it.
//!
//! With credentials, the status 511 says that the host could not log in just
//! now, and 401 with etcd's code 16 that it may not: the request was then not
//! handed on.

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header, uri::Scheme};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{
        self, Client,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, sleep_until, timeout_at};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as HttpError, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use crate::{
    Limits,
    bindings::provisioning::dns::log::Level,
    capability::{
        body::{Bounds, Departure, Incoming, Outgoing, Source},
        dial::{Dial, DialError, Lookup, Member},
        log::Lines,
        login::{self, Answered, Login, Standing},
        policy::{Denial, Endpoint, Policy, Route},
        tls::{Secured, TlsFault},
    },
    state::Shared,
    watch::Tally,
};

/// Answers HTTP requests in the process, in place of a server.
///
/// A plugin cannot tell the difference: the same policy and the same limits
/// stand in front of it.
///
/// ```
/// use std::{future::Future, pin::Pin};
///
/// use bytes::Bytes;
/// use dns_manager_host::Handler;
///
/// struct Closed;
///
/// impl Handler for Closed {
///     fn handle<'a>(
///         &'a self,
///         _: http::Request<Bytes>,
///     ) -> Pin<Box<dyn Future<Output = http::Response<Bytes>> + Send + 'a>> {
///         Box::pin(async { http::Response::new(Bytes::from_static(b"{}")) })
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. The future is dropped when nobody waits for the
    /// answer any more.
    fn handle<'a>(&'a self, request: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + 'a>>;
}

type Connecting = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Sent = Result<(Response<WasiBody>, Connecting), HttpError>;

/// A member that has kept a request for so long is not asked again soon.
const SILENCE: Duration = Duration::from_secs(1);

/// The client of one manager, shared by all its calls.
pub(crate) struct Sender {
    policy: Arc<Policy>,
    client: Client<Dial, Outgoing>,
    dial: Dial,
    login: Option<Login>,
    connect_timeout: Duration,
    http_timeout: Duration,
    request_bytes: usize,
    response_bytes: usize,
}

impl Sender {
    pub(crate) fn new(
        policy: Policy,
        lookup: Arc<dyn Lookup>,
        tls: Option<Secured>,
        login: Option<Login>,
        limits: &Limits,
    ) -> Self {
        let policy = Arc::new(policy);
        let dial = Dial::new(policy.clone(), lookup, tls, limits.connect_timeout, limits.connections);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(limits.connections)
            // Of a request that a kept connection never began to write, being
            // closed: it is sent once all the same.
            .retry_canceled_requests(true)
            .http1_max_headers(100)
            .http1_max_buf_size(256 << 10)
            .build(dial.clone());
        Self {
            policy,
            client,
            dial,
            login,
            connect_timeout: limits.connect_timeout,
            http_timeout: limits.http_timeout,
            request_bytes: limits.request_bytes,
            response_bytes: limits.response_bytes,
        }
    }

    /// How many more connections there can be.
    pub(crate) fn free_connections(&self) -> usize {
        self.dial.free()
    }

    async fn send(
        &self,
        request: Request<WasiBody>,
        endpoint: &Endpoint,
        options: RequestOptions,
        call: Arc<AtomicUsize>,
    ) -> Sent {
        let times = Times::new(&options, self, &endpoint.route);
        let bounds =
            || Bounds { max: self.response_bytes, call: call.clone(), between: times.between, deadline: times.end };
        let request = rebuilt(request, endpoint)?;
        let departure = Departure::default();
        let outgoing = |body| Outgoing::new(body, departure.clone(), self.request_bytes);
        let login = self.login.as_ref().filter(|_| login::is_wanted(request.uri().path()));
        let response = match (&endpoint.route, login) {
            (Route::Process(handler), _) => {
                let response = in_process(&**handler, request.map(outgoing), &times).await?;
                response.map(|body| Incoming::new(Source::Process(body), bounds()).boxed_unsync())
            }
            (Route::Network(_), None) => {
                let response = self.over_network(endpoint, request.map(outgoing), &departure, &times).await?;
                response.map(|body| Incoming::new(Source::Network(body), bounds()).boxed_unsync())
            }
            (Route::Network(_), Some(login)) => {
                let response = self.logged_in(login, endpoint, request, &times, &bounds).await?;
                response.map(boxed)
            }
        };
        Ok((response, Box::new(async { Ok(()) })))
    }

    /// Sends with the operator's credentials, and once more if they had become
    /// stale.
    async fn logged_in(
        &self,
        login: &Login,
        endpoint: &Endpoint,
        request: Request<WasiBody>,
        times: &Times,
        bounds: &(dyn Fn() -> Bounds + Sync),
    ) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        // Whole, so that it can be sent again.
        let body = Outgoing::new(body, Departure::default(), self.request_bytes).collect();
        let body = timeout_at(times.end, body).await.map_err(|_| HttpError::ConnectionTimeout)??.to_bytes();
        let mut stale = None;
        loop {
            let standing = match self.standing(login, endpoint, stale.as_ref(), times, bounds).await? {
                Ok(standing) => standing,
                Err(answer) => return Ok(answer),
            };
            let mut head = head.clone();
            if let Some(token) = standing.token() {
                token.attach(&mut head.headers);
            }
            let response = self.exchange(endpoint, Request::from_parts(head, body.clone()), times, bounds()).await?;
            if stale.is_none() && login::is_stale(response.status(), response.body()) {
                stale = Some(standing);
                continue;
            }
            let (mut head, mut body) = response.into_parts();
            if let Some(token) = standing.token() {
                body = token.blot_out(&mut head.headers, body);
            }
            head.headers.remove(header::AUTHORIZATION);
            if let Some(named) = login.denied(&body) {
                head.headers.remove(header::CONTENT_LENGTH);
                body = named;
            }
            return Ok(Response::from_parts(head, body));
        }
    }

    /// How we stand with the backend, other than `stale`; or what the plugin is
    /// answered where we do not stand at all. One request at a time logs in,
    /// and the others wait for it.
    async fn standing(
        &self,
        login: &Login,
        endpoint: &Endpoint,
        stale: Option<&Standing>,
        times: &Times,
        bounds: &(dyn Fn() -> Bounds + Sync),
    ) -> Result<Result<Standing, Response<Bytes>>, HttpError> {
        let waited = timeout_at(times.end, login.standing()).await;
        let mut standing = waited.map_err(|_| HttpError::ConnectionTimeout)?;
        let is_good = match (&*standing, stale) {
            (Standing::Unknown, _) => false,
            (_, None) => true,
            (now, Some(stale)) => now.token() != stale.token(),
        };
        if is_good {
            return Ok(Ok(standing.clone()));
        }
        let (path, body) = login.request();
        let (uri, host) = target(endpoint, path)?;
        let request = login::post(uri, host, body.len(), body);
        // Whatever became of the login, the plugin's request was not sent.
        let response = self.exchange(endpoint, request, times, bounds()).await.map_err(|error| match error {
            HttpError::HttpResponseTimeout | HttpError::ConnectionReadTimeout => HttpError::ConnectionTimeout,
            HttpError::ConnectionTerminated
            | HttpError::HttpResponseIncomplete
            | HttpError::HttpProtocolError
            | HttpError::HttpResponseBodySize(_) => HttpError::ConnectionRefused,
            other => other,
        })?;
        Ok(match login.judge(response.status(), response.body()) {
            Answered::In(now) => {
                *standing = now.clone();
                Ok(now)
            }
            Answered::Refused(why) => {
                *standing = Standing::Unknown;
                tracing::warn!("the backend lets nobody in: {why}");
                Err(login::not_handed_on(true, &why))
            }
            Answered::Later(why) => {
                *standing = Standing::Unknown;
                tracing::debug!("{why}");
                Err(login::not_handed_on(false, &why))
            }
            Answered::Missing => {
                *standing = Standing::Unknown;
                Err(login::missing())
            }
            Answered::Stranger(said) => {
                *standing = Standing::Unknown;
                Err(login::stranger(response.status(), said))
            }
        })
    }

    /// One exchange, whole.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: Request<Bytes>,
        times: &Times,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, HttpError> {
        let departure = Departure::default();
        let request = request.map(|body| Outgoing::new(boxed(body), departure.clone(), self.request_bytes));
        let (head, body) = self.over_network(endpoint, request, &departure, times).await?.into_parts();
        let body = Incoming::new(Source::Network(body), bounds).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }

    async fn over_network(
        &self,
        endpoint: &Endpoint,
        mut request: Request<Outgoing>,
        departure: &Departure,
        times: &Times,
    ) -> Result<Response<hyper::body::Incoming>, HttpError> {
        let mut patience = Patience {
            dial: &self.dial,
            taken: capture_connection(&mut request),
            since: Instant::now(),
            satisfied: false,
        };
        let (connected, head) = times.begin();
        let mut response = self.client.request(request);
        let answered = tokio::select! {
            answered = &mut response => answered,
            () = sleep_until(connected) => {
                if departure.withdraw() {
                    return Err(HttpError::ConnectionTimeout);
                }
                timeout_at(head, response).await.map_err(|_| HttpError::HttpResponseTimeout)?
            }
        };
        // A member that has lost the others says so, and another may be with the majority.
        patience.satisfied = answered.as_ref().is_ok_and(|response| !is_cut_off(response.status()));
        let member = patience.member();
        if answered.is_ok() {
            if !patience.satisfied {
                patience.blame();
            }
            if let Some(member) = &member {
                self.dial.answered_plainly(member);
            }
        }
        drop(patience);
        let error = match answered {
            Ok(response) => return Ok(response),
            Err(error) => code(&error, departure),
        };
        if let (HttpError::ConnectionTerminated, Some(member)) = (&error, &member)
            && let Some(fault) = self.dial.wants_tls(endpoint, member).await
        {
            return Err(fault.into());
        }
        Err(error)
    }
}

/// Blames the member that kept a request until nobody waited any more.
struct Patience<'a> {
    dial: &'a Dial,
    taken: CaptureConnection,
    since: Instant,
    satisfied: bool,
}

impl Patience<'_> {
    /// Who got the request, if anybody did.
    fn member(&self) -> Option<Member> {
        let mut extras = http::Extensions::new();
        if let Some(connected) = self.taken.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        extras.remove()
    }

    fn blame(&self) {
        if let Some(member) = self.member() {
            self.dial.blame(&member);
        }
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        if !self.satisfied && self.since.elapsed() >= SILENCE {
            self.blame();
        }
    }
}

fn is_cut_off(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

fn boxed(body: Bytes) -> WasiBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// When each part of an exchange must be over.
struct Times {
    connect: Duration,
    head: Duration,
    between: Duration,
    end: Instant,
}

impl Times {
    /// What the plugin asks for, within what the host allows.
    fn new(options: &RequestOptions, sender: &Sender, route: &Route) -> Self {
        let clamp = |asked: Option<Duration>, cap: Duration| {
            asked.unwrap_or(cap).clamp(Duration::from_millis(1), cap.max(Duration::from_millis(1)))
        };
        let total = sender.http_timeout;
        let members = match route {
            Route::Network(members) => u32::try_from(members.len()).unwrap_or(u32::MAX),
            Route::Process(_) => 1,
        };
        // Each member has its own time to answer the dial, so that failing
        // over is not cut off; see `Dial`.
        let connect = clamp(options.connect_timeout, sender.connect_timeout).saturating_mul(members).min(total);
        let head = connect.saturating_add(clamp(options.first_byte_timeout, total)).min(total);
        Self { connect, head, between: clamp(options.between_bytes_timeout, total), end: Instant::now() + total }
    }

    /// Until when there must be a connection, and the head of a response, to a
    /// request that is sent now.
    fn begin(&self) -> (Instant, Instant) {
        let now = Instant::now();
        ((now + self.connect).min(self.end), (now + self.head).min(self.end))
    }
}

async fn in_process(
    handler: &dyn Handler,
    request: Request<Outgoing>,
    times: &Times,
) -> Result<Response<Full<Bytes>>, HttpError> {
    let answer = async {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(handler.handle(Request::from_parts(head, body)).await.map(Full::new))
    };
    timeout_at(times.begin().1, answer).await.map_err(|_| HttpError::HttpResponseTimeout)?
}

/// The request with a target made of judged parts only, whatever form the
/// plugin's had, and without what is between two hosts.
fn rebuilt(mut request: Request<WasiBody>, endpoint: &Endpoint) -> Result<Request<WasiBody>, HttpError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    if !path.starts_with('/') {
        return Err(HttpError::HttpRequestUriInvalid);
    }
    let (uri, host) = target(endpoint, &path)?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    // Two lengths are how one request is read as two.
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(HttpError::HttpRequestDenied);
    }
    for hop in [header::TE, header::TRAILER, header::EXPECT, header::UPGRADE, header::CONNECTION] {
        headers.remove(hop);
    }
    headers.insert(header::HOST, host);
    Ok(request)
}

/// The target of a request, and the host that it names.
fn target(endpoint: &Endpoint, path: &str) -> Result<(Uri, HeaderValue), HttpError> {
    let authority = endpoint.authority.to_string();
    let host = HeaderValue::try_from(&authority).map_err(|_| HttpError::HttpRequestUriInvalid)?;
    let uri = Uri::builder().scheme(endpoint.scheme()).authority(authority).path_and_query(path).build();
    Ok((uri.map_err(|_| HttpError::HttpRequestUriInvalid)?, host))
}

/// The plugin's code for an error of the client; see the table above.
fn code(error: &legacy::Error, departure: &Departure) -> HttpError {
    if let Some(dial) = find::<DialError>(error) {
        return match dial {
            DialError::Denied => HttpError::HttpRequestDenied,
            DialError::Prohibited(_) => HttpError::DestinationIpProhibited,
            // The system has no code of DNS for it: its words are what there is.
            DialError::Lookup(why) => HttpError::DnsError { rcode: Some(why.to_string()), info_code: None },
            DialError::Full => HttpError::ConnectionLimitReached,
            DialError::Timeout => HttpError::ConnectionTimeout,
            DialError::Connect(_) => HttpError::ConnectionRefused,
            DialError::Tls(fault) => fault.clone().into(),
        };
    }
    // The pool's connection was closed before it took the request up.
    if error.is_connect() || departure.withdraw() {
        return HttpError::ConnectionRefused;
    }
    if let Some(HttpError::HttpRequestBodySize(max)) = find::<HttpError>(error) {
        return HttpError::HttpRequestBodySize(*max);
    }
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse() => HttpError::HttpProtocolError,
        Some(error) if error.is_timeout() => HttpError::HttpResponseTimeout,
        _ => HttpError::ConnectionTerminated,
    }
}

impl From<TlsFault> for HttpError {
    fn from(fault: TlsFault) -> Self {
        match fault {
            TlsFault::Protocol(_) => Self::TlsProtocolError,
            TlsFault::Certificate { alert, message } => {
                Self::TlsAlertReceived { alert_id: Some(alert), alert_message: Some(message) }
            }
        }
    }
}

/// The first error of this type in the chain of sources.
fn find<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

/// HTTP of one call.
pub(crate) struct Hooks {
    sender: Arc<Sender>,
    requests_left: usize,
    bytes_left: Arc<AtomicUsize>,
    lines: Shared<Lines>,
    tally: Shared<Tally>,
}

impl Hooks {
    pub(crate) fn new(
        sender: Arc<Sender>,
        requests: usize,
        bytes_left: Arc<AtomicUsize>,
        lines: Shared<Lines>,
        tally: Shared<Tally>,
    ) -> Self {
        Self { sender, requests_left: requests, bytes_left, lines, tally }
    }

    /// The plugin learns only that it is denied; the operator, what to change.
    fn admit(&mut self, request: &Request<WasiBody>) -> Result<Arc<Endpoint>, String> {
        let Some(left) = self.requests_left.checked_sub(1) else {
            self.tally.lock().denials.limits += 1;
            return Err("HTTP request denied: the limit `http_requests_per_call` is reached".to_owned());
        };
        self.requests_left = left;
        let decided = self.sender.policy.decide(request.method(), request.uri()).map_err(|denial| match denial {
            Denial::Malformed => "HTTP request denied: its target is malformed or not http".to_owned(),
            Denial::NotGranted(authority) => {
                format!(
                    "HTTP request denied: `{authority}` is not the backend; only the backend's first URL is allowed"
                )
            }
            Denial::Scheme => "HTTP request denied: its scheme is not the backend's; see the setting `url`".to_owned(),
            Denial::Rule => {
                format!("HTTP request denied: the backend's rule forbids {} {}", request.method(), request.uri().path())
            }
        });
        let mut tally = self.tally.lock();
        match &decided {
            Ok(_) => tally.http_requests += 1,
            Err(_) => tally.denials.http += 1,
        }
        decided
    }
}

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        // A plugin may have a token of its own, but not beside the operator's.
        let is_ours = self.sender.login.is_some();
        Arc::new(move |name| DEFAULT_FORBIDDEN_HEADERS.contains(name) || (is_ours && *name == header::AUTHORIZATION))
    }

    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS
    }

    fn default_scheme(&mut self) -> Option<Scheme> {
        // The plugin must say it: the runtime's own default is HTTPS.
        None
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Connecting,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let endpoint = match self.admit(&request) {
            Ok(endpoint) => endpoint,
            Err(why) => {
                self.lines.lock().write(Level::Warn, "http", &why);
                return Box::new(async { Err(HttpError::HttpRequestDenied) });
            }
        };
        let (sender, call, tally) = (self.sender.clone(), self.bytes_left.clone(), self.tally.clone());
        Box::new(async move {
            let sent = sender.send(request, &endpoint, options.unwrap_or_default(), call).await;
            counted(sent, tally)
        })
    }
}

/// Counts what became of a request: answered, unless its body breaks off later.
fn counted(sent: Sent, tally: Shared<Tally>) -> Sent {
    let (response, connecting) = sent.inspect_err(|error| count_denial(error, &tally))?;
    let answered = u64::from(!response.status().is_server_error());
    tally.lock().http_answered += answered;
    let response = response.map(|body| {
        let body = body.map_err(move |error| {
            count_denial(&error, &tally);
            let mut tally = tally.lock();
            tally.http_answered = tally.http_answered.saturating_sub(answered);
            error
        });
        body.boxed_unsync()
    });
    Ok((response, connecting))
}

/// Counts a request that failed because it, or its response, is not allowed.
fn count_denial(error: &HttpError, tally: &Shared<Tally>) {
    let mut tally = tally.lock();
    match error {
        HttpError::HttpRequestDenied | HttpError::DestinationIpProhibited => tally.denials.http += 1,
        HttpError::HttpRequestBodySize(_) | HttpError::HttpResponseBodySize(_) => tally.denials.limits += 1,
        _ => {}
    }
}

#[cfg(test)]
mod tests;
