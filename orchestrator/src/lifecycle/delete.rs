//! The steps of a server's deletion: stop, unregister, delete; removing it from the inventory is the worker's.
//!
//! Records that cannot be removed stop the workflow: without the server, nothing would say any more whose they are.

use std::collections::BTreeMap;

use dns_manager_host::contract::{Action, Change, Entry, Filter, Rdata, Selector};

use super::Parts;
use super::step::{Ended, told};
use crate::change;
use crate::dns;
use crate::outcome::{Asked, Outcome, Status};
use crate::record::value;
use crate::server::{Server, State};

/// What to do about a deletion that stopped.
const REPEAT: &str = "put that right and run `dns-manager server retry`, or delete the server again";

pub(super) async fn stop(parts: &Parts, server: &Server) -> Ended {
    match parts.provider.stop(server).await {
        Ok(()) => Ended::done(State::Unregistering, ""),
        Err(error) => Ended::refused(&error, "the provider did not stop it", REPEAT, State::Stopping),
    }
}

/// Removes what carries this server's id, under whatever names it stands, and nothing else.
pub(super) async fn unregister(parts: &Parts, server: &mut Server) -> Ended {
    if !server.may_be_registered() {
        return Ended::done(State::Deleting, "nothing was registered");
    }
    let outcomes = match remove_records(parts, server, |_| true).await {
        Ok(outcomes) => outcomes,
        Err(problem) => return Ended::Again { problem, remedy: REPEAT },
    };
    if outcomes.is_empty() {
        return Ended::done(State::Deleting, "nothing is registered");
    }
    let detail = told(&outcomes);
    let is_done = outcomes.iter().all(|outcome| outcome.outcome.is_done());
    let may_pass = outcomes.iter().any(|outcome| matches!(outcome.outcome, Status::Failed | Status::Unknown));
    server.dns.records = outcomes;
    server.dns.verified = None;
    server.dns.resolvable_ms.clear();
    if is_done {
        return Ended::done(State::Deleting, detail);
    }
    let problem = format!("its records could not be removed: {detail}");
    if may_pass {
        Ended::Again { problem, remedy: REPEAT }
    } else {
        Ended::Stopped { problem, remedy: REPEAT, retry_from: State::Unregistering }
    }
}

pub(super) async fn delete(parts: &Parts, server: &Server) -> Ended {
    match parts.provider.delete(server).await {
        Ok(()) => Ended::done(State::Deleted, ""),
        Err(error) => Ended::refused(&error, "the provider did not delete it", REPEAT, State::Deleting),
    }
}

/// Removes those of the server's records that are to go.
///
/// # Errors
///
/// They could not be listed; the problem, for people.
pub(super) async fn remove_records(
    parts: &Parts,
    server: &Server,
    goes: impl Fn(&Entry) -> bool,
) -> Result<Vec<Outcome>, String> {
    let id = server.id.to_string();
    let filter = Filter { resource: Some(id.clone()), ..Filter::default() };
    let page = parts
        .dns
        .list(filter, dns::usual_call())
        .await
        .map_err(|error| format!("its records could not be listed: {}", dns::why(&error)))?;

    let (asked, changes): (Vec<_>, Vec<_>) =
        selected(page.entries, goes).into_iter().map(|selection| selection.change(&id)).unzip();
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    Ok(match parts.dns.apply(changes, dns::usual_call()).await {
        Ok(outcomes) => asked.iter().zip(&outcomes).flat_map(|(asked, outcome)| asked.expand(outcome)).collect(),
        Err(error) => asked.iter().flat_map(|asked| change::broken(asked, &error)).collect(),
    })
}

/// What is to go of one name.
struct Selection {
    name: String,
    /// Only these; none: everything of the server's.
    data: Option<Rdata>,
}

impl Selection {
    fn change(self, id: &str) -> (Asked, Change) {
        let record_type = self.data.as_ref().map(value::type_of);
        let asked = Asked {
            name: self.name.clone(),
            record_type,
            values: self.data.iter().map(value::to_text).collect(),
            resource: Some(id.to_owned()),
            ..Asked::default()
        };
        let selector = Selector {
            name: self.name,
            rr_type: record_type.map(|record_type| record_type.number()),
            data: self.data.into_iter().collect(),
            resource: Some(id.to_owned()),
        };
        (asked, change::of(Action::Remove(selector), None))
    }
}

/// Names of which everything goes are one selection each; of others, each value that goes.
fn selected(entries: Vec<Entry>, goes: impl Fn(&Entry) -> bool) -> Vec<Selection> {
    let mut names: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        names.entry(entry.name.clone()).or_default().push(entry);
    }
    let mut selections = Vec::new();
    for (name, entries) in names {
        if entries.iter().all(&goes) {
            selections.push(Selection { name, data: None });
        } else {
            let going = entries.into_iter().filter(&goes);
            selections.extend(going.map(|entry| Selection { name: name.clone(), data: Some(entry.data) }));
        }
    }
    selections
}
