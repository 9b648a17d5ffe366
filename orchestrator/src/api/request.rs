//! Reading requests, so that what is wrong with one is said in our envelope.

use std::time::Duration;

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::error::Failure;

/// Nobody keeps a connection open longer than this.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(600);

/// The parameters of a path.
pub(super) fn path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Failure> {
    path.map(|Path(parameters)| parameters).map_err(|rejection| Failure::invalid(rejection.body_text()))
}

/// The parameters of a query, each one known.
pub(super) struct Parameters(Vec<(String, String)>);

pub(super) type RawQuery = Result<Query<Vec<(String, String)>>, QueryRejection>;

impl Parameters {
    pub(super) fn new(query: RawQuery, known: &[&str]) -> Result<Self, Failure> {
        let Query(parameters) = query.map_err(|rejection| Failure::invalid(rejection.body_text()))?;
        match parameters.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(Self(parameters)),
            Some((name, _)) if known.is_empty() => {
                Err(Failure::invalid(format!("unknown query parameter \"{name}\": none is known here")))
            }
            Some((name, _)) => Err(Failure::invalid(format!(
                "unknown query parameter \"{name}\": known here are {}",
                known.join(", ")
            ))),
        }
    }

    /// All values of a parameter that may be repeated.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    /// The value of a parameter that may not.
    pub(super) fn one(&self, name: &str) -> Result<Option<String>, Failure> {
        let mut values = self.all(name);
        let value = values.pop();
        if values.is_empty() {
            Ok(value)
        } else {
            Err(Failure::invalid(format!("query parameter \"{name}\" is given more than once")))
        }
    }

    /// How long to wait: `30s`, or `30` for short.
    pub(super) fn wait(&self) -> Result<Option<Duration>, Failure> {
        self.one("wait")?.map(|text| wait(&text)).transpose()
    }
}

/// Reads a waiting time.
pub(super) fn wait(text: &str) -> Result<Duration, Failure> {
    let seconds = text.parse().map(Duration::from_secs).ok();
    seconds
        .or_else(|| humantime::parse_duration(text).ok())
        .filter(|wait| *wait <= MAX_WAIT)
        .ok_or_else(|| Failure::invalid(format!("wait: \"{text}\" is not a duration of at most 10m: write 30s, say")))
}

/// A JSON body; none is none.
pub(super) async fn body<T: DeserializeOwned>(request: Request) -> Result<Option<T>, Failure> {
    let is_json = is_json(request.headers());
    let bytes = axum::body::Bytes::from_request(request, &())
        .await
        .map_err(|rejection| unreadable(rejection, super::MAX_BODY_BYTES))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    // A web page can send other types to a loopback address without asking.
    if !is_json {
        return Err(Failure::unsupported_media_type(
            "the body must be JSON: send Content-Type: application/json".to_owned(),
        ));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Failure::invalid(format!("the body: {error}")))
}

/// A JSON body that must be there.
pub(super) async fn required_body<T: DeserializeOwned>(request: Request) -> Result<T, Failure> {
    body(request).await?.ok_or_else(|| Failure::invalid("the body is empty: send JSON"))
}

/// A body of JSON or YAML that must be there, as it came; and whether it is JSON.
pub(super) async fn document(request: Request) -> Result<(axum::body::Bytes, bool), Failure> {
    let is_json = is_json(request.headers());
    let is_yaml = YAML.iter().any(|known| essence(request.headers()).eq_ignore_ascii_case(known));
    let bytes = axum::body::Bytes::from_request(request, &())
        .await
        .map_err(|rejection| unreadable(rejection, super::MAX_FILE_BYTES))?;
    if bytes.is_empty() {
        return Err(Failure::invalid("the body is empty: send a list of record sets"));
    }
    if !is_json && !is_yaml {
        return Err(Failure::unsupported_media_type(
            "the body must be JSON or YAML: send Content-Type: application/json, or application/yaml".to_owned(),
        ));
    }
    Ok((bytes, is_json))
}

/// RFC 9512, and what came before it. None of them is what a web page can send without asking.
const YAML: [&str; 3] = ["application/yaml", "application/x-yaml", "text/yaml"];

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    essence(headers).eq_ignore_ascii_case("application/json")
}

/// The media type without its parameters.
fn essence(headers: &HeaderMap) -> &str {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim()
}

fn unreadable(rejection: BytesRejection, most: usize) -> Failure {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Failure::too_large(format!("the body has more than {most} bytes"))
    } else {
        Failure::invalid(format!("the body: {}", rejection.body_text()))
    }
}
