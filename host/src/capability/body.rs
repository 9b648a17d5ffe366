//! Bodies on their way out and in, with what the host must know and bound.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{Error as HttpError, WasiBody};

/// Whether a request may have left: *waiting*, then either *left* or
/// *withdrawn*, never both.
///
/// The HTTP client looks at a request's body for the first time when a
/// connection takes the request up. Until then nothing of it was sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Departure(Arc<AtomicU8>);

impl Departure {
    const WAITING: u8 = 0;
    const LEFT: u8 = 1;
    const WITHDRAWN: u8 = 2;

    /// Notes that the request is taken up; false if it was withdrawn before.
    pub(crate) fn leave(&self) -> bool {
        self.become_or_be(Self::LEFT)
    }

    /// Withdraws the request; true if it surely was not and will not be sent.
    pub(crate) fn withdraw(&self) -> bool {
        self.become_or_be(Self::WITHDRAWN)
    }

    fn become_or_be(&self, state: u8) -> bool {
        match self.0.compare_exchange(Self::WAITING, state, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(current) => current == state,
        }
    }
}

/// A request's body: bounded, tells of its departure, without empty frames,
/// which could pile up unsent (GHSA-f8mm-ggr3-89wh).
pub(crate) struct Outgoing {
    inner: WasiBody,
    departure: Departure,
    left: usize,
    max: usize,
}

impl Outgoing {
    pub(crate) fn new(inner: WasiBody, departure: Departure, max: usize) -> Self {
        Self { inner, departure, left: max, max }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if !self.departure.leave() {
            return Poll::Ready(Some(Err(HttpError::HttpRequestDenied)));
        }
        loop {
            let polled = Pin::new(&mut self.inner).poll_frame(cx);
            let Poll::Ready(Some(Ok(frame))) = &polled else { return polled };
            let Some(data) = frame.data_ref() else { return polled };
            if data.is_empty() {
                continue;
            }
            match self.left.checked_sub(data.len()) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(HttpError::HttpRequestBodySize(Some(self.max as u64))))),
            }
            return polled;
        }
    }

    fn is_end_stream(&self) -> bool {
        // A withdrawn body has not ended: the client must come and be refused.
        self.departure.leave() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Where a response's body comes from.
pub(crate) enum Source {
    /// A server.
    Network(hyper::body::Incoming),
    /// A handler in this process: all of it is here, and charged.
    Process(Full<Bytes>),
    /// A handler whose response was too large.
    Refused(Option<HttpError>),
}

/// Bounds of one exchange.
pub(crate) struct Bounds {
    /// Bytes of this body.
    pub(crate) max: usize,
    /// Bytes that are left to the whole call.
    pub(crate) call: Arc<AtomicUsize>,
    /// The longest wait for more.
    pub(crate) between: Duration,
    /// When the exchange must be over.
    pub(crate) deadline: Instant,
}

/// A response's body: bounded in bytes, in waiting and in all.
pub(crate) struct Incoming {
    inner: Source,
    left: usize,
    max: usize,
    call: Arc<AtomicUsize>,
    between: Duration,
    // The timer runs only while a read waits: a slow plugin is not blamed on
    // the server.
    waiting: bool,
    idle: Pin<Box<Sleep>>,
    total: Pin<Box<Sleep>>,
}

impl Incoming {
    pub(crate) fn new(inner: Source, bounds: Bounds) -> Self {
        let Bounds { max, call, between, deadline } = bounds;
        let idle = Box::pin(tokio::time::sleep(between));
        let total = Box::pin(tokio::time::sleep_until(deadline));
        let mut incoming = Self { inner, left: max, max, call, between, waiting: false, idle, total };
        // What is in memory counts from now on, whether it will be read or not.
        if let Source::Process(body) = &incoming.inner {
            let bytes = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
            if let Err(error) = incoming.charge(bytes) {
                incoming.inner = Source::Refused(Some(error));
            }
        }
        incoming
    }

    fn charge(&mut self, bytes: usize) -> Result<(), HttpError> {
        let too_large = || HttpError::HttpResponseBodySize(Some(self.max as u64));
        self.left = self.left.checked_sub(bytes).ok_or_else(too_large)?;
        if charge(&self.call, bytes) { Ok(()) } else { Err(HttpError::HttpResponseBodySize(None)) }
    }
}

/// Takes from what is left to a call; false if it is not enough.
pub(crate) fn charge(left: &AtomicUsize, bytes: usize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if self.total.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(HttpError::HttpResponseTimeout)));
        }
        let polled = match &mut self.inner {
            Source::Network(body) => Pin::new(body).poll_frame(cx).map_err(broken_off),
            Source::Process(body) => return Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Source::Refused(error) => return Poll::Ready(error.take().map(Err)),
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = false;
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                Poll::Ready(Some(self.charge(bytes).map(|()| frame)))
            }
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => {
                if !self.waiting {
                    let until = Instant::now() + self.between;
                    self.idle.as_mut().reset(until);
                    self.waiting = true;
                }
                match self.idle.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(HttpError::ConnectionReadTimeout))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Source::Network(body) => body.is_end_stream(),
            Source::Process(body) => body.is_end_stream(),
            Source::Refused(error) => error.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Source::Network(body) => body.size_hint(),
            Source::Process(body) => body.size_hint(),
            Source::Refused(_) => SizeHint::default(),
        }
    }
}

fn broken_off(error: hyper::Error) -> HttpError {
    if error.is_incomplete_message() { HttpError::HttpResponseIncomplete } else { HttpError::ConnectionTerminated }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn outgoing(chunks: &'static [&'static str], departure: &Departure, max: usize) -> Outgoing {
        let frames =
            futures_util::stream::iter(chunks.iter().map(|c| Ok(Frame::data(Bytes::from_static(c.as_bytes())))));
        Outgoing::new(StreamBody::new(frames).boxed_unsync(), departure.clone(), max)
    }

    fn incoming(bytes: &'static [u8], max: usize, call: usize) -> Incoming {
        let bounds = Bounds {
            max,
            call: Arc::new(AtomicUsize::new(call)),
            between: Duration::from_secs(1),
            deadline: Instant::now() + Duration::from_secs(1),
        };
        Incoming::new(Source::Process(Full::new(Bytes::from_static(bytes))), bounds)
    }

    #[tokio::test]
    async fn body_that_is_looked_at_has_left() {
        let departure = Departure::default();
        let body = outgoing(&["a", "", "b"], &departure, 2);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ab");
        assert!(!departure.withdraw());
    }

    #[tokio::test]
    async fn withdrawn_body_is_refused() {
        let departure = Departure::default();
        let body = outgoing(&[], &departure, 2);
        assert!(departure.withdraw() && departure.withdraw());
        assert!(!body.is_end_stream());
        assert!(matches!(body.collect().await, Err(HttpError::HttpRequestDenied)));
    }

    #[tokio::test]
    async fn request_is_bounded() {
        let body = outgoing(&["abc", "d"], &Departure::default(), 3);
        assert!(matches!(body.collect().await, Err(HttpError::HttpRequestBodySize(Some(3)))));
    }

    #[tokio::test]
    async fn response_is_bounded_alone_and_per_call() {
        assert_eq!(incoming(b"abc", 3, 3).collect().await.unwrap().to_bytes(), "abc");
        assert!(matches!(incoming(b"abc", 2, 9).collect().await, Err(HttpError::HttpResponseBodySize(Some(2)))));
        assert!(matches!(incoming(b"abc", 9, 2).collect().await, Err(HttpError::HttpResponseBodySize(None))));
    }

    #[tokio::test]
    async fn response_of_this_process_counts_before_it_is_read() {
        let kept = incoming(b"abc", 3, 10);
        assert_eq!(kept.call.load(Ordering::Relaxed), 7);
        assert_eq!(kept.collect().await.unwrap().to_bytes(), "abc");
    }

    #[tokio::test]
    async fn exchange_ends_at_its_deadline() {
        let mut body = incoming(b"abc", 3, 3);
        body.total.as_mut().reset(Instant::now());
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(matches!(body.collect().await, Err(HttpError::HttpResponseTimeout)));
    }
}
