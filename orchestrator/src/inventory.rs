//! Which servers there are.
//!
//! A small interface, since the inventory may be kept elsewhere one day; [`Database`] keeps it in `data_dir`.

mod database;

use futures_util::future::BoxFuture;

pub use database::{Database, OpenError};

use crate::name::HostName;
use crate::server::Server;

/// The servers by host name. What a call has written survives a crash.
pub trait Inventory: Send + Sync {
    /// Adds a server; false: there is one of this name, and it stays as it is.
    fn insert<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<bool, Error>>;

    /// Writes what became of a server.
    fn update<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>>;

    /// The server of this name.
    fn find<'a>(&'a self, hostname: &'a HostName) -> BoxFuture<'a, Result<Option<Server>, Error>>;

    /// All servers, by name.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Server>, Error>>;

    /// Takes a server out; one that is not there is no error.
    fn remove<'a>(&'a self, hostname: &'a HostName) -> BoxFuture<'a, Result<(), Error>>;
}

/// The inventory does not work.
#[derive(Debug, thiserror::Error)]
#[error("the inventory cannot be {action}")]
pub struct Error {
    /// `read`, say.
    pub(crate) action: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}
