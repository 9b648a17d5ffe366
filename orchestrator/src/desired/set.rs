//! A record set as a file wants it, and the order in which sets are told.

use serde::{Deserialize, Serialize};

use crate::record::{RecordType, value};

/// All values of one type at one name, as a file has them.
///
/// Values that belong to different servers stand in one item for each: together they are the record set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Where they stand.
    pub name: String,
    /// `A`, say.
    #[serde(with = "type_as_text")]
    pub record_type: RecordType,
    /// Seconds; none: the configured default. Not yet checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// The values as text, not yet checked.
    pub values: Vec<String>,
    /// The id of the server that values belong to which are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

impl Set {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.name, self.record_type)
    }
}

/// Which record set: a name and a type, in canonical order (RFC 4034 6.1), so that a zone stands before what is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// From the root down.
    labels: Vec<String>,
    number: u16,
}

impl Key {
    pub(crate) fn new(name: &str, record_type: RecordType) -> Self {
        let name = value::name_text(name);
        Self { labels: name.rsplit('.').map(str::to_owned).collect(), number: record_type.number() }
    }

    /// Whether both are about one name.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.labels == other.labels
    }

    pub(crate) fn record_type(&self) -> RecordType {
        self.number.into()
    }

    /// In the form in which names are compared.
    pub(crate) fn name(&self) -> String {
        self.labels.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

mod type_as_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::record::RecordType;

    pub(super) fn serialize<S: Serializer>(record_type: &RecordType, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(record_type)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RecordType, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_told_from_the_zone_down() {
        let key = |name: &str, record_type| Key::new(name, record_type);
        let mut keys = [
            key("b.example.com", RecordType::A),
            key("a.b.example.com", RecordType::A),
            key("Example.com.", RecordType::TXT),
            key("example.com", RecordType::MX),
            key("a.example.org", RecordType::A),
        ];

        keys.sort();

        let told: Vec<_> = keys.iter().map(|key| format!("{} {}", key.name(), key.record_type())).collect();
        assert_eq!(
            told,
            ["example.com MX", "example.com TXT", "b.example.com A", "a.b.example.com A", "a.example.org A"]
        );
    }
}
