//! The operations on records, as REST and command line offer them.
//!
//! Requests are text; what cannot be put into the contract's types is refused here, per record set, and the rest goes on.

mod condition;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use condition::{ConditionError, SetTag};
use dns_manager_host::contract::{Action, Change, Expectation, Filter, RecordSet as ContractSet, Selector};
use dns_manager_host::{Call, Error};

use crate::change::{self, asked, broken, parse_values, with_values};
use crate::dns::{self, Dns};
use crate::outcome::{Asked, Outcome, Reason, Status};
use crate::pointer;
use crate::record::{Record, RecordSet, RecordType, Ttl, excerpt};
use crate::repair::Problem;
use crate::verification::Verification;

/// Added to the wait of a verification, for reading what is stored and a last round of questions.
const VERIFY_MARGIN: Duration = Duration::from_secs(10);
/// A repair looks at every key of a zone.
const REPAIR_BUDGET: Duration = Duration::from_secs(600);

/// The records that are registered.
#[derive(Clone)]
pub struct Registry {
    dns: Arc<dyn Dns>,
    ttl: Ttl,
    ptr: bool,
}

/// Which records to list: those that fit every field that is some.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// In this zone.
    pub zone: Option<String>,
    /// At this name.
    pub name: Option<String>,
    /// With `name`: at the names below it, too.
    pub below: bool,
    /// Of this type.
    pub record_type: Option<RecordType>,
    /// Bearing this owner's mark.
    pub owner: Option<String>,
    /// Of this server.
    pub resource: Option<String>,
}

/// What is registered.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The records.
    pub records: Vec<Record>,
    /// What could not be read, one line each.
    pub problems: Vec<String>,
}

/// Values that are to be removed or verified: all of a name, of a type, or just some.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Where they stand.
    pub name: String,
    /// None: all types.
    pub record_type: Option<RecordType>,
    /// Empty: all values. Others only with a type.
    pub values: Vec<String>,
}

impl Registry {
    /// On this DNS; `ttl` is for records that name none.
    pub fn new(dns: Arc<dyn Dns>, ttl: Ttl) -> Self {
        Self { dns, ttl, ptr: false }
    }

    /// With `ptr`, each A and AAAA gets its PTR.
    pub fn with_ptr(self, ptr: bool) -> Self {
        Self { ptr, ..self }
    }

    /// Lists what is registered.
    ///
    /// # Errors
    ///
    /// It could not be read.
    pub async fn list(&self, wanted: Wanted) -> Result<Listing, Error> {
        let filter = Filter {
            zone: wanted.zone,
            name: wanted.name,
            below: wanted.below,
            rr_type: wanted.record_type.map(RecordType::number),
            owner: wanted.owner,
            resource: wanted.resource,
        };
        let page = self.dns.list(filter, dns::usual_call()).await?;
        Ok(Listing {
            records: page.entries.iter().map(Record::from).collect(),
            problems: page
                .problems
                .iter()
                .map(|problem| format!("{}: {}", problem.place, problem.reason.message))
                .collect(),
        })
    }

    /// Adds the values of each set to those that are there.
    pub async fn register(&self, sets: &[RecordSet]) -> Vec<Outcome> {
        self.apply(sets.iter().map(|set| self.planned(set, Action::Add)).collect()).await
    }

    /// Makes our values of the set exactly these.
    pub async fn update(&self, set: &RecordSet) -> Vec<Outcome> {
        self.apply(vec![self.planned(set, Action::Replace)]).await
    }

    /// Removes values of ours.
    pub async fn unregister(&self, selection: &Selection) -> Vec<Outcome> {
        self.apply(vec![removal(selection)]).await
    }

    /// Makes values of another owner, or of none, ours.
    pub async fn adopt(&self, name: &str, record_type: Option<RecordType>) -> Vec<Outcome> {
        self.apply(vec![selected(name, record_type, Action::Adopt)]).await
    }

    /// Takes our mark from values; they stay.
    pub async fn release(&self, name: &str, record_type: Option<RecordType>) -> Vec<Outcome> {
        self.apply(vec![selected(name, record_type, Action::Release)]).await
    }

    /// Compares what is stored below a zone with what its records need, and mends what is ours; in a dry run only tells.
    ///
    /// # Errors
    ///
    /// It could not be compared to its end; what was mended before is mended.
    pub async fn repair(&self, zone: &str, is_dry: bool) -> Result<Vec<Problem>, Error> {
        let call = Call { dry_run: is_dry, ..dns::call(REPAIR_BUDGET) };
        let page = self.dns.repair(zone.to_owned(), call).await?;
        // A dry run meets what is missing above many names once with each page of them.
        let mut places = BTreeSet::new();
        let met = page.problems.iter().filter(|problem| places.insert(problem.place.clone()));
        Ok(met.map(|problem| Problem::new(zone, problem)).collect())
    }

    /// Repairs one zone after the other: what was found in one stands even if another cannot be looked at, which is told
    /// among the problems.
    ///
    /// # Errors
    ///
    /// None of them could be looked at to its end; the error is the last one's.
    pub async fn repair_each(&self, zones: &[String], is_dry: bool) -> Result<Vec<Problem>, Error> {
        let (mut problems, mut broken) = (Vec::new(), Vec::new());
        for zone in zones {
            match self.repair(zone, is_dry).await {
                Ok(found) => problems.extend(found),
                Err(error) => broken.push((zone, error)),
            }
        }
        if broken.len() == zones.len()
            && let Some((_, error)) = broken.pop()
        {
            return Err(error);
        }
        problems.extend(broken.iter().map(|(zone, error)| Problem::of_zone(zone, error)));
        Ok(problems)
    }

    /// Asks every name server whether it answers with these values, or with what is registered.
    ///
    /// # Errors
    ///
    /// A value is none of the type, or what is registered could not be read. What a name server does is no error.
    pub async fn verify(&self, selection: &Selection, wait: Duration) -> Result<Vec<Verification>, VerifyError> {
        let asked = asked(&selection.name, selection.record_type, None);
        let data = parse_values(&asked, selection.record_type, &selection.values).map_err(VerifyError::Refused)?;
        let expectation = Expectation {
            name: selection.name.clone(),
            rr_type: selection.record_type.map(RecordType::number),
            data: (!data.is_empty()).then_some(data),
        };
        let verifications = self.dns.verify(vec![expectation], wait, dns::call(wait + VERIFY_MARGIN)).await?;
        Ok(verifications.iter().map(Verification::from).collect())
    }

    fn planned(&self, set: &RecordSet, action: impl Fn(ContractSet) -> Action) -> Planned {
        let ttl = match set.ttl.map_or(Ok(self.ttl), Ttl::try_from) {
            Ok(ttl) => ttl,
            Err(error) => return Planned::Refused(refuse_all(set, set.ttl, &error.to_string())),
        };
        let record_type = match set.record_type.parse::<RecordType>() {
            Ok(record_type) => record_type,
            Err(error) => return Planned::Refused(refuse_all(set, Some(ttl.seconds().into()), &error.to_string())),
        };
        let asked = asked(&set.name, Some(record_type), Some(ttl));
        match parse_values(&asked, Some(record_type), &set.values) {
            Err(refused) => Planned::Refused(refused),
            Ok(data) => {
                let asked = with_values(asked, &data);
                let set = ContractSet { name: set.name.clone(), ttl: Some(ttl.seconds()), data };
                Planned::Change(asked, Box::new(change::of(action(set), None)))
            }
        }
    }

    async fn apply(&self, planned: Vec<Planned>) -> Vec<Outcome> {
        let changes: Vec<_> = planned
            .iter()
            .filter_map(|planned| match planned {
                Planned::Change(_, change) => Some(Change::clone(change)),
                Planned::Refused(_) => None,
            })
            .collect();
        let answered =
            if changes.is_empty() { Ok(Vec::new()) } else { self.dns.apply(changes.clone(), dns::usual_call()).await };
        let mut answers = match &answered {
            Ok(outcomes) => outcomes.iter(),
            Err(_) => [].iter(),
        };
        let mut outcomes = Vec::new();
        for planned in planned {
            match (planned, &answered) {
                (Planned::Refused(refused), _) => outcomes.extend(refused),
                (Planned::Change(asked, _), Err(error)) => outcomes.extend(broken(&asked, error)),
                (Planned::Change(asked, _), Ok(_)) => {
                    // The host sees to it that there is an answer for each change.
                    outcomes.extend(answers.next().map(|outcome| asked.expand(outcome)).unwrap_or_default());
                }
            }
        }
        if self.ptr
            && let Ok(answers) = &answered
        {
            pointer::follow(&*self.dns, &changes, answers, &mut outcomes).await;
        }
        outcomes
    }
}

/// A removal of values of ours.
fn removal(selection: &Selection) -> Planned {
    let asked = asked(&selection.name, selection.record_type, None);
    match parse_values(&asked, selection.record_type, &selection.values) {
        Err(refused) => Planned::Refused(refused),
        Ok(data) => {
            let asked = with_values(asked, &data);
            let selector = Selector {
                name: selection.name.clone(),
                rr_type: selection.record_type.map(RecordType::number),
                data,
                resource: None,
            };
            Planned::Change(asked, Box::new(change::of(Action::Remove(selector), None)))
        }
    }
}

/// A change of all values of a name, or of a type.
fn selected(name: &str, record_type: Option<RecordType>, action: impl Fn(Selector) -> Action) -> Planned {
    let rr_type = record_type.map(RecordType::number);
    let selector = Selector { name: name.to_owned(), rr_type, data: Vec::new(), resource: None };
    Planned::Change(asked(name, record_type, None), Box::new(change::of(action(selector), None)))
}

/// Why a verification was not made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A value is none of the type.
    #[error("{}", first_message(.0))]
    Refused(Vec<Outcome>),
    /// What is registered could not be read.
    #[error(transparent)]
    Dns(#[from] Error),
}

/// A request on its way.
enum Planned {
    Change(Asked, Box<Change>),
    Refused(Vec<Outcome>),
}

/// Refuses a set before its type is known.
fn refuse_all(set: &RecordSet, ttl: Option<i64>, message: &str) -> Vec<Outcome> {
    let values = if change::too_many(&set.values).is_some() { Vec::new() } else { set.values.clone() };
    let asked = Asked { name: change::bounded(&set.name), values, ttl, ..Asked::default() };
    let mut outcomes = asked.all(Status::Refused, Some(Reason::invalid(message)));
    for outcome in &mut outcomes {
        outcome.record_type = Some(excerpt(&set.record_type));
    }
    outcomes
}

fn first_message(outcomes: &[Outcome]) -> &str {
    outcomes.iter().find_map(|outcome| outcome.reason.as_ref()).map_or("", |reason| &reason.message)
}

#[cfg(test)]
mod tests;
