//! Several writers at once: nothing is lost, and the tree is that of one
//! writer who made the same changes alone.

use std::{collections::BTreeMap, sync::Arc};

use dns_manager_host::{
    Call, DnsManager,
    contract::{Change, Status},
};
use dns_manager_orchestrator::dns::{Batching, Dns};
use dns_manager_tests::{
    app,
    change::{a, add, cname, remove, txt},
    cli::Installation,
    left_out::say,
    proxy::Proxy,
    site::{Site, on_every_etcd, test_name},
};
use futures_util::{StreamExt as _, stream};
use tokio::{sync::Barrier, task::JoinSet};

const ZONE: &[&str] = &["ex.test"];

#[tokio::test(flavor = "multi_thread")]
async fn values_added_to_one_name_by_two_managers_are_all_there() {
    on_every_etcd(ZONE, async |site| {
        let writers = [
            (1..=20).map(|last| add("pool.ex.test", 300, [a(&format!("10.0.1.{last}"))])).collect(),
            (1..=20).map(|last| add("pool.ex.test", 300, [a(&format!("10.0.2.{last}"))])).collect(),
        ];

        side_by_side(&managers(site, 2).await, writers.to_vec()).await;

        assert_eq!(site.coredns.ask("pool.ex.test", "A").await.answers.len(), 40);
        assert_same_as_alone(site, writers.concat()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_below_one_parent_come_and_go_side_by_side() {
    on_every_etcd(ZONE, async |site| {
        // Each takes away what it added, so that markers and guards of `app` come and go under the other's feet.
        let writer = |which: &str, keep: &str| -> Vec<Change> {
            let mut changes = Vec::new();
            for round in 0..12 {
                let name = format!("{which}{round}.app.ex.test");
                changes.push(add(&name, 300, [a("10.0.0.1")]));
                changes.push(add(&format!("alias-{name}"), 300, [cname(&name)]));
                changes.push(remove(&format!("alias-{name}"), None, []));
                changes.push(remove(&name, None, []));
            }
            changes.push(add(&format!("{keep}.app.ex.test"), 300, [txt(which)]));
            changes
        };
        let writers = vec![writer("x", "left"), writer("y", "right")];

        side_by_side(&managers(site, 2).await, writers.clone()).await;

        assert_same_as_alone(site, writers.concat()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_removals_at_once_leave_nothing() {
    on_every_etcd(ZONE, async |site| {
        let managers = managers(site, 4).await;
        let names = ["a.app.ex.test", "b.app.ex.test", "c.app.ex.test", "app.ex.test"];
        for _ in 0..5 {
            app::done(&managers[0], names.iter().map(|name| add(name, 300, [a("10.0.0.1")])).collect()).await;

            side_by_side(&managers, names.iter().map(|name| vec![remove(name, None, [])]).collect()).await;

            let tree = site.tree().await;
            assert!(tree.is_empty(), "{:#?}", tree.values());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_aliases_for_one_name_loses() {
    on_every_etcd(ZONE, async |site| {
        let managers = managers(site, 2).await;
        for round in 0..10 {
            let name = format!("www{round}.ex.test");
            let changes = [add(&name, 300, [cname("one.ex.test")]), add(&name, 300, [a("10.0.0.1")])];
            let mut statuses = race(&managers, changes).await;
            statuses.sort_by_key(|status| status.name());
            assert_eq!(statuses, [Status::Conflict, Status::Created], "round {round}");
        }
    })
    .await;
}

/// Each half alone is harmless; both together would kill CoreDNS with one question.
#[tokio::test(flavor = "multi_thread")]
async fn two_halves_of_a_loop_across_zones_do_not_both_get_in() {
    on_every_etcd(&["a.test", "b.test"], async |site| {
        let managers = managers(site, 2).await;
        for round in 0..10 {
            let (x, y) = (format!("x{round}.a.test"), format!("y{round}.b.test"));
            let halves = [add(&x, 300, [cname(&y)]), add(&y, 300, [cname(&x)])];
            let mut statuses = race(&managers, halves).await;
            statuses.sort_by_key(|status| status.name());
            assert_eq!(statuses, [Status::Created, Status::Refused], "round {round}");
        }
    })
    .await;
}

/// All but one of them get in, whoever is faster, and CoreDNS answers on.
#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_loop_through_three_zones_do_not_all_get_in() {
    on_every_etcd(&["a.test", "b.test", "in.b.test"], async |site| {
        let managers = managers(site, 3).await;
        for round in 0..10 {
            let names = [format!("x{round}.a.test"), format!("y{round}.b.test"), format!("z{round}.in.b.test")];
            let parts = [0, 1, 2].map(|part| add(&names[part], 300, [cname(&names[(part + 1) % 3])]));
            let mut statuses = race(&managers, parts).await;
            statuses.sort_by_key(|status| status.name());
            assert_eq!(statuses, [Status::Created, Status::Created, Status::Refused], "round {round}");
            for name in &names {
                let answer = site.coredns.ask(name, "A").await;
                assert!(["NOERROR", "NXDOMAIN"].contains(&answer.rcode.as_str()), "{name}: {answer:?}");
            }
        }
        assert_eq!(site.coredns.ask("a.test", "SOA").await.rcode, "NOERROR");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_registering_the_same_names_lose_nothing() {
    on_every_etcd(ZONE, async |site| {
        let installations = [Installation::of(site), Installation::of(site)];
        for round in 0..4 {
            let name = format!("pool{round}.app.ex.test");
            let (first, second) = (format!("10.0.{round}.1"), format!("10.0.{round}.2"));
            let commands = [&first, &second].map(|address| ["record", "register", &name, "A", address]);
            let (one, two) = tokio::join!(installations[0].run(&commands[0]), installations[1].run(&commands[1]));
            one.succeeded();
            two.succeeded();
            let expected = [format!("{name}. 300 A {first}"), format!("{name}. 300 A {second}")];
            assert_eq!(site.coredns.ask(&name, "A").await.sorted(), expected);
        }
        let changes = (0..4).map(|round| {
            let addresses = [a(&format!("10.0.{round}.1")), a(&format!("10.0.{round}.2"))];
            add(&format!("pool{round}.app.ex.test"), 300, addresses)
        });
        assert_same_as_alone(site, changes.collect()).await;
    })
    .await;
}

/// What a service does with many servers at a time, against the same changes as calls of their own.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_registrations_share_transactions() {
    on_every_etcd(ZONE, async |site| {
        let changes = |count: u32| (0..count).map(|n| add(&format!("w{n}.ex.test"), 300, [a("10.0.0.1")])).collect();
        let proxy = Proxy::start(site.etcd.address()).await;
        let mut requests = Vec::new();
        for shares in [false, true] {
            let manager = Arc::new(app::manager_at(site, &proxy.url()).await);
            let dns: Arc<dyn Dns> = if shares { Arc::new(Batching::new(manager)) } else { manager };
            proxy.forget();
            // Those who are alone come one by one: at once they would meet at the zone, and each wait for all others.
            at_once(&dns, changes(200), if shares { 32 } else { 1 }).await;
            requests.push(proxy.requests().len());
            assert_same_as_alone(site, changes(200)).await;
            site.gateway().delete_below("/").await;
        }

        let [alone, shared] = requests[..] else { unreachable!("two runs") };
        say(&format!(
            "{}: {:?} etcd, requests for 200 registrations: {alone} one by one, {shared} shared, 32 at a time\n",
            test_name(),
            site.release
        ));
        assert!(shared * 4 < alone, "{shared} requests where callers share, {alone} where each is alone");
    })
    .await;
}

/// Makes each change as a caller of its own, so many at a time.
async fn at_once(dns: &Arc<dyn Dns>, changes: Vec<Change>, count: usize) {
    let calls = stream::iter(changes).map(|change| {
        let dns = Arc::clone(dns);
        async move { dns.apply(vec![change], Call::default()).await.expect("outcomes").remove(0).status }
    });
    let statuses: Vec<Status> = calls.buffer_unordered(count).collect().await;
    assert!(statuses.iter().all(|status| *status == Status::Created), "{statuses:?}");
}

/// As in so many processes: they share nothing but etcd.
async fn managers(site: &Site, count: usize) -> Vec<DnsManager> {
    let mut managers = Vec::new();
    for _ in 0..count {
        managers.push(app::manager(site).await);
    }
    managers
}

/// One change each, begun at the same moment.
async fn race<const N: usize>(managers: &[DnsManager], changes: [Change; N]) -> Vec<Status> {
    let start = Arc::new(Barrier::new(N));
    let mut running = JoinSet::new();
    for (manager, change) in managers.iter().cloned().zip(changes) {
        let start = Arc::clone(&start);
        running.spawn(async move {
            start.wait().await;
            app::apply(&manager, vec![change]).await.remove(0).status
        });
    }
    running.join_all().await
}

/// Each manager makes its changes one call after the other, beside the others; each change must be done.
async fn side_by_side(managers: &[DnsManager], writers: Vec<Vec<Change>>) {
    assert_eq!(managers.len(), writers.len());
    let start = Arc::new(Barrier::new(writers.len()));
    let mut writing = JoinSet::new();
    for (manager, changes) in managers.iter().cloned().zip(writers) {
        let start = Arc::clone(&start);
        writing.spawn(async move {
            start.wait().await;
            for change in changes {
                app::done(&manager, vec![change]).await;
            }
        });
    }
    writing.join_all().await;
}

/// The tree is what one writer leaves who makes all these changes alone, in an empty tree.
async fn assert_same_as_alone(site: &Site, changes: Vec<Change>) {
    let seen: BTreeMap<String, String> = site.tree().await.values();
    site.gateway().delete_below("/").await;
    app::done(&app::manager(site).await, changes).await;
    assert_eq!(seen, site.tree().await.values());
}
