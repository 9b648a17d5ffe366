//! A proxy between the component and etcd that breaks things on demand.
//!
//! It reads one HTTP request at a time, so that it knows which one it breaks,
//! and keeps what it saw. A [`Fault`] says what becomes of a request; without
//! one, the request goes to etcd and its answer comes back.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use crate::{http, port::free_address};

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is reset; etcd never sees the request.
    ResetBefore,
    /// etcd carries the request out, and the connection is reset instead of an answer.
    ResetAfter,
    /// etcd receives the first octets of the request, then both sides are reset.
    CutRequest(usize),
    /// etcd carries the request out; the first octets of its answer come back, then a reset.
    CutAnswer(usize),
    /// etcd carries the request out; the answer waits.
    SlowAnswer(Duration),
    /// The request waits, then etcd carries it out.
    SlowRequest(Duration),
    /// The request waits until the gate is closed, then etcd carries it out.
    HeldRequest(Arc<Semaphore>),
    /// etcd never sees the request, and nothing is answered.
    Stall,
    /// etcd never sees the request; this is answered.
    Instead(Reply),
    /// etcd carries the request out; this is answered.
    After(Reply),
}

/// An answer of the proxy's own.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status line after the version: `503 Service Unavailable`.
    pub status: &'static str,
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Octets that are no text, with status 200.
    pub fn garbage() -> Self {
        let body = (0..400_u32).map(|index| u8::try_from(index.wrapping_mul(193) % 256).unwrap()).collect();
        Self { status: "200 OK", content_type: "application/json", body }
    }

    /// The page of some other web server, with status 200.
    pub fn html() -> Self {
        let body = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>It works!</body></html>".to_vec();
        Self { status: "200 OK", content_type: "text/html", body }
    }

    /// The error page of a load balancer.
    pub fn bad_gateway() -> Self {
        let body = b"<html><body><h1>502 Bad Gateway</h1></body></html>".to_vec();
        Self { status: "502 Bad Gateway", content_type: "text/html", body }
    }

    /// etcd's code 8, too many requests.
    pub fn too_many_requests() -> Self {
        Self::error("429 Too Many Requests", 8, "etcdserver: too many requests")
    }

    /// etcd's code 8, no space: nothing is written until somebody compacts.
    pub fn no_space() -> Self {
        Self::error("429 Too Many Requests", 8, "etcdserver: mvcc: database space exceeded")
    }

    /// etcd's code 14 of a read without a quorum.
    pub fn unavailable() -> Self {
        Self::error("503 Service Unavailable", 14, "etcdserver: request timed out")
    }

    /// etcd's code 14 without a leader: nothing was proposed.
    pub fn no_leader() -> Self {
        Self::error("503 Service Unavailable", 14, "etcdserver: no leader")
    }

    /// etcd's code 2 of a write without a quorum: its outcome is not known.
    pub fn quorum_lost() -> Self {
        Self::error("500 Internal Server Error", 2, "context deadline exceeded")
    }

    /// etcd's code 7.
    pub fn permission_denied() -> Self {
        Self::error("403 Forbidden", 7, "etcdserver: permission denied")
    }

    /// As etcd 3.4 and 3.5 shape it; 3.6 and later leave `error` out.
    fn error(status: &'static str, code: u8, message: &str) -> Self {
        let body = format!(r#"{{"error":"{message}","message":"{message}","code":{code}}}"#).into_bytes();
        Self { status, content_type: "application/json", body }
    }

    fn octets(&self) -> Vec<u8> {
        let Self { status, content_type, body } = self;
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST`.
    pub method: String,
    /// `/v3/kv/txn`.
    pub path: String,
    /// The body as text.
    pub body: String,
    octets: Vec<u8>,
}

impl Request {
    /// Its octets in all, the head included.
    pub fn length(&self) -> usize {
        self.octets.len()
    }

    /// Whether it would change what etcd holds.
    pub fn is_write(&self) -> bool {
        let writes = ["request_put", "requestPut", "request_delete_range", "requestDeleteRange"];
        self.path.ends_with("/kv/put")
            || self.path.ends_with("/kv/deleterange")
            || writes.iter().any(|word| self.body.contains(word))
    }

    /// Whether it only reads.
    pub fn is_read(&self) -> bool {
        !self.is_write()
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: SocketAddr,
    http: reqwest::Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<Request>,
    answered: usize,
    connections: usize,
}

struct Rule {
    concerns: Box<dyn FnMut(&Request) -> bool + Send>,
    fault: Fault,
    left: usize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts one in front of `upstream`.
    pub async fn start(upstream: SocketAddr) -> Self {
        let http = http::client();
        let shared = Arc::new(Shared { upstream, http, state: Mutex::default() });
        let mut proxy = Self { address: free_address(), shared, accepting: None };
        proxy.open().await;
        proxy
    }

    /// The base URL to give to the component.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next `times` requests that `concerns` picks meet this fault. What was
    /// injected first is asked first.
    pub fn inject(&self, times: usize, fault: Fault, concerns: impl FnMut(&Request) -> bool + Send + 'static) {
        self.shared.state.lock().unwrap().rules.push(Rule { concerns: Box::new(concerns), fault, left: times });
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.state.lock().unwrap().rules.clear();
    }

    /// Refuses connections, and breaks those that are open.
    pub async fn close(&mut self) {
        if let Some(task) = self.accepting.take() {
            task.abort();
            // It was aborted: that is how it ends.
            let _ = task.await;
        }
    }

    /// Accepts connections again, at the same address.
    pub async fn open(&mut self) {
        self.close().await;
        let listener = TcpListener::bind(self.address).await.expect("the proxy's address is free");
        let shared = Arc::clone(&self.shared);
        self.accepting = Some(tokio::spawn(async move {
            // Dropped with this task, and with it every connection.
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of file handles, say: that passes.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                shared.state.lock().unwrap().connections += 1;
                let shared = Arc::clone(&shared);
                connections.spawn(async move { serve(stream, &shared).await });
            }
        }));
    }

    /// Forgets what it saw.
    pub fn forget(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.seen.clear();
        state.answered = 0;
        state.connections = 0;
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// The requests so far that would change what etcd holds.
    pub fn writes(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_write).collect()
    }

    /// How many requests etcd has answered, whatever became of its answers.
    pub fn answered(&self) -> usize {
        self.shared.state.lock().unwrap().answered
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.take() {
            task.abort();
        }
    }
}

/// One connection, until it ends or is broken.
async fn serve(mut client: TcpStream, shared: &Shared) {
    // A client that goes away ends its connection; that is no failure here.
    while let Ok(Some(request)) = read_request(&mut client).await {
        let fault = shared.state.lock().unwrap().meet(&request);
        if handle(&mut client, shared, &request, fault).await.is_err() {
            break;
        }
    }
}

impl State {
    fn meet(&mut self, request: &Request) -> Option<Fault> {
        self.seen.push(request.clone());
        let rule =
            self.rules.iter_mut().find_map(|rule| (rule.left > 0 && (rule.concerns)(request)).then_some(rule))?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }
}

/// An error ends the connection.
async fn handle(client: &mut TcpStream, shared: &Shared, request: &Request, fault: Option<Fault>) -> io::Result<()> {
    let answer = match &fault {
        Some(Fault::ResetBefore) => return reset(client),
        Some(Fault::Stall) => return std::future::pending().await,
        Some(Fault::Instead(reply)) => return client.write_all(&reply.octets()).await,
        Some(Fault::CutRequest(length)) => {
            let mut upstream = TcpStream::connect(shared.upstream).await?;
            upstream.write_all(&request.octets[..(*length).min(request.octets.len())]).await?;
            upstream.set_zero_linger()?;
            return reset(client);
        }
        Some(Fault::SlowRequest(pause)) => {
            tokio::time::sleep(*pause).await;
            forward(shared, request).await
        }
        Some(Fault::HeldRequest(gate)) => {
            // Nobody gets a permit: that the gate is closed ends the waiting.
            let _ = gate.acquire().await;
            forward(shared, request).await
        }
        _ => forward(shared, request).await,
    };
    // etcd is away: for the component the connection breaks.
    let Ok(answer) = answer else { return reset(client) };
    shared.state.lock().unwrap().answered += 1;
    match fault {
        Some(Fault::ResetAfter) => reset(client),
        Some(Fault::CutAnswer(length)) => {
            client.write_all(&answer[..length.min(answer.len())]).await?;
            client.flush().await?;
            reset(client)
        }
        Some(Fault::After(reply)) => client.write_all(&reply.octets()).await,
        Some(Fault::SlowAnswer(pause)) => {
            tokio::time::sleep(pause).await;
            client.write_all(&answer).await
        }
        _ => client.write_all(&answer).await,
    }
}

/// Marks the connection so that closing it sends a reset, and ends it.
fn reset(client: &TcpStream) -> io::Result<()> {
    client.set_zero_linger()?;
    Err(io::ErrorKind::ConnectionReset.into())
}

/// Has etcd carry the request out; its answer as octets.
async fn forward(shared: &Shared, request: &Request) -> Result<Vec<u8>, reqwest::Error> {
    let method = request.method.parse().expect("a method");
    let url = format!("http://{}{}", shared.upstream, request.path);
    let body = request.body.clone();
    let answer = shared.http.request(method, url).header("content-type", "application/json").body(body).send().await?;
    let status = answer.status();
    let content_type = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\n",
        status.as_u16(),
        status.canonical_reason().unwrap_or("Other"),
        content_type.unwrap_or("application/json"),
    );
    let body = answer.bytes().await?;
    Ok([head.as_bytes(), format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat())
}

/// The next request; none when the client is done.
async fn read_request(client: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut octets = Vec::new();
    let head_length = loop {
        if let Some(place) = find(&octets, b"\r\n\r\n") {
            break place + 4;
        }
        if client.read_buf(&mut octets).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&octets[..head_length]).into_owned();
    let mut first = head.split(' ');
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let body = if field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        read_chunks(client, &mut octets, head_length).await?
    } else {
        let length = field("content-length").map_or(0, |value| value.parse().expect("a length"));
        fill(client, &mut octets, head_length + length).await?;
        octets[head_length..head_length + length].to_vec()
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Request { method: method.to_owned(), path: path.to_owned(), body, octets }))
}

/// The body that begins at `place`, without its chunk lines.
async fn read_chunks(client: &mut TcpStream, octets: &mut Vec<u8>, mut place: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(length) = find(&octets[place..], b"\r\n") {
                break place + length;
            }
            let more = octets.len() + 1;
            fill(client, octets, more).await?;
        };
        let line = String::from_utf8_lossy(&octets[place..end]).into_owned();
        let length = usize::from_str_radix(line.trim(), 16).expect("the length of a chunk");
        let begin = end + 2;
        fill(client, octets, begin + length + 2).await?;
        body.extend_from_slice(&octets[begin..begin + length]);
        place = begin + length + 2;
        if length == 0 {
            return Ok(body);
        }
    }
}

/// Reads until there are at least `length` octets.
async fn fill(client: &mut TcpStream, octets: &mut Vec<u8>, length: usize) -> io::Result<()> {
    while octets.len() < length {
        if client.read_buf(octets).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn find(octets: &[u8], pattern: &[u8]) -> Option<usize> {
    octets.windows(pattern.len()).position(|window| window == pattern)
}
