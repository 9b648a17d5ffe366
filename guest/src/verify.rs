//! Verification: do all name servers answer with what is expected?
//!
//! Every (name, type) is asked of every name server, side by side, until each has answered as expected or the time is
//! over. What was answered as expected once is not asked again. Types and what is stored are the manager's business.

use std::time::Duration;

use crate::{
    budget::Budget,
    discovery::PART,
    name::Name,
    ports::{Answer, DnsFault, Ports, Question},
    rdata::{RData, RrType},
    reason::{Code, Reason},
    retry::Backoff,
    verification::{Seen, Verdict, Verification},
};

/// For one exchange in the first round; it doubles with each round.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
/// The most for one exchange: CoreDNS answers SERVFAIL when etcd has kept it waiting for 5 seconds.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(6);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// So many questions without any answer are no accident.
const MANY: usize = 16;
/// With less time than this, another round is not worth it.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);
/// Kept free of the budget for the way back; less when the budget is short.
const RESERVE: Duration = Duration::from_millis(250);

/// Asks every name server for every (name, type) until all answer with exactly these values (none: no value of the
/// type), or `wait` or the budget is over. Every server is asked at least once. Verification i is for item i.
pub fn verify(
    ports: &dyn Ports,
    wanted: Vec<(Name, RrType, Vec<RData>)>,
    wait: Duration,
    budget: &Budget<'_>,
) -> Vec<Verification> {
    let servers = ports.resolver().servers();
    let wanted: Vec<Wanted> = wanted.into_iter().map(Wanted::from).collect();
    let mut probes: Vec<Probe<'_>> =
        wanted.iter().flat_map(|wanted| servers.iter().map(move |server| Probe::new(wanted, server))).collect();

    let start = ports.clock().now();
    let reserve = RESERVE.min(budget.left() / 10);
    let within_budget = || budget.left().saturating_sub(reserve);
    let within_wait = || (start + wait).saturating_sub(ports.clock().now()).min(within_budget());

    ask(ports, &mut probes, FIRST_TIMEOUT, &within_budget);
    let mut timeout = FIRST_TIMEOUT;
    let mut backoff = Backoff::new(FIRST_PAUSE, u64::from(start.subsec_nanos()));
    while probes.iter().any(Probe::is_open) && within_wait() >= SHORTEST_ROUND {
        // Half of what is left at most, so that the end of the wait does not pass unseen in one long pause.
        budget.sleep(backoff.next().min(LONGEST_PAUSE).min(within_wait() / 2));
        timeout = (timeout * 2).min(LONGEST_TIMEOUT);
        ask(ports, &mut probes, timeout, &within_wait);
    }

    let mut probes = probes.into_iter();
    wanted.iter().map(|wanted| wanted.conclude(probes.by_ref().take(servers.len()), start)).collect()
}

/// Puts the open questions, once each, as long as there is time.
///
/// They go server by server: one that stays silent to many is not asked for the rest, since each part would cost a
/// timeout, for the others too.
fn ask(ports: &dyn Ports, probes: &mut [Probe<'_>], timeout: Duration, left: &dyn Fn() -> Duration) {
    let mut open: Vec<_> = probes.iter_mut().filter(|probe| probe.is_open()).collect();
    open.sort_by_key(|probe| probe.server);
    let mut silent: Option<(&str, Result<Answer, DnsFault>)> = None;
    for part in open.chunks_mut(PART) {
        let mut asked = Vec::with_capacity(part.len());
        for probe in part {
            match &silent {
                Some((server, reply)) if *server == probe.server => probe.take(reply, ports.clock().now()),
                _ => asked.push(probe),
            }
        }
        // Only the last server of a part is in the next one, too.
        let Some(last) = asked.last().map(|probe| probe.server) else { continue };
        let timeout = timeout.min(left());
        if timeout < Duration::from_millis(1) {
            return;
        }
        let questions: Vec<_> = asked.iter().map(|probe| probe.question(timeout)).collect();
        let replies = ports.resolver().ask(&questions);
        let now = ports.clock().now();
        for (probe, reply) in asked.iter_mut().zip(&replies) {
            probe.take(reply, now);
        }
        let replies: Vec<_> =
            asked.iter().zip(replies).filter(|(probe, _)| probe.server == last).map(|(_, reply)| reply).collect();
        if replies.len() >= MANY && replies.iter().all(Result::is_err) {
            silent = replies.into_iter().next().map(|reply| (last, reply));
        }
    }
}

/// What is to be answered.
struct Wanted {
    name: Name,
    rr_type: RrType,
    /// Sorted, none twice.
    expected: Vec<RData>,
}

impl From<(Name, RrType, Vec<RData>)> for Wanted {
    fn from((name, rr_type, expected): (Name, RrType, Vec<RData>)) -> Self {
        Self { name, rr_type, expected: as_set(expected) }
    }
}

impl Wanted {
    fn conclude<'a>(&self, probes: impl Iterator<Item = Probe<'a>>, start: Duration) -> Verification {
        let mut elapsed = Duration::ZERO;
        let mut answers = Vec::new();
        for probe in probes {
            elapsed = elapsed.max(probe.answered.saturating_sub(start));
            answers.push(probe.seen);
        }
        Verification {
            name: self.name.clone(),
            rr_type: self.rr_type,
            // Without name servers there is nobody to confirm anything.
            verdict: answers.iter().map(|seen| seen.verdict).max().unwrap_or(Verdict::Unreachable),
            expected: self.expected.clone(),
            answers,
            elapsed,
        }
    }

    /// Compares a reply with what is wanted.
    fn judge(&self, server: &str, reply: &Result<Answer, DnsFault>) -> Seen {
        let mut seen = Seen {
            server: server.to_owned(),
            verdict: Verdict::Unreachable,
            rcode: None,
            authoritative: false,
            ttl: None,
            data: Vec::new(),
            problem: trouble_of(server, reply).map(|trouble| Reason::new(trouble.code, trouble.message)),
        };
        let Ok(answer) = reply else { return seen };
        let at_name = || answer.answers.iter().filter(|rr| rr.name == self.name);
        let of_type = || at_name().filter(|rr| rr.data.rr_type() == self.rr_type);
        let negative_ttl =
            || answer.authorities.iter().filter(|rr| rr.data.rr_type() == RrType::Soa).map(|rr| rr.ttl).min();

        seen.rcode = Some(answer.rcode);
        seen.authoritative = answer.authoritative;
        seen.ttl = of_type().map(|rr| rr.ttl).min().or_else(negative_ttl);
        seen.data = as_set(of_type().map(|rr| rr.data.clone()).collect());
        if seen.problem.is_some() {
            return seen;
        }
        if seen.data.is_empty() && is_referral(answer) {
            let message = format!("{server} refers to other servers: it does not serve `{}` itself", self.name);
            seen.problem = Some(Reason::new(Code::Protocol, message));
        } else if seen.data == self.expected {
            seen.verdict = Verdict::Verified;
        } else if seen.data.is_empty() {
            seen.verdict = Verdict::NotFound;
            seen.problem = at_name().find_map(|rr| match &rr.data {
                RData::Cname(target) => Some(Reason::new(
                    Code::Coexistence,
                    format!("`{}` is an alias of `{target}`; {} cannot stand beside a CNAME", self.name, self.rr_type),
                )),
                _ => None,
            });
        } else {
            seen.verdict = Verdict::Mismatch;
        }
        seen
    }
}

/// Tells whether an answer without data says nothing about the name (RFC 2308 2.2): only AA, NXDOMAIN or a SOA do.
fn is_referral(answer: &Answer) -> bool {
    answer.rcode == NOERROR
        && !answer.authoritative
        && answer.answers.is_empty()
        && !answer.authorities.iter().any(|rr| rr.data.rr_type() == RrType::Soa)
}

/// One thing wanted of one server.
struct Probe<'a> {
    wanted: &'a Wanted,
    server: &'a str,
    seen: Seen,
    /// When the last reply came.
    answered: Duration,
    /// When the present answer was seen first, and its TTL then.
    first_seen: Option<(Duration, u32)>,
}

impl<'a> Probe<'a> {
    fn new(wanted: &'a Wanted, server: &'a str) -> Self {
        let seen = Seen {
            server: server.to_owned(),
            verdict: Verdict::Unreachable,
            rcode: None,
            authoritative: false,
            ttl: None,
            data: Vec::new(),
            problem: Some(Reason::new(
                Code::Deadline,
                format!("{server} was not asked: the budget was used up before; give it more time or fewer names"),
            )),
        };
        Self { wanted, server, seen, answered: Duration::ZERO, first_seen: None }
    }

    fn is_open(&self) -> bool {
        self.seen.verdict != Verdict::Verified
    }

    fn question(&self, timeout: Duration) -> Question {
        let Wanted { name, rr_type, .. } = self.wanted;
        Question { server: self.server.to_owned(), name: name.clone(), rr_type: *rr_type, timeout }
    }

    /// Takes a reply that came at `now`.
    fn take(&mut self, reply: &Result<Answer, DnsFault>, now: Duration) {
        self.answered = now;
        // Silence does not replace an answer: what was answered last is the more telling.
        if reply.is_err() && self.seen.rcode.is_some() {
            return;
        }
        let mut seen = self.wanted.judge(self.server, reply);
        let same = (seen.rcode, &seen.data) == (self.seen.rcode, &self.seen.data);
        let first_seen = self.first_seen.filter(|_| same);
        self.first_seen = match (first_seen, seen.ttl) {
            // It does not rise in a cache.
            (Some((at, ttl)), Some(now_ttl)) if now_ttl <= ttl => Some((at, ttl)),
            (_, ttl) => ttl.map(|ttl| (now, ttl)),
        };
        if matches!(seen.verdict, Verdict::NotFound | Verdict::Mismatch) && seen.problem.is_none() {
            seen.problem = self.stale(&seen, now);
        }
        self.seen = seen;
    }

    /// Says that an unexpected answer comes out of a cache, where that can be seen.
    fn stale(&self, seen: &Seen, now: Duration) -> Option<Reason> {
        let ttl = seen.ttl?;
        let message = match self.first_seen {
            Some((at, first)) if counts_down(first, ttl, now.saturating_sub(at)) => {
                format!("a cached answer, for {ttl} more seconds")
            }
            _ if !seen.authoritative => {
                format!("not an authoritative answer: perhaps a cached one, for {ttl} more seconds")
            }
            _ => return None,
        };
        Some(Reason::new(Code::Unavailable, message))
    }
}

/// Tells whether a TTL fell as it does in a cache: no faster than the time (a record that was changed falls at once).
fn counts_down(first: u32, now: u32, passed: Duration) -> bool {
    first.checked_sub(now).is_some_and(|fallen| fallen > 0 && u64::from(fallen) <= passed.as_secs() + 1)
}

/// Sorted, none twice.
fn as_set(mut data: Vec<RData>) -> Vec<RData> {
    data.sort();
    data.dedup();
    data
}

const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const SERVFAIL: u16 = 2;
pub(crate) const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const NOTAUTH: u16 = 9;

/// Why a reply says nothing about a name.
pub(crate) struct Trouble {
    /// For programs.
    pub(crate) code: Code,
    /// What was seen of which server, and what to do.
    pub(crate) message: String,
    /// The server said that it does not serve the name.
    pub(crate) refused: bool,
}

/// Why a reply says nothing about the name asked for; none: it does.
pub(crate) fn trouble_of(server: &str, reply: &Result<Answer, DnsFault>) -> Option<Trouble> {
    let trouble = |code, message| Some(Trouble { code, message, refused: false });
    match reply {
        Err(DnsFault::Timeout) => trouble(
            Code::Unavailable,
            format!("{server} did not answer in time: is CoreDNS running there, and is its UDP port open?"),
        ),
        Err(DnsFault::Unreachable(why)) => trouble(
            Code::Unavailable,
            format!("{server} was not reached ({why}): is CoreDNS running there, and is `nameservers` right?"),
        ),
        Err(DnsFault::Malformed(why)) => {
            trouble(Code::Protocol, format!("{server} sent what is no answer ({why}): is it a DNS server?"))
        }
        Err(DnsFault::Denied) => trouble(
            Code::Denied,
            format!("the host's policy forbids this question to {server}; see its policy for the resolver"),
        ),
        Err(DnsFault::Other(why)) => trouble(Code::Unavailable, format!("asking {server} failed: {why}")),
        Ok(answer) if answer.truncated => trouble(
            Code::Protocol,
            format!("the answer of {server} is truncated, and it came no better over TCP: is its TCP port open?"),
        ),
        Ok(answer) => match answer.rcode {
            NOERROR | NXDOMAIN => None,
            SERVFAIL => trouble(
                Code::Unavailable,
                format!(
                    "{server} answered SERVFAIL: CoreDNS cannot read etcd, or a value at or below the name is no \
                     SkyDNS record; see CoreDNS's log, or run `dns-manager doctor`"
                ),
            ),
            REFUSED | NOTAUTH => Some(Trouble {
                code: Code::Protocol,
                message: format!(
                    "{server} answered {}: it does not serve the name; add its zone to the `etcd` block of the \
                     Corefile",
                    rcode_name(answer.rcode)
                ),
                refused: true,
            }),
            rcode => trouble(Code::Protocol, format!("{server} answered {}: is it CoreDNS?", rcode_name(rcode))),
        },
    }
}

/// The mnemonic of a response code (RFC 6895 2.3).
pub(crate) fn rcode_name(rcode: u16) -> String {
    match rcode {
        NOERROR => "NOERROR".to_owned(),
        FORMERR => "FORMERR".to_owned(),
        SERVFAIL => "SERVFAIL".to_owned(),
        NXDOMAIN => "NXDOMAIN".to_owned(),
        NOTIMP => "NOTIMP".to_owned(),
        REFUSED => "REFUSED".to_owned(),
        NOTAUTH => "NOTAUTH".to_owned(),
        other => format!("RCODE{other}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::{
        ports::{Clock, HttpClient, HttpFault, HttpReply, Log, LogLevel, Resolver, Rr, Settings},
        rdata::Soa,
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
        let resolver =
            FakeResolver::new(&["good", "gone", "silent", "old"], |question| match question.server.as_str() {
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
        let resolver =
            FakeResolver::new(&["positive", "negative", "fresh"], |question| match question.server.as_str() {
                "positive" => data(vec![rr("web.ex.test", left(), a("192.0.2.7"))]),
                "negative" => nxdomain("ex.test", left()),
                _ => nxdomain("ex.test", 30),
            });
        let ports = FakePorts::new(&clock, resolver);

        let verified = run(&ports, &[("web.ex.test", RrType::A, &[a("192.0.2.1")])], WAIT).remove(0);

        let problems: Vec<_> =
            verified.answers.iter().map(|seen| seen.problem.as_ref().map(ToString::to_string)).collect();
        let cached = Some("a cached answer, for 291 more seconds".to_owned());
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
        assert_eq!(asked.iter().filter(|question| question.server == "dead").count(), 64);
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
}
