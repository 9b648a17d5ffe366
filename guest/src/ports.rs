//! What the logic needs from outside, as small traits with plain types.
//!
//! On WebAssembly `component` implements them over the imports of the world;
//! natively, tests implement them with what they need.

use std::time::Duration;

use crate::{name::Name, rdata::RData, rdata::RrType};

/// HTTP to the backend, one request at a time.
pub trait HttpClient {
    /// Posts JSON to `path` of the backend (or gets it, when there is no body) and reads the answer whole.
    ///
    /// # Errors
    ///
    /// [`HttpFault`]; what matters is whether the request may have arrived.
    fn send(&self, path: &str, body: Option<&[u8]>, timeout: Duration) -> Result<HttpReply, HttpFault>;
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// Why there is no answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// The host's policy forbids it; nothing was sent.
    Denied(String),
    /// It was surely not sent.
    NotSent(String),
    /// It was surely not sent: a certificate does not fit, theirs or ours. Trying again does not help.
    NotTrusted(String),
    /// It was sent, perhaps; what became of it is not known.
    Lost(String),
    /// The answer was larger than is taken.
    TooLarge,
}

/// Questions to the configured name servers.
pub trait Resolver {
    /// The ids of the name servers, in order.
    fn servers(&self) -> Vec<String>;
    /// Asks all of them side by side; answer i is for question i.
    fn ask(&self, questions: &[Question]) -> Vec<Result<Answer, DnsFault>>;
}

/// One question to one name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The id of the name server.
    pub server: String,
    /// The name asked for.
    pub name: Name,
    /// The type asked for.
    pub rr_type: RrType,
    /// For the whole exchange. UDP first, TCP when the answer is truncated.
    pub timeout: Duration,
}

/// A record in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rr {
    /// Where it stands.
    pub name: Name,
    /// Seconds.
    pub ttl: u32,
    /// The value.
    pub data: RData,
}

/// An answer as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The response code (RFC 6895 2.3).
    pub rcode: u16,
    /// AA.
    pub authoritative: bool,
    /// TC, after TCP was tried.
    pub truncated: bool,
    /// From the first packet to this answer.
    pub elapsed: Duration,
    /// The answer section.
    pub answers: Vec<Rr>,
    /// The authority section.
    pub authorities: Vec<Rr>,
}

/// Why a name server gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsFault {
    /// Nothing came in time.
    Timeout,
    /// It was not reached.
    Unreachable(String),
    /// What came is no answer to the question.
    Malformed(String),
    /// The host's policy forbids it.
    Denied,
    /// Another reason.
    Other(String),
}

/// Time that only goes forward.
pub trait Clock {
    /// Since some fixed moment.
    fn now(&self) -> Duration;
    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The operator's settings.
pub trait Settings {
    /// The value of a key, if it is set.
    fn get(&self, key: &str) -> Option<String>;
}

/// Log lines.
pub trait Log {
    /// Writes one line.
    fn write(&self, level: LogLevel, message: &str);
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// For who hunts a fault.
    Debug,
    /// For the record.
    Info,
    /// Something deserves a look.
    Warn,
    /// Something went wrong.
    Error,
}

/// All that the logic needs, in one place.
pub trait Ports {
    /// HTTP to the backend.
    fn http(&self) -> &dyn HttpClient;
    /// The name servers.
    fn resolver(&self) -> &dyn Resolver;
    /// Time.
    fn clock(&self) -> &dyn Clock;
    /// Settings.
    fn settings(&self) -> &dyn Settings;
    /// Log lines.
    fn log(&self) -> &dyn Log;
}
