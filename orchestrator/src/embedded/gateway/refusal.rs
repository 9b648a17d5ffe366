//! What a request is refused with.

use http::StatusCode;
use serde_json::{Value, json};

/// A request that is not carried out, with gRPC's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: u8,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: u8, message: &str) -> Self {
        Self { status, code, message: message.to_owned() }
    }

    /// The outcome is not known.
    pub(super) fn unknown(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 2, message)
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 3, message)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, 5, "Not Found")
    }

    pub(super) fn lease_not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, 5, message)
    }

    pub(super) fn message_too_large(size: usize, limit: usize) -> Self {
        Self::exhausted(&format!("grpc: received message larger than max ({size} vs. {limit})"))
    }

    /// In gRPC's words, whose clients then ask for less.
    pub(super) fn answer_too_large(limit: usize) -> Self {
        Self::exhausted(&format!("grpc: trying to send message larger than max (over {limit} octets)"))
    }

    /// There is no room for it.
    pub(super) fn exhausted(message: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, 8, message)
    }

    pub(super) fn out_of_range(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 11, message)
    }

    pub(super) fn unimplemented(message: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, 12, message)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::unimplemented("Method Not Allowed")
    }

    pub(super) fn body(&self) -> Value {
        json!({"code": self.code, "message": self.message})
    }
}
