//! Repairing a zone, page by page: which names there are to look at; the planner compares each with its keys.
//!
//! A page takes the names of a thousand keys or so, whatever the size of the zone. It reads at one revision of its own: what it
//! mends is guarded as every write is. Only the guards for aliases are compared the other way round, because their keys are
//! hashes: those for which no alias is found below the name are named to the planner, with the revision at which that was so.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64URL_NOPAD;

use super::{Call, apply};
use crate::{
    change::{Action, Change, Mend, Page, Problem, Status},
    decode::Decoded,
    etcd::{Range, message::KeyValue},
    layout,
    name::Name,
    plan,
    reason::{Code, Reason},
    zone::{Lookup, Place, Zone},
};

/// Keys that are read at once, and about as many in a page.
const CHUNK: u32 = 1000;
/// Alias guards of one name that are compared at once.
const GUARDS: usize = 65_536;
/// Keys that are looked through for the aliases of such guards.
const REACH: usize = 60_000;

pub(super) fn repair(call: &mut Call<'_>, apex: &Name, cursor: Option<&str>) -> Result<Page, Reason> {
    call.ask_zones(BTreeSet::from([apex.clone()]))?;
    let zone = match call.zones.of(apex) {
        Lookup::In(zone) if zone.apex() == apex => zone,
        Lookup::In(zone) => {
            let message = format!("`{apex}` is a name in the zone `{zone}`; repair that zone");
            return Err(Reason::new(Code::OutsideZones, message));
        }
        Lookup::Outside | Lookup::NotAsked => {
            let zones = call.zones.describe();
            let message = format!("`{apex}` is none of the zones that may be written ({zones})");
            return Err(Reason::new(Code::OutsideZones, message));
        }
    };
    let start = match cursor {
        Some(cursor) => BASE64URL_NOPAD
            .decode(cursor.as_bytes())
            .map_err(|_| Reason::invalid("this is no cursor; pass one back as it came, or begin without"))?,
        None => call.layout.key(apex).into_bytes(),
    };
    let mut sweep = Sweep {
        call,
        zone,
        revision: None,
        names: BTreeSet::new(),
        guards: Vec::new(),
        searched: 0,
        page: Page::default(),
    };
    let next = sweep.look(start)?;
    sweep.page.next = next.map(|key| BASE64URL_NOPAD.encode(&key));
    sweep.mend()
}

/// One page.
struct Sweep<'s, 'c> {
    call: &'s mut Call<'c>,
    zone: Zone,
    /// What is read is read as of this.
    revision: Option<u64>,
    /// Whose keys are to be compared.
    names: BTreeSet<Name>,
    /// Alias guards, and whether there is an alias for each, by the name whose they are.
    guards: Vec<(Name, BTreeMap<String, bool>)>,
    /// Keys that were looked through for aliases.
    searched: usize,
    page: Page,
}

impl Sweep<'_, '_> {
    /// Looks at about [`CHUNK`] keys from `start` on. Returns where the next page begins.
    fn look(&mut self, start: Vec<u8>) -> Result<Option<Vec<u8>>, Reason> {
        let (entries, more) = self.read(start, CHUNK)?;
        let mut behind: Option<Vec<u8>> = None;
        for entry in &entries {
            // A run of guards may reach beyond what was read here.
            if behind.as_ref().is_some_and(|behind| entry.key < *behind) {
                continue;
            }
            if self.searched >= REACH {
                return Ok(Some(entry.key.clone()));
            }
            behind = self.see(entry)?;
        }
        Ok(match (entries.last(), behind) {
            (Some(last), Some(behind)) if behind > last.key => self.after(behind)?,
            (Some(last), _) if more => Some([last.key.as_slice(), &[0]].concat()),
            _ => None,
        })
    }

    /// The keys of the zone from `start` on, in order.
    fn read(&mut self, start: Vec<u8>, limit: u32) -> Result<(Vec<KeyValue>, bool), Reason> {
        let key = self.call.layout.key(self.zone.apex());
        let (plain, below) = (Range::key(&key), Range::between(format!("{key}/"), format!("{key}0")));
        let mut ranges = Vec::new();
        if start <= plain.start {
            ranges.push(plain);
        }
        ranges.push(Range { start: start.max(below.start), end: below.end, limit });
        ranges.retain(|range| range.start < range.end);
        let (revision, found) = self.call.read(&ranges, self.revision)?;
        self.revision.get_or_insert(revision);
        let more = found.last().is_some_and(|found| found.more);
        Ok((found.into_iter().flat_map(|found| found.entries).collect(), more))
    }

    /// Where the next page begins, unless nothing is there.
    fn after(&mut self, start: Vec<u8>) -> Result<Option<Vec<u8>>, Reason> {
        let (entries, _) = self.read(start.clone(), 1)?;
        Ok((!entries.is_empty()).then_some(start))
    }

    /// Takes note of what a key is about. Returns what it looked at besides, up to where.
    fn see(&mut self, entry: &KeyValue) -> Result<Option<Vec<u8>>, Reason> {
        let key = String::from_utf8_lossy(&entry.key).into_owned();
        match self.call.layout.decode(&entry.key, &entry.value) {
            Decoded::Ours(record) => {
                self.note_with_those_above(&record.name);
                // Where the key is another one than the record's.
                self.note_subject(&key);
            }
            Decoded::Structure => {
                self.note_subject(&key);
                if let Some((above, _)) = key.rsplit_once("/!A/")
                    && !self.zone.is_reverse()
                    && let Some(name) = plan::subject(&self.call.layout, above)
                {
                    return self.compare_guards(&name, &entry.key).map(Some);
                }
            }
            Decoded::Foreign(_) => {
                let owner = &self.call.config.owner;
                if let Some(record) = self.call.layout.recover(&self.zone, &entry.key, &entry.value, owner) {
                    self.note_with_those_above(&record.name);
                }
                self.note_damaged(&key, &entry.value);
            }
            Decoded::Unreadable(why) => {
                let reason = Reason::new(Code::Protocol, format!("{why}; it is left as it is"));
                self.page.problems.push(Problem { place: key, reason, mended: false });
            }
        }
        Ok(None)
    }

    fn note_subject(&mut self, key: &str) {
        if let Some(name) = plan::subject(&self.call.layout, key) {
            self.names.insert(name);
        }
    }

    /// A key with our mark that is in no form of ours is the business of its name, if it is a leaf.
    fn note_damaged(&mut self, key: &str, value: &[u8]) {
        let is_leaf = key.rsplit('/').next().is_some_and(|leaf| leaf.bytes().any(|b| b.is_ascii_uppercase()));
        let is_mine = |value: &[u8]| {
            crate::skydns::service::Service::from_json(value)
                .is_ok_and(|service| service.owner.as_ref() == Some(&self.call.config.owner))
        };
        if is_leaf && is_mine(value) {
            self.note_subject(key);
        }
    }

    /// The names above a record exist, whether or not they have a key.
    fn note_with_those_above(&mut self, name: &Name) {
        self.names.extend(name.ancestors_up_to(self.zone.apex()));
        self.names.insert(name.clone());
    }

    /// Compares the alias guards of a name, from one of them on, with the aliases below it. Returns up to where.
    fn compare_guards(&mut self, name: &Name, first: &[u8]) -> Result<Vec<u8>, Reason> {
        let key = self.call.layout.key(name);
        let prefix = format!("{key}/!A/");
        let end = format!("{key}/!A0").into_bytes();
        let (mut guards, mut start) = (BTreeMap::new(), first.to_vec());
        let behind = loop {
            let (entries, more) = self.read(start, CHUNK)?;
            let count = entries.len();
            let mut last = Vec::new();
            let mut is_over = false;
            for entry in entries {
                if entry.key >= end {
                    is_over = true;
                    break;
                }
                if let Some(leaf) = std::str::from_utf8(&entry.key).ok().and_then(|key| key.strip_prefix(&prefix))
                    && self.call.layout.decode(&entry.key, &entry.value) == Decoded::Structure
                {
                    guards.insert(leaf.to_owned(), false);
                }
                last = entry.key;
            }
            if is_over || !more || count == 0 {
                break end;
            }
            start = [last.as_slice(), &[0]].concat();
            if guards.len() >= GUARDS {
                break start;
            }
        };
        // Nobody looks for guards there.
        if matches!(self.zone.place(name), Place::Apex | Place::Plain) {
            self.find_aliases(name, &mut guards)?;
        }
        self.guards.push((name.clone(), guards));
        Ok(behind)
    }

    /// Finds the guards for which there is an alias below `name`.
    fn find_aliases(&mut self, name: &Name, guards: &mut BTreeMap<String, bool>) -> Result<(), Reason> {
        let key = self.call.layout.key(name);
        let mut range = Range::between(format!("{key}/-"), format!("{key}0")).limited(CHUNK);
        let (mut seen, mut inside, mut open) = (0, BTreeSet::new(), guards.len());
        while open > 0 {
            let (_, found) = self.call.read(std::slice::from_ref(&range), self.revision)?;
            let Some(found) = found.into_iter().next() else { return Ok(()) };
            seen += found.entries.len();
            self.searched += found.entries.len();
            for entry in &found.entries {
                let (layout, owner) = (&self.call.layout, &self.call.config.owner);
                if let Some(record) = layout.recover(&self.zone, &entry.key, &entry.value, owner) {
                    if layout::is_alias(&record)
                        && let Some(is_founded) = guards.get_mut(&layout::digest(record.name.to_string().as_bytes()))
                        && !*is_founded
                    {
                        *is_founded = true;
                        open -= 1;
                    }
                } else if let Some(apex) =
                    std::str::from_utf8(&entry.key).ok().and_then(|key| key.strip_suffix("/dns/apex/@GUARD"))
                {
                    // The zones inside this one, where they are not configured.
                    inside.extend(plan::subject(layout, apex));
                }
            }
            match found.entries.last() {
                Some(last) if found.more => range.start = [last.key.as_slice(), &[0]].concat(),
                _ => break,
            }
            if seen >= REACH {
                self.page.problems.push(Problem {
                    place: format!("{key}/!A/"),
                    reason: Reason::unsupported(format!(
                        "more than {REACH} keys stand below `{name}`; whether there is an alias for each of its guards was not \
                         looked at (a surplus guard changes no answer)"
                    )),
                    mended: false,
                });
                guards.clear();
                break;
            }
        }
        self.call.ask_zones(inside)
    }

    /// Has the planner compare the names, and tells what came of it.
    fn mend(mut self) -> Result<Page, Reason> {
        let is_last = self.page.next.is_none();
        let zone = self.zone.clone();
        // The zone's own keys hold its epoch, and come last: those of a zone without records go after all others.
        let of_zone = [zone.ns_branch(), zone.apex_branch(), zone.dns(), zone.apex().clone()];
        let mut names: Vec<Name> = std::mem::take(&mut self.names).into_iter().collect();
        names.retain(|name| !of_zone.contains(name));
        let with_guards: BTreeSet<Name> = self.guards.iter().map(|(name, _)| name.clone()).collect();
        names.retain(|name| !with_guards.contains(name));
        let as_of = self.revision.unwrap_or_default();
        let mend = |name: Name, guards: BTreeMap<String, bool>| Mend { name, guards, as_of };
        // Guards first: they go only while the zone is as it was when they were looked at.
        let mut mends: Vec<Mend> =
            std::mem::take(&mut self.guards).into_iter().map(|(name, guards)| mend(name, guards)).collect();
        mends.extend(names.into_iter().map(|name| mend(name, BTreeMap::new())));
        if is_last {
            mends.extend(of_zone.into_iter().map(|name| mend(name, BTreeMap::new())));
        }
        self.call.ask_zones(mends.iter().map(|mend| mend.name.clone()).collect())?;
        mends.retain(|mend| matches!(self.call.zones.of(&mend.name), Lookup::In(its) if its == zone));
        let changes =
            mends.iter().map(|mend| Ok(Change { action: Action::Mend(mend.clone()), resource: None, expect: None }));
        let outcomes = apply::apply(self.call, changes.collect());

        let is_dry = self.call.options.dry_run;
        let mut problems = std::mem::take(&mut self.page.problems);
        for (mend, outcome) in mends.iter().zip(outcomes) {
            let is_changed = outcome.reason.as_ref().is_some_and(|reason| reason.code == Code::Changed);
            match outcome.status {
                Status::Failed | Status::Unknown if !is_changed => {
                    return Err(outcome
                        .reason
                        .unwrap_or_else(|| Reason::new(Code::Deadline, "the budget was used up")));
                }
                // Whoever comes again finds what is left.
                Status::Conflict | Status::Refused | Status::Failed | Status::Unknown => {
                    problems.extend(outcome.reason.map(|reason| Problem {
                        place: self.call.layout.key(&mend.name),
                        reason,
                        mended: false,
                    }));
                }
                Status::Created | Status::Updated | Status::Deleted | Status::Unchanged => {}
            }
            let mended = |problem: Problem| Problem { mended: problem.mended && !is_dry, ..problem };
            problems.extend(outcome.problems.into_iter().map(mended));
        }
        let mut places = BTreeSet::new();
        problems.retain(|problem| places.insert(problem.place.clone()));
        Ok(Page { problems, ..self.page })
    }
}
