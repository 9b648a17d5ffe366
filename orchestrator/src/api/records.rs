//! `/dns/records`

use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::header::ETAG;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Service;
use super::caller::Caller;
use super::condition;
use super::error::{Errors, Failure};
use super::page::{self, Page};
use super::request::{self, Parameters, RawQuery};
use super::scope;
use super::success::{Body, Success, outcomes};
use crate::outcome::Outcome;
use crate::record::{Record, RecordSet, RecordType};
use crate::registry::{Selection, SetTag, Wanted};
use crate::repair::Problem;
use crate::verification::{self, Verification};

/// Long enough for a lost packet, short enough for somebody who waits.
const USUAL_WAIT: Duration = Duration::from_secs(2);

type Outcomes = Result<Success<Vec<Outcome>>, Failure>;
type NameAndType = Result<Path<(String, String)>, PathRejection>;

/// What is registered, by whomever.
#[utoipa::path(get, path = "/api/v1/dns/records", tag = "records",
    params(("zone" = Option<String>, Query, description = "only in this zone"), ("name" = Option<String>, Query, description = "only at this name"),
        ("below" = Option<bool>, Query, description = "with `name`: at the names below it, too"), ("type" = Option<String>, Query),
        ("owner" = Option<String>, Query, description = "only with this owner's mark"), ("resource" = Option<String>, Query, description = "only of this server"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 10000), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Body<Vec<Record>>), Errors))]
pub(super) async fn list(
    State(service): State<Service>,
    caller: Option<Extension<Caller>>,
    query: RawQuery,
) -> Result<Success<Vec<Record>>, Failure> {
    let zones = scope::of(caller);
    let known = ["zone", "name", "below", "type", "owner", "resource", page::PARAMETERS[0], page::PARAMETERS[1]];
    let parameters = Parameters::new(query, &known)?;
    let page = Page::read(&parameters)?;
    let below = match parameters.one("below")?.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            return Err(Failure::invalid(format!("below: \"{}\" is neither true nor false", other.escape_debug())));
        }
    };
    let wanted = Wanted {
        zone: parameters.one("zone")?,
        name: parameters.one("name")?,
        below,
        record_type: parameters.one("type")?.map(|text| record_type(&text)).transpose()?,
        owner: parameters.one("owner")?,
        resource: parameters.one("resource")?,
    };
    let mut listing = service.registry.list(wanted).await?;
    listing.records.retain(|record| scope::is_seen(&record.name, &zones));
    for problem in &listing.problems {
        tracing::warn!(problem, "a stored value cannot be read");
    }
    if page.is_whole() {
        return Ok(Success::ok(listing.records));
    }
    Ok(page.of(listing.records, |Record { name, record_type, value, owner, .. }| {
        format!("{name} {record_type} {value} {}", owner.as_ref().and_then(Option::as_deref).unwrap_or_default())
    }))
}

/// One record set; its ETag names its state.
#[utoipa::path(get, path = "/api/v1/dns/records/{name}/{type}", tag = "records", params(("name" = String, Path), ("type" = String, Path)),
    responses((status = 200, body = Body<Vec<Record>>), Errors))]
pub(super) async fn show(
    State(service): State<Service>,
    path: NameAndType,
    query: RawQuery,
) -> Result<Response, Failure> {
    let (name, kind) = request::path(path)?;
    Parameters::new(query, &[])?;
    let wanted = Wanted { name: Some(name.clone()), record_type: Some(record_type(&kind)?), ..Wanted::default() };
    let records = service.registry.list(wanted).await?.records;
    if records.is_empty() {
        return Err(Failure::not_found(format!("{name} has no {kind} record")));
    }
    let tag = condition::set_tag(&SetTag::of(&records));
    let mut response = Success::ok(records).into_response();
    response.headers_mut().insert(ETAG, tag);
    Ok(response)
}

/// Adds values to record sets: one set, or a list of them.
#[utoipa::path(post, path = "/api/v1/dns/records", tag = "records", request_body = RecordSet, params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = Body<Vec<Outcome>>), Errors))]
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

/// What a record set becomes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Exactly {
    /// At least one.
    values: Vec<String>,
    /// Seconds; absent: the usual TTL.
    ttl: Option<i64>,
}

/// Makes our values of a record set exactly these.
#[utoipa::path(put, path = "/api/v1/dns/records/{name}/{type}", tag = "records", request_body = Exactly, params(("name" = String, Path), ("type" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Body<Vec<Outcome>>), Errors))]
pub(super) async fn update(
    State(service): State<Service>,
    path: NameAndType,
    query: RawQuery,
    request: Request,
) -> Outcomes {
    let (name, record_type) = request::path(path)?;
    Parameters::new(query, &[])?;
    let demanded = condition::demanded_set(request.headers())?;
    let Exactly { values, ttl } = request::required_body(request).await?;
    let set = RecordSet { name, record_type, ttl, values };
    not_empty(&set, "the body")?;
    match demanded {
        None => outcomes(service.registry.update(&set).await),
        Some(tag) => outcomes(service.registry.update_if(&set, |found| found.as_str() == tag).await?),
    }
}

/// Removes values of ours: those that are named, or all.
#[utoipa::path(delete, path = "/api/v1/dns/records/{name}/{type}", tag = "records",
    params(("name" = String, Path), ("type" = String, Path), ("value" = Option<Vec<String>>, Query, description = "only this one; may be repeated"), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Body<Vec<Outcome>>), Errors))]
pub(super) async fn unregister(
    State(service): State<Service>,
    path: NameAndType,
    query: RawQuery,
    headers: HeaderMap,
) -> Outcomes {
    let (name, kind) = request::path(path)?;
    let values = Parameters::new(query, &["value"])?.all("value");
    let record_type = record_type(&kind)?;
    let selection = Selection { name, record_type: Some(record_type), values };
    match condition::demanded_set(&headers)? {
        None => outcomes(service.registry.unregister(&selection).await),
        Some(tag) => {
            let fits = |found: &SetTag| found.as_str() == tag;
            outcomes(service.registry.unregister_if(&selection, record_type, fits).await?)
        }
    }
}

/// Removes all values of ours at a name.
#[utoipa::path(delete, path = "/api/v1/dns/records/{name}", tag = "records", params(("name" = String, Path)),
    responses((status = 200, body = Body<Vec<Outcome>>), Errors))]
pub(super) async fn unregister_all(
    State(service): State<Service>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    query: RawQuery,
) -> Outcomes {
    let name = request::path(path)?;
    condition::refuse(&headers)?;
    Parameters::new(query, &[])?;
    outcomes(service.registry.unregister(&Selection { name, record_type: None, values: Vec::new() }).await)
}

/// What is to be verified.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct VerifyRequest {
    /// Absent: all types.
    record_type: Option<String>,
    /// None: what is registered.
    values: Vec<String>,
    /// How long to ask again, `30s` say.
    wait: Option<String>,
}

/// Asks every name server whether it answers with what is registered.
///
/// What the name servers answer is data: whoever asks reads it there, and the request itself has succeeded. Where it is the name
/// of a server whose records were not verified so far, and now all of them are, its `dns.verified` becomes true.
#[utoipa::path(post, path = "/api/v1/dns/records/{name}/verify", tag = "records", request_body = Option<VerifyRequest>, params(("name" = String, Path)),
    responses((status = 200, body = Body<Vec<Verification>>), Errors))]
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
    let verifications = service.registry.verify(&selection, wait).await?;
    if let Some(name) = verification::verified_name(&verifications)
        && let Err(error) = service.lifecycle.confirm(name).await
    {
        // What was asked for is done.
        tracing::warn!(name, "the server of this name was not marked as verified: {}", crate::error_chain(&error));
    }
    Ok(Success::ok(verifications))
}

/// Which records of a name.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OfType {
    /// Absent: all types.
    record_type: Option<String>,
}

impl OfType {
    async fn read(
        path: Result<Path<String>, PathRejection>,
        query: RawQuery,
        request: Request,
    ) -> Result<(String, Option<RecordType>), Failure> {
        let name = request::path(path)?;
        Parameters::new(query, &[])?;
        let Self { record_type: kind } = request::body(request).await?.unwrap_or_default();
        Ok((name, kind.map(|text| record_type(&text)).transpose()?))
    }
}

/// Makes records of another owner, or of none, ours.
#[utoipa::path(post, path = "/api/v1/dns/records/{name}/adopt", tag = "records", request_body = Option<OfType>, params(("name" = String, Path)),
    responses((status = 200, body = Body<Vec<Outcome>>), Errors))]
pub(super) async fn adopt(
    State(service): State<Service>,
    path: Result<Path<String>, PathRejection>,
    query: RawQuery,
    request: Request,
) -> Outcomes {
    let (name, record_type) = OfType::read(path, query, request).await?;
    outcomes(service.registry.adopt(&name, record_type).await)
}

/// Takes our mark from records; they stay.
#[utoipa::path(post, path = "/api/v1/dns/records/{name}/release", tag = "records", request_body = Option<OfType>, params(("name" = String, Path)),
    responses((status = 200, body = Body<Vec<Outcome>>), Errors))]
pub(super) async fn release(
    State(service): State<Service>,
    path: Result<Path<String>, PathRejection>,
    query: RawQuery,
    request: Request,
) -> Outcomes {
    let (name, record_type) = OfType::read(path, query, request).await?;
    outcomes(service.registry.release(&name, record_type).await)
}

/// Where keys are compared with what records need.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RepairRequest {
    /// Absent: the zones that are configured.
    zones: Option<Vec<String>>,
    /// Only tell.
    dry_run: bool,
}

/// Compares the keys of zones with what their records need, and mends what is ours.
///
/// A zone that cannot be looked at to its end is a problem without a `place`; an error, if none can.
#[utoipa::path(post, path = "/api/v1/dns/repair", tag = "records", request_body = Option<RepairRequest>,
    responses((status = 200, body = Body<Vec<Problem>>), Errors))]
pub(super) async fn repair(
    State(service): State<Service>,
    query: RawQuery,
    request: Request,
) -> Result<Success<Vec<Problem>>, Failure> {
    Parameters::new(query, &[])?;
    let RepairRequest { zones, dry_run } = request::body(request).await?.unwrap_or_default();
    let zones = zones.unwrap_or_else(|| service.zones.clone());
    if zones.is_empty() {
        return Err(Failure::invalid("no zones are configured: name them, {\"zones\": [\"example.com\"]}"));
    }
    Ok(Success::ok(service.registry.repair_each(&zones, dry_run).await?))
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
