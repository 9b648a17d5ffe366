//! The import `wasi:http/outgoing-handler`: ask the policy, send, bound.
//!
//! Every request of a plugin comes through [`Hooks::send_request`]; the
//! runtime is built without a sender of its own. The client and its
//! connections are shared by all calls of one manager. No redirect is
//! followed, nothing is decompressed, and nothing is sent twice, but what the
//! backend refused for a token that it no longer knew ([`login`](super::login)).
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
//! | `connection-limit-reached` | all connections are in use, or as many requests are under way | no |
//! | `HTTP-request-body-size` | the request's body is too large | not whole |
//! | `connection-terminated` | the connection broke before the response | perhaps |
//! | `HTTP-response-timeout` | no response in time, or the exchange took too long | perhaps |
//! | `HTTP-protocol-error` | the response is no HTTP | perhaps |
//! | `HTTP-response-incomplete`, `connection-read-timeout`, `HTTP-response-body-size` | in the response's body | yes |
//!
//! *No* is certain: a request counts as sent as soon as a connection has taken
//! it up ([`Departure`](super::body::Departure)), whatever then became of it.
//!
//! With credentials, the status 511 says that the host could not log in just
//! now, and 401 with etcd's code 16 that it may not: the request was then not
//! handed on.

mod credentials;
mod fault;
mod sender;
mod target;

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use http::{Request, Response, header, uri::Scheme};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as HttpError, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use crate::{
    bindings::provisioning::dns::log::Level,
    capability::policy::{Denial, Endpoint},
    lines::Lines,
    shared::Shared,
    tally::Tally,
};
pub(crate) use sender::Sender;

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

/// Octets of a request's body that one write may have: as many wait in memory for each body that is open.
const CHUNK: usize = 64 << 10;

type Connecting = Box<dyn Future<Output = Result<(), HttpError>> + Send>;
type Sent = Result<(Response<WasiBody>, Connecting), HttpError>;

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

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
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
