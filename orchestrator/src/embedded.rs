//! The embedded default: what etcd and CoreDNS do for the component, in this process, for a first run and for a laptop.
//!
//! [`store`] keeps keys and values on the disk, [`gateway`] answers the component's requests to etcd's JSON gateway from
//! it, [`lookup`] says what CoreDNS answers from such keys, and `dns` answers so on a loopback address. None of it shares
//! code with the component: to that, and to who asks for a name, it is etcd and CoreDNS.

mod dns;
pub mod gateway;
pub mod lookup;
pub mod store;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use dns_manager_host::Handler;
use http::{Request, Response};

use crate::name::Name;
use dns::NameServer;
use gateway::Gateway;
use lookup::Lookup;
use store::Store;

/// What the component takes for etcd's address. No name server knows it.
pub const AUTHORITY: &str = "embedded.invalid:2379";
/// Where names are answered unless configured.
pub const DNS_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1053);
/// The zone that is served unless others are configured.
pub const ZONE: &str = "example.com";
/// CoreDNS's `path` unless configured.
const PATH: &str = "/skydns";

/// A running embedded default. It holds its directory, and answers names, until it is stopped or dropped.
pub struct Embedded {
    gateway: Gateway,
    names: Option<NameServer>,
}

impl Embedded {
    /// Opens the store in `data_dir`, and answers names of these zones at `dns_listen`, if there is one; port 0 is a free
    /// one.
    ///
    /// # Errors
    ///
    /// Another process holds the store, it cannot be used, or the address is not free.
    pub async fn open(data_dir: &Path, zones: &[Name], dns_listen: Option<SocketAddr>) -> Result<Self, OpenError> {
        Self::open_with(data_dir, Lookup::new(PATH, zones.iter().map(Name::as_str)), dns_listen).await
    }

    /// The same, where names are looked up otherwise: below another path, say.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(data_dir: &Path, lookup: Lookup, dns_listen: Option<SocketAddr>) -> Result<Self, OpenError> {
        let directory = data_dir.to_owned();
        // Opening waits for the disk, and after a crash repairs the file.
        let opened = tokio::task::spawn_blocking(move || Store::open(&directory)).await;
        let store = Arc::new(opened.unwrap_or_else(|panicked| {
            Err(store::OpenError::Unusable { directory: data_dir.to_owned(), source: panicked.into() })
        })?);
        let names = match dns_listen {
            Some(address) => Some(
                NameServer::start(address, lookup, Arc::clone(&store))
                    .await
                    .map_err(|source| OpenError::Listen { address, source })?,
            ),
            None => None,
        };
        Ok(Self { gateway: Gateway::new(store), names })
    }

    /// What answers in etcd's place, for [`dns_manager_host::Builder::backend_handler`] at [`AUTHORITY`]. The store stays
    /// open as long as this is there.
    pub fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(self.gateway.clone())
    }

    /// Where names are answered.
    pub fn dns_address(&self) -> Option<SocketAddr> {
        self.names.as_ref().map(NameServer::address)
    }

    /// Answers the questions that came in, and takes no more.
    pub async fn stop(self) {
        if let Some(names) = self.names {
            names.stop().await;
        }
    }
}

/// As a handler it answers names for as long as somebody has it.
impl Handler for Embedded {
    fn handle<'a>(&'a self, request: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + 'a>> {
        self.gateway.handle(request)
    }
}

/// Why the embedded default did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store is held, or cannot be used.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The address cannot be listened on.
    #[error("answering names on {address}, which is orchestrator.embedded.dns_listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}
