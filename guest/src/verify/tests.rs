//! Fakes of the ports, and what verifying makes of answers.

use std::cell::{Cell, RefCell};

use super::*;
use crate::{
    ports::{Clock, HttpClient, HttpFault, HttpReply, Log, LogLevel, Resolver, Rr, Settings},
    rdata::Soa,
    reply::{NXDOMAIN, REFUSED, SERVFAIL},
};

pub(crate) type Reply = Result<Answer, DnsFault>;

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn timeout() -> Reply {
    Err(DnsFault::Timeout)
}

pub(crate) fn refused() -> Reply {
    Ok(Answer { rcode: REFUSED, ..Answer::default() })
}

pub(crate) fn servfail() -> Reply {
    Ok(Answer { rcode: SERVFAIL, ..Answer::default() })
}

fn soa_rr(owner: &str, mname: &str, ttl: u32) -> Rr {
    let rname = name(&format!("hostmaster.{owner}"));
    let soa = Soa { mname: name(mname), rname, serial: 1, refresh: 7200, retry: 1800, expire: 86400, minimum: 30 };
    Rr { name: name(owner), ttl, data: RData::Soa(soa) }
}

pub(crate) fn soa(owner: &str, mname: &str) -> Reply {
    Ok(Answer { authoritative: true, answers: vec![soa_rr(owner, mname, 30)], ..Answer::default() })
}

pub(crate) fn no_data(zone: &str, ttl: u32) -> Reply {
    let authorities = vec![soa_rr(zone, &format!("ns.dns.{zone}"), ttl)];
    Ok(Answer { authoritative: true, authorities, ..Answer::default() })
}

pub(crate) fn nxdomain(zone: &str, ttl: u32) -> Reply {
    no_data(zone, ttl).map(|answer| Answer { rcode: NXDOMAIN, ..answer })
}

pub(crate) fn rr(owner: &str, ttl: u32, data: RData) -> Rr {
    Rr { name: name(owner), ttl, data }
}

pub(crate) fn data(rrs: Vec<Rr>) -> Reply {
    Ok(Answer { authoritative: true, answers: rrs, ..Answer::default() })
}

pub(crate) fn a(text: &str) -> RData {
    RData::A(text.parse().unwrap())
}

/// Answers by a function and writes down what it was asked.
pub(crate) struct FakeResolver<'a> {
    servers: Vec<String>,
    answer: Box<dyn Fn(&Question) -> Reply + 'a>,
    asked: RefCell<Vec<Vec<Question>>>,
}

impl<'a> FakeResolver<'a> {
    pub(crate) fn new(servers: &[&str], answer: impl Fn(&Question) -> Reply + 'a) -> Self {
        let servers = servers.iter().map(ToString::to_string).collect();
        Self { servers, answer: Box::new(answer), asked: RefCell::default() }
    }

    pub(crate) fn asked(&self) -> Vec<Question> {
        self.asked.borrow().concat()
    }

    pub(crate) fn batches(&self) -> Vec<usize> {
        self.asked.borrow().iter().map(Vec::len).collect()
    }
}

impl Resolver for FakeResolver<'_> {
    fn servers(&self) -> Vec<String> {
        self.servers.clone()
    }

    fn ask(&self, questions: &[Question]) -> Vec<Reply> {
        self.asked.borrow_mut().push(questions.to_vec());
        questions.iter().map(&self.answer).collect()
    }
}

/// Moves when it is slept on, or moved.
#[derive(Default)]
pub(crate) struct FakeClock(Cell<Duration>);

impl FakeClock {
    pub(crate) fn advance(&self, duration: Duration) {
        self.0.set(self.0.get() + duration);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Duration {
        self.0.get()
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

type HttpAnswer<'a> = Box<dyn Fn(&str, Option<&[u8]>) -> Result<HttpReply, HttpFault> + 'a>;

/// All ports, by what is given.
pub(crate) struct FakePorts<'a> {
    pub(crate) clock: &'a FakeClock,
    pub(crate) resolver: FakeResolver<'a>,
    pub(crate) http: HttpAnswer<'a>,
    pub(crate) settings: Vec<(&'static str, &'static str)>,
}

impl<'a> FakePorts<'a> {
    pub(crate) fn new(clock: &'a FakeClock, resolver: FakeResolver<'a>) -> Self {
        let http = Box::new(|_: &str, _: Option<&[u8]>| Err(HttpFault::NotSent("connection refused".into())));
        Self { clock, resolver, http, settings: Vec::new() }
    }
}

impl HttpClient for FakePorts<'_> {
    fn send(&self, path: &str, body: Option<&[u8]>, _: Duration) -> Result<HttpReply, HttpFault> {
        (self.http)(path, body)
    }
}

impl Settings for FakePorts<'_> {
    fn get(&self, key: &str) -> Option<String> {
        self.settings.iter().find(|(known, _)| *known == key).map(|(_, value)| (*value).to_owned())
    }
}

impl Log for FakePorts<'_> {
    fn write(&self, _: LogLevel, _: &str) {}
}

impl Ports for FakePorts<'_> {
    fn http(&self) -> &dyn HttpClient {
        self
    }

    fn resolver(&self) -> &dyn Resolver {
        &self.resolver
    }

    fn clock(&self) -> &dyn Clock {
        self.clock
    }

    fn settings(&self) -> &dyn Settings {
        self
    }

    fn log(&self) -> &dyn Log {
        self
    }
}

const WAIT: Duration = Duration::from_secs(10);

/// Verifies within a budget of 30 s.
fn run(ports: &FakePorts<'_>, wanted: &[(&str, RrType, &[RData])], wait: Duration) -> Vec<Verification> {
    let budget = Budget::new(ports.clock, Duration::from_secs(30));
    let wanted = wanted.iter().map(|(text, rr_type, data)| (name(text), *rr_type, data.to_vec())).collect();
    verify(ports, wanted, wait, &budget)
}

/// The verification of `web.ex.test A 192.0.2.1` by one server that always answers this.
fn one(reply: &Reply) -> Verification {
    let clock = FakeClock::default();
    let ports = FakePorts::new(&clock, FakeResolver::new(&["s1"], |_| reply.clone()));
    run(&ports, &[("web.ex.test", RrType::A, &[a("192.0.2.1")])], Duration::ZERO).remove(0)
}

#[test]
fn values_are_compared_as_sets() {
    let clock = FakeClock::default();
    let resolver = FakeResolver::new(&["s1"], |_| {
        data(vec![
            rr("web.ex.test", 60, a("192.0.2.2")),
            rr("web.ex.test", 30, a("192.0.2.1")),
            rr("web.ex.test", 60, a("192.0.2.2")),
            rr("other.ex.test", 5, a("192.0.2.9")),
            rr("web.ex.test", 5, RData::Txt(b"of another type".to_vec())),
        ])
    });
    let ports = FakePorts::new(&clock, resolver);

    let expected = [a("192.0.2.2"), a("192.0.2.1"), a("192.0.2.1")];
    let verified = run(&ports, &[("web.ex.test", RrType::A, &expected)], WAIT).remove(0);

    assert_eq!(verified.verdict, Verdict::Verified);
    assert_eq!(verified.expected, [a("192.0.2.1"), a("192.0.2.2")]);
    let seen = &verified.answers[0];
    assert_eq!((seen.ttl, seen.rcode, seen.authoritative), (Some(30), Some(0), true));
    assert_eq!(seen.data, [a("192.0.2.1"), a("192.0.2.2")]);
    assert_eq!(ports.resolver.asked().len(), 1);
}

#[test]
fn every_server_has_its_verdict_and_the_gravest_counts() {
    let clock = FakeClock::default();
    let resolver = FakeResolver::new(&["good", "gone", "silent", "old"], |question| match question.server.as_str() {
        "good" => data(vec![rr("web.ex.test", 60, a("192.0.2.1"))]),
        "gone" => nxdomain("ex.test", 30),
        "silent" => timeout(),
        _ => data(vec![rr("web.ex.test", 60, a("192.0.2.7"))]),
    });
    let ports = FakePorts::new(&clock, resolver);

    let verified = run(&ports, &[("web.ex.test", RrType::A, &[a("192.0.2.1")])], WAIT).remove(0);

    let verdicts: Vec<_> = verified.answers.iter().map(|seen| seen.verdict).collect();
    assert_eq!(verdicts, [Verdict::Verified, Verdict::NotFound, Verdict::Unreachable, Verdict::Mismatch]);
    assert_eq!(verified.verdict, Verdict::Mismatch);
    assert_eq!(verified.answers[1].ttl, Some(30), "of the SOA");
    assert!(verified.elapsed <= WAIT && verified.elapsed > WAIT / 2, "{:?}", verified.elapsed);
}

#[test]
fn a_server_that_catches_up_is_verified() {
    let clock = FakeClock::default();
    let resolver = FakeResolver::new(&["s1"], |_| match clock.now() {
        early if early < Duration::from_secs(3) => nxdomain("ex.test", 30),
        _ => data(vec![rr("web.ex.test", 60, a("192.0.2.1"))]),
    });
    let ports = FakePorts::new(&clock, resolver);

    let verified = run(&ports, &[("web.ex.test", RrType::A, &[a("192.0.2.1")])], WAIT).remove(0);

    assert_eq!(verified.verdict, Verdict::Verified);
    assert!(
        verified.elapsed >= Duration::from_secs(3) && verified.elapsed < Duration::from_secs(5),
        "{:?}",
        verified.elapsed
    );
}

#[test]
fn no_server_is_asked_again_once_verified() {
    let clock = FakeClock::default();
    let resolver = FakeResolver::new(&["s1", "s2"], |question| match question.server.as_str() {
        "s1" => data(vec![rr("web.ex.test", 60, a("192.0.2.1"))]),
        _ => nxdomain("ex.test", 30),
    });
    let ports = FakePorts::new(&clock, resolver);

    run(&ports, &[("web.ex.test", RrType::A, &[a("192.0.2.1")])], WAIT);

    let asked = ports.resolver.asked();
    assert_eq!(asked.iter().filter(|question| question.server == "s1").count(), 1);
    assert!(asked.iter().filter(|question| question.server == "s2").count() > 5);
}

#[test]
fn without_a_wait_every_server_is_asked_once() {
    let clock = FakeClock::default();
    let ports = FakePorts::new(&clock, FakeResolver::new(&["s1", "s2"], |_| nxdomain("ex.test", 30)));

    run(&ports, &[("web.ex.test", RrType::A, &[a("192.0.2.1")])], Duration::ZERO);

    assert_eq!(ports.resolver.batches(), [2]);
}

#[test]
fn a_lost_datagram_is_no_answer() {
    for (lost, verdict, asked) in [(1, Verdict::Verified, 2), (2, Verdict::Unreachable, 2)] {
        let (clock, round) = (FakeClock::default(), Cell::new(0));
        let resolver = FakeResolver::new(&["s1", "s2"], |question| match question.server.as_str() {
            "s1" => {
                round.set(round.get() + 1);
                if round.get() <= lost { timeout() } else { data(vec![rr("web.ex.test", 60, a("192.0.2.1"))]) }
            }
            _ => nxdomain("ex.test", 30),
        });
        let ports = FakePorts::new(&clock, resolver);

        let verified = run(&ports, &[("web.ex.test", RrType::A, &[a("192.0.2.1")])], Duration::ZERO).remove(0);

        let verdicts: Vec<_> = verified.answers.iter().map(|seen| seen.verdict).collect();
        assert_eq!(verdicts, [verdict, Verdict::NotFound]);
        let questions = ports.resolver.asked();
        assert_eq!(questions.iter().filter(|question| question.server == "s1").count(), asked);
        assert_eq!(questions.iter().filter(|question| question.server == "s2").count(), 1);
    }
}

#[test]
fn absence_is_verified_by_nxdomain_and_by_no_data() {
    let alias = || data(vec![rr("web.ex.test", 60, RData::Cname(name("x.ex.test")))]);
    let referral =
        || Ok(Answer { authorities: vec![rr("ex.test", 60, RData::Ns(name("a.test")))], ..Answer::default() });
    let cases = [
        (nxdomain("ex.test", 30), Verdict::Verified),
        (no_data("ex.test", 30), Verdict::Verified),
        (alias(), Verdict::Verified),
        (data(vec![rr("web.ex.test", 60, a("192.0.2.1"))]), Verdict::Mismatch),
        (servfail(), Verdict::Unreachable),
        // It knows nothing of the name, so its silence about it is no proof.
        (referral(), Verdict::Unreachable),
    ];
    for (reply, verdict) in cases {
        let clock = FakeClock::default();
        let ports = FakePorts::new(&clock, FakeResolver::new(&["s1"], |_| reply.clone()));
        let verified = run(&ports, &[("web.ex.test", RrType::A, &[])], Duration::ZERO).remove(0);
        assert_eq!(verified.verdict, verdict, "{reply:?}");
    }
}

#[test]
fn refused_is_unreachable_and_says_why() {
    let truncated = || {
        let answers = vec![rr("web.ex.test", 60, a("192.0.2.1"))];
        Ok(Answer { truncated: true, authoritative: true, answers, ..Answer::default() })
    };
    let cases = [
        (refused(), Code::Protocol, "add its zone to the `etcd` block of the Corefile"),
        (servfail(), Code::Unavailable, "s1 answered SERVFAIL"),
        (timeout(), Code::Unavailable, "s1 did not answer in time"),
        (Err(DnsFault::Unreachable("port closed".into())), Code::Unavailable, "(port closed)"),
        (Err(DnsFault::Malformed("3 octets".into())), Code::Protocol, "is it a DNS server?"),
        (Err(DnsFault::Denied), Code::Denied, "policy"),
        (Ok(Answer { rcode: 4, ..Answer::default() }), Code::Protocol, "NOTIMP"),
        (truncated(), Code::Protocol, "truncated"),
    ];
    for (reply, code, part) in cases {
        let verified = one(&reply);
        let Reason { code: seen, message } = verified.answers[0].problem.clone().unwrap();
        assert_eq!((verified.verdict, seen), (Verdict::Unreachable, code), "{reply:?}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn an_alias_in_the_way_is_named() {
    let verified = one(&data(vec![rr("web.ex.test", 60, RData::Cname(name("x.ex.test")))]));
    assert_eq!(verified.verdict, Verdict::NotFound);
    let problem = verified.answers[0].problem.clone().unwrap();
    assert_eq!(problem.message, "`web.ex.test` is an alias of `x.ex.test`; A cannot stand beside a CNAME");
}

#[test]
fn a_ttl_that_counts_down_tells_a_cache() {
    let clock = FakeClock::default();
    let left = || 300 - u32::try_from(clock.now().as_secs()).unwrap();
    let resolver = FakeResolver::new(&["positive", "negative", "fresh"], |question| match question.server.as_str() {
        "positive" => data(vec![rr("web.ex.test", left(), a("192.0.2.7"))]),
        "negative" => nxdomain("ex.test", left()),
        _ => nxdomain("ex.test", 30),
    });
    let ports = FakePorts::new(&clock, resolver);

    let verified = run(&ports, &[("web.ex.test", RrType::A, &[a("192.0.2.1")])], WAIT).remove(0);

    let problems: Vec<_> = verified.answers.iter().map(|seen| seen.problem.as_ref().map(ToString::to_string)).collect();
    let cached = Some("a stale answer out of a cache, for 291 more seconds".to_owned());
    assert_eq!(problems, [cached.clone(), cached, None]);
}

#[test]
fn silence_does_not_hide_the_last_answer() {
    let clock = FakeClock::default();
    let resolver = FakeResolver::new(&["s1"], |_| match clock.now() {
        Duration::ZERO => data(vec![rr("web.ex.test", 60, a("192.0.2.7"))]),
        _ => timeout(),
    });
    let ports = FakePorts::new(&clock, resolver);

    let verified = run(&ports, &[("web.ex.test", RrType::A, &[a("192.0.2.1")])], WAIT).remove(0);

    assert_eq!(verified.verdict, Verdict::Mismatch);
    assert_eq!(verified.answers[0].data, [a("192.0.2.7")]);
}

#[test]
fn it_returns_within_the_budget() {
    let clock = FakeClock::default();
    let resolver = FakeResolver::new(&["s1"], |question| {
        // Of each part, one is answered, and the others are waited for in vain, side by side.
        match question.name.to_string().as_str() {
            "h0.ex.test" | "h64.ex.test" | "h128.ex.test" => {
                clock.advance(question.timeout);
                servfail()
            }
            _ => timeout(),
        }
    });
    let ports = FakePorts::new(&clock, resolver);
    let budget = Budget::new(&clock, Duration::from_millis(1500));
    let wanted = (0..600).map(|i| (name(&format!("h{i}.ex.test")), RrType::A, vec![a("192.0.2.1")])).collect();

    let verified = verify(&ports, wanted, Duration::from_secs(60), &budget);

    assert_eq!(verified.len(), 600);
    assert!(clock.now() < Duration::from_millis(1500), "{:?}", clock.now());
    let codes: Vec<_> = [1, 100, 599].map(|i: usize| verified[i].answers[0].problem.clone().unwrap().code).into();
    assert_eq!(codes, [Code::Unavailable, Code::Unavailable, Code::Deadline]);
}

#[test]
fn a_silent_server_does_not_hold_up_the_others() {
    let clock = FakeClock::default();
    let resolver = FakeResolver::new(&["dead", "good"], |question| match question.server.as_str() {
        "dead" => timeout(),
        _ => nxdomain("ex.test", 30),
    });
    let ports = FakePorts::new(&clock, resolver);
    let names: Vec<_> = (0..150).map(|i| format!("h{i}.ex.test")).collect();
    let wanted: Vec<_> = names.iter().map(|name| (name.as_str(), RrType::A, [].as_slice())).collect();

    let verified = run(&ports, &wanted, Duration::ZERO);

    let asked = ports.resolver.asked();
    assert_eq!(asked.iter().filter(|question| question.server == "dead").count(), 2 * 64);
    assert_eq!(asked.iter().filter(|question| question.server == "good").count(), 150);
    for item in verified {
        let verdicts: Vec<_> = item.answers.iter().map(|seen| seen.verdict).collect();
        assert_eq!(verdicts, [Verdict::Unreachable, Verdict::Verified]);
        assert_eq!(item.answers[0].problem.as_ref().map(|problem| &problem.code), Some(&Code::Unavailable));
    }
}

#[test]
fn without_name_servers_nothing_is_verified() {
    let clock = FakeClock::default();
    let ports = FakePorts::new(&clock, FakeResolver::new(&[], |_| timeout()));

    let verified = run(&ports, &[("a.ex.test", RrType::A, &[]), ("b.ex.test", RrType::A, &[])], WAIT);

    assert_eq!(verified.len(), 2);
    assert!(verified.iter().all(|item| item.verdict == Verdict::Unreachable && item.answers.is_empty()));
    assert_eq!(ports.resolver.batches(), [] as [usize; 0]);
}
