//! How long after a write is acknowledged does a name resolve?
//!
//! On real etcd and two stock CoreDNS without a cache. Names are registered one by one; from the moment that the write is acknowledged
//! each is asked for until the answer is right: every other one by a plain client that asks one server over UDP again and again, the
//! rest by the component, which asks both and tells `resolvable-us` of each, as a server's workflow does. Left out: the inventory of
//! the orchestrator, a cache in front of CoreDNS (its negative answers are what takes seconds), and a network. Run:
//! `cargo bench -p dns-manager-tests --bench resolve`.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dns_manager_host::contract::{Expectation, Verdict};
use dns_manager_host::{Call, DnsManager};
use dns_manager_tests::{
    app, change,
    coredns::{CoreDns, Plan},
    dns::{self, Transport},
    etcd::{Etcd, Release},
};

const ZONE: &str = "bench.test";
/// Of each kind.
const NAMES: usize = 400;
/// Before anything is measured: connections are made, files are read.
const WARM: usize = 20;

#[tokio::main]
async fn main() {
    let etcd = Etcd::start(Release::Current).await;
    let servers =
        [CoreDns::start(Plan::new(&etcd.url(), &[ZONE])).await, CoreDns::start(Plan::new(&etcd.url(), &[ZONE])).await];
    let addresses = [servers[0].address(), servers[1].address()];
    let manager = app::builder(&etcd.url(), addresses[0], &[ZONE.to_owned()])
        .nameservers(addresses.map(|address| address.to_string()))
        .build()
        .await
        .unwrap_or_else(|error| panic!("{error}"));

    let mut times: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    let mut asked = 0;
    for number in 0..WARM + 2 * NAMES {
        let name = format!("w{number}.{ZONE}");
        let begun = Instant::now();
        app::done(&manager, vec![change::add(&name, 60, [change::a("10.0.0.1")])]).await;
        let acknowledged = Instant::now();
        let measured: Vec<(String, Duration)> = if number % 2 == 0 {
            let questions = until_right(addresses[0], &name).await;
            asked += if number < WARM { 0 } else { questions };
            vec![("answered to a plain client".to_owned(), acknowledged.elapsed())]
        } else {
            verified(&manager, &name, acknowledged).await
        };
        if number >= WARM {
            times.entry("written (before it counts)".to_owned()).or_default().push(acknowledged - begun);
            for (what, time) in measured {
                times.entry(what).or_default().push(time);
            }
        }
    }
    println!("{:<32}  {:>6}  min / median / p90 / p99 / max", "", "names");
    for (what, mut times) in times {
        println!("{what:<32}  {:>6}  {}", times.len(), distribution(&mut times));
    }
    println!("questions of the plain client for each name: {:.3}", asked as f64 / NAMES as f64);
}

/// Asks one server again and again until it has the address; how often.
async fn until_right(server: SocketAddr, name: &str) -> usize {
    let expected = format!("{name}. 60 A 10.0.0.1");
    for questions in 1.. {
        let answer = dns::try_ask(server, name, "A", Transport::Udp, Duration::from_secs(5)).await;
        if answer.is_ok_and(|answer| answer.answers == [expected.as_str()]) {
            return questions;
        }
    }
    unreachable!("the loop has no end of its own")
}

/// What the component tells of each server.
async fn verified(manager: &DnsManager, name: &str, acknowledged: Instant) -> Vec<(String, Duration)> {
    let expectation =
        Expectation { name: name.to_owned(), rr_type: Some(change::A), data: Some(vec![change::a("10.0.0.1")]) };
    let before = acknowledged.elapsed();
    let verifications = manager
        .verify(vec![expectation], Duration::from_secs(10), Call::default())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let mut measured = Vec::new();
    for (number, seen) in verifications.iter().flat_map(|verification| &verification.answers).enumerate() {
        assert_eq!(seen.verdict, Verdict::Verified, "{seen:?}");
        let told = seen.attributes.iter().find(|(key, _)| key == "resolvable-us");
        let told = told.and_then(|(_, value)| value.parse().ok()).unwrap_or_else(|| panic!("{seen:?}"));
        measured.push((format!("resolvable at name server {}", number + 1), before + Duration::from_micros(told)));
    }
    measured.push(("the whole verification".to_owned(), acknowledged.elapsed()));
    measured
}

fn distribution(times: &mut [Duration]) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    format!("{:.2?} / {:.2?} / {:.2?} / {:.2?} / {:.2?}", times[0], at(50), at(90), at(99), times[times.len() - 1])
}
