//! A record that goes the whole way: written through the component, asked of each name server over each transport, removed.
//!
//! Two names are written at once. One was asked for before, so that a cache on the way has its absence; the other never was. When
//! only the second resolves, a cache stands in between; when neither does, the name server reads somewhere else.

use std::pin::Pin;

use uuid::Uuid;

use super::{Check, Level, PATIENCE};
use crate::config::Config;
use crate::outcome::{Outcome, Status};
use crate::question::{Answer, Question, Transport};
use crate::record::{RecordSet, RecordType};
use crate::registry::{Registry, Selection};
use crate::remote::Remote;

/// Short: a cache that stands in between forgets the probe soon.
const TTL: i64 = 5;
const TRANSPORTS: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// The way to the backend.
pub(super) enum Way {
    /// Through the component.
    Alone(Registry),
    /// Through the running service that holds the embedded store.
    Through(Remote),
}

impl Way {
    async fn register(&self, set: &RecordSet) -> Result<Vec<Outcome>, String> {
        match self {
            Self::Alone(registry) => Ok(registry.register(std::slice::from_ref(set)).await),
            Self::Through(remote) => remote.register(set).await.map_err(|error| crate::error_chain(&error)),
        }
    }

    async fn unregister(&self, selection: &Selection) -> Result<Vec<Outcome>, String> {
        match self {
            Self::Alone(registry) => Ok(registry.unregister(selection).await),
            Self::Through(remote) => remote.unregister(selection).await.map_err(|error| crate::error_chain(&error)),
        }
    }
}

/// Sends a record the whole way through a zone; whether it was interrupted comes with the checks.
pub(super) async fn probe(
    way: &Way,
    config: &Config,
    zone: &str,
    interrupted: Pin<&mut impl Future<Output = ()>>,
) -> (Vec<Check>, bool) {
    let id = Uuid::now_v7().simple().to_string();
    let digits = id.get(24..).unwrap_or_default();
    let probe = Probe {
        config,
        zone,
        asked_before: format!("_dns-manager-probe-{digits}-1.{zone}"),
        new: format!("_dns-manager-probe-{digits}-2.{zone}"),
        text: format!("dns-manager doctor {id}"),
    };
    probe.run(way, interrupted).await
}

struct Probe<'a> {
    config: &'a Config,
    zone: &'a str,
    asked_before: String,
    new: String,
    text: String,
}

/// What a server said to one question.
type Said = Result<Answer, String>;

impl Probe<'_> {
    async fn run(&self, way: &Way, interrupted: Pin<&mut impl Future<Output = ()>>) -> (Vec<Check>, bool) {
        for server in &self.config.dns.nameservers {
            // What it says is of no interest: only that it was asked.
            let _ = self.ask(server, &self.asked_before, Transport::Udp).await;
        }
        let mut checks = Vec::new();
        let mut is_interrupted = false;
        let mut perhaps_written = 0;
        match self.write(way, &mut perhaps_written).await {
            Ok(()) => {
                checks.push(Check::new("probe-written", Level::Ok, format!("{} TXT was written", self.new), ""));
                tokio::select! {
                    () = self.look(&mut checks) => {}
                    () = interrupted => is_interrupted = true,
                }
            }
            Err(why) => checks.push(self.not_written(&why)),
        }
        // In any case: a write that failed may have been done.
        match self.remove(way).await {
            Err(why) if perhaps_written > 0 => {
                let remedy = format!(
                    "dns-manager record unregister {}; dns-manager record unregister {}",
                    self.asked_before, self.new
                );
                checks.push(Check::new("probe-removed", Level::Fail, why, remedy));
            }
            Ok(()) if perhaps_written > 0 => {
                checks.push(Check::new("probe-removed", Level::Ok, "the probe was removed", ""));
            }
            // Nothing was written, and its check says so.
            Ok(()) | Err(_) => {}
        }
        (checks, is_interrupted)
    }

    /// Counts what may be there afterwards.
    async fn write(&self, way: &Way, perhaps_written: &mut usize) -> Result<(), String> {
        for name in [&self.asked_before, &self.new] {
            let set = RecordSet {
                name: name.clone(),
                record_type: RecordType::TXT.to_string(),
                ttl: Some(TTL),
                values: vec![self.text.clone()],
            };
            let written = way.register(&set).await;
            let is_certain = |outcomes: &Vec<Outcome>| {
                outcomes.iter().all(|outcome| !outcome.outcome.is_done() && outcome.outcome != Status::Unknown)
            };
            if !written.as_ref().is_ok_and(is_certain) {
                *perhaps_written += 1;
            }
            all_done(&written?)?;
        }
        Ok(())
    }

    async fn remove(&self, way: &Way) -> Result<(), String> {
        let mut faults = Vec::new();
        for name in [&self.asked_before, &self.new] {
            let selection = Selection { name: name.clone(), record_type: Some(RecordType::TXT), values: Vec::new() };
            faults.extend(way.unregister(&selection).await.and_then(|outcomes| all_done(&outcomes)).err());
        }
        if faults.is_empty() { Ok(()) } else { Err(format!("the probe could not be removed: {}", faults.join("; "))) }
    }

    fn not_written(&self, why: &str) -> Check {
        let saw = format!("a record in `{}` could not be written: {why}", self.zone);
        let remedy = if why.contains("permission denied") {
            format!("etcdctl role grant-permission ROLE --prefix=true readwrite {}/", self.config.dns.path)
        } else {
            "see the checks of the backend above".to_owned()
        };
        Check::new("probe-written", Level::Fail, saw, remedy)
    }

    async fn look(&self, checks: &mut Vec<Check>) {
        let mut caching = Vec::new();
        for server in &self.config.dns.nameservers {
            let mut said = Vec::new();
            for transport in TRANSPORTS {
                said.push((transport, self.ask(server, &self.new, transport).await));
            }
            // One that gave no answer at all over a transport has its line already.
            let answered: Vec<_> = said.iter().filter_map(|(over, said)| Some((*over, said.as_ref().ok()?))).collect();
            let Some((over, worst)) =
                answered.iter().find(|(_, answer)| !self.is_there(answer)).or(answered.first()).copied()
            else {
                let why = said.first().and_then(|(_, said)| said.as_ref().err()).cloned().unwrap_or_default();
                checks.push(Check::new(
                    "probe-resolves",
                    Level::Fail,
                    format!("{server} does not answer ({why})"),
                    format!("start CoreDNS there, or correct nameservers in [orchestrator.dns]; try `dig @{server}`"),
                ));
                continue;
            };
            if !self.is_there(worst) {
                checks.push(self.not_resolved(server, over, worst));
                continue;
            }
            let over: Vec<_> = answered.iter().map(|(over, _)| over.to_string()).collect();
            let saw = format!("{server} answers with it over {}", over.join(" and over "));
            checks.push(Check::new("probe-resolves", Level::Ok, saw, ""));
            if let Ok(answer) = self.ask(server, &self.asked_before, Transport::Udp).await
                && !self.is_there(&answer)
            {
                caching.push((server, answer.ttl.unwrap_or_default()));
            }
        }
        for (server, seconds) in caching {
            checks.push(Check::new(
                "cache",
                Level::Warn,
                format!(
                    "{server} caches: it answers that a name is absent for up to {seconds} s more, though it is there now"
                ),
                format!(
                    "in the Corefile, shorten it with the line `denial 9984 5` in the braces of `cache`, or let \
                     orchestrator.dns.nameservers name a server without cache; keep verify_timeout above {seconds}s"
                ),
            ));
        }
    }

    fn is_there(&self, answer: &Answer) -> bool {
        answer.values.contains(&self.text)
    }

    /// Says why a record that is in the backend is not in the answer.
    fn not_resolved(&self, server: &str, over: Transport, answer: &Answer) -> Check {
        let said = format!("{server} answers {answer} over {over} for the record that was just written");
        let compare = "compare the `etcd` block of the Corefile with what `dns-manager config show --corefile` prints";
        let (why, remedy) = match answer.rcode.as_str() {
            "NXDOMAIN" => (
                "it reads another etcd, or another `path`",
                format!("{compare}; the `path` here is {}", self.config.dns.path),
            ),
            "REFUSED" | "NOTAUTH" => ("it does not serve the zone", compare.to_owned()),
            "SERVFAIL" => (
                "it cannot reach its etcd, or cannot read a value",
                "see CoreDNS's log, and `stored-values` above".to_owned(),
            ),
            _ if answer.values.is_empty() => (
                "it does not serve the zone from this etcd, or is a CoreDNS before 1.9.2",
                format!("{compare}; upgrade CoreDNS to 1.9.2 or later"),
            ),
            _ => ("something else answers for the zone", compare.to_owned()),
        };
        Check::new("probe-resolves", Level::Fail, format!("{said}: {why}"), remedy)
    }

    async fn ask(&self, server: &str, name: &str, over: Transport) -> Said {
        Question::txt(name).ask(server, over, PATIENCE).await
    }
}

/// The reason of the first that is not done.
fn all_done(outcomes: &[Outcome]) -> Result<(), String> {
    match outcomes.iter().find(|outcome| !outcome.outcome.is_done()) {
        None => Ok(()),
        Some(outcome) => Err(outcome
            .reason
            .as_ref()
            .map_or_else(|| outcome.outcome.to_string(), |reason| format!("{} ({})", reason.message, reason.code))),
    }
}
