//! Which keys the records of a zone need, as a pure function.
//!
//! Stock CoreDNS answers a question from everything below the name's key, so a record at the plain key leaks into the answers of
//! its ancestors and is hidden by its descendants. The layout here gives the answers that the RFCs ask for:
//!
//! - every record is a **leaf** of its own below its name, with an upper-case word that no question can reach, in a *group* named
//!   after the name: CoreDNS keeps the shallowest group only;
//! - a **marker** (a value without host or text) at the key of every name that exists makes CNAME and PTR questions NODATA there;
//! - a **guard** gives a name with descendants a leaf in its own group, whatever its records are;
//! - only CNAME and PTR stand at the plain key, because CoreDNS looks for them there alone. On the level of their parent's leaves
//!   they would break the group rule, so every ancestor has **alias guards**, which end it early;
//! - the PTR of an IPv6 address is in **short form**: nothing stands for it at the up to 31 names between it and its zone. A text
//!   beside its host makes CoreDNS take it for a TXT, so that it leaks into no other answer of those names.
//!
//! Rows are those of the layout table that was measured against CoreDNS 1.15.0. Markers and guards belong to nobody in
//! particular: their owner is [`STRUCTURE_OWNER`]. The same records always give the same keys, octet for octet.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::{
    name::Name,
    rdata::{RData, RrType},
    record::Record,
    skydns::{
        service::{STRUCTURE_OWNER, Service},
        text,
    },
    zone::{Place, Zone, Zones},
};

/// Keeps guards out of the sums that SRV weights are made of.
const GUARD_PRIORITY: i64 = 65_537;
/// A priority or preference of 0: CoreDNS takes 0 for 10 and cuts to 16 bits.
const STORED_ZERO: i64 = 65_536;
/// What CoreDNS takes a missing priority for.
const DEFAULT_PRIORITY: i64 = 10;
/// Beside the host of a PTR in short form: CoreDNS then follows it as an alias no more, and answers PTR all the same.
const POINTER_TEXT: &str = "PTR";
/// A label that pads targets: with it the stored form is a name that nobody can have.
const PADDING: &str = "!.";

/// The keys of one tree, below CoreDNS's `path`.
#[derive(Clone, Debug)]
pub struct Layout {
    prefix: String,
}

/// Keys and their values.
pub type Keys = BTreeMap<String, String>;

impl Layout {
    /// Below `path`, one component without slashes.
    pub fn new(path: &str) -> Self {
        Self { prefix: format!("/{path}") }
    }

    /// What every key starts with, without a slash at the end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of a name (CoreDNS `plugin/etcd/msg/path.go`): its labels, reversed, with slashes.
    pub fn key(&self, name: &Name) -> String {
        let mut key = self.prefix.clone();
        for label in name.labels().rev() {
            key.push('/');
            key.push_str(label);
        }
        key
    }

    /// The name of a key, whatever its components are; none: it is no key of this tree.
    pub fn name<'k>(&self, key: &'k str) -> Option<Vec<&'k str>> {
        let mut components: Vec<&str> = key.strip_prefix(&self.prefix)?.strip_prefix('/')?.split('/').collect();
        components.reverse();
        Some(components)
    }

    /// The key that every writing transaction of a zone compares and puts again: its modification revision is the zone's epoch.
    pub fn epoch_key(&self, zone: &Zone) -> String {
        self.guard_key(zone.apex())
    }

    /// The key of a name's guard.
    pub fn guard_key(&self, name: &Name) -> String {
        format!("{}/@GUARD", self.key(name))
    }

    /// The leaf of one record, and what it holds. A CNAME or PTR has the plain key.
    ///
    /// The record is one that passed [`crate::check`]; its text can be spelt.
    pub fn record(&self, zone: &Zone, record: &Record) -> (String, Service) {
        let name = &record.name;
        let labels = count(name);
        let key = self.key(name);
        let mut service = Service {
            port: -1,
            ttl: record.ttl,
            group: name.to_string(),
            targetstrip: 1,
            owner: record.owner.clone(),
            resource: record.resource.clone(),
            ..Default::default()
        };
        let key = match &record.data {
            RData::A(_) | RData::Aaaa(_) => {
                service.host = record.data.to_string();
                let leaf = match &record.data {
                    RData::A(address) => format!("A-{:08X}", address.to_bits()),
                    RData::Aaaa(address) => format!("AAAA-{:032X}", address.to_bits()),
                    _ => String::new(),
                };
                match zone.place(name) {
                    Place::Apex => {
                        service.targetstrip = 3;
                        format!("{}/{leaf}", self.key(&zone.apex_branch()))
                    }
                    Place::NameServer => {
                        service.group = zone.ns_branch().to_string();
                        format!("{key}/{leaf}")
                    }
                    Place::Plain | Place::Reserved => format!("{key}/{leaf}"),
                }
            }
            RData::Txt(octets) => {
                service.port = 0;
                service.text = text::encode(octets).unwrap_or_default();
                format!("{key}/~TXT-{}", hash(&record.data))
            }
            RData::Mx { preference, exchange } => {
                service.host = padded(exchange, labels);
                service.mail = true;
                service.priority = stored(*preference);
                service.targetstrip = labels + 1;
                format!("{key}/MX-{}", hash(&record.data))
            }
            RData::Srv { priority, weight, port, target } => {
                service.host = padded(target, labels);
                service.port = i64::from(*port);
                service.priority = stored(*priority);
                service.weight = i64::from((*weight).max(1));
                service.targetstrip = labels + 1;
                format!("{key}/SRV-{}", hash(&record.data))
            }
            RData::Cname(target) | RData::Ptr(target) => {
                service.host = target.to_string();
                service.targetstrip = 0;
                if record.rr_type() == RrType::Ptr && !zone.is_reverse() {
                    // In a forward zone the two would look the same.
                    service.rr_type = RrType::Ptr.to_string();
                }
                if is_short(record) {
                    service.text = POINTER_TEXT.to_owned();
                }
                key
            }
            // Refused at the door; they have no leaf.
            RData::Ns(_) | RData::Soa(_) | RData::Other(..) => key,
        };
        (key, service)
    }

    /// All keys of one name but the alias guards that names below it need: marker, leaves, weights, guard (rows 1 to 12).
    ///
    /// A name that has nothing but a PTR in short form is no descendant.
    pub fn site(&self, zone: &Zone, name: &Name, records: &[Record], has_descendants: bool) -> Keys {
        let mut keys = Keys::new();
        let place = zone.place(name);
        let exists = !records.is_empty() || has_descendants;
        if !exists {
            return keys;
        }
        keys.insert(self.key(name), marker());
        let mut guarded = has_descendants;
        for record in records {
            let (key, service) = self.record(zone, record);
            match &record.data {
                RData::Cname(_) if has_descendants => {
                    let leaf = Service { targetstrip: 1, owner: marked(&record.owner), ..service.clone() };
                    keys.insert(format!("{}/CNAME-{}", self.key(name), hash(&record.data)), leaf.to_json());
                }
                RData::Ptr(_) => guarded |= !is_short(record),
                _ => {}
            }
            keys.insert(key, service.to_json());
        }
        if guarded && matches!(place, Place::Apex | Place::Plain) {
            keys.insert(self.guard_key(name), self.guard(name, 1));
        }
        keys.extend(self.weights(name, records));
        keys
    }

    /// A service that brings the sum of weights to 100 for each priority that an SRV has (row 8), so that CoreDNS, which answers
    /// percentages, answers the weights as they are.
    fn weights(&self, name: &Name, records: &[Record]) -> Keys {
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        for record in records {
            let (priority, weight) = match &record.data {
                RData::A(_) | RData::Aaaa(_) => (DEFAULT_PRIORITY, 100),
                RData::Mx { preference, .. } => (stored(*preference), 100),
                RData::Srv { priority, weight, .. } => (stored(*priority), i64::from((*weight).max(1))),
                _ => continue,
            };
            *sums.entry(priority).or_default() += weight;
        }
        let mut asked: BTreeMap<i64, &Option<String>> = BTreeMap::new();
        for record in records {
            if let RData::Srv { priority, .. } = &record.data {
                asked.entry(stored(*priority)).or_insert(&record.owner);
            }
        }
        sums.into_iter()
            .filter(|(_, sum)| *sum != 100)
            .filter_map(|(priority, sum)| {
                let owner = asked.get(&priority)?;
                let ballast = Service {
                    host: name.to_string(),
                    port: -1,
                    priority,
                    weight: 100 - sum,
                    targetstrip: count(name) + 1,
                    group: name.to_string(),
                    owner: marked(owner),
                    ..Default::default()
                };
                Some((format!("{}/W-{priority:05}", self.key(name)), ballast.to_json()))
            })
            .collect()
    }

    /// The guards that `above` needs for the alias `alias` below it, in a forward zone (row 13).
    pub fn alias_guards(&self, above: &Name, alias: &Name) -> [(String, String); 2] {
        self.guards_for(above, &digest(alias.to_string().as_bytes()))
    }

    /// The guards that `above` needs in a reverse zone when it has descendants (row 13).
    pub fn reverse_guards(&self, above: &Name) -> [(String, String); 2] {
        self.guards_for(above, "G")
    }

    /// The same for an alias that is known by the hash in its key alone.
    pub(crate) fn guards_for(&self, above: &Name, leaf: &str) -> [(String, String); 2] {
        let stop = Service {
            host: above.to_string(),
            port: -1,
            priority: GUARD_PRIORITY,
            targetstrip: count(above) + 1,
            owner: Some(STRUCTURE_OWNER.to_owned()),
            ..Default::default()
        };
        [(format!("{}/!A/{leaf}", self.key(above)), self.guard(above, 2)), (self.stop_key(above), stop.to_json())]
    }

    /// The key that stands while there is any alias guard.
    pub(crate) fn stop_key(&self, above: &Name) -> String {
        format!("{}/!B", self.key(above))
    }

    /// What an existing zone has at `apex.dns`, where CoreDNS looks for the addresses of the apex (rows 1 and 4). Its parent `dns`
    /// is a name with descendants like any other.
    pub fn reserved(&self, zone: &Zone) -> Keys {
        let branch = zone.apex_branch();
        let apex_guard = Service { group: zone.apex().to_string(), ..guard(&branch, 1) };
        Keys::from([(self.key(&branch), marker()), (self.guard_key(&branch), apex_guard.to_json())])
    }

    fn guard(&self, name: &Name, extra: i64) -> String {
        guard(name, extra).to_json()
    }

    /// The complete key set of all zones with these records: what the tree should hold, no more and no less.
    ///
    /// A zone without records has no key. A zone inside another counts as names below it.
    pub fn encode(&self, zones: &[Zone], records: &[Record]) -> Keys {
        let zones = Zones::Configured(zones.to_vec());
        let zone_of = |name: &Name| match zones.of(name) {
            crate::zone::Lookup::In(zone) => Some(zone),
            _ => None,
        };
        let mut sites: BTreeMap<Name, Vec<Record>> = BTreeMap::new();
        let mut alive: BTreeSet<Zone> = BTreeSet::new();
        for record in records {
            if let Some(zone) = zone_of(&record.name) {
                sites.entry(record.name.clone()).or_default().push(record.clone());
                alive.insert(zone);
            }
        }
        let mut with_descendants: BTreeSet<Name> = BTreeSet::new();
        let mut guards: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        for (owner, here) in &sites {
            let is_alias = here.iter().any(is_alias);
            let mut above = if here.iter().all(is_short) {
                // For a zone around, the whole zone counts.
                zone_of(owner).and_then(|zone| zone.apex().parent())
            } else {
                owner.parent()
            };
            while let Some(name) = above.filter(|name| zone_of(name).is_some()) {
                with_descendants.insert(name.clone());
                if is_alias {
                    guards.entry(name.clone()).or_default().insert(owner.clone());
                }
                above = name.parent();
            }
        }
        let mut keys = Keys::new();
        for zone in &alive {
            with_descendants.insert(zone.apex().clone());
            with_descendants.insert(zone.dns());
            keys.extend(self.reserved(zone));
        }
        let names: BTreeSet<&Name> = sites.keys().chain(&with_descendants).collect();
        for name in names {
            let Some(zone) = zone_of(name).filter(|zone| alive.contains(zone)) else { continue };
            let here = sites.get(name).map(Vec::as_slice).unwrap_or_default();
            let descended = with_descendants.contains(name);
            keys.extend(self.site(&zone, name, here, descended));
            if !matches!(zone.place(name), Place::Apex | Place::Plain) {
                continue;
            }
            if zone.is_reverse() {
                if descended {
                    keys.extend(self.reverse_guards(name));
                }
            } else {
                for alias in guards.get(name).into_iter().flatten() {
                    keys.extend(self.alias_guards(name, alias));
                }
            }
        }
        keys
    }
}

/// Tells whether a record stands at the plain key of its name.
pub fn is_alias(record: &Record) -> bool {
    matches!(record.rr_type(), RrType::Cname | RrType::Ptr)
}

/// Tells whether a record is kept in short form: the names above it need no markers and guards on its account.
///
/// With them, the first PTR of a /32 takes 98 keys; without, 11. What it costs: the names between it and its zone answer NXDOMAIN
/// where NODATA would be right, to PTR and CNAME questions alone, and a TXT question there finds the text that stands beside the host.
pub fn is_short(record: &Record) -> bool {
    record.rr_type() == RrType::Ptr && record.name.is_ip6()
}

/// The marker of a name that exists.
pub(crate) fn marker() -> String {
    Service { owner: Some(STRUCTURE_OWNER.to_owned()), ..Default::default() }.to_json()
}

/// A host equal to the own name is passed over as a loop, its port hides it from SRV: nothing but its group is seen.
fn guard(name: &Name, extra: i64) -> Service {
    Service {
        host: name.to_string(),
        port: -1,
        priority: GUARD_PRIORITY,
        targetstrip: count(name) + extra,
        group: name.to_string(),
        owner: Some(STRUCTURE_OWNER.to_owned()),
        ..Default::default()
    }
}

/// The owner of what a record needs beside it: the record's own, and of a released one nobody in particular.
fn marked(owner: &Option<String>) -> Option<String> {
    owner.clone().or_else(|| Some(STRUCTURE_OWNER.to_owned()))
}

fn count(name: &Name) -> i64 {
    i64::try_from(name.label_count()).unwrap_or(i64::MAX)
}

/// The target behind labels that `targetstrip` takes off again: the stored form is nobody's name, so that address questions at
/// the owner do not follow it. The root stands alone, because stripping would overshoot.
fn padded(target: &Name, labels: i64) -> String {
    if target.is_root() {
        return ".".to_owned();
    }
    let times = usize::try_from(labels).unwrap_or_default() + 1;
    format!("{}{target}", PADDING.repeat(times))
}

/// The target in a padded host.
pub(crate) fn unpadded(host: &str, labels: usize) -> Option<&str> {
    if host == "." { Some(host) } else { host.strip_prefix(&PADDING.repeat(labels + 1)) }
}

/// The length of a target with its padding, as text.
pub(crate) fn padded_length(target: &Name, owner: &Name) -> usize {
    padded(target, count(owner)).len()
}

fn stored(number: u16) -> i64 {
    if number == 0 { STORED_ZERO } else { i64::from(number) }
}

/// The canonical form is frozen: type, space, data in presentation form; of a TXT its octets.
fn hash(data: &RData) -> String {
    let mut canonical = format!("{} ", data.rr_type()).into_bytes();
    match data {
        RData::Txt(octets) => canonical.extend(octets),
        other => canonical.extend(other.to_string().bytes()),
    }
    digest(&canonical)
}

/// The first 64 bits of SHA-256, upper case.
pub(crate) fn digest(octets: &[u8]) -> String {
    let digest = Sha256::digest(octets);
    data_encoding::HEXUPPER.encode(digest.get(..8).unwrap_or_default())
}

#[cfg(test)]
#[path = "layout/tests.rs"]
mod tests;
