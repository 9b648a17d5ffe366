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
/// How long one member may be silent about what is only read, at first; then twice as long, should it be etcd that is slow.
const FIRST_TRY_WITHIN: Duration = Duration::from_secs(2);
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
    again(call, Some(FIRST_TRY_WITHIN), |error| was_unsent(error) || may_pass(error)).await
}

/// Writes: at most once.
pub(super) async fn write<T, C: Future<Output = Result<T, Error>>>(call: impl Fn() -> C) -> Result<T, Source> {
    again(call, None, was_unsent).await
}

/// `try_within`: how long the first try may take before another member is asked; none: that would be to send it twice.
async fn again<T, C: Future<Output = Result<T, Error>>>(
    call: impl Fn() -> C,
    mut try_within: Option<Duration>,
    is_worth_it: impl Fn(&Error) -> bool,
) -> Result<T, Source> {
    let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
    // Who runs without a leader knows more than who does not run.
    let mut leaderless = None;
    bounded(PATIENCE, async {
        loop {
            let error = match one_try(call(), try_within).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => error,
                None => {
                    try_within = try_within.map(|within| within * 2);
                    continue;
                }
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

/// None: it was not answered in time.
async fn one_try<T>(call: impl Future<Output = T>, within: Option<Duration>) -> Option<T> {
    match within {
        Some(within) => tokio::time::timeout(within, call).await.ok(),
        None => Some(call.await),
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers from the second call on.
    async fn silent_at_first(calls: &AtomicUsize) -> Result<usize, Error> {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => std::future::pending().await,
            before => Ok(before + 1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_silent_member_does_not_answer_is_read_from_another_and_never_written_twice() {
        let calls = AtomicUsize::new(0);
        assert_eq!(read(|| silent_at_first(&calls)).await.unwrap(), 2);

        let calls = AtomicUsize::new(0);
        let error = write(|| silent_at_first(&calls)).await.unwrap_err();
        assert_eq!(error.to_string(), "etcd does not answer within 8s");
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_answers_is_given_up() {
        let error = read(std::future::pending::<Result<(), Error>>).await.unwrap_err();
        assert_eq!(error.to_string(), "etcd does not answer within 8s");
    }
}
