//! Eight processes race for forty names: what each was told is what etcd's history holds, in one order, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dns_manager_guest::{decode::Decoded, layout::Layout, zone::Zone};
use dns_manager_tests::{
    left_out::say,
    race::{Step, Told, Writer, history, names, steps},
    site::{Site, on_every_etcd, test_name},
};

const ZONE: &str = "ex.test";
const WRITERS: u64 = 8;
/// Unless `DNS_MANAGER_RACE_SECONDS` says how long.
const SECONDS: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn what_racing_processes_are_told_is_the_history_of_the_tree() {
    let seconds = std::env::var("DNS_MANAGER_RACE_SECONDS").map_or(SECONDS, |text| text.parse().expect("seconds"));
    on_every_etcd(&[ZONE], async |site| {
        let first = site.tree().await.revision;
        let mut writers: Vec<Writer> = (0..WRITERS)
            .map(|seed| {
                Writer::start(&site.etcd.url(), site.coredns.address(), ZONE, seed, Duration::from_secs(seconds))
            })
            .collect();
        writers.iter_mut().for_each(Writer::begin);
        let told: Vec<Vec<Told>> = tokio::task::spawn_blocking(|| {
            // Side by side: an output that nobody reads stops its writer.
            let readers: Vec<_> = writers.into_iter().map(|writer| std::thread::spawn(move || writer.told())).collect();
            readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
        })
        .await
        .expect("the writers end");

        let last = site.tree().await.revision;
        let history = history(&site.gateway(), first, last).await;
        assert_explained(&told, &history);
        assert_full(site).await;
        let state = history.last().expect("a state");
        for name in names(ZONE) {
            let expected: Vec<String> =
                state.get(&name).into_iter().flatten().map(|address| format!("{name}. 60 A {address}")).collect();
            assert_eq!(site.coredns.ask(&name, "A").await.sorted(), expected, "{name}");
        }
        report(site, &told, last - first);
    })
    .await;
}

/// Every step of the history was told to exactly one writer, but for those whose outcome nobody knows.
fn assert_explained(told: &[Vec<Told>], history: &[dns_manager_tests::race::State]) {
    let mut open: BTreeMap<Step, usize> = BTreeMap::new();
    for step in steps(history) {
        *open.entry(step).or_default() += 1;
    }
    let mut unknown = 0;
    for told in told.iter().flatten() {
        match told.status.as_str() {
            "Created" | "Updated" | "Deleted" => {
                let step = (told.name.clone(), told.before.clone(), told.after.clone());
                let left = open.get_mut(&step).filter(|left| **left > 0);
                *left.unwrap_or_else(|| panic!("never happened: {told:?}")) -= 1;
            }
            "Unchanged" => {
                let was_so = |state: &BTreeMap<String, BTreeSet<String>>| {
                    state.get(&told.name).cloned().unwrap_or_default() == told.after
                };
                assert!(history.iter().any(was_so), "never was so: {told:?}");
            }
            "Failed" => assert_eq!(told.code.as_deref(), Some("contention"), "{told:?}"),
            "Unknown" => unknown += 1,
            _ => panic!("{told:?}"),
        }
    }
    let left: Vec<_> = open.iter().filter(|(_, left)| **left > 0).collect();
    assert!(left.len() <= unknown, "{unknown} outcomes are unknown, and nobody was told of {left:#?}");
}

/// The tree is what its records need, byte for byte.
async fn assert_full(site: &Site) {
    let (layout, tree) = (Layout::new("skydns"), site.tree().await.values());
    let records: Vec<_> = tree
        .iter()
        .filter_map(|(key, value)| match layout.decode(key.as_bytes(), value.as_bytes()) {
            Decoded::Ours(record) => Some(record),
            Decoded::Structure | Decoded::Foreign(_) | Decoded::Unreadable(_) => None,
        })
        .collect();
    let zone = Zone::new(ZONE.parse().expect("a name")).expect("a zone");
    assert_eq!(tree, layout.encode(&[zone], &records));
}

fn report(site: &Site, told: &[Vec<Told>], revisions: i64) {
    let is_done = |told: &&Told| ["Created", "Updated", "Deleted"].contains(&told.status.as_str());
    let done: Vec<usize> = told.iter().map(|told| told.iter().filter(is_done).count()).collect();
    let count = |status: &str| told.iter().flatten().filter(|told| told.status == status).count();
    let (all, least) = (done.iter().sum::<usize>(), done.iter().min().copied().unwrap_or_default());
    say(&format!(
        "{}: {:?} etcd, {revisions} revisions, {all} changes made by {WRITERS} processes, the slowest made {least}; {} unchanged, \
         {} failed by contention, {} unknown\n",
        test_name(),
        site.release,
        count("Unchanged"),
        count("Failed"),
        count("Unknown")
    ));
    assert!(least > 0, "a writer got nowhere: {done:?}");
}
