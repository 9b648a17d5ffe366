//! Calls of etcd: bounded in time, and made again where another member may do better.
//!
//! The client spreads calls over all members, and those that are down are among them: it finds out by calling. So a call that
//! reached nobody is made again; and one that only reads is, whatever became of it. A write that was sent and not acknowledged
//! is in doubt, and is never sent twice.

use std::error::Error as StdError;
use std::time::{Duration, Instant};

use etcd_client::Error;

use super::Source;

/// Longer than etcd needs to say that it has no quorum (7 s).
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// How long another member is looked for: one that is down costs nothing, an election a second or two.
const LOOK_FOR: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Bounds a call: without it, a member that is silent is waited for for ever.
pub(super) async fn within<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Source> {
    bounded(PATIENCE, async { call.await.map_err(Into::into) }).await
}

/// The same, within another time.
pub(super) async fn bounded<T>(patience: Duration, call: impl Future<Output = Result<T, Source>>) -> Result<T, Source> {
    tokio::time::timeout(patience, call)
        .await
        .unwrap_or_else(|_| Err(format!("etcd does not answer within {}", humantime::format_duration(patience)).into()))
}

/// Reads.
pub(super) async fn read<T, C: Future<Output = Result<T, Error>>>(call: impl Fn() -> C) -> Result<T, Source> {
    again(call, |error| was_unsent(error) || may_pass(error)).await
}

/// Writes: at most once.
pub(super) async fn write<T, C: Future<Output = Result<T, Error>>>(call: impl Fn() -> C) -> Result<T, Source> {
    again(call, was_unsent).await
}

async fn again<T, C: Future<Output = Result<T, Error>>>(
    call: impl Fn() -> C,
    is_worth_it: impl Fn(&Error) -> bool,
) -> Result<T, Source> {
    let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
    // Who runs without a leader knows more than who does not run.
    let mut leaderless = None;
    bounded(PATIENCE, async {
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !is_worth_it(&error) {
                return Err(error.into());
            }
            if began.elapsed() > LOOK_FOR {
                return Err(leaderless.unwrap_or(error).into());
            }
            if has_no_leader(&error) {
                leaderless = Some(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    })
    .await
}

/// Whether nobody has carried it out: no connection came about, or the member has no leader and refuses everything.
fn was_unsent(error: &Error) -> bool {
    has_no_leader(error) || sources(error).any(|source| source.is::<tonic::ConnectError>())
}

/// Whether a member went away in the middle of it, or could not answer just then.
fn may_pass(error: &Error) -> bool {
    use tonic::Code;
    match error {
        Error::GRpcStatus(status) => {
            matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal)
        }
        Error::TransportError(_) => true,
        _ => false,
    }
}

/// Whether a member knows of no leader, and so of no majority.
pub(super) fn has_no_leader(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message() == "etcdserver: no leader")
}

/// What an error came from. The client's own tells nobody.
pub(super) fn sources(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let first: Option<&(dyn StdError + 'static)> = match error {
        Error::GRpcStatus(status) => status.source(),
        Error::TransportError(error) => Some(error),
        _ => None,
    };
    std::iter::successors(first, |error| (**error).source())
}
