//! What verifying asks for and comes to.

use std::time::Duration;

use crate::{
    name::Name,
    rdata::{RData, RrType},
    reason::Reason,
};

/// What the name servers should answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The name to ask for.
    pub name: Name,
    /// None: every type in `data`, or without `data` every type that is stored.
    pub rr_type: Option<RrType>,
    /// None: what is stored now. Empty: nothing of the type may be answered.
    pub data: Option<Vec<RData>>,
}

/// In rising order of gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Answered as expected.
    Verified,
    /// No usable answer.
    Unreachable,
    /// The name or the type is not there.
    NotFound,
    /// Answered with other values.
    Mismatch,
}

/// What one name server answered last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub server: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// None: no answer.
    pub rcode: Option<u16>,
    /// AA.
    pub authoritative: bool,
    /// The lowest TTL of the values; of a negative answer, of its SOA.
    pub ttl: Option<u32>,
    /// The values of the type asked for, at the name asked for, sorted.
    pub data: Vec<RData>,
    /// Why there is no usable answer, or what is odd about it.
    pub problem: Option<Reason>,
    /// From the beginning of the call to the first answer as expected; none: there was none.
    pub resolvable: Option<Duration>,
}

/// The verification of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub rr_type: RrType,
    /// The gravest of its servers' verdicts.
    pub verdict: Verdict,
    /// Sorted.
    pub expected: Vec<RData>,
    /// One per name server, in their order.
    pub answers: Vec<Seen>,
    /// From the first question to the last answer.
    pub elapsed: Duration,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but look at it.
    Warn,
    /// It does not work.
    Fail,
}

/// One check of a diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable, for programs.
    pub id: &'static str,
    /// How it ended.
    pub level: Level,
    /// What was seen, one line.
    pub saw: String,
    /// What to do; empty when there is nothing.
    pub remedy: String,
    /// For programs: `zone`, the zone that the check is about.
    pub attributes: Vec<(&'static str, String)>,
}
