//! Which servers there are, and who works on them.
//!
//! A small interface with two homes: [`Database`] keeps the inventory in `data_dir`, for one process at a time; in etcd
//! several orchestrators share it. Every write is conditional: on the revision at which its server was read, and on the
//! claim of whoever works on it. So nobody's word is overwritten unread, and a worker that was given up for dead writes
//! nothing more.

mod changes;
mod claim;
mod database;
pub mod etcd;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use uuid::Uuid;

pub use changes::{Changed, Changes, Notices};
pub use claim::{Claim, Claims};
pub use database::{Database, OpenError};

use crate::config::{self, Config};
use crate::name::HostName;
use crate::server::Server;

/// A server as it is in the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The server.
    pub server: Server,
    /// Of this state of it: another one after each write, and greater.
    pub revision: u64,
}

/// What could be read of all servers.
#[derive(Debug, Default)]
pub struct Readable {
    /// Those that could be.
    pub servers: Vec<Stored>,
    /// By name, what is wrong with the values of the others.
    pub unreadable: BTreeMap<String, Error>,
}

impl Readable {
    /// Takes up what came of reading the value that stands under `name`.
    fn add(&mut self, name: impl Into<String>, read: Result<Stored, Box<dyn std::error::Error + Send + Sync>>) {
        match read {
            Ok(stored) => self.servers.push(stored),
            Err(source) => drop(self.unreadable.insert(name.into(), Error { action: "read", source })),
        }
    }
}

/// What became of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written, at this revision.
    At(u64),
    /// The server changed since it was read, or is gone: read it again.
    Changed,
    /// The claim does not hold any more: somebody else may be at work.
    ClaimLost,
}

/// What became of a renaming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renamed {
    /// It is done, at this revision.
    At(u64),
    /// The server changed since it was read.
    Changed,
    /// There is a server of the new name.
    Taken,
}

/// The servers by host name. What a call has written survives a crash.
///
/// A call that fails may or may not have written; reading tells.
pub trait Inventory: Send + Sync {
    /// Adds a server and says at which revision; none: there is one of this name, and it stays as it is.
    fn insert<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Option<u64>, Error>>;

    /// Writes a server that was read at `revision`; with a claim, only while that holds.
    fn update<'a>(
        &'a self,
        server: &'a Server,
        revision: u64,
        claim: Option<&'a Claim>,
    ) -> BoxFuture<'a, Result<Written, Error>>;

    /// Writes a server under its new name in place of `from`, which was read at `revision`.
    fn rename<'a>(
        &'a self,
        from: &'a HostName,
        server: &'a Server,
        revision: u64,
    ) -> BoxFuture<'a, Result<Renamed, Error>>;

    /// Takes a server out that was read at `revision`; with a claim, only while that holds.
    fn remove<'a>(
        &'a self,
        hostname: &'a HostName,
        revision: u64,
        claim: Option<&'a Claim>,
    ) -> BoxFuture<'a, Result<Written, Error>>;

    /// The server of this name.
    fn find<'a>(&'a self, hostname: &'a HostName) -> BoxFuture<'a, Result<Option<Stored>, Error>>;

    /// All servers that can be read, by name, and which cannot: one damaged value does not hide the others from whoever can do
    /// without it.
    fn list_readable(&self) -> BoxFuture<'_, Result<Readable, Error>>;

    /// All servers, by name; an error if one of them cannot be read.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Stored>, Error>> {
        Box::pin(async move {
            let Readable { servers, unreadable } = self.list_readable().await?;
            unreadable.into_values().next().map_or(Ok(servers), Err)
        })
    }

    /// Takes the right to work on a server; none: somebody has it. It ends with the claim, or with the process.
    fn claim(&self, server: Uuid) -> BoxFuture<'_, Result<Option<Claim>, Error>>;

    /// Gives everything back at the end of a process, so that nobody waits for it: claims, say.
    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Reads as little as shows that it can be read.
    fn probe(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Tells from now on what changes, whoever writes.
    fn changes(&self) -> Changes;
}

/// Whether there may be an inventory where the configuration says; if not, opening it makes an empty one.
pub(crate) fn may_exist(config: &Config) -> bool {
    match &config.inventory {
        config::Inventory::Embedded => Database::is_in(&config.data_dir),
        config::Inventory::Etcd(_) => true,
    }
}

/// Opens the inventory that the configuration names.
///
/// # Errors
///
/// Another process holds the embedded one, or it cannot be used or reached.
pub async fn open(config: &Config) -> Result<Arc<dyn Inventory>, OpenError> {
    match &config.inventory {
        config::Inventory::Embedded => Ok(Arc::new(Database::open(&config.data_dir)?)),
        config::Inventory::Etcd(access) => {
            let opened = etcd::Etcd::connect(access).await;
            let etcd = opened.map_err(|source| OpenError::Unreachable { urls: access.urls.join(", "), source })?;
            Ok(Arc::new(etcd))
        }
    }
}

/// The inventory does not work.
#[derive(Debug, thiserror::Error)]
#[error("the inventory cannot be {action}")]
pub struct Error {
    /// `read`, say.
    pub(crate) action: &'static str,
    pub(crate) source: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    /// Whether it is no fault of the inventory: whoever worked on it broke down.
    pub fn is_panic(&self) -> bool {
        self.source.is::<tokio::task::JoinError>()
    }
}
