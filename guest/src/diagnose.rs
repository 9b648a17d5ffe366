//! Diagnosis: a look at everything that has to be right, the cheapest first.
//!
//! Never an error and never beyond the budget. Each check says what was seen, and what to do as a command or a line of
//! configuration. What etcd's gateway says to what is measured in `coredns-etcd.md` 5, what CoreDNS answers in its 3.

mod backend;
mod name_servers;
mod values;

use std::time::Duration;

use crate::{
    budget::Budget,
    config::Config,
    layout::Layout,
    options::Options,
    ports::Ports,
    verification::{Check, Level},
    zone::Zone,
};

pub use name_servers::QUESTION_TIMEOUT;

/// For a read: without quorum etcd answers after 7 seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(8);
/// With less time than this, nothing more is begun.
const SHORTEST_STEP: Duration = Duration::from_millis(50);
/// Characters that are shown of somebody else's text.
const EXCERPT: usize = 120;
/// CoreDNS's `path`, when the settings cannot be read.
const DEFAULT_PATH: &str = "skydns";

/// Looks at the settings, the backend and the name servers.
pub fn diagnose(ports: &dyn Ports, options: &Options) -> Vec<Check> {
    let budget = Budget::new(ports.clock(), options.budget);
    let mut diagnosis = Diagnosis { ports, budget, url: ports.settings().get("url"), checks: Vec::new() };
    if diagnosis.run().is_none() {
        diagnosis.add(
            "budget",
            Level::Warn,
            format!("the budget of {} ms was used up, so not everything was checked", options.budget.as_millis()),
            "put right what is named above, then run `dns-manager doctor` again",
        );
    }
    diagnosis.checks
}

struct Diagnosis<'a> {
    ports: &'a dyn Ports,
    budget: Budget<'a>,
    url: Option<String>,
    checks: Vec<Check>,
}

impl Diagnosis<'_> {
    /// Makes all checks; none when the budget was over before the last.
    fn run(&mut self) -> Option<()> {
        let config = self.check_settings();
        let path = config.as_ref().map_or_else(|| DEFAULT_PATH.to_owned(), |config| config.path.clone());
        let mut gateway = None;
        if self.url.is_some() && self.check_backend()? {
            gateway = self.check_gateway(&path)?;
            // One that reads nothing tells of no alarm either, and takes its time.
            if gateway.is_some() {
                self.check_room()?;
            }
        }
        let zones = config.and_then(|config| config.zones);
        let stored = gateway.as_ref().and_then(|gateway| gateway.stored.as_ref());
        self.check_name_servers(zones.as_deref(), stored)?;
        if gateway.is_some() { self.check_values(zones.as_deref(), &Layout::new(&path)) } else { Some(()) }
    }

    fn add(&mut self, id: &'static str, level: Level, saw: impl Into<String>, remedy: impl Into<String>) {
        self.checks.push(Check { id, level, saw: saw.into(), remedy: remedy.into(), attributes: Vec::new() });
    }

    /// Says which zone the last check is about.
    fn about(&mut self, zone: &Zone) {
        if let Some(check) = self.checks.last_mut() {
            check.attributes.push(("zone", zone.to_string()));
        }
    }

    /// The time for a step; none when there is too little left.
    fn time(&self, most: Duration) -> Option<Duration> {
        let left = self.budget.left().saturating_sub(SHORTEST_STEP);
        (left >= SHORTEST_STEP).then_some(left.min(most))
    }

    fn check_settings(&mut self) -> Option<Config> {
        let config = match Config::read(self.ports.settings()) {
            Ok(config) => config,
            Err(reason) => {
                self.add(
                    "settings",
                    Level::Fail,
                    reason.message,
                    "correct it in [orchestrator.dns]; see `dns-manager config show`",
                );
                return None;
            }
        };
        let zones = match &config.zones {
            Some(zones) => zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            None => "as the name servers tell".to_owned(),
        };
        let Config { owner, path, ttl, .. } = &config;
        let saw = format!("owner `{owner}`, ttl {}, path /{path}, zones: {zones}", ttl.seconds());
        match &self.url {
            Some(url) => self.add("settings", Level::Ok, format!("backend {url}, {saw}"), ""),
            None => self.add(
                "settings",
                Level::Fail,
                format!("no `url` of a backend is set; {saw}"),
                "set coredns_url = \"http://127.0.0.1:2379\" (etcd's client port) in [orchestrator.dns]",
            ),
        }
        Some(config)
    }
}

/// Text from outside, as it may stand in a line.
fn excerpt(text: &str) -> String {
    let mut short: String = text.trim().chars().take(EXCERPT).flat_map(char::escape_debug).collect();
    if text.trim().chars().nth(EXCERPT).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests;
