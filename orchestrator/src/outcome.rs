//! What became of a request, one outcome per record.
//!
//! The contract answers a change with one status and the sets before and after; here that is told record by record.

use std::collections::BTreeMap;
use std::fmt;

use dns_manager_host::contract;
use serde::{Deserialize, Serialize};

use crate::record::RecordType;
use crate::record::value;

/// What became of one record. A field is null where a request did not name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Outcome {
    /// Where it stands.
    pub name: String,
    /// `A`, say.
    pub record_type: Option<String>,
    /// The value as text.
    pub value: Option<String>,
    /// Seconds, as it is or was; as it was asked for, when nothing was done.
    pub ttl: Option<i64>,
    /// In one word.
    pub outcome: Status,
    /// Why, unless it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was done and deserves a look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

/// What became of a record, in rising order of gravity from `refused` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = OutcomeStatus)]
pub enum Status {
    /// It is there, and was not.
    Created,
    /// It differs from what it was.
    Updated,
    /// It is gone.
    Deleted,
    /// It was so already.
    Unchanged,
    /// It cannot succeed as asked; nothing was sent.
    Refused,
    /// Somebody else's data stands there.
    Conflict,
    /// It was surely not done.
    Failed,
    /// Perhaps it was done.
    Unknown,
}

impl Status {
    /// Whether it is now as it was asked for.
    pub fn is_done(self) -> bool {
        match self {
            Self::Created | Self::Updated | Self::Deleted | Self::Unchanged => true,
            Self::Refused | Self::Conflict | Self::Failed | Self::Unknown => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        })
    }
}

impl From<contract::Status> for Status {
    fn from(status: contract::Status) -> Self {
        match status {
            contract::Status::Created => Self::Created,
            contract::Status::Updated => Self::Updated,
            contract::Status::Deleted => Self::Deleted,
            contract::Status::Unchanged => Self::Unchanged,
            contract::Status::Conflict => Self::Conflict,
            contract::Status::Refused => Self::Refused,
            contract::Status::Failed => Self::Failed,
            contract::Status::Unknown => Self::Unknown,
        }
    }
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reason {
    /// For programs: a case of the contract's `code`, or a code of the host's.
    pub code: String,
    /// One line for people.
    pub message: String,
}

impl Reason {
    /// The request breaks a rule.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { code: "invalid".to_owned(), message: message.into() }
    }
}

impl From<&contract::Reason> for Reason {
    fn from(reason: &contract::Reason) -> Self {
        Self { code: reason.code.name().to_owned(), message: reason.message.clone() }
    }
}

impl From<&dns_manager_host::Error> for Reason {
    fn from(error: &dns_manager_host::Error) -> Self {
        match error {
            dns_manager_host::Error::Refused(reason) => reason.into(),
            other => Self { code: other.code().to_owned(), message: crate::error_chain(other) },
        }
    }
}

/// What was asked for, in the terms in which it is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) record_type: Option<RecordType>,
    /// In the text form in which values are compared.
    pub(crate) values: Vec<String>,
    pub(crate) ttl: Option<i64>,
    /// Only what carries this id.
    pub(crate) resource: Option<String>,
}

impl Asked {
    /// Tells the outcome of one change record by record.
    pub(crate) fn expand(&self, outcome: &contract::Outcome) -> Vec<Outcome> {
        let status = Status::from(outcome.status);
        let reason = outcome.reason.as_ref().map(Reason::from);
        let mut outcomes =
            if status.is_done() { self.done(status, outcome) } else { self.not_done(status, reason, outcome) };
        if let Some(first) = outcomes.first_mut() {
            first.warnings = outcome.warnings.iter().map(Reason::from).collect();
        }
        outcomes
    }

    /// The same outcome for everything that was asked for.
    pub(crate) fn all(&self, status: Status, reason: Option<Reason>) -> Vec<Outcome> {
        let one = |value: Option<&String>| Outcome {
            name: value::name_text(&self.name),
            record_type: self.record_type.map(|record_type| record_type.to_string()),
            value: value.cloned(),
            ttl: self.ttl,
            outcome: status,
            reason: reason.clone(),
            warnings: Vec::new(),
        };
        if self.values.is_empty() {
            vec![one(None)]
        } else {
            self.values.iter().map(|value| one(Some(value))).collect()
        }
    }

    fn not_done(&self, status: Status, reason: Option<Reason>, outcome: &contract::Outcome) -> Vec<Outcome> {
        let stored: Vec<_> = outcome.before.iter().filter(|entry| entry.mine && self.is_about(entry)).collect();
        if !self.values.is_empty() || stored.is_empty() {
            return self.all(status, reason);
        }
        // Everything of a name or a type was asked for: name what that is.
        stored.into_iter().map(|entry| told(entry, status, reason.clone())).collect()
    }

    fn done(&self, status: Status, outcome: &contract::Outcome) -> Vec<Outcome> {
        let before: BTreeMap<_, _> = outcome.before.iter().map(|entry| (key(entry), entry)).collect();
        let after: BTreeMap<_, _> = outcome.after.iter().map(|entry| (key(entry), entry)).collect();
        let mut outcomes = Vec::new();
        for (key, entry) in &after {
            let status = match before.get(key) {
                None => Status::Created,
                Some(old) if old.ttl != entry.ttl || old.resource != entry.resource || old.owner != entry.owner => {
                    Status::Updated
                }
                Some(_) => Status::Unchanged,
            };
            // Values beside those asked for appear only when they changed.
            if status != Status::Unchanged || self.names(entry) {
                outcomes.push(told(entry, status, None));
            }
        }
        for (key, entry) in &before {
            if !after.contains_key(key) {
                outcomes.push(told(entry, Status::Deleted, None));
            }
        }
        // Values that are in neither: their removal was asked for, and they were gone already. What was added is there in the form
        // in which it is served, which a warning tells.
        let is_removal = matches!(status, Status::Deleted | Status::Unchanged);
        for value in self.values.iter().filter(|_| is_removal) {
            if !outcomes.iter().any(|outcome| outcome.value.as_ref() == Some(value)) {
                let alone = Self { values: vec![value.clone()], ..self.clone() };
                outcomes.extend(alone.all(status, None));
            }
        }
        outcomes
    }

    /// Whether the request names this very value.
    fn names(&self, entry: &contract::Entry) -> bool {
        self.is_about(entry) && self.values.contains(&value::to_text(&entry.data))
    }

    /// Whether the request is about this name, type and id.
    fn is_about(&self, entry: &contract::Entry) -> bool {
        value::name_text(&entry.name) == value::name_text(&self.name)
            && self.record_type.is_none_or(|record_type| record_type == value::type_of(&entry.data))
            && (self.resource.is_none() || self.resource == entry.resource)
    }
}

/// What makes two entries the same record.
fn key(entry: &contract::Entry) -> (String, RecordType, String) {
    (value::name_text(&entry.name), value::type_of(&entry.data), value::to_text(&entry.data))
}

fn told(entry: &contract::Entry, outcome: Status, reason: Option<Reason>) -> Outcome {
    let (name, record_type, value) = key(entry);
    Outcome {
        name,
        record_type: Some(record_type.to_string()),
        value: Some(value),
        ttl: Some(entry.ttl.into()),
        outcome,
        reason,
        warnings: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
