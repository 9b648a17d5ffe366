//! [`DnsManager`]: the plugin's exports as async methods.
//!
//! Here lists are cut to what the plugin takes, budgets are shared out, and
//! the nested results are flattened. No decision about DNS is made here.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::{
    Builder, Error, Usage,
    bindings::{DnsPlugin, exports::provisioning::dns::dns_manager::Guest},
    contract::{
        Action, Change, Check, Code, Entry, Expectation, Filter, Info, Outcome, Page, Rdata, Reason, RecordSet,
        Selector, Status, Verdict, Verification,
    },
    judge,
    runtime::{Runtime, Turn},
};

/// How often a listing begins again because its cursor has expired.
const RESTARTS: usize = 3;
/// Entries that are asked for in one page.
const PAGE: u32 = 1_000;

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
    /// A list longer than `info().max_items` is cut into several calls of the
    /// plugin, one after the other. When one of them breaks, the items that
    /// were answered before keep their outcomes, those of the broken call are
    /// `unknown` (`failed` if the plugin surely did not start), and those
    /// after it are `failed`. So are the items when the time runs out, in the
    /// first call too: their reason is `deadline`.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] and [`Error::Refused`]: nothing was attempted.
    /// [`Error::Busy`]: the plugin was not started. Any other: the first call
    /// broke, and what became of its items is not known.
    pub async fn apply(&self, changes: Vec<Change>, call: Call) -> Result<Vec<Outcome>, Error> {
        self.offers(&changes, &call)?;
        let (turn, all) = (call.begin(), changes.len());
        let mut outcomes = Vec::with_capacity(all);
        let mut rest = changes;
        while !rest.is_empty() {
            let later = rest.split_off(rest.len().min(self.max_items()));
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
                    outcomes.extend(found);
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
    /// [`Error::Exceeded`] beyond `Limits::entries`.
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
    /// What a name server does is no error.
    pub async fn verify(
        &self,
        expectations: Vec<Expectation>,
        wait: Duration,
        call: Call,
    ) -> Result<Vec<Verification>, Error> {
        let turn = call.begin();
        let until = wait.min(turn.left());
        let begun = tokio::time::Instant::now();
        let mut verifications = Vec::with_capacity(expectations.len());
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

    /// Registers an address of a server: it is present afterwards, beside
    /// others that are there.
    ///
    /// ```
    /// use dns_manager_host::{DnsManager, Error};
    ///
    /// async fn server_is_ready(dns: &DnsManager) -> Result<(), Error> {
    ///     match dns.register_server_dns("web-01.example.com", [192, 0, 2, 10].into()).await {
    ///         Ok(outcome) => println!("{}", outcome.status.name()), // created, updated or unchanged
    ///         Err(Error::NotDone(outcome)) => println!("{:?}", outcome.reason), // a conflict, say
    ///         Err(broken) => return Err(broken),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotDone`] when the outcome is a conflict, refused, failed or
    /// unknown; the machinery's errors.
    pub async fn register_server_dns(&self, hostname: &str, ip: IpAddr) -> Result<Outcome, Error> {
        self.one(Action::Add(self.address(hostname, ip)?)).await
    }

    /// Gives a server a new address: our addresses of that family at this
    /// name become exactly this one.
    ///
    /// ```
    /// # use dns_manager_host::{DnsManager, Error};
    /// async fn server_has_moved(dns: &DnsManager) -> Result<(), Error> {
    ///     dns.update_dns_record("web-01.example.com", [192, 0, 2, 11].into()).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::register_server_dns`].
    pub async fn update_dns_record(&self, hostname: &str, ip: IpAddr) -> Result<Outcome, Error> {
        self.one(Action::Replace(self.address(hostname, ip)?)).await
    }

    /// Removes our addresses, A and AAAA, of a server's name. What is not
    /// there is `unchanged`.
    ///
    /// ```
    /// # use dns_manager_host::{DnsManager, Error};
    /// async fn server_is_gone(dns: &DnsManager) -> Result<(), Error> {
    ///     for outcome in dns.unregister_server_dns("web-01.example.com").await? {
    ///         println!("{}", outcome.status.name()); // deleted or unchanged
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotDone`] with the first outcome that is not as wished.
    pub async fn unregister_server_dns(&self, hostname: &str) -> Result<Vec<Outcome>, Error> {
        let families = ADDRESSES.into_iter().filter(|rr_type| self.0.info.rr_types.contains(rr_type));
        let removals: Vec<_> = families
            .map(|rr_type| {
                change(Action::Remove(Selector {
                    name: hostname.to_owned(),
                    rr_type: Some(rr_type),
                    data: Vec::new(),
                    resource: None,
                }))
            })
            .collect();
        if removals.is_empty() {
            return Err(Error::Unsupported("addresses".to_owned()));
        }
        let outcomes = self.apply(removals, Call::default()).await?;
        match outcomes.iter().find(|outcome| !outcome.status.is_done()) {
            Some(outcome) => Err(Error::NotDone(Box::new(outcome.clone()))),
            None => Ok(outcomes),
        }
    }

    /// Lists everything that is stored, one entry per value.
    ///
    /// ```
    /// # use dns_manager_host::{DnsManager, Error};
    /// async fn inventory(dns: &DnsManager) -> Result<(), Error> {
    ///     for entry in dns.list_records().await? {
    ///         println!("{} {} {:?}", entry.name, entry.ttl, entry.data);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the backend cannot be read. What is unreadable
    /// in itself is left out, with a warning in the log; [`Self::list_all`]
    /// returns it.
    pub async fn list_records(&self) -> Result<Vec<Entry>, Error> {
        let page = self.list_all(Filter::default(), Call::default()).await?;
        if let Some(problem) = page.problems.first() {
            let (place, why) = (&problem.place, &problem.reason.message);
            tracing::warn!(place, "{} of the backend's values cannot be read: {why}", page.problems.len());
        }
        Ok(page.entries)
    }

    /// Whether every name server answers for this name with what is
    /// registered, within the `verify_wait` of the builder. Where nothing is
    /// registered, this is false.
    ///
    /// ```
    /// # use dns_manager_host::{DnsManager, Error};
    /// async fn may_go_on(dns: &DnsManager) -> Result<bool, Error> {
    ///     dns.verify_dns_resolution("web-01.example.com").await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when no name server is configured: then nobody could
    /// say yes.
    pub async fn verify_dns_resolution(&self, name: &str) -> Result<bool, Error> {
        if self.0.nameservers.is_empty() {
            return Err(Error::Config("no name server is configured".to_owned()));
        }
        let wait = self.0.verify_wait;
        let call = Call { budget: Call::default().budget.saturating_add(wait), ..Call::default() };
        let asked = Expectation { name: name.to_owned(), rr_type: None, data: None };
        let verifications = self.verify(vec![asked], wait, call).await?;
        let verified = |v: &Verification| v.verdict == Verdict::Verified && !v.answers.is_empty();
        Ok(!verifications.is_empty() && verifications.iter().all(verified))
    }

    /// One page of what is read, judged.
    async fn page(&self, what: &Listing, cursor: Option<String>, limit: u32, turn: &Turn) -> Result<Page, Error> {
        let runtime = &self.0.runtime;
        let asked = cursor.clone();
        let judge = |answer| judge::page(accepted(answer)?, cursor.as_deref());
        let page = match what.clone() {
            Listing::Entries(filter) => {
                self.has("resource", filter.resource.is_some())?;
                let limit = limit.clamp(1, PAGE);
                runtime
                    .invoke(
                        turn,
                        "list",
                        |plugin, store, options| {
                            Box::pin(async move {
                                exports(plugin).call_list(store, &filter, asked.as_deref(), limit, &options).await
                            })
                        },
                        judge,
                    )
                    .await?
            }
            Listing::Repair(zone) => {
                runtime
                    .invoke(
                        turn,
                        "repair",
                        |plugin, store, options| {
                            Box::pin(async move {
                                exports(plugin).call_repair(store, &zone, asked.as_deref(), &options).await
                            })
                        },
                        judge,
                    )
                    .await?
            }
        };
        Ok(page)
    }

    async fn all_pages(&self, what: Listing, call: Call) -> Result<Page, Error> {
        let (turn, most) = (call.begin(), self.0.runtime.limits.entries);
        let mut all = Page { entries: Vec::new(), problems: Vec::new(), next: None };
        let mut restarts = 0;
        loop {
            match self.page(&what, all.next.take(), PAGE, &turn).await {
                Ok(page) => {
                    all.entries.extend(page.entries);
                    all.problems.extend(page.problems);
                    all.next = page.next;
                }
                Err(Error::Refused(Reason { code: Code::CursorExpired, .. })) if restarts < RESTARTS => {
                    restarts += 1;
                    all.entries.clear();
                    all.problems.clear();
                    continue;
                }
                Err(error) => return Err(error),
            }
            if all.entries.len().max(all.problems.len()) > most {
                let what = format!("more than {most} entries in one listing");
                return Err(Error::Exceeded { what, stderr: String::new() });
            }
            if all.next.is_none() {
                return Ok(all);
            }
        }
    }

    /// One change, which is to be in force afterwards.
    async fn one(&self, action: Action) -> Result<Outcome, Error> {
        let outcome = self.apply(vec![change(action)], Call::default()).await?.pop();
        match outcome {
            Some(outcome) if outcome.status.is_done() => Ok(outcome),
            Some(outcome) => Err(Error::NotDone(Box::new(outcome))),
            None => Err(Error::Contract("no outcome for a change".to_owned())),
        }
    }

    fn address(&self, hostname: &str, ip: IpAddr) -> Result<RecordSet, Error> {
        let [a, aaaa] = ADDRESSES;
        let rr_type = if ip.is_ipv4() { a } else { aaaa };
        if !self.0.info.rr_types.contains(&rr_type) {
            return Err(Error::Unsupported(format!("records of type {rr_type}")));
        }
        Ok(RecordSet { name: hostname.to_owned(), ttl: None, data: vec![Rdata::from(ip)] })
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

/// What is read page by page.
#[derive(Clone)]
enum Listing {
    Entries(Filter),
    Repair(String),
}

/// A and AAAA.
const ADDRESSES: [u16; 2] = [1, 28];

/// What a plugin answered, unless it refused.
fn accepted<T>(answer: Result<T, Reason>) -> Result<T, Error> {
    answer.map_err(|reason| Error::Refused(judge::reason(reason)))
}

fn change(action: Action) -> Change {
    Change { action, resource: None, expect: None, attributes: Vec::new() }
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
