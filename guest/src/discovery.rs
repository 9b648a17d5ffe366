//! Zone discovery: which zone a name is in, as the name servers tell.
//!
//! CoreDNS's etcd plugin answers a SOA question for *any* name of a zone, stored or not, with the SOA of that zone,
//! and reads nothing in etcd for it (CoreDNS `plugin/backend_lookup.go`, `SOA`). Its MNAME is `ns.dns.<zone>`: by that
//! it is told apart from a `file` zone or another server. Nothing is remembered between calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    name::Name,
    ports::{Answer, DnsFault, Question, Resolver},
    rdata::{RData, RrType},
    reason::{Code, Reason},
    reply::{SERVFAIL, Trouble, trouble_of},
    zone::Zone,
};

/// The questions in one `ask`. The contract takes 256, but a host need not overlap that many, and a part should take no
/// longer than its longest exchange.
pub(crate) const PART: usize = 64;

/// Rounds over all servers: one lost datagram is no reason to give up.
const ROUNDS: u32 = 2;

/// Finds out which zone each name is in; none: in no zone that is served from etcd.
///
/// The first server is asked for all names, the next one for those without a usable answer, and so on. A name for
/// which nobody gave one is left out, so that [`Zones::of`](crate::zone::Zones::of) says `NotAsked`. `timeout` is for
/// all of it, within reason: each exchange gets its share.
///
/// # Errors
///
/// [`Code::Misconfigured`] without name servers, [`Code::Unavailable`] when no server gave a usable answer for any
/// name.
pub fn discover(
    resolver: &dyn Resolver,
    names: &[Name],
    timeout: Duration,
) -> Result<BTreeMap<Name, Option<Zone>>, Reason> {
    let mut open: BTreeSet<Name> = names.iter().cloned().collect();
    let mut found = BTreeMap::new();
    if open.is_empty() {
        return Ok(found);
    }
    let servers = resolver.servers();
    let Some(share) = u32::try_from(servers.len()).ok().and_then(|count| timeout.checked_div(count * ROUNDS)) else {
        return Err(Reason::new(
            Code::Misconfigured,
            "there is no name server to ask which zones there are; set `zones` or `nameservers` in [orchestrator.dns]",
        ));
    };
    let mut last_trouble = "nothing was answered".to_owned();
    let mut failing: BTreeSet<Name> = BTreeSet::new();
    for server in (0..ROUNDS).flat_map(|_| &servers) {
        let batch: Vec<Name> = open.iter().cloned().collect();
        for part in batch.chunks(PART) {
            let questions: Vec<_> = part.iter().map(|name| question(server, name, share)).collect();
            let mut silent = true;
            for (name, reply) in part.iter().zip(resolver.ask(&questions)) {
                match judge(server, name, &reply) {
                    Ok(zone) => {
                        silent = false;
                        open.remove(name);
                        found.insert(name.clone(), zone);
                    }
                    Err(trouble) => {
                        if reply.is_ok_and(|answer| answer.rcode == SERVFAIL) {
                            silent = false;
                            failing.insert(name.clone());
                        }
                        last_trouble = trouble.message;
                    }
                }
            }
            // A server that says nothing to a whole part would cost a timeout for each further one.
            if silent {
                break;
            }
        }
        if open.is_empty() {
            break;
        }
    }
    // The etcd plugin answers SOA without etcd, so a server that fails to answer it has no such zone: it passed the question on to
    // a next plugin that is not there, or that failed. Only silence leaves the question open.
    found.extend(failing.intersection(&open).map(|name| (name.clone(), None)));
    if found.is_empty() {
        let message =
            format!("no name server told which zones there are: {last_trouble}; or set `zones` in [orchestrator.dns]");
        return Err(Reason::new(Code::Unavailable, message));
    }
    Ok(found)
}

/// The SOA question for a name.
fn question(server: &str, name: &Name, timeout: Duration) -> Question {
    let timeout = timeout.max(Duration::from_millis(1));
    Question { server: server.to_owned(), name: name.clone(), rr_type: RrType::Soa, timeout }
}

/// What a reply says about a name; a [`Trouble`] when it says nothing and another server should be asked.
fn judge(server: &str, name: &Name, reply: &Result<Answer, DnsFault>) -> Result<Option<Zone>, Trouble> {
    match trouble_of(server, reply) {
        Some(Trouble { refused: true, .. }) => Ok(None),
        Some(trouble) => Err(trouble),
        None => Ok(reply.as_ref().ok().and_then(|answer| etcd_zone(answer, name))),
    }
}

/// The zone of etcd that an answer to a SOA question puts the name into.
pub(crate) fn etcd_zone(answer: &Answer, name: &Name) -> Option<Zone> {
    if !answer.authoritative {
        return None;
    }
    answer.answers.iter().find_map(|rr| {
        let RData::Soa(soa) = &rr.data else { return None };
        let zone = Zone::new(rr.name.clone()).ok()?;
        (name.is_within(zone.apex()) && soa.mname == zone.ns_branch()).then_some(zone)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::tests::{FakeResolver, name, no_data, refused, servfail, soa, timeout};

    fn zone(text: &str) -> Option<Zone> {
        Some(Zone::new(name(text)).unwrap())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_soa_of_the_etcd_plugin_tells_the_zone() {
        let resolver = FakeResolver::new(&["s1"], |question| match question.name.to_string().as_str() {
            "web.ex.test" | "db.ex.test" => soa("ex.test", "ns.dns.ex.test"),
            "www.file.test" => soa("file.test", "ns1.file.test"),
            "www.old.test" => {
                let mut answer = soa("old.test", "ns.dns.old.test").unwrap();
                answer.authoritative = false;
                Ok(answer)
            }
            "www.strange.test" => soa("elsewhere.test", "ns.dns.elsewhere.test"),
            "www.void.test" => no_data("void.test", 30),
            _ => refused(),
        });

        let names: Vec<_> = [
            "web.ex.test",
            "db.ex.test",
            "www.file.test",
            "www.old.test",
            "www.strange.test",
            "www.void.test",
            "example.com",
        ]
        .map(name)
        .into();
        let found = discover(&resolver, &names, SECOND).unwrap();

        let zones: Vec<_> = names.iter().map(|name| found[name].clone()).collect();
        assert_eq!(zones, [zone("ex.test"), zone("ex.test"), None, None, None, None, None]);
        assert_eq!(resolver.asked().len(), 7, "a definite answer is not asked for again");
    }

    #[test]
    fn the_next_server_is_asked_for_what_is_left() {
        let resolver = FakeResolver::new(&["s1", "s2"], |question| {
            match (question.server.as_str(), question.name.to_string().as_str()) {
                ("s1", "a.ex.test") => servfail(),
                (_, "b.ex.test") => timeout(),
                _ => soa("ex.test", "ns.dns.ex.test"),
            }
        });

        let names = ["a.ex.test", "b.ex.test", "c.ex.test"].map(name);
        let found = discover(&resolver, &names, SECOND).unwrap();

        assert_eq!(found.get(&name("a.ex.test")), Some(&zone("ex.test")));
        assert_eq!(found.get(&name("b.ex.test")), None, "nobody told");
        let asked: Vec<_> = resolver.asked().iter().map(|q| format!("{} {}", q.server, q.name)).collect();
        let expected = [
            "s1 a.ex.test",
            "s1 b.ex.test",
            "s1 c.ex.test",
            "s2 a.ex.test",
            "s2 b.ex.test",
            "s1 b.ex.test",
            "s2 b.ex.test",
        ];
        assert_eq!(asked, expected);
    }

    #[test]
    fn silence_of_all_servers_is_unavailable() {
        let resolver = FakeResolver::new(&["10.0.0.2:53"], |_| timeout());
        let error = discover(&resolver, &[name("a.ex.test")], SECOND).unwrap_err();
        assert_eq!(error.code, Code::Unavailable);
        assert!(error.message.contains("10.0.0.2:53"), "{error}");

        let error = discover(&FakeResolver::new(&[], |_| timeout()), &[name("a.ex.test")], SECOND).unwrap_err();
        assert_eq!(error.code, Code::Misconfigured);
    }

    #[test]
    fn a_silent_server_costs_one_timeout_per_round() {
        let names: Vec<_> = (0..150).map(|i| name(&format!("h{i}.ex.test"))).collect();
        let resolver = FakeResolver::new(&["s1", "s2"], |question| match question.server.as_str() {
            "s1" => timeout(),
            _ => soa("ex.test", "ns.dns.ex.test"),
        });

        let found = discover(&resolver, &names, SECOND).unwrap();

        assert_eq!(found.len(), 150);
        assert_eq!(resolver.batches(), [64, 64, 64, 22]);
        assert_eq!(resolver.asked()[0].timeout, SECOND / 4);
    }
}
