//! What a repair finds: keys that are not as the records need them.

use dns_manager_host::{Error, contract};
use serde::{Deserialize, Serialize};

use crate::outcome::Reason;

/// A difference between a key and what it should hold, or a zone whose keys could not all be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RepairProblem)]
pub struct Problem {
    /// The zone that was looked at.
    pub zone: String,
    /// The key; absent: the zone could not be looked at to its end.
    pub place: Option<String>,
    /// Whether it was put right.
    pub mended: bool,
    /// What is wrong there.
    pub reason: Reason,
}

impl Problem {
    pub(crate) fn new(zone: &str, problem: &contract::Problem) -> Self {
        Self {
            zone: zone.to_owned(),
            place: Some(problem.place.clone()),
            mended: problem.mended,
            reason: Reason::from(&problem.reason),
        }
    }

    /// A zone that could not be looked at to its end; what was mended before is mended.
    pub(crate) fn of_zone(zone: &str, error: &Error) -> Self {
        Self { zone: zone.to_owned(), place: None, mended: false, reason: Reason::from(error) }
    }
}
