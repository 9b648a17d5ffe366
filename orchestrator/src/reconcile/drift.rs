//! The differences, as a pure function of the inventory and of what is registered.

use std::collections::{BTreeMap, BTreeSet};

use dns_manager_host::contract::{Entry, Rdata};
use uuid::Uuid;

use super::Policy;
use super::report::{Drift, Kind, Mend, Treatment};
use crate::inventory::Stored;
use crate::outcome::Status;
use crate::record::value;
use crate::server::{Server, State, Wanted};

/// Compares servers, read after `entries`, with what is registered.
pub(super) fn compare(servers: &[Stored], entries: &[Entry], policy: &Policy) -> Vec<Drift> {
    let known: BTreeSet<Uuid> = servers.iter().map(|stored| stored.server.id).collect();
    let mut by_server: BTreeMap<Uuid, Vec<&Entry>> = BTreeMap::new();
    let mut by_name: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries {
        by_name.entry(value::name_text(&entry.name)).or_default().push(entry);
        let Some(id) = server_of(entry) else { continue };
        by_server.entry(id).or_default().push(entry);
        if !known.contains(&id) {
            let message = format!("its server {id} is not in the inventory");
            let mend = Mend::Remove(entry.data.clone());
            found.push(Drift { server: Some(id), mend, ..drift(Kind::Orphan, &entry.name, &entry.data, message) });
        }
    }
    if policy.auto_register {
        // The others' workflows are at work, or wait for somebody.
        let resting = servers
            .iter()
            .map(|stored| &stored.server)
            .filter(|server| (server.state, server.wanted) == (State::Ready, Wanted::Present));
        for server in resting {
            let its = by_server.get(&server.id).map(Vec::as_slice).unwrap_or_default();
            let at_name = by_name.get(server.hostname.as_str()).map(Vec::as_slice).unwrap_or_default();
            found.extend(of_server(server, its, at_name, policy));
        }
    }
    found.sort_by(|one, other| (&one.name, one.kind, &one.value).cmp(&(&other.name, other.kind, &other.value)));
    found
}

/// The server whose id an entry of ours carries. Ids of other things are none of ours (ours are UUIDs of version 7).
fn server_of(entry: &Entry) -> Option<Uuid> {
    let id: Uuid = entry.resource.as_deref().filter(|_| entry.mine)?.parse().ok()?;
    (id.get_version_num() == 7).then_some(id)
}

/// What is wrong with the records of one server that is ready.
fn of_server(server: &Server, its: &[&Entry], at_name: &[&Entry], policy: &Policy) -> Vec<Drift> {
    let hostname = server.hostname.as_str();
    let mut found = Vec::new();
    let mut of = |kind, name: &str, data: &Rdata, mend, message| {
        let found_here = drift(kind, name, data, message);
        found
            .push(Drift { hostname: Some(hostname.to_owned()), server: Some(server.id), mend, ..found_here }.planned());
    };
    let by_hand = |mend| if policy.put_back { mend } else { Mend::Nothing };
    let expected: Vec<Rdata> = server.addresses.iter().map(|address| Rdata::from(*address)).collect();
    let is_expected = |entry: &Entry| match &entry.data {
        Rdata::Ptr(target) => value::name_text(target) == hostname,
        data => value::name_text(&entry.name) == hostname && expected.contains(data),
    };
    let mut changed_types = BTreeSet::new();
    for entry in its.iter().filter(|entry| !is_expected(entry)) {
        changed_types.insert(value::type_of(&entry.data));
        let message = "it carries the id of this server, which has no such record".to_owned();
        of(Kind::Changed, &entry.name, &entry.data, by_hand(Mend::Remove(entry.data.clone())), message);
    }
    for data in &expected {
        let standing = at_name.iter().find(|entry| entry.data == *data);
        match standing {
            Some(entry) if entry.mine && entry.ttl != policy.ttl.seconds() => {
                let message = format!("its TTL is {} and should be {}", entry.ttl, policy.ttl.seconds());
                of(Kind::Changed, hostname, data, by_hand(Mend::Register), message);
            }
            Some(entry) if entry.mine => {}
            Some(entry) => {
                let owner = entry.owner.as_deref().unwrap_or("nobody");
                let message =
                    format!("it stands there as a record of {owner}: `dns-manager record adopt` takes it over");
                of(Kind::Foreign, hostname, data, Mend::Nothing, message);
            }
            // Somebody put another value in its place, and the operator wants that to be left.
            None if !policy.put_back && changed_types.contains(&value::type_of(data)) => {
                of(Kind::Changed, hostname, data, Mend::Nothing, IN_ITS_PLACE.to_owned());
            }
            None => of(Kind::Missing, hostname, data, Mend::Register, "it is not registered".to_owned()),
        }
    }
    if found.is_empty() && is_unsettled(server) {
        let message = server.problem.clone().unwrap_or_else(|| "it was not seen to resolve".to_owned());
        // One that is to be tried again later is not tried more often because somebody compares.
        let is_left = server.retry_at.is_some_and(|retry_at| !retry_at.ahead().is_zero());
        found.push(Drift {
            kind: Kind::Unsettled,
            name: hostname.to_owned(),
            record_type: String::new(),
            value: String::new(),
            hostname: Some(hostname.to_owned()),
            server: Some(server.id),
            treatment: if is_left { Treatment::LeftToWorkflow } else { Treatment::Planned },
            message,
            mend: Mend::Register,
        });
    }
    found
}

/// Whether a server's own words say that its records are not all right.
fn is_unsettled(server: &Server) -> bool {
    let is_open = |status: Status| !status.is_done();
    server.dns.verified == Some(false) || server.dns.records.iter().any(|outcome| is_open(outcome.outcome))
}

fn drift(kind: Kind, name: &str, data: &Rdata, message: String) -> Drift {
    Drift {
        kind,
        name: value::name_text(name),
        record_type: value::type_of(data).to_string(),
        value: value::to_text(data),
        hostname: None,
        server: None,
        treatment: Treatment::Planned,
        message,
        mend: Mend::Nothing,
    }
}

const IN_ITS_PLACE: &str = "another value stands in its place";

impl Drift {
    /// It is missing because somebody changed it by hand, and is left so.
    pub(super) fn leave_as_changed(&mut self) {
        self.kind = Kind::Changed;
        self.treatment = Treatment::Reported;
        self.mend = Mend::Nothing;
        IN_ITS_PLACE.clone_into(&mut self.message);
    }

    /// What nobody mends is only reported.
    fn planned(self) -> Self {
        let treatment = if self.mend == Mend::Nothing { Treatment::Reported } else { Treatment::Planned };
        Self { treatment, ..self }
    }
}
