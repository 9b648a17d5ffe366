//! DNS with what became of changes, and verifications, counted and timed.

use std::sync::Arc;
use std::time::Duration;

use dns_manager_host::contract::{Action, Change, Check, Expectation, Filter, Outcome, Page, Verification};
use dns_manager_host::{Call, Error, Usage};
use futures_util::future::BoxFuture;
use metrics::Label;

use super::{DNS_OUTCOMES, Metrics, VERIFICATION_DURATION};
use crate::dns::Dns;
use crate::record::{RecordType, value};

/// The same DNS, counted.
pub(crate) struct Metered {
    dns: Arc<dyn Dns>,
    metrics: Metrics,
}

impl Metered {
    pub(crate) fn new(dns: Arc<dyn Dns>, metrics: Metrics) -> Self {
        Self { dns, metrics }
    }
}

impl Dns for Metered {
    fn max_items(&self) -> usize {
        self.dns.max_items()
    }

    fn usage(&self) -> Option<Usage> {
        self.dns.usage()
    }

    fn apply(&self, changes: Vec<Change>, call: Call) -> BoxFuture<'_, Result<Vec<Outcome>, Error>> {
        Box::pin(async move {
            if call.dry_run {
                // Nothing was to become of it.
                return self.dns.apply(changes, call).await;
            }
            let kinds: Vec<_> = changes.iter().map(|change| kind(&change.action)).collect();
            let outcomes = self.dns.apply(changes, call).await?;
            for ((action, record_type), outcome) in kinds.into_iter().zip(&outcomes) {
                let labels = vec![
                    Label::new("action", action),
                    Label::new("record_type", record_type),
                    Label::new("outcome", outcome.status.name()),
                ];
                self.metrics.count(DNS_OUTCOMES, labels);
            }
            Ok(outcomes)
        })
    }

    fn list(&self, filter: Filter, call: Call) -> BoxFuture<'_, Result<Page, Error>> {
        self.dns.list(filter, call)
    }

    fn verify(
        &self,
        expectations: Vec<Expectation>,
        wait: Duration,
        call: Call,
    ) -> BoxFuture<'_, Result<Vec<Verification>, Error>> {
        Box::pin(async move {
            let verifications = self.dns.verify(expectations, wait, call).await?;
            for verification in &verifications {
                let took = Duration::from_millis(verification.elapsed_ms.into());
                let labels = vec![Label::new("outcome", verification.verdict.name())];
                self.metrics.time(VERIFICATION_DURATION, labels, took);
            }
            Ok(verifications)
        })
    }

    fn repair(&self, zone: String, call: Call) -> BoxFuture<'_, Result<Page, Error>> {
        self.dns.repair(zone, call)
    }

    fn diagnose(&self, call: Call) -> BoxFuture<'_, Result<Vec<Check>, Error>> {
        self.dns.diagnose(call)
    }
}

/// What a change does, and to which type of records: by its name, or `other`, or `any`.
fn kind(action: &Action) -> (&'static str, String) {
    let (action, record_type) = match action {
        Action::Add(set) => ("add", set.data.first().map(value::type_of)),
        Action::Replace(set) => ("replace", set.data.first().map(value::type_of)),
        Action::Remove(selector) => ("remove", selector.rr_type.map(RecordType::from)),
        Action::Adopt(selector) => ("adopt", selector.rr_type.map(RecordType::from)),
        Action::Release(selector) => ("release", selector.rr_type.map(RecordType::from)),
    };
    let record_type = match record_type.map(|record_type| record_type.to_string()) {
        None => "any".to_owned(),
        // There are 65536 of them.
        Some(name) if name.starts_with("TYPE") => "other".to_owned(),
        Some(name) => name,
    };
    (action, record_type)
}
