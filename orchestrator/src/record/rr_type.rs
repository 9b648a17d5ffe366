//! Record types: their names for people, their numbers for the contract.

use std::fmt;
use std::str::FromStr;

/// A record type, by its IANA number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordType(u16);

/// Names of types in use; every other type is `TYPE` and its number (RFC 3597 5).
const NAMES: [(u16, &str); 16] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (35, "NAPTR"),
    (43, "DS"),
    (44, "SSHFP"),
    (52, "TLSA"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (257, "CAA"),
];

impl RecordType {
    /// IPv4 addresses.
    pub const A: Self = Self(1);
    /// Name servers.
    pub const NS: Self = Self(2);
    /// Aliases.
    pub const CNAME: Self = Self(5);
    /// Starts of authority.
    pub const SOA: Self = Self(6);
    /// Names of addresses.
    pub const PTR: Self = Self(12);
    /// Mail servers.
    pub const MX: Self = Self(15);
    /// Texts.
    pub const TXT: Self = Self(16);
    /// IPv6 addresses.
    pub const AAAA: Self = Self(28);
    /// Servers of a service.
    pub const SRV: Self = Self(33);

    /// The type's IANA number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl From<u16> for RecordType {
    fn from(number: u16) -> Self {
        Self(number)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl FromStr for RecordType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        let upper = text.to_ascii_uppercase();
        let by_name = NAMES.iter().find(|(_, name)| *name == upper).map(|(number, _)| *number);
        let by_number = || upper.strip_prefix("TYPE").and_then(|digits| digits.parse().ok());
        by_name.or_else(by_number).map(Self).ok_or_else(|| UnknownType(super::excerpt::excerpt(text)))
    }
}

/// Text that names no record type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is not a record type: write A, AAAA, CNAME, TXT, MX, SRV, PTR or NS, say", .0)]
pub struct UnknownType(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_one_name() {
        for (text, expected) in [("a", "A"), ("AAAA", "AAAA"), ("TYPE28", "AAAA"), ("type65280", "TYPE65280")] {
            assert_eq!(text.parse::<RecordType>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in ["", "ANY", "TYPE", "TYPE65536", "*"] {
            assert_eq!(
                text.parse::<RecordType>().unwrap_err().to_string(),
                format!("\"{text}\" is not a record type: write A, AAAA, CNAME, TXT, MX, SRV, PTR or NS, say")
            );
        }
    }
}
