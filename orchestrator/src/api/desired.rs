//! `/dns/plan`, `/dns/apply` and `/dns/export`

use axum::extract::{Request, State};
use axum::http::Extensions;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Service;
use super::caller::Caller;
use super::error::{Errors, Failure};
use super::request::{self, Parameters, RawQuery};
use super::success::{Body, Success, outcomes};
use crate::desired::{Desired, File, MaxDeletes, NoMaximum, Options, Plan, Planned, Set};
use crate::outcome::Outcome;

/// What a body is called in messages about its lines.
const BODY: &str = "body";

/// What is to be: the list of a file, or an object that has the list and what holds for it.
struct Wish {
    sets: Vec<Set>,
    options: Options,
    /// What somebody was shown, and agreed to.
    shown: Option<Plan>,
}

/// Record sets, and what holds for them. A list of record sets alone is a body, too, and may be YAML.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Object {
    /// A list of record sets.
    #[schema(value_type = Vec<Set>)]
    record_sets: serde_json::Value,
    /// Delete what is ours and the list lacks.
    prune: Option<bool>,
    /// How much of a zone may be deleted.
    max_deletes: Option<Most>,
    /// The plan that somebody was shown, and agreed to.
    planned: Option<Plan>,
}

/// `5` or `"5"` or `"50%"`.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Most {
    Names(usize),
    Text(String),
}

impl Most {
    pub(super) fn read(self) -> Result<MaxDeletes, Failure> {
        match self {
            Self::Names(names) => Ok(MaxDeletes::Names(names)),
            Self::Text(text) => max_deletes(&text),
        }
    }
}

/// Compares record sets with what is registered; nothing is written.
#[utoipa::path(post, path = "/api/v1/dns/plan", tag = "desired state", request_body = Object,
    params(("prune" = Option<bool>, Query), ("max_deletes" = Option<String>, Query)), responses((status = 200, body = Body<Plan>), Errors))]
pub(super) async fn plan(
    State(service): State<Service>,
    query: RawQuery,
    request: Request,
) -> Result<Success<Plan>, Failure> {
    let desired = within(&service, request.extensions());
    let wish = Wish::read(query, request).await?;
    let planned = allowed(desired.plan(&wish.sets, wish.options, &mut ()).await?)?;
    Ok(Success::ok(planned.plan().clone()))
}

/// Makes what is registered what the record sets say.
#[utoipa::path(post, path = "/api/v1/dns/apply", tag = "desired state", request_body = Object,
    params(("prune" = Option<bool>, Query), ("max_deletes" = Option<String>, Query)), responses((status = 200, body = Body<Vec<Outcome>>), Errors))]
pub(super) async fn apply(
    State(service): State<Service>,
    query: RawQuery,
    request: Request,
) -> Result<Success<Vec<Outcome>>, Failure> {
    let desired = within(&service, request.extensions());
    let wish = Wish::read(query, request).await?;
    let mut planned = allowed(desired.plan(&wish.sets, wish.options, &mut ()).await?)?;
    if let Some(shown) = &wish.shown {
        planned.after(shown);
    }
    outcomes(desired.apply(planned, &mut ()).await)
}

/// The configured zones; empty: the name servers are asked.
#[utoipa::path(get, path = "/api/v1/dns/zones", tag = "records", responses((status = 200, body = Body<Vec<String>>), Errors))]
pub(super) async fn zones(State(service): State<Service>, query: RawQuery) -> Result<Success<Vec<String>>, Failure> {
    Parameters::new(query, &[])?;
    Ok(Success::ok(service.desired.configured_zones()))
}

/// Everything that is ours, as record sets that can be applied again.
#[utoipa::path(get, path = "/api/v1/dns/export", tag = "desired state", responses((status = 200, body = Body<Vec<Set>>), Errors))]
pub(super) async fn export(State(service): State<Service>, query: RawQuery) -> Result<Success<Vec<Set>>, Failure> {
    Parameters::new(query, &[])?;
    Ok(Success::ok(service.desired.export().await?))
}

/// What is desired of the zones that the caller is limited to; what is outside is not looked at, and never pruned.
fn within(service: &Service, extensions: &Extensions) -> Desired {
    let zones = extensions.get::<Caller>().map(|caller| caller.zones.clone()).unwrap_or_default();
    service.desired.clone().within(zones)
}

/// The names in a body of `plan` or `apply`, as these will read it.
pub(super) fn names(octets: &[u8], is_json: bool) -> Result<Vec<String>, Failure> {
    Ok(Wish::of(octets, is_json)?.sets.into_iter().map(|set| set.name).collect())
}

/// Stops a plan that deletes too much; whoever asked sees it nevertheless.
fn allowed(planned: Planned) -> Result<Planned, Failure> {
    match planned.too_many() {
        None => Ok(planned),
        Some(why) => Err(Failure::too_many_deletes(why, planned.plan().clone())),
    }
}

impl Wish {
    async fn read(query: RawQuery, request: Request) -> Result<Self, Failure> {
        let parameters = Parameters::new(query, &["prune", "max_deletes"])?;
        let (octets, is_json) = request::document(request).await?;
        let mut wish = Self::of(&octets, is_json)?;
        if let Some(prune) = parameters.one("prune")? {
            wish.options.prune = prune.parse().map_err(|_| {
                Failure::invalid(format!("prune: \"{}\" is neither true nor false", prune.escape_debug()))
            })?;
        }
        if let Some(most) = parameters.one("max_deletes")? {
            wish.options.max_deletes = max_deletes(&most)?;
        }
        Ok(wish)
    }

    fn of(octets: &[u8], is_json: bool) -> Result<Self, Failure> {
        let first = octets.iter().find(|octet| !octet.is_ascii_whitespace());
        if is_json && first == Some(&b'{') { Self::of_object(octets) } else { Self::of_list(octets) }
    }

    fn of_list(octets: &[u8]) -> Result<Self, Failure> {
        let file =
            File::parse(BODY, octets).map_err(|error| Failure::invalid(error.to_string().replace('\n', "; ")))?;
        Ok(Self { sets: file.sets, options: Options::default(), shown: None })
    }

    fn of_object(octets: &[u8]) -> Result<Self, Failure> {
        let Object { record_sets, prune, max_deletes: most, planned } =
            serde_json::from_slice(octets).map_err(|error| Failure::invalid(format!("the body: {error}")))?;
        // One item in a line: a place says which one.
        let lines = match &record_sets {
            serde_json::Value::Array(items) if !items.is_empty() => {
                let lines: Vec<_> = items.iter().map(ToString::to_string).collect();
                format!("[{}]", lines.join(",\n"))
            }
            other => other.to_string(),
        };
        let file = File::parse("record_sets", lines.as_bytes())
            .map_err(|error| Failure::invalid(error.to_string().replace('\n', "; ")))?;
        let max_deletes = most.map(Most::read).transpose()?.unwrap_or_default();
        Ok(Self { sets: file.sets, options: Options { prune: prune.unwrap_or_default(), max_deletes }, shown: planned })
    }
}

fn max_deletes(text: &str) -> Result<MaxDeletes, Failure> {
    text.parse().map_err(|error: NoMaximum| Failure::invalid(format!("max_deletes: {error}")))
}
