//! Records: one value at one name, and all values of one type there.

use std::fmt;

use crate::{
    name::Name,
    rdata::{RData, RrType},
};

/// A time to live, in seconds: 1 to 2^31-1 (RFC 2181 8). Stock CoreDNS turns 0 into 300, so 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u32);

impl Ttl {
    /// The longest: 2^31-1.
    pub const MAX: u32 = i32::MAX as u32;
    /// What a record set has when nobody says another: five minutes.
    pub const DEFAULT: Self = Self(300);

    /// Seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Ttl {
    type Error = InvalidTtl;

    fn try_from(seconds: u32) -> Result<Self, InvalidTtl> {
        match seconds {
            1..=Self::MAX => Ok(Self(seconds)),
            _ => Err(InvalidTtl(seconds)),
        }
    }
}

/// A number of seconds that is no TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTtl(u32);

impl fmt::Display for InvalidTtl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("the TTL is 0, which CoreDNS would serve as 300; write 1 or more seconds"),
            seconds => write!(f, "the TTL is {seconds}; 2147483647 (2^31-1) is the most that DNS allows"),
        }
    }
}

impl std::error::Error for InvalidTtl {}

/// One value at one name, with its marks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Where it stands.
    pub name: Name,
    /// The value.
    pub data: RData,
    /// Seconds. A foreign one may be out of [`Ttl`]'s range.
    pub ttl: u32,
    /// Whose it is.
    pub owner: Option<String>,
    /// The id of the server that it belongs to.
    pub resource: Option<String>,
}

impl Record {
    /// The type that the value is of.
    pub fn rr_type(&self) -> RrType {
        self.data.rr_type()
    }
}

/// All values of one type at one name, as asked for: at least one, none twice, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// Where they stand.
    pub name: Name,
    /// For all of them.
    pub ttl: Ttl,
    /// The values.
    pub data: Vec<RData>,
}

impl RecordSet {
    /// The type that the values are of.
    pub fn rr_type(&self) -> Option<RrType> {
        self.data.first().map(RData::rr_type)
    }
}
