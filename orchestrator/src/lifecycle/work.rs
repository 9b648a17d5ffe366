//! Working on a server, step by step, under a claim.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Parts;
use super::due::Due;
use super::step::{Acknowledged, Ended};
use crate::inventory::{Claim, Error, Stored, Written};
use crate::name::HostName;
use crate::server::{Server, State, StepOutcome, Wanted};
use crate::timestamp::Timestamp;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After how long a ready server is registered again whose records are not as they should be: at first, and at most.
const FIRST_ROUND: Duration = Duration::from_secs(15);
const LONGEST_ROUND: Duration = Duration::from_secs(600);
/// How often a step that only looks is interrupted to see what is wanted, where no notice of it comes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a worker does while the step that is due is only to be tried again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UntilRetry {
    /// It waits: somebody waits for the server.
    Wait,
    /// It leaves the server, and its place to others: whoever sent it comes back at that time.
    Leave,
}

/// Works on a server until it is at rest, gone, left until it is tried again, or no longer ours to work on; the server if it
/// is gone by this work.
///
/// # Errors
///
/// The inventory does not work. Everything else is recorded on the server.
pub(super) async fn work(
    parts: &Parts,
    hostname: &HostName,
    claim: &Claim,
    until_retry: UntilRetry,
) -> Result<Option<Server>, Error> {
    let _at_work = AtWork::enter(&parts.at_work);
    let Some(stored) = parts.inventory.find(hostname).await?.filter(|stored| stored.server.id == claim.server()) else {
        return Ok(None);
    };
    let mut worker = Worker { parts, claim, stored, until_retry, is_gone: false };
    let span = tracing::info_span!("workflow", server = %claim.server(), %hostname);
    let mut leaving = parts.leaving.subscribe();
    tokio::select! {
        biased;
        _ = leaving.wait_for(|leaving| *leaving) => return Ok(None),
        worked = worker.run().instrument(span) => worked?,
    }
    Ok(worker.is_gone.then_some(worker.stored.server))
}

/// Somebody at work on a server, and what was last written of it.
struct Worker<'a> {
    parts: &'a Parts,
    claim: &'a Claim,
    stored: Stored,
    until_retry: UntilRetry,
    /// Whether this worker took it out of the inventory.
    is_gone: bool,
}

/// Whether the worker may go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    /// The claim is lost, or the server is gone.
    Off,
}

impl Worker<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        let mut acknowledged = Acknowledged::default();
        loop {
            self.turn_to_deletion();
            self.turn_to_registration();
            let Some(due) = Due::of(self.stored.server.state) else {
                // What was turned above is written with its first step.
                return Ok(());
            };
            if !self.wait_for_retry().await? {
                return Ok(());
            }
            // Somebody may have asked for the deletion meanwhile.
            self.turn_to_deletion();
            if Due::of(self.stored.server.state) != Some(due) {
                continue;
            }
            if self.take(due, &mut acknowledged).await? == Goes::Off {
                return Ok(());
            }
        }
    }

    /// A server that is ready, but whose records are not as they should be, is registered again later: what can succeed will.
    fn see_to_unsettled(&mut self) {
        let server = &mut self.stored.server;
        if server.state != State::Ready {
            return;
        }
        if !server.is_unsettled() {
            server.settle();
            return;
        }
        let pause = FIRST_ROUND.saturating_mul(2_u32.saturating_pow(server.dns.tries)).min(LONGEST_ROUND);
        server.dns.tries = server.dns.tries.saturating_add(1);
        server.retry_at = Some(Timestamp::now().after(pause));
    }

    /// One whose time has come is registered again.
    fn turn_to_registration(&mut self) {
        let server = &mut self.stored.server;
        if server.is_to_be_registered_again() {
            server.register_again();
        }
    }

    /// A server that is to go leaves its creation.
    fn turn_to_deletion(&mut self) {
        let server = &mut self.stored.server;
        if server.leaves_its_creation() {
            server.problem = None;
            server.stopped_in = None;
            server.enter(State::Stopping);
        }
    }

    /// Waits until the step that is due may be tried again, or something else is wanted; false: the claim is lost, or it is
    /// not for this worker to wait.
    async fn wait_for_retry(&mut self) -> Result<bool, Error> {
        let mut changes = self.parts.inventory.changes();
        while let Some(retry_at) = self.stored.server.retry_at {
            let ahead = retry_at.ahead();
            if ahead.is_zero() {
                break;
            }
            if self.until_retry == UntilRetry::Leave {
                return Ok(false);
            }
            tokio::select! {
                () = tokio::time::sleep(ahead.min(LOOK_EVERY)) => {}
                () = changes.of(&self.stored.server.hostname) => {}
                () = self.claim.lost() => return Ok(false),
            }
            if !self.read_again().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sees what others wrote: what they want. False: the server is gone.
    async fn read_again(&mut self) -> Result<bool, Error> {
        let found = self.parts.inventory.find(&self.stored.server.hostname).await?;
        let Some(found) = found.filter(|found| found.server.id == self.claim.server()) else { return Ok(false) };
        if found.revision != self.stored.revision {
            self.stored = found;
        }
        Ok(true)
    }

    async fn take(&mut self, due: Due, acknowledged: &mut Acknowledged) -> Result<Goes, Error> {
        let server = &mut self.stored.server;
        let is_in_doubt = server.steps.last().is_some_and(|step| step.name == due.name() && step.is_open());
        server.begin(due.name());
        if self.write().await? == Goes::Off {
            return Ok(Goes::Off);
        }

        let began = Instant::now();
        let mut server = self.stored.server.clone();
        let ended = {
            let span = tracing::info_span!("step", step = due.name());
            let step = due.take(self.parts, &mut server, acknowledged, is_in_doubt).instrument(span);
            tokio::select! {
                ended = step => ended,
                () = self.claim.lost() => return Ok(Goes::Off),
                () = self.is_to_go(), if due.only_looks() => {
                    let detail = "broken off: the server is to be deleted".to_owned();
                    Ended::On { next: State::Stopping, outcome: StepOutcome::Problem, detail }
                }
            }
        };
        self.stored.server = server;
        let took = began.elapsed();
        let hostname = self.stored.server.hostname.clone();
        tracing::debug!(%hostname, step = due.name(), ?ended, "the step ended");
        match ended {
            Ended::Gone => {
                self.stored.server.end(took, StepOutcome::Done, String::new());
                self.parts.metrics.step(due.name(), StepOutcome::Done, took);
                return self.remove().await;
            }
            Ended::On { next, outcome, detail } => {
                self.stored.server.end(took, outcome, detail);
                self.stored.server.enter(next);
                self.see_to_unsettled();
            }
            Ended::Again { problem, remedy } => self.again(took, problem, remedy),
            Ended::Stopped { problem, remedy, retry_from } => self.stop(took, problem, remedy, retry_from),
        }
        if let Some(step) = self.stored.server.steps.last() {
            self.parts.metrics.step(due.name(), step.outcome, took);
            if due == Due::Verify && step.outcome == StepOutcome::Done {
                self.parts.metrics.resolvable(age(self.stored.server.id));
            }
            tracing::info!(%hostname, state = %self.stored.server.state, "{step}");
        }
        self.write().await
    }

    /// The step is tried again later, unless it has been tried for long enough.
    fn again(&mut self, took: Duration, problem: String, remedy: &str) {
        let server = &mut self.stored.server;
        let tried_for = server.due_since.map(Timestamp::age).unwrap_or_default();
        let pause = pause(server.attempts);
        if tried_for + pause > self.parts.policy.retry_for {
            let state = server.state;
            return self.stop(took, problem, remedy, state);
        }
        server.attempts = server.attempts.saturating_add(1);
        server.retry_at = Some(Timestamp::now().after(pause));
        let detail = format!("{problem}; again in {}", humantime::format_duration(whole_millis(pause)));
        server.end(took, StepOutcome::Retrying, detail);
    }

    fn stop(&mut self, took: Duration, problem: String, remedy: &str, retry_from: State) {
        let server = &mut self.stored.server;
        server.add_problem(&format!("{problem}: {remedy}"));
        server.end(took, StepOutcome::Failed, problem);
        server.enter(State::Failed);
        server.stopped_in = Some(retry_from);
    }

    /// Waits until the server is to be deleted. That may have been taken over when the step's beginning was written.
    async fn is_to_go(&self) {
        if self.stored.server.wanted == Wanted::Deleted {
            return;
        }
        let mut changes = self.parts.inventory.changes();
        loop {
            // Where changes are told of no more, the clock is enough.
            let _ = tokio::time::timeout(LOOK_EVERY, changes.of(&self.stored.server.hostname)).await;
            if let Ok(Some(found)) = self.parts.inventory.find(&self.stored.server.hostname).await
                && found.server.wanted == Wanted::Deleted
            {
                return;
            }
        }
    }

    /// Writes what this worker did. What others want of the server is taken over.
    async fn write(&mut self) -> Result<Goes, Error> {
        loop {
            let Stored { server, revision } = &self.stored;
            match self.parts.inventory.update(server, *revision, Some(self.claim)).await? {
                Written::At(revision) => {
                    self.stored.revision = revision;
                    return Ok(Goes::On);
                }
                Written::ClaimLost => return Ok(Goes::Off),
                Written::Changed => {
                    if !self.take_over().await? {
                        return Ok(Goes::Off);
                    }
                }
            }
        }
    }

    /// Takes over what is wanted from what is written; false: the server is gone.
    async fn take_over(&mut self) -> Result<bool, Error> {
        let found = self.parts.inventory.find(&self.stored.server.hostname).await?;
        let Some(found) = found.filter(|found| found.server.id == self.claim.server()) else { return Ok(false) };
        self.stored.revision = found.revision;
        self.stored.server.wanted = found.server.wanted;
        Ok(true)
    }

    async fn remove(&mut self) -> Result<Goes, Error> {
        loop {
            let Stored { server, revision } = &self.stored;
            match self.parts.inventory.remove(&server.hostname, *revision, Some(self.claim)).await? {
                Written::At(_) => {
                    self.is_gone = true;
                    return Ok(Goes::Off);
                }
                Written::ClaimLost => return Ok(Goes::Off),
                Written::Changed => {
                    if !self.take_over().await? {
                        return Ok(Goes::Off);
                    }
                }
            }
        }
    }
}

/// How long ago a server was put into the inventory: its id says when.
fn age(server: Uuid) -> Duration {
    let (seconds, nanos) = server.get_timestamp().map_or((0, 0), |at| at.to_unix());
    let created = UNIX_EPOCH + Duration::new(seconds, nanos);
    SystemTime::now().duration_since(created).unwrap_or_default()
}

/// Exponential, so that what is down for long is not asked often.
fn pause(attempts: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempts)).min(LONGEST_PAUSE)
}

fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Counts a worker as long as it lives.
struct AtWork<'a>(&'a watch::Sender<usize>);

impl<'a> AtWork<'a> {
    fn enter(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
