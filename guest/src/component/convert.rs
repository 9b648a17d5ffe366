//! The words of the contract to our own, and back.
//!
//! What comes in is parsed: past this file a name is a [`Name`], and a set has one type. What goes out is copied.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::bindings::{
    exports::provisioning::dns::dns_manager as manager_wit,
    provisioning::dns::dns_types::{self as wit, Attribute},
};
use crate::{
    change::{Action, Change, Filter, Outcome, Page, Problem, Selector, Status},
    name::Name,
    options::Options,
    rdata::{RData, RrType, Soa},
    reason::{Code, Reason},
    record::{Record, RecordSet, Ttl},
    verification::{Check, Expectation, Level, Seen, Verdict, Verification},
};

/// The most values in a set (`wit/dns-types.wit`).
const MAX_VALUES: usize = 50;
/// The longest character string, in octets (RFC 1035 3.3).
const MAX_STRING: usize = 255;

// In.

/// What holds for a call.
pub(super) fn options(options: wit::Options) -> Result<Options, Reason> {
    understood(&options.attributes)?;
    Ok(Options {
        budget: Duration::from_millis(options.budget_ms.into()),
        dry_run: options.dry_run,
        request_id: options.request_id,
    })
}

/// One item; `ttl` is for sets without one.
pub(super) fn change(change: manager_wit::Change, ttl: Ttl) -> Result<Change, Reason> {
    understood(&change.attributes)?;
    let action = match change.action {
        manager_wit::Action::Add(set) => Action::Add(record_set(set, ttl)?),
        manager_wit::Action::Replace(set) => Action::Replace(record_set(set, ttl)?),
        manager_wit::Action::Remove(which) => Action::Remove(selector(which)?),
        manager_wit::Action::Adopt(which) => Action::Adopt(selector(which)?),
        manager_wit::Action::Release(which) => Action::Release(selector(which)?),
    };
    Ok(Change { action, resource: change.resource, expect: change.expect })
}

/// Which records to list.
pub(super) fn filter(filter: manager_wit::Filter) -> Result<Filter, Reason> {
    Ok(Filter {
        zone: filter.zone.as_deref().map(name).transpose()?,
        name: filter.name.as_deref().map(name).transpose()?,
        below: filter.below,
        rr_type: filter.rr_type.map(RrType::from),
        owner: filter.owner,
        resource: filter.resource,
    })
}

/// What should be answered.
pub(super) fn expectation(expectation: manager_wit::Expectation) -> Result<Expectation, Reason> {
    let owner = name(&expectation.name)?;
    let data =
        expectation.data.map(|data| data.into_iter().map(|data| at(&owner, rdata(data))).collect()).transpose()?;
    Ok(Expectation { name: owner, rr_type: expectation.rr_type.map(RrType::from), data })
}

/// The data of a record, of any type.
pub(super) fn rdata(data: wit::Rdata) -> Result<RData, Reason> {
    Ok(match data {
        wit::Rdata::A((a, b, c, d)) => RData::A(Ipv4Addr::new(a, b, c, d)),
        wit::Rdata::Aaaa((a, b, c, d, e, f, g, h)) => RData::Aaaa(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
        wit::Rdata::Cname(target) => RData::Cname(name(&target)?),
        wit::Rdata::Ns(target) => RData::Ns(name(&target)?),
        wit::Rdata::Ptr(target) => RData::Ptr(name(&target)?),
        wit::Rdata::Mx(mx) => RData::Mx { preference: mx.preference, exchange: name(&mx.exchange)? },
        wit::Rdata::Srv(srv) => {
            RData::Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: name(&srv.target)? }
        }
        wit::Rdata::Txt(strings) => RData::Txt(text(&strings)?),
        wit::Rdata::Soa(soa) => RData::Soa(Soa {
            mname: name(&soa.mname)?,
            rname: name(&soa.rname)?,
            serial: soa.serial,
            refresh: soa.refresh,
            retry: soa.retry,
            expire: soa.expire,
            minimum: soa.minimum,
        }),
        wit::Rdata::Other(other) => match RrType::from(other.rr_type) {
            RrType::Other(number) => RData::Other(number, other.octets),
            known => {
                return Err(Reason::invalid(format!("{known} data has a case of its own; do not give it as octets")));
            }
        },
    })
}

/// A set to be written.
fn record_set(set: wit::RecordSet, ttl: Ttl) -> Result<RecordSet, Reason> {
    let owner = name(&set.name)?;
    let ttl = match set.ttl {
        Some(seconds) => Ttl::try_from(seconds).map_err(|error| Reason::invalid(format!("`{owner}`: {error}")))?,
        None => ttl,
    };
    let data = values(&owner, set.data)?;
    let Some(first) = data.first().map(RData::rr_type) else {
        return Err(Reason::invalid(format!("`{owner}`: no values are given; give 1 to {MAX_VALUES}")));
    };
    if data.len() > MAX_VALUES {
        let count = data.len();
        return Err(Reason::invalid(format!(
            "`{owner}`: {count} values are given; {MAX_VALUES} is the most for one name and type"
        )));
    }
    if let Some(other) = data.iter().map(RData::rr_type).find(|rr_type| *rr_type != first) {
        return Err(Reason::invalid(format!(
            "`{owner}`: values of both {first} and {other} are given; give one change for each type"
        )));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = data.iter().find(|data| !seen.insert(*data)) {
        return Err(Reason::invalid(format!("`{owner}`: the {first} value `{twice}` is given twice")));
    }
    Ok(RecordSet { name: owner, ttl, data })
}

/// Values that exist.
fn selector(selector: wit::Selector) -> Result<Selector, Reason> {
    let owner = name(&selector.name)?;
    let rr_type = selector.rr_type.map(RrType::from);
    at(&owner, rr_type.map_or(Ok(()), kept))?;
    let data = values(&owner, selector.data)?;
    if let (Some(rr_type), Some(other)) =
        (rr_type, data.iter().map(RData::rr_type).find(|other| Some(*other) != rr_type))
    {
        return Err(Reason::invalid(format!(
            "`{owner}`: {rr_type} values are selected, but one of type {other} is given"
        )));
    }
    Ok(Selector { name: owner, rr_type, data, resource: selector.resource })
}

/// Values of types that can be kept.
fn values(owner: &Name, data: Vec<wit::Rdata>) -> Result<Vec<RData>, Reason> {
    let keep = |data: RData| kept(data.rr_type()).map(|()| data);
    data.into_iter().map(|data| at(owner, rdata(data).and_then(keep))).collect()
}

/// Checks that values of a type can be kept.
fn kept(rr_type: RrType) -> Result<(), Reason> {
    match rr_type {
        RrType::A | RrType::Cname | RrType::Ptr | RrType::Mx | RrType::Txt | RrType::Aaaa | RrType::Srv => Ok(()),
        RrType::Ns => Err(Reason::unsupported(
            "CoreDNS's etcd plugin makes the NS records of a zone itself: register an A or AAAA at \
             `<label>.ns.dns.<zone>`, and that name is a name server of the zone",
        )),
        RrType::Soa => {
            Err(Reason::unsupported("CoreDNS's etcd plugin makes the SOA of a zone itself; it cannot be written"))
        }
        RrType::Other(_) => Err(Reason::unsupported(format!(
            "CoreDNS's etcd plugin serves A, AAAA, CNAME, TXT, PTR, MX and SRV only, not {rr_type}"
        ))),
    }
}

/// A name.
pub(super) fn name(text: &str) -> Result<Name, Reason> {
    text.parse().map_err(Reason::invalid)
}

/// Joins the strings of a TXT.
fn text(strings: &[Vec<u8>]) -> Result<Vec<u8>, Reason> {
    if strings.is_empty() {
        return Err(Reason::invalid("a TXT without any string; give one, which may be empty"));
    }
    match strings.iter().find(|string| string.len() > MAX_STRING) {
        Some(long) => {
            let octets = long.len();
            Err(Reason::invalid(format!(
                "a string of a TXT has {octets} octets, and {MAX_STRING} is the most; cut it into several"
            )))
        }
        None => Ok(strings.concat()),
    }
}

/// Says in a reason which name it is about.
fn at<T>(owner: &Name, result: Result<T, Reason>) -> Result<T, Reason> {
    result.map_err(|Reason { code, message }| Reason { code, message: format!("`{owner}`: {message}") })
}

/// Checks that there is nothing that must be understood and is not.
fn understood(attributes: &[Attribute]) -> Result<(), Reason> {
    match attributes.iter().find(|(key, _)| key.starts_with('!')) {
        Some((key, _)) => Err(Reason::unsupported(format!("this plugin does not know `{key}`"))),
        None => Ok(()),
    }
}

// Out.

/// A reason.
pub(super) fn reason(reason: Reason) -> wit::Reason {
    let code = match reason.code {
        Code::Changed => wit::Code::Changed,
        Code::Coexistence => wit::Code::Coexistence,
        Code::Contention => wit::Code::Contention,
        Code::CursorExpired => wit::Code::CursorExpired,
        Code::Deadline => wit::Code::Deadline,
        Code::Denied => wit::Code::Denied,
        Code::Full => wit::Code::Full,
        Code::Invalid => wit::Code::Invalid,
        Code::Misconfigured => wit::Code::Misconfigured,
        Code::Other(code) => wit::Code::Other(code),
        Code::OutsideZones => wit::Code::OutsideZones,
        Code::OwnedBy(owner) => wit::Code::OwnedBy(owner),
        Code::Protocol => wit::Code::Protocol,
        Code::TooMany => wit::Code::TooMany,
        Code::Unavailable => wit::Code::Unavailable,
        Code::Unsupported => wit::Code::Unsupported,
    };
    wit::Reason { code, message: reason.message, attributes: Vec::new() }
}

/// What became of a change; `owner` is whose records are ours.
pub(super) fn outcome(outcome: Outcome, owner: &str) -> manager_wit::Outcome {
    let status = match outcome.status {
        Status::Created => manager_wit::Status::Created,
        Status::Updated => manager_wit::Status::Updated,
        Status::Deleted => manager_wit::Status::Deleted,
        Status::Unchanged => manager_wit::Status::Unchanged,
        Status::Conflict => manager_wit::Status::Conflict,
        Status::Refused => manager_wit::Status::Refused,
        Status::Failed => manager_wit::Status::Failed,
        Status::Unknown => manager_wit::Status::Unknown,
    };
    manager_wit::Outcome {
        status,
        reason: outcome.reason.map(reason),
        warnings: outcome.warnings.into_iter().map(reason).collect(),
        before: entries(outcome.before, owner),
        after: entries(outcome.after, owner),
        token: outcome.token,
        attributes: Vec::new(),
    }
}

/// A part of a listing.
pub(super) fn page(page: Page, owner: &str) -> manager_wit::Page {
    let problem = |Problem { place, reason: why, mended }| manager_wit::Problem { place, reason: reason(why), mended };
    manager_wit::Page {
        entries: entries(page.records, owner),
        problems: page.problems.into_iter().map(problem).collect(),
        next: page.next,
    }
}

fn entries(records: Vec<Record>, owner: &str) -> Vec<wit::Entry> {
    let entry = |record: Record| wit::Entry {
        name: record.name.to_string(),
        ttl: record.ttl,
        data: to_rdata(record.data),
        mine: record.owner.as_deref() == Some(owner),
        owner: record.owner,
        resource: record.resource,
        attributes: Vec::new(),
    };
    records.into_iter().map(entry).collect()
}

fn to_rdata(data: RData) -> wit::Rdata {
    match data {
        RData::A(address) => {
            let [a, b, c, d] = address.octets();
            wit::Rdata::A((a, b, c, d))
        }
        RData::Aaaa(address) => {
            let [a, b, c, d, e, f, g, h] = address.segments();
            wit::Rdata::Aaaa((a, b, c, d, e, f, g, h))
        }
        RData::Cname(target) => wit::Rdata::Cname(target.to_string()),
        RData::Mx { preference, exchange } => wit::Rdata::Mx(wit::Mx { preference, exchange: exchange.to_string() }),
        RData::Ns(target) => wit::Rdata::Ns(target.to_string()),
        RData::Ptr(target) => wit::Rdata::Ptr(target.to_string()),
        RData::Srv { priority, weight, port, target } => {
            wit::Rdata::Srv(wit::Srv { priority, weight, port, target: target.to_string() })
        }
        RData::Txt(text) if text.is_empty() => wit::Rdata::Txt(vec![text]),
        RData::Txt(text) => wit::Rdata::Txt(text.chunks(MAX_STRING).map(<[u8]>::to_vec).collect()),
        RData::Soa(soa) => wit::Rdata::Soa(wit::Soa {
            mname: soa.mname.to_string(),
            rname: soa.rname.to_string(),
            serial: soa.serial,
            refresh: soa.refresh,
            retry: soa.retry,
            expire: soa.expire,
            minimum: soa.minimum,
        }),
        RData::Other(rr_type, octets) => wit::Rdata::Other(wit::OtherRdata { rr_type, octets }),
    }
}

/// The verification of one name and type.
pub(super) fn verification(verification: Verification) -> manager_wit::Verification {
    manager_wit::Verification {
        name: verification.name.to_string(),
        rr_type: verification.rr_type.number(),
        verdict: verdict(verification.verdict),
        expected: verification.expected.into_iter().map(to_rdata).collect(),
        answers: verification.answers.into_iter().map(seen).collect(),
        elapsed_ms: milliseconds(verification.elapsed),
        attributes: Vec::new(),
    }
}

fn verdict(verdict: Verdict) -> manager_wit::Verdict {
    match verdict {
        Verdict::Verified => manager_wit::Verdict::Verified,
        Verdict::Unreachable => manager_wit::Verdict::Unreachable,
        Verdict::NotFound => manager_wit::Verdict::NotFound,
        Verdict::Mismatch => manager_wit::Verdict::Mismatch,
    }
}

fn seen(seen: Seen) -> manager_wit::Seen {
    manager_wit::Seen {
        server: seen.server,
        verdict: verdict(seen.verdict),
        rcode: seen.rcode,
        authoritative: seen.authoritative,
        ttl: seen.ttl,
        data: seen.data.into_iter().map(to_rdata).collect(),
        problem: seen.problem.map(reason),
        attributes: seen
            .resolvable
            .map(|resolvable| ("resolvable-us".to_owned(), resolvable.as_micros().to_string()))
            .into_iter()
            .collect(),
    }
}

/// One check of a diagnosis.
pub(super) fn check(check: Check) -> manager_wit::Check {
    let level = match check.level {
        Level::Ok => manager_wit::Level::Ok,
        Level::Warn => manager_wit::Level::Warn,
        Level::Fail => manager_wit::Level::Fail,
    };
    let attributes = check.attributes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    manager_wit::Check { id: check.id.to_owned(), level, saw: check.saw, remedy: check.remedy, attributes }
}

/// A duration as the contract counts it.
pub(super) fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
