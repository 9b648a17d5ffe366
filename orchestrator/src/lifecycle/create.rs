//! The steps of a server's creation: create, wait, register, verify.
//!
//! A problem with DNS never undoes a server: it is recorded, and the workflow goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use dns_manager_host::contract::{Action, Change, Expectation, Rdata, RecordSet};

use super::Parts;
use super::delete;
use super::step::{Acknowledged, Ended, told};
use crate::change;
use crate::dns;
use crate::outcome::{Asked, Outcome, Status};
use crate::pointer;
use crate::provider;
use crate::record::{RecordType, value};
use crate::server::{Server, State, StepOutcome};
use crate::timestamp::Timestamp;
use crate::verification::Verification;

/// What to do about a creation that stopped.
const RETRY: &str = "put that right and run `dns-manager server retry`, or delete the server";
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often a server that vanishes while it is waited for is created again.
const MOST_CREATIONS: usize = 3;
/// Beyond the wait itself, for reading what is stored and a last round of questions.
const VERIFY_MARGIN: Duration = Duration::from_secs(10);

/// Has the provider create it. Where an earlier try was broken off, the provider is asked first.
pub(super) async fn create(parts: &Parts, server: &Server, is_in_doubt: bool) -> Ended {
    if is_in_doubt {
        match parts.provider.status(server).await {
            Ok(provider::Status::Absent) => {}
            Ok(provider::Status::Pending(_) | provider::Status::Ready(_)) => {
                return Ended::done(State::Waiting, "the provider had it already");
            }
            Err(error) => {
                return Ended::refused(&error, "the provider does not say how far it is", RETRY, State::Creating);
            }
        }
    }
    match parts.provider.create(server).await {
        Ok(()) => Ended::done(State::Waiting, ""),
        Err(error) => Ended::refused(&error, "the provider did not create it", RETRY, State::Creating),
    }
}

pub(super) async fn wait(parts: &Parts, server: &mut Server) -> Ended {
    let mut pause = FIRST_PAUSE;
    let mut told = String::new();
    loop {
        let waits_for = match parts.provider.status(server).await {
            Ok(provider::Status::Ready(addresses)) => {
                server.addresses = addresses;
                let next = if parts.policy.auto_register { State::Registering } else { State::Ready };
                return Ended::done(next, "");
            }
            Ok(provider::Status::Pending(waits_for)) => waits_for,
            Ok(provider::Status::Absent) => return vanished(server),
            Err(error) if error.may_pass => error.to_string(),
            Err(error) => {
                return Ended::refused(&error, "the provider does not say how far it is", RETRY, State::Waiting);
            }
        };
        if waits_for != told {
            tracing::info!(hostname = %server.hostname, "it is not ready: {waits_for}");
            told.clone_from(&waits_for);
        }
        // Counted from when it became due, whatever process waited then.
        let waited = server.due_since.map(Timestamp::age).unwrap_or_default();
        if waited > parts.policy.ready_timeout {
            let timeout = humantime::format_duration(parts.policy.ready_timeout);
            let because = if waits_for.is_empty() { String::new() } else { format!(": {waits_for}") };
            let problem = format!("it was not ready within {timeout}{because}");
            return Ended::Stopped { problem, remedy: RETRY, retry_from: State::Waiting };
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The provider has no such server any more: its process ended, say, before the server was ready.
fn vanished(server: &Server) -> Ended {
    let problem = "the provider has no such server any more";
    if server.steps.iter().filter(|step| step.name == "create").count() < MOST_CREATIONS {
        let detail = format!("{problem}: it is created again");
        return Ended::On { next: State::Creating, outcome: StepOutcome::Problem, detail };
    }
    Ended::Stopped { problem: problem.to_owned(), remedy: RETRY, retry_from: State::Creating }
}

/// Adds one record set per address family, each value carrying the server's id.
pub(super) async fn register(parts: &Parts, server: &mut Server, acknowledged: &mut Acknowledged) -> Ended {
    let (asked, changes): (Vec<_>, Vec<_>) = planned(parts, server).into_iter().unzip();
    let answered = parts.dns.apply(changes.clone(), dns::usual_call()).await;
    acknowledged.addresses = Some(Instant::now());
    server.dns.records = match &answered {
        Ok(answers) => asked.iter().zip(answers).flat_map(|(asked, answer)| asked.expand(answer)).collect(),
        Err(error) => asked.iter().flat_map(|asked| change::broken(asked, error)).collect(),
    };
    let mut is_done = server.dns.records.iter().all(|outcome| outcome.outcome.is_done());
    // Its old names go when the new one stands, so that it can be reached by one of them at any time; before the PTRs,
    // since an address has one.
    if is_done && !server.former_hostnames.is_empty() {
        is_done = remove_former(parts, server).await;
    }
    if parts.policy.ptr
        && let Ok(answers) = &answered
    {
        acknowledged.pointers = pointer::follow(&*parts.dns, &changes, answers, &mut server.dns.records).await;
        is_done = is_done && server.dns.records.iter().all(|outcome| outcome.outcome.is_done());
    }
    server.dns.verified = None;

    let next = if to_verify(server).is_empty() { State::Ready } else { State::Verifying };
    let detail = told(&server.dns.records);
    if is_done { Ended::done(next, detail) } else { Ended::problem(server, next, detail) }
}

/// Removes what stands under names that the server had; whether all of it is gone.
async fn remove_former(parts: &Parts, server: &mut Server) -> bool {
    let hostname = server.hostname.to_string();
    let points_to_it = |data: &Rdata| matches!(data, Rdata::Ptr(target) if value::name_text(target) == hostname);
    let removed = delete::remove_records(parts, server, |entry| {
        value::name_text(&entry.name) != hostname && !points_to_it(&entry.data)
    })
    .await;
    let is_done = match &removed {
        Ok(removed) => removed.iter().all(|outcome| outcome.outcome.is_done()),
        Err(problem) => {
            server.add_problem(&format!("records of its former name may be left: {problem}"));
            false
        }
    };
    if is_done {
        server.former_hostnames.clear();
    }
    server.dns.records.extend(removed.unwrap_or_default());
    is_done
}

/// Asks the name servers for what is stored under the server's names, which includes what was just registered.
pub(super) async fn verify(parts: &Parts, server: &mut Server, acknowledged: &Acknowledged) -> Ended {
    if to_verify(server).is_empty() {
        return Ended::done(State::Ready, "nothing is registered");
    }
    let verifications = match ask(parts, server, acknowledged, parts.policy.verify_timeout).await {
        Ok(verifications) => verifications,
        Err(error) => {
            // So that it is tried again.
            server.dns.verified = Some(false);
            let problem = format!("it was not verified: {}", dns::why(&error));
            return Ended::problem(server, State::Ready, problem);
        }
    };
    let is_verified = verifications.iter().all(Verification::is_verified);
    server.dns.verified = Some(is_verified);
    server.dns.resolvable_ms = resolvable(&verifications);
    if is_verified {
        let mut detail = verified(&verifications);
        for (nameserver, after) in &server.dns.resolvable_ms {
            if let Some(after) = after {
                // Writing to a string cannot fail.
                let _ = write!(detail, ", resolvable at {nameserver} after {after} ms");
            }
        }
        return Ended::done(State::Ready, detail);
    }
    let problems: Vec<_> = verifications.iter().flat_map(Verification::problems).collect();
    Ended::problem(server, State::Ready, problems.join("; "))
}

/// What the name servers answer to all that is, or may be, registered.
pub(super) async fn ask(
    parts: &Parts,
    server: &Server,
    acknowledged: &Acknowledged,
    wait: Duration,
) -> Result<Vec<Verification>, dns_manager_host::Error> {
    let (expectations, written): (Vec<_>, Vec<_>) = to_verify(server)
        .into_iter()
        .map(|(name, record_type)| {
            let expectation = Expectation { name, rr_type: Some(record_type.number()), data: None };
            (expectation, acknowledged.since(record_type))
        })
        .unzip();
    let verifications = parts.dns.verify(expectations, wait, dns::call(wait + VERIFY_MARGIN)).await?;
    // Each expectation names its type, so that there is one verification for each.
    let after = |(verification, written)| Verification::after_a_write(verification, written);
    Ok(verifications.iter().zip(written).map(after).collect())
}

/// `A, PTR verified`
pub(super) fn verified(verifications: &[Verification]) -> String {
    let types: BTreeSet<_> = verifications.iter().map(|verification| verification.record_type.as_str()).collect();
    format!("{} verified", types.into_iter().collect::<Vec<_>>().join(", "))
}

/// One change per address family that the server has.
fn planned(parts: &Parts, server: &Server) -> Vec<(Asked, Change)> {
    let ttl = parts.policy.ttl.seconds();
    let values: Vec<_> = server.addresses.iter().map(|address| Rdata::from(*address)).collect();
    [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|record_type| {
            let data: Vec<Rdata> =
                values.iter().filter(|value| value::type_of(value) == record_type).cloned().collect();
            if data.is_empty() {
                return None;
            }
            let asked = Asked {
                name: server.hostname.to_string(),
                record_type: Some(record_type),
                values: data.iter().map(value::to_text).collect(),
                ttl: Some(ttl.into()),
                // Other servers may share the name.
                resource: None,
            };
            let set = RecordSet { name: server.hostname.to_string(), ttl: Some(ttl), data };
            Some((asked, change::of(Action::Add(set), Some(server.id.to_string()))))
        })
        .collect()
}

/// Names and types that are, or may be, registered. One in doubt is settled by asking for what is stored.
pub(super) fn to_verify(server: &Server) -> BTreeSet<(String, RecordType)> {
    let is_there = |outcome: &&Outcome| match outcome.outcome {
        Status::Created | Status::Updated | Status::Unchanged | Status::Unknown => true,
        Status::Deleted | Status::Refused | Status::Conflict | Status::Failed => false,
    };
    server
        .dns
        .records
        .iter()
        .filter(is_there)
        .filter_map(|outcome| Some((outcome.name.clone(), outcome.record_type.as_deref()?.parse().ok()?)))
        .collect()
}

/// After how many milliseconds each name server answered all that was registered; null: it did not.
fn resolvable(verifications: &[Verification]) -> BTreeMap<String, Option<u64>> {
    let mut all: BTreeMap<String, Option<u64>> = BTreeMap::new();
    for answer in verifications.iter().flat_map(|verification| &verification.answers) {
        let slowest = all.entry(answer.nameserver.clone()).or_insert(answer.resolvable_ms);
        *slowest = (*slowest).zip(answer.resolvable_ms).map(|(one, other)| one.max(other));
    }
    all
}
