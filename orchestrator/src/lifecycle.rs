//! The two workflows of a server's life, as a machine of named steps.
//!
//! A server's state says which step is due; the step says which state comes next (`create`, `delete`). The server is
//! written to the inventory before and after each step, so that the inventory always says how far it came.

mod create;
mod delete;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::dns::Dns;
use crate::inventory::{self, Inventory};
use crate::name::{HostName, Name, NameError};
use crate::provider::{self, Provider};
use crate::record::{RecordType, Ttl};
use crate::server::{Server, State, Step, StepOutcome};

/// Creates and deletes servers.
#[derive(Clone)]
pub struct Lifecycle(Arc<Parts>);

/// What the steps work with.
struct Parts {
    dns: Arc<dyn Dns>,
    provider: Arc<dyn Provider>,
    inventory: Arc<dyn Inventory>,
    policy: Policy,
    busy: Mutex<BTreeSet<HostName>>,
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
            ready_timeout: Duration::from_secs(300),
            domain: config.domain.clone(),
            suggested_domain: config.suggested_domain().to_owned(),
        }
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
        Self(Arc::new(Parts { dns, provider, inventory, policy, busy: Mutex::default() }))
    }

    /// Puts a new server into the inventory; running the workflow creates it.
    ///
    /// # Errors
    ///
    /// The request can never succeed, or the name is taken.
    pub async fn create(&self, hostname: &str, addresses: &[IpAddr]) -> Result<Workflow, Error> {
        let hostname = self.check(hostname, addresses)?;
        let mut distinct = Vec::new();
        for address in addresses {
            if !distinct.contains(address) {
                distinct.push(*address);
            }
        }
        let server = Server::new(hostname, distinct);
        let busy = self.occupy(&server.hostname)?;
        if !self.0.inventory.insert(&server).await? {
            return Err(Error::Exists(server.hostname));
        }
        Ok(Workflow { parts: Arc::clone(&self.0), server, _busy: busy })
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

    /// Takes up a server; running the workflow deletes it.
    ///
    /// # Errors
    ///
    /// There is no such server, or another workflow is at work on it.
    pub async fn delete(&self, hostname: &str) -> Result<Workflow, Error> {
        let hostname = self.0.policy.hostname(hostname)?;
        let busy = self.occupy(&hostname)?;
        let mut server = self.0.inventory.find(&hostname).await?.ok_or(Error::NotFound(hostname))?;
        server.state = State::Stopping;
        server.problem = None;
        self.0.inventory.update(&server).await?;
        Ok(Workflow { parts: Arc::clone(&self.0), server, _busy: busy })
    }

    /// The server of this name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub async fn find(&self, hostname: &str) -> Result<Server, Error> {
        let hostname = self.0.policy.hostname(hostname)?;
        self.0.inventory.find(&hostname).await?.ok_or(Error::NotFound(hostname))
    }

    /// All servers, by name.
    ///
    /// # Errors
    ///
    /// The inventory cannot be read.
    pub async fn list(&self) -> Result<Vec<Server>, Error> {
        Ok(self.0.inventory.list().await?)
    }

    /// Whether no workflow is running.
    pub fn is_idle(&self) -> bool {
        self.0.busy().is_empty()
    }

    /// One workflow at a time works on a server.
    fn occupy(&self, hostname: &HostName) -> Result<Busy, Error> {
        if !self.0.busy().insert(hostname.clone()) {
            return Err(Error::Busy(hostname.clone()));
        }
        Ok(Busy { parts: Arc::clone(&self.0), hostname: hostname.clone() })
    }
}

impl Parts {
    fn busy(&self) -> MutexGuard<'_, BTreeSet<HostName>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A workflow that was accepted and waits to be run.
pub struct Workflow {
    parts: Arc<Parts>,
    server: Server,
    _busy: Busy,
}

impl Workflow {
    /// The server as it was accepted.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Takes one step after another until the server is at rest or gone; `observe` sees each that has ended.
    ///
    /// # Errors
    ///
    /// The inventory cannot be written. Everything else is recorded on the server.
    pub async fn run(self, observe: impl Fn(&Step)) -> Result<Server, inventory::Error> {
        let Self { parts, mut server, _busy } = self;
        let mut acknowledged = Acknowledged::default();
        while let Some(due) = Due::of(server.state) {
            let mut step = Step::begin(due.name());
            server.steps.push(step.clone());
            parts.inventory.update(&server).await?;

            let began = Instant::now();
            let ended = due.take(&parts, &mut server, &mut acknowledged).await?;
            step.end(began.elapsed(), ended.outcome, ended.detail);
            observe(&step);
            server.steps.pop();
            server.steps.push(step);

            match ended.next {
                Some(state) => server.state = state,
                None => break,
            }
            parts.inventory.update(&server).await?;
        }
        Ok(server)
    }
}

/// The step that a state calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Create,
    Wait,
    Register,
    Verify,
    Stop,
    Unregister,
    Delete,
    Remove,
}

impl Due {
    fn of(state: State) -> Option<Self> {
        match state {
            State::Creating => Some(Self::Create),
            State::Waiting => Some(Self::Wait),
            State::Registering => Some(Self::Register),
            State::Verifying => Some(Self::Verify),
            State::Stopping => Some(Self::Stop),
            State::Unregistering => Some(Self::Unregister),
            State::Deleting => Some(Self::Delete),
            State::Deleted => Some(Self::Remove),
            State::Ready | State::Failed => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Wait => "wait",
            Self::Register => "register",
            Self::Verify => "verify",
            Self::Stop => "stop",
            Self::Unregister => "unregister",
            Self::Delete => "delete",
            Self::Remove => "remove",
        }
    }

    async fn take(
        self,
        parts: &Parts,
        server: &mut Server,
        acknowledged: &mut Acknowledged,
    ) -> Result<Ended, inventory::Error> {
        Ok(match self {
            Self::Create => create::create(parts, server).await,
            Self::Wait => create::wait(parts, server).await,
            Self::Register => create::register(parts, server, acknowledged).await,
            Self::Verify => create::verify(parts, server, acknowledged).await,
            Self::Stop => delete::stop(parts, server).await,
            Self::Unregister => delete::unregister(parts, server).await,
            Self::Delete => delete::delete(parts, server).await,
            Self::Remove => delete::remove(parts, server).await?,
        })
    }
}

/// When what a workflow wrote was acknowledged.
#[derive(Debug, Default)]
struct Acknowledged {
    addresses: Option<Instant>,
    pointers: Option<Instant>,
}

impl Acknowledged {
    /// How long ago the records of a type were written.
    fn since(&self, record_type: RecordType) -> Duration {
        let at = if record_type == RecordType::PTR { self.pointers } else { self.addresses };
        at.map(|at| at.elapsed()).unwrap_or_default()
    }
}

/// How a step ended, and what comes next.
#[derive(Debug)]
struct Ended {
    /// None: the server is gone.
    next: Option<State>,
    outcome: StepOutcome,
    detail: String,
}

impl Ended {
    fn done(next: State, detail: impl Into<String>) -> Self {
        Self { next: Some(next), outcome: StepOutcome::Done, detail: detail.into() }
    }

    /// The problem is the server's from now on, and the workflow goes on.
    fn problem(server: &mut Server, next: State, problem: String) -> Self {
        server.add_problem(&problem);
        Self { next: Some(next), outcome: StepOutcome::Problem, detail: problem }
    }

    /// The workflow ends here; `remedy` says how to go on.
    fn failed(server: &mut Server, problem: String, remedy: &str) -> Self {
        server.add_problem(&format!("{problem}: {remedy}"));
        Self { next: Some(State::Failed), outcome: StepOutcome::Failed, detail: problem }
    }
}

/// Marks a server as being worked on, as long as it lives.
struct Busy {
    parts: Arc<Parts>,
    hostname: HostName,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.parts.busy().remove(&self.hostname);
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
    /// Another workflow is at work on it.
    #[error("the server {0} is being worked on: try again when it is at rest")]
    Busy(HostName),
    /// The inventory does not work.
    #[error(transparent)]
    Inventory(#[from] inventory::Error),
}

#[cfg(test)]
mod tests;
