//! Answers to DNS questions from stored keys, exactly as CoreDNS 1.15's etcd plugin gives them. Pure.
//!
//! Nothing here is improved: what resolves on the embedded default must resolve in production, and what does not must not.
//! [`name`] has the rules for names, [`json`] and [`service`] those for stored values, [`reply`] those for what fits into an
//! answer. There are two differences: aliases which lead from zone to zone in a circle, on which CoreDNS runs out of
//! memory, end after some rounds; and a question that leads through aliases and targets to more than some 10 000 keys, for
//! which CoreDNS may search for hours, is answered with SERVFAIL.

pub mod json;
pub mod name;
pub mod reply;
mod server;
pub mod service;

use std::collections::BTreeMap;

pub use reply::{Data, Rcode, Record, Reply};
pub use service::{Kind, Service};

use server::{Patience, Server};

/// RR types with rules of their own (RFC 1035, 2782, 3596).
const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// Stored keys and values.
pub trait Tree {
    /// Everything whose key begins with `prefix`, in the order of the keys.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn below(&self, prefix: &[u8]) -> Result<Vec<Stored>, Unavailable>;

    /// The value of one key.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn at(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Unavailable>;
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// A store that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

impl Tree for BTreeMap<Vec<u8>, Vec<u8>> {
    fn below(&self, prefix: &[u8]) -> Result<Vec<Stored>, Unavailable> {
        let from = self.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(from.map(|(key, value)| Stored { key: key.clone(), value: value.clone() }).collect())
    }

    fn at(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.get(key).cloned())
    }
}

/// What a server knows beside the tree.
#[derive(Clone, Debug)]
pub struct Lookup {
    path: Vec<u8>,
    /// Lower case, with final dots.
    zones: Vec<Vec<u8>>,
    world: Vec<Record>,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name in presentation form, with its final dot.
    pub name: Vec<u8>,
    /// The type by number.
    pub rr_type: u16,
    /// How many octets the answer may have.
    pub size: usize,
    /// Whether the answer bears an OPT record.
    pub has_opt: bool,
}

impl Lookup {
    /// Of these zones, with keys below `path`.
    pub fn new<Z: AsRef<str>>(path: &str, zones: impl IntoIterator<Item = Z>) -> Self {
        let zone = |zone: Z| name::fqdn(zone.as_ref().to_ascii_lowercase().as_bytes());
        Self { path: path.as_bytes().to_vec(), zones: zones.into_iter().map(zone).collect(), world: Vec::new() }
    }

    /// With records outside its zones, as another plugin of the same server would have them. For tests: a server of ours has
    /// none, and refuses other names.
    #[must_use]
    pub fn with_world(self, world: Vec<Record>) -> Self {
        Self { world, ..self }
    }

    /// The answer to a question.
    pub fn answer(&self, tree: &dyn Tree, question: &Question) -> Reply {
        let patience = Patience::default();
        let Question { size, has_opt, .. } = *question;
        let server = Server { lookup: self, tree, size, has_opt, detours: 0, patience: &patience };
        server.answer(&question.name, question.rr_type)
    }

    /// The longest zone that the name is in.
    fn zone_of(&self, name: &[u8]) -> Option<&[u8]> {
        let zones = self.zones.iter().map(Vec::as_slice).filter(|zone| name::is_within(zone, name));
        zones.max_by_key(|zone| zone.len())
    }

    /// What the world outside has.
    fn outside(&self, name: &[u8], rr_type: u16) -> Vec<Record> {
        let is_asked = |record: &&Record| record.owner.eq_ignore_ascii_case(name) && type_of(&record.data) == rr_type;
        self.world.iter().filter(is_asked).cloned().collect()
    }

    /// The key of a name, and the key to search below if a label is a wildcard.
    fn keys(&self, name: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let labels: Vec<&[u8]> = name::labels(name).into_iter().rev().collect();
        let wildcard = labels.iter().position(|label| is_wildcard(label));
        let key = |labels: &[&[u8]]| {
            let whole = [&[self.path.as_slice()], labels].concat().join(&b'/');
            // As Go's `path.Join` cleans it: labels have no dots of their own, so only slashes are doubled.
            let parts = whole.split(|octet| *octet == b'/').filter(|part| !part.is_empty());
            parts.fold(Vec::new(), |mut key, part| {
                key.push(b'/');
                key.extend_from_slice(part);
                key
            })
        };
        (key(&labels), wildcard.and_then(|place| labels.get(..place)).map(key))
    }
}

fn is_wildcard(label: &[u8]) -> bool {
    label == b"*" || label == b"any"
}

fn type_of(data: &Data) -> u16 {
    match data {
        Data::A(_) => A,
        Data::Aaaa(_) => AAAA,
        Data::Cname(_) => CNAME,
        Data::Ns(_) => NS,
        Data::Ptr(_) => PTR,
        Data::Mx { .. } => MX,
        Data::Srv { .. } => SRV,
        Data::Soa { .. } => SOA,
        Data::Txt(_) => TXT,
    }
}

#[cfg(test)]
mod tests;
