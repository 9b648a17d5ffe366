//! One DNS question to one name server over one transport, and nothing else: no cache, no retry, no search list.
//!
//! What the component asks goes through the host's resolver; this is for what an operator would type `dig` for.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use uuid::Uuid;

use crate::verification::rcode_name;

/// What carries a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    name: &'a str,
    rr_type: RecordType,
    class: DNSClass,
}

impl<'a> Question<'a> {
    pub(crate) fn a(name: &'a str) -> Self {
        Self { name, rr_type: RecordType::A, class: DNSClass::IN }
    }

    pub(crate) fn txt(name: &'a str) -> Self {
        Self { name, rr_type: RecordType::TXT, class: DNSClass::IN }
    }

    pub(crate) fn soa(name: &'a str) -> Self {
        Self { name, rr_type: RecordType::SOA, class: DNSClass::IN }
    }

    /// Which program answers; many do not tell.
    pub(crate) fn version() -> Self {
        Self { name: "version.bind", rr_type: RecordType::TXT, class: DNSClass::CH }
    }

    /// Asks it.
    ///
    /// # Errors
    ///
    /// One line: nothing came in time, or what came is no answer.
    pub(crate) async fn ask(self, server: &str, over: Transport, patience: Duration) -> Result<Answer, String> {
        let name = Name::from_ascii(self.name).map_err(|error| error.to_string())?;
        let mut query = Query::query(name, self.rr_type);
        query.set_query_class(self.class);
        let mut message = Message::new(random_id(), MessageType::Query, OpCode::Query);
        message.add_query(query);
        let question = message.to_vec().map_err(|error| error.to_string())?;

        let octets = match tokio::time::timeout(patience, exchange(server, &question, over)).await {
            Ok(Ok(octets)) => octets,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no answer within {}", humantime::format_duration(patience))),
        };
        let answer = Message::from_vec(&octets).map_err(|error| format!("what came is no DNS answer: {error}"))?;
        if answer.metadata.id != message.metadata.id || answer.metadata.message_type != MessageType::Response {
            return Err("what came is no answer to the question".to_owned());
        }
        Ok(Answer {
            rcode: rcode_name(u16::from(answer.metadata.response_code)),
            values: answer
                .answers
                .iter()
                .filter(|rr| rr.record_type() == self.rr_type)
                .map(|rr| text(&rr.data))
                .collect(),
            ttl: answer.answers.iter().chain(&answer.authorities).map(|rr| rr.ttl).min(),
        })
    }
}

/// An answer, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `NOERROR`, say.
    pub(crate) rcode: String,
    /// The values of the type that was asked for.
    pub(crate) values: Vec<String>,
    /// The lowest TTL; of a negative answer, of its SOA.
    pub(crate) ttl: Option<u32>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rcode)?;
        if !self.values.is_empty() {
            write!(f, " {}", self.values.join(" "))?;
        }
        match self.ttl {
            Some(ttl) => write!(f, " (TTL {ttl})"),
            None => Ok(()),
        }
    }
}

async fn exchange(server: &str, question: &[u8], over: Transport) -> io::Result<Vec<u8>> {
    let server = look_up(server).await?;
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
            let length = u16::try_from(question.len()).map_err(io::Error::other)?;
            stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
            let mut octets = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut octets).await?;
            Ok(octets)
        }
    }
}

/// The first address of a `host:port`.
async fn look_up(server: &str) -> io::Result<SocketAddr> {
    let no_address = || io::Error::other(format!("{server} has no address"));
    tokio::net::lookup_host(server).await?.next().ok_or_else(no_address)
}

/// The last octets of a new id are random.
fn random_id() -> u16 {
    let [.., high, low] = *Uuid::now_v7().as_bytes();
    u16::from_be_bytes([high, low])
}

fn text(data: &RData) -> String {
    match data {
        RData::TXT(txt) => String::from_utf8_lossy(&txt.txt_data.concat()).into_owned(),
        other => other.to_string(),
    }
}
