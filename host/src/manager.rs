//! [`DnsManager`]: the plugin's exports as async methods.
//!
//! Here lists are cut to what the plugin takes, budgets are shared out, and
//! the nested results are flattened. No decision about DNS is made here.

mod batch;
mod listing;
mod server;

use std::{sync::Arc, time::Duration};

use crate::{
    Builder, Error, Usage,
    bindings::{DnsPlugin, exports::provisioning::dns::dns_manager::Guest},
    contract::{Action, Change, Check, Code, Expectation, Filter, Info, Outcome, Page, Reason, Status, Verification},
    judge::{self, Load},
    runtime::{Runtime, Turn},
};
use listing::Listing;

/// A plugin at work. Cheap to clone; all clones share one set of limits and
/// one pool of connections.
///
/// The connections live in the tokio runtime in which they were opened: use a
/// manager in one runtime only.
#[derive(Clone)]
pub struct DnsManager(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    info: Info,
    nameservers: Vec<String>,
    verify_wait: Duration,
}

/// What holds for one call.
///
/// ```
/// use std::time::Duration;
///
/// use dns_manager_host::Call;
///
/// let call = Call { budget: Duration::from_secs(5), ..Call::default() };
/// assert!(!call.dry_run);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Time for the whole call, waiting for a free place included, however
    /// many calls of the plugin it takes. What is not done by then ends a
    /// grace later (`Limits::grace`). 30 s.
    pub budget: Duration,
    /// Decide and report, but write nothing.
    pub dry_run: bool,
    /// Goes into the plugin's log lines.
    pub request_id: String,
}

impl Default for Call {
    fn default() -> Self {
        Self { budget: Duration::from_secs(30), dry_run: false, request_id: String::new() }
    }
}

impl Call {
    fn begin(self) -> Turn {
        Turn::new(self.budget, self.dry_run, self.request_id)
    }
}

impl std::fmt::Debug for DnsManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsManager").field("plugin", &self.0.info.name).finish_non_exhaustive()
    }
}

/// The export's own functions.
fn exports(plugin: &DnsPlugin) -> &Guest {
    plugin.provisioning_dns_dns_manager()
}

impl DnsManager {
    /// Begins to make a manager.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) async fn new(
        mut runtime: Runtime,
        nameservers: Vec<String>,
        verify_wait: Duration,
    ) -> Result<Self, Error> {
        let turn = Call::default().begin();
        let info = runtime
            .invoke(
                &turn,
                "describe",
                |plugin, store, _| Box::pin(async move { exports(plugin).call_describe(store).await }),
                judge::info,
            )
            .await?;
        runtime.name.clone_from(&info.name);
        Ok(Self(Arc::new(Inner { runtime, info, nameservers, verify_wait })))
    }

    /// What the plugin said of itself when it was loaded.
    pub fn info(&self) -> &Info {
        &self.0.info
    }

    /// The name servers, as configured.
    pub fn nameservers(&self) -> &[String] {
        &self.0.nameservers
    }

    /// How much of what calls share is in use just now.
    pub fn usage(&self) -> Usage {
        self.0.runtime.usage()
    }

    /// Changes records. Outcome i is for change i.
    ///
    /// A list longer than `info().max_items`, or whose outcomes would be too
    /// large for one call, is cut into several calls of the plugin, one after
    /// the other. When one of them breaks, the items that were answered before
    /// keep their outcomes, those of the broken call are `unknown` (`failed`
    /// if the plugin surely did not start), and those after it are `failed`.
    /// So are the items when the time runs out, in the first call too: their
    /// reason is `deadline`.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] and [`Error::Refused`]: nothing was attempted.
    /// [`Error::Busy`]: the plugin was not started. Any other: the first call
    /// broke, and what became of its items is not known.
    pub async fn apply(&self, changes: Vec<Change>, call: Call) -> Result<Vec<Outcome>, Error> {
        self.offers(&changes, &call)?;
        let (turn, all, mut load) = (call.begin(), changes.len(), Load::default());
        let mut outcomes = Vec::with_capacity(all);
        let mut rest = changes;
        while !rest.is_empty() {
            let later = rest.split_off(batch::size(&rest, self.max_items(), self.0.runtime.limits.transfer_bytes));
            let now = std::mem::replace(&mut rest, later);
            let asked = now.len();
            let answered = self
                .0
                .runtime
                .invoke(
                    &turn,
                    "apply",
                    |plugin, store, options| {
                        Box::pin(async move { exports(plugin).call_apply(store, &now, &options).await })
                    },
                    |answer| judge::outcomes(accepted(answer)?, asked),
                )
                .await;
            let broken = match answered {
                Ok(found) => {
                    let taken = load.take(&found);
                    outcomes.extend(found);
                    if let Err(error) = taken {
                        outcomes.resize(all, not_done(Status::Failed, broken_off(error)));
                        return Ok(outcomes);
                    }
                    continue;
                }
                Err(broken) => broken,
            };
            let timed_out = broken.begun && matches!(broken.error, Error::OutOfTime { .. });
            if outcomes.is_empty() && !timed_out {
                return Err(broken.error);
            }
            let status = if broken.begun { Status::Unknown } else { Status::Failed };
            let reason = broken_off(broken.error);
            outcomes.extend(std::iter::repeat_n(not_done(status, reason.clone()), asked));
            outcomes.resize(all, not_done(Status::Failed, reason));
            return Ok(outcomes);
        }
        Ok(outcomes)
    }

    /// Lists one page of what is stored. `cursor` is none at first, then the
    /// last page's `next`; `limit` is 1 to 1000 entries, a hint.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `cursor-expired`: begin again.
    pub async fn list(&self, filter: Filter, cursor: Option<String>, limit: u32, call: Call) -> Result<Page, Error> {
        self.page(&Listing::Entries(filter), cursor, limit, &call.begin()).await
    }

    /// Lists all pages, as one with `next` none. Begins again, three times at
    /// most, when a cursor has expired.
    ///
    /// # Errors
    ///
    /// [`Error::Exceeded`] beyond `Limits::entries`, or 256 MiB of them.
    pub async fn list_all(&self, filter: Filter, call: Call) -> Result<Page, Error> {
        self.all_pages(Listing::Entries(filter), call).await
    }

    /// Asks every name server until all answer as expected, or `wait` is over.
    ///
    /// The verifications stand in the order of the expectations; one without
    /// a type may give several.
    ///
    /// # Errors
    ///
    /// What a name server does is no error. [`Error::Exceeded`] beyond 256 MiB
    /// of verifications.
    pub async fn verify(
        &self,
        expectations: Vec<Expectation>,
        wait: Duration,
        call: Call,
    ) -> Result<Vec<Verification>, Error> {
        let turn = call.begin();
        let until = wait.min(turn.left());
        let begun = tokio::time::Instant::now();
        let (mut verifications, mut load) = (Vec::with_capacity(expectations.len()), Load::default());
        for asked in expectations.chunks(self.max_items()) {
            let wait = until.saturating_sub(begun.elapsed());
            let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
            let expectations = asked.to_vec();
            let found = self
                .0
                .runtime
                .invoke(
                    &turn,
                    "verify",
                    |plugin, store, options| {
                        Box::pin(
                            async move { exports(plugin).call_verify(store, &expectations, wait_ms, &options).await },
                        )
                    },
                    |answer| judge::verifications(accepted(answer)?, asked, &self.0.nameservers),
                )
                .await?;
            load.take(&found)?;
            verifications.extend(found);
        }
        Ok(verifications)
    }

    /// Compares what the backend holds below `zone` with what its records
    /// need, and mends what is ours; in a dry run it only reports. All pages.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] without the feature `repair`; else as
    /// [`Self::list_all`].
    pub async fn repair(&self, zone: &str, call: Call) -> Result<Page, Error> {
        self.has("repair", true)?;
        self.has("dry-run", call.dry_run)?;
        self.all_pages(Listing::Repair(zone.to_owned()), call).await
    }

    /// Looks for trouble, the cheapest check first.
    ///
    /// # Errors
    ///
    /// Only when the plugin itself breaks; trouble is the answer.
    pub async fn diagnose(&self, call: Call) -> Result<Vec<Check>, Error> {
        let turn = call.begin();
        let checks = self
            .0
            .runtime
            .invoke(
                &turn,
                "diagnose",
                |plugin, store, options| Box::pin(async move { exports(plugin).call_diagnose(store, &options).await }),
                |checks| Ok(judge::checks(checks)),
            )
            .await?;
        Ok(checks)
    }
    /// Refuses what needs a feature that the plugin does not list: the
    /// contract says that such a thing is never asked.
    fn offers(&self, changes: &[Change], call: &Call) -> Result<(), Error> {
        self.has("dry-run", call.dry_run)?;
        let any = |needs: fn(&Change) -> bool| changes.iter().any(needs);
        self.has("expect", any(|change| change.expect.is_some()))?;
        self.has("adopt", any(|change| matches!(change.action, Action::Adopt(_))))?;
        self.has("release", any(|change| matches!(change.action, Action::Release(_))))?;
        self.has("resource", any(names_a_resource))
    }

    fn has(&self, feature: &str, needed: bool) -> Result<(), Error> {
        if needed && !self.0.info.features.iter().any(|listed| listed == feature) {
            return Err(Error::Unsupported(format!("the feature `{feature}`")));
        }
        Ok(())
    }

    fn max_items(&self) -> usize {
        usize::try_from(self.0.info.max_items).unwrap_or(usize::MAX).max(1)
    }
}

/// What a plugin answered, unless it refused.
fn accepted<T>(answer: Result<T, Reason>) -> Result<T, Error> {
    answer.map_err(|reason| Error::Refused(judge::reason(reason)))
}

fn names_a_resource(change: &Change) -> bool {
    let selects = match &change.action {
        Action::Add(_) | Action::Replace(_) => false,
        Action::Remove(selector) | Action::Adopt(selector) | Action::Release(selector) => selector.resource.is_some(),
    };
    selects || change.resource.is_some()
}

fn not_done(status: Status, reason: Reason) -> Outcome {
    Outcome {
        status,
        reason: Some(reason),
        warnings: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
        token: None,
        attributes: Vec::new(),
    }
}

/// The reason of items whose call broke.
fn broken_off(error: Error) -> Reason {
    match error {
        Error::Refused(reason) => reason,
        Error::OutOfTime { .. } | Error::Busy { .. } => Reason::new(Code::Deadline, error.to_string()),
        error => Reason::new(Code::Other(error.code().to_owned()), error.to_string()),
    }
}
