//! Who calls: by a token, by the secret of this instance, or nobody in particular.

use std::net::IpAddr;

use crate::name::Name;
use crate::token::Role;

/// The id in what a command on this machine presents; no token has it.
pub(crate) const LOCAL_ID: &str = "local";

/// Who calls, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) who: Who,
    pub(super) role: Role,
    /// Empty: all.
    pub(super) zones: Vec<Name>,
    pub(super) address: Option<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A command on this machine that can read our directory.
    Local,
    /// Anybody who reaches us.
    Anonymous,
    /// The owner of a token.
    Token { name: String, id: String },
}

impl Caller {
    pub(super) fn new(who: Who, role: Role, address: Option<IpAddr>) -> Self {
        Self { who, role, zones: Vec::new(), address }
    }

    /// As the audit log calls it.
    pub(super) fn name(&self) -> &str {
        match &self.who {
            Who::Local => "local",
            Who::Anonymous => "anonymous",
            Who::Token { name, .. } => name,
        }
    }
}
