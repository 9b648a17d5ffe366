//! Zones: where records may be written, and which zone a name is in.

use std::{collections::BTreeMap, fmt};

use crate::name::Name;

/// A zone that CoreDNS serves from etcd, by its apex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone {
    apex: Name,
}

impl Zone {
    /// The zone with this apex.
    ///
    /// # Errors
    ///
    /// One line, when nobody can keep such a zone in etcd: the root, `arpa`, or an apex that cannot be served.
    pub fn new(apex: Name) -> Result<Self, String> {
        if apex.is_root() || apex.to_string() == "arpa" {
            return Err(format!("`{apex}` cannot be a zone here; name the zones below it"));
        }
        apex.check_servable().map_err(|error| error.to_string())?;
        Ok(Self { apex })
    }

    /// Its apex.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// Tells whether its names are addresses (RFC 1035 3.5, RFC 3596 2.5). `home.arpa` is not reverse.
    pub fn is_reverse(&self) -> bool {
        let mut labels = self.apex.labels().rev();
        labels.next() == Some("arpa") && matches!(labels.next(), Some("in-addr" | "ip6"))
    }

    /// `dns.<apex>`, the parent of the reserved names (CoreDNS `plugin/etcd`).
    pub fn dns(&self) -> Name {
        self.apex.child("dns")
    }

    /// `apex.dns.<apex>`, where CoreDNS looks for the addresses of the apex.
    pub fn apex_branch(&self) -> Name {
        self.dns().child("apex")
    }

    /// `ns.dns.<apex>`, where CoreDNS looks for the zone's name servers.
    pub fn ns_branch(&self) -> Name {
        self.dns().child("ns")
    }

    /// What a name is in this zone's layout.
    pub fn place(&self, name: &Name) -> Place {
        let (ns, apex) = (self.ns_branch(), self.apex_branch());
        if *name == self.apex {
            Place::Apex
        } else if name.is_below(&ns) {
            if name.label_count() == ns.label_count() + 1 { Place::NameServer } else { Place::Reserved }
        } else if name.is_within(&ns) || name.is_within(&apex) {
            Place::Reserved
        } else {
            Place::Plain
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.apex.fmt(f)
    }
}

/// What a name is in a zone's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The apex itself.
    Apex,
    /// `<label>.ns.dns.<apex>`: an address there is a name server and its glue.
    NameServer,
    /// Any other name.
    Plain,
    /// `ns.dns.<apex>`, names two labels below it, and names at and below `apex.dns.<apex>`: CoreDNS gives them a meaning of
    /// their own.
    Reserved,
}

/// The zones that are known in one call.
#[derive(Clone, Debug)]
pub enum Zones {
    /// As configured: all there are.
    Configured(Vec<Zone>),
    /// As the name servers told, name by name; none: outside every zone.
    Discovered(BTreeMap<Name, Option<Zone>>),
}

/// Whether it is known yet which zone a name is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// In this one.
    In(Zone),
    /// In none.
    Outside,
    /// Ask a name server first.
    NotAsked,
}

impl Zones {
    /// The zone of a name: the longest match, as CoreDNS chooses (`plugin.Zones.Matches`).
    pub fn of(&self, name: &Name) -> Lookup {
        let zone = match self {
            Self::Configured(zones) => {
                zones.iter().filter(|zone| name.is_within(zone.apex())).max_by_key(|zone| zone.apex().label_count())
            }
            Self::Discovered(answers) => match answers.get(name) {
                Some(zone) => zone.as_ref(),
                None => return Lookup::NotAsked,
            },
        };
        zone.map_or(Lookup::Outside, |zone| Lookup::In(zone.clone()))
    }

    /// The zones strictly inside `zone` that are known.
    pub fn inside(&self, zone: &Zone) -> Vec<Zone> {
        let mut inside: Vec<Zone> = match self {
            Self::Configured(zones) => {
                zones.iter().filter(|inner| inner.apex().is_below(zone.apex())).cloned().collect()
            }
            Self::Discovered(answers) => {
                answers.values().flatten().filter(|inner| inner.apex().is_below(zone.apex())).cloned().collect()
            }
        };
        inside.sort();
        inside.dedup();
        inside
    }

    /// Names the zones for a message.
    pub fn describe(&self) -> String {
        match self {
            Self::Configured(zones) => zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Self::Discovered(_) => "those that the name servers answer for from etcd".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(text: &str) -> Zone {
        Zone::new(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_longest_zone_has_the_name() {
        let zones = Zones::Configured(vec![zone("ex.test"), zone("b.ex.test")]);
        for (name, expected) in [("ex.test", "ex.test"), ("xb.ex.test", "ex.test"), ("a.b.ex.test", "b.ex.test")] {
            assert_eq!(zones.of(&name.parse().unwrap()), Lookup::In(zone(expected)), "{name}");
        }
        assert_eq!(zones.of(&"ex.tes".parse().unwrap()), Lookup::Outside);
        assert_eq!(zones.inside(&zone("ex.test")), [zone("b.ex.test")]);
    }

    #[test]
    fn reverse_zones_are_told_apart() {
        for (apex, reverse) in
            [("10.in-addr.arpa", true), ("8.b.d.0.ip6.arpa", true), ("home.arpa", false), ("in-addr.test", false)]
        {
            assert_eq!(zone(apex).is_reverse(), reverse, "{apex}");
        }
        assert!(Zone::new("arpa".parse().unwrap()).is_err());
    }

    #[test]
    fn reserved_names_have_their_places() {
        let zone = zone("ex.test");
        for (name, place) in [
            ("ex.test", Place::Apex),
            ("dns.ex.test", Place::Plain),
            ("apex.dns.ex.test", Place::Reserved),
            ("x.apex.dns.ex.test", Place::Reserved),
            ("ns.dns.ex.test", Place::Reserved),
            ("ns1.ns.dns.ex.test", Place::NameServer),
            ("a.ns1.ns.dns.ex.test", Place::Reserved),
            ("ns.ex.test", Place::Plain),
        ] {
            assert_eq!(zone.place(&name.parse().unwrap()), place, "{name}");
        }
    }
}
