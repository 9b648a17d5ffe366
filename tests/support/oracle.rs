//! What a name server has to answer, from the RFCs; and where stock CoreDNS
//! cannot, what it answers instead.
//!
//! `Oracle::by_rfc` is RFC 1034 4.3.2 over a [`Model`]. No layout of keys
//! makes CoreDNS's etcd plugin answer all of that; the places are few and
//! known, each has a name in [`Limit`], and `Oracle::by_coredns` has what is
//! answered there instead. Everywhere else the two are equal, which
//! [`Oracle::expect`] asserts. Nothing here knows keys, guards or groups.

use std::collections::BTreeSet;

use crate::{
    dns,
    model::{Kind, Model, Value, is_name_server, is_reserved, is_within},
};

/// Aliases in a row before CoreDNS follows no further (`plugin/backend_lookup.go`).
const CHAIN: usize = 10;
/// Stands for a target that only the way of storing it has made.
const MADE_UP: &str = "(made up)";

/// Where CoreDNS's etcd plugin cannot answer as the RFCs ask, whatever is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// An alias into its zone, to a name without the type asked for, is not shown.
    AliasToNothing,
    /// An alias to a name below itself is not followed.
    AliasBelowItself,
    /// An alias asked for another type than A, AAAA and TXT is not followed.
    AliasOfOtherType,
    /// An alias into another zone is NOERROR whether the name is there or not.
    AliasElsewhere,
    /// CNAME and PTR are answered from each other.
    CnameIsPtr,
    /// A mail or service target outside the zone shows up as an alias beside A, AAAA and TXT.
    ForeignTarget,
    /// SOA is answered at any name.
    SoaAnywhere,
    /// NS of a zone without name servers is NXDOMAIN.
    NoNameServers,
    /// The apex of a zone without records is NXDOMAIN.
    EmptyZone,
}

/// A question: a name and a type.
pub type Question = (String, &'static str);

/// The types that are asked for.
pub const TYPES: &[&str] = &["A", "AAAA", "TXT", "MX", "SRV", "CNAME", "PTR", "NS", "SOA", "CAA"];

/// What counts of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `NOERROR` or `NXDOMAIN`.
    pub rcode: String,
    /// `owner ttl type rdata`, as [`Value::rdata`] has it; of NS and SOA without the TTL.
    pub answers: BTreeSet<String>,
    /// The zone whose SOA says how long an empty answer holds (RFC 2308).
    pub soa: Option<String>,
}

/// What is expected, and why it is not what the RFCs say, if so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The answer.
    pub reply: Reply,
    /// Empty where the RFCs say the same.
    pub limits: BTreeSet<Limit>,
}

/// Answers from a model, and a world around it.
#[derive(Debug)]
pub struct Oracle<'a> {
    /// Our zones.
    pub model: &'a Model,
    /// `owner. ttl type rdata` of names outside them.
    pub world: &'a [String],
}

impl Oracle<'_> {
    /// What a question has to be answered with. None: the name has a meaning of CoreDNS's own, or lies in a zone that holds nothing
    /// itself around one that does.
    pub fn expect(&self, name: &str, rr_type: &str) -> Option<Expected> {
        let mut limits = BTreeSet::new();
        let reply = self.by_coredns(name, rr_type, &mut limits)?;
        let by_rfc = self.by_rfc(name, rr_type);
        if reply == by_rfc {
            limits.clear();
        }
        assert!(
            reply == by_rfc || !limits.is_empty(),
            "{name} {rr_type}: a difference without a reason: {by_rfc:?}, {reply:?}"
        );
        Some(Expected { reply, limits })
    }

    /// Every line that may stand in an additional section.
    pub fn facts(&self) -> BTreeSet<String> {
        let own = self.model.sets().flat_map(|(name, set)| set.values.iter().map(|value| line(name, set.ttl, value)));
        own.chain(self.world.iter().cloned()).collect()
    }

    fn by_rfc(&self, name: &str, rr_type: &str) -> Reply {
        let mut answers = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut here = name.to_owned();
        loop {
            let Some(zone) = self.model.zone_of(&here) else {
                answers.extend(self.of_world(&here, rr_type));
                let is_known = self.world.iter().any(|record| record.starts_with(&format!("{here}. ")));
                return reply(if is_known { "NOERROR" } else { "NXDOMAIN" }, answers, None);
            };
            if rr_type == "SOA" && here == zone {
                answers.insert(soa(zone));
            }
            if rr_type == "NS" && here == zone {
                answers.extend(self.name_servers(zone));
            }
            answers.extend(self.own(&here, rr_type));
            match self.model.alias(&here) {
                Some((target, ttl)) if rr_type != "CNAME" && seen.insert(here.clone()) => {
                    answers.insert(format!("{here}. {ttl} CNAME {target}."));
                    here = target.to_owned();
                }
                _ => {
                    let rcode = if here == zone || self.exists(&here, zone) { "NOERROR" } else { "NXDOMAIN" };
                    return reply(rcode, answers, Some(zone));
                }
            }
        }
    }

    fn by_coredns(&self, name: &str, rr_type: &str, limits: &mut BTreeSet<Limit>) -> Option<Reply> {
        let zone = self.model.zone_of(name)?;
        if is_reserved(name, zone) && !is_name_server(name, zone) {
            return None;
        }
        if rr_type == "SOA" {
            limits.insert(Limit::SoaAnywhere);
            return Some(reply("NOERROR", BTreeSet::from([soa(zone)]), None));
        }
        if !self.model.has_records(zone) {
            limits.insert(Limit::EmptyZone);
            return (!self.model.is_any_within(zone)).then(|| reply("NXDOMAIN", BTreeSet::new(), Some(zone)));
        }
        let is_apex_ns = rr_type == "NS" && name == zone;
        if is_apex_ns && self.name_servers(zone).is_empty() {
            limits.insert(Limit::NoNameServers);
            return Some(reply("NXDOMAIN", BTreeSet::new(), Some(zone)));
        }
        let answers = match rr_type {
            _ if is_apex_ns => self.name_servers(zone),
            "A" | "AAAA" | "TXT" => self.chase(zone, name, rr_type, &mut Vec::new(), limits)?,
            "CNAME" | "PTR" => {
                let other = if rr_type == "CNAME" { "PTR" } else { "CNAME" };
                let mut answers = self.own(name, rr_type);
                for answer in self.own(name, other) {
                    limits.insert(Limit::CnameIsPtr);
                    answers.insert(answer.replacen(&format!(" {other} "), &format!(" {rr_type} "), 1));
                }
                answers
            }
            _ => {
                if self.model.alias(name).is_some() {
                    limits.insert(Limit::AliasOfOtherType);
                }
                self.own(name, rr_type)
            }
        };
        let rcode = if self.exists(name, zone) { "NOERROR" } else { "NXDOMAIN" };
        Some(reply(rcode, answers, Some(zone)))
    }

    /// Follows aliases as CoreDNS does, within one zone by itself, and beyond it by a question of its own.
    fn chase(
        &self,
        zone: &str,
        name: &str,
        rr_type: &str,
        targets: &mut Vec<String>,
        limits: &mut BTreeSet<Limit>,
    ) -> Option<BTreeSet<String>> {
        let mut answers = self.own(name, rr_type);
        // The addresses of the apex are kept apart from its mail.
        if (rr_type == "TXT" || name != zone) && self.has_foreign_target(name, zone) {
            limits.insert(Limit::ForeignTarget);
            answers.insert(format!("{name}. CNAME {MADE_UP}"));
        }
        let Some((target, ttl)) = self.model.alias(name) else { return Some(answers) };
        if is_within(target, name) {
            limits.insert(Limit::AliasBelowItself);
            return Some(answers);
        }
        if targets.len() > CHAIN || targets.iter().any(|seen| seen == target) {
            limits.insert(Limit::AliasToNothing);
            return Some(answers);
        }
        if self.model.zone_of(target).is_some_and(|zone| is_reserved(target, zone) && !is_name_server(target, zone)) {
            return None;
        }
        targets.push(target.to_owned());
        let found = if is_within(target, zone) {
            let found = self.chase(zone, target, rr_type, targets, limits)?;
            if found.is_empty() {
                limits.insert(Limit::AliasToNothing);
                return Some(answers);
            }
            found
        } else if self.model.zone_of(target).is_some() {
            limits.insert(Limit::AliasElsewhere);
            self.by_coredns(target, rr_type, limits)?.answers
        } else {
            limits.insert(Limit::AliasElsewhere);
            self.of_world(target, rr_type)
        };
        answers.insert(format!("{name}. {ttl} CNAME {target}."));
        answers.extend(found);
        Some(answers)
    }

    fn own(&self, name: &str, rr_type: &str) -> BTreeSet<String> {
        let sets = self.model.sets().filter(|(owner, set)| {
            *owner == name && set.values.first().is_some_and(|value| value.kind().mnemonic() == rr_type)
        });
        sets.flat_map(|(_, set)| set.values.iter().map(|value| line(name, set.ttl, value))).collect()
    }

    fn name_servers(&self, zone: &str) -> BTreeSet<String> {
        let servers = self.model.owners().filter(|owner| is_name_server(owner, zone));
        servers.map(|server| format!("{zone}. NS {server}.")).collect()
    }

    /// Whether a name exists: it has records, or something below it has (RFC 8020), or it is one that CoreDNS needs.
    fn exists(&self, name: &str, zone: &str) -> bool {
        let alive = self.model.has_records(zone);
        self.model.is_any_within(name) || (alive && (name == zone || name == format!("dns.{zone}")))
    }

    fn has_foreign_target(&self, name: &str, zone: &str) -> bool {
        let mut values = [Kind::Mx, Kind::Srv].into_iter().filter_map(|kind| self.model.set(name, kind));
        values.any(|set| {
            set.values.iter().any(|value| match value {
                Value::Mx(_, target) | Value::Srv(.., target) => !is_within(target, zone),
                _ => false,
            })
        })
    }

    fn of_world(&self, name: &str, rr_type: &str) -> BTreeSet<String> {
        let begin = format!("{name}. ");
        let records = self.world.iter().filter(|record| record.starts_with(&begin));
        records.filter(|record| record.split(' ').nth(2) == Some(rr_type)).cloned().collect()
    }
}

impl Reply {
    /// What counts of an answer that came.
    pub fn of(answer: &dns::Answer) -> Self {
        let answers: BTreeSet<String> = answer.answers.iter().map(|line| plain(line)).collect();
        let soa = answer.authority.iter().find_map(|line| {
            let (owner, rest) = line.split_once(' ')?;
            // CoreDNS's own: 30 seconds for what is not there.
            rest.starts_with("30 SOA ").then(|| owner.trim_end_matches('.').to_lowercase())
        });
        Self { rcode: answer.rcode.clone(), soa: soa.filter(|_| answers.is_empty()), answers }
    }
}

/// A line of an answer as the oracle has it: the owner in lower case, a text's octets joined, without what is not compared.
pub fn plain(line: &str) -> String {
    let fields: Vec<&str> = line.splitn(4, ' ').collect();
    let [owner, ttl, rr_type, rdata] = fields.as_slice() else { panic!("no record: {line}") };
    let owner = owner.to_lowercase();
    match *rr_type {
        "TXT" => format!("{owner} {ttl} TXT {}", data_encoding::HEXLOWER.encode(&joined(rdata))),
        "NS" => format!("{owner} NS {rdata}"),
        "SOA" => format!("{owner} SOA {}", rdata.split(' ').next().unwrap_or_default()),
        "CNAME" if *rdata == "." || rdata.starts_with("!.") => format!("{owner} CNAME {MADE_UP}"),
        _ => format!("{owner} {ttl} {rr_type} {rdata}"),
    }
}

/// The octets of quoted strings, one after the other.
fn joined(rdata: &str) -> Vec<u8> {
    let (mut octets, mut inside, mut rest) = (Vec::new(), false, rdata.bytes());
    while let Some(octet) = rest.next() {
        match octet {
            b'"' => inside = !inside,
            b'\\' => {
                let next = rest.next().expect("something follows a backslash");
                octets.push(if next.is_ascii_digit() {
                    let digits = [Some(next), rest.next(), rest.next()];
                    digits.iter().flatten().fold(0, |sum, digit| sum * 10 + (digit - b'0'))
                } else {
                    next
                });
            }
            octet if inside => octets.push(octet),
            _ => {}
        }
    }
    octets
}

fn line(name: &str, ttl: u32, value: &Value) -> String {
    format!("{name}. {ttl} {} {}", value.kind().mnemonic(), value.rdata())
}

fn soa(zone: &str) -> String {
    format!("{zone}. SOA ns.dns.{zone}.")
}

fn reply(rcode: &str, answers: BTreeSet<String>, zone: Option<&str>) -> Reply {
    let soa = zone.filter(|_| answers.is_empty()).map(str::to_owned);
    Reply { rcode: rcode.to_owned(), answers, soa }
}
