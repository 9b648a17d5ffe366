//! The import `wasi:http/outgoing-handler`: ask the policy, send, bound.
//!
//! Every request of a plugin comes through [`Hooks::send_request`]; the
//! runtime is built without a sender of its own. The client and its
//! connections are shared by all calls of one manager. No redirect is
//! followed, nothing is decompressed, nothing is sent twice.
//!
//! # What the plugin can conclude from an error
//!
//! | code | what happened | was it sent? |
//! |---|---|---|
//! | `HTTP-request-denied` | policy, or too many requests in this call | no |
//! | `HTTP-request-URI-invalid` | no usable target | no |
//! | `DNS-error`, `destination-IP-prohibited` | the backend's name leads nowhere, or where it must not | no |
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

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, Version, header, uri::Scheme};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{self, Client},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, sleep_until, timeout_at};
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks};

use crate::{
    Limits,
    bindings::provisioning::dns::log::Level,
    capability::{
        body::{Bounds, Departure, Incoming, Outgoing, Source},
        dial::{Dial, DialError, Lookup},
        log::Lines,
        policy::{Denial, Endpoint, Policy, Route},
    },
    state::Shared,
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

/// The client of one manager, shared by all its calls.
pub(crate) struct Sender {
    policy: Arc<Policy>,
    client: Client<Dial, Outgoing>,
    connect_timeout: Duration,
    http_timeout: Duration,
    request_bytes: usize,
    response_bytes: usize,
}

impl Sender {
    pub(crate) fn new(policy: Policy, lookup: Arc<dyn Lookup>, limits: &Limits) -> Self {
        let policy = Arc::new(policy);
        let dial = Dial::new(policy.clone(), lookup, limits.connect_timeout, limits.connections);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(limits.connections)
            // Nothing that changes data is sent a second time unasked.
            .retry_canceled_requests(false)
            .http1_max_headers(100)
            .http1_max_buf_size(256 << 10)
            .build(dial);
        Self {
            policy,
            client,
            connect_timeout: limits.connect_timeout,
            http_timeout: limits.http_timeout,
            request_bytes: limits.request_bytes,
            response_bytes: limits.response_bytes,
        }
    }

    async fn send(
        &self,
        request: Request<WasiBody>,
        endpoint: &Endpoint,
        options: RequestOptions,
        call: Arc<AtomicUsize>,
    ) -> Sent {
        let departure = Departure::default();
        let request = rebuilt(request, &endpoint.authority.to_string())?
            .map(|body| Outgoing::new(body, departure.clone(), self.request_bytes));
        let times = Times::new(&options, self, &endpoint.route);
        let response = match &endpoint.route {
            Route::Network(_) => self.over_network(request, &departure, &times).await?.map(Source::Network),
            Route::Process(handler) => in_process(&**handler, request, &times).await?.map(Source::Process),
        };
        let bounds = Bounds { max: self.response_bytes, call, between: times.between, deadline: times.end };
        let response = response.map(|body| Incoming::new(body, bounds).boxed_unsync());
        Ok((response, Box::new(async { Ok(()) })))
    }

    async fn over_network(
        &self,
        request: Request<Outgoing>,
        departure: &Departure,
        times: &Times,
    ) -> Result<Response<hyper::body::Incoming>, HttpError> {
        let mut response = self.client.request(request);
        let answered = tokio::select! {
            answered = &mut response => answered,
            () = sleep_until(times.connected) => {
                if departure.withdraw() {
                    return Err(HttpError::ConnectionTimeout);
                }
                timeout_at(times.head, response).await.map_err(|_| HttpError::HttpResponseTimeout)?
            }
        };
        answered.map_err(|error| code(&error, departure))
    }
}

/// When each part of an exchange must be over.
struct Times {
    connected: Instant,
    head: Instant,
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
        let now = Instant::now();
        Self {
            connected: now + connect,
            head: now + head,
            between: clamp(options.between_bytes_timeout, total),
            end: now + total,
        }
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
    timeout_at(times.head, answer).await.map_err(|_| HttpError::HttpResponseTimeout)?
}

/// The request with a target made of judged parts only, whatever form the
/// plugin's had, and without what is between two hosts.
fn rebuilt(mut request: Request<WasiBody>, authority: &str) -> Result<Request<WasiBody>, HttpError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    if !path.starts_with('/') {
        return Err(HttpError::HttpRequestUriInvalid);
    }
    *request.uri_mut() = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|_| HttpError::HttpRequestUriInvalid)?;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    // Two lengths are how one request is read as two.
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(HttpError::HttpRequestDenied);
    }
    for hop in [header::TE, header::TRAILER, header::EXPECT, header::UPGRADE, header::CONNECTION] {
        headers.remove(hop);
    }
    let host = HeaderValue::try_from(authority).map_err(|_| HttpError::HttpRequestUriInvalid)?;
    headers.insert(header::HOST, host);
    Ok(request)
}

/// The plugin's code for an error of the client; see the table above.
fn code(error: &legacy::Error, departure: &Departure) -> HttpError {
    if let Some(dial) = find::<DialError>(error) {
        return match dial {
            DialError::Denied => HttpError::HttpRequestDenied,
            DialError::Prohibited(_) => HttpError::DestinationIpProhibited,
            DialError::Lookup(_) => HttpError::DnsError { rcode: None, info_code: None },
            DialError::Full => HttpError::ConnectionLimitReached,
            DialError::Timeout => HttpError::ConnectionTimeout,
            DialError::Connect(_) => HttpError::ConnectionRefused,
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
}

impl Hooks {
    pub(crate) fn new(
        sender: Arc<Sender>,
        requests: usize,
        bytes_left: Arc<AtomicUsize>,
        lines: Shared<Lines>,
    ) -> Self {
        Self { sender, requests_left: requests, bytes_left, lines }
    }

    /// The plugin learns only that it is denied; the operator, what to change.
    fn admit(&mut self, request: &Request<WasiBody>) -> Result<Arc<Endpoint>, String> {
        let Some(left) = self.requests_left.checked_sub(1) else {
            return Err("HTTP request denied: the limit `http_requests_per_call` is reached".to_owned());
        };
        self.requests_left = left;
        self.sender.policy.decide(request.method(), request.uri()).map_err(|denial| match denial {
            Denial::Malformed => "HTTP request denied: its target is malformed or not http".to_owned(),
            Denial::NotGranted(authority) => {
                format!(
                    "HTTP request denied: `{authority}` is not the backend; only the backend's first URL is allowed"
                )
            }
            Denial::Rule => {
                format!("HTTP request denied: the backend's rule forbids {} {}", request.method(), request.uri().path())
            }
        })
    }
}

impl WasiHttpHooks for Hooks {
    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP
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
        let (sender, call) = (self.sender.clone(), self.bytes_left.clone());
        Box::new(async move { sender.send(request, &endpoint, options.unwrap_or_default(), call).await })
    }
}

#[cfg(test)]
mod tests;
