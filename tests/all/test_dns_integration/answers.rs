//! Proof by volume: after random changes, CoreDNS answers random questions as
//! the RFCs ask, and where stock CoreDNS cannot, as is known of it.
//!
//! `make prove QUERIES=200000` asks as many as wanted. A case that fails is
//! printed with its seed, after everything that does not matter was left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use dns_manager_host::DnsManager;
use dns_manager_tests::{
    app,
    coredns::{CoreDns, Plan},
    dns::{self, Transport},
    etcd::Etcd,
    generator::{Generator, WORLD, ZONES},
    left_out::say,
    model::{Deed, Model, Step},
    oracle::{self, Expected, Limit, Oracle, Question, Reply},
    shrink::shrink,
    site::{self, Site, test_name},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Asked of each CoreDNS, unless `DNS_MANAGER_QUERIES` says how many in all.
const QUERIES: usize = 3_000;
/// Calls of one case.
const CALLS: usize = 16;
/// Questions after each call.
const QUESTIONS: usize = 20;
/// Questions at one time.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn random_changes_are_answered_as_the_rfcs_ask() {
    let releases = site::installed();
    let queries = number::<usize>("DNS_MANAGER_QUERIES").map_or(QUERIES, |all| all.div_ceil(releases.len().max(1)));
    let seed = number("DNS_MANAGER_SEED").unwrap_or_else(rand::random);
    for release in releases {
        let proof = Proof::new(release, None).await;
        let mut tally = Tally::default();
        let begin = Instant::now();
        for seed in seed.. {
            if tally.queries >= queries {
                break;
            }
            proof.case(seed, &mut tally).await.unwrap_or_else(|failure| panic!("{failure}"));
        }
        say(&format!("{}: {release:?} etcd, seed {seed}, {:.0?}: {tally}\n", test_name(), begin.elapsed()));
    }
}

/// The oracle is no yes-man: whatever the layout has is missed when it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_go_missing_are_noticed_and_the_case_is_shrunk() {
    let Some(release) = site::installed().into_iter().next() else { return };
    let losses: [(&str, Loss); 7] = [
        ("records", |key| key.contains("/A-")),
        ("markers", |key| !key.contains(['!', '@', '~']) && !key.contains(|c: char| c.is_ascii_uppercase())),
        ("guards", |key| key.ends_with("/@GUARD") && !key.ends_with("/apex/@GUARD")),
        ("guards of the apex's addresses", |key| key.ends_with("/dns/apex/@GUARD")),
        ("alias guards", |key| key.contains("/!A/")),
        ("ends of alias guards", |key| key.ends_with("/!B")),
        ("weights", |key| key.contains("/W-")),
    ];
    for (what, is_lost) in losses {
        let proof = Proof::new(release, Some(is_lost)).await;
        let mut tally = Tally::default();
        let mut found = None;
        for seed in 1..=60 {
            if let Err(failure) = proof.case(seed, &mut tally).await {
                found = Some(failure);
                break;
            }
        }
        let failure = found.unwrap_or_else(|| panic!("without {what}, nothing was noticed: {tally}"));
        assert!(failure.contains("DNS_MANAGER_SEED="), "{failure}");
        let changes = failure.lines().filter(|line| line.starts_with("  change: ")).count();
        assert!((1..=6).contains(&changes), "without {what}, shrunk to {changes} changes: {failure}");
    }
}

/// Which keys get lost.
type Loss = fn(&str) -> bool;

/// One site, one manager, and keys that get lost on the way.
struct Proof {
    site: Site,
    manager: DnsManager,
    /// Keys that are taken away behind the component's back.
    loss: Option<Loss>,
    world: Arc<Vec<String>>,
}

/// What was asked.
#[derive(Default)]
struct Tally {
    cases: usize,
    calls: usize,
    queries: usize,
    /// Questions that CoreDNS can never answer as the RFCs ask.
    limited: usize,
    limits: BTreeMap<Limit, usize>,
    not_compared: usize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cases, calls, queries, limited, limits, not_compared } = self;
        let by_rfc = queries - limited;
        write!(
            f,
            "{cases} cases, {calls} calls, {queries} queries, 0 wrong; {by_rfc} as the RFCs ask, {limited} as stock CoreDNS \
             can {limits:?}; {not_compared} not asked"
        )
    }
}

/// What is wrong: an answer to a question, or an outcome.
struct Wrong {
    question: Option<Question>,
    what: String,
}

impl Proof {
    async fn new(release: dns_manager_tests::etcd::Release, loss: Option<Loss>) -> Self {
        let etcd = Etcd::start(release).await;
        let world: Vec<String> = WORLD.iter().map(|record| (*record).to_owned()).collect();
        let plan = Plan { world: world.clone(), ..Plan::new(&etcd.url(), ZONES) };
        let coredns = CoreDns::start(plan).await;
        let zones = ZONES.iter().map(|zone| (*zone).to_owned()).collect();
        let site = Site { etcd, coredns, release, zones };
        let manager = app::manager(&site).await;
        Self { site, manager, loss, world: Arc::new(world) }
    }

    /// One sequence of changes, with questions after each call; what fails is shrunk.
    async fn case(&self, seed: u64, tally: &mut Tally) -> Result<(), String> {
        let mut generator = Generator::new(seed);
        let mut model = Model::new(ZONES);
        let mut calls = Vec::new();
        self.empty().await;
        tally.cases += 1;
        for _ in 0..CALLS {
            let call = generator.call();
            calls.push(call.clone());
            let made = self.make(&mut model, &call).await;
            tally.calls += 1;
            let wrong = match made {
                Err(wrong) => Some(wrong),
                Ok(()) => {
                    let questions = generator.questions(&model, &call, QUESTIONS);
                    self.ask(&model, questions, tally).await
                }
            };
            if let Some(wrong) = wrong {
                return Err(self.report(seed, calls, wrong).await);
            }
        }
        Ok(())
    }

    async fn empty(&self) {
        self.site.gateway().delete_below("/").await;
    }

    /// Makes the changes of one call, in the tree and in the model.
    async fn make(&self, model: &mut Model, call: &[Step]) -> Result<(), Wrong> {
        let outcomes = app::apply(&self.manager, call.iter().map(Step::change).collect()).await;
        for (step, outcome) in call.iter().zip(&outcomes) {
            let fate = model.make(step);
            if !fate.agrees(outcome.status) {
                let what = format!("{step:?}: expected {fate:?}, came {outcome:?}");
                return Err(Wrong { question: None, what });
            }
        }
        if let Some(is_lost) = self.loss {
            for key in self.site.tree().await.keys().into_iter().filter(|key| is_lost(key)) {
                self.site.gateway().delete(key).await;
            }
        }
        Ok(())
    }

    /// Asks all of these; the first that is answered wrong.
    async fn ask(&self, model: &Model, questions: Vec<Question>, tally: &mut Tally) -> Option<Wrong> {
        let oracle = Oracle { model, world: &self.world };
        let facts = Arc::new(oracle.facts());
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let server = self.site.coredns.address();
        let mut asking = JoinSet::new();
        for (number, (name, rr_type)) in questions.into_iter().enumerate() {
            let Some(expected) = oracle.expect(&name, rr_type) else {
                tally.not_compared += 1;
                continue;
            };
            tally.queries += 1;
            tally.limited += usize::from(!expected.limits.is_empty());
            for limit in &expected.limits {
                *tally.limits.entry(*limit).or_default() += 1;
            }
            let (facts, places) = (Arc::clone(&facts), Arc::clone(&places));
            asking.spawn(async move {
                let _place = places.acquire_owned().await;
                // The letter case of a question does not matter (RFC 4343).
                let asked = if number % 4 == 0 { name.to_uppercase() } else { name.clone() };
                let mut answer = ask(server, &asked, rr_type).await;
                // What CoreDNS asks itself beyond the zone is cut to a datagram's 512 octets, and does not say so.
                let is_alias = answer.answers.iter().any(|line| line.contains(" CNAME "));
                if is_alias && difference(&expected, &answer, &facts).is_some() {
                    answer = dns::ask(server, &asked, rr_type).await;
                }
                let what = difference(&expected, &answer, &facts)?;
                Some(Wrong { what: format!("{asked} {rr_type}: {what}"), question: Some((name, rr_type)) })
            });
        }
        let mut wrong = asking.join_all().await.into_iter().flatten();
        wrong.next()
    }

    /// Whether these calls, on an empty tree, are followed by something wrong.
    async fn fails(&self, calls: &[Vec<Step>], question: Option<&Question>) -> Option<Wrong> {
        self.empty().await;
        let mut model = Model::new(ZONES);
        for call in calls {
            if let Err(wrong) = self.make(&mut model, call).await {
                return Some(wrong);
            }
        }
        self.ask(&model, question.cloned().into_iter().collect(), &mut Tally::default()).await
    }

    /// Leaves out what it fails without: whole calls, single changes, single values.
    async fn report(&self, seed: u64, calls: Vec<Vec<Step>>, wrong: Wrong) -> String {
        let question = wrong.question.as_ref();
        let fails = async |calls: &[Vec<Step>]| self.fails(calls, question).await.is_some();
        let mut left = if fails(&calls).await { shrink(calls, fails).await } else { calls };
        let singles: Vec<Vec<Step>> = left.iter().flatten().map(|step| vec![step.clone()]).collect();
        if self.fails(&singles, question).await.is_some() {
            left = shrink(singles, fails).await;
        }
        for place in 0..left.len() {
            for number in 0..left[place].len() {
                let step = left[place][number].clone();
                if step.deed == Deed::Remove {
                    continue;
                }
                let values = shrink(step.values.clone(), async |values| {
                    let mut calls = left.clone();
                    calls[place][number].values = values.to_vec();
                    !values.is_empty() && self.fails(&calls, question).await.is_some()
                })
                .await;
                left[place][number].values = values;
            }
        }
        let again = self.fails(&left, question).await.unwrap_or(wrong);
        let calls: Vec<String> = left
            .iter()
            .map(|call| call.iter().map(|step| format!("  change: {step:?}\n")).collect::<String>())
            .collect();
        let tree: String =
            self.site.tree().await.values().iter().map(|(key, value)| format!("  {key} = {value}\n")).collect();
        format!(
            "wrong (DNS_MANAGER_SEED={seed} repeats it), on the {:?} etcd, after these calls:\n{}{}\nthe tree:\n{tree}",
            self.site.release,
            calls.join("  --\n"),
            again.what
        )
    }
}

/// Over UDP, and over TCP what does not fit.
async fn ask(server: std::net::SocketAddr, name: &str, rr_type: &str) -> dns::Answer {
    let patience = Duration::from_secs(15);
    match dns::try_ask(server, name, rr_type, Transport::Udp, patience).await {
        Ok(answer) if !answer.truncated => answer,
        Ok(_) => dns::ask(server, name, rr_type).await,
        Err(error) => panic!("{server} on {name} {rr_type}: {error}"),
    }
}

/// What an answer differs in.
fn difference(expected: &Expected, answer: &dns::Answer, facts: &BTreeSet<String>) -> Option<String> {
    let reply = Reply::of(answer);
    if reply != expected.reply || !answer.authoritative {
        return Some(format!("expected {:?} {:?}, came {answer:?}", expected.reply, expected.limits));
    }
    if reply.answers.len() != answer.answers.len() && expected.limits.is_empty() {
        return Some(format!("a record comes twice: {answer:?}"));
    }
    // What is added unasked has to be true (RFC 2181 5.4.1).
    let invented: Vec<&String> = answer
        .additional
        .iter()
        .filter(|line| !facts.contains(&oracle::plain(line)) && !oracle::plain(line).contains("(made up)"))
        // At these names, which nobody can register, CoreDNS answers with the name servers and the apex.
        .filter(|line| !line.starts_with("ns.dns.") && !line.starts_with("apex.dns."))
        // A zone without records has no keys: CoreDNS takes what a zone inside it holds for the names above that one.
        .filter(|line| !is_above_a_zone(line))
        .collect();
    (!invented.is_empty()).then(|| format!("the additional section invents {invented:?}: {answer:?}"))
}

/// Whether a line is about a name above a zone.
fn is_above_a_zone(line: &str) -> bool {
    let owner =
        line.split('.').take_while(|label| !label.starts_with(' ')).collect::<Vec<_>>().join(".").to_lowercase();
    ZONES.iter().any(|zone| zone.strip_suffix(&owner).is_some_and(|inner| inner.ends_with('.')))
}

fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
