//! Why something was not done: a code for programs, a line for people.

use std::fmt;

/// A code for programs; the same cases as `code` in `wit/dns-types.wit`, where each is explained.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in the contract")]
pub enum Code {
    Changed,
    Coexistence,
    Contention,
    CursorExpired,
    Deadline,
    Denied,
    Full,
    Invalid,
    Misconfigured,
    Other(String),
    OutsideZones,
    OwnedBy(Option<String>),
    Protocol,
    TooMany,
    Unavailable,
    Unsupported,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// For programs.
    pub code: Code,
    /// One line for people: what, where, what to do.
    pub message: String,
}

impl Reason {
    /// Of a code and a line.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The request breaks a rule.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Code::Invalid, message.to_string())
    }

    /// It cannot be served.
    pub fn unsupported(message: impl fmt::Display) -> Self {
        Self::new(Code::Unsupported, message.to_string())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Reason {}
