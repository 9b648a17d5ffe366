//! `server create|delete|retry|rename|list|show`: on the inventory itself, or through the running service that holds it.

mod bulk;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Subcommand;
use dns_manager_host::DnsManager;
use tokio::sync::mpsc;

use super::output::{Console, Rows};
use super::progress::{Progress, Servers};
use super::{Exit, Failure, Settings, zone};
use crate::config::Config;
use crate::desired::NewServer;
use crate::dns::{Batching, Dns};
use crate::inventory::{self, Inventory, OpenError};
use crate::lifecycle::{Error as LifecycleError, Lifecycle, Policy, Workflow};
use crate::plugin;
use crate::provider;
use crate::remote::Remote;
use crate::serve::Holder;
use crate::server::{Server, State, Step, StepOutcome, Wanted};

/// How long another command may hold the inventory, or a service take until it answers.
const HELD_FOR: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// Said where a server of the local provider is created outside a service.
const LOCAL_ENDS: &str = "orchestrator.provider.kind is \"local\": the server lives in this process and is gone when this \
                          command ends, while its records stay; run `dns-manager serve` and create it through that";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a server, register its addresses, and verify that its name resolves.
    #[command(after_help = "Examples:
  dns-manager server create web-01.example.com --ip 192.168.1.10 --ip 2001:db8::10
  dns-manager server create --file servers.yaml

A file has a list of servers: [{hostname: web-01.example.com, addresses: [192.168.1.10]}]")]
    Create {
        /// Its full name, or a short one if orchestrator.domain is set.
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        hostname: Option<String>,
        /// An address of it; may be repeated.
        #[arg(long = "ip", value_name = "IP", conflicts_with = "file")]
        addresses: Vec<IpAddr>,
        /// Create all servers of a YAML or JSON file; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// How many servers of a file at a time.
        #[arg(long, value_name = "N", default_value_t = bulk::PARALLEL, value_parser = bulk::parallel)]
        parallel: usize,
    },
    /// Delete servers and their records.
    #[command(after_help = "Example:
  dns-manager server delete web-01.example.com")]
    Delete {
        /// Its name; may be several.
        #[arg(required = true, value_name = "HOSTNAME")]
        hostnames: Vec<String>,
        /// How many servers at a time.
        #[arg(long, value_name = "N", default_value_t = bulk::PARALLEL, value_parser = bulk::parallel)]
        parallel: usize,
    },
    /// Go on with a server whose workflow stopped, or try again at once what failed.
    #[command(
        after_help = "It goes on from the step that stopped. A ready server with a problem is registered and verified again.

Example:
  dns-manager server retry web-01.example.com"
    )]
    Retry {
        /// Its name.
        hostname: String,
    },
    /// Give a server another name; its records move with it.
    #[command(after_help = "Example:
  dns-manager server rename web-01.example.com web-02.example.com")]
    Rename {
        /// Its name.
        #[arg(value_name = "OLD")]
        hostname: String,
        /// The name that it is to have.
        #[arg(value_name = "NEW")]
        to: String,
    },
    /// List all servers.
    #[command(after_help = "Example:
  dns-manager server list --output json")]
    List,
    /// Show a server: its records, and what its workflow did.
    #[command(after_help = "Example:
  dns-manager server show web-01.example.com")]
    Show {
        /// Its name.
        hostname: String,
    },
}

/// The way to the inventory.
pub(super) enum Access {
    Alone(Arc<dyn Inventory>),
    Through(Remote),
}

pub(super) async fn run(command: Command, settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    console.waiting("getting ready");
    if let Some(remote) = settings.remote(console).await? {
        return through(command, &remote, settings, console).await;
    }
    let config = settings.load(console)?;
    match open(&config, console).await? {
        Access::Through(remote) => through(command, &remote, settings, console).await,
        Access::Alone(inventory) => {
            let mut begun = None;
            let ended = alone(command, &config, settings, Arc::clone(&inventory), &mut begun, console).await;
            match begun {
                // What a workflow that broke off left at work ends before its claim does.
                Some(lifecycle) => lifecycle.leave().await,
                None => inventory.leave().await,
            }
            ended
        }
    }
}

/// Has a running service do it.
async fn through(
    command: Command,
    remote: &Remote,
    settings: &Settings<'_>,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    match command {
        Command::Create { file: Some(file), parallel, .. } => {
            let servers = bulk::read(&file, settings)?;
            let shown = &many("creating", servers.len(), console);
            let one = |NewServer { hostname, addresses }| async move {
                let created = remote.create(&hostname, &addresses, |step| shown.took(&hostname, step)).await;
                (hostname, created.map_err(Into::into))
            };
            bulk::run(servers, parallel, shown, one, console).await
        }
        Command::Create { hostname, addresses, .. } => {
            let hostname = hostname.unwrap_or_default();
            let server = remote.create(&hostname, &addresses, |step| show(step, console)).await?;
            ended(&server, console)
        }
        Command::Delete { hostnames, parallel } if hostnames.len() > 1 => {
            let shown = &many("deleting", hostnames.len(), console);
            let one = |hostname: String| async move {
                let deleted = remote.delete(&hostname, |step| shown.took(&hostname, step)).await;
                (hostname, deleted.map_err(Into::into))
            };
            bulk::run(hostnames, parallel, shown, one, console).await
        }
        Command::Delete { hostnames, .. } => {
            let hostname = hostnames.into_iter().next().unwrap_or_default();
            let server = remote.delete(&hostname, |step| show(step, console)).await?;
            ended(&server, console)
        }
        Command::Retry { hostname } => {
            let server = remote.retry(&hostname, |step| show(step, console)).await?;
            ended(&server, console)
        }
        Command::Rename { hostname, to } => {
            let server = remote.rename(&hostname, &to, |step| show(step, console)).await?;
            ended(&server, console)
        }
        Command::List => listed(&remote.list().await?, console),
        Command::Show { hostname } => shown(&remote.find_server(&hostname).await?, console),
    }
}

/// Does it in this process; `begun` becomes what sees to servers, where that is needed.
async fn alone(
    command: Command,
    config: &Config,
    settings: &Settings<'_>,
    inventory: Arc<dyn Inventory>,
    begun: &mut Option<Lifecycle>,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    match command {
        Command::Create { file: Some(file), parallel, .. } => {
            let servers = bulk::read(&file, settings)?;
            let (dns, lifecycle) = &begin(config, inventory, begun).await?;
            if config.dns.auto_register {
                zone::require(config, &**dns, console).await?;
            }
            let shown = &many("creating", servers.len(), console);
            let one = |NewServer { hostname, addresses }| async move {
                let created = async {
                    let workflow = lifecycle.create(&hostname, &addresses, None).await?;
                    Ok(workflow.run(|step| shown.took(&hostname, step)).await?)
                };
                let created = created.await;
                (hostname, created)
            };
            bulk::run(servers, parallel, shown, one, console).await
        }
        Command::Create { hostname, addresses, .. } => {
            let hostname = hostname.unwrap_or_default();
            if config.provider.kind == provider::Kind::Local {
                console.warning(LOCAL_ENDS);
            }
            let (dns, lifecycle) = begin(config, inventory, begun).await?;
            lifecycle.check(&hostname, &addresses)?;
            if config.dns.auto_register {
                zone::require(config, &*dns, console).await?;
            }
            let server = follow(lifecycle.create(&hostname, &addresses, None).await?, console).await?;
            ended(&server, console)
        }
        Command::Delete { hostnames, parallel } if hostnames.len() > 1 => {
            let (dns, lifecycle) = &begin(config, inventory, begun).await?;
            zone::look(config, &**dns, console).await;
            let shown = &many("deleting", hostnames.len(), console);
            let one = |hostname: String| async move {
                let deleted = async {
                    let workflow = lifecycle.delete(&hostname, None).await?;
                    Ok(workflow.run(|step| shown.took(&hostname, step)).await?)
                };
                let deleted = deleted.await;
                (hostname, deleted)
            };
            bulk::run(hostnames, parallel, shown, one, console).await
        }
        Command::Delete { hostnames, .. } => {
            let hostname = hostnames.into_iter().next().unwrap_or_default();
            let (dns, lifecycle) = begin(config, inventory, begun).await?;
            lifecycle.find(&hostname).await?;
            zone::look(config, &*dns, console).await;
            let server = follow(lifecycle.delete(&hostname, None).await?, console).await?;
            ended(&server, console)
        }
        Command::Retry { hostname } => {
            let (dns, lifecycle) = begin(config, inventory, begun).await?;
            lifecycle.find(&hostname).await?;
            zone::look(config, &*dns, console).await;
            let server = follow(lifecycle.retry(&hostname, None).await?, console).await?;
            ended(&server, console)
        }
        Command::Rename { hostname, to } => {
            let (dns, lifecycle) = begin(config, inventory, begun).await?;
            lifecycle.find(&hostname).await?;
            if config.dns.auto_register {
                zone::require(config, &*dns, console).await?;
            }
            let server = follow(lifecycle.rename(&hostname, &to, None).await?, console).await?;
            ended(&server, console)
        }
        Command::List => {
            let servers: Vec<_> = inventory.list().await?.into_iter().map(|stored| stored.server).collect();
            listed(&servers, console)
        }
        Command::Show { hostname } => {
            let hostname = Policy::of(config).hostname(&hostname)?;
            let found = inventory.find(&hostname).await?.ok_or(LifecycleError::NotFound(hostname))?;
            shown(&found.server, console)
        }
    }
}

/// Takes the inventory, or finds the service that holds it; another command that holds it is waited for.
pub(super) async fn open(config: &Config, console: &mut Console<'_>) -> Result<Access, Failure> {
    open_within(config, HELD_FOR, console).await
}

/// The same, for who cannot wait so long for another command that holds the inventory.
pub(super) async fn open_within(
    config: &Config,
    patience: Duration,
    console: &mut Console<'_>,
) -> Result<Access, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        let held = match inventory::open(config).await {
            Ok(inventory) => return Ok(Access::Alone(inventory)),
            Err(OpenError::Held(directory)) => OpenError::Held(directory),
            Err(unusable) => return Err(unusable.into()),
        };
        if let Some(holder) = Holder::read(&config.data_dir)
            && let Some(remote) = Remote::find(&holder).await
        {
            return Ok(Access::Through(remote));
        }
        if Instant::now() >= deadline {
            return Err(anyhow::anyhow!(
                "{held}, which neither ends nor answers: wait for it or end it, then try again"
            )
            .into());
        }
        console.waiting("waiting for another command, which holds the inventory");
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a command works with, which notes what is to be left at its end.
async fn begin(
    config: &Config,
    inventory: Arc<dyn Inventory>,
    begun: &mut Option<Lifecycle>,
) -> Result<(Arc<DnsManager>, Lifecycle), Failure> {
    let (dns, lifecycle) = parts(config, inventory).await?;
    *begun = Some(lifecycle.clone());
    Ok((dns, lifecycle))
}

/// What a command works with that holds the inventory.
pub(super) async fn parts(
    config: &Config,
    inventory: Arc<dyn Inventory>,
) -> Result<(Arc<DnsManager>, Lifecycle), Failure> {
    let dns = Arc::new(plugin::connect(config).await?);
    let lifecycle = lifecycle(config, dns.clone(), inventory);
    Ok((dns, lifecycle))
}

/// The servers of an inventory, as a command sees to them.
pub(super) fn lifecycle(config: &Config, dns: Arc<dyn Dns>, inventory: Arc<dyn Inventory>) -> Lifecycle {
    // Many at a time share transactions.
    let dns = Arc::new(Batching::new(dns));
    Lifecycle::new(dns, config.provider.provider(), inventory, Policy::of(config).for_a_command())
}

/// Runs a workflow and shows its steps.
async fn follow(workflow: Workflow, console: &mut Console<'_>) -> Result<Server, Failure> {
    let (sender, mut steps) = mpsc::unbounded_channel::<Step>();
    let running = workflow.run(move |step| {
        // The receiver lives as long as the workflow.
        let _ = sender.send(step.clone());
    });
    let showing = async {
        while let Some(step) = steps.recv().await {
            show(&step, console);
        }
    };
    let (server, ()) = tokio::join!(running, showing);
    Ok(server?)
}

/// Shows a step that has ended, or the one that is at work.
fn show(step: &Step, console: &mut Console<'_>) {
    match step.outcome {
        StepOutcome::Running => console.waiting(&*step.name),
        StepOutcome::Retrying => {
            console.note(&step.to_string());
            console.waiting(format!("{} again", step.name));
        }
        StepOutcome::Done | StepOutcome::Problem | StepOutcome::Failed => console.note(&step.to_string()),
    }
}

/// Shows many instead of what was waited for.
fn many(label: &'static str, servers: usize, console: &mut Console<'_>) -> Servers {
    console.waited();
    Servers::new(label, servers, console.progress)
}

/// What was done about its records and deserves a look.
fn warnings(server: &Server) -> impl Iterator<Item = &str> {
    server.dns.records.iter().flat_map(|outcome| &outcome.warnings).map(|warning| warning.message.as_str())
}

/// A server that is there with a problem is not all that was asked for.
fn ended(server: &Server, console: &mut Console<'_>) -> Result<Exit, Failure> {
    console.result(server, |server| table(std::slice::from_ref(server)))?;
    // The steps that were shown have told of them.
    if console.progress == Progress::Nothing {
        warnings(server).for_each(|warning| console.warning(warning));
    }
    if let Some(problem) = &server.problem {
        console.error(&format!("{}: {problem}", server.hostname));
    }
    Ok(Exit::when(server.problem.is_none() && server.state != State::Failed))
}

fn listed(servers: &[Server], console: &mut Console<'_>) -> Result<Exit, Failure> {
    console.result(servers, table)?;
    Ok(Exit::Done)
}

fn shown(server: &Server, console: &mut Console<'_>) -> Result<Exit, Failure> {
    console.result(server, details)?;
    Ok(Exit::Done)
}

fn table(servers: &[Server]) -> String {
    // Where nothing is wrong there is nothing to tell.
    let problems = servers.iter().any(|server| server.problem.is_some());
    let mut heading = vec!["HOSTNAME", "STATE", "VERIFIED", "ADDRESSES"];
    heading.extend(problems.then_some("PROBLEM"));
    let mut rows = Rows::new(&heading);
    for server in servers {
        let (state, addresses) = (state(server), addresses(server));
        let mut cells = vec![server.hostname.as_str(), &state, verified(server), &addresses];
        cells.extend(problems.then_some(server.problem.as_deref().unwrap_or("-")));
        rows.add(&cells);
    }
    rows.text()
}

/// Where a server is in its life, and what keeps it there.
fn state(server: &Server) -> String {
    let mut state = server.state.to_string();
    if let Some(stopped_in) = server.stopped_in {
        state.push_str(&format!(" in {stopped_in}"));
    }
    if server.wanted == Wanted::Deleted && server.state != State::Deleted {
        state.push_str(", to be deleted");
    }
    if let Some(retry_at) = server.retry_at {
        state.push_str(&format!(", again at {retry_at}"));
    }
    state
}

fn details(server: &Server) -> String {
    let mut rows = Rows::plain();
    rows.add(&["hostname", server.hostname.as_str()]);
    for former in &server.former_hostnames {
        rows.add(&["formerly", former.as_str()]);
    }
    rows.add(&["id", &server.id.to_string()]);
    rows.add(&["state", &server.state.to_string()]);
    if let Some(stopped_in) = server.stopped_in {
        rows.add(&["stopped in", &stopped_in.to_string()]);
    }
    if server.wanted == Wanted::Deleted {
        rows.add(&["wanted", "deleted"]);
    }
    if let Some(retry_at) = server.retry_at {
        let tries = server.attempts.max(server.dns.tries);
        rows.add(&["again at", &format!("{retry_at}, after {tries} in vain")]);
    }
    rows.add(&["addresses", &addresses(server)]);
    for outcome in &server.dns.records {
        let words = [outcome.record_type.as_deref(), outcome.value.as_deref(), Some(&outcome.outcome.to_string())]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        rows.add(&["record", &words]);
    }
    rows.add(&["verified", verified(server)]);
    for (nameserver, after) in &server.dns.resolvable_ms {
        let after = after.map_or_else(|| "not yet".to_owned(), |after| format!("after {after} ms"));
        rows.add(&["resolvable", &format!("{nameserver} {after}")]);
    }
    for step in &server.steps {
        rows.add(&["step", &format!("{}  {step}", step.started_at)]);
    }
    if let Some(problem) = &server.problem {
        rows.add(&["problem", problem]);
    }
    rows.text()
}

fn addresses(server: &Server) -> String {
    server.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn verified(server: &Server) -> &'static str {
    match server.dns.verified {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    }
}
