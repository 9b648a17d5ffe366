//! A process is killed after any of its requests to etcd: what is finished is answered rightly, and doing it again, or a
//! repair, completes the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dns_manager_host::contract::{Entry, Rdata};
use dns_manager_tests::{
    app,
    cli::Installation,
    left_out::say,
    proxy::{Fault, Proxy},
    site::{Site, on_every_etcd, test_name},
    wait,
};

const ZONE: &str = "ex.test";
const FILE: &str = "zone.yaml";
/// Sets of each kind: enough for several transactions.
const SETS: usize = 60;
/// The process is killed after so many of the requests that there are, spread over all of them.
const KILLS: usize = 8;
/// Longer than the process lives.
const UNANSWERED: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn whenever_it_is_killed_what_is_finished_is_answered_and_the_rest_can_be_completed() {
    on_every_etcd(&[ZONE], async |site| {
        let proxy = Proxy::start(site.etcd.address()).await;
        let installation = Installation::with_dns(&[
            format!("coredns_url = \"{}\"", proxy.url()),
            format!("nameservers = [\"{}\"]", site.coredns.address()),
            format!("zones = [\"{ZONE}\"]"),
            format!("owner = \"{}\"", app::OWNER),
        ]);
        installation.write(FILE, &file());
        let apply = ["record", "apply", FILE, "--yes"];
        installation.run(&apply).await.succeeded();
        let requests = proxy.requests().len();
        assert!(proxy.writes().len() > 2, "all of it in {} transactions", proxy.writes().len());
        let whole = site.tree().await.values();

        let (mut finished, mut partly) = (0, 0);
        for kill in 0..KILLS {
            site.gateway().delete_below("/").await;
            proxy.forget();
            // The first and the last one are among them.
            let after = 1 + kill * (requests - 1) / (KILLS - 1);
            let mut number = 0;
            proxy.inject(1, Fault::SlowAnswer(UNANSWERED), move |_| {
                number += 1;
                number == after
            });
            let running = installation.start(&apply);
            wait::until("etcd has carried the request out", Duration::from_secs(120), async || {
                (proxy.answered() >= after).then_some(())
            })
            .await;
            let killed = running.ended_by("KILL").await;
            assert_eq!(killed.status, -1, "{killed:?}");
            proxy.heal();

            let what = format!("killed after request {after} of {requests}");
            let sets = answered(site, &what).await;
            finished += sets;
            partly += usize::from(sets > 0 && site.tree().await.values() != whole);

            if kill % 2 == 1 {
                let repaired = installation.run(&["record", "repair", ZONE]).await.succeeded();
                answered(site, &format!("{what}, repaired: {}", repaired.stdout)).await;
            }
            installation.run(&apply).await.succeeded();
            assert_eq!(site.tree().await.values(), whole, "{what}, applied again");
        }
        say(&format!(
            "{}: {:?} etcd, {KILLS} kills within {requests} requests, {finished} record sets finished before them\n",
            test_name(),
            site.release
        ));
        assert!(partly > 1, "no kill came in the middle of the writing");
    })
    .await;
}

/// Addresses, texts, aliases, and names below one another.
fn file() -> String {
    let mut file = String::new();
    let mut add = |name: String, record_type: &str, values: &str| {
        file.push_str(&format!("- {{name: {name}, record_type: {record_type}, ttl: 60, values: [{values}]}}\n"));
    };
    for number in 0..SETS {
        add(format!("web-{number}.{ZONE}"), "A", &format!("10.0.0.{number}, 10.0.1.{number}, 10.0.2.{number}"));
        add(format!("web-{number}.{ZONE}"), "TXT", &format!("\"one {number}\", \"two {number}\""));
        add(format!("below.web-{number}.{ZONE}"), "AAAA", &format!("\"2001:db8::{number:x}\""));
        add(format!("alias-{number}.{ZONE}"), "CNAME", &format!("below.web-{number}.{ZONE}"));
    }
    file
}

/// Every set that is registered is whole, as the file has it, and is answered so; how many there are.
async fn answered(site: &Site, what: &str) -> usize {
    let mut sets: BTreeMap<(String, &str), BTreeSet<String>> = BTreeMap::new();
    for Entry { name, data, .. } in app::entries(&app::manager(site).await).await {
        let (record_type, value) = match data {
            Rdata::A((a, b, c, d)) => ("A", format!("{a}.{b}.{c}.{d}")),
            Rdata::Aaaa(address) => ("AAAA", std::net::Ipv6Addr::from(<[u16; 8]>::from(address)).to_string()),
            Rdata::Cname(target) => ("CNAME", target.trim_end_matches('.').to_owned()),
            Rdata::Txt(text) => ("TXT", String::from_utf8(text.concat()).unwrap()),
            other => panic!("{what}: {name} has {other:?}"),
        };
        sets.entry((name.trim_end_matches('.').to_owned(), record_type)).or_default().insert(value);
    }
    for ((name, record_type), values) in &sets {
        let whole = match *record_type {
            "A" => 3,
            "TXT" => 2,
            _ => 1,
        };
        assert_eq!(values.len(), whole, "{what}: of {name} {record_type} there is {values:?}");
        let answer = site.coredns.ask(name, record_type).await;
        let given: BTreeSet<String> = match *record_type {
            "TXT" => answer.texts.iter().map(|text| String::from_utf8(text.clone()).unwrap()).collect(),
            // Of an alias, what it leads to follows.
            "CNAME" => answer.answers.iter().take(1).map(|line| value_of(line)).collect(),
            _ => answer.answers.iter().map(|line| value_of(line)).collect(),
        };
        assert_eq!(&given, values, "{what}: {name} {record_type}");
    }
    sets.len()
}

/// `10.0.0.1` of `web.ex.test. 60 A 10.0.0.1`.
fn value_of(line: &str) -> String {
    line.rsplit(' ').next().unwrap_or_default().trim_end_matches('.').to_owned()
}
