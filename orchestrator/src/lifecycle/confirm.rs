//! A server whose name was found to resolve outside of its workflow: by `record verify`, say.

use std::time::{Duration, Instant};

use super::step::Acknowledged;
use super::{Error, Lifecycle, create};
use crate::inventory::{Stored, Written};
use crate::name::HostName;
use crate::server::{Server, State, StepOutcome, Wanted};
use crate::verification::Verification;

/// Long enough for a lost packet: the answers were right just now.
const WAIT: Duration = Duration::from_secs(2);

impl Lifecycle {
    /// Takes down that a server's records are verified, if that is not on its record yet, and says whether it did.
    ///
    /// For who has found that `name` resolves. It may be no server's; and a server has more records than one name's, its
    /// PTRs: so all of them are asked for once more. A server that is being worked on is left to its workflow.
    ///
    /// # Errors
    ///
    /// The inventory does not work.
    pub async fn confirm(&self, name: &str) -> Result<bool, Error> {
        let Ok(hostname) = name.parse::<HostName>() else { return Ok(false) };
        let found = self.0.inventory.find(&hostname).await?;
        let Some(Stored { mut server, revision }) = found.filter(|found| is_unconfirmed(&found.server)) else {
            return Ok(false);
        };
        let Some(claim) = self.0.inventory.claim(server.id).await? else { return Ok(false) };
        let began = Instant::now();
        let Ok(verifications) = create::ask(&self.0, &server, &Acknowledged::default(), WAIT).await else {
            return Ok(false);
        };
        if !verifications.iter().all(Verification::is_verified) {
            return Ok(false);
        }
        confirmed(&mut server, began.elapsed(), create::verified(&verifications));
        // Where somebody wrote meanwhile, it is another server's turn, or another registration's.
        Ok(matches!(self.0.inventory.update(&server, revision, Some(&claim)).await?, Written::At(_)))
    }
}

/// Whether it is at rest, and something of it is registered that did not resolve when it was asked for last.
fn is_unconfirmed(server: &Server) -> bool {
    (server.state, server.wanted) == (State::Ready, Wanted::Present)
        && server.dns.verified != Some(true)
        && !create::to_verify(server).is_empty()
}

/// After how long it resolved nobody knows.
fn confirmed(server: &mut Server, took: Duration, detail: String) {
    let last = server.steps.iter().rev().find(|step| step.name == "verify");
    if let Some(problem) = last.filter(|step| step.outcome == StepOutcome::Problem).map(|step| step.detail.clone()) {
        server.remove_problem(&problem);
    }
    server.begin("verify");
    server.end(took, StepOutcome::Done, detail);
    server.dns.verified = Some(true);
    server.settle();
}
