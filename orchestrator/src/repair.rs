//! What a repair finds: keys that are not as the records need them.

use dns_manager_host::contract;
use serde::{Deserialize, Serialize};

use crate::outcome::Reason;

/// A difference between a key and what it should hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RepairProblem)]
pub struct Problem {
    /// The zone that was looked at.
    pub zone: String,
    /// The key.
    pub place: String,
    /// Whether it was put right.
    pub mended: bool,
    /// What is wrong there.
    pub reason: Reason,
}

impl Problem {
    pub(crate) fn new(zone: &str, problem: &contract::Problem) -> Self {
        Self {
            zone: zone.to_owned(),
            place: problem.place.clone(),
            mended: problem.mended,
            reason: Reason::from(&problem.reason),
        }
    }
}
