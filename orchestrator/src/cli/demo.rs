//! `demo`

use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use super::output::{Console, Form, printable};
use super::{Exit, Failure};
use crate::demo::{self, Line, Stage};
use crate::interruption::Interruption;

/// A step and what came back, for programs.
#[derive(Serialize)]
struct Shown {
    step: String,
    seen: Vec<String>,
}

pub(super) async fn run(console: &mut Console<'_>) -> Result<Exit, Failure> {
    let began = Instant::now();
    let mut interruption = Interruption::listen().context("listening for signals")?;
    let directory = tempfile::Builder::new().prefix("dns-manager-demo-").tempdir().context("a temporary directory")?;
    let stage = tokio::select! {
        stage = Stage::open(directory.path()) => stage?,
        () = interruption.came() => return Err(anyhow::anyhow!("interrupted").into()),
    };
    if console.form == Form::Table {
        writeln!(
            console.stdout,
            "dns-manager keeps the DNS records of servers. Here is all of it on this machine, in {}:\nthe embedded store in \
             place of etcd, a name server at {} in place of CoreDNS.",
            directory.path().display(),
            stage.nameserver()
        )?;
    }

    // Lines go out as they come, and who shows them is not who does the work.
    let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel::<Line>();
    let mut shown: Vec<Shown> = Vec::new();
    let ended = {
        let mut tell = move |line| {
            // The receiver lives as long as the demonstration.
            let _ = sender.send(line);
        };
        let stage = &stage;
        let working = async move {
            let ended = demo::run(stage, &mut tell).await;
            // Then there are no more lines.
            drop(tell);
            ended
        };
        let showing = async {
            while let Some(line) = lines.recv().await {
                show(line, &mut shown, console)?;
            }
            Ok::<_, std::io::Error>(())
        };
        tokio::select! {
            (ended, written) = async { tokio::join!(working, showing) } => {
                written?;
                ended.map_err(anyhow::Error::from)
            }
            () = interruption.came() => Err(anyhow::anyhow!("interrupted")),
        }
    };
    stage.close().await;
    directory.close().context("removing the temporary directory")?;
    ended.context("the demonstration did not go as told")?;

    match console.form {
        Form::Json => console.result(shown.as_slice(), |_| String::new())?,
        Form::Table => writeln!(
            console.stdout,
            "\nAll as told, in {:.1} s; the temporary directory is gone. Next: `dns-manager serve`, and README.md for your own \
             etcd and CoreDNS.",
            began.elapsed().as_secs_f64()
        )?,
    }
    Ok(Exit::Done)
}

fn show(line: Line, shown: &mut Vec<Shown>, console: &mut Console<'_>) -> std::io::Result<()> {
    let text = match &line {
        Line::Step(text) => format!("\n{}. {}", shown.len() + 1, printable(text)),
        Line::Seen(text) => format!("     {}", printable(text)),
    };
    match line {
        Line::Step(step) => shown.push(Shown { step, seen: Vec::new() }),
        Line::Seen(text) => {
            if let Some(last) = shown.last_mut() {
                last.seen.push(text);
            }
        }
    }
    if console.form == Form::Table {
        writeln!(console.stdout, "{text}")?;
        console.stdout.flush()?;
    }
    Ok(())
}
