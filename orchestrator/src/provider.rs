//! What creates and deletes servers.

pub mod local;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::server::Server;

/// Creates and deletes servers. Every call may be repeated: a step that was interrupted is begun again.
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
    /// Not yet ready.
    Pending,
    /// Ready, at these addresses.
    Ready(Vec<IpAddr>),
}

/// Why a provider did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// The provider that the configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Servers that exist already; their addresses are given.
    Static,
    /// Listeners in this process, which live as long as it does.
    Local,
}

impl Kind {
    /// Sets the provider up.
    pub fn provider(self) -> Arc<dyn Provider> {
        match self {
            Self::Static => Arc::new(Static),
            Self::Local => Arc::new(local::Local::default()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static => f.write_str("static"),
            Self::Local => f.write_str("local"),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "static" => Ok(Self::Static),
            "local" => Ok(Self::Local),
            "exec" => Err("the provider \"exec\" is not available yet: write \"static\" or \"local\"".to_owned()),
            _ => Err(format!("\"{text}\" is not a provider: write \"static\" or \"local\"")),
        }
    }
}

/// The provider of servers that exist already.
#[derive(Clone, Copy, Debug)]
struct Static;

impl Provider for Static {
    fn check(&self, addresses: &[IpAddr]) -> Result<(), Error> {
        if addresses.is_empty() {
            return Err(Error(
                "the static provider cannot know a server's addresses: give at least one, as --ip or in \"addresses\""
                    .to_owned(),
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
