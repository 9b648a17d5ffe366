//! The connection to etcd is cut within every request of a change, and within
//! every answer: the outcome is true, and doing it again ends it.
//!
//! `make cuts` tries every octet; otherwise some of them are.

use std::{collections::BTreeMap, time::Duration};

use dns_manager_host::{
    Call, DnsManager, Error,
    contract::{Change, Outcome, Status},
};
use dns_manager_tests::{
    app,
    change::{a, add, cname, replace},
    left_out::say,
    proxy::{Fault, Proxy},
    site::{Site, on_every_etcd, test_name},
};

const ZONE: &[&str] = &["ex.test"];
/// One octet of so many, unless `DNS_MANAGER_CUT_STEP` says how many; a prime, for what repeats in a text.
const STEP: usize = 61;
/// Enough to settle what became of a write.
const BUDGET: Duration = Duration::from_secs(20);
/// Too short for more than a look at a backend that is gone.
const SHORT: Duration = Duration::from_millis(400);
/// An answer's head has at most so many octets.
const HEAD: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_connection_is_cut_the_outcome_is_true() {
    let step = std::env::var("DNS_MANAGER_CUT_STEP").map_or(STEP, |step| step.parse().expect("a number of octets"));
    on_every_etcd(ZONE, async |site| {
        let trial = Trial::new(site).await;
        let (mut tried, mut unknown) = (0, 0);
        for (index, length) in trial.lengths(site).await.into_iter().enumerate() {
            let cuts = (0..=length).step_by(step).map(Fault::CutRequest);
            // As long as a request: none is answered with more.
            let answers = (0..=length.max(HEAD)).step_by(step).map(Fault::CutAnswer);
            for fault in cuts.chain(answers) {
                for stays in [false, true] {
                    let what = format!("request {index}, {fault:?}, and no connection afterwards: {stays}");
                    let outcome = trial.cut(site, index, &fault, stays).await;
                    tried += 1;
                    unknown += usize::from(outcome.status == Status::Unknown);
                    trial.assert_true(site, &outcome, stays, &what).await;
                }
            }
        }
        say(&format!("{}: {:?} etcd, {tried} cuts, {unknown} outcomes unknown\n", test_name(), site.release));
        assert!(tried > 100, "only {tried} cuts");
    })
    .await;
}

/// A zone and one change to it that needs puts and deletes, with what both are without any fault.
struct Trial {
    proxy: Proxy,
    /// Through the proxy.
    manager: DnsManager,
    before: BTreeMap<String, String>,
    after: BTreeMap<String, String>,
}

impl Trial {
    async fn new(site: &Site) -> Self {
        let direct = app::manager(site).await;
        app::done(
            &direct,
            vec![add("web.ex.test", 300, [a("10.0.0.1")]), add("www.ex.test", 300, [cname("web.ex.test")])],
        )
        .await;
        let before = site.tree().await.values();
        app::done(&direct, vec![change()]).await;
        let after = site.tree().await.values();
        assert_ne!(before, after);
        let proxy = Proxy::start(site.etcd.address()).await;
        let manager = app::manager_at(site, &proxy.url()).await;
        Self { proxy, manager, before, after }
    }

    /// How long each request of the change is.
    async fn lengths(&self, site: &Site) -> Vec<usize> {
        self.begin(site).await;
        app::done(&self.manager, vec![change()]).await;
        let lengths: Vec<_> = self.proxy.requests().iter().map(|request| request.length()).collect();
        assert!(lengths.len() >= 2, "a read and a write: {lengths:?}");
        lengths
    }

    /// Heals the proxy and puts the zone back.
    async fn begin(&self, site: &Site) {
        self.proxy.heal();
        self.proxy.forget();
        let gateway = site.gateway();
        gateway.delete_below("/").await;
        let entries: Vec<_> =
            self.before.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes())).collect();
        gateway.put_all(&entries).await;
    }

    /// Makes the change while the request of this index meets the fault.
    async fn cut(&self, site: &Site, index: usize, fault: &Fault, stays: bool) -> Outcome {
        self.begin(site).await;
        let mut number = 0;
        self.proxy.inject(1, fault.clone(), move |_| {
            number += 1;
            number == index + 1
        });
        if stays {
            let mut number = 0;
            self.proxy.inject(usize::MAX, Fault::ResetBefore, move |_| {
                number += 1;
                // The fault's own request never comes here.
                number > index
            });
        }
        let call = Call { budget: if stays { SHORT } else { BUDGET }, ..Call::default() };
        loop {
            match self.manager.apply(vec![change()], call.clone()).await {
                Ok(mut outcomes) => return outcomes.remove(0),
                // The machine was too busy for the budget: nothing was begun.
                Err(Error::OutOfTime { .. } | Error::Busy { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    async fn assert_true(&self, site: &Site, outcome: &Outcome, stays: bool, what: &str) {
        let tree = site.tree().await.values();
        let is_one_of_both = tree == self.before || tree == self.after;
        match outcome.status {
            Status::Updated => assert_eq!(tree, self.after, "{what}: {outcome:?}"),
            Status::Failed => assert_eq!(tree, self.before, "{what}: {outcome:?}"),
            Status::Unknown => assert!(is_one_of_both && stays, "{what}: {outcome:?}"),
            _ => panic!("{what}: {outcome:?}"),
        }
        self.proxy.heal();
        let again = app::apply(&self.manager, vec![change()]).await.remove(0);
        assert!(matches!(again.status, Status::Updated | Status::Unchanged), "{what}, again: {again:?}");
        assert_eq!(site.tree().await.values(), self.after, "{what}, again");
    }
}

fn change() -> Change {
    replace("web.ex.test", 60, [a("10.0.0.2"), a("10.0.0.3")])
}
