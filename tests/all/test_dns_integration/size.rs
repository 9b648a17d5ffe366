//! What a change costs does not depend on how large its zone is.

use std::net::Ipv4Addr;

use dns_manager_guest::{layout::Layout, rdata::RData, record::Record, zone::Zone};
use dns_manager_host::contract::Change;
use dns_manager_tests::{
    app,
    change::{a, add, cname, remove, replace},
    left_out::say,
    proxy::Proxy,
    site::{Site, on_every_etcd, test_name},
};

const ZONE: &[&str] = &["ex.test"];

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
