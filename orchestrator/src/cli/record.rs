//! `record list|register|update|unregister|adopt|release|repair|verify|plan|apply|export`

mod confirm;
mod desired;
mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::output::{self, Console, Rows};
use super::{Exit, Failure, Settings, zone};
use crate::config::Config;
use crate::dns::Dns;
use crate::outcome::Outcome;
use crate::plugin;
use crate::record::{Record, RecordSet, RecordType};
use crate::registry::{Listing, Registry, Selection, Wanted};
use crate::remote::Remote;
use crate::repair::Problem;
use crate::serve::Holder;
use crate::verification::{self, Verification};

/// How long another command may hold the embedded store, or a service take until it answers.
const HELD_FOR: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Commands about single records, and about whole files of them.
#[derive(Debug, Subcommand)]
pub(super) enum Any {
    #[command(flatten)]
    Records(Command),
    #[command(flatten)]
    Files(desired::Command),
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what is registered, by whomever.
    #[command(
        after_help = "Records that are not ours are listed with their owner, and never changed but by `record adopt`.

Example:
  dns-manager record list --zone example.com --type A"
    )]
    List {
        /// Only in this zone.
        #[arg(long)]
        zone: Option<String>,
        /// Only at this name.
        #[arg(long)]
        name: Option<String>,
        /// Only of this type.
        #[arg(long = "type", value_name = "TYPE")]
        record_type: Option<RecordType>,
    },
    /// Add values to a record set.
    #[command(after_help = "Examples:
  dns-manager record register web-01.example.com A 192.168.1.10 --ttl 60
  dns-manager record register _sip._tcp.example.com SRV '10 60 5060 sip.example.com'
  dns-manager record register example.com TXT -- '-text that starts with a hyphen'")]
    Register(Set),
    /// Make a record set exactly these values.
    #[command(after_help = "Example:
  dns-manager record update web-01.example.com A 192.168.1.20")]
    Update(Set),
    /// Remove values, a record set, or everything of a name.
    #[command(after_help = "Examples:
  dns-manager record unregister web-01.example.com A 192.168.1.10
  dns-manager record unregister web-01.example.com")]
    Unregister(Selected),
    /// Make records of another owner, or of none, ours.
    #[command(
        after_help = "Their keys go in the same transaction in which ours come. What could not be registered is refused.

Examples:
  dns-manager record adopt web-01.example.com
  dns-manager record adopt web-01.example.com A"
    )]
    Adopt(NameAndType),
    /// Take our mark from records; they stay, and are answered as before.
    #[command(after_help = "Nobody changes them any more until somebody adopts them.

Examples:
  dns-manager record release web-01.example.com
  dns-manager record release web-01.example.com TXT")]
    Release(NameAndType),
    /// Compare the keys of zones with what their records need, and mend what is ours.
    #[command(
        after_help = "Without ZONE, each of `zones` in the configuration. Keys of others are shown and left as they are.
Exit status 1 if something is left that is not as it should be, after a dry run, too.

Examples:
  dns-manager record repair --dry-run
  dns-manager record repair example.com"
    )]
    Repair {
        /// The zone's name.
        zone: Option<String>,
        /// Show what would be mended, and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Ask every name server whether it answers with what is registered.
    #[command(after_help = "Examples:
  dns-manager record verify web-01.example.com
  dns-manager record verify web-01.example.com A 192.168.1.10 --wait 30s")]
    Verify {
        #[command(flatten)]
        selected: Selected,
        /// How long to go on asking until every answer is right.
        #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
        wait: Duration,
    },
}

#[derive(Args, Debug)]
pub(super) struct Set {
    /// The full name.
    name: String,
    /// A, AAAA, CNAME, TXT, MX, SRV, PTR, NS or TYPEn.
    #[arg(value_name = "TYPE")]
    record_type: RecordType,
    /// The values.
    #[arg(value_name = "VALUE", required = true)]
    values: Vec<String>,
    /// Seconds; the configured one if absent.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    ttl: Option<i64>,
}

#[derive(Args, Debug)]
pub(super) struct Selected {
    /// The full name.
    name: String,
    /// All types if absent.
    #[arg(value_name = "TYPE")]
    record_type: Option<RecordType>,
    /// All values if absent.
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct NameAndType {
    /// The full name.
    name: String,
    /// All types if absent.
    #[arg(value_name = "TYPE")]
    record_type: Option<RecordType>,
}

impl Command {
    /// What it does, while it is waited for.
    fn doing(&self) -> &'static str {
        match self {
            Self::List { .. } => "listing",
            Self::Register(_) => "registering",
            Self::Update(_) => "updating",
            Self::Unregister(_) => "removing",
            Self::Adopt(_) => "taking over",
            Self::Release(_) => "handing over",
            Self::Repair { .. } => "comparing keys",
            Self::Verify { .. } => "asking the name servers",
        }
    }
}

pub(super) async fn run(command: Any, settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let command = match command {
        Any::Records(command) => command,
        Any::Files(command) => return desired::run(command, settings, console).await,
    };
    let access = Access::open(settings, console).await?;
    console.waiting(command.doing());
    if let Access::Alone { dns, config, .. } = &access {
        match command {
            Command::Register(_) | Command::Update(_) | Command::Adopt(_) => {
                zone::require(config, &**dns, console).await?;
            }
            Command::Unregister(_) | Command::Release(_) => zone::look(config, &**dns, console).await,
            Command::List { .. } | Command::Repair { .. } | Command::Verify { .. } => {}
        }
    }
    match command {
        Command::List { zone, name, record_type } => {
            let listing = access.list(Wanted { zone, name, record_type, ..Wanted::default() }).await?;
            for problem in &listing.problems {
                console.warning(problem);
            }
            console.result(listing.records.as_slice(), table)?;
            Ok(Exit::Done)
        }
        Command::Register(set) => Ok(Exit::when(console.outcomes(&access.register(&set.into()).await?)?)),
        Command::Update(set) => Ok(Exit::when(console.outcomes(&access.update(&set.into()).await?)?)),
        Command::Unregister(selected) => {
            let outcomes = access.unregister(&selected.into()).await?;
            Ok(Exit::when(console.outcomes_or(&outcomes, "there was nothing to remove")?))
        }
        Command::Adopt(NameAndType { name, record_type }) => {
            let outcomes = access.adopt(&name, record_type).await?;
            Ok(Exit::when(console.outcomes_or(&outcomes, "there was nothing to adopt")?))
        }
        Command::Release(NameAndType { name, record_type }) => {
            let outcomes = access.release(&name, record_type).await?;
            Ok(Exit::when(console.outcomes_or(&outcomes, "there was nothing to release")?))
        }
        Command::Repair { zone, dry_run } => {
            let zones: Vec<_> = zone.into_iter().collect();
            let problems = match &access {
                Access::Alone { registry, config, .. } => {
                    let configured = config.dns.zones.iter().map(ToString::to_string);
                    let zones = if zones.is_empty() { configured.collect() } else { zones };
                    if zones.is_empty() {
                        return Err(Failure::Usage(anyhow::anyhow!("no zones are configured: name the one to repair")));
                    }
                    registry.repair_each(&zones, dry_run).await?
                }
                Access::Through(remote) => remote.repair(&zones, dry_run).await?,
            };
            repaired(&problems, dry_run, console)
        }
        Command::Verify { selected, wait } => {
            let selection = selected.into();
            let verifications = access.verify(&selection, wait).await?;
            console.result(verifications.as_slice(), output::verification_table)?;
            for problem in verifications.iter().flat_map(Verification::problems) {
                console.error(&problem);
            }
            let Some(name) = verification::verified_name(&verifications) else { return Ok(Exit::when(false)) };
            if let Access::Alone { dns, config, .. } = &access
                && let Err(Failure::Usage(error) | Failure::Failed(error)) =
                    confirm::confirm(name, &selection, dns, config, console).await
            {
                console.warning(&format!("the server {name} was not marked as verified: {error:#}"));
            }
            Ok(Exit::Done)
        }
    }
}

fn repaired(problems: &[Problem], is_dry: bool, console: &mut Console<'_>) -> Result<Exit, Failure> {
    for Problem { zone, reason, .. } in problems.iter().filter(|problem| problem.place.is_none()) {
        console.error(&format!("{zone}: {} ({})", reason.message, reason.code));
    }
    let well = || "every key is as the records need it\n".to_owned();
    console.result(problems, |problems| if problems.is_empty() { well() } else { problem_table(problems) })?;
    let left = problems.iter().filter(|problem| problem.place.is_some() && !problem.mended).count();
    if left > 0 {
        let why = if is_dry { "this was a dry run" } else { "they are not ours to mend" };
        console.error(&format!("{left} keys are left as they are: {why}"));
    }
    Ok(Exit::when(problems.iter().all(|problem| problem.mended)))
}

/// The way to the records: the component, or a running service that was named, or that holds the embedded store.
enum Access {
    Alone { registry: Registry, dns: Arc<dyn Dns>, config: Box<Config> },
    Through(Remote),
}

impl Access {
    /// Another command that holds the store is waited for.
    async fn open(settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Self, Failure> {
        console.waiting("getting ready");
        if let Some(remote) = settings.remote(console).await? {
            return Ok(Self::Through(remote));
        }
        let config = Box::new(settings.load(console)?);
        let deadline = Instant::now() + HELD_FOR;
        loop {
            let held = match plugin::connect_now(&config).await {
                Ok(manager) => {
                    let dns: Arc<dyn Dns> = Arc::new(manager);
                    let registry = Registry::new(Arc::clone(&dns), config.dns.ttl).with_ptr(config.dns.ptr);
                    return Ok(Self::Alone { registry, dns, config });
                }
                Err(error) if error.is_held() => error,
                Err(error) => return Err(error.into()),
            };
            if let Some(holder) = Holder::read(&config.data_dir)
                && let Some(remote) = Remote::find(&holder).await
            {
                return Ok(Self::Through(remote));
            }
            console.waiting("waiting for another command, which holds the records");
            if Instant::now() >= deadline {
                return Err(anyhow::anyhow!(
                    "{held}, which neither ends nor answers: wait for it or end it, then try again"
                )
                .into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn adopt(&self, name: &str, record_type: Option<RecordType>) -> Result<Vec<Outcome>, Failure> {
        match self {
            Self::Alone { registry, .. } => Ok(registry.adopt(name, record_type).await),
            Self::Through(remote) => Ok(remote.adopt(name, record_type).await?),
        }
    }

    async fn release(&self, name: &str, record_type: Option<RecordType>) -> Result<Vec<Outcome>, Failure> {
        match self {
            Self::Alone { registry, .. } => Ok(registry.release(name, record_type).await),
            Self::Through(remote) => Ok(remote.release(name, record_type).await?),
        }
    }

    async fn list(&self, wanted: Wanted) -> Result<Listing, Failure> {
        match self {
            Self::Alone { registry, .. } => Ok(registry.list(wanted).await?),
            // What the service cannot read stands in its log.
            Self::Through(remote) => Ok(Listing { records: remote.list_records(&wanted).await?, problems: Vec::new() }),
        }
    }

    async fn register(&self, set: &RecordSet) -> Result<Vec<Outcome>, Failure> {
        match self {
            Self::Alone { registry, .. } => Ok(registry.register(std::slice::from_ref(set)).await),
            Self::Through(remote) => Ok(remote.register(set).await?),
        }
    }

    async fn update(&self, set: &RecordSet) -> Result<Vec<Outcome>, Failure> {
        match self {
            Self::Alone { registry, .. } => Ok(registry.update(set).await),
            Self::Through(remote) => Ok(remote.update(set).await?),
        }
    }

    async fn unregister(&self, selection: &Selection) -> Result<Vec<Outcome>, Failure> {
        match self {
            Self::Alone { registry, .. } => Ok(registry.unregister(selection).await),
            Self::Through(remote) => Ok(remote.unregister(selection).await?),
        }
    }

    async fn verify(&self, selection: &Selection, wait: Duration) -> Result<Vec<Verification>, Failure> {
        match self {
            Self::Alone { registry, .. } => Ok(registry.verify(selection, wait).await?),
            Self::Through(remote) => Ok(remote.verify(selection, wait).await?),
        }
    }
}

impl From<Set> for RecordSet {
    fn from(set: Set) -> Self {
        Self { name: set.name, record_type: set.record_type.to_string(), ttl: set.ttl, values: set.values }
    }
}

impl From<Selected> for Selection {
    fn from(selected: Selected) -> Self {
        Self { name: selected.name, record_type: selected.record_type, values: selected.values }
    }
}

fn table(records: &[Record]) -> String {
    // Where all are ours there is nothing to tell.
    let owners = records.iter().any(|record| record.owner.is_some());
    let mut heading = vec!["NAME", "TYPE", "VALUE", "TTL"];
    heading.extend(owners.then_some("OWNER"));
    let mut rows = Rows::new(&heading);
    for Record { name, record_type, value, ttl, owner } in records {
        let ttl = ttl.to_string();
        let mut cells: Vec<&str> = vec![name, record_type, value, &ttl];
        let owner = owner.as_ref().map_or("ours", |owner| owner.as_deref().unwrap_or("none"));
        cells.extend(owners.then_some(owner));
        rows.add(&cells);
    }
    rows.text()
}

fn problem_table(problems: &[Problem]) -> String {
    let mut rows = Rows::new(&["KEY", "PROBLEM", "MENDED"]);
    for Problem { place, mended, reason, .. } in problems {
        let Some(place) = place else { continue };
        rows.add(&[place, &format!("{}: {}", reason.code, reason.message), if *mended { "yes" } else { "no" }]);
    }
    rows.text()
}
