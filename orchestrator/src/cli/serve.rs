//! `serve`

use anyhow::Context as _;
use serde::Serialize;

use super::output::Console;
use super::{Exit, Failure, Settings};
use crate::interruption::Interruption;
use crate::serve;

/// Where the service listens.
#[derive(Serialize)]
struct Listening {
    url: String,
}

pub(super) async fn run(settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let config = settings.load(console)?;
    let mut interruption = Interruption::listen_but_for_hangup().context("listening for signals")?;
    let running = tokio::select! {
        running = serve::start(&config) => running?,
        // Nothing runs yet that would have to be stopped.
        () = interruption.came() => return Ok(Exit::Done),
    };
    console.result(&Listening { url: running.url() }, |listening| format!("listening on {}\n", listening.url))?;
    interruption.came().await;
    tracing::info!("stopping");
    tokio::select! {
        stopped = running.stop() => {
            stopped?;
            Ok(Exit::Done)
        }
        // Told twice: at once. What was at work is in the inventory, and the next process goes on with it.
        () = interruption.came() => {
            tracing::warn!("stopping at once");
            Ok(Exit::Failed)
        }
    }
}
