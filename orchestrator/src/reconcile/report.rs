//! What a pass found, and what became of it.

use std::collections::BTreeSet;
use std::fmt;

use dns_manager_host::contract::Rdata;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::desired::TooManyDeletes;
use crate::outcome::Outcome;
use crate::repair::Problem;

/// What one pass found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReconcileReport)]
pub struct Report {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Each difference, by name.
    pub drift: Vec<Drift>,
    /// How many of each kind.
    pub summary: Summary,
    /// What could not be read, one line each.
    pub problems: Vec<String>,
}

/// One record that is not as the inventory says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Drift {
    /// In which way.
    pub kind: Kind,
    /// Where; of a key whose value was changed by hand, the key.
    pub name: String,
    /// Of which type; empty where it is not one record.
    pub record_type: String,
    /// The value that is missing, or that should not be there; empty where it is not one record.
    pub value: String,
    /// Whose record it is; null: a server's that the inventory does not have.
    pub hostname: Option<String>,
    /// That server's id.
    pub server: Option<Uuid>,
    /// What became of it.
    pub treatment: Treatment,
    /// More about it, for people.
    pub message: String,
    #[serde(skip)]
    pub(super) mend: Mend,
}

/// How a difference is mended, where it is to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Mend {
    /// Not by us.
    #[default]
    Nothing,
    /// Its server is registered again.
    Register,
    /// This value is taken away.
    Remove(Rdata),
}

/// In which way a record is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = DriftKind)]
pub enum Kind {
    /// A server's record is not there.
    Missing,
    /// A server has a problem with its records, or they were never seen to resolve.
    Unsettled,
    /// A record of a server was changed by hand: another value or TTL.
    Changed,
    /// A record of a server that the inventory does not have.
    Orphan,
    /// In the place of a server's record stands one that is not ours.
    Foreign,
}

/// What became of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// Only reported.
    Reported,
    /// It would be mended; this is a dry run.
    Planned,
    /// The server is being registered again.
    Registering,
    /// It is gone.
    Removed,
    /// It is again as it was.
    PutBack,
    /// Its removal was refused, or failed; the message says why.
    Failed,
    /// So many would be deleted that none is.
    HeldBack,
    /// A workflow is at work on its server, or comes back to it, and sees to it.
    LeftToWorkflow,
}

/// How many differences there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReconcileSummary)]
pub struct Summary {
    /// See [`Kind::Missing`].
    pub missing: usize,
    /// See [`Kind::Unsettled`].
    pub unsettled: usize,
    /// See [`Kind::Changed`].
    pub changed: usize,
    /// See [`Kind::Orphan`].
    pub orphan: usize,
    /// See [`Kind::Foreign`].
    pub foreign: usize,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Missing, Self::Unsettled, Self::Changed, Self::Orphan, Self::Foreign];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Missing => "missing",
            Self::Unsettled => "unsettled",
            Self::Changed => "changed",
            Self::Orphan => "orphan",
            Self::Foreign => "foreign",
        })
    }
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reported => "reported",
            Self::Planned => "planned",
            Self::Registering => "registering",
            Self::Removed => "removed",
            Self::PutBack => "put-back",
            Self::Failed => "failed",
            Self::HeldBack => "held-back",
            Self::LeftToWorkflow => "left-to-workflow",
        })
    }
}

impl Report {
    pub(super) fn new(drift: Vec<Drift>, dry_run: bool) -> Self {
        let mut summary = Summary::default();
        for found in &drift {
            *match found.kind {
                Kind::Missing => &mut summary.missing,
                Kind::Unsettled => &mut summary.unsettled,
                Kind::Changed => &mut summary.changed,
                Kind::Orphan => &mut summary.orphan,
                Kind::Foreign => &mut summary.foreign,
            } += 1;
        }
        Self { dry_run, drift, summary, problems: Vec::new() }
    }

    /// Whether everything is as it should be, or is being made so.
    pub fn is_settled(&self) -> bool {
        self.problems.is_empty() && self.left().next().is_none()
    }

    /// What is not as it should be, and is not being made so.
    pub fn left(&self) -> impl Iterator<Item = &Drift> {
        let is_left =
            |drift: &&Drift| matches!(drift.treatment, Treatment::Reported | Treatment::Failed | Treatment::HeldBack);
        self.drift.iter().filter(is_left)
    }

    /// The host names of servers that are to be, or are being, registered again.
    pub fn to_register(&self) -> BTreeSet<String> {
        // A report that came from a service does not say how its differences are mended; one that is being mended so, it does.
        let again = self.drift.iter().filter(|drift| {
            drift.treatment == Treatment::Registering || drift.treatment == Treatment::Planned && drift.registers()
        });
        again.filter_map(|drift| drift.hostname.clone()).collect()
    }

    pub(super) fn removals(&self) -> impl Iterator<Item = &Drift> {
        self.drift.iter().filter(|drift| drift.is_removal())
    }

    pub(super) fn removal_places(&self) -> Vec<usize> {
        self.drift.iter().enumerate().filter(|(_, drift)| drift.is_removal()).map(|(place, _)| place).collect()
    }

    /// Nothing is removed.
    pub(super) fn hold_back(&mut self, why: &TooManyDeletes) {
        for drift in self.drift.iter_mut().filter(|drift| drift.is_removal()) {
            drift.treatment = Treatment::HeldBack;
        }
        self.problems.push(why.to_string());
    }

    /// A removal has ended.
    pub(super) fn ended(&mut self, place: usize, outcomes: &[Outcome]) {
        let Some(drift) = self.drift.get_mut(place) else { return };
        match outcomes.iter().find(|outcome| !outcome.outcome.is_done()) {
            None => drift.treatment = Treatment::Removed,
            Some(failed) => {
                drift.treatment = Treatment::Failed;
                if let Some(reason) = &failed.reason {
                    drift.message = reason.message.clone();
                }
            }
        }
    }

    pub(super) fn registering(&mut self, hostname: &str) {
        self.treat(hostname, Treatment::Registering);
    }

    pub(super) fn left_to_workflow(&mut self, hostname: &str) {
        self.treat(hostname, Treatment::LeftToWorkflow);
    }

    fn treat(&mut self, hostname: &str, treatment: Treatment) {
        let its = |drift: &&mut Drift| drift.hostname.as_deref() == Some(hostname) && drift.registers();
        for drift in self.drift.iter_mut().filter(its) {
            if drift.treatment == Treatment::Planned {
                drift.treatment = treatment;
            }
        }
    }
}

impl Drift {
    /// A key of ours that is not as its record needs it; `put_back`: it was, or in a dry run is to be, mended. What then was
    /// not cannot be.
    pub(super) fn of_problem(problem: Problem, put_back: bool, is_dry: bool) -> Self {
        let treatment = match (put_back, problem.mended) {
            (true, true) => Treatment::PutBack,
            (true, false) if is_dry => Treatment::Planned,
            (true | false, _) => Treatment::Reported,
        };
        Self {
            kind: Kind::Changed,
            name: problem.place.unwrap_or(problem.zone),
            record_type: String::new(),
            value: String::new(),
            hostname: None,
            server: None,
            treatment,
            message: problem.reason.message,
            mend: Mend::Nothing,
        }
    }

    /// Whether a value is to be taken away.
    fn is_removal(&self) -> bool {
        self.treatment == Treatment::Planned && matches!(self.mend, Mend::Remove(_))
    }

    /// Whether it is mended by registering its server again.
    fn registers(&self) -> bool {
        self.mend == Mend::Register
    }
}
