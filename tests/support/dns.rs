//! A small DNS client, whose answers are lines of text.
//!
//! A record is `owner ttl type rdata`, as the case file has it. The codec is
//! hickory's; nothing is shared with the component or its host's resolver.

use std::{fmt::Write, io, net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RData, Record, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// What carries a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// One connection for one question.
    Tcp,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `NOERROR`, `NXDOMAIN`, ...
    pub rcode: String,
    /// The AA bit.
    pub authoritative: bool,
    /// The TC bit.
    pub truncated: bool,
    /// The answer section.
    pub answers: Vec<String>,
    /// The authority section.
    pub authority: Vec<String>,
    /// The additional section, without OPT.
    pub additional: Vec<String>,
    /// The joined octets of each TXT record in the answer section.
    pub texts: Vec<Vec<u8>>,
}

impl Answer {
    /// The answer section, sorted.
    pub fn sorted(&self) -> Vec<String> {
        let mut answers = self.answers.clone();
        answers.sort();
        answers
    }
}

/// Asks over TCP, patiently.
///
/// # Panics
///
/// When nothing comes.
pub async fn ask(server: SocketAddr, name: &str, rr_type: &str) -> Answer {
    try_ask(server, name, rr_type, Transport::Tcp, Duration::from_secs(15))
        .await
        .unwrap_or_else(|error| panic!("{server} on {name} {rr_type}: {error}"))
}

/// Asks once.
///
/// # Errors
///
/// Of kind `TimedOut` when nothing comes in time; what the network says
/// otherwise, or `InvalidData` for what is no answer to the question.
pub async fn try_ask(
    server: SocketAddr,
    name: &str,
    rr_type: &str,
    over: Transport,
    patience: Duration,
) -> io::Result<Answer> {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.add_query(Query::query(parse_name(name), parse_type(rr_type)));
    let question = message.to_vec().map_err(invalid)?;
    let octets = tokio::time::timeout(patience, exchange(server, &question, over))
        .await
        .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
    let answer = Message::from_vec(&octets).map_err(invalid)?;
    if answer.metadata.id != message.metadata.id {
        return Err(invalid("the answer has another id"));
    }
    Ok(Answer {
        rcode: rcode(answer.metadata.response_code.into()),
        authoritative: answer.metadata.authoritative,
        truncated: answer.metadata.truncation,
        answers: answer.answers.iter().map(line).collect(),
        authority: answer.authorities.iter().map(line).collect(),
        additional: answer.additionals.iter().map(line).collect(),
        texts: answer.answers.iter().filter_map(joined_text).collect(),
    })
}

async fn exchange(server: SocketAddr, question: &[u8], over: Transport) -> io::Result<Vec<u8>> {
    match over {
        Transport::Udp => {
            let own = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(own).await?;
            socket.connect(server).await?;
            socket.send(question).await?;
            let mut octets = vec![0; 65_535];
            let length = socket.recv(&mut octets).await?;
            octets.truncate(length);
            Ok(octets)
        }
        Transport::Tcp => {
            let mut stream = TcpStream::connect(server).await?;
            let length = u16::try_from(question.len()).map_err(invalid)?;
            stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
            let mut octets = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut octets).await?;
            Ok(octets)
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn rcode(code: u16) -> String {
    match code {
        0 => "NOERROR".to_owned(),
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("RCODE{other}"),
    }
}

fn parse_type(text: &str) -> RecordType {
    text.parse().unwrap_or_else(|error| panic!("type {text}: {error}"))
}

/// Reads the presentation form, `\DDD` and `\x` included (RFC 1035 5.1).
fn parse_name(text: &str) -> Name {
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'.' => labels.push(Vec::new()),
            b'\\' => {
                let next = octets.next().expect("something follows a backslash");
                let octet = if next.is_ascii_digit() {
                    let digits = [Some(next), octets.next(), octets.next()];
                    digits.iter().flatten().fold(0, |sum, digit| sum * 10 + (digit - b'0'))
                } else {
                    next
                };
                labels.last_mut().expect("there is always a label").push(octet);
            }
            other => labels.last_mut().expect("there is always a label").push(other),
        }
    }
    labels.retain(|label| !label.is_empty());
    Name::from_labels(labels).unwrap_or_else(|error| panic!("name {text}: {error}"))
}

fn line(record: &Record) -> String {
    let (rr_type, rdata) = rdata(&record.data);
    format!("{} {} {rr_type} {rdata}", name(&record.name), record.ttl)
}

fn rdata(data: &RData) -> (String, String) {
    let text = match data {
        RData::A(address) => address.to_string(),
        RData::AAAA(address) => address.to_string(),
        RData::CNAME(target) => name(target),
        RData::NS(target) => name(target),
        RData::PTR(target) => name(target),
        RData::MX(mx) => format!("{} {}", mx.preference, name(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target)),
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            name(&soa.mname),
            name(&soa.rname),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        RData::TXT(txt) => txt.txt_data.iter().map(|chunk| quoted(chunk)).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    (data.record_type().to_string(), text)
}

fn name(name: &Name) -> String {
    let mut text = String::new();
    for label in name.iter() {
        for octet in label {
            match octet {
                b'.' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                    text.push('\\');
                    text.push(char::from(*octet));
                }
                0x21..=0x7e => text.push(char::from(*octet)),
                other => write!(text, "\\{other:03}").expect("a string takes everything"),
            }
        }
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

fn quoted(chunk: &[u8]) -> String {
    let mut text = String::from("\"");
    for octet in chunk {
        match octet {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*octet));
            }
            0x20..=0x7e => text.push(char::from(*octet)),
            other => write!(text, "\\{other:03}").expect("a string takes everything"),
        }
    }
    text.push('"');
    text
}

fn joined_text(record: &Record) -> Option<Vec<u8>> {
    match &record.data {
        RData::TXT(txt) => Some(txt.txt_data.concat()),
        _ => None,
    }
}
