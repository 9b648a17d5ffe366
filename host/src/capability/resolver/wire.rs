//! Questions and answers between the contract's form and DNS messages. Pure,
//! but for the message's random id.

use std::sync::atomic::AtomicUsize;

use hickory_proto::{
    op::{Edns, Header, Message, Query as Asked},
    rr::{DNSClass, Name, RData, Record, RecordType},
    serialize::binary::{BinDecodable as _, BinDecoder, BinEncodable as _, BinEncoder, NameEncoding},
};

use crate::{
    bindings::provisioning::dns::resolver::{Answer, Failure, Question, Rr, Transport},
    capability::body::charge,
    contract::{Mx, OtherRdata, Rdata, Soa, Srv},
    judge::Weight as _,
};

/// What every path can carry unfragmented (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// OPT, TKEY, TSIG, IXFR, AXFR: not questions for one record set (RFC 6895 3.1).
const NOT_ASKED: [u16; 5] = [41, 249, 250, 251, 252];

/// A question as it is sent.
pub(super) struct Query {
    id: u16,
    asked: Asked,
    bytes: Vec<u8>,
}

impl Query {
    pub(super) fn new(question: &Question) -> Result<Self, Failure> {
        if NOT_ASKED.contains(&question.rr_type) {
            return Err(Failure::Denied);
        }
        let name = name_from(&question.name).ok_or_else(|| Failure::Other("this is no name".to_owned()))?;
        let mut message = Message::query();
        message.metadata.recursion_desired = question.recursion_desired;
        let asked = Asked::query(name, RecordType::from(question.rr_type));
        message.add_query(asked.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD).set_version(0);
        message.set_edns(edns);
        let bytes = message.to_vec().map_err(|e| Failure::Other(e.to_string()))?;
        Ok(Self { id: message.metadata.id, asked, bytes })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With its length before it (RFC 1035 4.2.2).
    pub(super) fn framed(&self) -> Result<Vec<u8>, Failure> {
        let length = u16::try_from(self.bytes.len()).map_err(|e| Failure::Other(e.to_string()))?;
        Ok([&length.to_be_bytes(), &*self.bytes].concat())
    }

    /// Whether these octets answer this question. The records are looked at
    /// only in [`Self::answer`], since a truncated message may break off there.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Failure> {
        let malformed = |what: &str| Err(Failure::Malformed(what.to_owned()));
        let Some((header, _)) = bytes.split_first_chunk::<12>() else { return malformed("shorter than a header") };
        let [id1, id2, flags, low, ..] = *header;
        if u16::from_be_bytes([id1, id2]) != self.id {
            return malformed("the answer has another id");
        }
        if flags & 0x80 == 0 {
            return malformed("not an answer but a question");
        }
        let mut decoder = BinDecoder::new(bytes);
        let header = Header::read(&mut decoder).map_err(|e| Failure::Malformed(e.to_string()))?;
        let count = usize::from(header.counts.queries).min(2);
        let questions = Message::read_queries(&mut decoder, count).map_err(|e| Failure::Malformed(e.to_string()))?;
        match &*questions {
            // Names compare without regard to letter case.
            [question] if *question == self.asked => Ok(()),
            // Some servers answer errors without repeating the question.
            [] if low & 0x0f != 0 => Ok(()),
            _ => malformed("the answer is to another question"),
        }
    }

    /// The answer, already checked, in the contract's form; none if that is more than `left`, from which it is taken.
    pub(super) fn answer(
        &self,
        bytes: &[u8],
        over: Transport,
        elapsed_us: u32,
        left: &AtomicUsize,
    ) -> Result<Option<Answer>, Failure> {
        if !charge(left, bytes.len()) {
            return Ok(None);
        }
        let message = Message::from_vec(bytes).map_err(|e| Failure::Malformed(e.to_string()))?;
        let Some(answers) = section(&message.answers, left)? else { return Ok(None) };
        let Some(authorities) = section(&message.authorities, left)? else { return Ok(None) };
        let Some(additionals) = section(&message.additionals, left)? else { return Ok(None) };
        Ok(Some(Answer {
            rcode: message.metadata.response_code.into(),
            authoritative: message.metadata.authoritative,
            truncated: message.metadata.truncation,
            over,
            elapsed_us,
            answers,
            authorities,
            additionals,
            attributes: Vec::new(),
        }))
    }
}

/// The TC bit.
pub(super) fn is_truncated(bytes: &[u8]) -> bool {
    bytes.get(2).is_some_and(|flags| flags & 0x02 != 0)
}

/// Names come compressed, and become many times as long: what they become is charged, one record after the other.
fn section(records: &[Record], left: &AtomicUsize) -> Result<Option<Vec<Rr>>, Failure> {
    let mut section = Vec::new();
    // Another class says nothing about the names that the contract is about.
    for record in records.iter().filter(|record| record.dns_class == DNSClass::IN) {
        let rr = Rr { name: text_of(&record.name), ttl: record.ttl, data: data(record)? };
        if !charge(left, size_of::<Rr>() + rr.name.weight() + rr.data.weight()) {
            return Ok(None);
        }
        section.push(rr);
    }
    Ok(Some(section))
}

fn data(record: &Record) -> Result<Rdata, Failure> {
    Ok(match &record.data {
        RData::A(a) => Rdata::A(a.0.octets().into()),
        RData::AAAA(aaaa) => Rdata::Aaaa(aaaa.0.segments().into()),
        RData::CNAME(name) => Rdata::Cname(text_of(&name.0)),
        RData::NS(name) => Rdata::Ns(text_of(&name.0)),
        RData::PTR(name) => Rdata::Ptr(text_of(&name.0)),
        RData::MX(mx) => Rdata::Mx(Mx { preference: mx.preference, exchange: text_of(&mx.exchange) }),
        RData::SRV(srv) => {
            Rdata::Srv(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: text_of(&srv.target) })
        }
        RData::TXT(txt) => Rdata::Txt(txt.txt_data.iter().map(|string| string.to_vec()).collect()),
        RData::SOA(soa) => Rdata::Soa(Soa {
            mname: text_of(&soa.mname),
            rname: text_of(&soa.rname),
            serial: soa.serial,
            refresh: soa.refresh.cast_unsigned(),
            retry: soa.retry.cast_unsigned(),
            expire: soa.expire.cast_unsigned(),
            minimum: soa.minimum,
        }),
        other => Rdata::Other(OtherRdata { rr_type: record.record_type().into(), octets: octets(other)? }),
    })
}

/// The wire form, names uncompressed (RFC 3597 4).
fn octets(data: &RData) -> Result<Vec<u8>, Failure> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).map_err(|e| Failure::Malformed(e.to_string()))?;
    Ok(octets)
}

/// Presentation form without a trailing dot; the root is `.`.
fn text_of(name: &Name) -> String {
    let mut text = String::new();
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        for octet in label {
            match octet {
                b'.' | b'\\' => text.extend(['\\', char::from(*octet)]),
                0x21..=0x7e => text.push(char::from(*octet)),
                _ => text.push_str(&format!("\\{octet:03}")),
            }
        }
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// Reads presentation form, with or without a trailing dot.
fn name_from(text: &str) -> Option<Name> {
    if text == "." {
        return Some(Name::root());
    }
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b'.' => {
                labels.push(Vec::new());
                continue;
            }
            b'\\' => escape(&mut octets)?,
            plain => plain,
        };
        labels.last_mut()?.push(octet);
    }
    if labels.last()?.is_empty() {
        labels.pop();
    }
    // An empty label within, a label over 63 octets and a name over 255 are
    // no names.
    if labels.is_empty() || labels.iter().any(|label| label.is_empty() || label.len() > 63) {
        return None;
    }
    let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// What follows a backslash: three decimal digits, or one octet as it is.
fn escape(octets: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = octets.next().filter(u8::is_ascii_digit)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests;
