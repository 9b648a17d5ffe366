//! Changes in the contract's types, made of text; and what became of one whose call broke.

use dns_manager_host::Error;
use dns_manager_host::contract::{Action, Change, Rdata, Selector};

use crate::outcome::{Asked, Outcome, Reason, Status};
use crate::record::{RecordType, Ttl, value};

/// A change without conditions.
pub(crate) fn of(action: Action, resource: Option<String>) -> Change {
    Change { action, resource, expect: None, attributes: Vec::new() }
}

/// The id of no server: what selects it selects nothing.
const NO_RESOURCE: &str = "no-server";

/// A change that changes nothing: its outcome tells of a set as it stands, and names that state for [`Change::expect`]. The outcome
/// of any other change, in a dry run, too, names the state that it leaves.
pub(crate) fn nothing(name: String, record_type: RecordType) -> Change {
    let (rr_type, resource) = (Some(record_type.number()), Some(NO_RESOURCE.to_owned()));
    of(Action::Remove(Selector { name, rr_type, data: Vec::new(), resource }), None)
}

/// The outcomes of a change whose call broke as a whole.
pub(crate) fn broken(asked: &Asked, error: &Error) -> Vec<Outcome> {
    let status = if surely_not_written(error) { Status::Failed } else { Status::Unknown };
    asked.all(status, Some(Reason::from(error)))
}

/// Whether a call that ended with this error cannot have written anything.
pub(crate) fn surely_not_written(error: &Error) -> bool {
    match error {
        Error::Load(_) | Error::Config(_) | Error::Refused(_) | Error::Busy { .. } | Error::Unsupported(_) => true,
        Error::NotDone(_)
        | Error::Denied(_)
        | Error::Trapped { .. }
        | Error::OutOfTime { .. }
        | Error::OutOfCpu { .. }
        | Error::OutOfMemory { .. }
        | Error::OutOfStack
        | Error::OutOfHandles { .. }
        | Error::Exceeded { .. }
        | Error::Contract(_)
        | Error::Internal(_) => false,
    }
}

/// The longest name, each of its octets escaped (RFC 1035 3.1, 5.1). It is told with each value, so that no longer one is kept.
const LONGEST_NAME: usize = 4 * 255;
/// More values of one set are told of together: no component takes so many.
const MOST_VALUES: usize = 256;

/// As much of a name as there can be.
pub(crate) fn bounded(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// What is asked of a set before its values are known.
pub(crate) fn asked(name: &str, record_type: Option<RecordType>, ttl: Option<Ttl>) -> Asked {
    Asked { name: bounded(name), record_type, ttl: ttl.map(|ttl| ttl.seconds().into()), ..Asked::default() }
}

/// The same, of these values.
pub(crate) fn with_values(asked: Asked, data: &[Rdata]) -> Asked {
    Asked { values: data.iter().map(value::to_text).collect(), ..asked }
}

/// Why a set has too many values.
pub(crate) fn too_many(texts: &[String]) -> Option<Reason> {
    let count = texts.len();
    (count > MOST_VALUES)
        .then(|| Reason::invalid(format!("{count} values are given, and {MOST_VALUES} are looked at at most")))
}

/// Reads all values of a set; it stands or falls as a whole, and each value says why.
pub(crate) fn parse_values(
    asked: &Asked,
    record_type: Option<RecordType>,
    texts: &[String],
) -> Result<Vec<Rdata>, Vec<Outcome>> {
    let Some(record_type) = record_type else {
        // Command line and REST have no way to give values without a type.
        return Ok(Vec::new());
    };
    if let Some(reason) = too_many(texts) {
        return Err(asked.all(Status::Refused, Some(reason)));
    }
    let parsed: Vec<_> = texts.iter().map(|text| value::parse(record_type, text)).collect();
    let Some(first) = parsed.iter().find_map(|value| value.as_ref().err()) else {
        return Ok(parsed.into_iter().flatten().collect());
    };
    let beside = format!("it stands or falls with the other values of its set, one of which is refused: {first}");
    let outcomes = texts.iter().zip(&parsed).flat_map(|(text, value)| {
        let message = value.as_ref().map_or_else(ToString::to_string, |_| beside.clone());
        Asked { values: vec![text.clone()], ..asked.clone() }.all(Status::Refused, Some(Reason::invalid(message)))
    });
    Err(outcomes.collect())
}
