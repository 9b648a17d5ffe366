//! Records in the words of REST, command line and files.

mod excerpt;
mod rr_type;
pub(crate) mod value;

use std::fmt;

use dns_manager_host::contract;
use serde::{Deserialize, Deserializer, Serialize};

pub(crate) use excerpt::excerpt;
pub use rr_type::{RecordType, UnknownType};
pub use value::ValueError;

/// One value that is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Record {
    /// Where it stands, without a trailing dot.
    pub name: String,
    /// `A`, say.
    pub record_type: String,
    /// The value as text.
    pub value: String,
    /// Seconds.
    pub ttl: u32,
    /// Of a record that is not ours alone: whose it is; null: nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "not_ours")]
    #[schema(value_type = Option<String>)]
    pub owner: Option<Option<String>>,
}

/// A field that is there, null or not.
fn not_ours<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl From<&contract::Entry> for Record {
    fn from(entry: &contract::Entry) -> Self {
        Self {
            name: value::name_text(&entry.name),
            record_type: value::type_of(&entry.data).to_string(),
            value: value::to_text(&entry.data),
            ttl: entry.ttl,
            owner: (!entry.mine).then(|| entry.owner.clone()),
        }
    }
}

/// All values of one type at one name, as somebody wants them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordSet {
    /// Where they stand.
    pub name: String,
    /// `A`, say.
    pub record_type: String,
    /// Seconds; none: the configured default. Not yet checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// The values as text.
    pub values: Vec<String>,
}

/// How long resolvers may keep a record: 1 to 2^31-1 seconds (RFC 2181 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u32);

impl Ttl {
    const MAX: u32 = 0x7fff_ffff;

    /// In seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl TryFrom<i64> for Ttl {
    type Error = TtlError;

    fn try_from(seconds: i64) -> Result<Self, TtlError> {
        match u32::try_from(seconds) {
            Ok(seconds @ 1..=Self::MAX) => Ok(Self(seconds)),
            _ => Err(TtlError(seconds)),
        }
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that is no TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is out of range: a TTL is 1 to {max} seconds", max = Ttl::MAX)]
pub struct TtlError(i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_the_four_fields_of_the_users_document() {
        let entry = contract::Entry {
            name: "Web-01.example.com.".to_owned(),
            ttl: 300,
            data: contract::Rdata::A((192, 168, 1, 10)),
            owner: Some("default".to_owned()),
            mine: true,
            resource: None,
            attributes: Vec::new(),
        };

        assert_eq!(
            serde_json::to_string(&Record::from(&entry)).unwrap(),
            r#"{"name":"web-01.example.com","record_type":"A","value":"192.168.1.10","ttl":300}"#
        );
    }

    #[test]
    fn a_record_of_somebody_else_says_whose_it_is() {
        for (owner, field) in [(Some("external-dns"), r#""external-dns""#), (None, "null")] {
            let entry = contract::Entry {
                name: "web-01.example.com".to_owned(),
                ttl: 300,
                data: contract::Rdata::A((192, 168, 1, 10)),
                owner: owner.map(str::to_owned),
                mine: false,
                resource: None,
                attributes: Vec::new(),
            };
            let record = Record::from(&entry);

            let json = serde_json::to_string(&record).unwrap();

            assert!(json.ends_with(&format!(r#""ttl":300,"owner":{field}}}"#)), "{json}");
            assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
        }
    }

    #[test]
    fn a_ttl_is_positive_and_has_31_bits() {
        assert_eq!(Ttl::try_from(2_147_483_647).map(Ttl::seconds), Ok(2_147_483_647));
        for seconds in [-1, 0, 2_147_483_648, i64::MAX] {
            assert_eq!(
                Ttl::try_from(seconds).unwrap_err().to_string(),
                format!("{seconds} is out of range: a TTL is 1 to 2147483647 seconds")
            );
        }
    }
}
