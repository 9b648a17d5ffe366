//! etcd's v3 JSON gateway: what is asked of it and what it answers.
//!
//! Keys and values are base64, 64-bit numbers are text, what is zero or empty is left out. Which answer means what is in
//! [`fault`]; the rules are those of etcd 3.4 to 3.7, measured.

pub mod fault;
pub mod message;

use std::time::Duration;

use serde_json::Value;

use crate::{
    etcd::{
        fault::Fault,
        message::{Compare, KeyValue},
    },
    ports::HttpClient,
};

/// Operations that etcd takes in one transaction by default (`--max-txn-ops`).
pub const MAX_OPERATIONS: usize = 128;
/// Octets of a request that stay below etcd's limit of 1.5 MiB, base64 included.
pub const MAX_BYTES: usize = 1 << 20;

/// Keys from `start` up to, not with, `end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first key.
    pub start: Vec<u8>,
    /// Behind the last key.
    pub end: Vec<u8>,
    /// The most keys to read; 0 for all.
    pub limit: u32,
}

impl Range {
    /// Exactly one key.
    pub fn key(key: &str) -> Self {
        let start = key.as_bytes().to_vec();
        let end = [start.as_slice(), &[0]].concat();
        Self { start, end, limit: 1 }
    }

    /// The keys between two.
    pub fn between(start: String, end: String) -> Self {
        Self { start: start.into_bytes(), end: end.into_bytes(), limit: 0 }
    }

    /// The same with a limit.
    #[must_use]
    pub fn limited(self, limit: u32) -> Self {
        Self { limit, ..self }
    }

    /// Whether it can hold one key only.
    pub(crate) fn is_key(&self) -> bool {
        self.end.split_last().is_some_and(|(last, rest)| *last == 0 && rest == self.start)
    }
}

/// What a range held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of the keys.
    pub entries: Vec<KeyValue>,
    /// Whether there are more, behind the limit.
    pub more: bool,
}

/// A guarded write: all of it, or nothing when a comparison fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold.
    pub compares: Vec<Compare>,
    /// Keys and values to put.
    pub puts: Vec<(String, String)>,
    /// Keys to delete, exactly.
    pub deletes: Vec<String>,
}

/// How a guarded write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Written, at this revision.
    Committed(u64),
    /// A comparison failed; nothing was written.
    Compared,
}

/// The gateway of one etcd.
pub struct Gateway<'a> {
    http: &'a dyn HttpClient,
}

impl<'a> Gateway<'a> {
    /// Over this client.
    pub fn new(http: &'a dyn HttpClient) -> Self {
        Self { http }
    }

    /// Reads ranges in one transaction: all as of one revision, which comes with them.
    ///
    /// `revision`: as of this earlier one.
    ///
    /// # Errors
    ///
    /// [`Fault`]; a read can always be tried again.
    pub fn read(&self, ranges: &[Range], revision: Option<u64>, timeout: Duration) -> Result<(u64, Vec<Found>), Fault> {
        let body = message::read(ranges, revision);
        let first = ranges.first().map(|range| range.start.as_slice()).unwrap_or_default();
        let reply = self.call(&body, first, timeout)?;
        message::found(&reply, ranges.len())
    }

    /// Writes, if the comparisons hold.
    ///
    /// # Errors
    ///
    /// [`Fault`]; [`Fault::may_be_done`] tells whether it may have been written nevertheless.
    pub fn write(&self, transaction: &Transaction, timeout: Duration) -> Result<Written, Fault> {
        let body = message::write(transaction);
        let first = transaction.puts.first().map(|(key, _)| key).or(transaction.deletes.first());
        let first = first.map(String::as_bytes).unwrap_or_default();
        let reply = self.call(&body, first, timeout)?;
        message::written(&reply)
    }

    fn call(&self, body: &Value, first: &[u8], timeout: Duration) -> Result<Value, Fault> {
        let body = body.to_string();
        let reply = self.http.send("/v3/kv/txn", Some(body.as_bytes()), timeout)?;
        fault::judge(reply, first)
    }
}
