//! The time that a call has.

use std::time::Duration;

use crate::ports::Clock;

/// Time that only runs out.
pub struct Budget<'a> {
    clock: &'a dyn Clock,
    start: Duration,
    total: Duration,
}

/// What is kept back, so that an answer still reaches the caller within its budget.
const MARGIN: Duration = Duration::from_millis(20);

impl<'a> Budget<'a> {
    /// Starts now.
    pub fn new(clock: &'a dyn Clock, total: Duration) -> Self {
        Self { clock, start: clock.now(), total: total.saturating_sub(MARGIN) }
    }

    /// What is left, less a margin for the answer.
    pub fn left(&self) -> Duration {
        self.total.saturating_sub(self.elapsed())
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.clock.now().saturating_sub(self.start)
    }

    /// Waits, but no longer than what is left.
    pub fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration.min(self.left()));
    }
}
