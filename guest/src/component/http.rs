//! HTTP to the backend, by `wasi:http/outgoing-handler`.
//!
//! Blocking, one request at a time: every wait is a poll on what is waited for and on the deadline. What matters to the
//! caller is whether a request that failed may have arrived, so the host's error codes are told apart by that.

use std::time::Duration;

use wasip2::{
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
            RequestOptions, Scheme, http_error_code,
        },
    },
    io::{
        poll::{Pollable, poll},
        streams::StreamError,
    },
};

use super::{
    clock::{nanoseconds, timer},
    settings::HostSettings,
};
use crate::ports::{HttpClient, HttpFault, HttpReply, Settings};

/// The largest answer that is taken.
const MAX_ANSWER: usize = 32 << 20;
/// What is read at once.
const CHUNK: u64 = 64 << 10;

/// The backend of the setting `url`.
pub(super) struct HostHttp;

impl HttpClient for HostHttp {
    fn send(&self, path: &str, body: Option<&[u8]>, timeout: Duration) -> Result<HttpReply, HttpFault> {
        let url =
            HostSettings.get("url").ok_or_else(|| HttpFault::NotSent("the setting `url` is missing".to_owned()))?;
        let base = base(&url).map_err(|why| HttpFault::NotSent(format!("the setting `url` is `{url}`: {why}")))?;
        let deadline = Deadline(timer(timeout));
        let response = request(&base, path, body, timeout, &deadline)?;
        Ok(HttpReply { status: response.status(), body: read(&response, &deadline)? })
    }
}

/// What a base URL says.
struct Base<'u> {
    scheme: Scheme,
    /// A host and perhaps a port.
    authority: &'u str,
}

/// A base URL: the scheme `http` or `https`, an authority, and nothing else.
fn base(url: &str) -> Result<Base<'_>, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("it has no scheme; write http://HOST:PORT")?;
    let (scheme, default_port) = if scheme.eq_ignore_ascii_case("https") {
        (Scheme::Https, "443")
    } else if scheme.eq_ignore_ascii_case("http") {
        (Scheme::Http, "80")
    } else {
        return Err("only http and https are spoken; write http://HOST:PORT");
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err("it has a path; write http://HOST:PORT");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or("its address lacks the `]`")?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("what stands in `[]` is no IPv6 address");
            }
            (address, port.strip_prefix(':').or(port.is_empty().then_some(default_port)))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some(default_port)),
        },
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_host) {
        return Err("its host is no host name and no address");
    }
    match port {
        Some(port) if port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(Base { scheme, authority })
        }
        _ => Err("its port is no number from 1 to 65535"),
    }
}

/// When the whole exchange must be over.
struct Deadline(Pollable);

impl Deadline {
    /// Waits until `pollable` is ready.
    ///
    /// # Errors
    ///
    /// [`HttpFault::Lost`] when the time is over before.
    fn wait(&self, pollable: &Pollable) -> Result<(), HttpFault> {
        // The indices of those that are ready, the first one being `pollable`.
        match poll(&[pollable, &self.0]).first() {
            Some(0) => Ok(()),
            _ => Err(HttpFault::Lost("no answer in time".to_owned())),
        }
    }
}

/// Sends a request and waits for the head of the response.
fn request(
    base: &Base<'_>,
    path: &str,
    body: Option<&[u8]>,
    timeout: Duration,
    deadline: &Deadline,
) -> Result<IncomingResponse, HttpFault> {
    let request =
        head(base, path, body).map_err(|part| HttpFault::NotSent(format!("the host takes no such {part}")))?;
    let options = options(timeout).map_err(|()| HttpFault::NotSent("the host takes no such timeout".to_owned()))?;
    let out = request.body().map_err(|()| HttpFault::NotSent("the host gives no body".to_owned()))?;
    // Before the body is written: until then nobody reads it (bytecodealliance/wasmtime#9653).
    let response = outgoing_handler::handle(request, Some(options)).map_err(fault_of)?;
    write(out, body.unwrap_or_default(), deadline)?;
    wait_for(&response, deadline)
}

/// All of a request but its body; the part that the host does not take, if there is one.
fn head(base: &Base<'_>, path: &str, body: Option<&[u8]>) -> Result<OutgoingRequest, &'static str> {
    // Without `accept`, etcd's gateway lends a request without a token the name in its own certificate.
    let mut fields = vec![("accept".to_owned(), b"application/json".to_vec())];
    if let Some(body) = body {
        fields.push(("content-type".to_owned(), b"application/json".to_vec()));
        fields.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    }
    let request = OutgoingRequest::new(Fields::from_list(&fields).map_err(|_| "header")?);
    let method = if body.is_some() { Method::Post } else { Method::Get };
    request.set_method(&method).map_err(|()| "method")?;
    request.set_scheme(Some(&base.scheme)).map_err(|()| "scheme")?;
    request.set_authority(Some(base.authority)).map_err(|()| "authority")?;
    request.set_path_with_query(Some(path)).map_err(|()| "path")?;
    Ok(request)
}

/// All three timeouts. Connecting gets half, so that a host that does not answer is told apart from a lost request.
fn options(timeout: Duration) -> Result<RequestOptions, ()> {
    let nanoseconds = |timeout| Some(nanoseconds(timeout).max(1));
    let options = RequestOptions::new();
    options.set_connect_timeout(nanoseconds(timeout / 2))?;
    options.set_first_byte_timeout(nanoseconds(timeout))?;
    options.set_between_bytes_timeout(nanoseconds(timeout))?;
    Ok(options)
}

/// Writes a body as the host takes it. That the host stops taking it is no error here: the response says why.
fn write(out: OutgoingBody, mut body: &[u8], deadline: &Deadline) -> Result<(), HttpFault> {
    {
        // The stream is a child of the body and must be gone before `finish`.
        let Ok(stream) = out.write() else { return Ok(()) };
        let ready = stream.subscribe();
        while !body.is_empty() {
            let Ok(permitted) = stream.check_write() else { break };
            if permitted == 0 {
                deadline.wait(&ready)?;
                continue;
            }
            let length = usize::try_from(permitted).unwrap_or(usize::MAX).min(body.len());
            let (part, rest) = body.split_at(length);
            if stream.write(part).is_err() {
                break;
            }
            body = rest;
        }
    }
    // Likewise: prefer what the response says.
    let _ = OutgoingBody::finish(out, None);
    Ok(())
}

/// Waits for the head of the response.
fn wait_for(response: &FutureIncomingResponse, deadline: &Deadline) -> Result<IncomingResponse, HttpFault> {
    let ready = response.subscribe();
    loop {
        match response.get() {
            Some(Ok(result)) => return result.map_err(fault_of),
            Some(Err(())) => return Err(HttpFault::Lost("the host gave the response away".to_owned())),
            None => deadline.wait(&ready)?,
        }
    }
}

/// Reads a body to its end.
fn read(response: &IncomingResponse, deadline: &Deadline) -> Result<Vec<u8>, HttpFault> {
    let body = response.consume().map_err(|()| HttpFault::Lost("the response has no body".to_owned()))?;
    let stream = body.stream().map_err(|()| HttpFault::Lost("the body has no stream".to_owned()))?;
    let ready = stream.subscribe();
    let mut read = Vec::new();
    loop {
        match stream.read(CHUNK) {
            // Not the end: nothing is there yet.
            Ok(part) if part.is_empty() => deadline.wait(&ready)?,
            Ok(part) if read.len() + part.len() > MAX_ANSWER => return Err(HttpFault::TooLarge),
            Ok(part) => read.extend(part),
            // Children go first: the locals are dropped in reverse order.
            Err(StreamError::Closed) => return Ok(read),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match http_error_code(&error) {
                    Some(ErrorCode::HttpResponseBodySize(_)) => HttpFault::TooLarge,
                    _ => HttpFault::Lost(format!("the answer broke off: {}", error.to_debug_string())),
                });
            }
        }
    }
}

/// What a code says about whether the request may have arrived.
fn fault_of(code: ErrorCode) -> HttpFault {
    let not_sent = |why: &str| HttpFault::NotSent(why.to_owned());
    match code {
        ErrorCode::HttpRequestDenied => HttpFault::Denied("the request is not allowed".to_owned()),
        ErrorCode::DestinationIpProhibited => HttpFault::Denied("the address is not allowed".to_owned()),
        ErrorCode::ConnectionRefused => not_sent("connection refused"),
        ErrorCode::TlsProtocolError => {
            not_sent("no TLS connection comes about: what listens there speaks http, or closes the connection")
        }
        ErrorCode::TlsCertificateError => HttpFault::NotTrusted("its certificate is not good".to_owned()),
        ErrorCode::TlsAlertReceived(payload) => {
            HttpFault::NotTrusted(payload.alert_message.unwrap_or_else(|| "TLS was refused".to_owned()))
        }
        ErrorCode::ConnectionTimeout => not_sent("no connection in time"),
        ErrorCode::ConnectionLimitReached => not_sent("too many connections are open"),
        ErrorCode::DnsTimeout => not_sent("its host name was not resolved in time"),
        ErrorCode::DnsError(payload) => HttpFault::NotSent(match payload.rcode {
            Some(rcode) => format!("its host name was not resolved ({rcode})"),
            None => "its host name was not resolved".to_owned(),
        }),
        ErrorCode::DestinationNotFound => not_sent("there is no such host"),
        ErrorCode::DestinationUnavailable => not_sent("the host is not available"),
        ErrorCode::DestinationIpUnroutable => not_sent("there is no route to the address"),
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestUriTooLong => not_sent("the URL is not valid"),
        ErrorCode::HttpRequestMethodInvalid => not_sent("the method is not valid"),
        ErrorCode::HttpRequestLengthRequired => not_sent("the host wants a length"),
        ErrorCode::HttpRequestHeaderSectionSize(_) | ErrorCode::HttpRequestHeaderSize(_) => {
            not_sent("the header is too long")
        }
        // The host stopped in the middle, and half a JSON object is none.
        ErrorCode::HttpRequestBodySize(_) => not_sent("the request is too long"),
        ErrorCode::HttpResponseBodySize(_) => HttpFault::TooLarge,
        ErrorCode::ConnectionTerminated => HttpFault::Lost("the connection was closed".to_owned()),
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            HttpFault::Lost("no answer in time".to_owned())
        }
        ErrorCode::HttpProtocolError => HttpFault::Lost("what came is not HTTP".to_owned()),
        ErrorCode::InternalError(Some(why)) => HttpFault::Lost(why),
        other => HttpFault::Lost(format!("{other:?}")),
    }
}
