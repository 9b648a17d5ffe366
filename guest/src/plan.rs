//! What a change would write: pure, from what has been read of the tree.
//!
//! A change of one name touches its own keys (`site`), the markers and guards of the names above it (`structure`), and for an
//! alias their alias guards. What is read for it depends on its depth, not on the size of the zone: whatever is not known yet is
//! noted in the [`Draft`], and the change is planned again when it has been read.

mod decide;
mod mend;
mod owner;
mod site;
mod structure;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    change::{Action, Change, Outcome, Status},
    check,
    config::Config,
    decode::Decoded,
    etcd::Range,
    layout::{self, Layout},
    name::Name,
    rdata::{RData, RrType},
    reason::{Code, Reason},
    record::Record,
    view::Draft,
    zone::{Lookup, Place, Zone, Zones},
};

pub use decide::token;
pub(crate) use mend::subject;

/// CNAMEs in a row that CoreDNS follows.
const CHAIN: usize = 10;
/// CNAMEs in a row that are followed here, to find a loop.
const LONGEST_CHAIN: usize = 64;
/// How much of what lies below a name is read at once, to see its records and whether it has descendants.
const GLANCE: u32 = 64;

/// What planning a change came to.
#[derive(Debug)]
pub enum Plan {
    /// More must be read, or a zone asked for, first.
    Incomplete,
    /// Nothing is to be written.
    Settled(Outcome),
    /// This is to be written.
    Write(Box<Step>),
}

/// What one change writes.
#[derive(Debug)]
pub struct Step {
    /// What becomes of the change when it is written.
    pub outcome: Outcome,
    /// Keys to put, or to delete.
    pub operations: BTreeMap<String, Option<String>>,
    /// The keys among them that hold the records of the change's own name.
    pub own: BTreeSet<String>,
    /// The zones whose epochs must be as they were read.
    pub read_zones: BTreeSet<Zone>,
    /// The zones that are written, so that their epochs move.
    pub written_zones: BTreeSet<Zone>,
    /// Ranges that nobody may have put anything into since they were read.
    pub watched: Vec<Range>,
    /// Keys that nobody may have touched since they were put at these revisions: what is taken over from others, who do not
    /// take turns with us.
    pub guarded: BTreeMap<String, u64>,
}

impl Step {
    fn nothing(outcome: Outcome) -> Self {
        Self {
            outcome,
            operations: BTreeMap::new(),
            own: BTreeSet::new(),
            read_zones: BTreeSet::new(),
            written_zones: BTreeSet::new(),
            watched: Vec::new(),
            guarded: BTreeMap::new(),
        }
    }
}

/// Plans changes one after another; each sees what those before it planned.
pub struct Planner<'a> {
    /// How records are stored.
    pub layout: &'a Layout,
    /// The settings.
    pub config: &'a Config,
    /// The zones as far as they are known.
    pub zones: &'a Zones,
    /// What was read and planned.
    pub draft: &'a mut Draft,
    /// Names whose zones must be asked for.
    pub unasked: &'a mut BTreeSet<Name>,
    /// A part of the change that is planned was written by this call: what is found tells nothing of what is left to do.
    pub is_begun: bool,
}

/// What a change has come to so far.
#[derive(Default)]
struct Work {
    operations: BTreeMap<String, Option<String>>,
    read_zones: BTreeSet<Zone>,
    written_zones: BTreeSet<Zone>,
    watched: BTreeSet<Range>,
    guarded: BTreeMap<String, u64>,
    warnings: Vec<Reason>,
}

impl Work {
    fn step(&mut self, outcome: Outcome, own: BTreeSet<String>) -> Step {
        Step {
            outcome,
            own,
            operations: std::mem::take(&mut self.operations),
            read_zones: std::mem::take(&mut self.read_zones),
            written_zones: std::mem::take(&mut self.written_zones),
            watched: std::mem::take(&mut self.watched).into_iter().collect(),
            guarded: std::mem::take(&mut self.guarded),
        }
    }
}

/// Why a change comes to nothing.
struct Refusal {
    status: Status,
    reason: Reason,
}

impl Refusal {
    fn refused(reason: Reason) -> Self {
        Self { status: Status::Refused, reason }
    }

    fn conflict(code: Code, message: String) -> Self {
        Self { status: Status::Conflict, reason: Reason::new(code, message) }
    }
}

/// What happens to an alias, for the guards of the names above it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alias {
    Appears,
    Goes,
    Stays,
}

impl Planner<'_> {
    /// Plans one change.
    pub fn plan(&mut self, change: &Change) -> Plan {
        let (missing, checkpoint) = (self.draft.missing(), self.draft.checkpoint());
        let asked_by_others = std::mem::take(self.unasked);
        let mut work = Work::default();
        let planned = self.try_plan(change, &mut work);
        let asks = !self.unasked.is_empty();
        self.unasked.extend(asked_by_others);
        if self.draft.missing() > missing || asks {
            self.draft.take_back(checkpoint);
            return Plan::Incomplete;
        }
        match planned {
            Err(Refusal { status, reason }) => {
                self.draft.take_back(checkpoint);
                Plan::Settled(Outcome::without_effect(status, reason))
            }
            Ok(None) => Plan::Incomplete,
            Ok(Some(step)) if step.operations.is_empty() => Plan::Settled(step.outcome),
            Ok(Some(step)) => Plan::Write(Box::new(step)),
        }
    }

    fn try_plan(&mut self, change: &Change, work: &mut Work) -> Result<Option<Step>, Refusal> {
        let name = change.action.name();
        let zone = match self.zones.of(name) {
            Lookup::In(zone) => zone,
            Lookup::Outside => return Err(self.outside(name)),
            Lookup::NotAsked => {
                self.unasked.insert(name.clone());
                return Ok(None);
            }
        };
        let rr_type = match &change.action {
            Action::Add(set) | Action::Replace(set) => set.rr_type(),
            Action::Remove(selector) | Action::Adopt(selector) | Action::Release(selector) => selector.rr_type,
            Action::Mend(mend) => return self.mend(&zone, mend, work),
        };
        // What can never be served is said before anything is read.
        check::name(&zone, name, rr_type).map_err(Refusal::refused)?;
        if let Action::Add(set) | Action::Replace(set) = &change.action {
            check::set(&zone, self.zones, set).map_err(Refusal::refused)?;
        }
        self.glance(&zone, name);
        let site = self.site(&zone, name);
        let strangers = match &change.action {
            Action::Adopt(_) => self.strangers(&zone, name)?,
            _ => Vec::new(),
        };
        let decided = self.decide(&zone, change, &site, &strangers)?;
        let is_nothing = decided.outcome.status == Status::Unchanged && decided.all.is_empty() && site.keys.is_empty();
        if is_nothing && !self.is_begun {
            return Ok(Some(Step::nothing(decided.outcome)));
        }
        self.rely_on(work, &zone)?;
        for key in &decided.taken {
            work.guarded.insert(key.clone(), self.draft.view().put_at(key));
        }
        work.warnings.extend(check::warnings(&zone, name, &decided.asked, &decided.all));
        if zone.place(name) == Place::NameServer {
            work.warnings.extend(self.shared_address(&zone, name, &decided.asked));
        }

        // While the epoch is not known, the zone counts as there: a new one is looked through whole.
        let epoch = self.layout.epoch_key(&zone);
        let is_new = self.is_begun || (self.draft.get(&epoch).is_none() && self.draft.knows(&Range::key(&epoch)));

        // Records first, so that the searches below see what is left.
        let leaves: BTreeSet<String> = decided.all.iter().map(|record| self.layout.record(&zone, record).0).collect();
        for key in site.records.difference(&leaves) {
            self.delete(work, &zone, key);
        }
        let adding = !decided.all.is_empty();
        let alive = adding || self.zone_has_records(&zone);
        let has_descendants = match zone.place(name) {
            Place::Apex => alive,
            _ if *name == zone.dns() => alive,
            _ => self.has_descendants(name),
        };
        let keys = self.layout.site(&zone, name, &decided.all, has_descendants);
        for (key, value) in &keys {
            self.put(work, &zone, key, value);
        }
        for key in &site.keys {
            if !keys.contains_key(key) {
                self.delete(work, &zone, key);
            }
        }
        for key in decided.taken.difference(&keys.keys().cloned().collect()) {
            self.write(work, &zone, key, None);
        }
        let own: BTreeSet<String> = work.operations.keys().cloned().collect();
        if adding {
            self.watch(work, &zone, name, has_descendants);
        }

        let exists = has_descendants || !decided.all.iter().all(layout::is_short);
        let is_short = name.is_ip6() && !has_descendants && site.ours.iter().chain(&decided.all).all(layout::is_short);
        let alias = match (site.ours.iter().any(layout::is_alias), decided.all.iter().any(layout::is_alias)) {
            (false, true) => Alias::Appears,
            (true, false) => Alias::Goes,
            (false, false) if self.is_begun => Alias::Goes,
            _ => Alias::Stays,
        };
        self.mend_above(work, &zone, name, &structure::Below { exists, is_short, adding, alive, is_new, alias })?;
        if let Some(RData::Cname(target)) =
            decided.all.iter().map(|record| &record.data).find(|data| data.rr_type() == RrType::Cname)
            && decided.asked.iter().any(|data| data.rr_type() == RrType::Cname)
        {
            self.follow(work, name, target)?;
        }

        let mut outcome = decided.outcome;
        if outcome.status == Status::Unchanged && !work.operations.is_empty() {
            outcome.status = Status::Updated;
            work.warnings.push(Reason::new(
                Code::Other("mended".to_owned()),
                format!("`{name}`: its records were as asked, but keys that belong to them were missing or wrong; they are mended"),
            ));
        }
        outcome.warnings = std::mem::take(&mut work.warnings);
        if !work.guarded.is_empty() {
            owner::check_fits(name, work)?;
        }
        Ok(Some(work.step(outcome, own)))
    }

    fn outside(&self, name: &Name) -> Refusal {
        let zones = self.zones.describe();
        Refusal::refused(Reason::new(
            Code::OutsideZones,
            format!(
                "`{name}` is in none of the zones that may be written ({zones}); correct the name, or add its zone to `zones` and to the Corefile"
            ),
        ))
    }

    /// Follows an alias through our zones: a loop across two zones of one CoreDNS ends that server, by a stack overflow, with one
    /// question.
    fn follow(&mut self, work: &mut Work, name: &Name, target: &Name) -> Result<(), Refusal> {
        let mut chain = vec![name.clone()];
        let mut next = vec![target.clone()];
        while let Some(here) = next.pop() {
            if here == *name {
                let shown: Vec<String> = chain.iter().chain([&here]).map(ToString::to_string).collect();
                return Err(Refusal::refused(Reason::invalid(format!(
                    "`{name}` CNAME `{target}` would close a loop ({}); point one of these names elsewhere",
                    shown.join(" -> ")
                ))));
            }
            if chain.contains(&here) {
                continue;
            }
            if chain.len() > LONGEST_CHAIN {
                return Err(Refusal::refused(Reason::unsupported(format!(
                    "`{name}` CNAME `{target}` leads through more than {LONGEST_CHAIN} names; CoreDNS follows {CHAIN}"
                ))));
            }
            let zone = match self.zones.of(&here) {
                Lookup::In(zone) => zone,
                Lookup::Outside => continue,
                Lookup::NotAsked => {
                    self.unasked.insert(here);
                    continue;
                }
            };
            self.rely_on(work, &zone)?;
            if zone.place(&here) != Place::Apex {
                self.draft.want(site::subtree(self.layout, &here).limited(GLANCE));
            }
            let site = self.site(&zone, &here);
            next.extend(site.ours.iter().chain(&site.foreign).filter_map(|record| match &record.data {
                RData::Cname(target) => Some(target.clone()),
                _ => None,
            }));
            chain.push(here);
        }
        if chain.len() > CHAIN {
            work.warnings.push(Reason::unsupported(format!(
                "`{name}` CNAME `{target}` begins a chain of {} aliases; CoreDNS follows {CHAIN}",
                chain.len()
            )));
        }
        Ok(())
    }

    /// Notes that a plan holds only while a zone is as it was read.
    ///
    /// Every writing transaction puts the zone's epoch key again, so somebody else's value there stops the change.
    fn rely_on(&mut self, work: &mut Work, zone: &Zone) -> Result<(), Refusal> {
        let key = self.layout.epoch_key(zone);
        work.read_zones.insert(zone.clone());
        match self.draft.get(&key).map(|value| self.layout.decode(key.as_bytes(), &value)) {
            None | Some(Decoded::Structure) => Ok(()),
            Some(Decoded::Ours(_) | Decoded::Foreign(_) | Decoded::Unreadable(_)) => Err(Refusal::conflict(
                Code::OwnedBy(None),
                format!(
                    "another program's value stands at `{key}`, where the writers of the zone `{zone}` take turns; it is left as \
                     it is, and nothing can be written in this zone until it is removed"
                ),
            )),
        }
    }

    /// Plans to put a key, unless it is so already or belongs to somebody else.
    fn put(&mut self, work: &mut Work, zone: &Zone, key: &str, value: &str) {
        match self.draft.get(key) {
            Some(current) if current == value.as_bytes() => return,
            Some(_) if work.guarded.contains_key(key) => {}
            Some(current) => match self.layout.decode(key.as_bytes(), &current) {
                Decoded::Structure => {}
                Decoded::Ours(record) if self.is_mine(&record) => {}
                Decoded::Ours(_) => return,
                Decoded::Foreign(_) | Decoded::Unreadable(_) => {
                    work.warnings.push(Reason::new(
                        Code::OwnedBy(None),
                        format!("the key `{key}` holds what another program wrote; it is left as it is, and answers there may be wrong"),
                    ));
                    return;
                }
            },
            None if is_plain(key) => {
                work.watched.insert(Range::key(key));
            }
            None => {}
        }
        self.write(work, zone, key, Some(value.to_owned()));
    }

    /// Plans to delete a key, if it is ours to delete.
    fn delete(&mut self, work: &mut Work, zone: &Zone, key: &str) {
        let Some(current) = self.draft.get(key) else { return };
        match self.layout.decode(key.as_bytes(), &current) {
            Decoded::Structure => {}
            Decoded::Ours(record) if self.is_mine(&record) => {}
            Decoded::Ours(_) | Decoded::Foreign(_) | Decoded::Unreadable(_) => return,
        }
        if is_plain(key) {
            work.watched.insert(Range::key(key));
        }
        self.write(work, zone, key, None);
    }

    fn write(&mut self, work: &mut Work, zone: &Zone, key: &str, value: Option<String>) {
        self.draft.plan(key, value.clone());
        work.operations.insert(key.to_owned(), value);
        work.written_zones.insert(zone.clone());
    }

    fn is_mine(&self, record: &Record) -> bool {
        record.owner.as_deref() == Some(self.config.owner.as_str())
    }
}

/// Tells whether a key is that of a name, not of a leaf: other programs may write there.
fn is_plain(key: &str) -> bool {
    key.rsplit('/')
        .next()
        .is_some_and(|leaf| !leaf.bytes().any(|b| b.is_ascii_uppercase()) && !leaf.starts_with(['!', '@', '~']))
}
