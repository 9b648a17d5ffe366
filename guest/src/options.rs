//! What a caller says with each call.

use std::time::Duration;

/// What holds for one call.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long it may take.
    pub budget: Duration,
    /// Decide and report, but write nothing.
    pub dry_run: bool,
    /// Goes into log lines.
    pub request_id: String,
}
