//! Changes that are made only while a record set is as somebody read it.

use dns_manager_host::{Call, Error};
use sha2::{Digest as _, Sha256};

use super::{Planned, Registry, Selection, Wanted, removal};
use crate::change::nothing;
use crate::dns;
use crate::outcome::{Outcome, Reason, Status};
use crate::record::{Record, RecordSet, RecordType};
use dns_manager_host::contract::{Action, Outcome as Named};

/// Names the state of a record set: the same values, times to live and owners have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetTag(String);

impl SetTag {
    /// Of these records, whatever their order.
    pub fn of(records: &[Record]) -> Self {
        let mut lines: Vec<_> = records
            .iter()
            .map(|record| format!("{:?}", (&record.record_type, &record.value, record.ttl, &record.owner)))
            .collect();
        lines.sort_unstable();
        let digest = Sha256::digest(lines.join("\n"));
        Self(data_encoding::HEXLOWER.encode(digest.get(..16).unwrap_or_default()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a conditional change was not tried.
#[derive(Debug, thiserror::Error)]
pub enum ConditionError {
    /// It was read, and has changed since.
    #[error("the record set {name} {record_type} is not as it was read: read it again")]
    Changed {
        /// Where it stands.
        name: String,
        /// `A`, say.
        record_type: String,
    },
    /// Nothing would keep others from writing in between.
    #[error("the plugin cannot make a change depend on what was read: it has not the feature `expect`")]
    Unsupported,
    /// What there is cannot be read.
    #[error(transparent)]
    Dns(#[from] Error),
}

impl Registry {
    /// As [`update`](Self::update), only while the set's tag is one that `is_expected`.
    ///
    /// # Errors
    ///
    /// It is another one, or cannot be read; nothing was written.
    pub async fn update_if(
        &self,
        set: &RecordSet,
        is_expected: impl Fn(&SetTag) -> bool,
    ) -> Result<Vec<Outcome>, ConditionError> {
        let planned = self.planned(set, Action::Replace);
        self.change_if(planned, &set.name, &set.record_type, is_expected).await
    }

    /// As [`unregister`](Self::unregister) of one type, only while the set's tag is one that `is_expected`.
    ///
    /// # Errors
    ///
    /// As [`update_if`](Self::update_if).
    pub async fn unregister_if(
        &self,
        selection: &Selection,
        record_type: RecordType,
        is_expected: impl Fn(&SetTag) -> bool,
    ) -> Result<Vec<Outcome>, ConditionError> {
        let selection = Selection { record_type: Some(record_type), ..selection.clone() };
        self.change_if(removal(&selection), &selection.name, &record_type.to_string(), is_expected).await
    }

    /// The set is named by the plugin first, then compared, then written under that name: a change of somebody else, at
    /// whatever moment, is seen by the comparison or by the plugin.
    async fn change_if(
        &self,
        planned: Planned,
        name: &str,
        record_type: &str,
        is_expected: impl Fn(&SetTag) -> bool,
    ) -> Result<Vec<Outcome>, ConditionError> {
        let changed = || ConditionError::Changed { name: name.to_owned(), record_type: record_type.to_owned() };
        let (asked, mut change) = match planned {
            Planned::Refused(refused) => return Ok(refused),
            Planned::Change(asked, change) => (asked, change),
        };
        // What is changed on condition is one set.
        let Some(of_type) = asked.record_type else { return Err(ConditionError::Unsupported) };
        let call = Call { dry_run: true, ..dns::usual_call() };
        let named = self.dns.apply(vec![nothing(name.to_owned(), of_type)], call).await?.into_iter().next();
        let wanted = Wanted { name: Some(name.to_owned()), record_type: Some(of_type), ..Wanted::default() };
        if !is_expected(&SetTag::of(&self.list(wanted).await?.records)) {
            return Err(changed());
        }
        match named {
            // What cannot be looked at cannot be changed either, and says why.
            Some(named) if !Status::from(named.status).is_done() => return Ok(asked.expand(&named)),
            Some(Named { token: Some(token), .. }) => change.expect = Some(token),
            Some(Named { token: None, .. }) | None => return Err(ConditionError::Unsupported),
        }
        let outcomes = self.apply(vec![Planned::Change(asked, change)]).await;
        let is_changed = |reason: &Reason| reason.code == "changed";
        if outcomes.iter().any(|outcome| outcome.reason.as_ref().is_some_and(is_changed)) {
            return Err(changed());
        }
        Ok(outcomes)
    }
}
