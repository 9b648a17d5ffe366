//! What a request that succeeds is answered with.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::condition;
use super::error::Failure;
use crate::outcome::Outcome;

/// Everything went well.
#[derive(Debug)]
pub(super) struct Success<T> {
    status: StatusCode,
    data: T,
    /// The revision of what is shown.
    revision: Option<u64>,
    /// Where the next page begins.
    next: Option<String>,
}

impl<T> Success<T> {
    pub(super) fn ok(data: T) -> Self {
        Self { status: StatusCode::OK, data, revision: None, next: None }
    }

    /// It was begun, and goes on.
    pub(super) fn accepted(data: T) -> Self {
        Self { status: StatusCode::ACCEPTED, data, revision: None, next: None }
    }

    /// With the revision as its ETag.
    pub(super) fn at(self, revision: u64) -> Self {
        Self { revision: Some(revision), ..self }
    }

    /// One page of a list.
    pub(super) fn page(data: T, next: Option<String>) -> Self {
        Self { next, ..Self::ok(data) }
    }
}

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, Json(Envelope { success: true, data: self.data, next: self.next })).into_response();
        if let Some(revision) = self.revision {
            response.headers_mut().insert(ETAG, condition::tag(revision));
        }
        response
    }
}

#[derive(Serialize)]
struct Envelope<T> {
    success: bool,
    data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a request that succeeded is answered with.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes `Envelope` with its data's type, and is never made")]
pub(super) struct Body<T> {
    /// True.
    success: bool,
    /// What was asked for.
    data: T,
    /// Of a list in pages: the `cursor` of the next page; absent: this is the last one.
    next: Option<String>,
}

/// 200 if everything is as it was asked for, else the gravest outcome's status and reason; the outcomes in both cases.
pub(super) fn outcomes(outcomes: Vec<Outcome>) -> Result<Success<Vec<Outcome>>, Failure> {
    match outcomes.iter().map(|outcome| outcome.outcome).filter(|outcome| !outcome.is_done()).max() {
        None => Ok(Success::ok(outcomes)),
        Some(gravest) => Err(Failure::not_all_done(outcomes, gravest)),
    }
}
