//! What stands at one name.

use std::collections::BTreeSet;

use super::{GLANCE, Planner, Work};
use crate::{
    decode::Decoded,
    etcd::Range,
    layout::{self, Layout},
    name::Name,
    rdata::RrType,
    record::Record,
    zone::{Place, Zone, Zones},
};

/// What stands at one name.
#[derive(Debug, Default)]
pub(super) struct Site {
    /// Records in our layout, of whichever owner.
    pub(super) ours: Vec<Record>,
    /// What other programs wrote there.
    pub(super) foreign: Vec<Record>,
    /// Keys that nobody can read, and why.
    pub(super) unreadable: Vec<(String, String)>,
    /// The keys of `ours`.
    pub(super) records: BTreeSet<String>,
    /// Those, and the parts of the structure that stand at this name.
    pub(super) keys: BTreeSet<String>,
}

/// The ranges that hold a name's own keys; nothing in them belongs to a name below it.
pub(crate) fn own_ranges(layout: &Layout, zone: &Zone, name: &Name) -> Vec<Range> {
    let key = layout.key(name);
    let mut ranges = vec![
        Range::key(&key),
        // The guard and the leaves: `@GUARD`, `A-`, `AAAA-`, `CNAME-`, `MX-`, `SRV-`, `W-`.
        Range::between(format!("{key}/@"), format!("{key}/[")),
        Range::between(format!("{key}/~"), format!("{key}/\u{7f}")),
    ];
    if zone.place(name) == Place::Apex {
        let branch = layout.key(&zone.apex_branch());
        ranges.push(Range::between(format!("{branch}/A"), format!("{branch}/[")));
    }
    ranges
}

/// The ranges that hold the keys of names below a name, by the first octet of a label: `-` and digits, `_` and letters.
pub(super) fn child_ranges(layout: &Layout, name: &Name) -> [Range; 2] {
    let key = layout.key(name);
    [Range::between(format!("{key}/-"), format!("{key}/@")), Range::between(format!("{key}/_"), format!("{key}/~"))]
}

/// Everything below a name.
pub(super) fn subtree(layout: &Layout, name: &Name) -> Range {
    let key = layout.key(name);
    Range::between(format!("{key}/"), format!("{key}0"))
}

impl Planner<'_> {
    /// Notes what a change of a name mostly needs, so that one read brings it.
    pub(super) fn glance(&mut self, zone: &Zone, name: &Name) {
        self.draft.want(Range::key(&self.layout.key(name)));
        if zone.place(name) == Place::Apex {
            let branch = zone.apex_branch();
            self.draft.want(Range::key(&self.layout.key(&branch)));
            self.draft.want(subtree(self.layout, &branch));
        } else {
            self.draft.want(subtree(self.layout, name).limited(GLANCE));
        }
        for above in name.ancestors_up_to(zone.apex()) {
            // Mostly a PTR in short form, for which nothing stands there.
            if !name.is_ip6() {
                self.draft.want(Range::key(&self.layout.key(&above)));
            }
            self.draft.want(Range::key(&self.layout.guard_key(&above)));
        }
    }

    /// Reads what stands at a name.
    pub(super) fn site(&mut self, zone: &Zone, name: &Name) -> Site {
        let mut site = Site::default();
        for range in own_ranges(self.layout, zone, name) {
            for (key, value) in self.draft.all(&range) {
                let decoded = self.layout.decode(&key, &value);
                let key = String::from_utf8_lossy(&key).into_owned();
                match decoded {
                    Decoded::Ours(record) if record.name == *name => {
                        site.ours.push(record);
                        site.records.insert(key.clone());
                        site.keys.insert(key);
                    }
                    Decoded::Structure => {
                        site.keys.insert(key);
                    }
                    Decoded::Foreign(records) => site.foreign.extend(records),
                    Decoded::Ours(record) => site.foreign.push(record),
                    Decoded::Unreadable(why) => site.unreadable.push((key, why)),
                }
            }
        }
        // Other programs put a record one label below its name. Those that are in sight count; looking for more would
        // cost as much as the zone is large.
        for range in child_ranges(self.layout, name) {
            for (key, value) in self.draft.known(&range, GLANCE as usize) {
                if let Decoded::Foreign(records) = self.layout.decode(&key, &value) {
                    site.foreign.extend(records.into_iter().filter(|record| record.name == *name));
                }
            }
        }
        if zone.place(name) == Place::Apex {
            for record in self.strangers_at_apex(zone) {
                if !site.foreign.contains(&record) {
                    site.foreign.push(record);
                }
            }
        }
        site.ours.sort();
        site
    }

    /// The addresses that other programs wrote where CoreDNS looks for those of an apex, at whatever keys below it.
    fn strangers_at_apex(&mut self, zone: &Zone) -> Vec<Record> {
        let branch = zone.apex_branch();
        let mut entries = self.draft.all(&Range::key(&self.layout.key(&branch)));
        entries.extend(self.draft.all(&subtree(self.layout, &branch)));
        let foreign = entries.iter().filter_map(|(key, value)| match self.layout.decode(key, value) {
            Decoded::Foreign(records) => Some(records),
            _ => None,
        });
        let is_address = |record: &Record| matches!(record.rr_type(), RrType::A | RrType::Aaaa);
        foreign.flatten().filter(|record| is_address(record) && record.name.is_within(&branch)).collect()
    }

    /// Tells whether any name of ours exists below a name; one that has a PTR in short form only is none.
    pub(super) fn has_descendants(&mut self, name: &Name) -> bool {
        let layout = self.layout;
        child_ranges(layout, name).iter().any(|range| {
            self.draft
                .first(range, |key, value| match layout.decode(key, value) {
                    Decoded::Ours(record) => !layout::is_short(&record),
                    Decoded::Structure => true,
                    Decoded::Foreign(_) | Decoded::Unreadable(_) => false,
                })
                .is_some()
        })
    }

    /// Tells whether a name has records of ours, besides a PTR in short form.
    pub(super) fn has_records(&mut self, zone: &Zone, name: &Name) -> bool {
        let layout = self.layout;
        own_ranges(layout, zone, name).iter().any(|range| {
            self.draft
                .first(range, |key, value| match layout.decode(key, value) {
                    Decoded::Ours(record) => !layout::is_short(&record),
                    Decoded::Structure | Decoded::Foreign(_) | Decoded::Unreadable(_) => false,
                })
                .is_some()
        })
    }

    /// Tells whether a zone has any record of ours; those of zones inside it are not its own.
    pub(super) fn zone_has_records(&mut self, zone: &Zone) -> bool {
        let layout = self.layout;
        self.zone_holds(zone, |key, value| match layout.decode(key, value) {
            Decoded::Ours(record) => Some(record.name),
            _ => None,
        })
    }

    /// Tells whether a zone has a key in which `name_of` finds a record; those of zones inside it are not its own.
    pub(super) fn zone_holds(&mut self, zone: &Zone, name_of: impl Fn(&[u8], &[u8]) -> Option<Name>) -> bool {
        let (layout, inside) = (self.layout, self.zones.inside(zone));
        let key = layout.key(zone.apex());
        let own = Range::between(format!("{key}/A"), format!("{key}/["));
        let text = Range::between(format!("{key}/~"), format!("{key}/\u{7f}"));
        let mut ranges = vec![Range::key(&key), own, text];
        for range in child_ranges(layout, zone.apex()) {
            ranges.extend(without(range, &inside, layout));
        }
        ranges.iter().any(|range| {
            self.draft
                .first(range, |key, value| {
                    name_of(key, value).is_some_and(|name| !inside.iter().any(|inner| name.is_within(inner.apex())))
                })
                .is_some()
        })
    }

    /// Asks that nobody puts anything at a name's own keys before the change is written.
    pub(super) fn watch(&self, work: &mut Work, zone: &Zone, name: &Name, has_descendants: bool) {
        let below = subtree(self.layout, name);
        if !has_descendants && zone.place(name) == Place::Plain && self.draft.knows(&below) {
            work.watched.insert(Range::key(&self.layout.key(name)));
            work.watched.insert(below);
        } else {
            work.watched.extend(own_ranges(self.layout, zone, name));
        }
    }

    /// The zones inside a zone that have records, as far as they are known.
    pub(super) fn living_zones_inside(&mut self, zone: &Zone) -> Vec<Zone> {
        if let Zones::Discovered(_) = self.zones {
            // The tree shows more of them than the names of this call do.
            let branch = "/dns/apex/@GUARD";
            let own = self.layout.guard_key(&zone.apex_branch());
            for (key, _) in self.draft.all(&subtree(self.layout, zone.apex())) {
                let Some(apex) =
                    std::str::from_utf8(&key).ok().filter(|key| *key != own).and_then(|key| key.strip_suffix(branch))
                else {
                    continue;
                };
                if let Some(labels) = self.layout.name(apex) {
                    let apex = Name::from_components(labels.into_iter());
                    if self.zones.of(&apex) == crate::zone::Lookup::NotAsked {
                        self.unasked.insert(apex);
                    }
                }
            }
        }
        let mut inside = self.zones.inside(zone);
        inside.retain(|inner| self.draft.get(&self.layout.epoch_key(inner)).is_some());
        inside
    }
}

/// A range without what lies below other zones.
fn without(range: Range, zones: &[Zone], layout: &Layout) -> Vec<Range> {
    let mut holes: Vec<Range> = zones.iter().map(|zone| subtree(layout, zone.apex())).collect();
    holes.sort();
    let mut parts = Vec::new();
    let mut start = range.start;
    for hole in holes {
        if hole.end <= start || hole.start >= range.end {
            continue;
        }
        if hole.start > start {
            parts.push(Range { start, end: hole.start.clone(), limit: 0 });
        }
        start = hole.end;
    }
    if start < range.end {
        parts.push(Range { start, end: range.end, limit: 0 });
    }
    parts
}
