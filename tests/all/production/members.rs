//! Members that go and come back, under load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use dns_manager_host::{Call, DnsManager, contract::Status};
use dns_manager_tests::{
    app,
    change::{a, add},
    wait,
};

use super::{Production, ZONE};

/// Writers at one time.
const WRITERS: usize = 4;
/// A call of theirs.
const BUDGET: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_member_killed_under_load_loses_nothing_acknowledged() {
    let Some(mut site) = Production::start().await else { return };
    let manager = site.builder().build().await.unwrap();
    let load = Load::start(&manager);
    load.reaches(8).await;

    // The first one, to which every connection leads.
    site.cluster.kill(0);
    load.reaches(40).await;
    let (done, slowest) = load.stop().await;

    let tree = site.cluster.as_root(1).await.tree("/skydns/").await;
    for name in &done {
        let key = format!("/skydns/test/ex/{}/A-0A000001", name.trim_end_matches(".ex.test"));
        assert!(tree.entries.contains_key(&key), "{name} was acknowledged and is lost: {:?}", tree.keys());
    }
    assert!(done.len() >= 40, "{}", done.len());
    // An election, at worst a request that was in doubt, and on a busy machine.
    assert!(slowest < BUDGET, "{slowest:?}");
    let listed = app::entries(&manager).await;
    assert!(done.iter().all(|name| listed.iter().any(|entry| entry.name.trim_end_matches('.') == name)));
    let last = done.last().expect("some were done");
    wait::until("CoreDNS answers from the members that are left", Duration::from_secs(120), async || {
        (!site.coredns.ask(last, "A").await.answers.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_down_from_the_start_is_skipped() {
    let Some(mut site) = Production::start().await else { return };
    site.cluster.kill(0);
    let manager = site.builder().build().await.unwrap();
    let write = async |index: usize| {
        let name = format!("w{index}.{ZONE}");
        let begin = Instant::now();
        let outcomes = manager.apply(vec![add(&name, 60, [a("10.0.0.1")])], call()).await.unwrap();
        (outcomes[0].status, begin.elapsed())
    };

    let first = write(0).await;
    let mut later = Vec::new();
    for index in 1..6 {
        later.push(write(index).await);
    }

    assert_eq!(first.0, Status::Created);
    assert!(later.iter().all(|(status, _)| *status == Status::Created), "{later:?}");
}

/// Writers that add one name after the other.
struct Load {
    acknowledged: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<(Vec<String>, Duration)>>,
}

impl Load {
    fn start(manager: &DnsManager) -> Self {
        let (acknowledged, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let writer = |writer: usize| {
            let (manager, acknowledged, stopped) = (manager.clone(), acknowledged.clone(), stopped.clone());
            tokio::spawn(async move {
                let (mut done, mut slowest) = (Vec::new(), Duration::ZERO);
                for index in 0.. {
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("w{writer}-{index}.{ZONE}");
                    let begin = Instant::now();
                    let outcomes = manager.apply(vec![add(&name, 60, [a("10.0.0.1")])], call()).await.unwrap();
                    slowest = slowest.max(begin.elapsed());
                    // What is unknown or failed was not acknowledged; it may be there or not.
                    if outcomes[0].status.is_done() {
                        done.push(name);
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                }
                (done, slowest)
            })
        };
        let writers = (0..WRITERS).map(writer).collect();
        Self { acknowledged, stopped, writers }
    }

    async fn reaches(&self, count: usize) {
        wait::until("so many names are acknowledged", Duration::from_secs(300), async || {
            (self.acknowledged.load(Ordering::Relaxed) >= count).then_some(())
        })
        .await;
    }

    /// What was acknowledged, and how long the slowest call took.
    async fn stop(self) -> (Vec<String>, Duration) {
        self.stopped.store(true, Ordering::Relaxed);
        let (mut done, mut slowest) = (Vec::new(), Duration::ZERO);
        for writer in self.writers {
            let (names, time) = writer.await.expect("a writer does not panic");
            done.extend(names);
            slowest = slowest.max(time);
        }
        (done, slowest)
    }
}

fn call() -> Call {
    Call { budget: BUDGET, ..Call::default() }
}
