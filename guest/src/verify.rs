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
    reply::{NOERROR, trouble_of},
    retry::Backoff,
    verification::{Seen, Verdict, Verification},
};

/// For one exchange in the first round; it doubles with each round.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
/// The most for one exchange: CoreDNS answers SERVFAIL when etcd has kept it waiting for 5 seconds.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(6);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// So many questions without any answer are no accident.
const MANY: usize = 16;
/// With less time than this, another round is not worth it.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);
/// Kept free of the budget for the way back; less when the budget is short.
const RESERVE: Duration = Duration::from_millis(250);

/// Asks every name server for every (name, type) until all answer with exactly these values (none: no value of the
/// type), or `wait` or the budget is over. Every server is asked at least once, and one that keeps silent once more: a lost
/// datagram is no answer. Verification i is for item i.
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

    let (start, before) = (ports.clock().now(), budget.elapsed());
    let reserve = RESERVE.min(budget.left() / 10);
    let within_budget = || budget.left().saturating_sub(reserve);
    let within_wait = || (start + wait).saturating_sub(ports.clock().now()).min(within_budget());

    ask(ports, &mut probes, Probe::is_open, FIRST_TIMEOUT, &within_budget);
    let mut timeout = FIRST_TIMEOUT;
    if within_wait() < SHORTEST_ROUND {
        ask(ports, &mut probes, |probe| probe.is_silent, timeout * 2, &within_budget);
    }
    let mut backoff = Backoff::new(FIRST_PAUSE, u64::from(start.subsec_nanos()));
    while probes.iter().any(Probe::is_open) && within_wait() >= SHORTEST_ROUND {
        // Half of what is left at most, so that the end of the wait does not pass unseen in one long pause.
        budget.sleep(backoff.next().min(LONGEST_PAUSE).min(within_wait() / 2));
        timeout = (timeout * 2).min(LONGEST_TIMEOUT);
        ask(ports, &mut probes, Probe::is_open, timeout, &within_wait);
    }

    let mut probes = probes.into_iter();
    wanted.iter().map(|wanted| wanted.conclude(probes.by_ref().take(servers.len()), start, before)).collect()
}

/// Puts the questions that are due, once each, as long as there is time.
///
/// They go server by server: one that stays silent to many is not asked for the rest, since each part would cost a
/// timeout, for the others too.
fn ask<'a>(
    ports: &dyn Ports,
    probes: &mut [Probe<'a>],
    is_due: impl Fn(&Probe<'a>) -> bool,
    timeout: Duration,
    left: &dyn Fn() -> Duration,
) {
    let mut due: Vec<_> = probes.iter_mut().filter(|probe| is_due(probe)).collect();
    due.sort_by_key(|probe| probe.server);
    let mut silent: Option<(&str, Result<Answer, DnsFault>)> = None;
    for part in due.chunks_mut(PART) {
        let mut asked = Vec::with_capacity(part.len());
        for probe in part {
            match &silent {
                Some((server, reply)) if *server == probe.server => {
                    let now = ports.clock().now();
                    probe.take(reply, now, now);
                }
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
        let begun = ports.clock().now();
        let replies = ports.resolver().ask(&questions);
        let now = ports.clock().now();
        for (probe, reply) in asked.iter_mut().zip(&replies) {
            // All replies come when the slowest server has had its time; each says when it came itself.
            let came = reply.as_ref().map_or(now, |answer| (begun + answer.elapsed).min(now));
            probe.take(reply, came, now);
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
    /// `before` is what had passed of the call when the first question was put, at `start`.
    fn conclude<'a>(&self, probes: impl Iterator<Item = Probe<'a>>, start: Duration, before: Duration) -> Verification {
        let mut elapsed = Duration::ZERO;
        let mut answers = Vec::new();
        for probe in probes {
            elapsed = elapsed.max(probe.answered.saturating_sub(start));
            let resolvable = probe.resolved.map(|at| before + at.saturating_sub(start));
            answers.push(Seen { resolvable, ..probe.seen });
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
            resolvable: None,
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
    /// When it answered as expected.
    resolved: Option<Duration>,
    /// When the present answer was seen first, and its TTL then.
    first_seen: Option<(Duration, u32)>,
    /// It was asked, and nothing has come yet.
    is_silent: bool,
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
            resolvable: None,
        };
        Self { wanted, server, seen, answered: Duration::ZERO, resolved: None, first_seen: None, is_silent: false }
    }

    fn is_open(&self) -> bool {
        self.seen.verdict != Verdict::Verified
    }

    fn question(&self, timeout: Duration) -> Question {
        let Wanted { name, rr_type, .. } = self.wanted;
        Question { server: self.server.to_owned(), name: name.clone(), rr_type: *rr_type, timeout }
    }

    /// Takes a reply that came at `came`, and is known since `now`.
    fn take(&mut self, reply: &Result<Answer, DnsFault>, came: Duration, now: Duration) {
        self.answered = now;
        // Silence does not replace an answer: what was answered last is the more telling.
        if reply.is_err() && self.seen.rcode.is_some() {
            return;
        }
        self.is_silent = matches!(reply, Err(DnsFault::Timeout));
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
        // It is not asked again.
        self.resolved = (seen.verdict == Verdict::Verified).then_some(came);
        self.seen = seen;
    }

    /// Says that an unexpected answer comes out of a cache, where that can be seen.
    fn stale(&self, seen: &Seen, now: Duration) -> Option<Reason> {
        let ttl = seen.ttl?;
        let message = match self.first_seen {
            Some((at, first)) if counts_down(first, ttl, now.saturating_sub(at)) => {
                format!("a stale answer out of a cache, for {ttl} more seconds")
            }
            _ if !seen.authoritative => {
                format!("not an authoritative answer: perhaps a stale one out of a cache, for {ttl} more seconds")
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

#[cfg(test)]
pub(crate) mod tests;
