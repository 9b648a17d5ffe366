//! An answer, and how much of it fits.
//!
//! Lengths are those that CoreDNS's DNS library estimates, not those of the octets that are sent: they decide where an
//! answer is cut, and a client must see the same answer from both.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::name;

/// RFC 1035 4.1.1.
const HEADER: usize = 12;
/// Type, class, TTL and length of a record.
const FIXED: usize = 10;
/// An OPT record without options.
const OPT: usize = 11;
/// The type and class of a question.
const QUESTION: usize = 4;
/// What comes later cannot be pointed at (RFC 1035 4.1.4).
const MAX_POINTER: usize = 2 << 13;
/// What fits without EDNS (RFC 1035 4.2.1).
const LEAST: usize = 512;

/// A record, its names in presentation form, which may turn out to be impossible to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub owner: Vec<u8>,
    /// Seconds.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 1035 and 2782 name the fields")]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(Vec<u8>),
    Ns(Vec<u8>),
    Ptr(Vec<u8>),
    Mx {
        preference: u16,
        exchange: Vec<u8>,
    },
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: Vec<u8>,
    },
    Soa {
        mname: Vec<u8>,
        rname: Vec<u8>,
        minimum: u32,
    },
    /// Strings in presentation form.
    Txt(Vec<Vec<u8>>),
}

/// A response code (RFC 1035 4.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "RFC 1035 explains them")]
pub enum Rcode {
    #[default]
    NoError,
    ServFail,
    NxDomain,
    Refused,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The response code.
    pub rcode: Rcode,
    /// The AA bit.
    pub authoritative: bool,
    /// The TC bit.
    pub truncated: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authority: Vec<Record>,
    /// The additional section, without OPT.
    pub additional: Vec<Record>,
}

impl Reply {
    /// Cuts what does not fit, and says so.
    pub(super) fn fit(&mut self, question: &[u8], size: usize, has_opt: bool) {
        let size = size.max(LEAST);
        let opt = if has_opt { OPT } else { 0 };
        let sections = [&self.answers, &self.authority, &self.additional];
        let records = sections.into_iter().flatten();
        let length: usize = records.map(|record| record.length(0, &mut None)).sum();
        if HEADER + name_length(question, 0, &mut None, true) + QUESTION + length + opt <= size {
            return;
        }
        let mut space = Space { size: size - opt, used: HEADER, names: Some(HashSet::new()) };
        space.used += name_length(question, HEADER, &mut space.names, true) + QUESTION;
        for section in [&mut self.answers, &mut self.authority, &mut self.additional] {
            let kept = space.take(section);
            self.truncated |= kept < section.len();
            section.truncate(kept);
        }
    }
}

struct Space {
    size: usize,
    used: usize,
    names: Option<HashSet<Vec<u8>>>,
}

impl Space {
    /// How many records of a section fit; once one does not, nothing does.
    fn take(&mut self, section: &[Record]) -> usize {
        for (index, record) in section.iter().enumerate() {
            if self.used >= self.size {
                return index;
            }
            self.used += record.length(self.used, &mut self.names);
            if self.used > self.size {
                self.used = self.size;
                return index;
            }
        }
        section.len()
    }
}

impl Record {
    /// The length at `offset`, with the names so far, if names are compressed.
    fn length(&self, offset: usize, names: &mut Option<HashSet<Vec<u8>>>) -> usize {
        let head = name_length(&self.owner, offset, names, true) + FIXED;
        let mut of = |name: &[u8], before: usize, shortens: bool| {
            before + name_length(name, offset + head + before, names, shortens)
        };
        head + match &self.data {
            Data::A(_) => 4,
            Data::Aaaa(_) => 16,
            Data::Cname(target) | Data::Ns(target) | Data::Ptr(target) => of(target, 0, true),
            Data::Mx { exchange, .. } => of(exchange, 2, true),
            Data::Srv { target, .. } => of(target, 6, false),
            Data::Soa { mname, rname, .. } => {
                let names = of(mname, 0, true);
                of(rname, names, true) + 20
            }
            Data::Txt(strings) => strings.iter().map(|string| string.len() + 1).sum(),
        }
    }
}

fn name_length(text: &[u8], offset: usize, names: &mut Option<HashSet<Vec<u8>>>, shortens: bool) -> usize {
    if text.is_empty() || text == b"." {
        return 1;
    }
    if let Some(names) = names
        && (shortens || offset < MAX_POINTER)
        && let Some(known) = known_suffix(text, offset, names)
        && shortens
    {
        return name::unescaped_length(text.get(..known).unwrap_or_default()) + 2;
    }
    name::unescaped_length(text) + 1
}

/// Where a suffix begins that was seen before; those in front of it are remembered.
fn known_suffix(text: &[u8], offset: usize, names: &mut HashSet<Vec<u8>>) -> Option<usize> {
    for (start, suffix) in name::suffixes(text) {
        if names.contains(suffix) {
            return Some(start);
        }
        if offset + start < MAX_POINTER {
            names.insert(suffix.to_vec());
        }
    }
    None
}
