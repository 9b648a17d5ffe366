//! Which step a state calls for, and how a step can end.

use std::time::{Duration, Instant};

use super::{Parts, create, delete};
use crate::record::RecordType;
use crate::server::{Server, State, StepOutcome};

/// The step that a state calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Create,
    Wait,
    Register,
    Verify,
    Stop,
    Unregister,
    Delete,
    Remove,
}

impl Due {
    pub(super) fn of(state: State) -> Option<Self> {
        match state {
            State::Creating => Some(Self::Create),
            State::Waiting => Some(Self::Wait),
            State::Registering => Some(Self::Register),
            State::Verifying => Some(Self::Verify),
            State::Stopping => Some(Self::Stop),
            State::Unregistering => Some(Self::Unregister),
            State::Deleting => Some(Self::Delete),
            State::Deleted => Some(Self::Remove),
            State::Ready | State::Failed => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Wait => "wait",
            Self::Register => "register",
            Self::Verify => "verify",
            Self::Stop => "stop",
            Self::Unregister => "unregister",
            Self::Delete => "delete",
            Self::Remove => "remove",
        }
    }

    /// Whether it only looks, so that it can be broken off when the server is to go.
    pub(super) fn only_looks(self) -> bool {
        matches!(self, Self::Wait | Self::Verify)
    }

    /// Takes the step; `is_in_doubt`: it was begun before, and nobody knows how it ended.
    pub(super) async fn take(
        self,
        parts: &Parts,
        server: &mut Server,
        acknowledged: &mut Acknowledged,
        is_in_doubt: bool,
    ) -> Ended {
        match self {
            Self::Create => create::create(parts, server, is_in_doubt).await,
            Self::Wait => create::wait(parts, server).await,
            Self::Register => create::register(parts, server, acknowledged).await,
            Self::Verify => create::verify(parts, server, acknowledged).await,
            Self::Stop => delete::stop(parts, server).await,
            Self::Unregister => delete::unregister(parts, server).await,
            Self::Delete => delete::delete(parts, server).await,
            // The inventory is the worker's.
            Self::Remove => Ended::Gone,
        }
    }
}

/// When what a workflow wrote was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    pub(super) addresses: Option<Instant>,
    pub(super) pointers: Option<Instant>,
}

impl Acknowledged {
    /// How long ago the records of a type were written.
    pub(super) fn since(&self, record_type: RecordType) -> Duration {
        let at = if record_type == RecordType::PTR { self.pointers } else { self.addresses };
        at.map(|at| at.elapsed()).unwrap_or_default()
    }
}

/// How a step ended, and what comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The workflow goes on, with or without a problem, which is the server's from now on.
    On { next: State, outcome: StepOutcome, detail: String },
    /// It may succeed later; if it does not in time, the workflow stops as `Stopped` would.
    Again { problem: String, remedy: &'static str },
    /// The workflow stops, until somebody does what the remedy says and retries from `retry_from`.
    Stopped { problem: String, remedy: &'static str, retry_from: State },
    /// The server is to leave the inventory.
    Gone,
}

impl Ended {
    pub(super) fn done(next: State, detail: impl Into<String>) -> Self {
        Self::On { next, outcome: StepOutcome::Done, detail: detail.into() }
    }

    /// The problem is the server's from now on, and the workflow goes on.
    pub(super) fn problem(server: &mut Server, next: State, problem: String) -> Self {
        server.add_problem(&problem);
        Self::On { next, outcome: StepOutcome::Problem, detail: problem }
    }

    /// As the provider's error says: again, or never.
    pub(super) fn refused(error: &crate::provider::Error, what: &str, remedy: &'static str, state: State) -> Self {
        let problem = format!("{what}: {error}");
        if error.may_pass {
            Self::Again { problem, remedy }
        } else {
            Self::Stopped { problem, remedy, retry_from: state }
        }
    }
}
