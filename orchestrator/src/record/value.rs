//! Values: text for people and JSON, typed data for the contract.
//!
//! Only what cannot be expressed in the contract's types is refused here; every other rule is the component's.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use dns_manager_host::contract::{Mx, OtherRdata, Rdata, Soa, Srv};

use super::excerpt::excerpt;
use super::rr_type::RecordType;

/// RFC 1035 3.3: a character string has one octet for its length.
const MAX_STRING: usize = 255;

/// Why a text is no value of a type, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

/// Reads a value of this type.
pub(crate) fn parse(record_type: RecordType, text: &str) -> Result<Rdata, ValueError> {
    let error = |why: String| ValueError(format!("\"{}\" {why}", excerpt(text)));
    match record_type {
        RecordType::A => match text.parse() {
            Ok(address @ IpAddr::V4(_)) => Ok(address.into()),
            Ok(IpAddr::V6(_)) => {
                Err(error("is an IPv6 address, and A takes an IPv4 address: register it as AAAA".to_owned()))
            }
            Err(_) => Err(error("is not an IPv4 address, such as 192.168.1.10".to_owned())),
        },
        RecordType::AAAA => match text.parse() {
            Ok(address @ IpAddr::V6(_)) => Ok(address.into()),
            Ok(IpAddr::V4(_)) => {
                Err(error("is an IPv4 address, and AAAA takes an IPv6 address: register it as A".to_owned()))
            }
            Err(_) => Err(error("is not an IPv6 address, such as 2001:db8::10".to_owned())),
        },
        RecordType::CNAME => name(record_type, text).map(Rdata::Cname),
        RecordType::NS => name(record_type, text).map(Rdata::Ns),
        RecordType::PTR => name(record_type, text).map(Rdata::Ptr),
        RecordType::MX => {
            let [preference, exchange] = fields(text).ok_or_else(|| error(MX_FORM.to_owned()))?;
            Ok(Rdata::Mx(Mx {
                preference: number(preference).ok_or_else(|| error(MX_FORM.to_owned()))?,
                exchange: name(record_type, exchange)?,
            }))
        }
        RecordType::SRV => {
            let wrong = || error(SRV_FORM.to_owned());
            let [priority, weight, port, target] = fields(text).ok_or_else(wrong)?;
            Ok(Rdata::Srv(Srv {
                priority: number(priority).ok_or_else(wrong)?,
                weight: number(weight).ok_or_else(wrong)?,
                port: number(port).ok_or_else(wrong)?,
                target: name(record_type, target)?,
            }))
        }
        RecordType::TXT => Ok(Rdata::Txt(txt_strings(text))),
        RecordType::SOA => Err(error("cannot be registered: the name server makes the SOA itself".to_owned())),
        other => match generic(text) {
            Some(octets) => Ok(Rdata::Other(OtherRdata { rr_type: other.number(), octets })),
            None => Err(error(format!("is not a value of {other}: write it in the form of RFC 3597, \\# LENGTH HEX"))),
        },
    }
}

const MX_FORM: &str = "is not a value of MX: write preference and name, such as 10 mail.example.com";
const SRV_FORM: &str =
    "is not a value of SRV: write priority, weight, port and name, such as 10 60 5060 sip.example.com";

/// The type of a value.
pub(crate) fn type_of(data: &Rdata) -> RecordType {
    match data {
        Rdata::A(_) => RecordType::A,
        Rdata::Aaaa(_) => RecordType::AAAA,
        Rdata::Cname(_) => RecordType::CNAME,
        Rdata::Ns(_) => RecordType::NS,
        Rdata::Ptr(_) => RecordType::PTR,
        Rdata::Mx(_) => RecordType::MX,
        Rdata::Srv(_) => RecordType::SRV,
        Rdata::Txt(_) => RecordType::TXT,
        Rdata::Soa(_) => RecordType::SOA,
        Rdata::Other(other) => other.rr_type.into(),
    }
}

/// A value as text, which [`parse`] reads back; equal values have equal texts.
pub(crate) fn to_text(data: &Rdata) -> String {
    match data {
        Rdata::A((a, b, c, d)) => Ipv4Addr::new(*a, *b, *c, *d).to_string(),
        Rdata::Aaaa((a, b, c, d, e, f, g, h)) => Ipv6Addr::new(*a, *b, *c, *d, *e, *f, *g, *h).to_string(),
        Rdata::Cname(name) | Rdata::Ns(name) | Rdata::Ptr(name) => name_text(name),
        Rdata::Mx(Mx { preference, exchange }) => format!("{preference} {}", name_text(exchange)),
        Rdata::Srv(Srv { priority, weight, port, target }) => {
            format!("{priority} {weight} {port} {}", name_text(target))
        }
        Rdata::Txt(strings) => txt_text(strings),
        Rdata::Soa(Soa { mname, rname, serial, refresh, retry, expire, minimum }) => {
            format!("{} {} {serial} {refresh} {retry} {expire} {minimum}", name_text(mname), name_text(rname))
        }
        Rdata::Other(OtherRdata { rr_type: _, octets }) => generic_text(octets),
    }
}

/// A name in the form in which names are compared.
pub(crate) fn name_text(name: &str) -> String {
    let name = if name.len() > 1 { name.strip_suffix('.').unwrap_or(name) } else { name };
    name.to_ascii_lowercase()
}

fn name(record_type: RecordType, text: &str) -> Result<String, ValueError> {
    if text.is_empty() {
        return Err(ValueError(format!("an empty text is not a name, which {record_type} takes")));
    }
    if IpAddr::from_str(text.strip_suffix('.').unwrap_or(text)).is_ok() {
        return Err(ValueError(format!(
            "\"{text}\" is an IP address, and {record_type} takes a name: register the address as A or AAAA"
        )));
    }
    Ok(text.to_owned())
}

fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split_ascii_whitespace().collect::<Vec<_>>().try_into().ok()
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok()
}

/// Cuts a text into character strings; the generic form, which not even UTF-8 escapes, is taken as such.
fn txt_strings(text: &str) -> Vec<Vec<u8>> {
    if let Some(strings) = generic(text).and_then(|octets| txt_from_wire(&octets)) {
        return strings;
    }
    if text.is_empty() {
        return vec![Vec::new()];
    }
    text.as_bytes().chunks(MAX_STRING).map(<[u8]>::to_vec).collect()
}

/// The strings joined; in generic form when that is not UTF-8, or would itself be read as generic form.
fn txt_text(strings: &[Vec<u8>]) -> String {
    let joined = strings.concat();
    match String::from_utf8(joined) {
        Ok(text) if generic(&text).and_then(|octets| txt_from_wire(&octets)).is_none() => text,
        Ok(text) => generic_text(&txt_to_wire(text.as_bytes())),
        Err(error) => generic_text(&txt_to_wire(error.as_bytes())),
    }
}

fn txt_to_wire(joined: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(joined.len() + joined.len() / MAX_STRING + 1);
    for string in joined.chunks(MAX_STRING) {
        // A chunk has at most 255 octets.
        wire.push(u8::try_from(string.len()).unwrap_or(u8::MAX));
        wire.extend_from_slice(string);
    }
    wire
}

fn txt_from_wire(mut wire: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    while let Some((length, rest)) = wire.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(*length))?;
        strings.push(string.to_vec());
        wire = rest;
    }
    (!strings.is_empty()).then_some(strings)
}

/// RFC 3597 5: `\#`, the number of octets, the octets in hexadecimal, with white space wherever.
fn generic(text: &str) -> Option<Vec<u8>> {
    let mut words = text.strip_prefix("\\# ")?.split_ascii_whitespace();
    let length: usize = words.next()?.parse().ok()?;
    let digits = words.flat_map(str::chars).map(|digit| digit.to_digit(16)).collect::<Option<Vec<_>>>()?;
    let octets = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect::<Option<Vec<_>>>()?;
    (octets.len() == length).then_some(octets)
}

fn generic_text(octets: &[u8]) -> String {
    let mut text = format!("\\# {}", octets.len());
    if !octets.is_empty() {
        text.push(' ');
    }
    for octet in octets {
        // Writing to a string cannot fail.
        let _ = write!(text, "{octet:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(record_type: &str, text: &str) -> Result<Rdata, String> {
        parse(record_type.parse().unwrap(), text).map_err(|error| error.to_string())
    }

    #[test]
    fn text_and_value_are_two_forms_of_one_thing() {
        for (record_type, text) in [
            ("A", "192.168.1.10"),
            ("AAAA", "2001:db8::10"),
            ("CNAME", "web-01.example.com"),
            ("NS", "ns1.example.com"),
            ("PTR", "web-01.example.com"),
            ("MX", "10 mail.example.com"),
            ("MX", "0 ."),
            ("SRV", "10 60 5060 sip.example.com"),
            ("TXT", ""),
            ("TXT", "v=spf1 \"-all\" \\ ü"),
            ("TXT", "\\# not generic"),
            ("TXT", "\\# 2 01ff"),
            ("CAA", "\\# 3 00aabb"),
            ("TYPE65280", "\\# 0"),
        ] {
            let value = parsed(record_type, text).unwrap();
            assert_eq!(to_text(&value), text, "{record_type}");
            assert_eq!(type_of(&value), record_type.parse().unwrap());
        }
    }

    #[test]
    fn a_long_text_is_cut_and_joined() {
        let text = "ü".repeat(300);

        let value = parsed("TXT", &text).unwrap();

        assert!(matches!(&value, Rdata::Txt(strings) if strings.len() == 3 && strings[0].len() == 255));
        assert_eq!(to_text(&value), text);
    }

    #[test]
    fn a_text_that_reads_like_the_generic_form_is_shown_in_it() {
        let value = Rdata::Txt(vec![b"\\# 2 01ff".to_vec()]);

        let text = to_text(&value);

        assert_eq!(text, "\\# 10 095c2320322030316666");
        assert_eq!(parsed("TXT", &text), Ok(value));
    }

    #[test]
    fn equal_values_have_equal_texts() {
        assert_eq!(to_text(&Rdata::Cname("Web.Example.COM.".to_owned())), "web.example.com");
        assert_eq!(to_text(&Rdata::Txt(vec![b"a".to_vec(), b"b".to_vec()])), "ab");
    }

    #[test]
    fn what_is_no_value_of_the_type_is_refused_with_what_to_write() {
        for (record_type, text, expected) in [
            (
                "A",
                "2001:db8::10",
                "\"2001:db8::10\" is an IPv6 address, and A takes an IPv4 address: register it as AAAA",
            ),
            ("A", "web", "\"web\" is not an IPv4 address, such as 192.168.1.10"),
            ("A", "192.168.1.010", "\"192.168.1.010\" is not an IPv4 address, such as 192.168.1.10"),
            (
                "AAAA",
                "192.168.1.10",
                "\"192.168.1.10\" is an IPv4 address, and AAAA takes an IPv6 address: register it as A",
            ),
            ("AAAA", "::g", "\"::g\" is not an IPv6 address, such as 2001:db8::10"),
            (
                "CNAME",
                "192.168.1.10",
                "\"192.168.1.10\" is an IP address, and CNAME takes a name: register the address as A or AAAA",
            ),
            (
                "MX",
                "10 192.168.1.10",
                "\"192.168.1.10\" is an IP address, and MX takes a name: register the address as A or AAAA",
            ),
            ("CNAME", "", "an empty text is not a name, which CNAME takes"),
            (
                "MX",
                "mail.example.com",
                "\"mail.example.com\" is not a value of MX: write preference and name, such as 10 mail.example.com",
            ),
            (
                "SRV",
                "10 60 99999 sip.example.com",
                "\"10 60 99999 sip.example.com\" is not a value of SRV: write priority, weight, port and name, such as 10 60 \
                 5060 sip.example.com",
            ),
            ("SOA", "a b 1 2 3 4 5", "\"a b 1 2 3 4 5\" cannot be registered: the name server makes the SOA itself"),
            (
                "CAA",
                "0 issue ca.example",
                "\"0 issue ca.example\" is not a value of CAA: write it in the form of RFC 3597, \\# LENGTH HEX",
            ),
        ] {
            assert_eq!(parsed(record_type, text).unwrap_err(), expected);
        }
    }
}
