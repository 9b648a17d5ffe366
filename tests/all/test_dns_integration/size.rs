//! What a change costs does not depend on how large its zone is.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use dns_manager_guest::{layout::Layout, rdata::RData, record::Record, zone::Zone};
use dns_manager_host::{
    Call, DnsManager, Limits,
    contract::{Change, Filter},
};
use dns_manager_tests::{
    app,
    change::{CNAME, a, add, cname, remove, replace},
    left_out::say,
    proxy::Proxy,
    site::{self, Site, on_every_etcd, test_name},
};

const ZONE: &[&str] = &["ex.test"];
/// A listing that finds next to nothing looks at everything in one call.
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn one_change_costs_the_same_in_a_small_and_a_large_zone() {
    on_every_etcd(ZONE, async |site| {
        let changes = [
            add("new.ex.test", 300, [a("10.1.0.1")]),
            replace("new.ex.test", 300, [a("10.1.0.2")]),
            add("alias.ex.test", 300, [cname("new.ex.test")]),
            remove("alias.ex.test", None, []),
            remove("new.ex.test", None, []),
        ];
        fill(site, 100).await;
        let small = costs(site, &changes).await;
        fill(site, 100_000).await;
        let large = costs(site, &changes).await;

        assert_eq!(small, large, "requests, and keys named in them, of each change");
        say(&format!("{}: {:?} etcd, requests and keys of each change: {large:?}\n", test_name(), site.release));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_records_list_in_pages_within_little_memory() {
    let Some(release) = site::installed().into_iter().next() else { return };
    let site = Site::start(release, ZONE).await;
    fill(&site, 100_000).await;
    // What a plugin needs does not grow with the zone: a page is some hundred kilobytes.
    let limits = Limits { memory_bytes: 12 << 20, cpu: PATIENCE, ..Limits::default() };
    let builder = app::builder(&site.etcd.url(), site.coredns.address(), &site.zones);
    let manager = builder.limits(limits).build().await.unwrap_or_else(|error| panic!("{error:?}"));
    app::done(
        &manager,
        vec![
            add("below.w7.ex.test", 300, [a("10.2.0.1")]),
            add("alias.ex.test", 300, [cname("w7.ex.test")]),
            Change { resource: Some("server-1".to_owned()), ..add("of-server.ex.test", 300, [a("10.2.0.2")]) },
        ],
    )
    .await;

    let (all, pages, largest) = listed(&manager, Filter::default()).await;

    assert_eq!(all.len(), 100_003);
    assert!(largest <= 2_000, "a page of {largest} entries");
    say(&format!("{}: {} entries in {pages} pages of at most {largest}\n", test_name(), all.len()));
    let at = |name: &str, below| Filter { name: Some(name.to_owned()), below, ..Filter::default() };
    for (filter, count) in [
        (at("w7.ex.test", false), 1),
        (at("w7.ex.test", true), 2),
        (Filter { zone: Some("ex.test".to_owned()), ..Filter::default() }, 100_003),
        (Filter { rr_type: Some(CNAME), ..Filter::default() }, 1),
        (Filter { owner: Some(app::OWNER.to_owned()), ..Filter::default() }, 100_003),
        (Filter { owner: Some("nobody-s".to_owned()), ..Filter::default() }, 0),
        (Filter { resource: Some("server-1".to_owned()), ..Filter::default() }, 1),
    ] {
        let found = listed(&manager, filter.clone()).await.0.len();
        assert_eq!(found, count, "{filter:?}");
    }
}

/// All that fits, each once; the number of pages, and the entries of the largest.
async fn listed(manager: &DnsManager, filter: Filter) -> (BTreeSet<String>, usize, usize) {
    let (mut seen, mut pages, mut largest) = (BTreeSet::new(), 0, 0);
    let mut cursor = None;
    let call = Call { budget: PATIENCE, ..Call::default() };
    loop {
        let page = manager.list(filter.clone(), cursor, 1_000, call.clone()).await.expect("a page");
        pages += 1;
        largest = largest.max(page.entries.len());
        for entry in page.entries {
            assert!(seen.insert(format!("{} {:?}", entry.name, entry.data)), "{entry:?} came twice");
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return (seen, pages, largest),
        }
    }
}

/// Puts a zone of so many addresses in place of what is there.
async fn fill(site: &Site, count: u32) {
    let zone = Zone::new("ex.test".parse().unwrap()).unwrap();
    let record = |number: u32| Record {
        name: format!("w{number}.ex.test").parse().unwrap(),
        data: RData::A(Ipv4Addr::from(0x0A00_0000 + number)),
        ttl: 300,
        owner: Some(app::OWNER.to_owned()),
        resource: None,
    };
    let records: Vec<Record> = (0..count).map(record).collect();
    let keys = Layout::new("skydns").encode(&[zone], &records);
    let gateway = site.gateway();
    gateway.delete_below("/").await;
    gateway.put_all(&keys.into_iter().map(|(key, value)| (key, value.into_bytes())).collect::<Vec<_>>()).await;
}

/// The requests of each change, and the keys that they name.
async fn costs(site: &Site, changes: &[Change]) -> Vec<(usize, usize)> {
    let proxy = Proxy::start(site.etcd.address()).await;
    let manager = app::manager_at(site, &proxy.url()).await;
    let mut costs = Vec::new();
    for change in changes {
        proxy.forget();
        app::done(&manager, vec![change.clone()]).await;
        let requests = proxy.requests();
        let keys = requests.iter().map(|request| request.body.matches("\"key\"").count()).sum();
        costs.push((requests.len(), keys));
    }
    costs
}
