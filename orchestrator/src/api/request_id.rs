//! Every request has an id: in its answer, in the body of an error, and on the lines of the log.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::telemetry;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LENGTH: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// That of the request that is being answered; none: nobody answers one.
pub(super) fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Goes on with the request's id in a task of its own.
pub(super) async fn within<F: Future>(id: String, future: F) -> F::Output {
    CURRENT.scope(id, future).await
}

/// Takes the id that the caller chose, if it is one that does no harm in a log, or a new one.
pub(super) async fn identify(request: Request, next: Next) -> Response {
    let given = request.headers().get(&HEADER).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
    let id = given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let span = tracing::info_span!("request", request_id = id, method = %request.method(), path = request.uri().path());
    if let Some(caller) = telemetry::caller(request.headers()) {
        // Where no traces are kept, or not of this, there is nothing to go on with.
        let _ = span.set_parent(caller);
    }
    let mut response = within(id.clone(), next.run(request)).instrument(span).await;
    // What is sane is a good value of a header.
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

fn is_sane(id: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=');
    !id.is_empty() && id.len() <= MAX_LENGTH && id.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_forge_a_line_of_the_log_is_not_taken() {
        for (id, expected) in
            [("0198-a.b:c/d+e=", true), ("", false), ("a b", false), ("a\"", false), (&"a".repeat(129), false)]
        {
            assert_eq!(is_sane(id), expected, "{id}");
        }
    }
}
