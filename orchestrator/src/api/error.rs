//! What a request that does not succeed is answered with, and the table from errors to statuses.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dns_manager_host::Error as HostError;
use dns_manager_host::contract::Code;
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::desired::{Plan, TooManyDeletes};
use crate::inventory;
use crate::lifecycle;
use crate::outcome::{Outcome, Reason, Status};
use crate::reconcile;
use crate::registry::{ConditionError, VerifyError};
use crate::server::Server;

/// What a request that did not, or not wholly, succeed is answered with.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes `Failure`, and is never made")]
pub(super) struct ErrorBody {
    /// False.
    success: bool,
    /// Why.
    error: Reason,
    /// What there is to say in spite of it: the outcomes, the plan, or the server.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<serde_json::Value>,
}

/// What every request may be answered with beside what it asked for.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "it describes `Failure`, and is never made")]
pub(super) enum Errors {
    // No doc comments: they would stand at every path.
    #[response(status = "4XX")]
    Request(ErrorBody),
    #[response(status = "5XX")]
    Service(ErrorBody),
}

/// Something did not.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    #[serde(skip)]
    status: StatusCode,
    success: bool,
    #[serde(serialize_with = "explained")]
    error: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

/// What there is to say in spite of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data {
    Outcomes(Vec<Outcome>),
    Plan(Box<Plan>),
    Server(Box<Server>),
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &str, message: String) -> Self {
        Self { status, success: false, error: Reason { code: code.to_owned(), message }, data: None }
    }

    /// The request is not one of ours.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message.into())
    }

    pub(super) fn not_found(message: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    pub(super) fn method_not_allowed(message: String) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", message)
    }

    pub(super) fn too_large(message: String) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    }

    pub(super) fn unsupported_media_type(message: String) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", message)
    }

    pub(super) fn not_ready(message: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", message)
    }

    /// A workflow ended before its time; the server says why.
    pub(super) fn stopped(server: Server) -> Self {
        let problem = server.problem.clone().unwrap_or_default();
        let data = Some(Data::Server(Box::new(server)));
        Self { data, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "failed", problem) }
    }

    /// A plan that may not be applied as it is.
    pub(super) fn too_many_deletes(why: &TooManyDeletes, plan: Plan) -> Self {
        let data = Some(Data::Plan(Box::new(plan)));
        Self { data, ..Self::new(StatusCode::CONFLICT, TooManyDeletes::CODE, why.to_string()) }
    }

    /// Not everything is as it was asked for: the gravest outcome's status and reason, with all of them.
    pub(super) fn not_all_done(outcomes: Vec<Outcome>, gravest: Status) -> Self {
        let mut reasons =
            outcomes.iter().filter(|outcome| outcome.outcome == gravest).filter_map(|outcome| outcome.reason.as_ref());
        let Reason { code, message } =
            reasons.next().cloned().unwrap_or_else(|| Reason { code: gravest.to_string(), message: String::new() });
        let message = match outcomes.iter().filter(|outcome| !outcome.outcome.is_done()).count() {
            1 => message,
            several => format!("{message} (and {} more, see data)", several - 1),
        };
        Self { data: Some(Data::Outcomes(outcomes)), ..Self::new(status_of_outcome(gravest), &code, message) }
    }

    /// The same key was used for another request.
    pub(super) fn key_reused() -> Self {
        let message = "this Idempotency-Key was used for another request: choose a new one for each".to_owned();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", message)
    }

    /// The panic itself is in the log, by the hook of the process.
    pub(super) fn broken_down() -> Self {
        Self::internal("something broke in this service; its log says what".to_owned())
    }

    pub(super) fn internal(message: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

/// With what finds the request in the log.
fn explained<S: serde::Serializer>(error: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Explained<'a> {
        #[serde(flatten)]
        error: &'a Reason,
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
    }
    Explained { error, request_id: super::request_id::current() }.serialize(serializer)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

fn status_of_outcome(status: Status) -> StatusCode {
    match status {
        Status::Created | Status::Updated | Status::Deleted | Status::Unchanged => StatusCode::OK,
        Status::Refused => StatusCode::BAD_REQUEST,
        Status::Conflict => StatusCode::CONFLICT,
        Status::Failed => StatusCode::SERVICE_UNAVAILABLE,
        Status::Unknown => StatusCode::GATEWAY_TIMEOUT,
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let Reason { code, message } = Reason::from(&error);
        Self::new(status_of_host_error(&error), &code, message)
    }
}

fn status_of_host_error(error: &HostError) -> StatusCode {
    match error {
        HostError::Refused(reason) => status_of_code(&reason.code),
        HostError::NotDone(outcome) => status_of_outcome(outcome.status.into()),
        HostError::Unsupported(_) => StatusCode::BAD_REQUEST,
        HostError::Denied(_) => StatusCode::FORBIDDEN,
        HostError::OutOfTime { .. } => StatusCode::GATEWAY_TIMEOUT,
        HostError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        HostError::Load(_)
        | HostError::Config(_)
        | HostError::Trapped { .. }
        | HostError::OutOfCpu { .. }
        | HostError::OutOfMemory { .. }
        | HostError::OutOfStack
        | HostError::OutOfHandles { .. }
        | HostError::Exceeded { .. }
        | HostError::Contract(_)
        | HostError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Of a call that the plugin refused as a whole.
fn status_of_code(code: &Code) -> StatusCode {
    match code {
        Code::Invalid | Code::Unsupported | Code::OutsideZones | Code::Coexistence | Code::TooMany => {
            StatusCode::BAD_REQUEST
        }
        Code::Denied => StatusCode::FORBIDDEN,
        Code::OwnedBy(_) | Code::Changed | Code::CursorExpired => StatusCode::CONFLICT,
        Code::Protocol => StatusCode::BAD_GATEWAY,
        Code::Contention | Code::Unavailable | Code::Full | Code::Misconfigured | Code::Other(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::Deadline => StatusCode::GATEWAY_TIMEOUT,
    }
}

impl From<ConditionError> for Failure {
    fn from(error: ConditionError) -> Self {
        let message = error.to_string();
        match error {
            ConditionError::Changed { .. } => Self::new(StatusCode::PRECONDITION_FAILED, "changed", message),
            ConditionError::Unsupported => Self::new(StatusCode::BAD_REQUEST, "unsupported", message),
            ConditionError::Dns(error) => error.into(),
        }
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Refused(_) => Self::invalid(error.to_string()),
            VerifyError::Dns(error) => error.into(),
        }
    }
}

impl From<lifecycle::Error> for Failure {
    fn from(error: lifecycle::Error) -> Self {
        let message = error.to_string();
        match error {
            lifecycle::Error::Hostname(_) | lifecycle::Error::Request { .. } => Self::invalid(message),
            lifecycle::Error::Exists(_) => Self::new(StatusCode::CONFLICT, "exists", message),
            lifecycle::Error::NotFound(_) => Self::not_found(message),
            lifecycle::Error::Busy(_) => Self::new(StatusCode::CONFLICT, "busy", message),
            lifecycle::Error::NotReady { .. } => Self::new(StatusCode::CONFLICT, "not-ready-to-rename", message),
            lifecycle::Error::NothingToRetry(_) => Self::new(StatusCode::CONFLICT, "nothing-to-retry", message),
            lifecycle::Error::Changed { .. } => Self::new(StatusCode::PRECONDITION_FAILED, "changed", message),
            lifecycle::Error::Inventory(error) => error.into(),
        }
    }
}

impl From<reconcile::Error> for Failure {
    fn from(error: reconcile::Error) -> Self {
        match error {
            reconcile::Error::Dns(error) => error.into(),
            reconcile::Error::Inventory(error) => error.into(),
            reconcile::Error::Lifecycle(error) => error.into(),
        }
    }
}

impl From<inventory::Error> for Failure {
    fn from(error: inventory::Error) -> Self {
        if error.is_panic() {
            return Self::broken_down();
        }
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "inventory", crate::error_chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use dns_manager_host::contract;

    use super::super::success::outcomes;
    use super::*;

    fn outcome(status: Status, message: &str) -> Outcome {
        Outcome {
            name: "web.example.com".to_owned(),
            record_type: Some("A".to_owned()),
            value: Some("192.0.2.1".to_owned()),
            ttl: Some(300),
            outcome: status,
            reason: (!status.is_done()).then(|| Reason::invalid(message)),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn everything_done_is_ok() {
        let done = [Status::Created, Status::Updated, Status::Deleted, Status::Unchanged];

        assert!(outcomes(done.iter().map(|status| outcome(*status, "")).collect()).is_ok());
        assert!(outcomes(Vec::new()).is_ok());
    }

    #[test]
    fn the_gravest_outcome_decides() {
        for (statuses, expected) in [
            (vec![Status::Created, Status::Refused], 400),
            (vec![Status::Conflict, Status::Refused], 409),
            (vec![Status::Conflict, Status::Failed, Status::Refused], 503),
            (vec![Status::Unknown, Status::Failed], 504),
        ] {
            let failure = outcomes(statuses.iter().map(|status| outcome(*status, "m")).collect()).unwrap_err();
            assert_eq!(failure.status.as_u16(), expected, "{statuses:?}");
            assert!(matches!(failure.data, Some(Data::Outcomes(data)) if data.len() == statuses.len()));
        }
    }

    #[test]
    fn the_error_is_that_of_the_gravest_outcome() {
        let failure = outcomes(vec![outcome(Status::Refused, "first"), outcome(Status::Failed, "second")]).unwrap_err();

        assert_eq!(failure.error, Reason::invalid("second (and 1 more, see data)"));
    }

    #[test]
    fn the_errors_of_a_call_have_their_statuses() {
        let refused = |code| HostError::Refused(contract::Reason::new(code, "why"));
        for (error, status, code) in [
            (refused(Code::Invalid), 400, "invalid"),
            (refused(Code::Unavailable), 503, "unavailable"),
            (refused(Code::Protocol), 502, "protocol"),
            (refused(Code::Deadline), 504, "deadline"),
            (HostError::Denied("x".to_owned()), 403, "denied"),
            (HostError::OutOfStack, 500, "out-of-stack"),
        ] {
            let failure = Failure::from(error);
            assert_eq!((failure.status.as_u16(), failure.error.code.as_str()), (status, code));
        }
    }
}
