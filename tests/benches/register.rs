//! How long does it take until names are registered, and how many requests does etcd see?
//!
//! On real etcd, through a counting proxy on loopback for the requests, without it for the times. Left out: DNS, and etcd's disk
//! (its data lies in the system's temporary folder). The load of a component and its first call come first, once; then calls of 1,
//! 100 and 1,000 new names, and the removal of each lot, in turn. Run: `cargo bench -p dns-manager-tests`.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

use std::time::{Duration, Instant};

use dns_manager_host::contract::{Change, Filter};
use dns_manager_host::{Call, DnsManager};
use dns_manager_tests::{
    app, change,
    etcd::{Etcd, Release},
    proxy::Proxy,
};

const ROUNDS: usize = 7;
const SIZES: [usize; 3] = [1, 100, 1_000];

#[tokio::main]
async fn main() {
    let etcd = Etcd::start(Release::Current).await;
    let nameserver = ([127, 0, 0, 1], 9).into();
    let zones = ["bench.test".to_owned()];
    println!("component: {} bytes", dns_manager_guest_artifact::COMPONENT.len());

    let begun = Instant::now();
    let direct = app::builder(&etcd.url(), nameserver, &zones).build().await.unwrap_or_else(|error| panic!("{error}"));
    println!("load and describe: {:?}", begun.elapsed());
    let begun = Instant::now();
    list(&direct).await;
    println!("first call (an empty list, one request, connecting): {:?}", begun.elapsed());
    let mut warm = Vec::new();
    for _ in 0..1_000 {
        let begun = Instant::now();
        list(&direct).await;
        warm.push(begun.elapsed());
    }
    println!("warm call (the same): {}", spread(&mut warm));

    let proxy = Proxy::start(etcd.address()).await;
    let counted =
        app::builder(&proxy.url(), nameserver, &zones).build().await.unwrap_or_else(|error| panic!("{error}"));
    println!(
        "\n{:>6}  {:>9}  {:<44}  {:>9}  {:<44}",
        "names", "requests", "register: min / median / max", "requests", "remove"
    );
    for size in SIZES {
        proxy.forget();
        app::done(&counted, adds(size)).await;
        let (registered, _) = (proxy.requests().len(), proxy.forget());
        app::done(&counted, removes(size)).await;
        let removed = proxy.requests().len();
        let (mut add_times, mut remove_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            add_times.push(timed(&direct, adds(size)).await);
            remove_times.push(timed(&direct, removes(size)).await);
        }
        println!(
            "{size:>6}  {registered:>9}  {:<44}  {removed:>9}  {:<44}",
            spread(&mut add_times),
            spread(&mut remove_times)
        );
    }
}

async fn list(dns: &DnsManager) {
    dns.list(Filter::default(), None, 1, Call::default()).await.unwrap_or_else(|error| panic!("{error}"));
}

async fn timed(dns: &DnsManager, changes: Vec<Change>) -> Duration {
    let begun = Instant::now();
    app::done(dns, changes).await;
    begun.elapsed()
}

fn adds(count: usize) -> Vec<Change> {
    (0..count).map(|i| change::add(&format!("w{i}.bench.test"), 60, [change::a("10.0.0.1")])).collect()
}

fn removes(count: usize) -> Vec<Change> {
    (0..count).map(|i| change::remove(&format!("w{i}.bench.test"), None, [])).collect()
}

fn spread(times: &mut [Duration]) -> String {
    times.sort();
    format!("{:.2?} / {:.2?} / {:.2?}", times[0], times[times.len() / 2], times[times.len() - 1])
}
