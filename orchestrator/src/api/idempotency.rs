//! `Idempotency-Key`: a POST that may come twice is carried out once, and answered alike both times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use sha2::{Digest, Sha256};

use super::MAX_BODY_BYTES;
use super::error::Failure;

pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Octets of all answers that are kept.
const ROOM: u64 = 64 * 1024 * 1024;
const LONGEST_KEY: usize = 255;

/// Answers by who asked what under which key. A process that is started again knows none of them; of new servers, the
/// inventory does.
#[derive(Clone)]
pub(super) struct Answers(Cache<String, Answer>);

#[derive(Clone)]
struct Answer {
    request: String,
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl Answers {
    pub(super) fn new() -> Self {
        let weight = |key: &String, answer: &Answer| u32::try_from(key.len() + answer.body.len()).unwrap_or(u32::MAX);
        // The usual policy would rather keep what was asked for than what is new.
        let policy = EvictionPolicy::lru();
        Self(Cache::builder().max_capacity(ROOM).weigher(weight).eviction_policy(policy).time_to_live(KEPT).build())
    }
}

/// What tells a request with a key from others, for the inventory.
pub(super) fn of_request(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let key = headers.get(KEY)?;
    Some(digest([who(headers), key.as_bytes(), body]))
}

/// Each token has keys of its own.
fn who(headers: &HeaderMap) -> &[u8] {
    headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default()
}

/// Carries a POST with a key out, or repeats the answer that it had.
pub(super) async fn once(State(Answers(answers)): State<Answers>, request: Request, next: Next) -> Response {
    let Some(key) = request.headers().get(KEY).cloned().filter(|_| *request.method() == Method::POST) else {
        return next.run(request).await;
    };
    let is_printable = key.as_bytes().iter().all(|octet| (0x20..0x7f).contains(octet));
    if key.is_empty() || key.len() > LONGEST_KEY || !is_printable {
        let message = format!("Idempotency-Key: it must have 1 to {LONGEST_KEY} printable ASCII characters");
        return Failure::invalid(message).into_response();
    }
    let (parts, body) = request.into_parts();
    // Whole files are planned and applied anew: what they find is in their answer.
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY_BYTES).await else {
        return Failure::too_large(format!("a request with an Idempotency-Key has at most {MAX_BODY_BYTES} bytes"))
            .into_response();
    };
    let place = parts.uri.path().as_bytes();
    let known_as = digest([who(&parts.headers), place, key.as_bytes()]);
    let asked = digest([parts.uri.query().unwrap_or_default().as_bytes(), &body]);

    let is_first = Arc::new(AtomicBool::new(false));
    let carrying_out = {
        let (asked, is_first) = (asked.clone(), Arc::clone(&is_first));
        async move {
            is_first.store(true, Ordering::Relaxed);
            let response = next.run(Request::from_parts(parts, Body::from(body))).await;
            let (head, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            Answer { request: asked, status: head.status, content_type: head.headers.get(CONTENT_TYPE).cloned(), body }
        }
    };
    // Whoever comes while the first one is at work waits for its answer.
    let answer = answers.get_with(known_as.clone(), carrying_out).await;
    let is_first = is_first.load(Ordering::Relaxed);
    if is_first && answer.status.is_server_error() {
        // It may be tried again with the same key.
        answers.invalidate(&known_as).await;
    }
    if answer.request != asked {
        return Failure::key_reused().into_response();
    }
    let mut response = (answer.status, answer.body).into_response();
    if let Some(content_type) = answer.content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    if !is_first {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Of several texts, each with its length, so that they cannot run into one another.
fn digest<const N: usize>(parts: [&[u8]; N]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    HEXLOWER.encode(&hash.finalize())
}
