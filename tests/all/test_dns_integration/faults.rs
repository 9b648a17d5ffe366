//! What goes wrong between the component and etcd: nothing is lost, nothing is
//! doubled, and the outcome says what is true.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use dns_manager_host::{
    Call, DnsManager, Limits,
    contract::{Change, Outcome, Status},
};
use dns_manager_tests::{
    app,
    change::{A, a, add, cname, remove, replace},
    proxy::{Fault, Proxy, Reply, Request},
    site::{Site, on_every_etcd},
    wait,
};

const ZONE: &[&str] = &["ex.test"];
/// Of a call whose fault passes.
const BUDGET: Duration = Duration::from_secs(20);
/// Of a call whose fault stays; it is to be given up within it.
const SHORT: Duration = Duration::from_secs(2);
/// What the host adds before it ends a call itself, and what a busy machine adds.
const GRACE: Duration = Duration::from_secs(6);

/// Which requests a fault meets.
type Concerns = fn(&Request) -> bool;

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_fault_goes_unnoticed() {
    let faults = [
        ("reset before the request arrived", Fault::ResetBefore),
        ("reset after the request was carried out", Fault::ResetAfter),
        ("nothing but the head of the request arrived", Fault::CutRequest(40)),
        ("half the request arrived", Fault::CutRequest(300)),
        ("no octet of the answer came", Fault::CutAnswer(0)),
        ("the answer broke off in its head", Fault::CutAnswer(30)),
        ("the answer broke off in its body", Fault::CutAnswer(160)),
        ("a slow answer", Fault::SlowAnswer(Duration::from_millis(700))),
        ("a slow request", Fault::SlowRequest(Duration::from_millis(700))),
        ("429 too many requests", Fault::Instead(Reply::too_many_requests())),
        ("503 unavailable", Fault::Instead(Reply::unavailable())),
        ("503 no leader", Fault::Instead(Reply::no_leader())),
        ("503 after the request was carried out", Fault::After(Reply::unavailable())),
        ("500 after the request was carried out", Fault::After(Reply::quorum_lost())),
    ];
    on_every_etcd(ZONE, async |site| {
        let trial = Trial::new(site).await;
        for (what, fault) in &faults {
            for (which, concerns) in [("a write", Request::is_write as Concerns), ("a read", Request::is_read)] {
                let what = format!("{what}, {which}");
                trial.begin(site).await;
                trial.proxy.inject(1, fault.clone(), concerns);

                let outcomes = trial.change().await;

                assert_eq!(app::statuses(&outcomes), trial.expected_statuses, "{what}: {outcomes:#?}");
                assert_eq!(site.tree().await.values(), trial.after, "{what}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_once_leaves_every_outcome_true() {
    let nonsense = [
        ("garbage", Reply::garbage()),
        ("the page of a web server", Reply::html()),
        ("the error page of a load balancer", Reply::bad_gateway()),
    ];
    on_every_etcd(ZONE, async |site| {
        let trial = Trial::new(site).await;
        for (what, reply) in &nonsense {
            for carried_out in [false, true] {
                let fault = if carried_out { Fault::After(reply.clone()) } else { Fault::Instead(reply.clone()) };
                for (which, concerns) in [("a write", Request::is_write as Concerns), ("a read", Request::is_read)] {
                    trial.begin(site).await;
                    trial.proxy.inject(1, fault.clone(), concerns);

                    let outcomes = trial.change().await;

                    let what = format!("{what} for {which}, carried out: {carried_out}");
                    trial.assert_outcomes_are_true(site, &outcomes, &what).await;
                    assert!(
                        !app::statuses(&outcomes).contains(&Status::Unknown),
                        "{what}: a read settles it: {outcomes:#?}"
                    );
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_does_not_pass_is_final_and_leaves_the_tree_alone() {
    on_every_etcd(ZONE, async |site| {
        let trial = Trial::new(site).await;
        for (code, reply) in [("full", Reply::no_space()), ("denied", Reply::permission_denied())] {
            trial.begin(site).await;
            trial.proxy.inject(usize::MAX, Fault::Instead(reply), Request::is_write);

            let outcomes = trial.change().await;

            for outcome in &outcomes {
                let reason = outcome.reason.as_ref().expect("it says why");
                assert_eq!((outcome.status, reason.code.name()), (Status::Failed, code), "{outcome:#?}");
            }
            assert_eq!(site.tree().await.values(), trial.before, "{code}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_never_arrive_are_no_success_and_leave_the_tree_alone() {
    // A busy etcd has surely not written; after all others it may have, for all the component can know.
    let faults = [
        (
            "429 too many requests",
            Fault::Instead(Reply::too_many_requests()),
            &[Status::Failed, Status::Unknown] as &[_],
        ),
        ("resets", Fault::ResetBefore, &[Status::Unknown]),
        ("half requests", Fault::CutRequest(200), &[Status::Unknown]),
        ("503 no leader", Fault::Instead(Reply::no_leader()), &[Status::Unknown]),
        ("garbage", Fault::Instead(Reply::garbage()), &[Status::Unknown]),
        ("the page of a web server", Fault::Instead(Reply::html()), &[Status::Unknown]),
        ("the error page of a load balancer", Fault::Instead(Reply::bad_gateway()), &[Status::Unknown]),
    ];
    on_every_etcd(ZONE, async |site| {
        let trial = Trial::new(site).await;
        for (what, fault, expected) in &faults {
            trial.begin(site).await;
            trial.proxy.inject(usize::MAX, fault.clone(), Request::is_write);
            let begin = Instant::now();

            let outcomes = trial.change_within(SHORT).await;

            assert!(begin.elapsed() < SHORT + GRACE, "{what}: {:?}", begin.elapsed());
            // On a machine that is too busy for the budget, no write was begun.
            let expected = if trial.proxy.writes().is_empty() { &[Status::Failed] } else { *expected };
            for outcome in &outcomes {
                assert!(expected.contains(&outcome.status), "{what}: {outcome:#?}");
                let code = outcome.reason.as_ref().expect("it says why").code.name();
                assert!(["unavailable", "protocol", "deadline"].contains(&code), "{what}: {outcome:#?}");
            }
            assert_eq!(site.tree().await.values(), trial.before, "{what}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answers_are_always_lost_is_settled_by_reading() {
    on_every_etcd(ZONE, async |site| {
        let trial = Trial::new(site).await;
        for (what, fault) in [
            ("resets", Fault::ResetAfter),
            ("half answers", Fault::CutAnswer(100)),
            ("503", Fault::After(Reply::unavailable())),
            ("garbage", Fault::After(Reply::garbage())),
        ] {
            trial.begin(site).await;
            trial.proxy.inject(usize::MAX, fault, Request::is_write);

            let outcomes = trial.change().await;

            assert_eq!(app::statuses(&outcomes), trial.expected_statuses, "{what}: {outcomes:#?}");
            assert_eq!(site.tree().await.values(), trial.after, "{what}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_cannot_be_settled_is_unknown() {
    on_every_etcd(ZONE, async |site| {
        let trial = Trial::new(site).await;
        for (carried_out, fault) in [(true, Fault::ResetAfter), (false, Fault::CutRequest(200))] {
            trial.begin(site).await;
            // The write's answer is lost, and from then on etcd is away.
            let mut written = false;
            trial.proxy.inject(usize::MAX, Fault::ResetBefore, move |request| {
                let is_later = written;
                written |= request.is_write();
                is_later
            });
            trial.proxy.inject(1, fault, Request::is_write);
            let begin = Instant::now();

            let outcomes = trial.change_within(SHORT).await;

            assert!(begin.elapsed() < SHORT + GRACE, "{:?}", begin.elapsed());
            // On a machine that is too busy for the budget, no write was begun.
            let is_begun = !trial.proxy.writes().is_empty();
            let status = if is_begun { Status::Unknown } else { Status::Failed };
            assert_eq!(
                app::statuses(&outcomes),
                vec![status; outcomes.len()],
                "carried out: {carried_out}: {outcomes:#?}"
            );
            let expected = if carried_out && is_begun { &trial.after } else { &trial.before };
            // etcd may still be at it when the call gives up.
            let is_there = async || (site.tree().await.values() == *expected).then_some(());
            wait::until(&format!("carried out: {carried_out}"), Duration::from_secs(60), is_there).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_never_answers_is_given_up_within_the_budget() {
    on_every_etcd(ZONE, async |site| {
        let trial = Trial::new(site).await;
        for (which, concerns, expected) in
            [("reads", Request::is_read as Concerns, Status::Failed), ("writes", Request::is_write, Status::Unknown)]
        {
            trial.begin(site).await;
            trial.proxy.inject(usize::MAX, Fault::Stall, concerns);
            let begin = Instant::now();

            let outcomes = trial.change_within(SHORT).await;

            assert!(begin.elapsed() < SHORT + GRACE, "{which}: {:?}", begin.elapsed());
            for outcome in &outcomes {
                // A write that got no answer may be settled by a read that does: then it failed.
                assert!([expected, Status::Failed].contains(&outcome.status), "{which}: {outcomes:#?}");
            }
            assert_eq!(site.tree().await.values(), trial.before, "{which}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_beyond_all_measure_is_not_taken_and_the_next_call_works() {
    on_every_etcd(ZONE, async |site| {
        let trial = Trial::new(site).await;
        trial.begin(site).await;
        let manager = app::builder(&trial.proxy.url(), site.coredns.address(), &site.zones)
            .limits(Limits { response_bytes: 1 << 20, ..Limits::default() })
            .build()
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        trial.proxy.inject(usize::MAX, Fault::Instead(Reply { body: vec![b' '; 8 << 20], ..Reply::html() }), |_| true);
        let call = Call { budget: SHORT, ..Call::default() };

        let outcomes = manager.apply(trial.changes.clone(), call).await.unwrap();

        for outcome in &outcomes {
            assert_eq!(outcome.status, Status::Failed, "{outcome:#?}");
        }
        assert_eq!(site.tree().await.values(), trial.before);
        trial.proxy.heal();
        assert_eq!(app::statuses(&app::apply(&manager, trial.changes.clone()).await), trial.expected_statuses);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_fails_every_item_within_the_budget() {
    on_every_etcd(ZONE, async |site| {
        let mut trial = Trial::new(site).await;
        trial.begin(site).await;
        trial.proxy.close().await;
        let begin = Instant::now();

        let outcomes = trial.change_within(SHORT).await;

        assert!(begin.elapsed() < SHORT + GRACE, "{:?}", begin.elapsed());
        for outcome in &outcomes {
            assert_eq!(outcome.status, Status::Failed, "{outcomes:#?}");
            let reason = outcome.reason.as_ref().expect("a failure says why");
            assert!(["unavailable", "deadline"].contains(&reason.code.name()), "{reason:?}");
        }
        assert_eq!(site.tree().await.values(), trial.before);

        // It comes back, and the same manager goes on.
        trial.proxy.open().await;
        let outcomes = trial.change().await;
        assert_eq!(app::statuses(&outcomes), trial.expected_statuses, "{outcomes:#?}");
        assert_eq!(site.tree().await.values(), trial.after);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_stops_and_comes_back_loses_nothing() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(&manager, vec![add("web.ex.test", 300, [a("10.0.0.1")])]).await;
        let before = site.tree().await.values();

        site.etcd.stop();
        let waiting = tokio::spawn({
            let manager = manager.clone();
            let call = Call { budget: Duration::from_secs(240), ..Call::default() };
            async move { manager.apply(vec![add("web.ex.test", 300, [a("10.0.0.2")])], call).await.expect("outcomes") }
        });
        site.etcd.restart().await;
        let outcomes = waiting.await.expect("the call ends");

        assert_eq!(app::statuses(&outcomes), [Status::Updated], "{outcomes:#?}");
        let answer = wait::until("CoreDNS reaches etcd again", Duration::from_secs(120), async || {
            let answer = site.coredns.ask("web.ex.test", "A").await;
            (answer.rcode == "NOERROR").then_some(answer)
        })
        .await;
        assert_eq!(answer.sorted(), ["web.ex.test. 300 A 10.0.0.1", "web.ex.test. 300 A 10.0.0.2"]);

        app::done(&manager, vec![remove("web.ex.test", Some(A), [a("10.0.0.2")])]).await;
        assert_eq!(site.tree().await.values(), before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_etcd_kill_during_many_writes_leaves_a_true_account() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        let writing = tokio::spawn({
            let manager = manager.clone();
            async move {
                let mut outcomes = Vec::new();
                for number in 0..60 {
                    let change = add(&format!("n{number}.ex.test"), 300, [a("10.0.0.1")]);
                    outcomes.push((number, app::apply(&manager, vec![change]).await.remove(0)));
                }
                outcomes
            }
        });
        for _ in 0..3 {
            // At some moment of the writing, whichever it is.
            let seen = site.tree().await.revision;
            wait::until("more is written", Duration::from_secs(60), async || {
                (writing.is_finished() || site.tree().await.revision > seen + 4).then_some(())
            })
            .await;
            site.etcd.restart().await;
        }
        let outcomes = writing.await.expect("the calls end");

        let tree = site.tree().await;
        for (number, outcome) in &outcomes {
            let there = tree.entries.contains_key(&format!("/skydns/test/ex/n{number}/A-0A000001"));
            match outcome.status {
                Status::Created => assert!(there, "n{number} was acknowledged and is lost: {outcome:?}"),
                Status::Failed => assert!(!there, "n{number} failed and is there: {outcome:?}"),
                Status::Unknown => {}
                other => panic!("n{number} {other:?}: {outcome:?}"),
            }
        }
        let created = outcomes.iter().filter(|(_, outcome)| outcome.status == Status::Created).count();
        assert!(created > 50, "only {created} of 60 were created although etcd came back each time");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_fails_over_to_another_member() {
    on_every_etcd(ZONE, async |site| {
        let mut first = Proxy::start(site.etcd.address()).await;
        let second = Proxy::start(site.etcd.address()).await;
        let manager = app::builder(&first.url(), site.coredns.address(), &site.zones)
            .backend([first.url(), second.url()])
            .build()
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        app::done(&manager, vec![add("one.ex.test", 300, [a("10.0.0.1")])]).await;
        assert!(first.connections() > 0, "the first member is asked first");

        first.close().await;
        app::done(&manager, vec![add("two.ex.test", 300, [a("10.0.0.2")])]).await;

        assert!(second.connections() > 0, "the second member took over");
        assert_eq!(site.coredns.ask("two.ex.test", "A").await.answers, ["two.ex.test. 300 A 10.0.0.2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_across_calls() {
    on_every_etcd(ZONE, async |site| {
        let proxy = Proxy::start(site.etcd.address()).await;
        let manager = app::manager_at(site, &proxy.url()).await;

        for number in 0..20 {
            app::done(&manager, vec![add(&format!("n{number}.ex.test"), 300, [a("10.0.0.1")])]).await;
        }

        assert!(proxy.connections() < 10, "{} connections for 20 calls", proxy.connections());
    })
    .await;
}

/// A zone, changes to it, and what both are without any fault.
struct Trial {
    proxy: Proxy,
    /// Through the proxy.
    manager: DnsManager,
    /// Past it.
    direct: DnsManager,
    changes: Vec<Change>,
    before: BTreeMap<String, String>,
    after: BTreeMap<String, String>,
    expected_statuses: Vec<Status>,
}

impl Trial {
    async fn new(site: &Site) -> Self {
        let direct = app::manager(site).await;
        app::done(
            &direct,
            vec![
                add("web.ex.test", 300, [a("10.0.0.1")]),
                add("old.ex.test", 300, [a("10.0.0.9")]),
                add("stays.ex.test", 300, [a("10.0.0.8")]),
            ],
        )
        .await;
        let before = site.tree().await.values();
        let changes = vec![
            add("new.ex.test", 300, [a("10.0.0.3"), a("10.0.0.4")]),
            replace("web.ex.test", 60, [a("10.0.0.2")]),
            remove("old.ex.test", None, []),
            add("www.ex.test", 300, [cname("web.ex.test")]),
        ];
        let expected_statuses = app::statuses(&app::done(&direct, changes.clone()).await);
        let after = site.tree().await.values();
        let proxy = Proxy::start(site.etcd.address()).await;
        let manager = app::manager_at(site, &proxy.url()).await;
        Self { proxy, manager, direct, changes, before, after, expected_statuses }
    }

    /// Heals the proxy and puts the zone back.
    async fn begin(&self, site: &Site) {
        self.proxy.heal();
        self.proxy.forget();
        self.put_back(site).await;
    }

    async fn put_back(&self, site: &Site) {
        let gateway = site.gateway();
        gateway.delete_below("/").await;
        let entries: Vec<_> =
            self.before.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes())).collect();
        gateway.put_all(&entries).await;
    }

    async fn change(&self) -> Vec<Outcome> {
        self.change_within(BUDGET).await
    }

    async fn change_within(&self, budget: Duration) -> Vec<Outcome> {
        let call = Call { budget, ..Call::default() };
        self.manager.apply(self.changes.clone(), call).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// What is said to be done is done, what is said to have failed is not, and the tree is that of exactly what was done.
    async fn assert_outcomes_are_true(&self, site: &Site, outcomes: &[Outcome], what: &str) {
        let seen = site.tree().await.values();
        let done = self.changes.iter().zip(outcomes).filter(|(_, outcome)| outcome.status.is_done());
        let done: Vec<Change> = done.map(|(change, _)| change.clone()).collect();
        self.put_back(site).await;
        app::done(&self.direct, done).await;
        assert_eq!(seen, site.tree().await.values(), "{what}: {outcomes:#?}");
    }
}
