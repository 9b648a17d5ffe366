//! A bar for work that takes a while, for whoever reads along on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Fewer record sets are done before a bar could be read.
const MANY: usize = 500;
const TICK: Duration = Duration::from_millis(100);

/// A bar, or nothing where nobody reads along or there is little to do.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// For so many record sets; drawn if somebody reads standard error.
    pub(super) fn new(label: &'static str, sets: usize, is_read: bool) -> Self {
        let target = if is_read && sets >= MANY { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(u64::try_from(sets).unwrap_or(u64::MAX)), target);
        let form = "{prefix} {wide_bar} {human_pos} of {human_len} record sets, {eta} left";
        // The form is a constant; without it the bar has its own.
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(label);
        Self(bar)
    }

    /// For work that tells nothing of how far it is.
    pub(super) fn waiting(label: &'static str, sets: usize, is_read: bool) -> Self {
        let bar = Self::new(label, sets, is_read);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {spinner} {human_len} record sets, {elapsed}") {
            bar.0.set_style(style);
        }
        bar.0.enable_steady_tick(TICK);
        bar
    }

    /// So many are done.
    pub(super) fn advanced(&self, done: usize, of: usize) {
        self.0.set_length(u64::try_from(of).unwrap_or(u64::MAX));
        self.0.set_position(u64::try_from(done).unwrap_or(u64::MAX));
    }

    /// Out of the way while something else is written.
    pub(super) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.0.suspend(write)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
