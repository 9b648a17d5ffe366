//! Verification: what the name servers really answer.

use std::time::{Duration, Instant};

use dns_manager_host::{
    Call, DnsManager,
    contract::{Expectation, Rdata, Verdict, Verification},
};
use dns_manager_tests::{
    app,
    change::{A, a, add, txt},
    coredns::{CoreDns, Plan},
    etcd::Etcd,
    site::on_every_etcd,
};

const ZONE: &[&str] = &["ex.test"];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_as_stored_is_verified() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(
            &manager,
            vec![
                add("web.ex.test", 300, [a("10.0.0.1"), a("10.0.0.2")]),
                add("web.ex.test", 300, [txt(&"long \\ text \"é\" ".repeat(40))]),
            ],
        )
        .await;

        let verifications = verify(&manager, expectation(None, None), Duration::ZERO).await;

        let types: Vec<u16> = verifications.iter().map(|verification| verification.rr_type).collect();
        assert_eq!(types, [1, 16], "every type that is stored");
        for verification in verifications {
            assert_eq!(verification.verdict, Verdict::Verified, "{verification:#?}");
            assert!(verification.answers[0].authoritative, "{verification:#?}");
            assert_eq!(verification.answers[0].ttl, Some(300), "{verification:#?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_values_are_a_mismatch_and_none_are_not_found() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(&manager, vec![add("web.ex.test", 300, [a("10.0.0.1")])]).await;

        let wrong = verify(&manager, expectation(Some(A), Some(vec![a("10.0.0.9")])), Duration::ZERO).await;
        assert_eq!(wrong[0].verdict, Verdict::Mismatch, "{wrong:#?}");
        assert_eq!(wrong[0].answers[0].data, [a("10.0.0.1")]);

        let surplus = verify(&manager, expectation(Some(A), Some(Vec::new())), Duration::ZERO).await;
        assert_eq!(surplus[0].verdict, Verdict::Mismatch, "{surplus:#?}");

        let absent = Expectation { name: "nope.ex.test".to_owned(), rr_type: Some(A), data: Some(vec![a("10.0.0.1")]) };
        let absent = verify(&manager, absent, Duration::ZERO).await;
        assert_eq!(absent[0].verdict, Verdict::NotFound, "{absent:#?}");
        assert_eq!(absent[0].answers[0].rcode, Some(3), "{absent:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gravest_name_server_decides_and_each_is_named() {
    on_every_etcd(ZONE, async |site| {
        // One serves our etcd, one another that is empty, one is gone.
        let other = Etcd::start(site.release).await;
        let stale = CoreDns::start(Plan::new(&other.url(), ZONE)).await;
        let mut gone = CoreDns::start(Plan::new(&other.url(), ZONE)).await;
        gone.stop();
        let servers = [site.coredns.address(), stale.address(), gone.address()].map(|address| address.to_string());
        let manager = app::builder(&site.etcd.url(), site.coredns.address(), &site.zones)
            .nameservers(servers.clone())
            .build()
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        app::done(&manager, vec![add("web.ex.test", 300, [a("10.0.0.1")])]).await;

        let verifications = verify(&manager, expectation(Some(A), None), Duration::ZERO).await;

        assert_eq!(verifications[0].verdict, Verdict::NotFound, "{verifications:#?}");
        let seen: Vec<_> = verifications[0].answers.iter().map(|seen| (seen.server.clone(), seen.verdict)).collect();
        let verdicts = [Verdict::Verified, Verdict::NotFound, Verdict::Unreachable];
        assert_eq!(seen, servers.into_iter().zip(verdicts).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_waits_for_what_comes_late() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        let waiting = tokio::spawn({
            let manager = manager.clone();
            async move {
                let late = expectation(Some(A), Some(vec![a("10.0.0.1")]));
                verify(&manager, late, Duration::from_secs(20)).await
            }
        });
        let first = verify(&manager, expectation(Some(A), Some(vec![a("10.0.0.1")])), Duration::ZERO).await;
        assert_eq!(first[0].verdict, Verdict::NotFound, "{first:#?}");

        app::done(&manager, vec![add("web.ex.test", 300, [a("10.0.0.1")])]).await;

        let verifications = waiting.await.expect("the call ends");
        assert_eq!(verifications[0].verdict, Verdict::Verified, "{verifications:#?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_is_away_is_unreachable_within_the_budget() {
    on_every_etcd(ZONE, async |site| {
        let manager = app::manager(site).await;
        app::done(&manager, vec![add("web.ex.test", 300, [a("10.0.0.1")])]).await;
        site.coredns.stop();
        let begin = Instant::now();

        let verifications = verify(&manager, expectation(Some(A), None), Duration::from_secs(1)).await;

        assert_eq!(verifications[0].verdict, Verdict::Unreachable, "{verifications:#?}");
        assert!(verifications[0].answers[0].problem.is_some(), "{verifications:#?}");
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
        site.coredns.restart().await;
        let verifications = verify(&manager, expectation(Some(A), None), Duration::from_secs(5)).await;
        assert_eq!(verifications[0].verdict, Verdict::Verified, "{verifications:#?}");
    })
    .await;
}

fn expectation(rr_type: Option<u16>, data: Option<Vec<Rdata>>) -> Expectation {
    Expectation { name: "web.ex.test".to_owned(), rr_type, data }
}

async fn verify(manager: &DnsManager, expectation: Expectation, wait: Duration) -> Vec<Verification> {
    manager.verify(vec![expectation], wait, Call::default()).await.unwrap_or_else(|error| panic!("{error:?}"))
}
