//! The two workflows of a server's life, as a machine of named steps.
//!
//! A server's state says which step is due (`step`); the step says which state comes next (`create`, `delete`). The server is
//! written to the inventory before and after each step, by whoever holds the claim on it (`work`), so that the inventory
//! always says how far it came: a process that is killed anywhere leaves a server that the next one goes on with. A step
//! that was begun and not ended is in doubt, and is settled by asking; steps may be repeated.
//!
//! What somebody wants of a server (`wanted`) may be written by anybody at any time, and takes effect between steps.

mod agenda;
mod confirm;
mod create;
mod delete;
mod due;
mod keeper;
mod step;
mod work;
mod workflow;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

pub use keeper::Keeper;
pub(crate) use workflow::Shown;
pub use workflow::Workflow;

use crate::config::Config;
use crate::dns::Dns;
use crate::inventory::{self, Changes, Claim, Inventory, Renamed, Stored, Written};
use crate::metrics::Metrics;
use crate::name::{HostName, Name, NameError};
use crate::provider::{self, Provider};
use crate::record::Ttl;
use crate::server::{Server, State, Wanted};

/// How often a server at rest is claimed, and how long after one another.
const CLAIMS: u32 = 20;
const BETWEEN_CLAIMS: Duration = Duration::from_millis(50);
/// What is broken off ends at its next pause.
const BREAK_OFF_WITHIN: Duration = Duration::from_secs(1);

/// Creates and deletes servers.
#[derive(Clone)]
pub struct Lifecycle(Arc<Parts>);

/// What the steps work with.
struct Parts {
    dns: Arc<dyn Dns>,
    provider: Arc<dyn Provider>,
    inventory: Arc<dyn Inventory>,
    policy: Policy,
    metrics: Metrics,
    /// How many claims this process is working under.
    at_work: watch::Sender<usize>,
    /// Whether this process is at its end, and works on nothing any more.
    leaving: watch::Sender<bool>,
    /// Why what there is to do is not known.
    trouble: watch::Sender<Option<String>>,
}

/// What the operator decided about servers.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether a new server's addresses are registered.
    pub auto_register: bool,
    /// Whether each address gets its PTR.
    pub ptr: bool,
    /// Of a server's records.
    pub ttl: Ttl,
    /// How long a new name may take to resolve.
    pub verify_timeout: Duration,
    /// How long the provider may take until a server is ready.
    pub ready_timeout: Duration,
    /// How long a step that fails is tried again before its workflow stops.
    pub retry_for: Duration,
    /// Completes short host names.
    pub domain: Option<Name>,
    /// Proposed where there is no domain.
    pub suggested_domain: String,
}

impl Policy {
    /// That of a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            auto_register: config.dns.auto_register,
            ptr: config.dns.ptr,
            ttl: config.dns.ttl,
            verify_timeout: config.dns.verify_timeout,
            ready_timeout: config.workflow.ready_timeout,
            retry_for: config.workflow.retry_for,
            domain: config.domain.clone(),
            suggested_domain: config.suggested_domain().to_owned(),
        }
    }

    /// The same for a command, which somebody waits for: what fails is tried again for a few seconds at most.
    #[must_use]
    pub fn for_a_command(self) -> Self {
        Self { retry_for: self.retry_for.min(Duration::from_secs(5)), ..self }
    }

    /// Reads what somebody gave as a server's name.
    ///
    /// # Errors
    ///
    /// It is no host name, or a short one and there is no domain.
    pub fn hostname(&self, text: &str) -> Result<HostName, NameError> {
        HostName::complete(text, self.domain.as_ref(), &self.suggested_domain)
    }
}

impl Lifecycle {
    /// On these parts.
    pub fn new(dns: Arc<dyn Dns>, provider: Arc<dyn Provider>, inventory: Arc<dyn Inventory>, policy: Policy) -> Self {
        Self::counted(dns, provider, inventory, policy, Metrics::default())
    }

    /// The same, and what it does is counted here.
    pub fn counted(
        dns: Arc<dyn Dns>,
        provider: Arc<dyn Provider>,
        inventory: Arc<dyn Inventory>,
        policy: Policy,
        metrics: Metrics,
    ) -> Self {
        let (at_work, leaving, trouble) = (watch::Sender::new(0), watch::Sender::new(false), watch::Sender::new(None));
        Self(Arc::new(Parts { dns, provider, inventory, policy, metrics, at_work, leaving, trouble }))
    }

    /// Where what it does is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Puts a new server into the inventory; running the workflow creates it.
    ///
    /// `request`, if there is one, tells this request from others: repeated, it is the same server again.
    ///
    /// # Errors
    ///
    /// The request can never succeed, or the name is taken.
    pub async fn create(
        &self,
        hostname: &str,
        addresses: &[IpAddr],
        request: Option<String>,
    ) -> Result<Workflow, Error> {
        let hostname = self.check(hostname, addresses)?;
        let mut distinct = Vec::new();
        for address in addresses {
            if !distinct.contains(address) {
                distinct.push(*address);
            }
        }
        let mut server = Server::new(hostname, distinct);
        server.request = request;
        match self.0.inventory.insert(&server).await? {
            Some(_) => Ok(self.workflow(server, 0)),
            None => self.repeated(server).await,
        }
    }

    /// A server of this name is there: the request came twice, or the name is taken.
    async fn repeated(&self, server: Server) -> Result<Workflow, Error> {
        match self.0.inventory.find(&server.hostname).await? {
            Some(Stored { server: there, .. }) if server.request.is_some() && there.request == server.request => {
                Ok(self.workflow(there, 0))
            }
            _ => Err(Error::Exists(server.hostname)),
        }
    }

    /// Reads a request to create a server, and does nothing.
    ///
    /// # Errors
    ///
    /// It can never succeed.
    pub fn check(&self, hostname: &str, addresses: &[IpAddr]) -> Result<HostName, Error> {
        let hostname = self.0.policy.hostname(hostname)?;
        match self.0.provider.check(addresses) {
            Ok(()) => Ok(hostname),
            Err(source) => Err(Error::Request { hostname, source }),
        }
    }

    /// Writes down that a server is to go, whatever it is in the middle of; running the workflow deletes it. With a
    /// `revision`, only if it is still at that one.
    ///
    /// # Errors
    ///
    /// There is no such server, or it is at another revision.
    pub async fn delete(&self, hostname: &str, revision: Option<u64>) -> Result<Workflow, Error> {
        self.change(hostname, revision, |server| {
            server.wanted = Wanted::Deleted;
            server.problem = None;
            server.retry_at = None;
            if matches!(server.state, State::Ready | State::Failed) {
                server.stopped_in = None;
                server.enter(State::Stopping);
            }
            Ok(())
        })
        .await
    }

    /// Goes on with a server whose workflow stopped, from where it stopped; or tries again at once what is to be tried
    /// again later. A ready server with a problem is registered and verified again.
    ///
    /// # Errors
    ///
    /// There is no such server, or nothing is wrong with it.
    pub async fn retry(&self, hostname: &str, revision: Option<u64>) -> Result<Workflow, Error> {
        self.change(hostname, revision, |server| {
            match (server.state, server.stopped_in) {
                (State::Failed, Some(stopped_in)) => server.enter(stopped_in),
                // Written by a version that did not note where.
                (State::Failed, None) if server.wanted == Wanted::Deleted => server.enter(State::Stopping),
                (State::Failed, None) => server.enter(State::Creating),
                (State::Ready, _) if server.problem.is_some() => server.register_again(),
                (State::Ready, _) => return Err(Error::NothingToRetry(server.hostname.clone())),
                _ => server.retry_at = None,
            }
            server.stopped_in = None;
            server.problem = None;
            Ok(())
        })
        .await
    }

    /// Has a ready server's records registered and verified again, by whoever comes first.
    ///
    /// # Errors
    ///
    /// There is no such server, or it is not ready: its workflow is at work.
    pub async fn register_again(&self, hostname: &str) -> Result<(), Error> {
        let register = |server: &mut Server| {
            if (server.state, server.wanted) != (State::Ready, Wanted::Present) {
                return Err(Error::NotReady { hostname: server.hostname.clone(), state: server.state });
            }
            server.register_again();
            Ok(())
        };
        self.change(hostname, None, register).await.map(drop)
    }

    /// Gives a server that is ready another name; running the workflow moves its records, by the server's id.
    ///
    /// # Errors
    ///
    /// There is no such server, it is not ready, or the new name is taken.
    pub async fn rename(&self, hostname: &str, to: &str, revision: Option<u64>) -> Result<Workflow, Error> {
        let from = self.0.policy.hostname(hostname)?;
        let to = self.0.policy.hostname(to)?;
        loop {
            let Stored { mut server, revision: read_at } = self.stored(&from, revision).await?;
            if from == to {
                return Ok(self.workflow(server, 0));
            }
            if (server.state, server.wanted) != (State::Ready, Wanted::Present) {
                return Err(Error::NotReady { hostname: from, state: server.state });
            }
            // Nobody is in the middle of a step that would go on under the old name.
            let Some(claim) = self.claim_at_rest(server.id).await? else { return Err(Error::Busy(from)) };
            server.former_hostnames.retain(|name| *name != to && *name != from);
            server.former_hostnames.push(from.clone());
            server.hostname = to.clone();
            server.problem = None;
            server.enter(if self.0.policy.auto_register { State::Registering } else { State::Ready });
            let renamed = self.0.inventory.rename(&from, &server, read_at).await?;
            drop(claim);
            match renamed {
                Renamed::At(_) => {
                    let seen = server.steps.len();
                    return Ok(self.workflow(server, seen));
                }
                Renamed::Taken => return Err(Error::Exists(to)),
                Renamed::Changed => {}
            }
        }
    }

    /// Claims a server that is at rest: whoever was at work on it may be giving it back still.
    async fn claim_at_rest(&self, server: Uuid) -> Result<Option<Claim>, Error> {
        for _ in 1..CLAIMS {
            if let Some(claim) = self.0.inventory.claim(server).await? {
                return Ok(Some(claim));
            }
            tokio::time::sleep(BETWEEN_CLAIMS).await;
        }
        Ok(self.0.inventory.claim(server).await?)
    }

    /// The workflow of a server as it is.
    ///
    /// # Errors
    ///
    /// There is no such server.
    pub async fn resume(&self, hostname: &str) -> Result<Workflow, Error> {
        let Stored { server, .. } = self.find(hostname).await?;
        let seen = server.steps.iter().take_while(|step| !step.is_open()).count();
        Ok(self.workflow(server, seen))
    }

    /// The server of this name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub async fn find(&self, hostname: &str) -> Result<Stored, Error> {
        self.stored(&self.0.policy.hostname(hostname)?, None).await
    }

    /// All servers, by name.
    ///
    /// # Errors
    ///
    /// The inventory cannot be read.
    pub async fn list(&self) -> Result<Vec<Stored>, Error> {
        Ok(self.0.inventory.list().await?)
    }

    /// Reads as little of the inventory as shows that it can be read.
    ///
    /// # Errors
    ///
    /// It cannot.
    pub async fn probe(&self) -> Result<(), inventory::Error> {
        self.0.inventory.probe().await
    }

    /// Why the background work does not know what there is to do; none: it does.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.borrow().clone()
    }

    /// Tells from now on which servers change.
    pub fn changes(&self) -> Changes {
        self.0.inventory.changes()
    }

    /// Breaks off what is still at work at the end of a process, as if that were killed, and gives back what others would wait
    /// for; in this order, so that nobody else goes on with a server while a program is at work on it here.
    pub async fn leave(&self) {
        self.0.leaving.send_replace(true);
        let mut at_work = self.0.at_work.subscribe();
        let idle = at_work.wait_for(|at_work| *at_work == 0);
        if tokio::time::timeout(BREAK_OFF_WITHIN, idle).await.is_err() {
            tracing::warn!("what was at work does not end; it goes on at the next start");
        }
        self.0.inventory.leave().await;
    }

    /// Whether this process works on no server.
    pub fn is_idle(&self) -> bool {
        *self.0.at_work.borrow() == 0
    }

    async fn stored(&self, hostname: &HostName, revision: Option<u64>) -> Result<Stored, Error> {
        let stored = self.0.inventory.find(hostname).await?.ok_or_else(|| Error::NotFound(hostname.clone()))?;
        if revision.is_some_and(|revision| revision != stored.revision) {
            return Err(Error::Changed { hostname: hostname.clone(), revision: stored.revision });
        }
        Ok(stored)
    }

    /// Writes what somebody wants of a server, whoever is at work on it.
    async fn change(
        &self,
        hostname: &str,
        revision: Option<u64>,
        change: impl Fn(&mut Server) -> Result<(), Error>,
    ) -> Result<Workflow, Error> {
        let hostname = self.0.policy.hostname(hostname)?;
        loop {
            let Stored { mut server, revision: read_at } = self.stored(&hostname, revision).await?;
            change(&mut server)?;
            if matches!(self.0.inventory.update(&server, read_at, None).await?, Written::At(_)) {
                let seen = server.steps.iter().take_while(|step| !step.is_open()).count();
                return Ok(self.workflow(server, seen));
            }
        }
    }

    fn workflow(&self, server: Server, seen: usize) -> Workflow {
        Workflow { parts: Arc::clone(&self.0), server, seen }
    }
}

/// Why a workflow was not begun.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no host name.
    #[error(transparent)]
    Hostname(#[from] NameError),
    /// The provider can never fulfil it.
    #[error("{hostname} cannot be created: {source}")]
    Request {
        /// Of the server.
        hostname: HostName,
        /// What is missing.
        source: provider::Error,
    },
    /// The name is taken.
    #[error("there is a server {0} already: delete it first, or choose another name")]
    Exists(HostName),
    /// There is no such server.
    #[error("there is no server {0}: `dns-manager server list` shows all")]
    NotFound(HostName),
    /// It was read, and has changed since.
    #[error("the server {hostname} has changed: it is at revision {revision} now; read it again")]
    Changed {
        /// Which.
        hostname: HostName,
        /// Where it is now.
        revision: u64,
    },
    /// Only a ready server can be renamed.
    #[error("the server {hostname} is {state}: only one that is ready can be renamed")]
    NotReady {
        /// Which.
        hostname: HostName,
        /// Where it is in its life.
        state: State,
    },
    /// Another workflow is at work on it.
    #[error("the server {0} is being worked on: try again when it is at rest")]
    Busy(HostName),
    /// Nothing is wrong with it.
    #[error("the server {0} is ready, and nothing is wrong with it: there is nothing to try again")]
    NothingToRetry(HostName),
    /// The inventory does not work.
    #[error(transparent)]
    Inventory(#[from] inventory::Error),
}

#[cfg(test)]
mod tests;
