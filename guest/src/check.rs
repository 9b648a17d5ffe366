//! What is refused at the door: what DNS forbids and what stock CoreDNS cannot serve. Pure.
//!
//! A refusal says what, where, and what to do. Nothing that is refused is ever sent.

use crate::{
    layout,
    name::Name,
    rdata::{RData, RrType},
    reason::Reason,
    record::{Record, RecordSet},
    skydns::text,
    zone::{Place, Zone, Zones},
};

/// The most values of one record set.
pub const MAX_VALUES: usize = 50;
/// The longest DNS message, and so the largest answer (RFC 1035 4.2.2).
const MAX_MESSAGE: usize = 65_535;
/// What a message holds besides the records: header and question.
const MESSAGE_OVERHEAD: usize = 12 + 259 + 11;
/// What a record has besides its data: a pointer to the name, type, class, TTL, length.
const RECORD_OVERHEAD: usize = 12;
/// The longest name as text.
const MAX_TEXT: usize = 253;

/// Checks the name of a change.
///
/// # Errors
///
/// Why no record of that type can stand at it.
pub fn name(zone: &Zone, name: &Name, rr_type: Option<RrType>) -> Result<(), Reason> {
    name.check_servable().map_err(Reason::unsupported)?;
    match zone.place(name) {
        Place::Reserved => Err(Reason::unsupported(format!(
            "`{name}`: CoreDNS gives the names at and below `apex.dns.{zone}` and `ns.dns.{zone}` a meaning of their own; register \
             the addresses of `{zone}` at `{zone}` itself, and those of its name servers at `<label>.ns.dns.{zone}`"
        ))),
        Place::NameServer if !rr_type.is_none_or(|rr_type| matches!(rr_type, RrType::A | RrType::Aaaa)) => {
            Err(Reason::unsupported(format!("`{name}` is a name server of `{zone}`; only A and AAAA can stand there")))
        }
        Place::Apex if rr_type == Some(RrType::Cname) => Err(Reason::invalid(format!(
            "`{name}` is the apex of a zone, where SOA and NS stand; a CNAME cannot stand beside them (RFC 1034 3.6.2); register \
             addresses instead"
        ))),
        Place::Apex | Place::NameServer | Place::Plain => Ok(()),
    }
}

/// Checks the values of a record set, as it is to stand: all of its values.
///
/// # Errors
///
/// Why they cannot be served.
pub fn set(zone: &Zone, zones: &Zones, set: &RecordSet) -> Result<(), Reason> {
    let RecordSet { name, data, .. } = set;
    let Some(rr_type) = set.rr_type() else {
        return Err(Reason::invalid(format!(
            "`{name}`: a record set has at least one value; to take all away, remove it"
        )));
    };
    let most = if matches!(rr_type, RrType::Cname | RrType::Ptr) { 1 } else { MAX_VALUES };
    if data.len() > most {
        return Err(match rr_type {
            RrType::Cname => Reason::invalid(format!(
                "`{name}`: a name has one CNAME only (RFC 2181 10.1), and this would be {}",
                data.len()
            )),
            RrType::Ptr => Reason::unsupported(format!(
                "`{name}`: CoreDNS's etcd plugin serves one PTR at a name, and this would be {}",
                data.len()
            )),
            _ => Reason::invalid(format!(
                "`{name}` {rr_type}: {} values, and {MAX_VALUES} is the most of one record set",
                data.len()
            )),
        });
    }
    for value in data {
        check_value(zone, zones, name, value)?;
    }
    let octets: usize = data.iter().map(|value| RECORD_OVERHEAD + value.wire_length()).sum();
    if octets + MESSAGE_OVERHEAD > MAX_MESSAGE {
        return Err(Reason::unsupported(format!(
            "`{name}` {rr_type}: the record set has {octets} octets on the wire, and a DNS message holds {MAX_MESSAGE}; use fewer or shorter values"
        )));
    }
    Ok(())
}

fn check_value(zone: &Zone, zones: &Zones, name: &Name, value: &RData) -> Result<(), Reason> {
    match value {
        RData::A(_) => Ok(()),
        RData::Aaaa(address) => match address.to_ipv4_mapped() {
            Some(v4) => Err(Reason::unsupported(format!(
                "`{name}` AAAA `{address}` is the IPv4 address {v4} in IPv6 form, which CoreDNS serves as an A; register A {v4}"
            ))),
            None => Ok(()),
        },
        RData::Txt(octets) => match text::encode(octets) {
            Some(_) => Ok(()),
            None => Err(Reason::unsupported(format!(
                "`{name}` TXT: more than 62 octets in a row are no UTF-8, which CoreDNS's etcd plugin cannot serve; encode them, for example as base64"
            ))),
        },
        RData::Cname(_) if zone.is_reverse() => Err(Reason::unsupported(format!(
            "`{name}`: CoreDNS answers a CNAME in a reverse zone to PTR questions as if it were a host name; register the PTR itself"
        ))),
        RData::Cname(target) | RData::Ptr(target) => {
            if target.is_root() {
                return Err(Reason::invalid(format!("`{name}` {}: the root cannot be its target", value.rr_type())));
            }
            check_target(zones, name, value, target)
        }
        RData::Mx { exchange: target, .. } | RData::Srv { target, .. } => {
            check_target(zones, name, value, target)?;
            let length = layout::padded_length(target, name);
            if length > MAX_TEXT {
                return Err(Reason::unsupported(format!(
                    "`{name}` {}: the target `{target}` is too long by {} characters for the form in which it is stored below this name",
                    value.rr_type(),
                    length - MAX_TEXT
                )));
            }
            Ok(())
        }
        RData::Ns(_) => Err(Reason::unsupported(format!(
            "`{name}` NS: the name servers of a zone are the addresses at `<label>.ns.dns.<zone>`; register A or AAAA there"
        ))),
        RData::Soa(_) => Err(Reason::unsupported(format!("`{name}` SOA: CoreDNS's etcd plugin makes it itself"))),
        RData::Other(..) => Err(Reason::unsupported(format!(
            "`{name}` {}: CoreDNS's etcd plugin serves A, AAAA, CNAME, MX, PTR, SRV and TXT only",
            value.rr_type()
        ))),
    }
}

fn check_target(zones: &Zones, name: &Name, value: &RData, target: &Name) -> Result<(), Reason> {
    let rr_type = value.rr_type();
    let text = target.to_string();
    if text.parse::<std::net::Ipv4Addr>().is_ok() || text.contains(':') {
        return Err(Reason::invalid(format!(
            "`{name}` {rr_type}: the target `{text}` is an address, and a name belongs there; register it with the type {}",
            if text.contains(':') { "AAAA" } else { "A" }
        )));
    }
    let odd = |label: &str| !label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if let Some(label) = target.labels().find(|label| *label != "*" && odd(label)) {
        return Err(Reason::unsupported(format!(
            "`{name}` {rr_type}: the label `{label}` of the target `{text}` has other characters than letters, digits, `-` and `_`"
        )));
    }
    let wildcard = target.labels().any(|label| matches!(label, "*" | "any"));
    if wildcard && !matches!(zones.of(target), crate::zone::Lookup::Outside) {
        return Err(Reason::unsupported(format!(
            "`{name}` {rr_type}: CoreDNS's etcd plugin takes the labels `*` and `any` of the target `{text}` for a wildcard"
        )));
    }
    Ok(())
}

/// What is served, but perhaps not as meant: values that were asked for, among all that stand at the name afterwards.
pub fn warnings(zone: &Zone, name: &Name, asked: &[RData], all: &[Record]) -> Vec<Reason> {
    let mut warnings = Vec::new();
    if !asked.is_empty() {
        warnings.extend(answered_as_alias(zone, name, all));
    }
    for value in asked {
        match value {
            RData::Cname(target) if target.is_below(name) => warnings.push(Reason::unsupported(format!(
                "`{name}` CNAME `{target}`: CoreDNS does not follow an alias to a name below itself; address questions stay without an answer"
            ))),
            RData::Srv { weight: 0, .. } => warnings.push(Reason::unsupported(format!(
                "`{name}` SRV: CoreDNS answers weight 1 where 0 was registered"
            ))),
            _ => {}
        }
    }
    warnings
}

/// CoreDNS follows the name in every value for address and TXT questions; the form in which an MX or SRV is stored leads to
/// nothing within the zone alone.
fn answered_as_alias(zone: &Zone, name: &Name, all: &[Record]) -> Option<Reason> {
    let leads_outside = |record: &&Record| match &record.data {
        RData::Mx { exchange: target, .. } | RData::Srv { target, .. } => !target.is_within(zone.apex()),
        _ => false,
    };
    let outside = all.iter().find(leads_outside)?;
    let target = outside.data.target().map(ToString::to_string).unwrap_or_default();
    // The addresses of an apex are looked up elsewhere.
    let is_beside = |record: &&Record| match record.rr_type() {
        RrType::Txt => true,
        RrType::A | RrType::Aaaa => zone.place(name) != Place::Apex,
        _ => false,
    };
    let beside = all.iter().find(is_beside)?.rr_type();
    let rr_type = outside.rr_type();
    Some(Reason::unsupported(format!(
        "`{name}` {rr_type}: its target `{target}` is outside the zone `{zone}`, and CoreDNS answers {beside} questions there with a \
         CNAME of it beside the {beside}; use a target in the zone, or keep the {beside} at another name"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Ttl;

    #[test]
    fn what_is_served_in_another_form_is_warned_about() {
        let zone = Zone::new("ex.test".parse().unwrap()).unwrap();
        let mx = |exchange: &str| RData::Mx { preference: 10, exchange: target(exchange) };
        let srv = |weight| RData::Srv { priority: 1, weight, port: 1, target: target("w.ex.test") };
        let a = || RData::A([10, 0, 0, 1].into());
        let txt = || RData::Txt(b"v=spf1".to_vec());
        let cases: Vec<(&str, Vec<RData>, Option<&str>)> = vec![
            ("w.ex.test", vec![srv(0)], Some("weight 1 where 0 was registered")),
            ("w.ex.test", vec![srv(7), a()], None),
            ("w.ex.test", vec![RData::Cname(target("a.w.ex.test"))], Some("below itself")),
            ("w.ex.test", vec![mx("mail.world"), a()], Some("outside the zone `ex.test`")),
            ("w.ex.test", vec![mx("mail.world"), txt()], Some("beside the TXT")),
            ("w.ex.test", vec![mx("mail.world")], None),
            ("w.ex.test", vec![mx("mail.ex.test"), a(), txt()], None),
            ("w.ex.test", vec![mx("."), a()], Some("outside the zone")),
            // At an apex only TXT is looked up where the MX is.
            ("ex.test", vec![mx("mail.world"), a()], None),
            ("ex.test", vec![mx("mail.world"), a(), txt()], Some("beside the TXT")),
        ];
        for (owner, data, expected) in cases {
            let name: Name = owner.parse().unwrap();
            let all: Vec<Record> = data
                .iter()
                .map(|data| Record { name: name.clone(), data: data.clone(), ttl: 60, owner: None, resource: None })
                .collect();
            let messages: Vec<String> =
                warnings(&zone, &name, &data, &all).into_iter().map(|reason| reason.message).collect();
            match expected {
                Some(part) => {
                    assert!(messages.len() == 1 && messages[0].contains(part), "{owner} {data:?}: {messages:?}")
                }
                None => assert!(messages.is_empty(), "{owner} {data:?}: {messages:?}"),
            }
        }
        assert!(warnings(&zone, &target("w.ex.test"), &[], &[]).is_empty());
    }

    fn refusal(owner: &str, data: Vec<RData>) -> Option<String> {
        let zone = Zone::new("ex.test".parse().unwrap()).unwrap();
        let zones = Zones::Configured(vec![zone.clone()]);
        let owner: Name = owner.parse().unwrap();
        let record_set = RecordSet { name: owner.clone(), ttl: Ttl::DEFAULT, data };
        name(&zone, &owner, record_set.rr_type())
            .and_then(|()| set(&zone, &zones, &record_set))
            .err()
            .map(|reason| reason.message)
    }

    fn target(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_a_way_out() {
        let long = format!("{0}.{0}.{0}.{1}", "t".repeat(63), "u".repeat(58));
        let text = |size: usize| RData::Txt(vec![b'x'; size]);
        let cases: Vec<(&str, Vec<RData>, &str)> = vec![
            ("ex.test", vec![RData::Cname(target("w.ex.test"))], "register addresses instead"),
            ("w.ex.test", vec![RData::Cname(target("10.0.0.9"))], "register it with the type A"),
            ("w.ex.test", vec![RData::Cname(target("::1"))], "register it with the type AAAA"),
            ("w.ex.test", vec![RData::Cname(target("any.ex.test"))], "for a wildcard"),
            ("w.ex.test", vec![RData::Cname(target("a")), RData::Cname(target("b"))], "one CNAME only"),
            ("w.ex.test", vec![RData::Aaaa("::ffff:10.0.0.1".parse().unwrap())], "register A 10.0.0.1"),
            ("w.ex.test", vec![RData::Mx { preference: 1, exchange: target(&long) }], "too long"),
            ("w.ex.test", (0..17).map(|i| text(4000 + i)).collect(), "use fewer or shorter values"),
            ("w.ex.test", (0..51).map(text).collect(), "50 is the most"),
            ("w.ex.test", vec![RData::Txt(vec![0xff; 80])], "as base64"),
            ("x.apex.dns.ex.test", vec![text(1)], "meaning of their own"),
            ("ns1.ns.dns.ex.test", vec![text(1)], "only A and AAAA"),
            ("any.ex.test", vec![text(1)], "choose another name"),
            ("w.ex.test", vec![RData::Other(257, vec![])], "TYPE257"),
        ];
        for (owner, data, part) in cases {
            let message = refusal(owner, data).unwrap_or_else(|| panic!("{owner}: {part}"));
            assert!(message.contains(part), "{owner}: {message}");
        }
        for (owner, data) in [
            ("w.ex.test", vec![RData::Cname(target("any.world"))]),
            ("ex.test", vec![text(1000)]),
            ("w.ex.test", (0..50).map(|i| text(1000 + i)).collect()),
            ("ns1.ns.dns.ex.test", vec![RData::A([10, 0, 0, 1].into())]),
        ] {
            assert_eq!(refusal(owner, data), None, "{owner}");
        }
    }
}
