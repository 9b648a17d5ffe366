//! The steps of a server's deletion: stop, unregister, delete, remove.
//!
//! Records that cannot be removed stop the workflow: without the server, nothing would say any more whose they are.

use std::collections::BTreeSet;

use dns_manager_host::contract::{Action, Filter, Selector};

use super::create::told;
use super::{Ended, Parts};
use crate::dns;
use crate::inventory;
use crate::outcome::{Asked, Outcome};
use crate::registry;
use crate::server::{Server, State, StepOutcome};

const REPEAT: &str = "delete the server again when that is put right";

pub(super) async fn stop(parts: &Parts, server: &mut Server) -> Ended {
    match parts.provider.stop(server).await {
        Ok(()) => Ended::done(State::Unregistering, ""),
        Err(error) => Ended::failed(server, format!("the provider did not stop it: {error}"), REPEAT),
    }
}

/// Removes what carries this server's id, under whatever names it stands, and nothing else.
pub(super) async fn unregister(parts: &Parts, server: &mut Server) -> Ended {
    if !server.has_begun("register") {
        return Ended::done(State::Deleting, "nothing was registered");
    }
    let id = server.id.to_string();
    let page = match parts.dns.list(Filter { resource: Some(id.clone()), ..Filter::default() }, dns::usual_call()).await
    {
        Ok(page) => page,
        Err(error) => {
            let problem = format!("its records could not be listed: {}", dns::why(&error));
            return Ended::failed(server, problem, REPEAT);
        }
    };
    let names: BTreeSet<_> = page.entries.into_iter().map(|entry| entry.name).collect();
    if names.is_empty() {
        return Ended::done(State::Deleting, "nothing is registered");
    }

    let asked: Vec<_> =
        names.iter().map(|name| Asked { name: name.clone(), resource: Some(id.clone()), ..Asked::default() }).collect();
    let changes = names
        .into_iter()
        .map(|name| {
            let selector = Selector { name, rr_type: None, data: Vec::new(), resource: Some(id.clone()) };
            registry::change(Action::Remove(selector), None)
        })
        .collect();
    let outcomes: Vec<Outcome> = match parts.dns.apply(changes, dns::usual_call()).await {
        Ok(outcomes) => asked.iter().zip(&outcomes).flat_map(|(asked, outcome)| asked.expand(outcome)).collect(),
        Err(error) => asked.iter().flat_map(|asked| registry::broken(asked, &error)).collect(),
    };
    let detail = told(&outcomes);
    let is_done = outcomes.iter().all(|outcome| outcome.outcome.is_done());
    server.dns.records = outcomes;
    server.dns.verified = None;
    server.dns.resolvable_ms.clear();
    if is_done {
        Ended::done(State::Deleting, detail)
    } else {
        Ended::failed(server, format!("its records could not be removed: {detail}"), REPEAT)
    }
}

pub(super) async fn delete(parts: &Parts, server: &mut Server) -> Ended {
    match parts.provider.delete(server).await {
        Ok(()) => Ended::done(State::Deleted, ""),
        Err(error) => Ended::failed(server, format!("the provider did not delete it: {error}"), REPEAT),
    }
}

pub(super) async fn remove(parts: &Parts, server: &Server) -> Result<Ended, inventory::Error> {
    parts.inventory.remove(&server.hostname).await?;
    Ok(Ended { next: None, outcome: StepOutcome::Done, detail: String::new() })
}
