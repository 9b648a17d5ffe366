//! The value of a key: what CoreDNS calls a service (`plugin/etcd/msg/service.go`).

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor},
};

/// The owner of what several owners share: markers and guards.
pub const STRUCTURE_OWNER: &str = "dns-manager";

/// A service. Fields that are absent are zero or empty, as in Go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Service {
    /// An address or a name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// -1 hides it from SRV.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: i64,
    /// 0 is served as 10.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i64,
    /// 0 counts as 100.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: i64,
    /// In the spelling of [`super::text`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Also an MX.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mail: bool,
    /// Seconds; 0 is served as 300.
    #[serde(skip_serializing_if = "is_zero")]
    pub ttl: u32,
    /// Labels to strip from targets.
    #[serde(skip_serializing_if = "is_zero")]
    pub targetstrip: i64,
    /// CoreDNS keeps the shallowest group of an answer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Whose it is (external-dns's field; CoreDNS ignores it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The id of the server that it belongs to (ours).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The record type where the key and the zone do not tell it (ours).
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub rr_type: String,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl Service {
    /// The value, as text. The order of the fields is fixed: the same service gives the same octets.
    pub fn to_json(&self) -> String {
        // Strings, numbers and booleans serialise; there is nothing here that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a value as Go's `encoding/json` does.
    ///
    /// # Errors
    ///
    /// One line, when CoreDNS could not read it either (it would then answer SERVFAIL to every question that meets the key), or
    /// when `owner` is no text.
    pub fn from_json(value: &[u8]) -> Result<Self, String> {
        // Go takes octets that are no UTF-8 for U+FFFD.
        let text = String::from_utf8_lossy(value);
        match serde_json::from_str::<Option<Self>>(&text) {
            Ok(service) => Ok(service.unwrap_or_default()),
            Err(error) => Err(format!("CoreDNS cannot read this value: {error}")),
        }
    }
}

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

/// Field names match in any letter case, the last duplicate wins, null changes nothing, unknown fields are skipped.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Service;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Service, M::Error> {
        let mut service = Service::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match key.to_ascii_lowercase().as_str() {
                "host" => set(&mut service.host, map.next_value()?),
                "port" => set(&mut service.port, map.next_value()?),
                "priority" => set(&mut service.priority, map.next_value()?),
                "weight" => set(&mut service.weight, map.next_value()?),
                "text" => set(&mut service.text, map.next_value()?),
                "mail" => set(&mut service.mail, map.next_value()?),
                "ttl" => set(&mut service.ttl, map.next_value()?),
                "targetstrip" => set(&mut service.targetstrip, map.next_value()?),
                "group" => set(&mut service.group, map.next_value()?),
                "owner" => service.owner = map.next_value::<Option<String>>()?.filter(|owner| !owner.is_empty()),
                // Two fields of our own: another program's field of that name, of another type, is none of ours.
                "resource" => service.resource = map.next_value::<Lenient>()?.0,
                "type" => service.rr_type = map.next_value::<Lenient>()?.0.unwrap_or_default(),
                _ => {
                    map.next_value::<de::IgnoredAny>()?;
                }
            }
        }
        Ok(service)
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// A string, or anything else for none.
struct Lenient(Option<String>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_go_reads_them() {
        let read = |text: &str| Service::from_json(text.as_bytes());
        assert_eq!(read("null"), Ok(Service::default()));
        assert_eq!(read(" {} \n"), Ok(Service::default()));
        assert_eq!(read(r#"{"HOST":"a","Host":"b","x":[1]}"#).unwrap().host, "b");
        assert_eq!(read(r#"{"ttl":null,"port":-1}"#).unwrap().port, -1);
        for bad in [
            "",
            "x",
            "[]",
            "1",
            "{} x",
            r#"{"port":"80"}"#,
            r#"{"ttl":-1}"#,
            r#"{"ttl":1.5}"#,
            r#"{"ttl":1e2}"#,
            r#"{"ttl":4294967296}"#,
            r#"{"owner":5}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_same_service_gives_the_same_octets() {
        let service =
            Service { host: "10.0.0.1".into(), port: -1, ttl: 60, owner: Some("us".into()), ..Default::default() };
        assert_eq!(service.to_json(), r#"{"host":"10.0.0.1","port":-1,"ttl":60,"owner":"us"}"#);
        assert_eq!(Service::from_json(service.to_json().as_bytes()), Ok(service));
    }
}
