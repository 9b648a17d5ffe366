//! Troubleshooting: one check after the other, each with what was seen and what to do.
//!
//! What is special to the backend comes from the component's own `diagnose`, once for each of its members. Here is what only the
//! orchestrator can do: read the configuration, ask each name server over each transport, and send a record the whole way,
//! through the component into the backend and back out of the name servers (`probe`).

mod inventory;
mod probe;

use std::collections::BTreeSet;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use dns_manager_host::contract;
use serde::{Deserialize, Serialize};

use crate::config::{self, Config, Problem, Source};
use crate::dns;
use crate::plugin::{self, ConnectError};
use crate::question::{Question, Transport};
use crate::registry::Registry;
use crate::remote::Remote;
use crate::serve::Holder;
use probe::Way;

/// For one question. CoreDNS answers SERVFAIL when etcd has kept it waiting for 5 seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(6);
/// Zones into which a probe is written.
const MOST_ZONES: usize = 8;
/// The component's checks that are about one member of the backend.
const OF_A_MEMBER: &str = "backend-";
/// The first CoreDNS that serves this project's layout rightly (coredns #5283).
const OLDEST_COREDNS: (u32, u32, u32) = (1, 9, 2);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but look at it.
    Warn,
    /// It does not work.
    Fail,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stable, for programs: `probe-resolves`, say.
    pub id: String,
    /// How it ended.
    pub level: Level,
    /// What was seen, one line.
    pub saw: String,
    /// What to do, as a command or a line of configuration; empty: nothing.
    pub remedy: String,
}

impl Check {
    fn new(id: &str, level: Level, saw: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { id: id.to_owned(), level, saw: saw.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<4}  {:<21}  {}", self.level, self.id, self.saw)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "  -> {}", self.remedy) }
    }
}

impl From<contract::Check> for Check {
    fn from(check: contract::Check) -> Self {
        let level = match check.level {
            contract::Level::Ok => Level::Ok,
            contract::Level::Warn => Level::Warn,
            contract::Level::Fail => Level::Fail,
        };
        Self { id: check.id, level, saw: check.saw, remedy: check.remedy }
    }
}

/// What to say of a configuration that cannot be used.
pub fn misconfigured(error: &config::Error) -> Vec<Check> {
    let fail = |saw: String, remedy: &str| Check::new("configuration", Level::Fail, saw, remedy);
    match error {
        config::Error::Invalid(problems) => {
            let place = |problem: &Problem| match &problem.source {
                Source::Default => "set it in config.toml",
                Source::File { .. } => "correct that line of the file",
                Source::Variable(_) => "correct that environment variable",
            };
            problems.iter().map(|problem| fail(problem.to_string(), place(problem))).collect()
        }
        other => vec![fail(crate::error_chain(other), "name a file that can be read with --config")],
    }
}

/// Looks at everything that has to be right, the cheapest first.
///
/// Once `interrupted` ends, nothing more is looked at, and what was written is removed.
pub async fn examine(config: &Config, interrupted: impl Future<Output = ()>) -> Vec<Check> {
    let mut interrupted = pin!(interrupted);
    let mut examination = Examination { config, checks: Vec::new(), zones: BTreeSet::new() };
    examination.check_configuration();
    let way = tokio::select! {
        way = examination.look() => way,
        () = &mut interrupted => {
            examination.checks.push(interruption());
            return examination.checks;
        }
    };
    if let Some(way) = way {
        examination.check_the_whole_way(&way, interrupted).await;
    }
    examination.checks
}

/// Not everything was looked at.
fn interruption() -> Check {
    Check::new(
        "interrupted",
        Level::Fail,
        "interrupted before everything was checked",
        "run `dns-manager doctor` again",
    )
}

struct Examination<'a> {
    config: &'a Config,
    checks: Vec<Check>,
    /// Configured, or seen to be served.
    zones: BTreeSet<String>,
}

impl Examination<'_> {
    fn add(&mut self, id: &str, level: Level, saw: impl Into<String>, remedy: impl Into<String>) {
        self.checks.push(Check::new(id, level, saw, remedy));
    }

    fn check_configuration(&mut self) {
        for warning in &self.config.warnings {
            self.checks.push(Check::new("configuration", Level::Warn, warning.clone(), "dns-manager config show"));
        }
        if self.config.warnings.is_empty() {
            self.add("configuration", Level::Ok, "everything in it is understood", "");
        }
        self.zones.extend(self.config.dns.zones.iter().map(ToString::to_string));
    }

    /// All that needs nothing written.
    async fn look(&mut self) -> Option<Way> {
        let way = self.check_backend().await;
        self.check_name_servers().await;
        self.check_inventory().await;
        way
    }

    /// Lets the component look, at each member of the backend by itself.
    async fn check_backend(&mut self) -> Option<Way> {
        let dns = match plugin::connect_now(self.config).await {
            Ok(dns) => dns,
            Err(error) if error.is_held() => match self.check_service().await {
                Some(way) => return Some(way),
                // Another command holds it, and ends soon.
                None => match plugin::connect(self.config).await {
                    Ok(dns) => dns,
                    Err(error) => {
                        self.checks.push(unusable(&error));
                        return None;
                    }
                },
            },
            Err(error) => {
                self.checks.push(unusable(&error));
                return None;
            }
        };
        let members = self.config.members();
        if members.len() > 1 {
            self.check_members(&members).await;
        }
        match dns.diagnose(dns::usual_call()).await {
            Ok(checks) => {
                let zone = |check: &contract::Check| {
                    check.attributes.iter().find(|(key, _)| key == "zone").map(|(_, zone)| zone.clone())
                };
                self.zones.extend(checks.iter().filter_map(zone));
                let checks = checks.into_iter().map(Check::from);
                self.checks.extend(checks.filter(|check| members.len() < 2 || !check.id.starts_with(OF_A_MEMBER)));
            }
            Err(error) => self.checks.push(broken(&error)),
        }
        Some(Way::Alone(Registry::new(Arc::new(dns), self.config.dns.ttl)))
    }

    /// The embedded store may be held by a service that answers for it.
    async fn check_service(&mut self) -> Option<Way> {
        let holder = Holder::read(&self.config.data_dir)?;
        let remote = Remote::find(&holder).await?;
        let saw = format!("the service at {} holds the embedded store, and answers", holder.url);
        self.add("backend", Level::Ok, saw, "");
        Some(Way::Through(remote))
    }

    /// A member that fails is a warning while another does not: the host fails over to that one.
    async fn check_members(&mut self, members: &[Config]) {
        let mut found = Vec::new();
        for member in members {
            let checks = match plugin::connect(member).await {
                Ok(dns) => dns.diagnose(dns::usual_call()).await.map_err(|error| broken(&error)),
                Err(error) => Err(unusable(&error)),
            };
            found.push(match checks {
                Ok(checks) => {
                    checks.into_iter().map(Check::from).filter(|check| check.id.starts_with(OF_A_MEMBER)).collect()
                }
                Err(check) => vec![check],
            });
        }
        // One that was not looked at to the end has no failure, and nothing to rely on either.
        let fails = |checks: &Vec<Check>| checks.is_empty() || checks.iter().any(|check| check.level == Level::Fail);
        let redundant = !found.iter().all(fails);
        for mut check in found.into_iter().flatten() {
            if redundant && check.level == Level::Fail {
                check.level = Level::Warn;
                check.saw.push_str(" (another member answers)");
            }
            self.checks.push(check);
        }
    }

    /// Asks each name server over UDP and over TCP, and which program it is.
    async fn check_name_servers(&mut self) {
        let zone = self.zones.first().cloned().unwrap_or_else(|| ".".to_owned());
        for server in &self.config.dns.nameservers {
            let question = Question::soa(&zone);
            let (udp, tcp) = tokio::join!(
                question.ask(server, Transport::Udp, PATIENCE),
                question.ask(server, Transport::Tcp, PATIENCE)
            );
            let id = "nameserver-transport";
            let check = match (udp, tcp) {
                (Ok(_), Ok(_)) => Check::new(id, Level::Ok, format!("{server} answers over UDP and over TCP"), ""),
                (Ok(_), Err(why)) => Check::new(
                    id,
                    Level::Fail,
                    format!("{server} answers over UDP but not over TCP ({why}): long answers are lost"),
                    format!(
                        "let TCP through to {server} (firewall, load balancer), and try `{}`",
                        dig(server, &zone, "+tcp")
                    ),
                ),
                (Err(why), Ok(_)) => Check::new(
                    id,
                    Level::Fail,
                    format!("{server} answers over TCP but not over UDP ({why}): most programs ask over UDP"),
                    format!(
                        "let UDP through to {server} (firewall, load balancer), and try `{}`",
                        dig(server, &zone, "+notcp")
                    ),
                ),
                (Err(why), Err(_)) => {
                    let is_told =
                        |check: &Check| check.id == "nameserver-reachable" && check.saw.contains(server.as_str());
                    if !self.checks.iter().any(is_told) {
                        let remedy = "start CoreDNS there, or correct nameservers in [orchestrator.dns]";
                        self.add(
                            "nameserver-reachable",
                            Level::Fail,
                            format!("{server} does not answer ({why})"),
                            remedy,
                        );
                    }
                    continue;
                }
            };
            self.checks.push(check);
            if let Ok(answer) = Question::version().ask(server, Transport::Udp, PATIENCE).await
                && let Some(told) = answer.values.first()
            {
                self.checks.extend(version(server, told));
            }
        }
    }

    /// Writes a record into each zone and asks for it.
    async fn check_the_whole_way(&mut self, way: &Way, mut interrupted: Pin<&mut impl Future<Output = ()>>) {
        let is_broken = |check: &Check| check.level == Level::Fail && check.id.starts_with(OF_A_MEMBER);
        if self.checks.iter().any(is_broken) {
            let saw = "no probe was written, since the backend does not work";
            self.add("probe", Level::Warn, saw, "put right what is named above, then run `dns-manager doctor` again");
            return;
        }
        if self.zones.is_empty() {
            let remedy = "set zones = [\"example.com\"] in [orchestrator.dns]";
            self.add("probe", Level::Warn, "no zone is known, so no probe was written", remedy);
            return;
        }
        let zones: Vec<String> = self.zones.iter().take(MOST_ZONES).cloned().collect();
        for zone in &zones {
            let (checks, is_interrupted) = probe::probe(way, self.config, zone, interrupted.as_mut()).await;
            self.checks.extend(checks);
            if is_interrupted {
                self.checks.push(interruption());
                return;
            }
        }
        if let Some(left) = self.zones.len().checked_sub(MOST_ZONES).filter(|left| *left > 0) {
            self.add("probe", Level::Ok, format!("{left} more zones were left alone"), "");
        }
    }
}

/// Why a component did not tell.
fn broken(error: &dns_manager_host::Error) -> Check {
    Check::new(
        "plugin",
        Level::Fail,
        format!("it broke while looking for trouble: {}", crate::error_chain(error)),
        "dns-manager plugin inspect FILE; leave orchestrator.dns.plugin out for the built-in component",
    )
}

/// Why there is nothing to ask.
fn unusable(error: &ConnectError) -> Check {
    let remedy = match error {
        ConnectError::Embedded(_) => {
            "end the process that has it, or set orchestrator.data_dir and orchestrator.embedded.dns_listen to others"
        }
        ConnectError::Zone(_) => "dns-manager config show --corefile",
        ConnectError::Plugin { .. } => "dns-manager plugin inspect FILE; see `dns-manager config show`",
    };
    Check::new("backend", Level::Fail, crate::error_chain(error), remedy)
}

/// Judges what a server says of itself, if it says that it is CoreDNS.
fn version(server: &str, told: &str) -> Option<Check> {
    let (_, numbers) = told.split_once("CoreDNS-")?;
    let mut numbers = numbers.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) = (numbers.next(), numbers.next(), numbers.next()) else {
        return None;
    };
    let id = "nameserver-version";
    let saw = format!("{server} is CoreDNS {major}.{minor}.{patch}");
    Some(if (major, minor, patch) < OLDEST_COREDNS {
        let (major, minor, patch) = OLDEST_COREDNS;
        let saw = format!("{saw}, which answers TXT wrongly at names that have others below them");
        Check::new(id, Level::Fail, saw, format!("upgrade CoreDNS to {major}.{minor}.{patch} or later"))
    } else {
        Check::new(id, Level::Ok, saw, "")
    })
}

/// The command that asks the same.
fn dig(server: &str, zone: &str, flag: &str) -> String {
    match server.rsplit_once(':') {
        Some((host, port)) => format!("dig @{} -p {port} {zone} SOA {flag}", host.trim_matches(['[', ']'])),
        None => format!("dig @{server} {zone} SOA {flag}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_coredns_is_told_by_what_it_says_of_itself() {
        let level = |told: &str| version("127.0.0.1:53", told).map(|check| check.level);
        assert_eq!(level("CoreDNS-1.15.0"), Some(Level::Ok));
        assert_eq!(level("CoreDNS-1.9.2"), Some(Level::Ok));
        assert_eq!(level("CoreDNS-1.9.1"), Some(Level::Fail));
        assert_eq!(level("CoreDNS-1.6.7"), Some(Level::Fail));
        assert_eq!(level("9.18.1-BIND"), None);
        assert_eq!(level("CoreDNS-of-ours"), None);
    }

    #[test]
    fn a_check_is_one_line() {
        let check = Check::new("probe-resolves", Level::Fail, "NXDOMAIN", "look there");
        assert_eq!(check.to_string(), "fail  probe-resolves         NXDOMAIN  -> look there");
        assert_eq!(
            serde_json::to_string(&check).unwrap(),
            r#"{"id":"probe-resolves","level":"fail","saw":"NXDOMAIN","remedy":"look there"}"#
        );
    }
}
