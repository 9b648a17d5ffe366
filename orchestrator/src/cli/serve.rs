//! `serve`

use serde::Serialize;
use tokio::signal;

use super::output::Console;
use super::{Exit, Failure, Settings};
use crate::serve;

/// Where the service listens.
#[derive(Serialize)]
struct Listening {
    url: String,
}

pub(super) async fn run(settings: &Settings<'_>, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let config = settings.load(console)?;
    let running = serve::start(&config).await?;
    console.result(&Listening { url: running.url() }, |listening| format!("listening on {}\n", listening.url))?;
    told_to_stop().await?;
    tracing::info!("stopping");
    tokio::select! {
        stopped = running.stop() => {
            stopped?;
            Ok(Exit::Done)
        }
        // Told twice: at once. What was at work is in the inventory, and the next process goes on with it.
        told = told_to_stop() => {
            told?;
            tracing::warn!("stopping at once");
            Ok(Exit::Failed)
        }
    }
}

#[cfg(unix)]
async fn told_to_stop() -> std::io::Result<()> {
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = signal::ctrl_c() => interrupted,
    }
}

#[cfg(not(unix))]
async fn told_to_stop() -> std::io::Result<()> {
    signal::ctrl_c().await
}
