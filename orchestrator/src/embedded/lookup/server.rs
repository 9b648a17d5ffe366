//! One question on its way through the stored keys: what is at its name, and where that leads.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::service::{low_half, weight};
use super::{
    A, AAAA, CNAME, Data, Kind, Lookup, MX, NS, PTR, Rcode, Record, Reply, SOA, SRV, Service, Stored, TXT, Tree,
    Unavailable,
};
use super::{is_wildcard, json, name, service};

/// TTL and minimum of every SOA.
const SOA_TTL: u32 = 30;
/// More aliases than this are not followed.
const MAX_ALIASES: usize = 10;
/// How often an answer may send the question to another zone of this server.
pub(super) const MAX_DETOURS: usize = 8;
/// After so many keys nothing more is read for a question.
pub(super) const MAX_KEYS: usize = 10_000;

/// Why there are no services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NoKey,
    /// The store is away, or holds something that cannot be read.
    Broken,
}

impl From<Unavailable> for Fault {
    fn from(_: Unavailable) -> Self {
        Self::Broken
    }
}

impl From<json::Unreadable> for Fault {
    fn from(_: json::Unreadable) -> Self {
        Self::Broken
    }
}

/// What one question has in hand, its detours to other zones included.
pub(super) struct Server<'a> {
    pub(super) lookup: &'a Lookup,
    pub(super) tree: &'a dyn Tree,
    pub(super) size: usize,
    pub(super) has_opt: bool,
    pub(super) detours: usize,
    pub(super) patience: &'a Patience,
}

/// How much was read for one question. Aliases fan out at every step, and so without it the work grows exponentially.
#[derive(Default)]
pub(super) struct Patience {
    keys: Cell<usize>,
    is_lost: Cell<bool>,
}

impl Patience {
    /// To be asked before something is read: names with more keys than that are read once, too.
    fn check(&self) -> Result<(), Fault> {
        if self.keys.get() < MAX_KEYS {
            return Ok(());
        }
        self.is_lost.set(true);
        Err(Fault::Broken)
    }

    /// Notes that so many were found, and that was work, too, if there were none.
    fn read(&self, keys: usize) {
        self.keys.set(self.keys.get().saturating_add(keys.max(1)));
    }
}

/// A name and type that are asked for in a zone.
struct Asked<'a> {
    zone: &'a [u8],
    /// As it was asked, letter case included.
    name: Vec<u8>,
    rr_type: u16,
}

/// Records for the answer, and for the additional section.
#[derive(Default)]
struct Records {
    answers: Vec<Record>,
    additional: Vec<Record>,
    truncated: bool,
}

impl From<Vec<Record>> for Records {
    fn from(answers: Vec<Record>) -> Self {
        Self { answers, ..Self::default() }
    }
}

impl<'a> Asked<'a> {
    /// The question for another name of the same zone.
    fn instead(&self, name: &[u8], rr_type: u16) -> Self {
        Self { zone: self.zone, name: name::normal(&name::fqdn(name)), rr_type }
    }

    fn lower(&self) -> Vec<u8> {
        self.name.to_ascii_lowercase()
    }

    fn is_apex(&self) -> bool {
        self.lower() == self.zone
    }
}

impl Server<'_> {
    pub(super) fn answer(&self, name: &[u8], rr_type: u16) -> Reply {
        let name = name::normal(name);
        let mut reply = match self.lookup.zone_of(&name.to_ascii_lowercase()) {
            Some(zone) => self.answer_in(&Asked { zone, name: name.clone(), rr_type }),
            None => {
                let answers = self.lookup.outside(&name, rr_type);
                let rcode = if answers.is_empty() { Rcode::Refused } else { Rcode::NoError };
                Reply { rcode, answers, ..Reply::default() }
            }
        };
        reply.fit(&name, self.size, self.has_opt);
        reply
    }

    fn answer_in(&self, asked: &Asked<'_>) -> Reply {
        let mut records = match asked.rr_type {
            A | AAAA | TXT => self.followed(asked, &[]),
            CNAME => self.cname(asked).map(Records::from),
            PTR => self.ptr(asked).map(Records::from),
            MX => self.mx(asked),
            SRV => self.srv(asked),
            SOA => Ok(Records::from(vec![soa(asked.zone)])),
            NS if asked.is_apex() => self.ns(asked),
            // Only to tell whether there is something at this name.
            _ => self.services_at(asked).map(|_| Records::default()),
        };
        // Else some part of the answer would be missing.
        if self.patience.is_lost.get() {
            records = Err(Fault::Broken);
        }
        let negative =
            |rcode| Reply { rcode, authoritative: true, authority: vec![soa(asked.zone)], ..Reply::default() };
        match records {
            Ok(records) if records.answers.is_empty() => negative(Rcode::NoError),
            Ok(Records { answers, additional, truncated }) => {
                Reply { authoritative: true, truncated, answers, additional, ..Reply::default() }
            }
            Err(Fault::NoKey) => negative(Rcode::NxDomain),
            Err(Fault::Broken) => negative(Rcode::ServFail),
        }
    }

    /// What is stored at a name; at the apex, what is stored for it in a place of its own, if there is something.
    fn services_at(&self, asked: &Asked<'_>) -> Result<Vec<Service>, Fault> {
        if asked.is_apex() {
            match self.services(&name::join(&[b"apex.dns", asked.zone]), asked.rr_type, false) {
                Err(Fault::NoKey) => {}
                found => return found,
            }
        }
        self.services(&asked.name, asked.rr_type, false)
    }

    /// The services at a name: `exact` ones, or those below it, or if there are none those at it.
    fn services(&self, name: &[u8], rr_type: u16, exact: bool) -> Result<Vec<Service>, Fault> {
        let name = name::normal(name).to_ascii_lowercase();
        let (key, wildcard) = self.lookup.keys(&name);
        let start = wildcard.as_deref().unwrap_or(&key);
        self.patience.check()?;
        let mut found = Vec::new();
        if !exact {
            let prefix = if start.ends_with(b"/") { start.to_vec() } else { [start, b"/"].concat() };
            found = self.tree.below(&prefix)?;
        }
        self.patience.read(found.len());
        if found.is_empty() {
            let value = self.tree.at(start)?.ok_or(Fault::NoKey)?;
            found.push(Stored { key: start.to_vec(), value });
        }
        let mut services = Vec::new();
        for stored in found {
            if wildcard.is_some() && !fits(&stored.key, &key) {
                continue;
            }
            let service = json::read(&stored.value)?.with_defaults(stored.key);
            if !service.host.is_empty() || (rr_type == TXT && !service.text.is_empty()) {
                services.push(service);
            }
        }
        Ok(service::grouped(services))
    }

    /// Addresses or texts, at the end of aliases. `before` are the aliases that led here.
    fn followed(&self, asked: &Asked<'_>, before: &[Record]) -> Result<Records, Fault> {
        let is_text = asked.rr_type == TXT;
        let services = if is_text { self.services(&asked.name, TXT, false) } else { self.services_at(asked) }?;
        let mut seen = HashSet::new();
        let mut records = Records::default();
        for service in services {
            match (service.kind(), asked.rr_type) {
                (Kind::Name, _) => self.follow(asked, &service, before, &mut records),
                (Kind::Address(address @ IpAddr::V4(_)), A) | (Kind::Address(address @ IpAddr::V6(_)), AAAA) => {
                    if seen.insert(service.host.clone()) {
                        records.answers.push(service.address_record(&asked.name, address));
                    }
                }
                (Kind::Text, TXT) => {
                    if seen.insert(service.text.clone()) {
                        records.answers.push(service.text_record(&asked.name));
                    }
                }
                (Kind::Address(_) | Kind::Text, _) => {}
            }
        }
        Ok(records)
    }

    fn follow(&self, asked: &Asked<'_>, service: &Service, before: &[Record], records: &mut Records) {
        let alias = service.alias(&asked.name);
        let target = name::fqdn(&service.host);
        // What is below the name is found with it: an alias to there is a loop, too.
        if name::is_within(&asked.lower(), &target)
            || before.len() > MAX_ALIASES
            || before.iter().any(|earlier| earlier.data == alias.data)
        {
            return;
        }
        if name::is_within(asked.zone, &target) {
            let before = [before, std::slice::from_ref(&alias)].concat();
            let next = asked.instead(&service.host, asked.rr_type);
            if let Ok(next) = self.followed(&next, &before) {
                records.truncated |= next.truncated;
                if !next.answers.is_empty() {
                    records.answers.push(alias);
                    records.answers.extend(next.answers);
                }
            }
        } else if let Some(reply) = self.elsewhere(&target, asked.rr_type) {
            records.truncated |= reply.truncated && asked.rr_type != TXT;
            records.answers.push(alias);
            records.answers.extend(reply.answers);
        }
    }

    /// The whole server's answer for a name in another zone.
    fn elsewhere(&self, name: &[u8], rr_type: u16) -> Option<Reply> {
        let Self { lookup, tree, size, has_opt, detours, patience } = *self;
        if detours >= MAX_DETOURS {
            return None;
        }
        Some(Server { lookup, tree, size, has_opt, detours: detours + 1, patience }.answer(name, rr_type))
    }

    fn cname(&self, asked: &Asked<'_>) -> Result<Vec<Record>, Fault> {
        let services = self.services(&asked.name, asked.rr_type, true)?;
        let first = services.first().filter(|service| service.address().is_none());
        Ok(first.map(|service| service.alias(&asked.name)).into_iter().collect())
    }

    fn ptr(&self, asked: &Asked<'_>) -> Result<Vec<Record>, Fault> {
        let services = self.services(&asked.name, asked.rr_type, true)?;
        let mut seen = HashSet::new();
        let names = services.iter().filter(|service| service.address().is_none());
        let record = |service: &Service| service.record(&asked.name, Data::Ptr(name::fqdn(&service.host)));
        Ok(names.filter(|service| seen.insert(service.host.clone())).map(record).collect())
    }

    fn srv(&self, asked: &Asked<'_>) -> Result<Records, Fault> {
        let services = self.services(&asked.name, asked.rr_type, false)?;
        let mut sums = BTreeMap::<i64, i64>::new();
        for service in &services {
            let own = if service.weight == 0 { 100 } else { service.weight };
            let sum = sums.entry(service.priority).or_default();
            *sum = sum.wrapping_add(own);
        }
        let mut targets = Targets::default();
        for service in services.iter().filter(|service| service.port != -1) {
            let sum = sums.get(&service.priority).copied().unwrap_or_default();
            let record = |target: &[u8]| Data::Srv {
                priority: low_half(service.priority),
                weight: weight(service.weight, sum),
                port: low_half(service.port),
                target: target.to_vec(),
            };
            match service.kind() {
                Kind::Name => {
                    let target = service.target(&service.host);
                    targets.records.answers.push(service.record(&asked.name, record(&target)));
                    self.add_addresses(asked, target, &mut targets);
                }
                Kind::Address(address) => {
                    let target = service.target(&service.name());
                    let port = low_half(service.port);
                    targets.add(&target, port, || service.record(&asked.name, record(&target)));
                    targets.add_address(&target, service, address, &target);
                }
                Kind::Text => {}
            }
        }
        Ok(targets.records)
    }

    fn mx(&self, asked: &Asked<'_>) -> Result<Records, Fault> {
        let services = self.services(&asked.name, asked.rr_type, false)?;
        let mut targets = Targets::default();
        for service in services.iter().filter(|service| service.mail) {
            let preference = low_half(service.priority);
            let record = |exchange: &[u8]| Data::Mx { preference, exchange: exchange.to_vec() };
            match service.kind() {
                Kind::Name => {
                    let target = service.target(&service.host);
                    targets.records.answers.push(service.record(&asked.name, record(&target)));
                    self.add_addresses(asked, target, &mut targets);
                }
                Kind::Address(address) => {
                    let name = service.name();
                    let target = service.target(&name);
                    targets.add(&target, preference, || service.record(&asked.name, record(&target)));
                    // The address is that of the whole name, whatever was stripped from the target.
                    targets.add_address(&name, service, address, &name);
                }
                Kind::Text => {}
            }
        }
        Ok(targets.records)
    }

    /// The addresses of a target that is a name: in this zone only IPv4.
    fn add_addresses(&self, asked: &Asked<'_>, target: Vec<u8>, targets: &mut Targets) {
        let additional = &mut targets.records.additional;
        if !targets.looked_up.insert(target.clone()) {
            return;
        }
        if name::is_within(asked.zone, &target) {
            if let Ok(found) = self.followed(&asked.instead(&target, A), &[]) {
                additional.extend(found.answers);
            }
            return;
        }
        if let Some(reply) = self.elsewhere(&target, A) {
            additional.extend(reply.answers);
        }
        if let Some(reply) = self.elsewhere(&target, AAAA) {
            // Aliases came with the others.
            additional.extend(reply.answers.into_iter().filter(|record| !matches!(record.data, Data::Cname(_))));
        }
    }

    fn ns(&self, asked: &Asked<'_>) -> Result<Records, Fault> {
        let services = self.services(&name::join(&[b"ns.dns.", asked.zone]), asked.rr_type, false)?;
        let mut records = Records::default();
        let mut seen = HashSet::new();
        for service in services {
            match service.kind() {
                Kind::Name => return Err(Fault::Broken),
                Kind::Address(address) => {
                    let target = service.target(&service.name());
                    records.additional.push(service.address_record(&target, address));
                    if seen.insert(target.clone()) {
                        records.answers.push(service.record(&asked.name, Data::Ns(target)));
                    }
                }
                Kind::Text => {}
            }
        }
        Ok(records)
    }
}

/// Records that point at targets, with the addresses of these.
#[derive(Default)]
struct Targets {
    records: Records,
    looked_up: HashSet<Vec<u8>>,
    /// A target with a port or a preference, or with an address.
    seen: HashSet<(Vec<u8>, u16, Vec<u8>)>,
}

impl Targets {
    fn add(&mut self, target: &[u8], number: u16, record: impl FnOnce() -> Record) {
        if self.seen.insert((target.to_vec(), number, Vec::new())) {
            self.records.answers.push(record());
        }
    }

    fn add_address(&mut self, target: &[u8], service: &Service, address: IpAddr, owner: &[u8]) {
        if self.seen.insert((target.to_vec(), 0, service.host.clone())) {
            self.records.additional.push(service.address_record(owner, address));
        }
    }
}

/// Whether a key that was found fits the key of a name with wildcards.
fn fits(key: &[u8], pattern: &[u8]) -> bool {
    let mut parts = key.split(|octet| *octet == b'/');
    let mut wanted = pattern.split(|octet| *octet == b'/');
    wanted.all(|wanted| parts.next().is_some_and(|part| is_wildcard(wanted) || part == wanted))
}

/// Serial and timers are the sender's.
fn soa(zone: &[u8]) -> Record {
    let (mname, rname) = (name::join(&[b"ns.dns", zone]), name::join(&[b"hostmaster", zone]));
    Record { owner: zone.to_vec(), ttl: SOA_TTL, data: Data::Soa { mname, rname, minimum: SOA_TTL } }
}
