//! What is counted of every request. `GET /metrics` shows it.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Service;
use crate::metrics::Metrics;

/// In place of paths that nothing is at: theirs are without number.
const NO_ROUTE: &str = "none";

/// Counts a request, also one that is refused, breaks down or takes too long.
pub(super) async fn observe(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let method = method(request.method());
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    metrics.request(method, &route, status, took);
    tracing::debug!(method, route, status, took = took.as_secs_f64(), "answered");
    response
}

/// The metrics, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, description = "the text format of Prometheus", content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(service): State<Service>) -> impl IntoResponse {
    if let Some(usage) = service.dns.usage() {
        service.lifecycle.metrics().usage(usage);
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
