//! A server of the inventory, and what its workflow did so far.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::HostName;
use crate::outcome::{Outcome, Status};
use crate::timestamp::Timestamp;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Server {
    /// Stays the same whatever the server is called; its records carry it.
    pub id: Uuid,
    /// Its full name.
    #[schema(value_type = String)]
    pub hostname: HostName,
    /// Its addresses, as its provider knows them.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Where it is in its life.
    pub state: State,
    /// What somebody asked for last; the workflow sees to it.
    #[serde(default)]
    pub wanted: Wanted,
    /// Its records.
    pub dns: ServerDns,
    /// What is wrong with it and what to do; null: nothing.
    pub problem: Option<String>,
    /// What its workflow did, in order.
    pub steps: Vec<Step>,
    /// How often the step that is due has been tried in vain.
    #[serde(default)]
    pub attempts: u32,
    /// When the step that is due is tried again; null: at once.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// Since when that step has been due; its deadline counts from here, over restarts.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_since: Option<Timestamp>,
    /// Of a failed server: the state in which its workflow stopped, and from which a retry goes on.
    #[serde(default)]
    pub stopped_in: Option<State>,
    /// Names that it had, under which records of it may still stand.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub former_hostnames: Vec<HostName>,
    /// What tells the request that made it from others (`Idempotency-Key`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// What is to become of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// It is to be there.
    #[default]
    Present,
    /// It is to go, whatever else it is in the middle of.
    Deleted,
}

/// What became of a server's records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerDns {
    /// How often in a row it was registered and verified without success.
    #[serde(default)]
    pub tries: u32,
    /// Of the last registration or removal.
    pub records: Vec<Outcome>,
    /// Whether every name server answered with what was registered; null: nobody asked.
    pub verified: Option<bool>,
    /// Per name server, the milliseconds from the acknowledged write until it had answered all of it rightly; null: it did not.
    #[serde(default)]
    pub resolvable_ms: BTreeMap<String, Option<u64>>,
}

/// Where a server is in its life; each state but the resting ones is the step that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ServerState)]
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
    /// Every state, in the order of a server's life.
    pub(crate) const ALL: [Self; 10] = [
        Self::Creating,
        Self::Waiting,
        Self::Registering,
        Self::Verifying,
        Self::Ready,
        Self::Stopping,
        Self::Unregistering,
        Self::Deleting,
        Self::Deleted,
        Self::Failed,
    ];

    /// Whether it is one of a server that is made, or is there.
    fn is_of_creation(self) -> bool {
        matches!(self, Self::Creating | Self::Waiting | Self::Registering | Self::Verifying | Self::Ready)
    }

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Step {
    /// `register`, say.
    pub name: String,
    /// When it began, for the first time.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long it took; null: it has not ended.
    pub duration_ms: Option<u64>,
    /// How it ended.
    pub outcome: StepOutcome,
    /// How often it was tried.
    #[serde(default = "once")]
    pub attempts: u32,
    /// What it did, for people.
    pub detail: String,
}

fn once() -> u32 {
    1
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It has not ended.
    Running,
    /// As it should.
    Done,
    /// With a problem that did not stop the workflow.
    Problem,
    /// With a problem that may pass: it is tried again.
    Retrying,
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
            wanted: Wanted::default(),
            problem: None,
            steps: Vec::new(),
            attempts: 0,
            retry_at: None,
            due_since: None,
            stopped_in: None,
            former_hostnames: Vec::new(),
            request: None,
        }
    }

    /// Whether it is as it was wanted, or waits for somebody: no step is due.
    pub fn is_at_rest(&self) -> bool {
        let rests = matches!((self.state, self.wanted), (State::Ready, Wanted::Present) | (State::Failed, _));
        rests && !self.leaves_its_creation()
    }

    /// Whether it is to go, and no step of its deletion has been taken. A creation that stopped just when the deletion was
    /// asked for waits for nobody: somebody has said what is to become of it.
    pub(crate) fn leaves_its_creation(&self) -> bool {
        let comes_from = match self.state {
            State::Failed => self.stopped_in,
            state => Some(state),
        };
        self.wanted == Wanted::Deleted && comes_from.is_some_and(State::is_of_creation)
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

    /// Takes a problem away that was added last.
    pub(crate) fn remove_problem(&mut self, problem: &str) {
        self.problem = self.problem.take().and_then(|all| match all.strip_suffix(problem) {
            Some("") => None,
            Some(others) => Some(others.strip_suffix("; ").map(str::to_owned).unwrap_or(all)),
            None => Some(all),
        });
    }

    /// Whether a ready server's records are not as they should be, and may come to be so.
    pub(crate) fn is_unsettled(&self) -> bool {
        let may_pass = |outcome: &Outcome| matches!(outcome.outcome, Status::Failed | Status::Unknown);
        self.dns.verified == Some(false) || self.dns.records.iter().any(may_pass)
    }

    /// Is not registered again, unless it is unsettled.
    pub(crate) fn settle(&mut self) {
        if !self.is_unsettled() {
            self.dns.tries = 0;
            self.retry_at = None;
        }
    }

    /// Whether records of it may stand.
    pub(crate) fn may_be_registered(&self) -> bool {
        let has_begun = self.steps.iter().any(|step| step.name == "register");
        has_begun
            || self.state == State::Registering
            || !self.dns.records.is_empty()
            || !self.former_hostnames.is_empty()
    }

    /// Enters a state: its step is due from now on, and has not been tried.
    pub(crate) fn enter(&mut self, state: State) {
        self.state = state;
        self.attempts = 0;
        self.retry_at = None;
        self.due_since = Some(Timestamp::now());
    }

    /// Whether it is ready, and its records were to be registered again about now.
    pub(crate) fn is_to_be_registered_again(&self) -> bool {
        let is_ready = (self.state, self.wanted) == (State::Ready, Wanted::Present);
        is_ready && self.retry_at.is_some_and(|retry_at| retry_at.ahead().is_zero())
    }

    /// Has its records registered and verified again. What earlier rounds of that did is in the past.
    pub(crate) fn register_again(&mut self) {
        self.steps.retain(|step| !matches!(step.name.as_str(), "register" | "verify"));
        self.problem = None;
        self.enter(State::Registering);
    }

    /// Records that a step begins. A step that is tried again stays one step.
    pub(crate) fn begin(&mut self, name: &str) {
        let again = |step: &&mut Step| step.name == name && step.is_open();
        if let Some(step) = self.steps.last_mut().filter(again) {
            step.attempts = step.attempts.saturating_add(1);
            step.outcome = StepOutcome::Running;
            step.duration_ms = None;
        } else {
            self.steps.push(Step::begin(name));
        }
    }

    /// Records how the step that was begun last ended.
    pub(crate) fn end(&mut self, took: Duration, outcome: StepOutcome, detail: String) {
        if let Some(step) = self.steps.last_mut() {
            step.end(took, outcome, detail);
        }
    }
}

impl Step {
    /// A step that begins now.
    fn begin(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            started_at: Timestamp::now(),
            duration_ms: None,
            outcome: StepOutcome::Running,
            attempts: 1,
            detail: String::new(),
        }
    }

    /// Whether it has not ended: it runs, was broken off, or is to be tried again.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.outcome, StepOutcome::Running | StepOutcome::Retrying)
    }

    /// Records how it ended.
    fn end(&mut self, took: Duration, outcome: StepOutcome, detail: String) {
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
