//! How much at a time, how often, and how long.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header::RETRY_AFTER;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http_body::{Frame, SizeHint};
use tokio::sync::{Semaphore, oneshot};

use super::caller::{Caller, Who};
use super::demand::Demand;
use super::error::Failure;
use super::request;
use crate::config::Limits;

/// How many requests pass until callers who are long gone are forgotten.
const FORGET_EVERY: u32 = 10_000;
/// What is about whole zones may take so many times as long.
const BULK: u32 = 10;

/// How often somebody may call.
#[derive(Debug)]
pub(super) struct Rates {
    limiter: DefaultKeyedRateLimiter<Key>,
    clock: DefaultClock,
    passed: AtomicU32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Token(String),
    Address(Option<IpAddr>),
}

impl Rates {
    pub(super) fn new(limits: &Limits) -> Self {
        let quota = Quota::per_second(limits.requests_per_second).allow_burst(limits.burst);
        Self { limiter: RateLimiter::keyed(quota), clock: DefaultClock::default(), passed: AtomicU32::new(0) }
    }

    /// Refuses what comes too often. Commands on this machine are their owner's own.
    pub(super) fn check(&self, caller: &Caller) -> Result<(), Box<Response>> {
        let key = match &caller.who {
            Who::Local => return Ok(()),
            Who::Token { id, .. } => Key::Token(id.clone()),
            Who::Anonymous => Key::Address(caller.address.map(network)),
        };
        if self.passed.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&key).map_err(|until| {
            let message = format!("{} sends too many requests: wait as long as Retry-After says", caller.name());
            let wait = until.wait_time_from(self.clock.now());
            Box::new(refusal(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", message, wait))
        })
    }
}

/// Somebody with one IPv6 address has a whole network of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

/// How many requests may be at work. Those who wait for a workflow do no work, and have slots of their own; so have those who
/// listen to events, who may do that for days.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    working: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    listening: Arc<Semaphore>,
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        let slots = || Arc::new(Semaphore::new(most));
        Self { working: slots(), waiting: slots(), listening: slots() }
    }
}

/// Answers at once that there is too much to do, instead of keeping everybody waiting.
pub(super) async fn at_once(State(slots): State<Slots>, request: Request, next: Next) -> Response {
    let demand = Demand::of(request.method(), request.uri());
    if demand.role.is_none() {
        return next.run(request).await;
    }
    let slots = if demand.is_stream {
        slots.listening
    } else if demand.may_wait || wait(request.uri()).is_some() {
        slots.waiting
    } else {
        slots.working
    };
    match slots.try_acquire_owned() {
        // Until nobody listens any more.
        Ok(slot) if demand.is_stream => next.run(request).await.map(|body| Body::new(Keeping::new(body, slot))),
        Ok(_slot) => next.run(request).await,
        Err(_) => {
            let message = "there are too many requests at work: wait as long as Retry-After says".to_owned();
            refusal(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message, Duration::from_secs(1))
        }
    }
}

fn refusal(status: StatusCode, code: &str, message: String, wait: Duration) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    ([(RETRY_AFTER, seconds.max(1).to_string())], Failure::new(status, code, message)).into_response()
}

/// Ends what takes too long: a body that does not arrive, or an answer.
pub(super) async fn time(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let demand = Demand::of(request.method(), request.uri());
    let times = if demand.is_bulk { BULK } else { 1 };
    let asked = if demand.may_wait { Some(request::MAX_WAIT) } else { wait(request.uri()) };
    let whole = limits.request_timeout * times + asked.unwrap_or_default();
    let body = limits.body_timeout * times;

    let (arrived, request) = watched(request);
    let answer = next.run(request);
    tokio::pin!(answer);
    let deadline = tokio::time::sleep(whole);
    tokio::pin!(deadline);
    tokio::select! {
        answer = &mut answer => return answer,
        // It has arrived, or nobody wants it; both end the sender.
        _ = arrived => {}
        () = tokio::time::sleep(body.min(whole)) => {
            let message = format!("the body has not arrived within {}; nothing was done", humantime::format_duration(body.min(whole)));
            return Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", message).into_response();
        }
    }
    tokio::select! {
        answer = answer => answer,
        () = deadline => {
            let whole = humantime::format_duration(whole);
            let message = if demand.is_change() {
                format!("it was not done within {whole}, and what became of it is unknown: look before you send it again")
            } else {
                format!("it was not done within {whole}")
            };
            Failure::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message).into_response()
        }
    }
}

/// How long the query asks to wait.
fn wait(uri: &Uri) -> Option<Duration> {
    let Query(parameters) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let (_, text) = parameters.into_iter().find(|(name, _)| name == "wait")?;
    request::wait(&text).ok()
}

/// A request that tells when its body has arrived or was let go.
fn watched(request: Request) -> (oneshot::Receiver<()>, Request) {
    // The end of the sender is the message.
    let (sender, arrived) = oneshot::channel();
    (arrived, request.map(|body| Body::new(Keeping::new(body, sender))))
}

/// A body that keeps something until it has ended.
struct Keeping<T> {
    body: Body,
    kept: Option<T>,
}

impl<T> Keeping<T> {
    fn new(body: Body, kept: T) -> Self {
        let is_over = body.is_end_stream();
        Self { body, kept: (!is_over).then_some(kept) }
    }
}

impl<T: Unpin> HttpBody for Keeping<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.kept = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Role;

    fn caller(who: Who, address: &str) -> Caller {
        Caller { who, role: Role::Read, zones: Vec::new(), address: Some(address.parse().unwrap()) }
    }

    #[test]
    fn each_token_and_each_address_has_a_rate_of_its_own() {
        let one = std::num::NonZeroU32::MIN;
        let limits = Limits {
            concurrent_requests: 1,
            requests_per_second: one,
            burst: one,
            request_timeout: Duration::from_secs(1),
            body_timeout: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(1),
        };
        let rates = Rates::new(&limits);
        let token = |id: &str| Who::Token { name: "ci".to_owned(), id: id.to_owned() };
        for (who, address) in [
            (Who::Anonymous, "192.0.2.1"),
            (Who::Anonymous, "192.0.2.2"),
            (Who::Anonymous, "2001:db8::1"),
            (token("1"), "192.0.2.1"),
            (token("2"), "192.0.2.1"),
        ] {
            let caller = caller(who, address);
            assert!(rates.check(&caller).is_ok(), "{caller:?}");
            let refused = rates.check(&caller).unwrap_err();
            assert_eq!((refused.status().as_u16(), refused.headers()[RETRY_AFTER].to_str().unwrap()), (429, "1"));
        }
        assert!(rates.check(&caller(Who::Anonymous, "2001:db8::2")).is_err());
        for _ in 0..10 {
            assert!(rates.check(&caller(Who::Local, "127.0.0.1")).is_ok());
        }
    }
}
