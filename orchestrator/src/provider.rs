//! What creates and deletes servers.

pub mod exec;
pub mod limited;
pub mod local;
pub mod readiness;

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::server::Server;

/// Creates and deletes servers. Every call may be repeated: a step that was interrupted is begun again, after
/// [`status`](Self::status) was asked how far it had come. A server is told by its id, whatever it is called.
pub trait Provider: Send + Sync {
    /// Refuses a request that [`create`](Self::create) could never fulfil.
    ///
    /// # Errors
    ///
    /// What is missing.
    fn check(&self, addresses: &[IpAddr]) -> Result<(), Error>;

    /// Creates the server, or begins to.
    fn create<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>>;

    /// Says how far it is.
    fn status<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Status, Error>>;

    /// Stops what runs on it.
    fn stop<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>>;

    /// Deletes it; one that is gone already is no error.
    fn delete<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>>;
}

/// How far a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The provider has no such server.
    Absent,
    /// Not yet ready; what it waits for, for people, or nothing.
    Pending(String),
    /// Ready, at these addresses.
    Ready(Vec<IpAddr>),
}

/// Why a provider did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// For people.
    pub message: String,
    /// Whether the same call can succeed later, so that it is repeated.
    pub may_pass: bool,
}

impl Error {
    /// Repeating the call is of no use.
    pub fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), may_pass: false }
    }

    /// The same call can succeed later.
    pub fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), may_pass: true }
    }
}

/// The table `orchestrator.provider`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which provider it is.
    pub kind: Kind,
    /// What has to answer at each address before a server counts as ready.
    pub probes: Vec<readiness::Probe>,
}

impl Settings {
    /// Sets the provider up.
    pub fn provider(&self) -> Arc<dyn Provider> {
        let provider = self.kind.provider();
        if self.probes.is_empty() { provider } else { Arc::new(readiness::Probed::new(provider, self.probes.clone())) }
    }
}

/// The provider that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Servers that exist already; their addresses are given.
    Static,
    /// Listeners in this process, which live as long as it does.
    Local,
    /// Whatever a program of the user's makes of it.
    Exec(exec::Settings),
}

impl Kind {
    /// Sets the provider up.
    pub fn provider(&self) -> Arc<dyn Provider> {
        match self {
            Self::Static => Arc::new(Static),
            Self::Local => Arc::new(local::Local::default()),
            Self::Exec(settings) => Arc::new(exec::Exec::new(settings.clone())),
        }
    }
}

/// The provider of servers that exist already.
#[derive(Clone, Copy, Debug)]
struct Static;

impl Provider for Static {
    fn check(&self, addresses: &[IpAddr]) -> Result<(), Error> {
        if addresses.is_empty() {
            return Err(Error::lasting(
                "the static provider cannot know a server's addresses: give at least one, as --ip or in \"addresses\"",
            ));
        }
        Ok(())
    }

    fn create<'a>(&'a self, _: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn status<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Status, Error>> {
        Box::pin(async { Ok(Status::Ready(server.addresses.clone())) })
    }

    fn stop<'a>(&'a self, _: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn delete<'a>(&'a self, _: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}
