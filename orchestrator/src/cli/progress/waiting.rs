//! What is being waited for.

use indicatif::ProgressBar;

use super::{Lines, Progress};

/// A line with what is being waited for, and since when.
pub(in crate::cli) struct Waiting {
    lines: Lines,
    line: ProgressBar,
}

impl Waiting {
    /// For this, so far.
    pub(in crate::cli) fn new(what: String, progress: Progress) -> Self {
        Self::within(Lines::new(progress), what)
    }

    fn within(mut lines: Lines, what: String) -> Self {
        let line = lines.add("{spinner} {msg}, {elapsed}", None);
        line.set_message(what);
        Self { lines, line }
    }

    /// From now on it is this.
    pub(in crate::cli) fn turn_to(&self, what: String) {
        self.line.reset_elapsed();
        self.line.set_message(what);
    }

    /// Out of the way while something else is written.
    pub(in crate::cli) fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.lines.suspend(write)
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::Screen;
    use super::super::{AFTER, TICK};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_told_and_what_does_not_is_not() {
        let screen = Screen::default();
        let quick = Waiting::within(Lines::on(screen.target()), "create".to_owned());
        tokio::time::sleep(AFTER / 2).await;
        drop(quick);
        tokio::time::sleep(AFTER).await;
        assert_eq!(screen.seen(), "");

        let slow = Waiting::within(Lines::on(screen.target()), "create".to_owned());
        tokio::time::sleep(AFTER / 2).await;
        slow.turn_to("wait".to_owned());
        tokio::time::sleep(AFTER / 2 + TICK).await;
        slow.line.force_draw();
        slow.turn_to("register".to_owned());
        slow.line.force_draw();
        drop(slow);
        let seen = screen.seen();
        assert!(!seen.contains("create"), "{seen:?}");
        assert!(seen.contains(" wait, ") && seen.contains(" register, "), "{seen:?}");
        assert!(seen.ends_with("<clear>"), "{seen:?}");
    }
}
