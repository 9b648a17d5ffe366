//! The embedded default against what it stands in for: the measured facts, the real CoreDNS, the real etcd.

mod commands;
mod desired;
mod facts;
#[cfg(feature = "live")]
mod gateway;
#[cfg(feature = "live")]
mod names;
mod pointers;

use std::net::{Ipv4Addr, SocketAddr};

use dns_manager_orchestrator::embedded::{Embedded, lookup::Lookup};
use dns_manager_tests::{front::Front, gateway::Gateway};
use tempfile::TempDir;

/// One, on ports and in a folder of its own.
struct Site {
    embedded: Embedded,
    front: Front,
    _folder: TempDir,
}

impl Site {
    async fn start(lookup: Lookup) -> Self {
        let folder = TempDir::with_prefix("dns-manager-embedded-").unwrap();
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let embedded = Embedded::open_with(folder.path(), lookup, Some(free)).await.unwrap();
        let front = Front::start(embedded.handler()).await;
        Self { embedded, front, _folder: folder }
    }

    fn nameserver(&self) -> SocketAddr {
        self.embedded.dns_address().unwrap()
    }

    fn gateway(&self) -> Gateway {
        Gateway::new(&self.front.url())
    }
}
