//! `reconcile`

use clap::Args;
use futures_util::{StreamExt as _, stream};

use super::output::{Console, Rows};
use super::progress::Servers;
use super::server::{self, Access};
use super::{Exit, Failure, Settings};
use crate::desired::MaxDeletes;
use crate::lifecycle::Lifecycle;
use crate::reconcile::{Options, Policy, Reconciler, Report, Summary};
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
        return told(&remote.reconcile(options).await?, console);
    }
    let config = settings.load(console)?;
    let access = server::open(&config, console).await?;
    match access {
        Access::Through(remote) => told(&remote.reconcile(options).await?, console),
        Access::Alone(inventory) => {
            let (dns, lifecycle) = server::parts(&config, inventory).await?;
            let report = Reconciler::new(dns, lifecycle.clone(), Policy::of(&config)).run(options).await?;
            let exit = told(&report, console)?;
            if options.dry_run || finish(&lifecycle, &report, console).await? { Ok(exit) } else { Ok(Exit::Failed) }
        }
    }
}

/// Without a service, nobody else goes on with the servers that are being registered again; whether all went well.
async fn finish(lifecycle: &Lifecycle, report: &Report, console: &mut Console<'_>) -> Result<bool, Failure> {
    let hostnames = report.to_register();
    let servers = Servers::new("registering", hostnames.len(), console.progress);
    let mut ended = stream::iter(hostnames.into_iter().map(|hostname| {
        let servers = &servers;
        async move {
            let workflow = lifecycle.resume(&hostname).await?;
            let server = workflow.run(|step| servers.took(&hostname, step)).await?;
            servers.ended(&hostname, server.problem.is_none());
            Ok::<Server, anyhow::Error>(server)
        }
    }))
    .buffer_unordered(IN_FLIGHT);
    let mut problems = Vec::new();
    while let Some(server) = ended.next().await {
        let Server { hostname, problem, .. } = server?;
        problems.extend(problem.map(|problem| format!("{hostname}: {problem}")));
    }
    drop(ended);
    drop(servers);
    problems.iter().for_each(|problem| console.error(problem));
    Ok(problems.is_empty())
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
