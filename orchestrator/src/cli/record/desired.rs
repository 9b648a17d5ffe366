//! `record plan|apply|export`

use std::io::{self, BufRead as _};
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::Access;
use super::plan::{self, Colour};
use crate::cli::output::{Console, Form};
use crate::cli::progress::Bar;
use crate::cli::{Exit, Failure, Settings, zone};
use crate::config::Config;
use crate::desired::{self, Change, Desired, File, MaxDeletes, Observer, Options, Plan, Planned, Set, Zones};
use crate::dns::Dns;
use crate::name::Name;
use crate::outcome::{Outcome, Status};
use crate::remote::Remote;

const PLAN_HELP: &str = "The file is YAML or JSON, a list of record sets; ttl may be left out:
  - {name: web-01.example.com, record_type: A, ttl: 300, values: [192.168.1.10]}

Marks: + comes, ~ changes, - goes, ! cannot be.
Exit status: 0 whether or not there is something to change; 1 if a record set cannot become what the file says, or too much would be \
deleted; 2 if the file cannot be used.

Examples:
  dns-manager record plan records.yaml
  dns-manager record plan records.yaml --prune --output json";

const APPLY_HELP: &str = "What is applied is what was planned; a set that changed in between is planned again and shown.
Each record set is applied or not by itself.
Values that belong to servers are never pruned: they go with their server.
A plan that deletes record sets of more than 30 % of a zone's names is refused, in zones of 10 names and more, unless --max-deletes \
allows it.
Exit status: 0 if all is as the file says, 1 if something is not, 2 if the file cannot be used.

Examples:
  dns-manager record apply records.yaml
  dns-manager record apply records.yaml --prune --max-deletes 50% --yes
  dns-manager record apply - --yes";

const EXPORT_HELP: &str =
    "YAML, or JSON with --output json. A record set that belongs to a server names it as its `resource`.

Examples:
  dns-manager record export > records.yaml
  dns-manager record export --output json";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Show what applying a file of record sets would change; nothing is written.
    #[command(after_help = PLAN_HELP)]
    Plan(Wish),
    /// Make what is registered what a file of record sets says, and show it first.
    #[command(after_help = APPLY_HELP)]
    Apply {
        #[command(flatten)]
        wish: Wish,
        /// Do not ask, on a terminal.
        #[arg(long)]
        yes: bool,
    },
    /// Write everything that is ours as a file that can be applied again.
    #[command(after_help = EXPORT_HELP)]
    Export,
}

/// What is to be.
#[derive(Args, Debug)]
pub(in crate::cli) struct Wish {
    /// A file of record sets, YAML or JSON; `-` reads standard input.
    #[arg(value_name = "FILE")]
    file: String,
    /// Delete what is ours and the file lacks.
    #[arg(long)]
    prune: bool,
    /// How many names of a zone may lose record sets: a number, or a share such as 50%. [default: 30%, in zones of 10 names and more]
    #[arg(long, value_name = "N|N%")]
    max_deletes: Option<MaxDeletes>,
}

impl Wish {
    fn options(&self) -> Options {
        Options { prune: self.prune, max_deletes: self.max_deletes.unwrap_or_default() }
    }

    fn read(&self, settings: &Settings<'_>) -> Result<File, Failure> {
        let name = if self.file == "-" { "standard input" } else { &self.file };
        let octets = settings
            .read(Path::new(&self.file))
            .map_err(|error| Failure::Usage(anyhow::anyhow!("{name}: it cannot be read: {error}; correct the path")))?;
        File::parse(name, &octets).map_err(|error| Failure::Usage(error.into()))
    }
}

pub(super) async fn run(command: Command, settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    match command {
        Command::Plan(wish) => plan(&wish, settings, console).await,
        Command::Apply { wish, yes } => apply(&wish, yes, settings, console).await,
        Command::Export => export(settings, console).await,
    }
}

async fn plan(wish: &Wish, settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let file = wish.read(settings)?;
    let way = Way::open(settings, console).await?;
    if let Way::Here { dns, config, .. } = &way {
        zone::look(config, &**dns, console).await;
    }
    let made = way.plan(&file, wish.options(), console).await?;
    let colour = colour(settings);
    console.result(made.plan(), |plan| plan::text(plan, made.zones(), colour))?;
    let mut is_possible = true;
    for change in made.plan().changes.iter().filter(|change| !change.action.is_written()) {
        is_possible = false;
        console.error(&impossible(&file, change));
    }
    if let Some(why) = made.too_many() {
        is_possible = false;
        console.error(&why);
    }
    Ok(Exit::when(is_possible))
}

async fn apply(wish: &Wish, yes: bool, settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let file = wish.read(settings)?;
    let way = Way::open(settings, console).await?;
    if let Way::Here { dns, config, .. } = &way {
        zone::require(config, &**dns, console).await?;
    }
    let made = way.plan(&file, wish.options(), console).await?;
    let colour = colour(settings);
    if console.form == Form::Table {
        console.result(made.plan(), |plan| plan::text(plan, made.zones(), colour))?;
    }
    if let Some(why) = made.too_many() {
        console.error(&why);
        return Ok(Exit::Failed);
    }
    let terminal = settings.environment.terminal;
    let asks = !yes && terminal.stdin && terminal.stderr && wish.file != "-";
    let writes = made.plan().changes.iter().any(|change| change.action.is_written());
    if asks && writes && console.form == Form::Json {
        let text = plan::text(made.plan(), made.zones(), Colour::Never);
        text.lines().for_each(|line| console.more(line));
    }
    if asks && writes && !agreed(console) {
        console.error("nothing is applied");
        return Ok(Exit::Failed);
    }
    let zones = made.zones().clone();
    let bar = way.bar("applying", &file, console);
    let mut watching = Watching { console, zones, bar, asks };
    let outcomes = made.apply(&file, wish.options(), &mut watching).await?;
    let Watching { console, bar, .. } = watching;
    drop(bar);
    tell(&file, &outcomes, console)
}

async fn export(settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let way = Way::open(settings, console).await?;
    console.waiting("listing");
    let sets: Vec<Set> = match way {
        Way::Here { desired, .. } => desired.export().await?,
        Way::There { remote, .. } => remote.export().await?,
    };
    console.result(sets.as_slice(), desired::yaml)?;
    Ok(Exit::Done)
}

/// Says what became of a file: in words, or each record as the REST API does; each that is not as asked for by its place.
fn tell(file: &File, outcomes: &[Outcome], console: &mut Console<'_>) -> Result<Exit, Failure> {
    console.result(outcomes, counts)?;
    let mut is_done = true;
    for outcome in outcomes {
        let words = [Some(&outcome.name), outcome.record_type.as_ref(), outcome.value.as_ref()];
        let what = words.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        for warning in &outcome.warnings {
            console.warning(&format!("{what}: {}", warning.message));
        }
        if !outcome.outcome.is_done() {
            is_done = false;
            let why = outcome.reason.as_ref().map(|reason| format!(" ({}): {}", reason.code, reason.message));
            let at = at(file, &outcome.name, outcome.record_type.as_deref().unwrap_or_default());
            console.error(&format!("{at}{what}: {}{}", outcome.outcome, why.unwrap_or_default()));
        }
    }
    Ok(Exit::when(is_done))
}

/// How many records there are of each outcome.
fn counts(outcomes: &[Outcome]) -> String {
    let all = [
        Status::Created,
        Status::Updated,
        Status::Deleted,
        Status::Unchanged,
        Status::Conflict,
        Status::Refused,
        Status::Failed,
        Status::Unknown,
    ];
    let count = |status: Status| outcomes.iter().filter(|outcome| outcome.outcome == status).count();
    let told = all.into_iter().filter(|status| status.is_done() || count(*status) > 0);
    let told: Vec<_> = told.map(|status| format!("{} {status}", count(status))).collect();
    format!("Applied: {} (records).\n", told.join(", "))
}

fn impossible(file: &File, change: &Change) -> String {
    let Change { name, record_type, action, reason, .. } = change;
    let why = reason.as_ref().map(|reason| format!(" ({}): {}", reason.code, reason.message)).unwrap_or_default();
    format!("{}{name} {record_type}: {action}{why}", at(file, name, record_type))
}

/// `FILE:LINE:COLUMN: `, if the set is in the file.
fn at(file: &File, name: &str, record_type: &str) -> String {
    file.place(name, record_type).map(|place| format!("{}: ", file.at(place))).unwrap_or_default()
}

/// Coloured on a terminal only, and not for who asks for none (<https://no-color.org>).
fn colour(settings: &Settings<'_>) -> Colour {
    let environment = settings.environment;
    let is_plain =
        settings.is_plain || environment.variable("NO_COLOR").is_some() || environment.variable("TERM") == Some("dumb");
    if environment.terminal.stdout && !is_plain { Colour::Always } else { Colour::Never }
}

fn agreed(console: &mut Console<'_>) -> bool {
    // Nobody is left to answer if standard error is closed.
    let asked = write!(console.stderr, "Apply this? Only `yes` does: ").and_then(|()| console.stderr.flush());
    let mut answer = String::new();
    asked.is_ok() && io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

/// Shows how far applying is, and what was planned again.
struct Watching<'a, 'c> {
    console: &'a mut Console<'c>,
    zones: Zones,
    bar: Bar,
    asks: bool,
}

impl Observer for Watching<'_, '_> {
    fn advanced(&mut self, done: usize, of: usize) {
        self.bar.advanced(done, of);
    }

    fn replanned(&mut self, changes: &[Change]) -> bool {
        let Self { console, zones, bar, asks } = self;
        bar.suspend(|| {
            console.warning("changed after it was planned, and planned again:");
            for line in plan::changes(changes, zones, Colour::Never).lines() {
                console.more(line);
            }
            !*asks || agreed(console)
        })
    }
}

struct Planning(Bar);

impl Observer for Planning {
    fn advanced(&mut self, done: usize, of: usize) {
        self.0.advanced(done, of);
    }
}

/// The way to a plan: the component, or the running service that holds the embedded store.
enum Way {
    Here { dns: Arc<dyn Dns>, desired: Desired, config: Box<Config> },
    There { remote: Remote, zones: Zones },
}

/// A plan, and the way on which it was made.
enum Made<'a> {
    Here { desired: &'a Desired, planned: Box<Planned> },
    There { remote: &'a Remote, plan: Plan, zones: &'a Zones, too_many: Option<String> },
}

impl Way {
    async fn open(settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Self, Failure> {
        Ok(match Access::open(settings, console).await? {
            Access::Alone { dns, config, .. } => {
                let zones = config.dns.zones.iter().map(Name::as_str);
                let desired = Desired::new(Arc::clone(&dns), config.dns.ttl, zones).with_ptr(config.dns.ptr);
                Self::Here { dns, desired, config }
            }
            Access::Through(remote) => Self::There { zones: Zones::new(remote.zones().await?), remote },
        })
    }

    fn bar(&self, label: &'static str, file: &File, console: &mut Console<'_>) -> Bar {
        console.waited();
        match self {
            Self::Here { .. } => Bar::new(label, file.sets.len(), console.progress),
            Self::There { .. } => Bar::waiting(label, file.sets.len(), console.progress),
        }
    }

    async fn plan(&self, file: &File, options: Options, console: &mut Console<'_>) -> Result<Made<'_>, Failure> {
        let bar = self.bar("planning", file, console);
        Ok(match self {
            Self::Here { desired, .. } => {
                let planned = desired.plan(&file.sets, options, &mut Planning(bar)).await?;
                Made::Here { desired, planned: Box::new(planned) }
            }
            Self::There { remote, zones } => {
                let (plan, too_many) = remote.plan(&file.sets, options).await?;
                Made::There { remote, plan, zones, too_many: too_many.map(|reason| reason.message) }
            }
        })
    }
}

impl Made<'_> {
    fn plan(&self) -> &Plan {
        match self {
            Self::Here { planned, .. } => planned.plan(),
            Self::There { plan, .. } => plan,
        }
    }

    fn zones(&self) -> &Zones {
        match self {
            Self::Here { planned, .. } => planned.zones(),
            Self::There { zones, .. } => zones,
        }
    }

    fn too_many(&self) -> Option<String> {
        match self {
            Self::Here { planned, .. } => planned.too_many().map(ToString::to_string),
            Self::There { too_many, .. } => too_many.clone(),
        }
    }

    async fn apply(self, file: &File, options: Options, observer: &mut impl Observer) -> Result<Vec<Outcome>, Failure> {
        match self {
            Self::Here { desired, planned } => Ok(desired.apply(*planned, observer).await),
            Self::There { remote, plan, .. } => Ok(remote.apply(&file.sets, options, &plan).await?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::{Environment, Terminal};

    fn colour_of(stdout: bool, is_plain: bool, variables: &[(&str, &str)]) -> Colour {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let terminal = Terminal { stdout, ..Terminal::default() };
        let environment = Environment { variables, terminal, ..Environment::default() };
        let (file, server, token_file, ca) = (None, None, None, None);
        colour(&Settings { file, server, token_file, ca, is_plain, environment: &environment })
    }

    #[test]
    fn colours_are_for_terminals_and_for_who_wants_them() {
        assert_eq!(colour_of(true, false, &[("TERM", "xterm")]), Colour::Always);
        assert_eq!(colour_of(true, false, &[("TERM", "dumb")]), Colour::Never);
        assert_eq!(colour_of(true, false, &[("NO_COLOR", "1")]), Colour::Never);
        assert_eq!(colour_of(true, false, &[("NO_COLOR", "")]), Colour::Always);
        assert_eq!(colour_of(true, true, &[("TERM", "xterm")]), Colour::Never);
        assert_eq!(colour_of(false, false, &[("TERM", "xterm")]), Colour::Never);
    }
}
