//! PTR beside addresses, for those who set `orchestrator.dns.ptr`.
//!
//! Each A and AAAA that is registered gets the PTR of its address, with the TTL and the id of the server that the address has; each
//! that goes takes its PTR along. The addresses come first and stand by themselves: where no reverse zone is served, or the address
//! has another PTR, that is a warning beside the address, and nothing else.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use dns_manager_host::contract::{self, Action, Change, Code, Rdata, RecordSet, Selector};

use crate::change;
use crate::dns::{self, Dns};
use crate::outcome::{Asked, Outcome, Reason, Status};
use crate::record::{RecordType, value};

/// The PTR of one address, and what is to become of it.
struct Pointer {
    /// The address as text, and the type that it is registered as.
    address: String,
    address_type: RecordType,
    asked: Asked,
    change: Change,
    /// Whether it is registered; else it is removed.
    appears: bool,
}

/// Registers and removes the PTRs that follow from what became of changes, and adds their outcomes and warnings to those of the
/// changes. When the last of them was acknowledged; none: there was nothing to write.
pub(crate) async fn follow(
    dns: &dyn Dns,
    changes: &[Change],
    answers: &[contract::Outcome],
    outcomes: &mut Vec<Outcome>,
) -> Option<Instant> {
    let mut pointers: Vec<_> =
        changes.iter().zip(answers).flat_map(|(change, answer)| pointers(change, answer)).collect();
    if pointers.is_empty() {
        return None;
    }
    // An address may go from one name to another in one request.
    pointers.sort_by_key(|pointer| pointer.appears);
    let changes = pointers.iter().map(|pointer| pointer.change.clone()).collect();
    let answered = dns.apply(changes, dns::usual_call()).await;
    let acknowledged = Instant::now();
    match answered {
        Ok(answers) => tell(&pointers, &answers, outcomes),
        Err(error) => outcomes.extend(pointers.iter().flat_map(|pointer| change::broken(&pointer.asked, &error))),
    }
    Some(acknowledged)
}

/// The name that the PTR of an address stands at; none: these data are no address.
pub(crate) fn name_of(data: &Rdata) -> Option<String> {
    address(data).map(reverse_name)
}

/// The PTRs that follow from one change.
fn pointers(change: &Change, answer: &contract::Outcome) -> Vec<Pointer> {
    if !Status::from(answer.status).is_done() {
        return Vec::new();
    }
    let (name, asked, adds) = match &change.action {
        Action::Add(set) | Action::Replace(set) => (&set.name, set.data.as_slice(), true),
        Action::Remove(selector) => (&selector.name, selector.data.as_slice(), false),
        Action::Adopt(_) | Action::Release(_) => return Vec::new(),
    };
    let name = value::name_text(name);
    let is_left = |data: &Rdata| answer.after.iter().any(|entry| entry.data == *data);
    let appear = answer
        .after
        .iter()
        .filter(|entry| adds && entry.mine && asked.contains(&entry.data))
        .filter_map(|entry| appearing(&name, entry));
    let gone = answer.before.iter().filter(|entry| entry.mine && !is_left(&entry.data)).map(|entry| &entry.data);
    // To remove what is gone already settles what an earlier request left.
    let asked_again =
        asked.iter().filter(|data| !adds && !is_left(data) && !answer.before.iter().any(|entry| entry.data == **data));
    gone.chain(asked_again).filter_map(|data| going(&name, data)).chain(appear).collect()
}

fn appearing(name: &str, entry: &contract::Entry) -> Option<Pointer> {
    let set = RecordSet { name: name_of(&entry.data)?, ttl: Some(entry.ttl), data: vec![Rdata::Ptr(name.to_owned())] };
    let asked = asked(name, &set.name, Some(entry.ttl.into()));
    let change = change::of(Action::Add(set), entry.resource.clone());
    Some(Pointer {
        address: value::to_text(&entry.data),
        address_type: value::type_of(&entry.data),
        asked,
        change,
        appears: true,
    })
}

fn going(name: &str, data: &Rdata) -> Option<Pointer> {
    let selector = Selector {
        name: name_of(data)?,
        rr_type: Some(RecordType::PTR.number()),
        // One for another name is that name's.
        data: vec![Rdata::Ptr(name.to_owned())],
        resource: None,
    };
    let asked = asked(name, &selector.name, None);
    let change = change::of(Action::Remove(selector), None);
    Some(Pointer { address: value::to_text(data), address_type: value::type_of(data), asked, change, appears: false })
}

fn asked(name: &str, reverse: &str, ttl: Option<i64>) -> Asked {
    Asked {
        name: reverse.to_owned(),
        record_type: Some(RecordType::PTR),
        values: vec![name.to_owned()],
        ttl,
        resource: None,
    }
}

/// What was done, or broke, is told like every other record; what cannot be is a warning beside the address.
fn tell(pointers: &[Pointer], answers: &[contract::Outcome], outcomes: &mut Vec<Outcome>) {
    let mut unserved: Vec<&Pointer> = Vec::new();
    let mut warnings: Vec<(&Pointer, Reason)> = Vec::new();
    for (pointer, answer) in pointers.iter().zip(answers) {
        match (Status::from(answer.status), &answer.reason) {
            (Status::Unchanged, _) if !pointer.appears => {}
            (Status::Refused, Some(reason)) if reason.code == Code::OutsideZones => {
                unserved.extend(pointer.appears.then_some(pointer));
            }
            (Status::Refused | Status::Conflict, Some(reason)) => {
                let what = if pointer.appears { "has no PTR of its own" } else { "its PTR stays" };
                let message = format!("{}: {what}: {}", pointer.address, reason.message);
                warnings.push((pointer, Reason { code: reason.code.name().to_owned(), message }));
            }
            _ => outcomes.extend(pointer.asked.expand(answer)),
        }
    }
    if let Some(first) = unserved.first() {
        let addresses: Vec<_> = unserved.iter().map(|pointer| pointer.address.as_str()).collect();
        let message = format!(
            "no PTR is registered for {}: no reverse zone of theirs is served from etcd; add it to the Corefile, and to \
             orchestrator.dns.zones where that is set",
            addresses.join(", ")
        );
        warnings.push((first, Reason { code: Code::OutsideZones.name().to_owned(), message }));
    }
    for (pointer, reason) in warnings {
        let name = pointer.asked.values.first();
        let is_address = |outcome: &&mut Outcome| {
            Some(&outcome.name) == name
                && outcome.record_type.as_deref() == Some(pointer.address_type.to_string().as_str())
                && outcome.value.as_deref() == Some(pointer.address.as_str())
        };
        match outcomes.iter_mut().find(is_address) {
            Some(outcome) => outcome.warnings.push(reason),
            // The address was gone before, so that nothing tells of it.
            None => outcomes.extend(
                pointer
                    .asked
                    .all(Status::Unchanged, None)
                    .into_iter()
                    .map(|outcome| Outcome { warnings: vec![reason.clone()], ..outcome }),
            ),
        }
    }
}

fn address(data: &Rdata) -> Option<IpAddr> {
    match *data {
        Rdata::A((a, b, c, d)) => Some(Ipv4Addr::new(a, b, c, d).into()),
        Rdata::Aaaa((a, b, c, d, e, f, g, h)) => Some(Ipv6Addr::new(a, b, c, d, e, f, g, h).into()),
        _ => None,
    }
}

/// The name that an address has its PTR at (RFC 1035 3.5, RFC 3596 2.5).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let mut name = String::with_capacity(72);
            for octet in address.octets().iter().rev() {
                // Writing to a string cannot fail.
                let _ = write!(name, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            name + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests;
