//! Requests against servers on loopback: what they get, and what the plugin
//! is told when they misbehave.

mod credentials;
mod members;

use std::{
    net::SocketAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use http::HeaderValue;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{sender::SILENCE, *};
use crate::{
    Denials, Limits,
    capability::{
        dial::System,
        login::Login,
        policy::{Authority, Policy, Route, anywhere},
    },
    testing::{listener, nobody},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn limits() -> Limits {
    Limits { http_timeout: Duration::from_secs(5), connect_timeout: Duration::from_secs(1), ..Limits::default() }
}

fn hooks_with(members: &[SocketAddr], limits: &Limits) -> Hooks {
    let members: Vec<_> = members.iter().map(|m| Authority::parse(&m.to_string(), None).unwrap()).collect();
    let (authority, route) = (members[0].clone(), Route::Network(members));
    let endpoint = Endpoint { authority, secure: false, route, private: anywhere(), rule: None };
    hooks_for(endpoint, limits)
}

fn hooks_for(endpoint: Endpoint, limits: &Limits) -> Hooks {
    hooks_as(endpoint, None, limits)
}

fn hooks_as(endpoint: Endpoint, login: Option<Login>, limits: &Limits) -> Hooks {
    let policy = Policy { endpoints: vec![Arc::new(endpoint)] };
    let lines = Shared::new(Lines::new("test", "", 100, 100));
    let bytes = Arc::new(AtomicUsize::new(limits.response_bytes_per_call));
    Hooks::new(
        Arc::new(Sender::new(policy, Arc::new(System), None, login, limits)),
        limits.http_requests_per_call,
        bytes,
        lines,
        Shared::default(),
    )
}

fn post(to: SocketAddr, body: &'static str) -> Request<WasiBody> {
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    Request::post(format!("http://{to}/v3/kv/txn"))
        .header("content-length", body.size_hint().lower())
        .body(body)
        .unwrap()
}

async fn send_with(hooks: &mut Hooks, request: Request<WasiBody>, options: RequestOptions) -> Result<Bytes, HttpError> {
    let sent = hooks.send_request(request, Some(options), Box::new(async { Ok(()) }));
    Ok(Pin::from(sent).await?.0.into_body().collect().await?.to_bytes())
}

async fn send(hooks: &mut Hooks, request: Request<WasiBody>) -> Result<Bytes, HttpError> {
    send_with(hooks, request, RequestOptions::default()).await
}

/// Reads one request with a `content-length` as text.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        text.extend_from_slice(&buffer[..read]);
        let seen = String::from_utf8_lossy(&text).to_lowercase();
        if let Some((head, body)) = seen.split_once("\r\n\r\n") {
            let length =
                head.split("content-length: ").nth(1).and_then(|l| l.lines().next()).map_or(0, |l| l.parse().unwrap());
            if body.len() >= length {
                return Some(seen);
            }
        }
    }
}

/// Answers every request of every connection with these octets; tells what
/// came and over how many connections.
fn serve(listener: TcpListener, answer: &'static [u8]) -> Arc<Mutex<(usize, Vec<String>)>> {
    let log = Arc::new(Mutex::new((0, Vec::new())));
    let shared = log.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            shared.lock().unwrap().0 += 1;
            let log = shared.clone();
            tokio::spawn(async move {
                while let Some(request) = request(&mut stream).await {
                    log.lock().unwrap().1.push(request);
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    log
}

#[tokio::test]
async fn requests_share_a_connection_and_say_the_judged_host() {
    let (listener, address) = listener().await;
    let log = serve(listener, OK);
    let mut hooks = hooks_with(&[address], &limits());
    for _ in 0..20 {
        let mut request = post(address, "{}");
        request.headers_mut().insert("host", HeaderValue::from_static("evil.example"));
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        assert_eq!(send(&mut hooks, request).await.unwrap(), "ok");
    }

    let (connections, requests) = &*log.lock().unwrap();
    assert_eq!((*connections, requests.len()), (1, 20));
    assert!(requests[0].starts_with("post /v3/kv/txn http/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains(&format!("\r\nhost: {address}\r\n")));
    assert!(!requests[0].contains("\r\nte:") && !requests[0].contains("evil"));
}

#[tokio::test]
async fn other_targets_are_denied_without_a_connection() {
    let ((granted, granted_address), (other, other_address)) = (listener().await, listener().await);
    let (granted, other) = (serve(granted, OK), serve(other, OK));
    let mut hooks = hooks_with(&[granted_address], &limits());

    let denied = send(&mut hooks, post(other_address, "{}")).await;
    assert!(matches!(denied, Err(HttpError::HttpRequestDenied)));
    let mut twice = post(granted_address, "{}");
    twice.headers_mut().append("content-length", HeaderValue::from_static("2"));
    assert!(matches!(send(&mut hooks, twice).await, Err(HttpError::HttpRequestDenied)));

    assert_eq!((granted.lock().unwrap().0, other.lock().unwrap().0), (0, 0));
}

#[tokio::test]
async fn redirects_are_handed_over() {
    let ((first, address), (second, _)) = (listener().await, listener().await);
    serve(first, b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n");
    let second = serve(second, OK);
    let mut hooks = hooks_with(&[address], &limits());

    let sent = hooks.send_request(post(address, "{}"), None, Box::new(async { Ok(()) }));
    let (response, _) = Pin::from(sent).await.unwrap();

    assert_eq!(response.status(), 302);
    assert_eq!(second.lock().unwrap().0, 0);
}

#[tokio::test]
async fn requests_of_a_call_are_counted() {
    let (listener, address) = listener().await;
    let log = serve(listener, OK);
    let mut hooks = hooks_with(&[address], &Limits { http_requests_per_call: 2, ..limits() });

    let answers = [
        send(&mut hooks, post(address, "{}")).await.is_ok(),
        send(&mut hooks, post(address, "{}")).await.is_ok(),
        send(&mut hooks, post(address, "{}")).await.is_ok(),
    ];

    assert_eq!(answers, [true, true, false]);
    assert_eq!(log.lock().unwrap().1.len(), 2);
}

#[tokio::test]
async fn what_becomes_of_requests_is_counted() {
    const AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    const BROKEN: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nok";
    let used = |requests, answered, denials| Tally {
        http_requests: requests,
        http_answered: answered,
        denials,
        ..Tally::default()
    };
    let none = Denials::default();
    let tight = Limits { response_bytes: 1, ..limits() };
    let cases = [
        (OK, "{}", limits(), used(1, 1, none)),
        (AWAY, "{}", limits(), used(1, 0, none)),
        (BROKEN, "{}", Limits { http_timeout: Duration::from_millis(200), ..limits() }, used(1, 0, none)),
        (OK, "{}", tight, used(1, 0, Denials { limits: 1, ..none })),
        (OK, "{}", Limits { request_bytes: 1, ..limits() }, used(1, 0, Denials { limits: 1, ..none })),
        (OK, "{}", Limits { http_requests_per_call: 0, ..limits() }, used(0, 0, Denials { limits: 1, ..none })),
    ];
    for (answer, body, limits, expected) in cases {
        let (listener, address) = listener().await;
        serve(listener, answer);
        let mut hooks = hooks_with(&[address], &limits);
        let got = send(&mut hooks, post(address, body)).await;
        assert_eq!(*hooks.tally.lock(), expected, "{got:?}");
    }
}

#[tokio::test]
async fn what_policy_forbids_is_counted() {
    let ((_granted, address), (_other, elsewhere)) = (listener().await, listener().await);
    let mut hooks = hooks_with(&[address], &limits());
    assert!(send(&mut hooks, post(elsewhere, "{}")).await.is_err());
    assert_eq!(hooks.tally.lock().denials, Denials { http: 1, ..Denials::default() });
    assert_eq!(hooks.tally.lock().http_requests, 0);

    let mut twice = post(address, "{}");
    twice.headers_mut().append("content-length", HeaderValue::from_static("2"));
    assert!(send(&mut hooks, twice).await.is_err());
    assert_eq!(hooks.tally.lock().denials, Denials { http: 2, ..Denials::default() });
}

/// Waits for the first request.
async fn has_arrived(log: &Mutex<(usize, Vec<String>)>) {
    let begin = Instant::now();
    while log.lock().unwrap().1.is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no request came");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nobody_there_is_surely_not_sent() {
    let (_nobody, address) = nobody();
    let refused = send(&mut hooks_with(&[address], &limits()), post(address, "{}")).await;
    assert!(matches!(refused, Err(HttpError::ConnectionRefused)), "{refused:?}");
}

#[tokio::test]
async fn closed_after_the_request_is_in_doubt() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await.unwrap();
    });
    let lost = send(&mut hooks_with(&[address], &limits()), post(address, "{}")).await;
    assert!(matches!(lost, Err(HttpError::ConnectionTerminated)), "{lost:?}");
}

#[tokio::test]
async fn silence_after_the_request_is_in_doubt() {
    let (listener, address) = listener().await;
    let silent = serve(listener, b"");
    let options = RequestOptions { first_byte_timeout: Some(Duration::from_millis(50)), ..RequestOptions::default() };
    let mut hooks = hooks_with(&[address], &limits());
    let sent = hooks.send_request(post(address, "{}"), Some(options), Box::new(async { Ok(()) }));
    let sent = tokio::spawn(Pin::from(sent));
    has_arrived(&silent).await;

    // There is nothing left to wait for but time.
    tokio::time::pause();
    let lost = sent.await.unwrap().map(drop);

    assert!(matches!(lost, Err(HttpError::HttpResponseTimeout)), "{lost:?}");
    assert_eq!(silent.lock().unwrap().1.len(), 1);
}

#[tokio::test]
async fn nonsense_is_in_doubt() {
    let (listener, address) = listener().await;
    serve(listener, b"SMTP ready\r\n\r\n");
    let lost = send(&mut hooks_with(&[address], &limits()), post(address, "{}")).await;
    assert!(matches!(lost, Err(HttpError::HttpProtocolError)), "{lost:?}");
}

#[tokio::test]
async fn no_free_connection_is_surely_not_sent() {
    let (listener, address) = listener().await;
    let log = serve(listener, b"");
    let mut hooks = hooks_with(&[address], &Limits { connections: 1, ..limits() });
    let first = hooks.send_request(post(address, "{}"), None, Box::new(async { Ok(()) }));
    let first = tokio::spawn(Pin::from(first));
    has_arrived(&log).await;

    // The connector's own wait and the client's end at the same moment.
    tokio::time::pause();
    let full = send(&mut hooks, post(address, "{}")).await;

    assert!(matches!(full, Err(HttpError::ConnectionLimitReached | HttpError::ConnectionTimeout)), "{full:?}");
    first.abort();
}

#[tokio::test]
async fn idle_connection_that_was_closed_is_not_used() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await.unwrap();
            stream.write_all(OK).await.unwrap();
        }
    });
    let mut hooks = hooks_with(&[address], &limits());

    for _ in 0..2 {
        // The second may meet the first's connection while it closes. It is
        // then surely not sent, or in doubt, never lost in silence.
        match send(&mut hooks, post(address, "{}")).await {
            Ok(body) => assert_eq!(body, "ok"),
            Err(HttpError::ConnectionRefused | HttpError::ConnectionTerminated) => return server.abort(),
            Err(other) => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.await.unwrap();
}

#[tokio::test]
async fn response_body_is_bounded() {
    let (listener, address) = listener().await;
    serve(listener, OK);
    let tight = Limits { response_bytes: 1, ..limits() };
    let refused = send(&mut hooks_with(&[address], &tight), post(address, "{}")).await;
    assert!(matches!(refused, Err(HttpError::HttpResponseBodySize(Some(1)))), "{refused:?}");
}

#[tokio::test]
async fn dripping_body_is_ended() {
    let (listener, address) = listener().await;
    serve(listener, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok");
    let options =
        RequestOptions { between_bytes_timeout: Some(Duration::from_millis(50)), ..RequestOptions::default() };
    let ended = send_with(&mut hooks_with(&[address], &limits()), post(address, "{}"), options).await;
    assert!(matches!(ended, Err(HttpError::ConnectionReadTimeout)), "{ended:?}");
}

#[tokio::test]
async fn absurd_timeouts_are_clamped() {
    let (listener, address) = listener().await;
    serve(listener, OK);
    let mut hooks = hooks_with(&[address], &limits());
    for absurd in [Duration::ZERO, Duration::MAX] {
        let options = RequestOptions {
            connect_timeout: Some(Duration::from_secs(1)),
            first_byte_timeout: Some(absurd),
            between_bytes_timeout: Some(absurd.max(Duration::from_millis(100))),
        };
        assert_eq!(send_with(&mut hooks, post(address, "{}"), options).await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn body_that_breaks_off_is_no_success() {
    let (listener, address) = listener().await;
    serve(listener, OK);
    let broken = futures_util::stream::iter([Err(HttpError::InternalError(None))]);
    let request = Request::post(format!("http://{address}/")).body(StreamBody::new(broken).boxed_unsync()).unwrap();
    let failed = send(&mut hooks_with(&[address], &limits()), request).await;
    assert!(matches!(failed, Err(HttpError::ConnectionTerminated)), "{failed:?}");
}

struct Echo;

impl Handler for Echo {
    fn handle<'a>(&'a self, request: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + 'a>> {
        Box::pin(async move { Response::new(request.into_body()) })
    }
}

#[tokio::test]
async fn handler_answers_behind_the_same_policy() {
    let endpoint = Endpoint {
        authority: Authority::parse("embedded.internal:2379", None).unwrap(),
        secure: false,
        route: Route::Process(Arc::new(Echo)),
        private: Vec::new(),
        rule: Some(Arc::new(|_, path| path == "/granted")),
    };
    let mut hooks = hooks_for(endpoint, &Limits { response_bytes: 5, ..limits() });
    let request = |path: &str, body: &'static str| {
        let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {}).boxed_unsync();
        Request::post(format!("http://embedded.internal:2379{path}")).body(body).unwrap()
    };

    assert_eq!(send(&mut hooks, request("/granted", "hello")).await.unwrap(), "hello");
    assert!(matches!(send(&mut hooks, request("/other", "hello")).await, Err(HttpError::HttpRequestDenied)));
    assert!(matches!(
        send(&mut hooks, request("/granted", "too long")).await,
        Err(HttpError::HttpResponseBodySize(Some(5)))
    ));
    let elsewhere = Request::post("http://127.0.0.1:2379/granted")
        .body(Empty::new().map_err(|never| match never {}).boxed_unsync());
    assert!(matches!(send(&mut hooks, elsewhere.unwrap()).await, Err(HttpError::HttpRequestDenied)));
}

/// Tells that it was asked, and never answers.
struct Mute(tokio::sync::Notify);

impl Handler for Mute {
    fn handle<'a>(&'a self, _: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + 'a>> {
        self.0.notify_one();
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn handler_gets_no_more_requests_at_once_than_there_are_connections() {
    let handler = Arc::new(Mute(tokio::sync::Notify::new()));
    let endpoint = Endpoint {
        authority: Authority::parse("embedded.internal:2379", None).unwrap(),
        secure: false,
        route: Route::Process(handler.clone()),
        private: Vec::new(),
        rule: None,
    };
    let mut hooks = hooks_for(endpoint, &Limits { connections: 1, ..limits() });
    let request = || {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        Request::post("http://embedded.internal:2379/").body(body).unwrap()
    };
    let first = hooks.send_request(request(), None, Box::new(async { Ok(()) }));
    let first = tokio::spawn(Pin::from(first));
    handler.0.notified().await;

    tokio::time::pause();
    let full = send(&mut hooks, request()).await;

    assert!(matches!(full, Err(HttpError::ConnectionLimitReached)), "{full:?}");
    first.abort();
}
