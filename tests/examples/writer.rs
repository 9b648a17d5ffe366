//! A writer in a process of its own: random changes to a few names, each outcome as one line of JSON.
//!
//! Usage: writer BACKEND NAMESERVER ZONE SEED MILLISECONDS, then a line on standard input to begin.

#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test's own program says so by failing")]

use std::{
    io::{BufRead as _, Write as _},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use dns_manager_host::{
    Call,
    contract::{Change, Entry, Rdata},
};
use dns_manager_tests::{
    app,
    change::{a, add, remove, replace},
    race,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::json;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [backend, nameserver, zone, seed, millis] = arguments.as_slice() else { panic!("five arguments") };
    let builder = app::builder(backend, nameserver.parse().expect("an address"), std::slice::from_ref(zone));
    let manager = builder.build().await.expect("the component is loaded");
    let mut random = StdRng::seed_from_u64(seed.parse().expect("a number"));
    let names = race::names(zone);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready").expect("somebody reads");
    std::io::stdin().lock().read_line(&mut String::new()).expect("the word to begin");

    let end = Instant::now() + Duration::from_millis(millis.parse().expect("a number"));
    while Instant::now() < end {
        let chosen: Vec<&String> = names.sample(&mut random, 3).collect();
        let count = random.random_range(1..=chosen.len());
        let changes: Vec<Change> = chosen.into_iter().take(count).map(|name| change(&mut random, name)).collect();
        let outcomes = manager.apply(changes.clone(), Call::default()).await.expect("a call");
        for (change, outcome) in changes.iter().zip(outcomes) {
            let line = json!({
                "name": race::name_of(change),
                "status": format!("{:?}", outcome.status).trim_start_matches("Status::"),
                "code": outcome.reason.as_ref().map(|reason| reason.code.name()),
                "before": values(&outcome.before),
                "after": values(&outcome.after),
            });
            writeln!(stdout, "{line}").expect("somebody reads");
        }
    }
}

fn change(random: &mut StdRng, name: &str) -> Change {
    let mut value = || a(&format!("10.0.0.{}", random.random_range(1..5)));
    let (one, other) = (value(), value());
    match random.random_range(0..10) {
        0..4 => add(name, 60, [one]),
        4..6 if one != other => replace(name, 60, [one, other]),
        4..7 => replace(name, 60, [one]),
        7 => remove(name, None, [one]),
        _ => remove(name, None, []),
    }
}

/// As they are told, sorted.
fn values(entries: &[Entry]) -> Vec<String> {
    let text = |entry: &Entry| match entry.data {
        Rdata::A((a, b, c, d)) => Ipv4Addr::new(a, b, c, d).to_string(),
        ref other => format!("{other:?}"),
    };
    let mut values: Vec<String> = entries.iter().map(text).collect();
    values.sort();
    values
}
