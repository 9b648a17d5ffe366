//! What the keys of one name should be, and what they are.
//!
//! Unlike a change, this trusts no marker and no guard: what stands above a name follows from the records below it. Nothing is
//! mended that bears another mark than ours or that of the structure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Planner, Refusal, Step, Work, is_plain, site::child_ranges, site::own_ranges};
use crate::{
    change::{Mend, Outcome, Problem, Status},
    decode::Decoded,
    etcd::Range,
    layout::{self, Keys, Layout},
    name::Name,
    reason::{Code, Reason},
    record::Record,
    zone::{Lookup, Place, Zone},
};

/// More keys than this are read together.
const MANY: usize = 64;

/// What a key holds, to somebody who mends.
enum Holds {
    /// A record of ours, be it damaged, or structure: it may be written and deleted.
    Ours,
    /// A record in our layout of this owner.
    Theirs(Option<String>),
    /// It bears our mark, and what record it was cannot be told.
    Damaged,
    /// What cannot be read.
    Unreadable,
}

impl Planner<'_> {
    /// Makes the keys of a name what its records need.
    pub(super) fn mend(&mut self, zone: &Zone, mend: &Mend, work: &mut Work) -> Result<Option<Step>, Refusal> {
        let name = &mend.name;
        self.glance(zone, name);
        self.rely_on(work, zone)?;
        let mut problems = Vec::new();
        if !mend.guards.is_empty() {
            self.remove_alias_guards(work, &mut problems, zone, mend)?;
            // The keys of a zone go after all others; they are met again.
            if name == zone.apex() || *name == zone.dns() {
                let outcome = mended(work, problems);
                return Ok(Some(work.step(outcome, BTreeSet::new())));
            }
        }
        let found = self.found(zone, name);
        let mut records = Vec::new();
        for (key, value) in &found {
            records.extend(self.layout.recover(zone, key.as_bytes(), value, &self.config.owner));
        }
        records.retain(|record| record.name == *name);
        records.sort();
        // Of two keys for one record, the one in the right form is met again below.
        records.dedup_by(|a, b| a.data == b.data);

        let needed = self.needed(zone, name, &records);
        for (key, value) in &needed {
            self.compare(work, &mut problems, zone, key, Some(value));
        }
        for key in found.keys().filter(|key| !needed.contains_key(*key)) {
            self.compare(work, &mut problems, zone, key, None);
        }
        if records.iter().any(layout::is_alias) {
            self.mend_alias_guards(work, &mut problems, zone, name);
        }
        self.remove_stop(work, &mut problems, zone, mend);
        if name == zone.apex() && needed.is_empty() && self.draft.checkpoint() > 0 {
            // What is written before puts the epoch anew; a zone without records has none.
            self.write(work, zone, &self.layout.epoch_key(zone), None);
        }
        let outcome = mended(work, problems);
        let own = work.operations.keys().filter(|key| found.contains_key(*key) || needed.contains_key(*key));
        let own = own.cloned().collect();
        Ok(Some(work.step(outcome, own)))
    }

    /// The name's own keys that are ours or the structure's, in whatever state.
    fn found(&mut self, zone: &Zone, name: &Name) -> BTreeMap<String, Vec<u8>> {
        let mut ranges = own_ranges(self.layout, zone, name);
        if zone.is_reverse() {
            let key = self.layout.key(name);
            ranges.push(Range::between(format!("{key}/!"), format!("{key}/-")));
        }
        let mut found = BTreeMap::new();
        for range in ranges {
            for (key, value) in self.draft.all(&range) {
                let Ok(key) = String::from_utf8(key) else { continue };
                match self.holds(zone, &key, &value) {
                    Some(Holds::Unreadable) | None => {}
                    Some(Holds::Ours | Holds::Theirs(_) | Holds::Damaged) => {
                        found.insert(key, value);
                    }
                }
            }
        }
        // The addresses of the apex stand at `apex.dns`, and are not that name's.
        if *name == zone.apex_branch() {
            found.retain(|key, _| is_plain(key) || key.ends_with("/@GUARD"));
        }
        found
    }

    /// What a key holds; none: what another program put there in a form of its own.
    fn holds(&self, zone: &Zone, key: &str, value: &[u8]) -> Option<Holds> {
        match self.layout.decode(key.as_bytes(), value) {
            Decoded::Structure => Some(Holds::Ours),
            Decoded::Ours(record) if self.is_mine(&record) => Some(Holds::Ours),
            Decoded::Ours(record) => Some(Holds::Theirs(record.owner)),
            Decoded::Foreign(_) if self.layout.salvage(zone, key, value, &self.config.owner).is_some() => {
                Some(Holds::Ours)
            }
            Decoded::Foreign(records) => {
                // Other programs use no such leaves.
                (!is_plain(key) && records.iter().any(|record| self.is_mine(record))).then_some(Holds::Damaged)
            }
            Decoded::Unreadable(_) => Some(Holds::Unreadable),
        }
    }

    /// The keys that a name needs, but for the guards for single aliases below it.
    fn needed(&mut self, zone: &Zone, name: &Name, records: &[Record]) -> Keys {
        if records.is_empty() && !self.lives(zone) {
            return Keys::new();
        }
        if *name == zone.apex_branch() {
            return self.layout.reserved(zone);
        }
        let always = name == zone.apex() || *name == zone.dns();
        let has_descendants = always || self.has_records_below(zone, name);
        let mut needed = self.layout.site(zone, name, records, has_descendants);
        if zone.is_reverse() && has_descendants && matches!(zone.place(name), Place::Apex | Place::Plain) {
            needed.extend(self.layout.reverse_guards(name));
        }
        needed
    }

    fn has_records_below(&mut self, zone: &Zone, name: &Name) -> bool {
        let (layout, owner) = (self.layout, &self.config.owner);
        child_ranges(layout, name).iter().any(|range| {
            let counts = |key: &[u8], value: &[u8]| {
                layout.recover(zone, key, value, owner).is_some_and(|record| !layout::is_short(&record))
            };
            self.draft.first(range, counts).is_some()
        })
    }

    /// Whether a zone has records, damaged ones included.
    fn lives(&mut self, zone: &Zone) -> bool {
        let (layout, owner) = (self.layout, &self.config.owner);
        self.zone_holds(zone, |key, value| layout.recover(zone, key, value, owner).map(|record| record.name))
    }

    /// Every name above an alias has guards for it, in its zone and in the zones around that.
    fn mend_alias_guards(&mut self, work: &mut Work, problems: &mut Vec<Problem>, zone: &Zone, alias: &Name) {
        let mut above = alias.parent();
        while let Some(name) = above.filter(|name| !name.is_root()) {
            let its = match self.zones.of(&name) {
                Lookup::In(its) => its,
                Lookup::Outside => return,
                Lookup::NotAsked => {
                    self.unasked.insert(name);
                    return;
                }
            };
            let is_alive = its == *zone || self.lives(&its);
            if its != *zone && self.rely_on(work, &its).is_err() {
                return;
            }
            if is_alive && !its.is_reverse() && matches!(its.place(&name), Place::Apex | Place::Plain) {
                for (key, value) in self.layout.alias_guards(&name, alias) {
                    self.compare(work, problems, &its, &key, Some(&value));
                }
            }
            above = name.parent();
        }
    }

    /// Alias guards without an alias go.
    fn remove_alias_guards(
        &mut self,
        work: &mut Work,
        problems: &mut Vec<Problem>,
        zone: &Zone,
        mend: &Mend,
    ) -> Result<(), Refusal> {
        let lives = self.lives(zone);
        let surplus: Vec<&String> =
            mend.guards.iter().filter(|(_, is_founded)| !lives || !**is_founded).map(|(leaf, _)| leaf).collect();
        if surplus.len() > MANY {
            // One after the other would take a request for each hundred.
            self.draft.first(&self.alias_guard_range(&mend.name), |_, _| false);
        }
        // A writer that needs a guard which is there already moves only the epoch of its alias's zone.
        let concerned = self.zones.inside(zone).into_iter().chain([zone.clone()]);
        for its in concerned.filter(|_| lives && !surplus.is_empty()) {
            self.rely_on(work, &its)?;
            if self.draft.view().put_at(&self.layout.epoch_key(&its)) > mend.as_of {
                return Err(Refusal::conflict(
                    Code::Changed,
                    format!("`{}`: aliases below it were written meanwhile; repair the zone again", mend.name),
                ));
            }
        }
        for leaf in surplus {
            let key = format!("{}/!A/{leaf}", self.layout.key(&mend.name));
            self.compare(work, problems, zone, &key, None);
        }
        Ok(())
    }

    /// With the last alias guard goes the key that stands while there is any.
    fn remove_stop(&mut self, work: &mut Work, problems: &mut Vec<Problem>, zone: &Zone, mend: &Mend) {
        if !zone.is_reverse() && self.draft.first(&self.alias_guard_range(&mend.name), |_, _| true).is_none() {
            self.compare(work, problems, zone, &self.layout.stop_key(&mend.name), None);
        }
    }

    /// Compares a key with what it should hold, notes the difference, and plans to mend it where it is ours.
    fn compare(&mut self, work: &mut Work, problems: &mut Vec<Problem>, zone: &Zone, key: &str, needed: Option<&str>) {
        let current = self.draft.get(key);
        if current.as_deref() == needed.map(str::as_bytes) {
            return;
        }
        let (what, holds) = match &current {
            None => ("missing", Some(Holds::Ours)),
            Some(value) if needed.is_some() => ("wrong", self.holds(zone, key, value)),
            Some(value) => ("surplus", self.holds(zone, key, value)),
        };
        let (reason, mended) = match holds {
            Some(Holds::Ours) => {
                let message = match what {
                    "missing" => "this key is missing, which the records need",
                    "wrong" => "this key holds something else than the records need",
                    _ => "no record needs this key",
                };
                (Reason::new(Code::Other(what.to_owned()), message), true)
            }
            Some(Holds::Theirs(owner)) => {
                let by = owner.as_ref().map_or_else(|| "no owner".to_owned(), |owner| format!("owner `{owner}`"));
                let message = format!("this key is {what}, but of {by}; it is left as it is");
                (Reason::new(Code::OwnedBy(owner), message), false)
            }
            Some(Holds::Damaged) => (
                Reason::new(
                    Code::Protocol,
                    "this key bears our mark, and what record it was cannot be told; register the record anew, then delete the key",
                ),
                false,
            ),
            Some(Holds::Unreadable) | None => (
                Reason::new(
                    Code::OwnedBy(None),
                    "another program's value stands where the records need one of ours; it is left as it is",
                ),
                false,
            ),
        };
        problems.push(Problem { place: key.to_owned(), reason, mended });
        if !mended {
            return;
        }
        if current.is_none() && is_plain(key) {
            work.watched.insert(Range::key(key));
        }
        // Whoever damages keys by hand takes no turns with us.
        if current.is_some() && key != self.layout.epoch_key(zone) && !work.operations.contains_key(key) {
            work.guarded.insert(key.to_owned(), self.draft.view().put_at(key));
        }
        self.write(work, zone, key, needed.map(str::to_owned));
    }
}

/// What became of a name.
fn mended(work: &mut Work, problems: Vec<Problem>) -> Outcome {
    Outcome {
        status: if work.operations.is_empty() { Status::Unchanged } else { Status::Updated },
        reason: None,
        warnings: std::mem::take(&mut work.warnings),
        before: Vec::new(),
        after: Vec::new(),
        token: None,
        problems,
    }
}

/// The name whose key this may be; none: it has components that no name of ours has.
pub(crate) fn subject(layout: &Layout, key: &str) -> Option<Name> {
    let labels = layout.name(key)?;
    let leaves = match labels.as_slice() {
        [last, above, ..] if !is_label(last) && *above == "!A" => 2,
        [last, ..] if !is_label(last) => 1,
        _ => 0,
    };
    let labels = labels.get(leaves..)?;
    labels.iter().all(|label| is_label(label)).then(|| Name::from_components(labels.iter().copied()))
}

fn is_label(component: &str) -> bool {
    !component.is_empty() && component.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}
