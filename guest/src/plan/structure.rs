//! The markers and guards of the names above a change, up to the apex of its zone and of the zones around it.

use super::{Alias, Planner, Refusal, Work};
use crate::{
    decode::Decoded,
    etcd::Range,
    layout::{self},
    name::Name,
    rdata::RrType,
    reason::{Code, Reason},
    zone::{Lookup, Place, Zone},
};

/// The epochs of so many zones inside another one are compared when that comes to life; a transaction has room for 128 in all.
const MOST_INSIDE: usize = 64;

/// What a change leaves at its name.
pub(super) struct Below {
    /// Whether the name exists afterwards, for the names above it.
    pub(super) exists: bool,
    /// Whether all that it had and has is a PTR in short form, so that the names above it do not change.
    pub(super) is_short: bool,
    /// Whether it has records afterwards.
    pub(super) adding: bool,
    /// Whether its zone has records afterwards.
    pub(super) alive: bool,
    /// Whether its zone had no key before.
    pub(super) is_new: bool,
    /// What happens to the alias there.
    pub(super) alias: Alias,
}

impl Planner<'_> {
    /// Makes the names above `name` what they must be.
    pub(super) fn mend_above(
        &mut self,
        work: &mut Work,
        zone: &Zone,
        name: &Name,
        below: &Below,
    ) -> Result<(), Refusal> {
        let mut exists = below.exists;
        for above in name.ancestors_up_to(zone.apex()) {
            if above == *zone.apex() {
                break;
            }
            if below.is_short {
                // Releases before the short form wrote a guard at every name above a PTR; it goes unless another name needs it.
                if self.draft.get(&self.layout.guard_key(&above)).is_none() {
                    continue;
                }
                if self.has_descendants(&above) {
                    break;
                }
            }
            let has_descendants =
                if above == zone.dns() { below.alive } else { exists || self.has_descendants(&above) };
            exists = has_descendants || self.has_records(zone, &above);
            self.structure(work, zone, &above, exists, has_descendants);
            self.guard_alias(work, zone, &above, name, below.alias);
        }
        if !below.alive {
            self.remove_zone(work, zone);
        } else {
            if below.adding {
                self.structure(work, zone, zone.apex(), true, true);
                self.structure(work, zone, &zone.dns(), true, true);
                for (key, value) in self.layout.reserved(zone) {
                    self.put(work, zone, &key, &value);
                }
            }
            if name != zone.apex() {
                self.guard_alias(work, zone, zone.apex(), name, below.alias);
            }
            if below.adding && below.is_new {
                self.take_in_zones(work, zone);
            }
        }
        self.mend_zones_around(work, zone, name, below)
    }

    /// A zone around another counts the names and aliases in it for its own names above it.
    fn mend_zones_around(&mut self, work: &mut Work, zone: &Zone, name: &Name, below: &Below) -> Result<(), Refusal> {
        let mut inner = zone.clone();
        let mut exists = below.alive;
        while let Some(parent) = inner.apex().parent().filter(|parent| !parent.is_root()) {
            let outer = match self.zones.of(&parent) {
                Lookup::In(outer) => outer,
                Lookup::Outside => return Ok(()),
                Lookup::NotAsked => {
                    self.unasked.insert(parent);
                    return Ok(());
                }
            };
            self.rely_on(work, &outer)?;
            let alive = self.draft.get(&self.layout.epoch_key(&outer)).is_some();
            if alive && (below.is_new || !below.alive) {
                // Whoever has looked whether something is below the names there must notice.
                work.written_zones.insert(outer.clone());
            }
            for above in inner.apex().ancestors_up_to(outer.apex()) {
                if above == *outer.apex() {
                    exists = exists || alive;
                    if alive {
                        self.guard_alias(work, &outer, &above, name, below.alias);
                    }
                    continue;
                }
                let has_descendants = exists || self.has_descendants(&above);
                exists = has_descendants;
                if alive {
                    exists = has_descendants || self.has_records(&outer, &above);
                    self.structure(work, &outer, &above, exists, has_descendants);
                    self.guard_alias(work, &outer, &above, name, below.alias);
                }
            }
            inner = outer;
        }
        Ok(())
    }

    /// The marker, the guard, and in a reverse zone the guard pair of one name.
    fn structure(&mut self, work: &mut Work, zone: &Zone, name: &Name, exists: bool, has_descendants: bool) {
        let key = self.layout.key(name);
        let mut guarded = has_descendants;
        match self.draft.get(&key).map(|value| self.layout.decode(key.as_bytes(), &value)) {
            None | Some(Decoded::Structure) => {
                if exists {
                    self.put(work, zone, &key, &layout::marker());
                } else {
                    self.delete(work, zone, &key);
                }
            }
            Some(Decoded::Ours(alias)) => {
                guarded |= alias.rr_type() == RrType::Ptr && !layout::is_short(&alias);
                let leaves = self.layout.site(zone, name, std::slice::from_ref(&alias), true);
                for (leaf, value) in leaves.iter().filter(|(leaf, _)| leaf.contains("/CNAME-")) {
                    if has_descendants {
                        self.put(work, zone, leaf, value);
                    } else {
                        self.delete(work, zone, leaf);
                    }
                }
            }
            Some(Decoded::Foreign(_) | Decoded::Unreadable(_)) => work.warnings.push(Reason::new(
                Code::OwnedBy(None),
                format!("`{name}`: another program's value stands at `{key}`; it is left as it is, and answers there may be wrong"),
            )),
        }
        if !matches!(zone.place(name), Place::Apex | Place::Plain) {
            return;
        }
        let (guard_key, guard) = (self.layout.guard_key(name), self.guard_of(zone, name));
        if exists && guarded {
            self.put(work, zone, &guard_key, &guard);
        } else {
            self.delete(work, zone, &guard_key);
        }
        if zone.is_reverse() {
            for (key, value) in self.layout.reverse_guards(name) {
                if has_descendants {
                    self.put(work, zone, &key, &value);
                } else {
                    self.delete(work, zone, &key);
                }
            }
        }
    }

    fn guard_of(&self, zone: &Zone, name: &Name) -> String {
        self.layout.site(zone, name, &[], true).remove(&self.layout.guard_key(name)).unwrap_or_default()
    }

    /// The alias guards of one name for one alias below it; reverse zones have a pair instead.
    fn guard_alias(&mut self, work: &mut Work, zone: &Zone, name: &Name, alias: &Name, change: Alias) {
        if zone.is_reverse() || !matches!(zone.place(name), Place::Apex | Place::Plain) {
            return;
        }
        let [(guard_key, guard), (stop_key, stop)] = self.layout.alias_guards(name, alias);
        match change {
            Alias::Stays => {}
            Alias::Appears => {
                self.put(work, zone, &guard_key, &guard);
                self.put(work, zone, &stop_key, &stop);
            }
            Alias::Goes => {
                self.delete(work, zone, &guard_key);
                let others = self.alias_guard_range(name);
                if self.draft.first(&others, |_, _| true).is_none() {
                    self.delete(work, zone, &stop_key);
                }
            }
        }
    }

    pub(super) fn alias_guard_range(&self, name: &Name) -> Range {
        let key = self.layout.key(name);
        Range::between(format!("{key}/!A/"), format!("{key}/!A0"))
    }

    /// A zone that comes into being around others takes their names and aliases in.
    fn take_in_zones(&mut self, work: &mut Work, zone: &Zone) {
        let living = self.living_zones_inside(zone);
        // Those that are empty, too: one that comes to life meanwhile does not see that this one does.
        let inside = self.zones.inside(zone);
        work.read_zones.extend(if inside.len() > MOST_INSIDE { living.clone() } else { inside });
        for inner in living {
            let mut hashes: Vec<String> = self
                .draft
                .all(&self.alias_guard_range(inner.apex()))
                .into_iter()
                .filter_map(|(key, _)| Some(String::from_utf8(key).ok()?.rsplit('/').next()?.to_owned()))
                .collect();
            // An alias at the inner apex has no guard there, but is one below the names above it.
            let apex = self.layout.key(inner.apex());
            if let Some(value) = self.draft.get(&apex)
                && let Decoded::Ours(_) = self.layout.decode(apex.as_bytes(), &value)
            {
                hashes.push(layout::digest(inner.apex().to_string().as_bytes()));
            }
            for above in inner.apex().ancestors_up_to(zone.apex()) {
                match self.zones.of(&above) {
                    Lookup::In(its) if its == *zone => {}
                    Lookup::NotAsked => {
                        self.unasked.insert(above);
                        continue;
                    }
                    Lookup::In(_) | Lookup::Outside => continue,
                }
                self.structure(work, zone, &above, true, true);
                if !zone.is_reverse() {
                    for hash in &hashes {
                        for (key, value) in self.layout.guards_for(&above, hash) {
                            self.put(work, zone, &key, &value);
                        }
                    }
                }
            }
        }
    }

    /// A zone without records has no key.
    fn remove_zone(&mut self, work: &mut Work, zone: &Zone) {
        let mut names = vec![zone.apex().clone(), zone.dns(), zone.apex_branch(), zone.ns_branch()];
        for inner in self.zones.inside(zone) {
            names.extend(
                inner
                    .apex()
                    .ancestors_up_to(zone.apex())
                    .into_iter()
                    .filter(|above| matches!(self.zones.of(above), Lookup::In(its) if its == *zone)),
            );
        }
        for name in names {
            let key = self.layout.key(&name);
            self.delete(work, zone, &key);
            self.delete(work, zone, &self.layout.guard_key(&name));
            for (guard, _) in self.draft.all(&Range::between(format!("{key}/!"), format!("{key}/-"))) {
                if let Ok(guard) = String::from_utf8(guard) {
                    self.delete(work, zone, &guard);
                }
            }
        }
    }
}
