//! The contract's own words: the types of `wit/`, under their WIT names.
//!
//! This is the one border between generated code and the rest. What stands
//! below the re-exports is conversion only, no decision about DNS.

use std::net::IpAddr;

pub use crate::bindings::exports::provisioning::dns::dns_manager::{
    Action, Change, Check, Expectation, Filter, Info, Level, Outcome, Page, Problem, Seen, Status, Verdict,
    Verification,
};
pub use crate::bindings::provisioning::dns::dns_types::{
    Code, Entry, Mx, Options, OtherRdata, Rdata, Reason, RecordSet, Selector, Soa, Srv,
};

impl Code {
    /// The case's name, as the WIT file spells it; the text of `other`.
    ///
    /// ```
    /// use dns_manager_host::contract::Code;
    ///
    /// assert_eq!(Code::OutsideZones.name(), "outside-zones");
    /// ```
    pub fn name(&self) -> &str {
        match self {
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::OutsideZones => "outside-zones",
            Self::Coexistence => "coexistence",
            Self::OwnedBy(_) => "owned-by",
            Self::Changed => "changed",
            Self::Contention => "contention",
            Self::Unavailable => "unavailable",
            Self::Protocol => "protocol",
            Self::Denied => "denied",
            Self::Full => "full",
            Self::Deadline => "deadline",
            Self::CursorExpired => "cursor-expired",
            Self::TooMany => "too-many",
            Self::Misconfigured => "misconfigured",
            Self::Other(name) => name,
        }
    }
}

impl Reason {
    /// A reason without attributes.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), attributes: Vec::new() }
    }
}

impl Status {
    /// The case's name, as the WIT file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the change is in force: made now, or before.
    pub fn is_done(self) -> bool {
        match self {
            Self::Created | Self::Updated | Self::Deleted | Self::Unchanged => true,
            Self::Conflict | Self::Refused | Self::Failed | Self::Unknown => false,
        }
    }
}

impl Verdict {
    /// The case's name, as the WIT file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unreachable => "unreachable",
            Self::NotFound => "not-found",
            Self::Mismatch => "mismatch",
        }
    }
}

impl Level {
    /// The case's name, as the WIT file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Default for Filter {
    /// Everything.
    fn default() -> Self {
        Self { zone: None, name: None, below: false, rr_type: None, owner: None, resource: None }
    }
}

impl From<IpAddr> for Rdata {
    /// `a` or `aaaa`, by the address's family.
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::A(v4.octets().into()),
            IpAddr::V6(v6) => Self::Aaaa(v6.segments().into()),
        }
    }
}
