//! One stored value as CoreDNS understands it: what it is an answer to, and which of several count.

use std::net::IpAddr;

use super::name;
use super::reply::{Data, Record};

const DEFAULT_TTL: u32 = 300;
const DEFAULT_PRIORITY: i64 = 10;
/// TXT strings are cut after so many octets of stored text.
const CHUNK: usize = 255;

/// A stored value, with its key. Texts are octets: CoreDNS cuts and sends them as such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Where it is stored.
    pub key: Vec<u8>,
    /// An address or a name.
    pub host: Vec<u8>,
    /// For SRV; -1: never an SRV.
    pub port: i64,
    /// For SRV and MX.
    pub priority: i64,
    /// For SRV.
    pub weight: i64,
    /// For TXT.
    pub text: Vec<u8>,
    /// Whether it is an MX, too.
    pub mail: bool,
    /// Seconds.
    pub ttl: u32,
    /// Labels to leave away from a target.
    pub target_strip: i64,
    /// What is answered together.
    pub group: Vec<u8>,
}

/// What the fields say that a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address: A or AAAA.
    Address(IpAddr),
    /// A name: CNAME, or the target of SRV, MX, PTR.
    Name,
    /// Text.
    Text,
}

impl Service {
    /// With what holds where a field is zero.
    pub(super) fn with_defaults(self, key: Vec<u8>) -> Self {
        let ttl = if self.ttl == 0 { DEFAULT_TTL } else { self.ttl };
        let priority = if self.priority == 0 { DEFAULT_PRIORITY } else { self.priority };
        Self { key, ttl, priority, ..self }
    }

    /// What it is. An IPv4 address in IPv6's clothes is an IPv4 address.
    pub fn kind(&self) -> Kind {
        match self.address() {
            Some(address) => Kind::Address(address),
            None if self.text.is_empty() => Kind::Name,
            None => Kind::Text,
        }
    }

    /// The address that `host` is.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let address: IpAddr = std::str::from_utf8(&self.host).ok()?.parse().ok()?;
        Some(address.to_canonical())
    }

    /// The host as a target, without the labels that are to be left away.
    pub(super) fn target(&self, host: &[u8]) -> Vec<u8> {
        let host = name::fqdn(host);
        if self.target_strip > 0 { name::stripped(&host, self.target_strip).to_vec() } else { host }
    }

    /// The name that the key stands for.
    pub(super) fn name(&self) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = self.key.split(|octet| *octet == b'/').collect();
        if parts.last().is_some_and(|part| part.is_empty()) {
            parts.pop();
        }
        // Before the first slash is nothing, and behind it the path that all keys have.
        let parts: Vec<&[u8]> = parts.into_iter().skip(2).rev().collect();
        name::join(&parts)
    }

    pub(super) fn record(&self, owner: &[u8], data: Data) -> Record {
        Record { owner: owner.to_vec(), ttl: self.ttl, data }
    }

    pub(super) fn alias(&self, owner: &[u8]) -> Record {
        self.record(owner, Data::Cname(name::fqdn(&self.host)))
    }

    pub(super) fn text_record(&self, owner: &[u8]) -> Record {
        self.record(owner, Data::Txt(chunks(&self.text)))
    }

    pub(super) fn address_record(&self, owner: &[u8], address: IpAddr) -> Record {
        self.record(
            owner,
            match address {
                IpAddr::V4(address) => Data::A(address),
                IpAddr::V6(address) => Data::Aaaa(address),
            },
        )
    }

    fn level(&self) -> usize {
        self.key.iter().filter(|octet| **octet == b'/').count()
    }
}

/// The services that are answered together: the group of the shortest key, and everything without a group.
///
/// With a quirk that the layout of our keys builds on: a shorter key without a group ends the search for the group, and
/// keys behind it count as being on no level, so that they can no longer disagree with it.
pub fn grouped(services: Vec<Service>) -> Vec<Service> {
    let Some(first) = services.first() else { return services };
    let mut group = first.group.clone();
    let mut level = first.level();
    let mut levels = vec![0; services.len()];
    for (noted, service) in levels.iter_mut().zip(&services) {
        *noted = service.level();
        if *noted < level {
            if service.group.is_empty() {
                break;
            }
            level = *noted;
            group.clone_from(&service.group);
        }
    }
    let disagrees =
        |(service, noted): (&Service, &usize)| !service.group.is_empty() && *noted == level && service.group != group;
    if group.is_empty() || services.iter().zip(&levels).any(disagrees) {
        return services;
    }
    services.into_iter().filter(|service| service.group.is_empty() || service.group == group).collect()
}

/// The strings of a TXT record; a text that fills its last string is followed by an empty one.
pub fn chunks(text: &[u8]) -> Vec<Vec<u8>> {
    if text.len() < CHUNK {
        return vec![text.to_vec()];
    }
    let mut chunks: Vec<Vec<u8>> = text.chunks(CHUNK).map(<[u8]>::to_vec).collect();
    if text.len().is_multiple_of(CHUNK) {
        chunks.push(Vec::new());
    }
    chunks
}

/// The weight that is answered for one of several services of a priority, as Go computes it.
pub(super) fn weight(own: i64, sum: i64) -> u16 {
    #[allow(clippy::cast_precision_loss, reason = "CoreDNS computes with these, too")]
    let (own, sum) = (if own == 0 { 100.0 } else { own as f64 }, sum as f64);
    let share = (100.0 / sum * own).floor();
    // What is no 32-bit number becomes the least one, as amd64 converts it; of that, the low half counts.
    let is_number = share >= f64::from(i32::MIN) && share <= f64::from(i32::MAX);
    #[allow(clippy::cast_possible_truncation, reason = "it was looked at")]
    let whole = if is_number { share as i32 } else { i32::MIN };
    low_half(i64::from(whole)).max(1)
}

/// A number of JSON in a field of 16 bits.
pub(super) fn low_half(number: i64) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_go_takes_for_one() {
        for (host, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("::1.2.3.4", Some("::102:304")),
            ("::", Some("::")),
            ("010.0.0.1", None),
            ("1.2.3", None),
            ("1.2.3.4:80", None),
            ("[::1]", None),
            ("fe80::1%eth0", None),
            (" 10.0.0.1", None),
            ("1:2:3:4:5:6:7::8", None),
            ("", None),
        ] {
            let service = Service { host: host.into(), ..Service::default() };
            assert_eq!(service.address(), expected.map(|address| address.parse().unwrap()), "{host}");
        }
    }

    #[test]
    fn weights_are_shares_of_a_hundred() {
        for (own, sum, expected) in
            [(0, 100, 100), (10, 30, 33), (20, 30, 66), (1, 1000, 1), (5, 0, 1), (-5, 100, 65531), (-1, -1, 100)]
        {
            assert_eq!(weight(own, sum), expected, "{own} of {sum}");
        }
    }

    #[test]
    fn the_name_of_a_key() {
        for (key, expected) in [
            ("/skydns/com/example/web", "web.example.com."),
            ("/skydns/com/example/web/", "web.example.com."),
            ("/skydns", "."),
            ("/skydns/com//x", "x..com."),
        ] {
            let service = Service { key: key.into(), ..Service::default() };
            assert_eq!(String::from_utf8_lossy(&service.name()), expected, "{key}");
        }
    }
}
