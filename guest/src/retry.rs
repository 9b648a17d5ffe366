//! How long to wait before trying again: longer each time, and not in step with others.

use std::time::Duration;

/// The longest pause.
const CAP: Duration = Duration::from_secs(2);

/// A row of pauses.
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
    state: u64,
}

impl Backoff {
    /// Begins with about `base`. Rows of different seeds differ.
    pub fn new(base: Duration, seed: u64) -> Self {
        Self { base, cap: CAP, attempt: 0, state: seed }
    }

    /// With no pause longer than this.
    #[must_use]
    pub fn capped(self, cap: Duration) -> Self {
        Self { cap, ..self }
    }

    /// The next pause: twice the one before, at most two seconds or the cap, of which the upper half is left to chance.
    #[expect(clippy::should_implement_trait, reason = "the row does not end")]
    pub fn next(&mut self) -> Duration {
        let full = self.base.saturating_mul(1 << self.attempt.min(16)).min(self.cap);
        self.attempt += 1;
        let half = full / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_nanos(self.random() % nanos)
    }

    /// SplitMix64: enough to keep writers out of step; nothing secret depends on it.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        let base = Duration::from_millis(50);
        let mut backoff = Backoff::new(base, 7);
        for attempt in 0..12 {
            let full = (base * (1 << attempt)).min(CAP);
            let pause = backoff.next();
            assert!(pause >= full / 2 && pause <= full, "{attempt}: {pause:?}");
        }
        let mut capped = Backoff::new(base, 7).capped(base);
        assert!((0..12).all(|_| capped.next() <= base));
        assert_ne!(Backoff::new(base, 1).next(), Backoff::new(base, 2).next());
    }
}
