//! A record set as a file wants it, and the order in which sets are told.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::record::{RecordType, value};

/// All values of one type at one name, as a file has them.
///
/// Values that belong to different servers stand in one item for each: together they are the record set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DesiredSet)]
pub struct Set {
    /// Where they stand.
    pub name: String,
    /// `A`, say.
    #[serde(with = "type_as_text")]
    #[schema(value_type = String)]
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
    /// However the name is spelt: a set that the file has is never taken for one that it lacks.
    pub(crate) fn new(name: &str, record_type: RecordType) -> Self {
        let name = value::name_text(&unescaped(&ascii(name)));
        Self { labels: name.rsplit('.').map(str::to_owned).collect(), number: record_type.number() }
    }

    /// Whether both are about one name.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.labels == other.labels
    }

    /// From the root down.
    pub(crate) fn labels(&self) -> &[String] {
        &self.labels
    }

    pub(crate) fn record_type(&self) -> RecordType {
        self.number.into()
    }

    /// In the form in which names are compared.
    pub(crate) fn name(&self) -> String {
        self.labels.iter().rev().map(String::as_str).collect::<Vec<_>>().join(".")
    }
}

/// Letters beyond ASCII as the component stores them (UTS 46); what is no such name is its to refuse.
fn ascii(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return Cow::Borrowed(name);
    }
    idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::EMPTY).unwrap_or(Cow::Borrowed(name))
}

/// A name without escapes (RFC 1035 5.1) that it needs not: those of characters that stand in names of records.
fn unescaped(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let digits = after.get(..3).filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()));
        let octet = digits.and_then(|digits| digits.parse::<u8>().ok()).map(char::from);
        let escaped = octet.or_else(|| after.chars().next());
        let length = if digits.is_some() { 3 } else { escaped.map_or(0, char::len_utf8) };
        match escaped {
            Some(character) if character.is_ascii_alphanumeric() || matches!(character, '-' | '_') => {
                plain.push(character)
            }
            _ => {
                plain.push('\\');
                plain.push_str(after.get(..length).unwrap_or_default());
            }
        }
        rest = after.get(length..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
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

    #[test]
    fn a_name_has_one_key_however_it_is_spelt() {
        for (spelt, name) in [
            ("B\u{fc}cher.Example.com.", "xn--bcher-kva.example.com"),
            ("\\119eb-\\0491.exa\\mple.com", "web-11.example.com"),
            ("a\\.b.example.com", "a\\.b.example.com"),
            ("a\\032b.example.com", "a\\032b.example.com"),
            ("a\\", "a\\"),
            ("web 01\u{fffd}.example.com", "web 01\u{fffd}.example.com"),
        ] {
            assert_eq!(Key::new(spelt, RecordType::A).name(), name);
        }
    }
}
