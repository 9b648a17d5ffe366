//! Concurrent changes share calls of the component, and so transactions of the store.
//!
//! While a call runs, the changes that come wait; then they go together in the next one. Of one zone, the writers of a process
//! thus take turns in it, and do not contend for its epoch.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dns_manager_host::contract::{Action, Change, Check, Expectation, Filter, Outcome, Page, Verification};
use dns_manager_host::{Call, Error, Usage};
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Dns;
use crate::change;

/// Who has less time left than this has a call of his own: with it, the others would have no more.
const SHARED_FROM: Duration = Duration::from_secs(2);

/// How many places verifications take at most where nobody knows how many there are.
const VERIFICATIONS: usize = 8;

/// The changes of several callers in one call.
pub struct Batching(Arc<Shared>);

struct Shared {
    dns: Arc<dyn Dns>,
    queue: Mutex<Queue>,
    /// A verification waits for name servers, and keeps a place for as long: half of the places are left to whoever is to be
    /// answered at once.
    verifying: Semaphore,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether somebody is sending.
    is_busy: bool,
    /// How many have come.
    number: u64,
}

/// Changes of one caller.
struct Waiting {
    number: u64,
    changes: Vec<Change>,
    call: Call,
    /// When the call's budget is used up, the time in the queue included.
    until: Instant,
    answer: oneshot::Sender<Result<Vec<Outcome>, Error>>,
}

impl Waiting {
    /// How much of the call's budget is left.
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Batching {
    /// Of this DNS.
    pub fn new(dns: Arc<dyn Dns>) -> Self {
        let verifications = dns.usage().map_or(VERIFICATIONS, |usage| usage.places / 2).max(1);
        Self(Arc::new(Shared { dns, queue: Mutex::default(), verifying: Semaphore::new(verifications) }))
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a caller off the queue; false: his changes are under way.
    fn withdraw(&self, number: u64) -> bool {
        let mut queue = self.queue();
        let before = queue.waiting.len();
        queue.waiting.retain(|waiting| waiting.number != number);
        queue.waiting.len() < before
    }

    /// Sends batch after batch until nobody waits.
    async fn send_all(self: Arc<Self>) {
        loop {
            let batch = {
                let mut queue = self.queue();
                let batch = next(&mut queue.waiting, self.dns.max_items());
                queue.is_busy = !batch.is_empty();
                batch
            };
            if batch.is_empty() {
                return;
            }
            // In a task of its own: should it break down, those who wait are still sent.
            let this = Arc::clone(&self);
            if let Err(broken) = tokio::spawn(async move { this.send(batch).await }).await {
                tracing::error!("a call broke off: {broken}");
            }
        }
    }

    async fn send(&self, mut batch: Vec<Waiting>) {
        // What the most impatient one has left.
        let budget = batch.iter().map(Waiting::left).min().unwrap_or_default();
        let request_id = batch.first().map(|waiting| waiting.call.request_id.clone()).unwrap_or_default();
        let changes = batch.iter().flat_map(|waiting| waiting.changes.clone()).collect();
        let call = self.dns.apply(changes, Call { budget, request_id, ..Call::default() });
        let answered = tokio::select! {
            biased;
            answered = call => answered,
            // They may have lost the right to what they asked for: it is broken off with them.
            _ = join_all(batch.iter_mut().map(|waiting| waiting.answer.closed())) => return,
        };
        let mut outcomes = match answered {
            Ok(outcomes) => outcomes.into_iter(),
            Err(error) => {
                let (is_unwritten, why) = (change::surely_not_written(&error), super::why(&error));
                let mut error = Some(error);
                for waiting in batch {
                    let answer = match error.take() {
                        Some(error) => Err(error),
                        // An error cannot be copied. Nothing was done: a call of his own tells each the same, or succeeds.
                        None if is_unwritten => self.alone(&waiting).await,
                        None => Err(Error::Internal(format!("the call that it was a part of broke off: {why}"))),
                    };
                    let _ = waiting.answer.send(answer);
                }
                return;
            }
        };
        for waiting in batch {
            let own = outcomes.by_ref().take(waiting.changes.len()).collect();
            // Who has gone does not want to know.
            let _ = waiting.answer.send(Ok(own));
        }
    }

    async fn alone(&self, waiting: &Waiting) -> Result<Vec<Outcome>, Error> {
        let budget = waiting.left();
        if budget.is_zero() {
            return Err(Error::Busy { budget: waiting.call.budget });
        }
        self.dns.apply(waiting.changes.clone(), Call { budget, ..waiting.call.clone() }).await
    }
}

/// Takes callers off the queue, in their order, as long as all fit into one call and no name occurs twice: what one caller
/// does to a name would be in the way of the other.
fn next(waiting: &mut Vec<Waiting>, max_items: usize) -> Vec<Waiting> {
    // Who has gone may have lost the right to what he asked for.
    waiting.retain(|caller| !caller.answer.is_closed());
    let mut names: BTreeSet<String> = BTreeSet::new();
    let (mut count, mut taken) = (0, 0);
    for caller in waiting.iter() {
        let own: BTreeSet<String> = caller.changes.iter().map(name).collect();
        let fits = count + caller.changes.len() <= max_items && names.is_disjoint(&own);
        let is_hasty = caller.left() < SHARED_FROM;
        if taken > 0 && (!fits || is_hasty) {
            break;
        }
        count += caller.changes.len();
        names.extend(own);
        taken += 1;
        if is_hasty {
            break;
        }
    }
    waiting.drain(..taken).collect()
}

fn name(change: &Change) -> String {
    let name = match &change.action {
        Action::Add(set) | Action::Replace(set) => &set.name,
        Action::Remove(selector) | Action::Adopt(selector) | Action::Release(selector) => &selector.name,
    };
    crate::record::value::name_text(name)
}

impl Dns for Batching {
    fn max_items(&self) -> usize {
        self.0.dns.max_items()
    }

    fn usage(&self) -> Option<Usage> {
        self.0.dns.usage()
    }

    fn apply(&self, changes: Vec<Change>, call: Call) -> BoxFuture<'_, Result<Vec<Outcome>, Error>> {
        if call.dry_run || changes.len() > self.0.dns.max_items() {
            return self.0.dns.apply(changes, call);
        }
        Box::pin(async move {
            let (answer, mut answered) = oneshot::channel();
            let (budget, until) = (call.budget, Instant::now() + call.budget);
            let (number, is_first) = {
                let mut queue = self.0.queue();
                queue.number += 1;
                let number = queue.number;
                queue.waiting.push(Waiting { number, changes, call, until, answer });
                (number, !std::mem::replace(&mut queue.is_busy, true))
            };
            if is_first {
                // By itself: who began it may go away, and others wait.
                tokio::spawn(Arc::clone(&self.0).send_all());
            }
            let answer = match timeout_at(until, &mut answered).await {
                Ok(answer) => answer,
                Err(_) if self.0.withdraw(number) => return Err(Error::Busy { budget }),
                // It is under way, and its own budget ends it.
                Err(_) => answered.await,
            };
            answer.unwrap_or_else(|_| Err(Error::Internal("the call broke off".to_owned())))
        })
    }

    fn list(&self, filter: Filter, call: Call) -> BoxFuture<'_, Result<Page, Error>> {
        self.0.dns.list(filter, call)
    }

    fn verify(
        &self,
        expectations: Vec<Expectation>,
        wait: Duration,
        call: Call,
    ) -> BoxFuture<'_, Result<Vec<Verification>, Error>> {
        Box::pin(async move {
            // Its budget begins when it is sent. Nobody closes the semaphore.
            let _place = self.0.verifying.acquire().await.ok();
            self.0.dns.verify(expectations, wait, call).await
        })
    }

    fn repair(&self, zone: String, call: Call) -> BoxFuture<'_, Result<Page, Error>> {
        self.0.dns.repair(zone, call)
    }

    fn diagnose(&self, call: Call) -> BoxFuture<'_, Result<Vec<Check>, Error>> {
        self.0.dns.diagnose(call)
    }
}

#[cfg(test)]
mod tests {
    use dns_manager_host::contract::{Rdata, RecordSet};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::change;
    use crate::testing::FakeDns;

    fn add(name: &str, last: u8) -> Change {
        let data = vec![Rdata::A((192, 0, 2, last))];
        change::of(Action::Add(RecordSet { name: name.to_owned(), ttl: Some(300), data }), None)
    }

    #[tokio::test]
    async fn what_waits_goes_together_and_each_has_his_own_answers() {
        let fake = Arc::new(FakeDns::default());
        let dns = Arc::new(Batching::new(fake.clone()));
        let calls = (0..20).map(|number| {
            let dns = Arc::clone(&dns);
            async move {
                let changes =
                    vec![add(&format!("a-{number}.example.com"), 1), add(&format!("b-{number}.example.com"), 2)];
                dns.apply(changes, Call::default()).await.unwrap()
            }
        });

        let answers = join_all(calls).await;

        for (number, outcomes) in answers.iter().enumerate() {
            let names: Vec<_> = outcomes.iter().map(|outcome| outcome.after[0].name.clone()).collect();
            assert_eq!(names, [format!("a-{number}.example.com"), format!("b-{number}.example.com")]);
        }
        let asked = fake.asked();
        assert!(asked.len() < 5, "{asked:?}");
        assert_eq!(fake.stored().len(), 40);
    }

    #[tokio::test]
    async fn two_changes_of_one_name_are_never_in_one_call() {
        let fake = Arc::new(FakeDns::default());
        let dns = Batching::new(fake.clone());
        let one = |last| dns.apply(vec![add("web.example.com", last)], Call::default());

        let (first, second, third) = tokio::join!(one(1), one(2), one(3));

        assert!(first.is_ok() && second.is_ok() && third.is_ok());
        assert_eq!(fake.asked(), ["apply 1", "apply 1", "apply 1"]);
    }

    #[tokio::test]
    async fn after_a_call_that_breaks_down_the_next_one_works() {
        let fake = Arc::new(FakeDns::default());
        let dns = Batching::new(fake.clone());
        fake.set_broken(true);
        let broken = dns.apply(vec![add("a.example.com", 1)], Call::default()).await;
        assert!(matches!(broken, Err(Error::Internal(_))), "{broken:?}");

        fake.set_broken(false);
        assert!(dns.apply(vec![add("b.example.com", 1)], Call::default()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_longer_than_his_budget_is_told_and_nothing_is_done() {
        let fake = Arc::new(FakeDns::default());
        fake.set_stalled(true);
        let dns = Batching::new(fake.clone());
        let one = |name: &str, budget| {
            let call = Call { budget: Duration::from_secs(budget), ..Call::default() };
            dns.apply(vec![add(name, 1)], call)
        };
        let behind = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tokio::join!(one("b.example.com", 5), one("c.example.com", 60))
        };
        let end = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            fake.set_stalled(false);
        };

        let (first, (hasty, patient), ()) = tokio::join!(one("a.example.com", 30), behind, end);

        assert!(first.is_ok() && patient.is_ok(), "{first:?} {patient:?}");
        assert!(matches!(hasty, Err(Error::Busy { .. })), "{hasty:?}");
        assert_eq!(fake.stored(), ["a.example.com 192.0.2.1 -", "c.example.com 192.0.2.1 -"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_little_time_left_takes_none_from_the_others() {
        let fake = Arc::new(FakeDns::default());
        let dns = Batching::new(fake.clone());
        let one = |name: &str, budget| {
            let call = Call { budget: Duration::from_secs(budget), ..Call::default() };
            dns.apply(vec![add(name, 1)], call)
        };

        let (first, hasty, last) =
            tokio::join!(one("a.example.com", 30), one("b.example.com", 1), one("c.example.com", 30));

        assert!(first.is_ok() && hasty.is_ok() && last.is_ok());
        assert_eq!(fake.asked().len(), 3, "the hasty one has a call of his own: {:?}", fake.asked());
    }

    /// A caller of his own, who may go.
    fn one(dns: &Arc<Batching>, name: &'static str) -> JoinHandle<Result<Vec<Outcome>, Error>> {
        let dns = Arc::clone(dns);
        tokio::spawn(async move { dns.apply(vec![add(name, 1)], Call::default()).await })
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_somebody_who_has_gone_is_not_begun() {
        let fake = Arc::new(FakeDns::default());
        fake.set_stalled(true);
        let dns = Arc::new(Batching::new(fake.clone()));
        let one = |name| one(&dns, name);
        let first = one("a.example.com");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let gone = one("b.example.com");
        tokio::time::sleep(Duration::from_secs(1)).await;
        gone.abort();
        let last = one("c.example.com");
        tokio::time::sleep(Duration::from_secs(1)).await;

        fake.set_stalled(false);

        assert!(first.await.unwrap().is_ok() && last.await.unwrap().is_ok());
        assert_eq!(fake.stored(), ["a.example.com 192.0.2.1 -", "c.example.com 192.0.2.1 -"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_for_nobody_any_more_is_broken_off() {
        let fake = Arc::new(FakeDns::default());
        fake.set_stalled(true);
        let dns = Arc::new(Batching::new(fake.clone()));
        let one = |name| one(&dns, name);
        let gone = one("a.example.com");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let last = one("b.example.com");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fake.asked().len(), 1, "the second one waits for the first");

        gone.abort();
        tokio::time::sleep(Duration::from_secs(1)).await;

        assert_eq!(fake.asked().len(), 2, "the first one is waited for no more, though nobody has answered it");
        fake.set_stalled(false);
        assert!(last.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn verifications_leave_places_to_others() {
        let fake = Arc::new(FakeDns::default());
        fake.set_stalled(true);
        let dns = Arc::new(Batching::new(fake.clone()));
        let verifications: Vec<_> = (0..20)
            .map(|_| {
                let dns = Arc::clone(&dns);
                tokio::spawn(async move { dns.verify(Vec::new(), Duration::from_secs(60), Call::default()).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fake.asked(), ["verify 0"; 8], "half of the places");

        fake.set_stalled(false);
        assert!(join_all(verifications).await.into_iter().all(|verified| verified.unwrap().is_ok()));
        assert_eq!(fake.asked().len(), 20);
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_not_done_again() {
        let fake = Arc::new(FakeDns::default());
        fake.set_breaking_off(true);
        let dns = Batching::new(fake.clone());
        let one = |name: &str| dns.apply(vec![add(name, 1)], Call::default());

        let (first, second) = tokio::join!(one("a.example.com"), one("b.example.com"));

        assert!(matches!(first, Err(Error::OutOfCpu { .. })), "{first:?}");
        let Err(Error::Internal(why)) = second else { panic!("{second:?}") };
        assert!(why.contains("broke off: the plugin used more processor time"), "{why}");
        assert_eq!(fake.asked(), ["apply 2"]);
    }

    #[tokio::test]
    async fn an_error_is_told_to_everybody() {
        let fake = Arc::new(FakeDns::default());
        fake.set_unavailable(true);
        let dns = Batching::new(fake.clone());
        let one = |name: &str| dns.apply(vec![add(name, 1)], Call::default());

        let (first, second) = tokio::join!(one("a.example.com"), one("b.example.com"));

        assert!(matches!(first, Err(Error::Refused(_))) && matches!(second, Err(Error::Refused(_))));
    }
}
