//! One etcd and one CoreDNS that serves zones from it.

use crate::{
    coredns::{CoreDns, Plan},
    etcd::{Etcd, Release},
    gateway::{Gateway, Tree},
    left_out::left_out,
    tool::Tool,
};

/// Both, for one test.
#[derive(Debug)]
pub struct Site {
    /// The store.
    pub etcd: Etcd,
    /// The name server.
    pub coredns: CoreDns,
    /// Which etcd it is.
    pub release: Release,
    /// The zones served.
    pub zones: Vec<String>,
}

impl Site {
    /// Starts both.
    pub async fn start(release: Release, zones: &[&str]) -> Self {
        let etcd = Etcd::start(release).await;
        let coredns = CoreDns::start(Plan::new(&etcd.url(), zones)).await;
        Self { etcd, coredns, release, zones: zones.iter().map(|zone| (*zone).to_owned()).collect() }
    }

    /// Looks into etcd.
    pub fn gateway(&self) -> Gateway {
        self.etcd.gateway()
    }

    /// All that etcd holds.
    pub async fn tree(&self) -> Tree {
        self.gateway().everything().await
    }
}

/// Makes `claim` on a site of every supported etcd, one after the other.
///
/// One that is not installed is reported as left out.
pub async fn on_every_etcd(zones: &[&str], claim: impl AsyncFn(&mut Site)) {
    for release in installed() {
        let mut site = Site::start(release, zones).await;
        note(release);
        claim(&mut site).await;
    }
}

/// The releases of etcd that can be run here; the others are reported.
pub fn installed() -> Vec<Release> {
    let releases = Release::ALL.into_iter().filter(|release| {
        let missing = [Tool::CoreDns, release.tool()].into_iter().find_map(|tool| tool.find().err());
        if let Some(missing) = &missing {
            left_out(&format!("{release:?} etcd in {}", test_name()), missing);
        }
        missing.is_none()
    });
    releases.collect()
}

/// The name of the running test, which its thread bears.
pub fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Shown when the test fails.
#[allow(clippy::print_stderr, reason = "captured; it says which etcd a failure is about")]
fn note(release: Release) {
    eprintln!("on the {release:?} etcd:");
}
