//! The configured zones, compared at start with what the name servers serve.
//!
//! A record in a zone that nobody serves is written and never answered, so such a zone is an error before anything is
//! written. Only name servers are asked, each once, for the SOA of each zone.

use std::time::Duration;

use dns_manager_host::contract::{Expectation, Rdata, Seen, Verification};

use crate::config::Config;
use crate::dns::{self, Dns};
use crate::record::RecordType;
use crate::verification::rcode_name;

/// A name server in working order answers within milliseconds; a command does not wait longer for others.
const PATIENCE: Duration = Duration::from_secs(3);

/// A configured zone that no name server serves.
#[derive(Debug, thiserror::Error)]
#[error(
    "orchestrator.dns.zones: \"{zone}\" is not served: {answers}; name it in an `etcd` line of the Corefile, for which see \
     `dns-manager config show --corefile`, or correct orchestrator.dns.zones"
)]
pub struct NotServed {
    zone: String,
    /// What each name server answered.
    answers: String,
}

/// What a name server says about a zone.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Serves,
    /// What it answers instead.
    Differs(String),
    /// Why it does not tell.
    Silent(String),
}

/// Asks the name servers for the SOA of each configured zone; gives warnings, where they do not all serve all of them.
///
/// Without configured zones the component finds them out, and the embedded default serves those that are configured: then
/// nobody is asked. The answer that counts is the one that zone discovery counts: authoritative, a SOA at the zone itself, of
/// CoreDNS's etcd plugin (its MNAME is `ns.dns.<zone>`) unless another plugin than the built-in one writes the records.
///
/// # Errors
///
/// One of them is served by none, and a name server says so. One that is silent proves nothing.
pub async fn check(config: &Config, dns: &dyn Dns) -> Result<Vec<String>, NotServed> {
    let zones = &config.dns.zones;
    if config.dns_listen.is_some() || zones.is_empty() || config.dns.nameservers.is_empty() {
        return Ok(Vec::new());
    }
    // What is expected does not matter: the answers are looked at.
    let soa = |zone| Expectation { name: zone, rr_type: Some(RecordType::SOA.number()), data: Some(Vec::new()) };
    let expectations = zones.iter().map(|zone| soa(zone.as_str().to_owned())).collect();
    let answers = match dns.verify(expectations, Duration::ZERO, dns::call(PATIENCE)).await {
        Ok(answers) => answers,
        Err(error) => return Ok(vec![format!("orchestrator.dns.zones is not checked: {}", dns::why(&error))]),
    };
    let is_built_in = config.dns.plugin.is_none();
    let mut warnings = Vec::new();
    for (zone, answers) in zones.iter().zip(&answers) {
        warnings.extend(judge(zone.as_str(), answers, is_built_in)?);
    }
    Ok(warnings)
}

fn judge(zone: &str, answers: &Verification, is_built_in: bool) -> Result<Option<String>, NotServed> {
    let words: Vec<_> = answers.answers.iter().map(|seen| word(zone, seen, is_built_in)).collect();
    let odd = words.iter().filter_map(|word| match word {
        Word::Serves => None,
        Word::Differs(what) | Word::Silent(what) => Some(what.as_str()),
    });
    let text = odd.collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        Ok(None)
    } else if words.contains(&Word::Serves) {
        Ok(Some(format!("orchestrator.dns.zones: \"{zone}\" is not served everywhere: {text}")))
    } else if words.iter().any(|word| matches!(word, Word::Differs(_))) {
        Err(NotServed { zone: zone.to_owned(), answers: text })
    } else {
        Ok(Some(format!("orchestrator.dns.zones: whether \"{zone}\" is served is not known: {text}")))
    }
}

fn word(zone: &str, seen: &Seen, is_built_in: bool) -> Word {
    let soa = seen.data.iter().find_map(|data| match data {
        Rdata::Soa(soa) => Some(soa),
        _ => None,
    });
    let server = seen.server.as_str();
    match (seen.rcode, soa) {
        (Some(0), Some(soa)) => {
            let mname = soa.mname.trim_end_matches('.');
            if is_built_in && !seen.authoritative {
                Word::Silent(format!("{server} is not authoritative for it, it forwards or caches"))
            } else if !is_built_in || mname.eq_ignore_ascii_case(&format!("ns.dns.{zone}")) {
                Word::Serves
            } else {
                Word::Differs(format!("{server} serves it, but not from etcd (the MNAME of its SOA is {mname})"))
            }
        }
        (Some(0), None) => Word::Differs(format!("{server} has no SOA there")),
        // NXDOMAIN, REFUSED, NOTAUTH; anything else is a server in trouble, which proves nothing.
        (Some(rcode @ (3 | 5 | 9)), _) => Word::Differs(format!("{server} answers {}", rcode_name(rcode))),
        (Some(rcode), _) => Word::Silent(format!("{server} answers {}", rcode_name(rcode))),
        (None, _) => Word::Silent(match &seen.problem {
            Some(problem) if problem.message.contains(server) => problem.message.clone(),
            Some(problem) => format!("{server}: {}", problem.message),
            None => format!("{server} does not answer"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use dns_manager_host::contract::{Code, Reason, Soa, Verdict};

    use super::*;

    fn seen(server: &str, rcode: Option<u16>, mname: Option<&str>) -> Seen {
        let soa = |mname: &str| {
            Rdata::Soa(Soa {
                mname: mname.to_owned(),
                rname: "hostmaster.ex.test.".to_owned(),
                serial: 1,
                refresh: 7200,
                retry: 1800,
                expire: 86400,
                minimum: 30,
            })
        };
        Seen {
            server: server.to_owned(),
            verdict: Verdict::Unreachable,
            rcode,
            authoritative: true,
            ttl: None,
            data: mname.into_iter().map(soa).collect(),
            problem: rcode.is_none().then(|| Reason::new(Code::Unavailable, "no answer within 1 s")),
            attributes: Vec::new(),
        }
    }

    fn judged(answers: Vec<Seen>, is_built_in: bool) -> Result<Option<String>, String> {
        let verification = Verification {
            name: "ex.test.".to_owned(),
            rr_type: 6,
            verdict: Verdict::Unreachable,
            expected: Vec::new(),
            answers,
            elapsed_ms: 1,
            attributes: Vec::new(),
        };
        judge("ex.test", &verification, is_built_in).map_err(|error| error.to_string())
    }

    #[test]
    fn a_zone_that_all_serve_is_no_word() {
        let served =
            || vec![seen("a:53", Some(0), Some("NS.dns.ex.test.")), seen("b:53", Some(0), Some("ns.dns.ex.test."))];
        assert_eq!(judged(served(), true), Ok(None));
        assert_eq!(judged(vec![seen("a:53", Some(0), Some("ns1.elsewhere.test."))], false), Ok(None));
    }

    #[test]
    fn a_zone_that_none_serves_is_an_error_with_what_was_answered() {
        let error = judged(vec![seen("a:53", Some(5), None), seen("b:53", None, None)], true);
        assert_eq!(
            error.unwrap_err(),
            "orchestrator.dns.zones: \"ex.test\" is not served: a:53 answers REFUSED, b:53: no answer within 1 s; \
             name it in an `etcd` line of the Corefile, for which see `dns-manager config show --corefile`, or correct \
             orchestrator.dns.zones"
        );
        for (answer, word) in [
            (seen("a:53", Some(0), None), "a:53 has no SOA there;"),
            (seen("a:53", Some(3), None), "a:53 answers NXDOMAIN;"),
            (
                seen("a:53", Some(0), Some("ns1.elsewhere.test.")),
                "a:53 serves it, but not from etcd (the MNAME of its SOA is ns1.elsewhere.test);",
            ),
        ] {
            let error = judged(vec![answer], true).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn silence_and_trouble_prove_nothing() {
        let passed_on = Seen { authoritative: false, ..seen("a:53", Some(0), Some("ns.dns.ex.test.")) };
        assert_eq!(
            judged(vec![passed_on], true).unwrap().as_deref(),
            Some(
                "orchestrator.dns.zones: whether \"ex.test\" is served is not known: a:53 is not authoritative for it, it forwards \
                 or caches"
            )
        );
        assert_eq!(
            judged(vec![seen("a:53", None, None), seen("b:53", Some(2), None)], true).unwrap().as_deref(),
            Some(
                "orchestrator.dns.zones: whether \"ex.test\" is served is not known: a:53: no answer within 1 s, \
                 b:53 answers SERVFAIL"
            )
        );
        assert_eq!(
            judged(vec![seen("a:53", Some(0), Some("ns.dns.ex.test.")), seen("b:53", Some(5), None)], true)
                .unwrap()
                .as_deref(),
            Some("orchestrator.dns.zones: \"ex.test\" is not served everywhere: b:53 answers REFUSED")
        );
    }
}
