//! Time, by `wasi:clocks/monotonic-clock`.

use std::time::Duration;

use wasip2::{clocks::monotonic_clock, io::poll::Pollable};

use crate::ports::Clock;

/// The host's clock.
pub(super) struct HostClock;

impl Clock for HostClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(monotonic_clock::now())
    }

    fn sleep(&self, duration: Duration) {
        timer(duration).block();
    }
}

/// Gets ready after `duration`.
pub(super) fn timer(duration: Duration) -> Pollable {
    monotonic_clock::subscribe_duration(nanoseconds(duration))
}

/// A duration as WASI counts it.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
