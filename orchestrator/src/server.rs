//! A server of the inventory, and what its workflow did so far.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::HostName;
use crate::outcome::Outcome;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Stays the same whatever the server is called; its records carry it.
    pub id: Uuid,
    /// Its full name.
    pub hostname: HostName,
    /// Its addresses, as its provider knows them.
    pub addresses: Vec<IpAddr>,
    /// Where it is in its life.
    pub state: State,
    /// Its records.
    pub dns: ServerDns,
    /// What is wrong with it and what to do; null: nothing.
    pub problem: Option<String>,
    /// What its workflow did, in order.
    pub steps: Vec<Step>,
}

/// What became of a server's records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerDns {
    /// Of the last registration or removal.
    pub records: Vec<Outcome>,
    /// Whether every name server answered with what was registered; null: nobody asked.
    pub verified: Option<bool>,
    /// Per name server, the milliseconds from the acknowledged write until it had answered all of it rightly; null: it did not.
    #[serde(default)]
    pub resolvable_ms: BTreeMap<String, Option<u64>>,
}

/// Where a server is in its life; each state but the resting ones is the step that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The provider is to create it.
    Creating,
    /// The provider is to say that it is ready.
    Waiting,
    /// Its records are to be registered.
    Registering,
    /// Its name is to resolve.
    Verifying,
    /// At rest.
    Ready,
    /// Its services are to be stopped.
    Stopping,
    /// Its records are to be removed.
    Unregistering,
    /// The provider is to delete it.
    Deleting,
    /// It is to leave the inventory.
    Deleted,
    /// At rest, until somebody does what `problem` says.
    Failed,
}

impl State {
    /// Whether no step is due.
    pub fn is_resting(self) -> bool {
        matches!(self, Self::Ready | Self::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "creating",
            Self::Waiting => "waiting",
            Self::Registering => "registering",
            Self::Verifying => "verifying",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Unregistering => "unregistering",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
        })
    }
}

/// One step of a workflow, recorded before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `register`, say.
    pub name: String,
    /// When it began (RFC 3339).
    pub started_at: String,
    /// How long it took; null: it has not ended.
    pub duration_ms: Option<u64>,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What it did, for people.
    pub detail: String,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It has not ended.
    Running,
    /// As it should.
    Done,
    /// With a problem that did not stop the workflow.
    Problem,
    /// With a problem that did.
    Failed,
}

impl Server {
    /// A server that is to be created.
    pub(crate) fn new(hostname: HostName, addresses: Vec<IpAddr>) -> Self {
        Self {
            id: Uuid::now_v7(),
            hostname,
            addresses,
            state: State::Creating,
            dns: ServerDns::default(),
            problem: None,
            steps: Vec::new(),
        }
    }

    /// Adds a problem to those that there are.
    pub(crate) fn add_problem(&mut self, problem: &str) {
        match &mut self.problem {
            Some(problems) => {
                problems.push_str("; ");
                problems.push_str(problem);
            }
            None => self.problem = Some(problem.to_owned()),
        }
    }

    /// Whether a step of this name was ever begun.
    pub(crate) fn has_begun(&self, step: &str) -> bool {
        self.steps.iter().any(|begun| begun.name == step)
    }
}

impl Step {
    /// A step that begins now.
    pub(crate) fn begin(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            started_at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            duration_ms: None,
            outcome: StepOutcome::Running,
            detail: String::new(),
        }
    }

    /// Records how it ended.
    pub(crate) fn end(&mut self, took: Duration, outcome: StepOutcome, detail: String) {
        self.duration_ms = Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.outcome = outcome;
        self.detail = detail;
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<11} {:>6} ms", self.name, self.duration_ms.unwrap_or_default())?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, "  {}", self.detail) }
    }
}
