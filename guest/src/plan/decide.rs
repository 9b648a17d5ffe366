//! What a change makes of the records at its name: the semantics of add, replace and remove.

use std::collections::BTreeSet;

use super::{
    Planner, Refusal,
    owner::{Stranger, owned},
    site::Site,
};
use crate::{
    change::{Action, Change, Outcome, Selector, Status},
    check, layout,
    name::Name,
    rdata::{RData, RrType},
    reason::Code,
    record::{Record, RecordSet},
    zone::Zone,
};

/// What a change makes of the records at its name.
pub(super) struct Decided {
    /// What the change came to.
    pub(super) outcome: Outcome,
    /// All records in our layout that stand at the name afterwards.
    pub(super) all: Vec<Record>,
    /// The values that were asked to be there.
    pub(super) asked: Vec<RData>,
    /// The keys of others that are taken over: written anew, or deleted.
    pub(super) taken: BTreeSet<String>,
}

/// Names the state of a set: equal for equal records.
pub fn token(records: &[Record]) -> String {
    let mut sorted: Vec<&Record> = records.iter().collect();
    sorted.sort();
    let mut text = String::new();
    for record in sorted {
        let Record { name, data, ttl, owner, resource } = record;
        text.push_str(&format!("{name} {} {ttl} {owner:?} {resource:?} ", record.rr_type()));
        match data {
            RData::Txt(octets) => text.push_str(&data_encoding::HEXUPPER.encode(octets)),
            other => text.push_str(&other.to_string()),
        }
        text.push('\n');
    }
    layout::digest(text.as_bytes())
}

impl Planner<'_> {
    pub(super) fn decide(
        &self,
        zone: &Zone,
        change: &Change,
        site: &Site,
        strangers: &[Stranger],
    ) -> Result<Decided, Refusal> {
        let rr_type = match &change.action {
            Action::Add(set) | Action::Replace(set) => set.rr_type(),
            Action::Remove(selector) | Action::Adopt(selector) | Action::Release(selector) => selector.rr_type,
            Action::Mend(_) => None,
        };
        let concerned = |record: &&Record| rr_type.is_none_or(|rr_type| record.rr_type() == rr_type);
        let theirs = strangers.iter().flat_map(|stranger| &stranger.records);
        let mut before: Vec<Record> = site.ours.iter().chain(theirs).filter(concerned).cloned().collect();
        before.sort();
        if let Some(expected) = &change.expect
            && !self.is_begun
            && *expected != token(&before)
        {
            return Err(Refusal::conflict(
                Code::Changed,
                format!("`{}` is no longer as it was read; read it again and decide anew", change.action.name()),
            ));
        }
        let (mut asked, mut taken) = (Vec::new(), BTreeSet::new());
        let all = match &change.action {
            Action::Add(set) | Action::Replace(set) => {
                asked.clone_from(&set.data);
                self.put_set(zone, change, set, site)?
            }
            Action::Remove(selector) => self.remove(selector, site)?,
            Action::Adopt(selector) => {
                let adopted = self.adopt(zone, change, selector, site, strangers)?;
                (asked, taken) = (adopted.asked, adopted.taken);
                adopted.all
            }
            Action::Release(selector) => self.release(selector, site)?,
            // Decided by what stands there.
            Action::Mend(_) => site.ours.clone(),
        };
        let left = strangers.iter().filter(|stranger| !taken.contains(&stranger.key)).flat_map(|s| &s.records);
        let mut after: Vec<Record> = all.iter().chain(left).filter(concerned).cloned().collect();
        after.sort();
        let status = match (&change.action, before.is_empty(), after.is_empty()) {
            _ if before == after => Status::Unchanged,
            (_, true, _) => Status::Created,
            (Action::Remove(_), ..) | (_, _, true) => Status::Deleted,
            _ => Status::Updated,
        };
        let token = Some(token(&after));
        Ok(Decided {
            outcome: Outcome { status, reason: None, warnings: Vec::new(), before, after, token, problems: Vec::new() },
            all,
            asked,
            taken,
        })
    }

    fn put_set(&self, zone: &Zone, change: &Change, set: &RecordSet, site: &Site) -> Result<Vec<Record>, Refusal> {
        let name = &set.name;
        let rr_type = set.rr_type();
        self.check_ownership(name, site)?;
        let replacing = matches!(change.action, Action::Replace(_));
        let existing: Vec<&Record> = site.ours.iter().filter(|record| Some(record.rr_type()) == rr_type).collect();
        let mut all: Vec<Record> =
            site.ours.iter().filter(|record| Some(record.rr_type()) != rr_type).cloned().collect();
        check_coexistence(name, set, &all)?;
        // What replaces belongs to whom all that it replaces belonged to.
        let inherited = match existing.split_first() {
            Some((first, rest)) if replacing && rest.iter().all(|record| record.resource == first.resource) => {
                first.resource.clone()
            }
            _ => None,
        };
        let ttl = set.ttl.seconds();
        let wanted: Vec<RData> = set.data.iter().map(as_served).collect();
        let mut kept: Vec<Record> = existing
            .iter()
            .filter(|record| !replacing || wanted.contains(&record.data))
            .map(|record| Record { ttl, ..(*record).clone() })
            .collect();
        for data in wanted {
            match kept.iter().find(|record| record.data == data) {
                Some(record) => {
                    if let (Some(theirs), Some(ours)) = (&record.resource, &change.resource)
                        && theirs != ours
                    {
                        return Err(Refusal::conflict(
                            Code::OwnedBy(record.owner.clone()),
                            format!(
                                "`{name}` {} `{data}` belongs to the server `{theirs}`; delete that one first",
                                data.rr_type()
                            ),
                        ));
                    }
                }
                None => kept.push(Record {
                    name: name.clone(),
                    data,
                    ttl,
                    owner: Some(self.config.owner.clone()),
                    resource: change.resource.clone().or_else(|| inherited.clone()),
                }),
            }
        }
        let whole = RecordSet { data: kept.iter().map(|record| record.data.clone()).collect(), ..set.clone() };
        if whole.data.len() > set.data.len() && matches!(rr_type, Some(RrType::Cname | RrType::Ptr)) {
            let stands = existing.first().map(|record| record.data.to_string()).unwrap_or_default();
            let rr_type = existing.first().map(|record| record.rr_type().to_string()).unwrap_or_default();
            return Err(Refusal::conflict(
                Code::Coexistence,
                format!(
                    "`{name}` has the {rr_type} `{stands}`, and a name has one only; replace it (update) instead of adding another"
                ),
            ));
        }
        check::set(zone, self.zones, &whole).map_err(Refusal::refused)?;
        all.extend(kept);
        all.sort();
        Ok(all)
    }

    fn remove(&self, selector: &Selector, site: &Site) -> Result<Vec<Record>, Refusal> {
        let selector = &Selector { data: selector.data.iter().map(as_served).collect(), ..selector.clone() };
        let selected = |record: &Record| selector.selects(record);
        let goes = |record: &Record| selected(record) && self.is_mine(record);
        if !site.ours.iter().any(goes)
            && let Some(theirs) = site.ours.iter().chain(&site.foreign).find(|record| selected(record))
        {
            return Err(owned(&selector.name, theirs));
        }
        Ok(site.ours.iter().filter(|record| !goes(record)).cloned().collect())
    }

    /// Whoever has a name has all of it.
    fn check_ownership(&self, name: &Name, site: &Site) -> Result<(), Refusal> {
        if let Some(theirs) = site.foreign.iter().chain(site.ours.iter().filter(|record| !self.is_mine(record))).next()
        {
            return Err(owned(name, theirs));
        }
        match site.unreadable.first() {
            Some((key, why)) => Err(Refusal::conflict(
                Code::OwnedBy(None),
                format!("`{name}`: another program's key `{key}` stands there ({why}); have it removed first"),
            )),
            None => Ok(()),
        }
    }
}

/// A weight of 0 cannot be stored; it is served as 1.
fn as_served(data: &RData) -> RData {
    match data {
        RData::Srv { priority, weight: 0, port, target } => {
            RData::Srv { priority: *priority, weight: 1, port: *port, target: target.clone() }
        }
        other => other.clone(),
    }
}

/// A CNAME stands alone (RFC 1034 3.6.2).
fn check_coexistence(name: &Name, set: &RecordSet, others: &[Record]) -> Result<(), Refusal> {
    let clash = match set.rr_type() {
        Some(RrType::Cname) => others.first(),
        _ => others.iter().find(|record| record.rr_type() == RrType::Cname),
    };
    match clash {
        Some(other) => Err(Refusal::conflict(
            Code::Coexistence,
            format!(
                "`{name}` has {} `{}`; a CNAME cannot stand beside other data (RFC 1034 3.6.2); unregister one of them first",
                other.rr_type(),
                other.data
            ),
        )),
        None => Ok(()),
    }
}
