//! What is noted of every request: a span around it, so that each log line says which request it belongs to, and its share
//! of the metrics. `GET /metrics` shows them.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;
use uuid::Uuid;

use super::Service;

const REQUEST_ID: &str = "x-request-id";
const MAX_REQUEST_ID: usize = 128;
/// In place of paths that nothing is at: theirs are without number.
const NO_ROUTE: &str = "none";

/// Works on a request within a span of its own.
pub(super) async fn observe(State(service): State<Service>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let method = method(request.method());
    let request_id = request_id(request.headers());
    let span = tracing::info_span!("request", method, route, request_id);
    async {
        let response = next.run(request).await;
        let (status, took) = (response.status().as_u16(), began.elapsed());
        service.lifecycle.metrics().request(method, &route, status, took);
        tracing::debug!(status, took = took.as_secs_f64(), "answered");
        response
    }
    .instrument(span)
    .await
}

/// The metrics, for Prometheus.
pub(super) async fn metrics(State(service): State<Service>) -> impl IntoResponse {
    match service.lifecycle.list().await {
        Ok(servers) => {
            let states: Vec<_> = servers.iter().map(|stored| stored.server.state).collect();
            service.lifecycle.metrics().servers(&states);
        }
        // The rest is worth telling; `/readyz` tells of this.
        Err(error) => tracing::warn!("the servers are not counted: {}", crate::error_chain(&error)),
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], service.lifecycle.metrics().render())
}

/// A method's name; `other` for those that HTTP does not know, of which there is no end.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The id that the request came with, if it can stand in a log; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let given =
        given.filter(|id| !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|b| b.is_ascii_graphic()));
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_kept_if_it_can_stand_in_a_log() {
        let id = |text: &str| request_id(&[(REQUEST_ID.parse().unwrap(), text.parse().unwrap())].into_iter().collect());
        assert_eq!(id("abc-1"), "abc-1");
        for bad in ["", "two words", &"x".repeat(MAX_REQUEST_ID + 1)] {
            assert_ne!(id(bad), bad);
            assert!(id(bad).parse::<Uuid>().is_ok());
        }
        assert!(request_id(&HeaderMap::new()).parse::<Uuid>().is_ok());
    }
}
