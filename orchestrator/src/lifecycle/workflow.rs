//! Seeing a server through until it is at rest, whoever does the work.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;

use super::Parts;
use super::work::{self, UntilRetry};
use crate::inventory::Error;
use crate::server::{Server, State, Step, StepOutcome};

/// How often the inventory is looked at where no notice of a change comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A workflow that was accepted: it is in the inventory, and whoever comes first goes on with it.
pub struct Workflow {
    pub(super) parts: Arc<Parts>,
    pub(super) server: Server,
    /// How many of its steps had ended before.
    pub(super) seen: usize,
}

impl Workflow {
    /// The server as it was accepted.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Waits until the server is at rest or gone, and does the work unless another process, or another task of this one,
    /// does it; `observe` sees each step as it begins, and as it has ended or is to be tried again.
    ///
    /// # Errors
    ///
    /// The inventory does not work. Everything else is recorded on the server.
    pub async fn run(self, mut observe: impl FnMut(&Step)) -> Result<Server, Error> {
        let Self { parts, mut server, seen } = self;
        let mut shown = Shown::after(seen);
        let mut changes = parts.inventory.changes();
        // Of a server that is gone, all that it was.
        let mut gone = None;
        let mut working: Option<tokio::task::JoinHandle<Worked>> = None;
        loop {
            changes.forget();
            let found = parts.inventory.find(&server.hostname).await?.filter(|found| found.server.id == server.id);
            let Some(found) = found else {
                if let Some(working) = working.take() {
                    gone = flatten(working.await)?;
                }
                // Where another process took it out, its last steps are not seen.
                let mut server = gone.unwrap_or(server);
                shown.show(&server, &mut observe);
                server.state = State::Deleted;
                return Ok(server);
            };
            server = found.server;
            shown.show(&server, &mut observe);
            if server.is_at_rest() {
                // The claim is given back before anybody is told.
                if let Some(working) = working {
                    flatten(working.await)?;
                }
                return Ok(server);
            }
            if working.is_none()
                && !*parts.leaving.borrow()
                && let Some(claim) = parts.inventory.claim(server.id).await?
            {
                let (parts, hostname) = (Arc::clone(&parts), server.hostname.clone());
                let work = async move { work::work(&parts, &hostname, &claim, UntilRetry::Wait).await };
                working = Some(tokio::spawn(work));
            }
            match &mut working {
                Some(at_work) => {
                    tokio::select! {
                        ended = at_work => {
                            working = None;
                            gone = flatten(ended)?;
                        }
                        () = changes.of(&server.hostname) => {}
                    }
                }
                None => {
                    // Where changes are told of no more, the clock is enough.
                    let _ = tokio::time::timeout(LOOK_EVERY, changes.of(&server.hostname)).await;
                }
            }
        }
    }
}

type Worked = Result<Option<Server>, Error>;

fn flatten(worked: Result<Worked, JoinError>) -> Worked {
    worked.unwrap_or_else(|panicked| Err(Error { action: "worked on", source: panicked.into() }))
}

/// Which steps were shown.
pub(crate) struct Shown {
    /// So many from the first.
    whole: usize,
    /// Of the one after them, so many tries.
    tries: u32,
    /// And the beginning of so many.
    begun: u32,
}

impl Shown {
    /// So many steps had ended before.
    pub(crate) fn after(seen: usize) -> Self {
        Self { whole: seen, tries: 0, begun: 0 }
    }

    pub(crate) fn show(&mut self, server: &Server, observe: &mut impl FnMut(&Step)) {
        while let Some(step) = server.steps.get(self.whole) {
            match step.outcome {
                StepOutcome::Running => {
                    if self.begun < step.attempts {
                        observe(step);
                        self.begun = step.attempts;
                    }
                    break;
                }
                StepOutcome::Retrying => {
                    if self.tries < step.attempts {
                        observe(step);
                        self.tries = step.attempts;
                    }
                    break;
                }
                StepOutcome::Done | StepOutcome::Problem | StepOutcome::Failed => {
                    observe(step);
                    self.whole += 1;
                    (self.tries, self.begun) = (0, 0);
                }
            }
        }
    }
}
