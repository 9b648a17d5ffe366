//! The tables `orchestrator.workflow` and `orchestrator.reconcile`: what is done in the background, and how long.

use std::time::Duration;

use super::value::Value;
use super::{Reader, key, parse};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MOST_IN_FLIGHT: usize = 1000;

/// How servers are created and deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workflow {
    /// How long a server may take from its creation until it is ready.
    pub ready_timeout: Duration,
    /// How long a step that fails is tried again before its workflow stops.
    pub retry_for: Duration,
    /// How many servers a service works on at a time.
    pub in_flight: usize,
}

/// How what is registered is compared with what should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconcile {
    /// How often a service does it; none: never by itself.
    pub every: Option<Duration>,
    /// Whether a record of ours that was changed by hand is put back; else it is reported.
    pub put_back: bool,
}

impl Reader<'_> {
    pub(super) fn workflow(&mut self) -> Option<Workflow> {
        let ready_timeout = self.take(&key::READY_TIMEOUT, |value| parse::duration(value, "5m", DAY));
        let retry_for = self.take(&key::RETRY_FOR, |value| parse::duration(value, "10m", 30 * DAY));
        let in_flight = self.take(&key::IN_FLIGHT, |value| parse::number(value, 1..=MOST_IN_FLIGHT));
        Some(Workflow { ready_timeout: ready_timeout?, retry_for: retry_for?, in_flight: in_flight? })
    }

    pub(super) fn reconcile(&mut self) -> Option<Reconcile> {
        let every = self.take(&key::RECONCILE_EVERY, |value| match value {
            Value::Text(text) if text == "never" => Ok(None),
            other => parse::duration(other, "5m\" or \"never", DAY).map(Some),
        });
        let put_back = self.take(&key::RECONCILE_PUT_BACK, parse::switch);
        Some(Reconcile { every: every?, put_back: put_back? })
    }
}
