//! What a key and its value say: a record of the layout, a part of its structure, or somebody else's.
//!
//! Nothing here fails as a whole. What cannot be read says why; CoreDNS answers SERVFAIL to questions that meet it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    layout::{self, Layout},
    name::Name,
    rdata::{RData, RrType},
    record::Record,
    skydns::{
        service::{STRUCTURE_OWNER, Service},
        text,
    },
    zone::Zone,
};

/// What CoreDNS takes a missing TTL for.
const DEFAULT_TTL: u32 = 300;

/// What a key and its value are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A record in our layout, of whichever owner, or of none: what was released keeps its form.
    Ours(Record),
    /// A marker, a guard, or another part that records need.
    Structure,
    /// Records that another program wrote, or none when the value holds no data.
    Foreign(Vec<Record>),
    /// Neither we nor, mostly, CoreDNS can read it.
    Unreadable(String),
}

impl Layout {
    /// Reads one key and its value.
    pub fn decode(&self, key: &[u8], value: &[u8]) -> Decoded {
        let Ok(key) = std::str::from_utf8(key) else {
            return Decoded::Unreadable("the key is no UTF-8; no question can reach it".to_owned());
        };
        let Some(labels) = self.name(key) else {
            return Decoded::Unreadable(format!("the key is not below {}/", self.prefix()));
        };
        let service = match Service::from_json(value) {
            Ok(service) => service,
            Err(error) => return Decoded::Unreadable(error),
        };
        if service.owner.as_deref() == Some(STRUCTURE_OWNER) {
            return Decoded::Structure;
        }
        match ours(&labels, &service) {
            // What records need bears a mark in our layout; without one it is somebody else's.
            Some(Decoded::Structure) if service.owner.is_none() => {}
            Some(decoded) => return decoded,
            None => {}
        }
        foreign(&labels, &service)
    }

    /// Reads a record in our layout, and that which a damaged value of `owner` was.
    pub(crate) fn recover(&self, zone: &Zone, key: &[u8], value: &[u8], owner: &str) -> Option<Record> {
        match self.decode(key, value) {
            Decoded::Ours(record) => Some(record),
            Decoded::Foreign(_) => match self.salvage(zone, std::str::from_utf8(key).ok()?, value, owner)? {
                Decoded::Ours(record) => Some(record),
                Decoded::Structure | Decoded::Foreign(_) | Decoded::Unreadable(_) => None,
            },
            Decoded::Structure | Decoded::Unreadable(_) => None,
        }
    }

    /// Reads the record, or the part of the structure, that a damaged value of `owner` was, where its key still tells what that is.
    ///
    /// The key gives the name, the type and of an address its octets; what the value alone can say is taken from it.
    pub(crate) fn salvage(&self, zone: &Zone, key: &str, value: &[u8], owner: &str) -> Option<Decoded> {
        let labels = self.name(key)?;
        let mut service = Service::from_json(value).ok().filter(|service| service.owner.as_deref() == Some(owner))?;
        let (leaf, rest) = labels.split_first()?;
        let kind = leaf.split_once('-').filter(|(kind, _)| kind.bytes().any(|b| b.is_ascii_uppercase()));
        let name = match kind {
            Some(_) => Name::from_components(rest.iter().copied()),
            None => Name::from_components(labels.iter().copied()),
        };
        if let Some((kind, digits)) = kind {
            match kind {
                "A" => service.host = Ipv4Addr::from_bits(u32::from_str_radix(digits, 16).ok()?).to_string(),
                "AAAA" => service.host = Ipv6Addr::from_bits(u128::from_str_radix(digits, 16).ok()?).to_string(),
                _ => {}
            }
        } else {
            // External-dns may bear the same mark; its keys have neither.
            let is_ours = service.targetstrip == 0 && (service.port == -1 || service.group == name.to_string());
            service.port = if is_ours { -1 } else { return None };
        }
        service.group = if name == zone.apex_branch() {
            zone.apex().to_string()
        } else if name.is_below(&zone.ns_branch()) {
            zone.ns_branch().to_string()
        } else {
            name.to_string()
        };
        ours(&labels, &service).map(|decoded| match decoded {
            Decoded::Ours(record) if record.ttl == 0 => Decoded::Ours(Record { ttl: DEFAULT_TTL, ..record }),
            other => other,
        })
    }
}

/// Reads a record of our layout; none when it is not in its form.
fn ours(labels: &[&str], service: &Service) -> Option<Decoded> {
    let (&leaf, rest) = labels.split_first()?;
    let at = |name: Name, data: RData| {
        Some(Decoded::Ours(Record {
            name,
            data,
            ttl: service.ttl,
            owner: service.owner.clone(),
            resource: service.resource.clone(),
        }))
    };
    let Some((kind, digits)) = leaf.split_once('-').filter(|(kind, _)| kind.bytes().any(|b| b.is_ascii_uppercase()))
    else {
        // The plain key: CNAME or PTR.
        let name = Name::from_components(labels.iter().copied());
        if service.port != -1 || service.group != name.to_string() || address(&service.host).is_some() {
            return None;
        }
        let target: Name = service.host.parse().ok()?;
        let pointer = service.rr_type == RrType::Ptr.to_string() || is_reverse(&name);
        return at(name, if pointer { RData::Ptr(target) } else { RData::Cname(target) });
    };
    let name = Name::from_components(rest.iter().copied());
    match kind {
        "A" | "AAAA" => {
            let data = address(&service.host)?;
            let same = match &data {
                RData::A(address) => kind == "A" && digits == format!("{:08X}", address.to_bits()),
                RData::Aaaa(address) => kind == "AAAA" && digits == format!("{:032X}", address.to_bits()),
                _ => false,
            };
            let owner = match (rest.first(), rest.get(1)) {
                _ if !same => return None,
                _ if service.group == name.to_string() => name,
                // The addresses of an apex stand at `apex.dns` below it, those of a name server are grouped one label up.
                (Some(&"apex"), Some(&"dns")) if service.group == name.without_first(2).to_string() => {
                    name.without_first(2)
                }
                (_, Some(&"ns")) if service.group == name.without_first(1).to_string() => name,
                _ => return None,
            };
            at(owner, data)
        }
        _ if service.group != name.to_string() => None,
        "~TXT" => at(name, RData::Txt(text::decode(&service.text))),
        "MX" => {
            let exchange = layout::unpadded(&service.host, name.label_count())?.parse().ok()?;
            let preference = restored(service.priority);
            at(name, RData::Mx { preference, exchange })
        }
        "SRV" => {
            let target = layout::unpadded(&service.host, name.label_count())?.parse().ok()?;
            let data = RData::Srv {
                priority: restored(service.priority),
                weight: u16::try_from(service.weight).ok()?,
                port: u16::try_from(service.port).ok()?,
                target,
            };
            at(name, data)
        }
        // The same record as at the plain key, for questions that read below it; what makes weights exact.
        "CNAME" | "W" => Some(Decoded::Structure),
        _ => None,
    }
}

/// Reads what another program wrote, as external-dns reads it: `targetstrip` labels come off the key's name.
fn foreign(labels: &[&str], service: &Service) -> Decoded {
    if service.host.is_empty() && service.text.is_empty() {
        return Decoded::Foreign(Vec::new());
    }
    let Some(labels) = usize::try_from(service.targetstrip).ok().and_then(|strip| labels.get(strip..)) else {
        return Decoded::Unreadable(format!(
            "targetstrip is {} and the key has {} labels; external-dns stops at this",
            service.targetstrip,
            labels.len()
        ));
    };
    if labels.is_empty() {
        // No name is left: how guards are hidden from external-dns.
        return Decoded::Foreign(Vec::new());
    }
    let name: Name = match labels.join(".").parse() {
        Ok(name) => name,
        Err(error) => return Decoded::Unreadable(format!("the key is no name: {error}")),
    };
    let record = |data: RData| Record {
        name: name.clone(),
        data,
        ttl: if service.ttl == 0 { DEFAULT_TTL } else { service.ttl },
        owner: service.owner.clone(),
        resource: None,
    };
    let mut records = Vec::new();
    if !service.host.is_empty() {
        match address(&service.host) {
            Some(data) => records.push(record(data)),
            None => match service.host.parse::<Name>() {
                Ok(target) if is_reverse(&name) => records.push(record(RData::Ptr(target))),
                Ok(target) => records.push(record(RData::Cname(target))),
                Err(error) => return Decoded::Unreadable(format!("host is no address and no name: {error}")),
            },
        }
    }
    if !service.text.is_empty() {
        records.push(record(RData::Txt(text::decode(&service.text))));
    }
    Decoded::Foreign(records)
}

/// What CoreDNS takes for an address (`HostType`, Go's `net.ParseIP`): a v4-mapped one is IPv4.
fn address(host: &str) -> Option<RData> {
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Some(RData::A(address));
    }
    let address: Ipv6Addr = host.parse().ok()?;
    Some(address.to_ipv4_mapped().map_or(RData::Aaaa(address), RData::A))
}

fn is_reverse(name: &Name) -> bool {
    let mut labels = name.labels().rev();
    labels.next() == Some("arpa") && matches!(labels.next(), Some("in-addr" | "ip6"))
}

/// CoreDNS cuts to 16 bits; 65536 is how a 0 is stored.
fn restored(number: i64) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Reads of another project's tests, as data: names, types and targets come out as they do there, and what it stops at is
    /// reported here with the rest still read.
    #[test]
    fn foreign_trees_are_read() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../testdata/read.json")).unwrap();
        let mut compared = 0;
        for case in &cases {
            let id = case["id"].as_str().unwrap();
            let path = case["config"]["coredns_prefix"].as_str().unwrap().trim_matches('/');
            let layout = Layout::new(path);
            let decoded: Vec<Decoded> = case["services"]
                .as_array()
                .unwrap()
                .iter()
                .map(|service| {
                    let value = match &service["json"] {
                        Value::String(raw) => raw.clone(),
                        json => json.to_string(),
                    };
                    layout.decode(service["key"].as_str().unwrap().as_bytes(), value.as_bytes())
                })
                .collect();
            let unreadable = decoded.iter().any(|decoded| matches!(decoded, Decoded::Unreadable(_)));
            let stops = case["expect"]["error"] == true || case["expect"]["panic"] == true;
            if !decoded.is_empty() {
                assert_eq!(unreadable, stops, "{id}: {decoded:?}");
            }
            let mut ours: Vec<(String, String, String)> = decoded
                .into_iter()
                .filter_map(|decoded| match decoded {
                    Decoded::Foreign(records) => Some(records),
                    Decoded::Ours(record) => Some(vec![record]),
                    _ => None,
                })
                .flatten()
                .map(|record| (record.name.to_string(), record.rr_type().to_string(), record.data.to_string()))
                .collect();
            // These give an endpoint that the note calls a bug, or read one owner's values alone, which `list` does by filter.
            let by_filter = case["config"]["strictly_owned"] == true;
            let Some(endpoints) = case["expect"]["endpoints"].as_array().filter(|_| !by_filter && id != "xm-strip-all")
            else {
                continue;
            };
            let mut theirs: Vec<(String, String, String)> = endpoints
                .iter()
                .flat_map(|endpoint| {
                    let text = |key: &str| endpoint[key].as_str().unwrap().to_owned();
                    let targets = endpoint["targets"].as_array().unwrap().iter();
                    targets
                        .map(move |target| (text("dnsName"), text("recordType"), target.as_str().unwrap().to_owned()))
                })
                .collect();
            if id == "xm-aaaa-first" {
                // Its own bug: both values twice, both typed by the first.
                theirs = vec![
                    ("h.ex.test".into(), "A".into(), "10.0.0.1".into()),
                    ("h.ex.test".into(), "AAAA".into(), "2001:db8::1".into()),
                ];
            }
            ours.sort();
            theirs.sort();
            assert_eq!(ours, theirs, "{id}");
            compared += 1;
        }
        assert!(compared >= 14, "{compared}");
    }

    #[test]
    fn what_the_layout_writes_is_read_back() {
        let layout = Layout::new("skydns");
        let name = |text: &str| text.parse::<Name>().unwrap();
        let mx = |exchange| RData::Mx { preference: 0, exchange };
        for (zone, owner, data) in [
            ("ex.test", "ex.test", RData::A(Ipv4Addr::new(10, 0, 0, 1))),
            ("ex.test", "w.ex.test", RData::Aaaa("2001:db8::1".parse().unwrap())),
            ("ex.test", "a.ns.dns.ex.test", RData::A(Ipv4Addr::new(10, 0, 0, 1))),
            ("ex.test", "dns.ex.test", RData::A(Ipv4Addr::new(10, 0, 0, 1))),
            ("ex.test", "apex.ex.test", RData::Cname(name("w.ex.test"))),
            ("ex.test", "_x.ex.test", RData::Ptr(name("w.ex.test"))),
            ("ex.test", "a-b.ex.test", RData::Cname(name("w.ex.test"))),
            ("10.in-addr.arpa", "1.0.0.10.in-addr.arpa", RData::Ptr(name("w.ex.test"))),
            ("ex.test", "w.ex.test", RData::Txt(b"a\\b \"c\"".to_vec())),
            ("ex.test", "ex.test", mx(name("m.ex.test"))),
            ("ex.test", "ex.test", mx(Name::root())),
            (
                "ex.test",
                "_s._tcp.ex.test",
                RData::Srv { priority: 0, weight: 5, port: 5060, target: name("w.ex.test") },
            ),
        ] {
            let record =
                Record { name: name(owner), data, ttl: 60, owner: Some("us".into()), resource: Some("id".into()) };
            let (key, service) = layout.record(&Zone::new(name(zone)).unwrap(), &record);
            assert_eq!(layout.decode(key.as_bytes(), service.to_json().as_bytes()), Decoded::Ours(record), "{key}");
        }
    }

    #[test]
    fn structure_is_no_record() {
        let layout = Layout::new("skydns");
        let zone = Zone::new("ex.test".parse().unwrap()).unwrap();
        for (key, value) in layout.reserved(&zone) {
            assert_eq!(layout.decode(key.as_bytes(), value.as_bytes()), Decoded::Structure, "{key}");
        }
    }
}
