//! What the orchestrator asks of DNS, as a seam: the component behind [`DnsManager`], or a fake in tests.

mod batch;

use std::time::Duration;

use dns_manager_host::contract::{Change, Check, Expectation, Filter, Outcome, Page, Verification};
use dns_manager_host::{Call, DnsManager, Error, Usage};
use futures_util::future::BoxFuture;

pub use batch::Batching;

use crate::outcome::Reason;

/// DNS as the workflows and the record operations use it; see [`DnsManager`] for what each call means.
pub trait Dns: Send + Sync {
    /// The longest list of changes that is one call of the component; longer ones are cut.
    fn max_items(&self) -> usize;

    /// How much is in use of what calls share; none where nothing is shared.
    fn usage(&self) -> Option<Usage>;

    /// Changes records; outcome i is for change i.
    fn apply(&self, changes: Vec<Change>, call: Call) -> BoxFuture<'_, Result<Vec<Outcome>, Error>>;

    /// Lists everything that fits.
    fn list(&self, filter: Filter, call: Call) -> BoxFuture<'_, Result<Page, Error>>;

    /// Asks the name servers until all answer as expected or `wait` is over.
    fn verify(
        &self,
        expectations: Vec<Expectation>,
        wait: Duration,
        call: Call,
    ) -> BoxFuture<'_, Result<Vec<Verification>, Error>>;

    /// Compares the keys of a zone with what its records need, and mends what is ours.
    fn repair(&self, zone: String, call: Call) -> BoxFuture<'_, Result<Page, Error>>;

    /// Looks for trouble.
    fn diagnose(&self, call: Call) -> BoxFuture<'_, Result<Vec<Check>, Error>>;
}

impl Dns for DnsManager {
    fn max_items(&self) -> usize {
        usize::try_from(self.info().max_items).unwrap_or(usize::MAX).max(1)
    }

    fn usage(&self) -> Option<Usage> {
        Some(Self::usage(self))
    }

    fn apply(&self, changes: Vec<Change>, call: Call) -> BoxFuture<'_, Result<Vec<Outcome>, Error>> {
        Box::pin(Self::apply(self, changes, call))
    }

    fn list(&self, filter: Filter, call: Call) -> BoxFuture<'_, Result<Page, Error>> {
        Box::pin(self.list_all(filter, call))
    }

    fn verify(
        &self,
        expectations: Vec<Expectation>,
        wait: Duration,
        call: Call,
    ) -> BoxFuture<'_, Result<Vec<Verification>, Error>> {
        Box::pin(Self::verify(self, expectations, wait, call))
    }

    fn repair(&self, zone: String, call: Call) -> BoxFuture<'_, Result<Page, Error>> {
        Box::pin(async move { Self::repair(self, &zone, call).await })
    }

    fn diagnose(&self, call: Call) -> BoxFuture<'_, Result<Vec<Check>, Error>> {
        Box::pin(Self::diagnose(self, call))
    }
}

/// A call with this budget and an id of its own.
pub(crate) fn call(budget: Duration) -> Call {
    Call { budget, request_id: uuid::Uuid::now_v7().to_string(), ..Call::default() }
}

/// Long enough for etcd to say that it has no quorum (7 s) and for a look afterwards; short enough to wait for at a prompt.
const USUAL_BUDGET: Duration = Duration::from_secs(15);

/// A call with the usual budget.
pub(crate) fn usual_call() -> Call {
    call(USUAL_BUDGET)
}

/// Why a call broke, for people: `message (code)`.
pub(crate) fn why(error: &Error) -> String {
    let Reason { code, message } = Reason::from(error);
    format!("{message} ({code})")
}
