//! The worked key set of the layout, written by the component, read as CoreDNS
//! reads it: keys and answers.

use std::collections::BTreeMap;

use dns_manager_host::contract::{Change, Rdata};
use dns_manager_tests::{
    app,
    cases::{self, Cases, Service},
    change::{a, aaaa, add, cname, mx, ptr, remove, srv, txt},
    coredns::{CoreDns, Plan},
    etcd::Etcd,
    site::{self, Site},
};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::Value;

const ZONES: [&str; 2] = ["ex.test", "0.0.10.in-addr.arpa"];

#[tokio::test(flavor = "multi_thread")]
async fn our_zone_is_answered_as_the_layout_promises() {
    let Some(cases) = Cases::load() else { return };
    for release in site::installed() {
        let site = site(&cases, release).await;
        let manager = app::manager(&site).await;

        app::done(&manager, changes(&cases)).await;

        let lookups: Vec<_> = cases.server_lookups().into_iter().filter(|case| case.id.starts_with("ly-")).collect();
        assert!(lookups.len() > 30, "the case file has {} lookups of the layout", lookups.len());
        let mut differences = Vec::new();
        for case in lookups {
            let query = case.query.as_ref().expect("a question");
            let answer = site.coredns.ask(&query.name, &query.rr_type).await;
            if let Some(difference) = case.difference(&answer) {
                differences.push(format!("{}: {difference}", case.id));
            }
        }
        assert!(differences.is_empty(), "on the {release:?} etcd:\n{}", differences.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_keys_are_those_of_the_worked_example() {
    let Some(cases) = Cases::load() else { return };
    for release in site::installed() {
        let site = site(&cases, release).await;
        let manager = app::manager(&site).await;

        app::done(&manager, changes(&cases)).await;

        let services: Vec<Service> =
            serde_json::from_value(cases.case("ly-keys").expect["services"].clone()).expect("services");
        let expected: BTreeMap<String, Value> =
            services.into_iter().map(|service| (service.key, service.json)).collect();
        let ours = cases::without_hashes(&site.tree().await.json());
        let expected = cases::without_hashes(&expected);
        let keys = |tree: &BTreeMap<String, Vec<Value>>| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&ours), keys(&expected));
        assert_eq!(ours, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_do_not_depend_on_the_order_of_changes() {
    let Some(cases) = Cases::load() else { return };
    for release in site::installed() {
        let site = site(&cases, release).await;
        let manager = app::manager(&site).await;
        let mut changes = changes(&cases);
        app::done(&manager, changes.clone()).await;
        let expected = site.tree().await.values();

        for seed in 1..=3 {
            changes.shuffle(&mut StdRng::seed_from_u64(seed));
            app::done(&manager, changes.iter().map(removal).collect()).await;
            assert!(site.tree().await.is_empty(), "seed {seed}: {:?}", site.tree().await.keys());

            for change in &changes {
                app::done(&manager, vec![change.clone()]).await;
            }

            assert_eq!(site.tree().await.values(), expected, "seed {seed}");
        }
    }
}

/// A site whose CoreDNS has the outside world of the `ly` cases.
async fn site(cases: &Cases, release: dns_manager_tests::etcd::Release) -> Site {
    let etcd = Etcd::start(release).await;
    let mut plan = Plan::new(&etcd.url(), &ZONES);
    let config = cases.server_lookups().into_iter().find(|case| case.id.starts_with("ly-")).map(|case| &case.config);
    if let Some(cases::Upstream::Records(records)) = config.map(|config| &config.upstream) {
        plan.world.clone_from(records);
    }
    let coredns = CoreDns::start(plan).await;
    Site { etcd, coredns, release, zones: ZONES.map(str::to_owned).to_vec() }
}

/// One change for each record set of the input of `ly-keys`.
fn changes(cases: &Cases) -> Vec<Change> {
    let input = &cases.case("ly-keys").input;
    let mut sets = BTreeMap::<(String, String), (u32, Vec<Rdata>)>::new();
    let mut insert = |owner: String, rr_type: &str, ttl: &Value, data: Rdata| {
        let set = sets.entry((owner, rr_type.to_owned())).or_default();
        set.0 = u32::try_from(ttl.as_u64().expect("a TTL")).expect("a TTL");
        set.1.push(data);
    };
    for row in input["zones"].as_object().expect("zones").values().flat_map(|rows| rows.as_array().expect("rows")) {
        let (owner, rr_type) = (row[0].as_str().expect("an owner"), row[1].as_str().expect("a type"));
        insert(owner.to_owned(), rr_type, &row[3], rdata(rr_type, &row[2]));
    }
    for (zone, rows) in input["ns"].as_object().expect("name servers") {
        for row in rows.as_array().expect("rows") {
            let owner = format!("{}.ns.dns.{zone}", row[0].as_str().expect("a label"));
            insert(owner, "A", &row[2], rdata("A", &row[1]));
        }
    }
    sets.into_iter().map(|((owner, _), (ttl, data))| add(&owner, ttl, data)).collect()
}

fn rdata(rr_type: &str, value: &Value) -> Rdata {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let number = |value: &Value| u16::try_from(value.as_u64().expect("a number")).expect("16 bits");
    match rr_type {
        "A" => a(&text(value)),
        "AAAA" => aaaa(&text(value)),
        "CNAME" => cname(&text(value)),
        "PTR" => ptr(&text(value)),
        "TXT" => txt(&text(value)),
        "MX" => mx(number(&value[0]), &text(&value[1])),
        "SRV" => srv(number(&value[0]), number(&value[1]), number(&value[2]), &text(&value[3])),
        other => panic!("no such type in the case file: {other}"),
    }
}

/// What takes away what a change adds.
fn removal(change: &Change) -> Change {
    match &change.action {
        dns_manager_host::contract::Action::Add(set) => remove(&set.name, None, Vec::new()),
        other => panic!("not an addition: {other:?}"),
    }
}
