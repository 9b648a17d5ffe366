//! The client of one manager: one exchange with the backend, bounded in time and size.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until, timeout_at},
};
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody};

use super::{Handler, Sent, fault, target};
use crate::{
    Limits,
    capability::{
        body::{Bounds, Departure, Incoming, Outgoing, Source},
        dial::{Dial, Lookup, Member},
        login::{self, Login},
        policy::{Endpoint, Policy, Route},
        tls::Secured,
    },
};

/// A member that has kept a request for so long is not asked again soon.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// The client of one manager, shared by all its calls.
pub(crate) struct Sender {
    pub(super) policy: Arc<Policy>,
    client: Client<Dial, Outgoing>,
    dial: Dial,
    /// Requests that are in memory as a whole, before or instead of a connection.
    whole: Semaphore,
    pub(super) login: Option<Login>,
    connect_timeout: Duration,
    http_timeout: Duration,
    pub(super) request_bytes: usize,
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
            whole: Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)),
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

    pub(super) async fn send(
        &self,
        request: Request<WasiBody>,
        endpoint: &Endpoint,
        options: RequestOptions,
        call: Arc<AtomicUsize>,
    ) -> Sent {
        let times = Times::new(&options, self, &endpoint.route);
        let bounds =
            || Bounds { max: self.response_bytes, call: call.clone(), between: times.between, deadline: times.end };
        let request = target::rebuilt(request, endpoint)?;
        let departure = Departure::default();
        let outgoing = |body| Outgoing::new(body, departure.clone(), self.request_bytes);
        let login = self.login.as_ref().filter(|_| login::is_wanted(request.uri().path()));
        let response = match (&endpoint.route, login) {
            (Route::Process(handler), _) => {
                let response = self.in_process(&**handler, request.map(outgoing), &times).await?;
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

    /// A place for a request that is taken into memory as a whole. Nothing of it was looked at before.
    pub(super) async fn place(&self, times: &Times) -> Result<SemaphorePermit<'_>, HttpError> {
        let place = timeout_at(times.begin().0, self.whole.acquire()).await;
        place.ok().and_then(Result::ok).ok_or(HttpError::ConnectionLimitReached)
    }

    async fn in_process(
        &self,
        handler: &dyn Handler,
        request: Request<Outgoing>,
        times: &Times,
    ) -> Result<Response<Full<Bytes>>, HttpError> {
        let _place = self.place(times).await?;
        let answer = async {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(handler.handle(Request::from_parts(head, body)).await.map(Full::new))
        };
        timeout_at(times.begin().1, answer).await.map_err(|_| HttpError::HttpResponseTimeout)?
    }

    pub(super) async fn over_network(
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
            Err(error) => fault::code(&error, departure),
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
        // Its own connection is not used again, however lately something came over it.
        if let Some(connected) = self.taken.connection_metadata().as_ref() {
            connected.poison();
        }
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

pub(super) fn boxed(body: Bytes) -> WasiBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// When each part of an exchange must be over.
pub(super) struct Times {
    connect: Duration,
    head: Duration,
    between: Duration,
    pub(super) end: Instant,
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
