//! The passes that a service makes by itself.

use std::time::Duration;

use super::{Drift, Kind, Options, Reconciler, Report, Treatment};

/// Makes a pass every so often, until `stop` is over; none: never. The first one comes soon after the start, when what an
/// earlier process left is being gone on with.
pub async fn keep(reconciler: Reconciler, every: Option<Duration>, stop: impl Future<Output = ()>) {
    let Some(every) = every else { return };
    let passes = async {
        let mut last = None;
        tokio::time::sleep(every.min(FIRST_AFTER)).await;
        loop {
            match reconciler.run(Options::default()).await {
                Ok(report) => {
                    if last.as_ref() != Some(&report) {
                        tell(&report);
                    }
                    last = Some(report);
                }
                Err(error) => tracing::error!("reconciling: {}", crate::error_chain(&error)),
            }
            tokio::time::sleep(every).await;
        }
    };
    tokio::select! {
        () = passes => {}
        () = stop => {}
    }
}

const FIRST_AFTER: Duration = Duration::from_secs(10);

/// Says what was found. What is the same as the last time was said then.
fn tell(report: &Report) {
    for Drift { kind, name, record_type, value, treatment, message, .. } in &report.drift {
        let is_mended = matches!(
            treatment,
            Treatment::Registering | Treatment::Removed | Treatment::LeftToWorkflow | Treatment::PutBack
        );
        if is_mended && *kind != Kind::Foreign {
            tracing::info!(%kind, name, record_type, value, %treatment, "reconciling: {message}");
        } else {
            tracing::warn!(%kind, name, record_type, value, %treatment, "reconciling: {message}");
        }
    }
    for problem in &report.problems {
        tracing::warn!("reconciling: {problem}");
    }
}
