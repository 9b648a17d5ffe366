//! The library, with the built-in component, in front of a site.

use std::net::SocketAddr;

use dns_manager_host::{
    Builder, Call, DnsManager,
    contract::{Change, Entry, Filter, Outcome, Status},
};

use crate::site::Site;

/// The owner's mark of what tests write, the one of the case `ly-keys`.
pub const OWNER: &str = "example-owner";

/// Settings for the built-in component, before `build`.
pub fn builder(backend: &str, nameserver: SocketAddr, zones: &[String]) -> Builder {
    DnsManager::builder()
        .component(dns_manager_guest_artifact::COMPONENT)
        .backend([backend])
        .nameservers([nameserver.to_string()])
        .setting("zones", zones.join(" "))
        .setting("owner", OWNER)
        .setting("ttl", "300")
        .setting("path", "/skydns")
}

/// A manager in front of a site.
pub async fn manager(site: &Site) -> DnsManager {
    manager_at(site, &site.etcd.url()).await
}

/// A manager that reaches the site's etcd at another URL, a proxy's.
pub async fn manager_at(site: &Site, backend: &str) -> DnsManager {
    builder(backend, site.coredns.address(), &site.zones).build().await.unwrap_or_else(|error| panic!("{error:?}"))
}

/// Makes changes, in one call.
pub async fn apply(manager: &DnsManager, changes: Vec<Change>) -> Vec<Outcome> {
    let count = changes.len();
    let outcomes = manager.apply(changes, Call::default()).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(outcomes.len(), count, "one outcome for each change");
    outcomes
}

/// Makes changes, each of which must be done.
pub async fn done(manager: &DnsManager, changes: Vec<Change>) -> Vec<Outcome> {
    let outcomes = apply(manager, changes.clone()).await;
    for (change, outcome) in changes.iter().zip(&outcomes) {
        assert!(outcome.status.is_done(), "{change:?} was not done: {outcome:?}");
    }
    outcomes
}

/// The status of each outcome.
pub fn statuses(outcomes: &[Outcome]) -> Vec<Status> {
    outcomes.iter().map(|outcome| outcome.status).collect()
}

/// All that is registered.
pub async fn entries(manager: &DnsManager) -> Vec<Entry> {
    let page = manager.list_all(Filter::default(), Call::default()).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(page.problems, [], "nothing is wrong in the tree");
    page.entries
}
