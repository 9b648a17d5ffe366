//! What can be asked of records, and what became of it.

use std::collections::BTreeMap;

use crate::{
    name::Name,
    rdata::{RData, RrType},
    reason::Reason,
    record::{Record, RecordSet},
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// These values are present afterwards; others of the set stay and take the same TTL.
    Add(RecordSet),
    /// Our values of this name and type become exactly these.
    Replace(RecordSet),
    /// These values are absent afterwards.
    Remove(Selector),
    /// Values of another owner, or of none, become ours.
    Adopt(Selector),
    /// Our mark goes from these values; they stay, in the same form.
    Release(Selector),
    /// The keys of a name become what its records need: what a repair is made of.
    Mend(Mend),
}

impl Action {
    /// The name that it is about.
    pub fn name(&self) -> &Name {
        match self {
            Self::Add(set) | Self::Replace(set) => &set.name,
            Self::Remove(selector) | Self::Adopt(selector) | Self::Release(selector) => &selector.name,
            Self::Mend(mend) => &mend.name,
        }
    }
}

/// A name whose keys are to be what its records need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mend {
    /// Which.
    pub name: Name,
    /// Alias guards of it, by the last component of their keys, and whether there is an alias for each.
    pub guards: BTreeMap<String, bool>,
    /// The revision as of which that is so.
    pub as_of: u64,
}

/// Values that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Where they stand.
    pub name: Name,
    /// None: of all types.
    pub rr_type: Option<RrType>,
    /// Empty: all values.
    pub data: Vec<RData>,
    /// Some: only values that carry this id.
    pub resource: Option<String>,
}

impl Selector {
    /// Tells whether `record` is one of these values.
    pub fn selects(&self, record: &Record) -> bool {
        record.name == self.name
            && self.rr_type.is_none_or(|rr_type| record.rr_type() == rr_type)
            && (self.data.is_empty() || self.data.contains(&record.data))
            && (self.resource.is_none() || record.resource == self.resource)
    }
}

/// One item of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What to do.
    pub action: Action,
    /// The id of the server that added values belong to.
    pub resource: Option<String>,
    /// The token of an earlier outcome.
    pub expect: Option<String>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Something is there that was absent.
    Created,
    /// What was there differs now.
    Updated,
    /// What was there is gone.
    Deleted,
    /// It was so already.
    Unchanged,
    /// Somebody else's data, or newer data, stands there.
    Conflict,
    /// It cannot succeed as asked.
    Refused,
    /// It was surely not written.
    Failed,
    /// Perhaps it was written.
    Unknown,
}

/// What became of a change, and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In one word.
    pub status: Status,
    /// For the last four.
    pub reason: Option<Reason>,
    /// What was done nevertheless and deserves a look.
    pub warnings: Vec<Reason>,
    /// The sets concerned as read.
    pub before: Vec<Record>,
    /// The sets concerned as left.
    pub after: Vec<Record>,
    /// Names this state.
    pub token: Option<String>,
    /// What was found to be different from what the records need.
    pub problems: Vec<Problem>,
}

impl Outcome {
    /// Of a change that was not made, for `reason`.
    pub fn without_effect(status: Status, reason: Reason) -> Self {
        Self {
            status,
            reason: Some(reason),
            warnings: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            token: None,
            problems: Vec::new(),
        }
    }
}

/// Which records to list: those that fulfil every field that is some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this zone.
    pub zone: Option<Name>,
    /// At this name.
    pub name: Option<Name>,
    /// With `name`: at the names below it, too.
    pub below: bool,
    /// Of this type.
    pub rr_type: Option<RrType>,
    /// Bearing this owner's mark.
    pub owner: Option<String>,
    /// Carrying this id.
    pub resource: Option<String>,
}

/// Something in the backend that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, as text.
    pub place: String,
    /// What is wrong there.
    pub reason: Reason,
    /// Whether it was put right.
    pub mended: bool,
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys.
    pub records: Vec<Record>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// For the next page.
    pub next: Option<String>,
}
