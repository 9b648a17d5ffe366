//! How a step can end, and what it leaves to the next.

use std::time::{Duration, Instant};

use crate::outcome::Outcome;
use crate::record::RecordType;
use crate::server::{Server, State, StepOutcome};

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

/// `A 192.168.1.10 created, AAAA ...`, with a reason once after those that share it, and all warnings at the end.
pub(super) fn told(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        for word in [&outcome.record_type, &outcome.value].into_iter().flatten() {
            text.push_str(word);
            text.push(' ');
        }
        text.push_str(&outcome.outcome.to_string());
        let next = outcomes.get(index + 1);
        if let Some(reason) = &outcome.reason
            && next.and_then(|next| next.reason.as_ref()) != Some(reason)
        {
            text.push_str(": ");
            text.push_str(&reason.message);
        }
    }
    for warning in outcomes.iter().flat_map(|outcome| &outcome.warnings) {
        text.push_str("; warning: ");
        text.push_str(&warning.message);
    }
    text
}
