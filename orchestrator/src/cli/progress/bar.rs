//! How far many things are that are done one after the other.

use indicatif::ProgressBar;

use super::{Lines, Progress, count};

/// A bar of record sets.
pub(in crate::cli) struct Bar {
    lines: Lines,
    bar: ProgressBar,
}

impl Bar {
    /// For so many record sets.
    pub(in crate::cli) fn new(label: &'static str, sets: usize, progress: Progress) -> Self {
        Self::within(Lines::new(progress), label, sets)
    }

    fn within(lines: Lines, label: &'static str, sets: usize) -> Self {
        Self::formed(lines, "{prefix} {wide_bar} {human_pos} of {human_len} record sets, {eta} left", label, sets)
    }

    /// For work that tells nothing of how far it is.
    pub(in crate::cli) fn waiting(label: &'static str, sets: usize, progress: Progress) -> Self {
        Self::formed(Lines::new(progress), "{spinner} {prefix} {human_len} record sets, {elapsed}", label, sets)
    }

    fn formed(mut lines: Lines, form: &str, label: &'static str, sets: usize) -> Self {
        let bar = lines.add(form, Some(sets));
        bar.set_prefix(label);
        Self { lines, bar }
    }

    /// So many are done.
    pub(in crate::cli) fn advanced(&self, done: usize, of: usize) {
        self.bar.set_length(count(of));
        self.bar.set_position(count(done));
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
    async fn a_bar_tells_how_far_it_is_and_leaves_nothing() {
        let screen = Screen::default();
        let bar = Bar::within(Lines::on(screen.target()), "applying", 10_000);

        bar.advanced(1_000, 10_000);
        assert_eq!(screen.seen(), "", "it may be done at once");
        tokio::time::sleep(AFTER + TICK).await;
        bar.advanced(2_500, 10_000);
        bar.bar.force_draw();
        drop(bar);

        let seen = screen.seen();
        assert!(seen.contains("applying ========> "), "{seen:?}");
        assert!(seen.contains(" 2,500 of 10,000 record sets, "), "{seen:?}");
        assert!(seen.ends_with("<clear>"), "{seen:?}");
    }
}
