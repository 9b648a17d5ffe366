//! Taking records over from others, and handing ours back.
//!
//! What is adopted leaves the form in which its program wrote it: its keys go in the same transaction in which ours come, and only
//! if nobody has touched them since. What is released keeps our form, because CoreDNS gives right answers in no other: the mark
//! goes from the record, and the markers and guards stay, which its answers and its neighbours' need.

use std::collections::{BTreeMap, BTreeSet};

use super::{Planner, Refusal, Work, site::Site, site::subtree};
use crate::{
    change::{Change, Selector},
    check,
    decode::Decoded,
    etcd::{MAX_OPERATIONS, Range},
    name::Name,
    rdata::{RData, RrType},
    reason::{Code, Reason},
    record::{Record, RecordSet, Ttl},
    skydns::service::Service,
    zone::Zone,
};

/// The most keys that are looked through below a name for what others wrote at it.
const REACH: usize = 20_000;

/// A key that another program wrote for a name.
#[derive(Debug)]
pub(super) struct Stranger {
    /// The key.
    pub(super) key: String,
    /// What it says.
    pub(super) records: Vec<Record>,
    /// What CoreDNS makes of it besides.
    also: Option<String>,
}

/// What an adoption comes to.
pub(super) struct Adopted {
    /// All records in our layout that stand at the name afterwards.
    pub(super) all: Vec<Record>,
    /// The values that become ours.
    pub(super) asked: Vec<RData>,
    /// The keys that are taken over.
    pub(super) taken: BTreeSet<String>,
}

impl Planner<'_> {
    /// The keys that other programs wrote for a name, wherever below it they stand.
    pub(super) fn strangers(&mut self, zone: &Zone, name: &Name) -> Result<Vec<Stranger>, Refusal> {
        let below = subtree(self.layout, name);
        let known = self.draft.known(&below, REACH + 1);
        if known.len() > REACH {
            return Err(Refusal::refused(Reason::unsupported(format!(
                "`{name}` has more than {REACH} keys below it, too many to look through for those of other programs; register its \
                 records anew, after that program has removed them"
            ))));
        }
        // Nothing matches, so all of it is read, piece by piece.
        self.draft.first(&below, |_, _| false);
        let mut entries = self.draft.all(&Range::key(&self.layout.key(name)));
        entries.extend(known);
        // Where CoreDNS looks for the addresses of an apex.
        let branch = Some(zone.apex_branch()).filter(|_| name == zone.apex());
        let is_here = |record: &Record| {
            let is_address = matches!(record.rr_type(), RrType::A | RrType::Aaaa);
            record.name == *name || branch.as_ref().is_some_and(|branch| is_address && record.name.is_within(branch))
        };
        let mut strangers = Vec::new();
        for (key, value) in entries {
            let Decoded::Foreign(records) = self.layout.decode(&key, &value) else { continue };
            if !records.is_empty()
                && records.iter().all(is_here)
                && let Ok(key) = String::from_utf8(key)
            {
                let records = records.into_iter().map(|record| Record { name: name.clone(), ..record }).collect();
                strangers.push(Stranger { key, records, also: also(&value) });
            }
        }
        Ok(strangers)
    }

    /// Makes values of others ours.
    pub(super) fn adopt(
        &self,
        zone: &Zone,
        change: &Change,
        selector: &Selector,
        site: &Site,
        strangers: &[Stranger],
    ) -> Result<Adopted, Refusal> {
        let name = &selector.name;
        let theirs = strangers.iter().flat_map(|stranger| &stranger.records);
        check_there(selector, site.ours.iter().chain(theirs))?;
        if let Some((key, why)) = site.unreadable.first() {
            return Err(Refusal::conflict(
                Code::OwnedBy(None),
                format!(
                    "`{name}`: the key `{key}` cannot be read ({why}), so that nothing at this name is answered; have it removed first"
                ),
            ));
        }
        let mine = |record: &Record| Record {
            owner: Some(self.config.owner.clone()),
            resource: change.resource.clone().or_else(|| record.resource.clone()),
            ..record.clone()
        };
        let (mut all, mut adopted, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
        for record in &site.ours {
            if selector.selects(record) && !self.is_mine(record) {
                taken.insert(self.layout.record(zone, record).0);
                adopted.push(mine(record));
            } else {
                all.push(record.clone());
            }
        }
        for stranger in strangers {
            let (wanted, rest): (Vec<&Record>, Vec<&Record>) =
                stranger.records.iter().partition(|record| selector.selects(record));
            let Some(first) = wanted.first() else { continue };
            if let Some(other) = rest.first() {
                return Err(Refusal::refused(Reason::invalid(format!(
                    "`{name}`: the key `{}` holds {} `{}` and {} `{}`, which can be adopted together only; name neither type nor value",
                    stranger.key,
                    first.rr_type(),
                    first.data,
                    other.rr_type(),
                    other.data
                ))));
            }
            if let Some(also) = &stranger.also {
                return Err(Refusal::refused(Reason::unsupported(format!(
                    "`{name}` {} `{}`: CoreDNS serves the key `{}` as {also}, too; register what is meant, and have the key removed",
                    first.rr_type(),
                    first.data,
                    stranger.key
                ))));
            }
            taken.insert(stranger.key.clone());
            adopted.extend(wanted.into_iter().map(mine));
        }
        let asked: Vec<RData> = adopted.iter().map(|record| record.data.clone()).collect();
        for record in adopted {
            if !all.iter().any(|other| other.data == record.data) {
                all.push(record);
            }
        }
        self.check_adopted(zone, name, &mut all, &asked)?;
        check_left(name, strangers, &taken, &self.layout.key(name), &all, &asked)?;
        all.sort();
        Ok(Adopted { all, asked, taken })
    }

    /// What could not be registered cannot be adopted either; a set has one TTL.
    fn check_adopted(&self, zone: &Zone, name: &Name, all: &mut [Record], asked: &[RData]) -> Result<(), Refusal> {
        let types: BTreeSet<RrType> = asked.iter().map(RData::rr_type).collect();
        for rr_type in types {
            check::name(zone, name, Some(rr_type)).map_err(Refusal::refused)?;
            let of_type = all.iter_mut().filter(|record| record.rr_type() == rr_type);
            let (mut data, mut ttls, mut set) = (Vec::new(), Vec::new(), Vec::new());
            for record in of_type {
                data.push(record.data.clone());
                ttls.push(record.ttl);
                set.push(record);
            }
            let lowest = ttls.iter().copied().min().unwrap_or_default();
            let ttl = Ttl::try_from(lowest)
                .map_err(|error| Refusal::refused(Reason::invalid(format!("`{name}` {rr_type}: {error}"))))?;
            for record in set {
                record.ttl = ttl.seconds();
            }
            check::set(zone, self.zones, &RecordSet { name: name.clone(), ttl, data }).map_err(Refusal::refused)?;
        }
        Ok(())
    }

    /// Takes our mark from values.
    pub(super) fn release(&self, selector: &Selector, site: &Site) -> Result<Vec<Record>, Refusal> {
        check_there(selector, site.ours.iter().chain(&site.foreign))?;
        let goes = |record: &Record| selector.selects(record) && self.is_mine(record);
        if !site.ours.iter().any(goes)
            && let Some(theirs) = site.ours.iter().find(|record| selector.selects(record) && record.owner.is_some())
        {
            return Err(owned(&selector.name, theirs));
        }
        // The id of a server goes with the mark: with that server's end the value is no longer ours to remove.
        let released = |record: &Record| Record { owner: None, resource: None, ..record.clone() };
        let mut all: Vec<Record> =
            site.ours.iter().map(|record| if goes(record) { released(record) } else { record.clone() }).collect();
        all.sort();
        Ok(all)
    }
}

/// A name is taken: whose what stands there is, for whoever wants it.
pub(super) fn owned(name: &Name, theirs: &Record) -> Refusal {
    let by = match &theirs.owner {
        Some(owner) => format!("owner `{owner}`"),
        None => "no known owner".to_owned(),
    };
    Refusal::conflict(
        Code::OwnedBy(theirs.owner.clone()),
        format!("`{name}` is taken: {} `{}` stands there, of {by}; it is left as it is", theirs.rr_type(), theirs.data),
    )
}

/// Values that are named must be there.
fn check_there<'r>(selector: &Selector, records: impl Iterator<Item = &'r Record>) -> Result<(), Refusal> {
    let there: BTreeSet<&RData> = records.map(|record| &record.data).collect();
    match selector.data.iter().find(|data| !there.contains(data)) {
        Some(absent) => Err(Refusal::refused(Reason::invalid(format!(
            "`{}` has no {} `{absent}`; register it",
            selector.name,
            absent.rr_type()
        )))),
        None => Ok(()),
    }
}

/// What others keep at the name must still be answered, and rightly.
fn check_left(
    name: &Name,
    strangers: &[Stranger],
    taken: &BTreeSet<String>,
    plain_key: &str,
    all: &[Record],
    asked: &[RData],
) -> Result<(), Refusal> {
    if asked.is_empty() {
        return Ok(());
    }
    let left: Vec<&Stranger> = strangers.iter().filter(|stranger| !taken.contains(&stranger.key)).collect();
    if let Some((stranger, record)) =
        left.iter().find(|stranger| stranger.key == plain_key).and_then(|s| Some((s, s.records.first()?)))
    {
        return Err(Refusal::refused(Reason::unsupported(format!(
            "`{name}`: {} `{}` at the key `{}` would be hidden by what is adopted; adopt it, too",
            record.rr_type(),
            record.data,
            stranger.key
        ))));
    }
    let mut by_type: BTreeMap<RrType, &Record> = BTreeMap::new();
    for record in all.iter().chain(left.iter().flat_map(|stranger| &stranger.records)) {
        by_type.entry(record.rr_type()).or_insert(record);
    }
    match (by_type.remove(&RrType::Cname), by_type.values().next()) {
        (Some(alias), Some(other)) => Err(Refusal::conflict(
            Code::Coexistence,
            format!(
                "`{name}` has CNAME `{}` and {} `{}`; a CNAME cannot stand beside other data (RFC 1034 3.6.2); have one of them \
                 removed first",
                alias.data,
                other.rr_type(),
                other.data
            ),
        )),
        _ => Ok(()),
    }
}

/// What CoreDNS makes of a value besides what its host and text say, in words; none: nothing that anybody meant.
fn also(value: &[u8]) -> Option<String> {
    let service = Service::from_json(value).ok()?;
    match (service.mail, service.port) {
        (true, _) => Some("MX".to_owned()),
        (false, port) if port > 0 => Some(format!("SRV with port {port}")),
        _ => None,
    }
}

/// What is taken over is written at once or not at all.
pub(super) fn check_fits(name: &Name, work: &Work) -> Result<(), Refusal> {
    let operations = work.operations.len() + work.written_zones.len();
    let compares = work.guarded.len() + work.watched.len() + work.read_zones.len();
    if operations.max(compares) > MAX_OPERATIONS {
        return Err(Refusal::refused(Reason::unsupported(format!(
            "`{name}`: taking this over needs {operations} writes and {compares} comparisons at once, and etcd takes \
             {MAX_OPERATIONS}; adopt one type at a time"
        ))));
    }
    Ok(())
}
