//! Many servers that are created, deleted or registered at the same time.

use std::cell::RefCell;
use std::collections::BTreeMap;

use indicatif::ProgressBar;

use super::super::output::printable;
use super::{Lines, Progress};
use crate::server::Step;

/// A bar of servers; below it those at work, each with its step, and those that failed.
pub(in crate::cli) struct Servers(RefCell<Inner>);

struct Inner {
    lines: Lines,
    bar: ProgressBar,
    /// Those at work by name, each with its step.
    working: BTreeMap<String, String>,
    working_line: ProgressBar,
    failed: Vec<String>,
    /// There from the first that failed.
    failed_line: Option<ProgressBar>,
}

impl Servers {
    /// For so many.
    pub(in crate::cli) fn new(label: &'static str, servers: usize, progress: Progress) -> Self {
        Self::within(Lines::new(progress), label, servers)
    }

    fn within(mut lines: Lines, label: &'static str, servers: usize) -> Self {
        let bar = lines.add("{prefix} {wide_bar} {human_pos} of {human_len} servers, {elapsed}", Some(servers));
        bar.set_prefix(label);
        let working_line = lines.add("{wide_msg}", None);
        let (working, failed) = (BTreeMap::new(), Vec::new());
        Self(RefCell::new(Inner { lines, bar, working, working_line, failed, failed_line: None }))
    }

    /// This one is in this step, or has ended it.
    pub(in crate::cli) fn took(&self, hostname: &str, step: &Step) {
        let mut inner = self.0.borrow_mut();
        inner.working.insert(hostname.to_owned(), step.name.clone());
        inner.show_working();
    }

    /// This one is done with, well or not.
    pub(in crate::cli) fn ended(&self, hostname: &str, is_well: bool) {
        self.0.borrow_mut().end(hostname, is_well);
    }

    /// All are done with, and something else is to be written.
    pub(in crate::cli) fn clear(&self) {
        self.0.borrow().lines.clear();
    }
}

impl Inner {
    fn end(&mut self, hostname: &str, is_well: bool) {
        self.bar.inc(1);
        self.working.remove(hostname);
        self.show_working();
        if !is_well {
            self.failed.push(hostname.to_owned());
            let Self { lines, failed, failed_line, .. } = self;
            // What does not fit is cut off: the last ones are the news.
            let names: Vec<_> = failed.iter().rev().map(|name| printable(name)).collect();
            let line = failed_line.get_or_insert_with(|| lines.add("{wide_msg}", None));
            line.set_message(format!("{} failed: {}", names.len(), names.join(", ")));
        }
    }

    fn show_working(&self) {
        let words: Vec<_> = self.working.iter().map(|(name, step)| printable(&format!("{name} {step}"))).collect();
        let text = match words.len() {
            0 => String::new(),
            some => format!("{some} at work: {}", words.join(", ")),
        };
        self.working_line.set_message(text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::Screen;
    use super::super::{AFTER, TICK};
    use super::*;
    use crate::name::HostName;
    use crate::server::Server;

    /// A server's step of this name.
    fn step(name: &str) -> Step {
        let mut server = Server::new("web-01.example.com".parse::<HostName>().unwrap(), Vec::new());
        server.begin(name);
        server.steps.remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_at_work_in_which_step_and_who_failed_is_told() {
        let screen = Screen::default();
        let servers = Servers::within(Lines::on(screen.target()), "creating", 3);
        for hostname in ["web-01", "web-02", "web-03"] {
            servers.took(hostname, &step("create"));
        }
        assert_eq!(screen.seen(), "", "they may be done at once");

        tokio::time::sleep(AFTER + TICK).await;
        servers.took("web-02", &step("verify"));
        servers.0.borrow().bar.force_draw();
        let seen = screen.seen();
        assert!(seen.contains("creating ") && seen.contains(" 0 of 3 servers, "), "{seen:?}");
        assert!(seen.contains("3 at work: web-01 create, web-02 verify, web-03 create"), "{seen:?}");
        assert!(!seen.contains("failed"), "{seen:?}");

        servers.ended("web-02", true);
        servers.ended("web-01", false);
        servers.ended("web\u{1b}[2J-03", false);
        servers.0.borrow().bar.force_draw();
        drop(servers);
        let seen = screen.seen();
        assert!(seen.contains(" 3 of 3 servers, "), "{seen:?}");
        assert!(seen.contains("2 failed: web\\u{1b}[2J-03, web-01"), "{seen:?}");
        assert!(seen.ends_with("<clear>"), "{seen:?}");
    }
}
