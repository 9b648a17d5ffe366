//! What the inventory says should be registered, against what is.
//!
//! A pass compares (`drift`) and then mends what is ours: records of a server that are missing come back through the
//! server's own workflow, records of servers that are gone are removed, under the guard against deleting much. What somebody
//! changed by hand is reported and, where the operator wants that, put back. What is not ours is reported and never touched.

mod drift;
mod keeper;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dns_manager_host::Error as DnsError;
use dns_manager_host::contract::{Action, Change, Entry, Filter, Page, Selector};

pub use keeper::keep;
use report::Mend;
pub use report::{Drift, Kind, Report, Summary, Treatment};

use crate::change;
use crate::config::Config;
use crate::desired::{self, MaxDeletes, TooManyDeletes, Zones};
use crate::dns::{self, Dns};
use crate::inventory;
use crate::lifecycle::{self, Lifecycle};
use crate::name::Name;
use crate::outcome::Asked;
use crate::record::{Ttl, value};
use crate::registry::Registry;

/// Of a pass over a tree of 100,000 records.
const BUDGET: Duration = Duration::from_secs(600);
/// Changes in one call of the component.
const CHUNK: usize = 256;

/// Compares and mends.
#[derive(Clone)]
pub struct Reconciler {
    dns: Arc<dyn Dns>,
    lifecycle: Lifecycle,
    policy: Policy,
}

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether servers have records by themselves.
    pub auto_register: bool,
    /// Of their records.
    pub ttl: Ttl,
    /// Whether what was changed by hand is put back.
    pub put_back: bool,
    /// None: the name servers are asked.
    pub zones: Vec<Name>,
}

impl Policy {
    /// That of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            auto_register: config.dns.auto_register,
            ttl: config.dns.ttl,
            put_back: config.reconcile.put_back,
            zones: config.dns.zones.clone(),
        }
    }
}

/// What holds for one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only report.
    pub dry_run: bool,
    /// How much of a zone may be deleted.
    pub max_deletes: MaxDeletes,
}

/// Why a pass did not come to its end. What was mended before is mended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The records could not be read.
    #[error("what is registered could not be listed")]
    Dns(#[from] DnsError),
    /// The inventory does not work.
    #[error(transparent)]
    Inventory(#[from] inventory::Error),
    /// A server could not be registered again.
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::Error),
}

impl Reconciler {
    /// On these parts.
    pub fn new(dns: Arc<dyn Dns>, lifecycle: Lifecycle, policy: Policy) -> Self {
        Self { dns, lifecycle, policy }
    }

    /// One pass: compares, mends unless it is a dry run, and says what was found and what became of it. Servers whose
    /// records are missing are being registered again when it returns.
    ///
    /// # Errors
    ///
    /// Records or inventory could not be read, or a server not be written.
    pub async fn run(&self, options: Options) -> Result<Report, Error> {
        let mut found = self.compare().await?;
        let damaged = found.damaged();
        let mut by_hand = Vec::new();
        if !damaged.is_empty() {
            let is_dry = options.dry_run || !self.policy.put_back;
            by_hand = self.repair(&damaged, is_dry).await?;
            if is_dry {
                found.leave(&by_hand);
            } else {
                found = self.compare().await?;
            }
        }
        let Found { drift, page } = found;
        by_hand.extend(drift);
        let mut report = Report::new(by_hand, options.dry_run);
        report.problems =
            page.problems.iter().map(|problem| format!("{}: {}", problem.place, problem.reason.message)).collect();

        let zones = self.zones(report.removals().map(|drift| drift.name.clone()).collect()).await?;
        let kept_back = guard(options.max_deletes, &page.entries, &report, &zones);
        if let Err(too_many) = &kept_back {
            report.hold_back(too_many);
        }
        if options.dry_run {
            return Ok(report);
        }
        self.remove(&mut report).await;
        self.register(&mut report).await?;
        for kind in Kind::ALL {
            let left = report.left().filter(|drift| drift.kind == kind).count();
            self.lifecycle.metrics().drift(&kind.to_string(), left);
        }
        Ok(report)
    }

    async fn compare(&self) -> Result<Found, Error> {
        // In this order: a record's server is in the inventory before the record is made, and leaves it after.
        let page = self.dns.list(Filter::default(), dns::call(BUDGET)).await?;
        let servers = self.lifecycle.list().await?;
        Ok(Found { drift: drift::compare(&servers, &page.entries, &self.policy), page })
    }

    /// Compares the keys of the zones of these names with what their records need, and puts back what was changed by hand
    /// unless this is only to be reported.
    async fn repair(&self, names: &BTreeSet<String>, is_dry: bool) -> Result<Vec<Drift>, Error> {
        let zones = self.zones(names.clone()).await?;
        let zones: BTreeSet<&str> = names.iter().filter_map(|name| zones.of(name)).collect();
        let registry = Registry::new(Arc::clone(&self.dns), self.policy.ttl);
        let mut found = Vec::new();
        for zone in zones {
            let problems = match registry.repair(zone, is_dry).await {
                Ok(problems) => problems,
                // What was changed by hand then counts as missing, and is registered again.
                Err(DnsError::Unsupported(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let drift = |problem| Drift::of_problem(problem, self.policy.put_back, is_dry);
            found.extend(problems.into_iter().map(drift));
        }
        Ok(found)
    }

    /// The zones of some names.
    async fn zones(&self, names: BTreeSet<String>) -> Result<Zones, Error> {
        if !self.policy.zones.is_empty() {
            return Ok(Zones::new(self.policy.zones.iter().map(Name::as_str)));
        }
        Ok(Zones::discover(&*self.dns, &names).await?)
    }

    /// Removes what is to go, each value by the id that it carries.
    async fn remove(&self, report: &mut Report) {
        let going: Vec<usize> = report.removal_places();
        for places in going.chunks(CHUNK) {
            let removals: Vec<_> =
                places.iter().filter_map(|place| Some((*place, removal(report.drift.get(*place)?)?))).collect();
            let changes = removals.iter().map(|(_, (_, change))| change.clone()).collect();
            match self.dns.apply(changes, dns::usual_call()).await {
                Ok(answers) => {
                    for ((place, (asked, _)), answer) in removals.iter().zip(&answers) {
                        report.ended(*place, &asked.expand(answer));
                    }
                }
                Err(error) => {
                    for (place, (asked, _)) in &removals {
                        report.ended(*place, &change::broken(asked, &error));
                    }
                }
            }
        }
    }

    /// Has the servers registered again whose records are missing.
    async fn register(&self, report: &mut Report) -> Result<(), Error> {
        for hostname in report.to_register() {
            match self.lifecycle.register_again(&hostname).await {
                Ok(()) => report.registering(&hostname),
                // It is being worked on, or is gone: its workflow sees to it.
                Err(lifecycle::Error::NotFound(_) | lifecycle::Error::NotReady { .. }) => {
                    report.left_to_workflow(&hostname)
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// What is registered, and how it differs from what should be.
struct Found {
    drift: Vec<Drift>,
    page: Page,
}

impl Found {
    /// Names where a record is missing and another value of the type stands that nobody's id is on: the value of a key of
    /// ours may have been changed by hand, which makes it a record of no server.
    fn damaged(&self) -> BTreeSet<String> {
        let type_text = |entry: &Entry| value::type_of(&entry.data).to_string();
        let strays = self.page.entries.iter().filter(|entry| entry.mine && entry.resource.is_none());
        let strays: BTreeSet<_> = strays.map(|entry| (value::name_text(&entry.name), type_text(entry))).collect();
        let missing = self.drift.iter().filter(|drift| drift.kind == Kind::Missing);
        let damaged = missing.filter(|drift| strays.contains(&(drift.name.clone(), drift.record_type.clone())));
        damaged.map(|drift| drift.name.clone()).collect()
    }

    /// Leaves what is missing where a key was changed by hand: it could only be put back.
    fn leave(&mut self, by_hand: &[Drift]) {
        for drift in self.drift.iter_mut().filter(|drift| drift.kind == Kind::Missing) {
            let labels: Vec<_> = drift.name.rsplit('.').collect();
            let below = format!("/{}/", labels.join("/"));
            if by_hand.iter().any(|changed| changed.name.contains(&below)) {
                drift.leave_as_changed();
            }
        }
    }
}

/// The removal of one value that a server's id stands on.
fn removal(drift: &Drift) -> Option<(Asked, Change)> {
    let resource = drift.server?.to_string();
    let Mend::Remove(data) = drift.mend.clone() else { return None };
    let asked = Asked {
        name: drift.name.clone(),
        record_type: Some(value::type_of(&data)),
        values: vec![value::to_text(&data)],
        resource: Some(resource.clone()),
        ..Asked::default()
    };
    let selector = Selector {
        name: drift.name.clone(),
        rr_type: Some(value::type_of(&data).number()),
        data: vec![data],
        resource: Some(resource),
    };
    Some((asked, change::of(Action::Remove(selector), None)))
}

/// Whether so much may go: of each zone, the names that lose values against all that have some of ours.
fn guard(limit: MaxDeletes, entries: &[Entry], report: &Report, zones: &Zones) -> Result<(), TooManyDeletes> {
    let count = |names: BTreeSet<&str>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for name in names {
            // Names whose zone nobody knows are counted together: each by itself would be all of its zone, or nothing much.
            *counts.entry(zones.of(name).unwrap_or("no known zone").to_owned()).or_default() += 1;
        }
        counts
    };
    let ours = entries.iter().filter(|entry| entry.mine).map(|entry| entry.name.as_str());
    let going = report.removals().map(|drift| drift.name.as_str());
    desired::check_deletes(limit, &count(ours.collect()), &count(going.collect()))
}

#[cfg(test)]
mod tests;
