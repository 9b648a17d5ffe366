//! `reconcile`

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use futures_util::{StreamExt as _, stream};

use super::output::{Console, Rows};
use super::progress::Servers;
use super::server::{self, Access};
use super::{Exit, Failure, Settings};
use crate::config::Config;
use crate::desired::MaxDeletes;
use crate::inventory::Inventory;
use crate::lifecycle::Lifecycle;
use crate::reconcile::{Options, Policy, Reconciler, Report, Summary};
use crate::remote::Remote;
use crate::server::Server;

/// How many servers are registered again at a time.
const IN_FLIGHT: usize = 16;

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Only report.
    #[arg(long)]
    dry_run: bool,
    /// How much of a zone may be deleted: a number of its names, or a share of them, such as 50%.
    #[arg(long, value_name = "N|N%")]
    max_deletes: Option<MaxDeletes>,
}

pub(super) async fn run(command: Command, settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let options = Options { dry_run: command.dry_run, max_deletes: command.max_deletes.unwrap_or_default() };
    console.waiting("comparing what is registered with the inventory");
    if let Some(remote) = settings.remote(console).await? {
        return through(&remote, options, console).await;
    }
    let config = settings.load(console)?;
    match server::open(&config, console).await? {
        Access::Through(remote) => through(&remote, options, console).await,
        Access::Alone(inventory) => {
            let ended = alone(&config, Arc::clone(&inventory), options, console).await;
            inventory.leave().await;
            ended
        }
    }
}

async fn alone(
    config: &Config,
    inventory: Arc<dyn Inventory>,
    options: Options,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let (dns, lifecycle) = server::parts(config, inventory).await?;
    let reconciler = Reconciler::new(dns, lifecycle.clone(), Policy::of(config));
    let ended = pass(&reconciler, &lifecycle, options, console).await;
    // What a workflow that broke off left at work ends before its claim does.
    lifecycle.leave().await;
    ended
}

async fn pass(
    reconciler: &Reconciler,
    lifecycle: &Lifecycle,
    options: Options,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let report = reconciler.run(options).await?;
    // Without a service, nobody else goes on with them.
    let register = |hostname: String| async move {
        let server = async { Ok(lifecycle.resume(&hostname).await?.run(|_| {}).await?) }.await;
        (hostname, server)
    };
    ended(&report, register, console).await
}

async fn through(remote: &Remote, options: Options, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let report = remote.reconcile(options).await?;
    let registered = |hostname: String| async move {
        let server = remote.settled(&hostname).await.map_err(Into::into);
        (hostname, server)
    };
    ended(&report, registered, console).await
}

/// Tells what a pass found, and what becomes of the servers that are registered again.
async fn ended<F: Future<Output = (String, anyhow::Result<Server>)>>(
    report: &Report,
    registered: impl Fn(String) -> F,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let exit = told(report, console)?;
    let waited_for = if report.dry_run { BTreeSet::new() } else { report.to_register() };
    let shown = Servers::new("registering", waited_for.len(), console.progress);
    let mut servers = stream::iter(waited_for.into_iter().map(registered)).buffer_unordered(IN_FLIGHT);
    let mut problems = Vec::new();
    while let Some((hostname, server)) = servers.next().await {
        // What became of one says nothing of the others.
        let problem = server.map_or_else(|error| Some(format!("{error:#}")), |server| server.problem);
        shown.ended(&hostname, problem.is_none());
        problems.extend(problem.map(|problem| format!("{hostname}: {problem}")));
    }
    shown.clear();
    problems.iter().for_each(|problem| console.error(problem));
    Ok(if problems.is_empty() { exit } else { Exit::Failed })
}

fn told(report: &Report, console: &mut Console<'_>) -> Result<Exit, Failure> {
    console.result(report, table)?;
    for problem in &report.problems {
        console.error(problem);
    }
    let is_planned = report.dry_run && !report.drift.is_empty();
    Ok(Exit::when(report.is_settled() && !is_planned))
}

fn table(report: &Report) -> String {
    if report.drift.is_empty() {
        return "everything is registered as it should be\n".to_owned();
    }
    let mut rows = Rows::new(&["NAME", "TYPE", "VALUE", "DRIFT", "TREATMENT", "MESSAGE"]);
    for drift in &report.drift {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        rows.add(&[
            &drift.name,
            &or_dash(&drift.record_type),
            &or_dash(&drift.value),
            &drift.kind.to_string(),
            &drift.treatment.to_string(),
            &drift.message,
        ]);
    }
    let Summary { missing, unsettled, changed, orphan, foreign } = report.summary;
    format!(
        "{}\n{missing} missing, {unsettled} unsettled, {changed} changed, {orphan} orphan, {foreign} foreign\n",
        rows.text()
    )
}
