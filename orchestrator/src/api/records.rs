//! `/dns/records`

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use serde::Deserialize;
use serde_json::Value;

use super::Service;
use super::error::{Failure, Success, outcomes};
use super::request::{self, Parameters, RawQuery};
use crate::outcome::Outcome;
use crate::record::{Record, RecordSet, RecordType};
use crate::registry::{Selection, Wanted};
use crate::verification::Verification;

/// Long enough for a lost packet, short enough for somebody who waits.
const USUAL_WAIT: Duration = Duration::from_secs(2);

type Outcomes = Result<Success<Vec<Outcome>>, Failure>;
type NameAndType = Result<Path<(String, String)>, PathRejection>;

pub(super) async fn list(State(service): State<Service>, query: RawQuery) -> Result<Success<Vec<Record>>, Failure> {
    let parameters = Parameters::new(query, &["zone", "name", "type"])?;
    let wanted = Wanted {
        zone: parameters.one("zone")?,
        name: parameters.one("name")?,
        record_type: parameters.one("type")?.map(|text| record_type(&text)).transpose()?,
    };
    let listing = service.registry.list(wanted).await?;
    for problem in &listing.problems {
        tracing::warn!(problem, "a stored value cannot be read");
    }
    Ok(Success::ok(listing.records))
}

pub(super) async fn register(State(service): State<Service>, query: RawQuery, request: Request) -> Outcomes {
    Parameters::new(query, &[])?;
    let sets = match request::required_body(request).await? {
        Value::Array(items) => {
            let numbered = items.into_iter().enumerate();
            numbered.map(|(index, item)| set(item, &format!("item {index}"))).collect::<Result<Vec<_>, _>>()?
        }
        single => vec![set(single, "the body")?],
    };
    outcomes(service.registry.register(&sets).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exactly {
    values: Vec<String>,
    ttl: Option<i64>,
}

pub(super) async fn update(
    State(service): State<Service>,
    path: NameAndType,
    query: RawQuery,
    request: Request,
) -> Outcomes {
    let (name, record_type) = request::path(path)?;
    Parameters::new(query, &[])?;
    let Exactly { values, ttl } = request::required_body(request).await?;
    let set = RecordSet { name, record_type, ttl, values };
    not_empty(&set, "the body")?;
    outcomes(service.registry.update(&set).await)
}

pub(super) async fn unregister(State(service): State<Service>, path: NameAndType, query: RawQuery) -> Outcomes {
    let (name, kind) = request::path(path)?;
    let values = Parameters::new(query, &["value"])?.all("value");
    let selection = Selection { name, record_type: Some(record_type(&kind)?), values };
    outcomes(service.registry.unregister(&selection).await)
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VerifyRequest {
    record_type: Option<String>,
    values: Vec<String>,
    wait: Option<String>,
}

/// What the name servers answer is data: whoever asks reads it there, and the request itself has succeeded.
pub(super) async fn verify(
    State(service): State<Service>,
    path: Result<Path<String>, PathRejection>,
    query: RawQuery,
    request: Request,
) -> Result<Success<Vec<Verification>>, Failure> {
    let name = request::path(path)?;
    Parameters::new(query, &[])?;
    let asked: VerifyRequest = request::body(request).await?.unwrap_or_default();
    let record_type = asked.record_type.map(|text| record_type(&text)).transpose()?;
    if record_type.is_none() && !asked.values.is_empty() {
        return Err(Failure::invalid("the body has values and no record_type: name it"));
    }
    let wait = asked.wait.map_or(Ok(USUAL_WAIT), |text| request::wait(&text))?;
    let selection = Selection { name, record_type, values: asked.values };
    Ok(Success::ok(service.registry.verify(&selection, wait).await?))
}

fn set(json: Value, place: &str) -> Result<RecordSet, Failure> {
    let set = serde_json::from_value(json).map_err(|error| Failure::invalid(format!("{place}: {error}")))?;
    not_empty(&set, place)?;
    Ok(set)
}

fn not_empty(set: &RecordSet, place: &str) -> Result<(), Failure> {
    if set.values.is_empty() {
        return Err(Failure::invalid(format!("{place}: values is empty: to remove a record set, use DELETE")));
    }
    Ok(())
}

fn record_type(text: &str) -> Result<RecordType, Failure> {
    text.parse().map_err(|error: crate::record::UnknownType| Failure::invalid(error.to_string()))
}
