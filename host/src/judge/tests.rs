//! Lies of plugins, one by one.

use super::*;
use crate::contract::{Code, Problem, Seen, Status};

fn outcome(status: Status, reason: Option<Reason>) -> Outcome {
    Outcome {
        status,
        reason,
        warnings: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
        token: None,
        attributes: Vec::new(),
    }
}

fn info_of(max_items: u32, rr_types: &[u16]) -> Info {
    Info {
        name: "p\n".to_owned(),
        version: "1".to_owned(),
        rr_types: rr_types.to_vec(),
        max_items,
        features: Vec::new(),
        attributes: Vec::new(),
    }
}

fn page_of(next: Option<&str>) -> Page {
    Page { entries: Vec::new(), problems: Vec::new(), next: next.map(str::to_owned) }
}

fn verification(verdict: Verdict, answers: &[(&str, Verdict)]) -> Verification {
    let seen = |(server, verdict): &(&str, Verdict)| Seen {
        server: (*server).to_owned(),
        verdict: *verdict,
        rcode: None,
        authoritative: true,
        ttl: None,
        data: Vec::new(),
        problem: None,
        attributes: Vec::new(),
    };
    Verification {
        name: "a.example".to_owned(),
        rr_type: 1,
        verdict,
        expected: Vec::new(),
        answers: answers.iter().map(seen).collect(),
        elapsed_ms: 0,
        attributes: Vec::new(),
    }
}

fn is_contract<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Contract(_)))
}

#[test]
fn info_keeps_its_ranges() {
    assert_eq!(info(info_of(1_000, &[1, 5, 28])).unwrap().name, "p\\n");
    assert!(info(info_of(1, &[])).is_ok());
    for lie in [info_of(0, &[]), info_of(1_001, &[]), info_of(1, &[28, 1]), info_of(1, &[1, 1])] {
        assert!(is_contract(info(lie)));
    }
}

#[test]
fn every_change_has_one_outcome_with_a_reason() {
    let why = || Some(Reason::new(Code::Full, "no\u{1b}[2J room"));
    let judged = outcomes(vec![outcome(Status::Created, None), outcome(Status::Failed, why())], 2).unwrap();
    assert_eq!(judged[1].reason.as_ref().unwrap().message, "no\\u{1b}[2J room");

    assert!(is_contract(outcomes(vec![], 1)));
    assert!(is_contract(outcomes(vec![outcome(Status::Created, None), outcome(Status::Created, None)], 1)));
    for status in [Status::Conflict, Status::Refused, Status::Failed, Status::Unknown] {
        assert!(is_contract(outcomes(vec![outcome(status, None)], 1)));
    }
}

#[test]
fn cursor_moves_on() {
    assert!(page(page_of(None), Some("a")).is_ok());
    assert!(page(page_of(Some("b")), Some("a")).is_ok());
    assert!(is_contract(page(page_of(Some("a")), Some("a"))));
    assert!(is_contract(page(page_of(Some(&"a".repeat(5_000))), None)));
}

#[test]
fn problems_are_one_line() {
    let problem = Problem {
        place: "/skydns/\nx".to_owned(),
        reason: Reason::new(Code::Protocol, "x".repeat(9_000)),
        mended: false,
    };
    let judged = page(Page { problems: vec![problem], ..page_of(None) }, None).unwrap();
    assert_eq!(judged.problems[0].place, "/skydns/\\nx");
    assert_eq!(judged.problems[0].reason.message.len(), LINE);
}

#[test]
fn verdict_is_that_of_the_answers() {
    use Verdict::{Mismatch, NotFound, Unreachable, Verified};
    let servers = ["a:53".to_owned(), "b:53".to_owned()];
    let asked = [Expectation { name: "a.example".to_owned(), rr_type: Some(1), data: None }];
    let both = |one, other| vec![("a:53", one), ("b:53", other)];
    let cases = [
        (Verified, both(Verified, Verified), true),
        (Mismatch, both(Verified, Mismatch), true),
        (NotFound, both(NotFound, Unreachable), true),
        (NotFound, vec![], true),
        (Verified, vec![], false),
        (Verified, both(Verified, Unreachable), false),
        (Verified, both(Verified, Mismatch), false),
        (Unreachable, both(Verified, Mismatch), false),
        (Verified, vec![("a:53", Verified)], false),
        (Verified, vec![("b:53", Verified), ("a:53", Verified)], false),
    ];
    for (verdict, answers, kept) in cases {
        let judged = verifications(vec![verification(verdict, &answers)], &asked, &servers);
        assert_eq!(!is_contract(judged), kept, "{verdict:?} {answers:?}");
    }
    assert!(is_contract(verifications(vec![], &asked, &servers)));
}

#[test]
fn no_text_of_a_plugin_forges_a_line() {
    for code in [Code::Other("x\nERROR forged".to_owned()), Code::OwnedBy(Some("x\nERROR forged".to_owned()))] {
        let judged = reason(Reason::new(code, "why"));
        assert!(matches!(judged.code, Code::Other(name) | Code::OwnedBy(Some(name)) if name == "x\\nERROR forged"));
    }
    let mut lie = verification(Verdict::Verified, &[]);
    lie.name = "x\nERROR forged".to_owned();
    let asked = [Expectation { name: "a.example".to_owned(), rr_type: Some(1), data: None }];
    let said = verifications(vec![lie], &asked, &[]).unwrap_err().to_string();
    assert!(said.contains("`x\\nERROR forged`"), "{said}");
}

#[test]
fn token_is_short() {
    let with = |octets: usize| Outcome { token: Some("x".repeat(octets)), ..outcome(Status::Created, None) };
    assert!(outcomes(vec![with(TOKEN)], 1).is_ok());
    assert!(is_contract(outcomes(vec![with(TOKEN + 1)], 1)));
}
