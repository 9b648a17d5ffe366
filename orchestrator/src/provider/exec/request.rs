//! What the program is asked.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::name::HostName;
use crate::server::Server;

/// Of the protocol; another one would be another number.
const VERSION: u32 = 1;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verb {
    Create,
    Status,
    Stop,
    Delete,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Status => "status",
            Self::Stop => "stop",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The document on the program's standard input.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Request<'a> {
    version: u32,
    pub(super) verb: Verb,
    /// How often the step that asks was begun, this time included.
    attempt: u32,
    timeout_ms: u64,
    pub(super) server: Subject<'a>,
}

/// The server that it is about.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Subject<'a> {
    id: Uuid,
    pub(super) hostname: &'a HostName,
    addresses: &'a [IpAddr],
}

impl<'a> Request<'a> {
    pub(super) fn new(verb: Verb, server: &'a Server, limit: Duration) -> Self {
        Self {
            version: VERSION,
            verb,
            attempt: server.steps.last().map_or(1, |step| step.attempts),
            timeout_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            server: Subject { id: server.id, hostname: &server.hostname, addresses: &server.addresses },
        }
    }
}
