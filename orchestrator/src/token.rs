//! Tokens: who may use the REST API, how far, and until when.
//!
//! A token is `dnsm_<id>_<secret>`. The id is no secret: it finds the entry. The secret has 256 random bits, and only its
//! SHA-256 is kept. A slow hash with salt protects what people can remember, by making each guess dear; here there is nothing
//! to guess, since 2^256 are too many at any price, and each request would pay for it. [`Store`] is the file, [`Tokens`] is
//! the file as a service sees it, which notices changes at once.

mod digest;
mod store;
mod tokens;

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

pub use digest::Digest;
pub use store::{Error, Store};
pub use tokens::Tokens;

use crate::name::Name;
use crate::timestamp::Timestamp;

/// What all tokens start with, so that tools that look for leaked secrets find them.
const PREFIX: &str = "dnsm_";
const MAX_NAME: usize = 63;
/// Names that stand for callers without a token.
const RESERVED: [&str; 2] = ["local", "anonymous"];

/// What a token allows; each allows what those before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look: lists, verification, plans.
    Read,
    /// Change records and servers.
    Write,
    /// Repair, reconcile, adopt and release.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// What is kept of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What people call it.
    pub name: String,
    /// Finds it; no secret.
    pub id: String,
    /// What it allows.
    pub role: Role,
    /// Where it allows that; empty: everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<Name>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; none: when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    sha256: Digest,
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Where; empty: everywhere.
    pub zones: Vec<Name>,
    /// How long.
    pub expires: Option<Duration>,
}

impl Token {
    /// A new one, and what its owner presents, which is known only now.
    pub(crate) fn make(wanted: Wanted) -> (Self, String) {
        let (id, secret) = (HEXLOWER.encode(&rand::random::<[u8; 4]>()), secret());
        let created_at = Timestamp::now();
        let token = Self {
            name: wanted.name,
            role: wanted.role,
            zones: wanted.zones,
            created_at,
            expires_at: wanted.expires.map(|expires| created_at.after(expires)),
            sha256: Digest::of(&secret),
            id,
        };
        let presented = present(&token.id, &secret);
        (token, presented)
    }

    /// Whether its time is over.
    pub fn is_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= Timestamp::now())
    }

    /// Whether this is its secret.
    pub(crate) fn accepts(&self, presented: &Presented<'_>) -> bool {
        self.id == presented.id && self.sha256.matches(&Digest::of(presented.secret))
    }
}

/// 256 random bits as text.
pub(crate) fn secret() -> String {
    HEXLOWER.encode(&rand::random::<[u8; 32]>())
}

/// What the owner of a secret sends.
pub(crate) fn present(id: &str, secret: &str) -> String {
    format!("{PREFIX}{id}_{secret}")
}

/// What somebody sent.
#[derive(Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret: &'a str,
}

impl<'a> Presented<'a> {
    /// None: it has not the form of a token.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        Some(Self { id, secret })
    }
}

/// Why a token cannot be called this.
fn name_problem(name: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_allowed) {
        return Some(format!("use at most {MAX_NAME} letters, digits, \"-\", \"_\" and \".\""));
    }
    RESERVED.contains(&name).then(|| "callers without a token are called that: use another name".to_owned())
}

#[cfg(test)]
mod tests;
