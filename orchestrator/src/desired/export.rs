//! What is ours as a file that can be applied again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use dns_manager_host::contract::Entry;

use super::set::{Key, Set};
use crate::record::value;

/// The record sets of these values, in a stable order. Where values of one set belong to different servers, each has an item.
pub(super) fn sets(entries: &[Entry]) -> Vec<Set> {
    let mut parts: BTreeMap<(Key, Option<&String>), Vec<&Entry>> = BTreeMap::new();
    let mut ttls: BTreeMap<Key, u32> = BTreeMap::new();
    for entry in entries {
        let key = Key::new(&entry.name, value::type_of(&entry.data));
        // A set has one TTL; where stored values differ, name servers' clients see the least.
        ttls.entry(key.clone()).and_modify(|ttl| *ttl = entry.ttl.min(*ttl)).or_insert(entry.ttl);
        parts.entry((key, entry.resource.as_ref())).or_default().push(entry);
    }
    let set = |((key, resource), entries): ((Key, Option<&String>), Vec<&Entry>)| {
        let mut values: Vec<_> = entries.iter().map(|entry| value::to_text(&entry.data)).collect();
        // Addresses by their numbers, everything else as text.
        values.sort_by_cached_key(|text| (text.parse::<IpAddr>().ok(), text.clone()));
        Set {
            name: key.name(),
            record_type: key.record_type(),
            ttl: ttls.get(&key).map(|ttl| i64::from(*ttl)),
            values,
            resource: resource.cloned(),
        }
    };
    parts.into_iter().map(set).collect()
}

/// As YAML, which reads back as the same.
pub fn yaml(sets: &[Set]) -> String {
    if sets.is_empty() {
        return "[]\n".to_owned();
    }
    let mut yaml = String::new();
    for Set { name, record_type, ttl, values, resource } in sets {
        // Writing to a string cannot fail.
        let _ = write!(yaml, "- name: {}\n  record_type: {record_type}\n", scalar(name));
        if let Some(ttl) = ttl {
            let _ = writeln!(yaml, "  ttl: {ttl}");
        }
        if let Some(resource) = resource {
            let _ = writeln!(yaml, "  resource: {}", scalar(resource));
        }
        yaml.push_str("  values:\n");
        for value in values {
            let _ = writeln!(yaml, "  - {}", scalar(value));
        }
    }
    yaml
}

/// Without quotes where no reader of YAML, old or new, takes it for anything but this text.
fn scalar(text: &str) -> String {
    let is_simple = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
    let first = text.bytes().next().unwrap_or_default();
    let dots = text.bytes().filter(|octet| *octet == b'.').count();
    if text.bytes().all(is_simple) && (first.is_ascii_alphabetic() && dots > 0 || first.is_ascii_digit() && dots > 1) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// In double quotes; a line of the file is a line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use dns_manager_host::contract::Rdata;

    use super::super::file::File;
    use super::*;
    use crate::record::RecordType;

    fn entry(name: &str, last: u8, resource: Option<&str>) -> Entry {
        Entry {
            name: name.to_owned(),
            ttl: 300,
            data: Rdata::A((192, 0, 2, last)),
            owner: Some("default".to_owned()),
            mine: true,
            resource: resource.map(str::to_owned),
            attributes: Vec::new(),
        }
    }

    #[test]
    fn sets_are_in_order_and_the_values_of_a_server_by_themselves() {
        let entries = [
            entry("web.example.com", 10, None),
            entry("web.example.com", 9, None),
            entry("web.example.com", 1, Some("0198")),
            entry("a.example.com", 7, None),
        ];

        assert_eq!(
            yaml(&sets(&entries)),
            "- name: a.example.com
  record_type: A
  ttl: 300
  values:
  - 192.0.2.7
- name: web.example.com
  record_type: A
  ttl: 300
  values:
  - 192.0.2.9
  - 192.0.2.10
- name: web.example.com
  record_type: A
  ttl: 300
  resource: \"0198\"
  values:
  - 192.0.2.1
"
        );
    }

    #[test]
    fn every_text_reads_back_as_it_was() {
        let texts = [
            "",
            " ",
            "no",
            "true",
            "null",
            "~",
            "1",
            "1.5",
            "1e5",
            "0x1f",
            "12:30:45",
            "- a",
            "a: b",
            "#",
            "a #b",
            "\"",
            "'",
            "\\",
            "\\# 2 01ff",
            "v=spf1 -all",
            "line\nbreak\r\n\ttab",
            "\u{0}\u{7f}\u{85}\u{9f}",
            "\u{2028}\u{feff}ü😀",
            "*a",
            "&a",
            "!x",
            "10 mail.example.com",
            "2001:db8::1",
            "[a]",
            "{a}",
            "%a",
            "@a",
            "`a",
            "...",
            "---",
            "web-01.example.com",
            "1.2.3.4",
            "e.1",
        ];
        let set = Set {
            name: "a.example.com".to_owned(),
            record_type: RecordType::TXT,
            ttl: Some(60),
            values: texts.map(str::to_owned).to_vec(),
            resource: Some("id".to_owned()),
        };

        let as_yaml = File::parse("f", yaml(std::slice::from_ref(&set)).as_bytes()).unwrap();
        let as_json = File::parse("f", &serde_json::to_vec(&[&set]).unwrap()).unwrap();

        let expected = std::slice::from_ref(&set);
        assert_eq!((as_yaml.sets.as_slice(), as_json.sets.as_slice()), (expected, expected));
    }
}
