//! Zones and their records as the RFCs see them, and what becomes of a change.
//!
//! It knows nothing of keys and layouts, and shares no code with the
//! component. [`crate::oracle`] answers questions from it,
//! [`crate::generator`] makes changes for it.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use dns_manager_host::contract::{self, Mx, Rdata, Srv, Status};

use crate::change;

/// A type that records can have here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// An alias.
    Cname,
    /// A mail server.
    Mx,
    /// The name of an address.
    Ptr,
    /// A server of a service.
    Srv,
    /// Text.
    Txt,
}

impl Kind {
    /// `AAAA`.
    pub fn mnemonic(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ptr => "PTR",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Cname => 5,
            Self::Ptr => 12,
            Self::Mx => 15,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

/// The data of one record; names have no trailing dot, and the root is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The target of an alias.
    Cname(String),
    /// Preference and exchange.
    Mx(u16, String),
    /// The name of an address.
    Ptr(String),
    /// Priority, weight, port, target.
    Srv(u16, u16, u16, String),
    /// The joined text.
    Txt(String),
}

impl Value {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::A(_) => Kind::A,
            Self::Aaaa(_) => Kind::Aaaa,
            Self::Cname(_) => Kind::Cname,
            Self::Mx(..) => Kind::Mx,
            Self::Ptr(_) => Kind::Ptr,
            Self::Srv(..) => Kind::Srv,
            Self::Txt(_) => Kind::Txt,
        }
    }

    /// As in an answer: `10 mail.example.com.`; of a text its octets in hexadecimal.
    pub fn rdata(&self) -> String {
        match self {
            Self::A(address) => address.to_string(),
            Self::Aaaa(address) => address.to_string(),
            Self::Cname(target) | Self::Ptr(target) => format!("{target}."),
            Self::Mx(preference, exchange) => format!("{preference} {exchange}."),
            Self::Srv(priority, weight, port, target) => format!("{priority} {weight} {port} {target}."),
            Self::Txt(text) => data_encoding::HEXLOWER.encode(text.as_bytes()),
        }
    }

    fn contract(&self) -> Rdata {
        let name = |name: &str| if name.is_empty() { ".".to_owned() } else { name.to_owned() };
        match self {
            Self::A(address) => Rdata::A(address.octets().into()),
            Self::Aaaa(address) => Rdata::Aaaa(address.segments().into()),
            Self::Cname(target) => Rdata::Cname(name(target)),
            Self::Ptr(target) => Rdata::Ptr(name(target)),
            Self::Mx(preference, exchange) => Rdata::Mx(Mx { preference: *preference, exchange: name(exchange) }),
            Self::Srv(priority, weight, port, target) => {
                Rdata::Srv(Srv { priority: *priority, weight: *weight, port: *port, target: name(target) })
            }
            Self::Txt(text) => change::txt(text),
        }
    }
}

/// What a change does at its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// These values are present afterwards.
    Add,
    /// The set becomes exactly these values.
    Replace,
    /// These values are absent afterwards; without values, all of the type; without a type, all.
    Remove,
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub deed: Deed,
    /// Where.
    pub name: String,
    /// The type; none for a removal of all.
    pub kind: Option<Kind>,
    /// The TTL of what is added.
    pub ttl: u32,
    /// The values, all of the type.
    pub values: Vec<Value>,
}

impl Step {
    /// In the contract's words.
    pub fn change(&self) -> contract::Change {
        let data: Vec<Rdata> = self.values.iter().map(Value::contract).collect();
        match self.deed {
            Deed::Add => change::add(&self.name, self.ttl, data),
            Deed::Replace => change::replace(&self.name, self.ttl, data),
            Deed::Remove => change::remove(&self.name, self.kind.map(Kind::number), data),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { deed, name, kind, ttl, values } = self;
        write!(f, "{deed:?} {name} {} {ttl} {values:?}", kind.map_or("any type", Kind::mnemonic))
    }
}

/// All values of one type at one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Of the whole set (RFC 2181 5.2).
    pub ttl: u32,
    /// At least one.
    pub values: Vec<Value>,
}

/// What the outcome of a change has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done, and something differs.
    Changed,
    /// It was so already.
    Unchanged,
    /// A CNAME would stand beside other data, or there would be two.
    Conflict,
    /// It can never be served.
    Refused,
}

impl Fate {
    /// Whether a status says the same.
    pub fn agrees(self, status: Status) -> bool {
        match self {
            Self::Changed => matches!(status, Status::Created | Status::Updated | Status::Deleted),
            Self::Unchanged => status == Status::Unchanged,
            Self::Conflict => status == Status::Conflict,
            Self::Refused => status == Status::Refused,
        }
    }
}

/// Zones and all that they hold.
#[derive(Clone, Debug, Default)]
pub struct Model {
    zones: Vec<String>,
    sets: BTreeMap<String, BTreeMap<Kind, Set>>,
}

impl Model {
    /// Zones that hold nothing.
    pub fn new(zones: &[&str]) -> Self {
        Self { zones: zones.iter().map(|zone| (*zone).to_owned()).collect(), sets: BTreeMap::new() }
    }

    /// The names that have records.
    pub fn owners(&self) -> impl Iterator<Item = &String> {
        self.sets.keys()
    }

    /// Every set.
    pub fn sets(&self) -> impl Iterator<Item = (&String, &Set)> {
        self.sets.iter().flat_map(|(name, sets)| sets.values().map(move |set| (name, set)))
    }

    /// One set.
    pub fn set(&self, name: &str, kind: Kind) -> Option<&Set> {
        self.sets.get(name)?.get(&kind)
    }

    /// The zone of a name: that with the longest apex.
    pub fn zone_of(&self, name: &str) -> Option<&str> {
        let zones = self.zones.iter().filter(|zone| is_within(name, zone));
        zones.max_by_key(|zone| zone.len()).map(String::as_str)
    }

    /// Whether any record stands at a name or below it.
    pub fn is_any_within(&self, name: &str) -> bool {
        self.owners().any(|owner| is_within(owner, name))
    }

    /// Whether a zone has records of its own, those of zones inside it not counted.
    pub fn has_records(&self, zone: &str) -> bool {
        self.owners().any(|owner| self.zone_of(owner) == Some(zone))
    }

    /// The target of an alias.
    pub fn alias(&self, name: &str) -> Option<(&str, u32)> {
        let set = self.set(name, Kind::Cname)?;
        match set.values.first() {
            Some(Value::Cname(target)) => Some((target, set.ttl)),
            _ => None,
        }
    }

    /// Makes a change, if it can be made.
    pub fn make(&mut self, step: &Step) -> Fate {
        let Step { deed, name, kind, ttl, values } = step;
        let zone = self.zone_of(name).expect("the names here are in our zones").to_owned();
        if let Some(fate) = self.obstacle(step, &zone) {
            return fate;
        }
        let before = self.sets.get(name).cloned().unwrap_or_default();
        let mut here = before.clone();
        match (deed, kind) {
            (Deed::Remove, None) => here.clear(),
            (Deed::Remove, Some(kind)) => {
                if let Some(set) = here.get_mut(kind) {
                    set.values.retain(|value| !values.is_empty() && !values.contains(value));
                }
            }
            (Deed::Add | Deed::Replace, Some(kind)) => {
                let set = here.entry(*kind).or_insert_with(|| Set { ttl: *ttl, values: Vec::new() });
                set.ttl = *ttl;
                if *deed == Deed::Replace {
                    set.values.clear();
                }
                set.values.extend(values.iter().cloned());
                set.values.sort();
                set.values.dedup();
            }
            (Deed::Add | Deed::Replace, None) => panic!("what is added has a type: {step:?}"),
        }
        here.retain(|_, set| !set.values.is_empty());
        let fate = if here == before { Fate::Unchanged } else { Fate::Changed };
        if here.is_empty() {
            self.sets.remove(name);
        } else {
            self.sets.insert(name.clone(), here);
        }
        fate
    }

    /// Why a change cannot be made.
    fn obstacle(&self, step: &Step, zone: &str) -> Option<Fate> {
        let Step { deed, name, kind, values, .. } = step;
        let is_address = matches!(kind, None | Some(Kind::A | Kind::Aaaa));
        if is_reserved(name, zone) && !(is_name_server(name, zone) && is_address) {
            return Some(Fate::Refused);
        }
        if *kind == Some(Kind::Cname) && name == zone {
            return Some(Fate::Refused);
        }
        if *deed == Deed::Remove {
            return None;
        }
        if *kind == Some(Kind::Cname) && is_reverse(zone) {
            return Some(Fate::Refused);
        }
        let here = self.sets.get(name);
        let others = here.is_some_and(|sets| sets.keys().any(|other| Some(*other) != *kind));
        let is_alias = self.alias(name).is_some();
        // RFC 1034 3.6.2.
        if (*kind == Some(Kind::Cname) && others) || (*kind != Some(Kind::Cname) && is_alias) {
            return Some(Fate::Conflict);
        }
        let single = matches!(kind, Some(Kind::Cname | Kind::Ptr));
        let stands = kind.and_then(|kind| self.set(name, kind));
        if single && *deed == Deed::Add && stands.is_some_and(|set| set.values != *values) {
            return Some(Fate::Conflict);
        }
        match values.first() {
            Some(Value::Cname(target)) if self.leads_to(target, name) => Some(Fate::Refused),
            _ => None,
        }
    }

    /// Whether aliases lead from one name to another.
    fn leads_to(&self, from: &str, to: &str) -> bool {
        let mut here = from;
        for _ in 0..=self.sets.len() {
            if here == to {
                return true;
            }
            match self.alias(here) {
                Some((target, _)) => here = target,
                None => return false,
            }
        }
        false
    }
}

/// Whether a name is another one or below it.
pub fn is_within(name: &str, other: &str) -> bool {
    name == other || name.strip_suffix(other).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether a name is `<label>.ns.dns.<zone>`: an address there is a name server of the zone.
pub fn is_name_server(name: &str, zone: &str) -> bool {
    let suffix = format!(".ns.dns.{zone}");
    name.strip_suffix(&suffix).is_some_and(|label| !label.contains('.'))
}

/// Whether CoreDNS gives a name a meaning of its own.
pub fn is_reserved(name: &str, zone: &str) -> bool {
    is_within(name, &format!("ns.dns.{zone}")) || is_within(name, &format!("apex.dns.{zone}"))
}

/// Whether a zone's names are addresses.
pub fn is_reverse(zone: &str) -> bool {
    is_within(zone, "in-addr.arpa") || is_within(zone, "ip6.arpa")
}
