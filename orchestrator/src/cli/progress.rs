//! What a terminal shows of work that is under way, and forgets when that has ended.
//!
//! Nothing is shown of what takes less than a second, and nothing at all where nobody reads along: scripts find the steps of a
//! server, with their times, on the server itself.

mod bar;
mod servers;
mod waiting;

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use crate::environment::Environment;

pub(super) use bar::Bar;
pub(super) use servers::Servers;
pub(super) use waiting::Waiting;

/// What whoever reads standard error is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nobody does, or nobody wants any.
    Nothing,
    /// What has ended, line after line.
    Ended,
    /// What is at work, too, in lines that change.
    Live,
}

impl Progress {
    /// For terminals, as far as they can.
    pub(super) fn of(environment: &Environment, is_quiet: bool) -> Self {
        match environment.terminal.stderr && !is_quiet {
            false => Self::Nothing,
            true if environment.variable("TERM") == Some("dumb") => Self::Ended,
            true => Self::Live,
        }
    }
}

/// What is done by then was never worth a line.
const AFTER: Duration = Duration::from_secs(1);
/// How often times and what moves are drawn again.
const TICK: Duration = Duration::from_millis(100);

/// The lines at the end of a terminal.
struct Lines {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
    /// Begins to draw.
    reveal: Option<JoinHandle<()>>,
}

impl Lines {
    fn new(progress: Progress) -> Self {
        match progress {
            Progress::Live => Self::on(ProgressDrawTarget::stderr()),
            Progress::Nothing | Progress::Ended => {
                let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
                Self { all, bars: Vec::new(), reveal: None }
            }
        }
    }

    fn on(target: ProgressDrawTarget) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let reveal = {
            let all = all.clone();
            tokio::spawn(async move {
                tokio::time::sleep(AFTER).await;
                all.set_draw_target(target);
            })
        };
        Self { all, bars: Vec::new(), reveal: Some(reveal) }
    }

    /// A line more, below the others.
    fn add(&mut self, form: &str, of: Option<usize>) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(of.map(count), ProgressDrawTarget::hidden());
        // The form is a constant; without it the line has indicatif's own.
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style.progress_chars("=> "));
        }
        let bar = self.all.add(bar);
        bar.enable_steady_tick(TICK);
        self.bars.push(bar.clone());
        bar
    }

    /// Takes them away for good.
    fn clear(&self) {
        if let Some(reveal) = &self.reveal {
            reveal.abort();
        }
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
    }

    /// Out of the way while something else is written.
    fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        self.all.suspend(write)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.clear();
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod screen;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Terminal;

    #[test]
    fn progress_is_for_terminals_and_for_who_wants_it() {
        let progress = |stderr: bool, term: &str, is_quiet: bool| {
            let variables = [("TERM".to_owned(), term.to_owned())].into();
            let terminal = Terminal { stderr, stdout: true, ..Terminal::default() };
            Progress::of(&Environment { variables, terminal, ..Environment::default() }, is_quiet)
        };
        assert_eq!(progress(true, "xterm", false), Progress::Live);
        assert_eq!(progress(true, "dumb", false), Progress::Ended);
        assert_eq!(progress(true, "xterm", true), Progress::Nothing);
        assert_eq!(progress(false, "xterm", false), Progress::Nothing);
    }
}
