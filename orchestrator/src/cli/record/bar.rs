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
        Self::on(target, label, sets)
    }

    fn on(target: ProgressDrawTarget, label: &'static str, sets: usize) -> Self {
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps what is written.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.write_str("<clear>")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_tells_how_far_it_is_and_leaves_nothing() {
        let screen = Screen::default();
        let bar = Bar::on(ProgressDrawTarget::term_like(Box::new(screen.clone())), "applying", 10_000);

        bar.advanced(2_500, 10_000);
        bar.0.tick();
        drop(bar);

        let seen = screen.0.lock().unwrap().clone();
        assert!(seen.contains("applying ========> "), "{seen:?}");
        assert!(seen.contains(" 2,500 of 10,000 record sets, "), "{seen:?}");
        assert!(seen.ends_with("<clear>"), "{seen:?}");
    }
}
