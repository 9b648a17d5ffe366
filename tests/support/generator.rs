//! Nasty zones and sequences of changes, from a seed.
//!
//! Few labels, so that names meet: parents and children, empty names between
//! them, names that begin alike, labels that sort on both sides of whatever
//! is stored beside them; apexes, names that CoreDNS gives a meaning, zones
//! inside zones, reverse zones, aliases to everywhere.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    model::{Deed, Kind, Model, Step, Value, is_reverse},
    oracle::{Question, TYPES},
};

/// The zones, some inside others. PTR of IPv6 addresses are kept in a short form with limits of its own: the tests `ipv6` ask for them.
pub const ZONES: &[&str] = &[
    "ex.test",
    "in.b.ex.test",
    "0.in.b.ex.test",
    "other.test",
    "0.10.in-addr.arpa",
    "0.0.10.in-addr.arpa",
    "home.arpa",
];

/// The world around them.
pub const WORLD: &[&str] = &["ext.world. 60 A 203.0.113.9", "ext.world. 60 AAAA 2001:db8:ffff::9"];

/// Zones that one case is about.
const FAMILIES: &[&[&str]] = &[
    &["ex.test"],
    &["ex.test", "other.test"],
    &["ex.test", "in.b.ex.test", "0.in.b.ex.test"],
    &["0.10.in-addr.arpa", "0.0.10.in-addr.arpa", "ex.test"],
    &["home.arpa"],
    ZONES,
];

/// Before and behind `@`, `A`, `_` and `~`; beginnings of one another; words that mean something to somebody.
const LABELS: &[&str] = &[
    "0",
    "00",
    "1",
    "10",
    "2",
    "20",
    "-",
    "--",
    "-a",
    "_",
    "__",
    "_tcp",
    "a",
    "a-",
    "a0",
    "aa",
    "aaaa",
    "b",
    "b_",
    "dns",
    "ns",
    "apex",
    "in",
    "h",
    "h2",
    "z",
    "zz",
    "zzz",
    "xn--e1afmkfd",
    "mx",
    "txt",
    "srv",
    "w",
    "guard",
    "cname",
    "ptr",
    "a-0a000001",
    "hostmaster",
    "skydns",
];

/// A sequence of calls of one to three changes each, and questions about what they leave.
#[derive(Debug)]
pub struct Generator {
    random: StdRng,
    zones: &'static [&'static str],
    labels: Vec<String>,
    names: Vec<String>,
}

impl Generator {
    /// The same seed gives the same changes and questions.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let zones = *pick(&mut random, FAMILIES);
        let mut labels: Vec<String> =
            (0..random.random_range(2..=5)).map(|_| (*pick(&mut random, LABELS)).to_owned()).collect();
        if random.random_bool(0.05) {
            labels.push("l".repeat(63));
        }
        let mut generator = Self { random, zones, labels, names: Vec::new() };
        for _ in 0..generator.random.random_range(4..=14) {
            let name = generator.new_name();
            generator.names.push(name);
        }
        generator
    }

    /// The changes of one call.
    pub fn call(&mut self) -> Vec<Step> {
        (0..self.random.random_range(1..=3)).map(|_| self.step()).collect()
    }

    /// Questions, most of them about names that these changes touch, or that stand around them.
    pub fn questions(&mut self, model: &Model, call: &[Step], count: usize) -> Vec<Question> {
        let owners: Vec<&String> = model.owners().collect();
        let mut questions = Vec::new();
        while questions.len() < count {
            let name = match self.random.random_range(0..10) {
                0..=3 => pick(&mut self.random, call).name.clone(),
                4..=6 if !owners.is_empty() => (*pick(&mut self.random, &owners)).clone(),
                7 => self.new_name(),
                _ => pick(&mut self.random, &self.names).clone(),
            };
            let name = match self.random.random_range(0..10) {
                0..=4 => name,
                // A name above, if need be the apex; a name beside, or below.
                5..=7 => self.above(&name),
                8 => {
                    let label = self.label();
                    format!("{label}.{name}")
                }
                _ => format!("nope.{name}"),
            };
            if name.len() <= 200 && model.zone_of(&name).is_some() {
                questions.push((name, *pick(&mut self.random, TYPES)));
            }
        }
        questions
    }

    fn step(&mut self) -> Step {
        let name = pick(&mut self.random, &self.names).clone();
        let ttl = *pick(&mut self.random, &[1, 30, 60, 300, 86_400, 2_147_483_647]);
        let values = self.values(&name);
        let kind = values.first().map(Value::kind);
        let removal = |kind, values| Step { deed: Deed::Remove, name: name.clone(), kind, ttl: 0, values };
        match self.random.random_range(0..20) {
            0..=10 => Step { deed: Deed::Add, name, kind, ttl, values },
            11..=13 => Step { deed: Deed::Replace, name, kind, ttl, values },
            14..=16 => removal(None, Vec::new()),
            17..=18 => removal(kind, Vec::new()),
            _ => removal(kind, values),
        }
    }

    /// One to four values of one type.
    fn values(&mut self, owner: &str) -> Vec<Value> {
        let is_reverse = self.zones.iter().any(|zone| is_reverse(zone) && owner.ends_with(zone));
        let kinds: &[Kind] = if is_reverse {
            &[Kind::Ptr, Kind::Ptr, Kind::Ptr, Kind::Ptr, Kind::Txt, Kind::A, Kind::Mx, Kind::Srv, Kind::Cname]
        } else if owner.contains(".ns.dns.") {
            &[Kind::A, Kind::A, Kind::Aaaa, Kind::Aaaa, Kind::Txt]
        } else {
            &[
                Kind::A,
                Kind::A,
                Kind::Aaaa,
                Kind::Txt,
                Kind::Txt,
                Kind::Mx,
                Kind::Srv,
                Kind::Cname,
                Kind::Cname,
                Kind::Cname,
                Kind::Ptr,
            ]
        };
        let kind = *pick(&mut self.random, kinds);
        let most = if matches!(kind, Kind::Cname | Kind::Ptr) { 1 } else { 4 };
        let mut values: Vec<Value> = (0..self.random.random_range(1..=most)).map(|_| self.value(kind, owner)).collect();
        values.sort();
        values.dedup();
        values
    }

    fn value(&mut self, kind: Kind, owner: &str) -> Value {
        let number = self.random.random_range(1..=5_u8);
        match kind {
            Kind::A => Value::A([10, 0, 0, number].into()),
            Kind::Aaaa => Value::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)].into()),
            Kind::Txt => Value::Txt(self.text()),
            Kind::Cname => Value::Cname(self.target(owner)),
            Kind::Ptr => Value::Ptr(self.target(owner)),
            Kind::Mx => {
                let preference = *pick(&mut self.random, &[0, 1, 10, 10, 65_535]);
                Value::Mx(preference, self.server(owner))
            }
            Kind::Srv => {
                let priority = *pick(&mut self.random, &[0, 1, 10, 10, 65_535]);
                let weight = *pick(&mut self.random, &[1, 5, 50, 100, 300, 65_535]);
                let port = *pick(&mut self.random, &[0, 80, 5060, 65_535]);
                Value::Srv(priority, weight, port, self.server(owner))
            }
        }
    }

    /// Of mail, of a service: now and then there is none.
    fn server(&mut self, owner: &str) -> String {
        if self.random.random_bool(0.05) { String::new() } else { self.target(owner) }
    }

    fn target(&mut self, owner: &str) -> String {
        match self.random.random_range(0..12) {
            0 => "ext.world".to_owned(),
            1 => "gone.world".to_owned(),
            2 => format!("{}.{owner}", self.label()),
            3 => self.new_name(),
            4 => self.above(owner),
            _ => pick(&mut self.random, &self.names).clone(),
        }
    }

    /// Of a length at which strings of 255 octets are awkward, of characters that are.
    fn text(&mut self) -> String {
        if self.random.random_bool(0.5) {
            return format!("text {}", self.random.random_range(1..=3));
        }
        let length =
            *pick(&mut self.random, &[0, 1, 2, 126, 127, 128, 253, 254, 255, 256, 257, 508, 509, 510, 511, 600]);
        let alphabet: Vec<char> =
            (*pick(&mut self.random, &["x", "\\", "x\\", "\"", "é", "ab\\\"é; \u{1}→🦀"])).chars().collect();
        let mut text = String::new();
        while text.len() < length {
            text.push(*pick(&mut self.random, &alphabet));
        }
        text
    }

    fn new_name(&mut self) -> String {
        let zone = *pick(&mut self.random, self.zones);
        let name = match self.random.random_range(0..24) {
            0 => zone.to_owned(),
            1 => format!("dns.{zone}"),
            2 => format!("{}.dns.{zone}", self.label()),
            3 | 4 => format!("ns{}.ns.dns.{zone}", self.random.random_range(1..=2)),
            5 => format!("{}.apex.dns.{zone}", self.label()),
            6..=13 if !self.names.is_empty() => {
                let other = pick(&mut self.random, &self.names).clone();
                format!("{}.{other}", self.label())
            }
            14..=16 if !self.names.is_empty() => {
                let other = pick(&mut self.random, &self.names).clone();
                self.above(&other)
            }
            17 => format!("{}.{}.{}.{zone}", self.label(), self.label(), self.label()),
            18..=20 => format!("{}.{}.{zone}", self.label(), self.label()),
            _ => format!("{}.{zone}", self.label()),
        };
        if name.len() > 150 || name.split('.').count() > 16 { zone.to_owned() } else { name }
    }

    /// The name above, or itself at an apex that no zone is around.
    fn above(&self, name: &str) -> String {
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        let is_ours = self.zones.iter().any(|zone| crate::model::is_within(parent, zone));
        if is_ours { parent.to_owned() } else { name.to_owned() }
    }

    fn label(&mut self) -> String {
        pick(&mut self.random, &self.labels).clone()
    }
}

fn pick<'a, T>(random: &mut StdRng, items: &'a [T]) -> &'a T {
    &items[random.random_range(0..items.len())]
}
