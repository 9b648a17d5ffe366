//! The data of one record, and the types that there are.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::name::Name;

/// An IANA RR type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RrType {
    /// RFC 1035 3.4.1.
    A,
    /// RFC 1035 3.3.11.
    Ns,
    /// RFC 1035 3.3.1.
    Cname,
    /// RFC 1035 3.3.13.
    Soa,
    /// RFC 1035 3.3.12.
    Ptr,
    /// RFC 1035 3.3.9.
    Mx,
    /// RFC 1035 3.3.14.
    Txt,
    /// RFC 3596.
    Aaaa,
    /// RFC 2782.
    Srv,
    /// Any other, by its number.
    Other(u16),
}

impl RrType {
    /// The types that can be kept, ascending by number. NS comes from addresses at `<label>.ns.dns.<zone>`.
    pub const KEPT: [Self; 7] = [Self::A, Self::Cname, Self::Ptr, Self::Mx, Self::Txt, Self::Aaaa, Self::Srv];

    /// The IANA number.
    pub fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ns => 2,
            Self::Cname => 5,
            Self::Soa => 6,
            Self::Ptr => 12,
            Self::Mx => 15,
            Self::Txt => 16,
            Self::Aaaa => 28,
            Self::Srv => 33,
            Self::Other(number) => number,
        }
    }
}

impl From<u16> for RrType {
    fn from(number: u16) -> Self {
        match number {
            1 => Self::A,
            2 => Self::Ns,
            5 => Self::Cname,
            6 => Self::Soa,
            12 => Self::Ptr,
            15 => Self::Mx,
            16 => Self::Txt,
            28 => Self::Aaaa,
            33 => Self::Srv,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for RrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A => f.write_str("A"),
            Self::Ns => f.write_str("NS"),
            Self::Cname => f.write_str("CNAME"),
            Self::Soa => f.write_str("SOA"),
            Self::Ptr => f.write_str("PTR"),
            Self::Mx => f.write_str("MX"),
            Self::Txt => f.write_str("TXT"),
            Self::Aaaa => f.write_str("AAAA"),
            Self::Srv => f.write_str("SRV"),
            Self::Other(number) => write!(f, "TYPE{number}"),
        }
    }
}

/// The data of one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The canonical name of an alias.
    Cname(Name),
    /// A mail server.
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// The server; the root says that no mail is taken (RFC 7505).
        exchange: Name,
    },
    /// A name server.
    Ns(Name),
    /// The name that an address belongs to.
    Ptr(Name),
    /// A server of a service.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// The share among targets of one priority.
        weight: u16,
        /// The port on the target.
        port: u16,
        /// The server; the root says that the service is not offered.
        target: Name,
    },
    /// The joined text: where one string ended and the next began is not kept.
    Txt(Vec<u8>),
    /// In answers only.
    Soa(Soa),
    /// RFC 3597.
    Other(u16, Vec<u8>),
}

/// The start of authority.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Soa {
    /// The primary name server.
    pub mname: Name,
    /// The mailbox of the person in charge.
    pub rname: Name,
    /// The version of the zone.
    pub serial: u32,
    /// Seconds.
    pub refresh: u32,
    /// Seconds.
    pub retry: u32,
    /// Seconds.
    pub expire: u32,
    /// Seconds: the TTL of negative answers.
    pub minimum: u32,
}

impl RData {
    /// The type that the data is of.
    pub fn rr_type(&self) -> RrType {
        match self {
            Self::A(_) => RrType::A,
            Self::Aaaa(_) => RrType::Aaaa,
            Self::Cname(_) => RrType::Cname,
            Self::Mx { .. } => RrType::Mx,
            Self::Ns(_) => RrType::Ns,
            Self::Ptr(_) => RrType::Ptr,
            Self::Srv { .. } => RrType::Srv,
            Self::Txt(_) => RrType::Txt,
            Self::Soa(_) => RrType::Soa,
            Self::Other(number, _) => RrType::from(*number),
        }
    }

    /// The name that the data points to.
    pub fn target(&self) -> Option<&Name> {
        match self {
            Self::Cname(target) | Self::Ns(target) | Self::Ptr(target) | Self::Srv { target, .. } => Some(target),
            Self::Mx { exchange, .. } => Some(exchange),
            Self::A(_) | Self::Aaaa(_) | Self::Txt(_) | Self::Soa(_) | Self::Other(..) => None,
        }
    }

    /// Octets on the wire, names uncompressed.
    pub fn wire_length(&self) -> usize {
        match self {
            Self::A(_) => 4,
            Self::Aaaa(_) => 16,
            Self::Cname(name) | Self::Ns(name) | Self::Ptr(name) => name.wire_length(),
            Self::Mx { exchange, .. } => 2 + exchange.wire_length(),
            Self::Srv { target, .. } => 6 + target.wire_length(),
            Self::Txt(text) => text.len() + text.len() / 255 + 1,
            Self::Soa(soa) => 20 + soa.mname.wire_length() + soa.rname.wire_length(),
            Self::Other(_, octets) => octets.len(),
        }
    }
}

impl fmt::Display for RData {
    /// Presentation form; the text of a TXT unquoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => write!(f, "{address}"),
            Self::Aaaa(address) => write!(f, "{address}"),
            Self::Cname(name) | Self::Ns(name) | Self::Ptr(name) => write!(f, "{name}"),
            Self::Mx { preference, exchange } => write!(f, "{preference} {exchange}"),
            Self::Srv { priority, weight, port, target } => write!(f, "{priority} {weight} {port} {target}"),
            Self::Txt(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Soa(soa) => write!(f, "{} {} {}", soa.mname, soa.rname, soa.serial),
            Self::Other(_, octets) => write!(f, "\\# {} {}", octets.len(), data_encoding::HEXUPPER.encode(octets)),
        }
    }
}
