//! Which PTRs follow from which changes, and how what became of them is told.

use dns_manager_host::contract::{Entry, Filter};

use super::*;
use crate::testing::FakeDns;

const HOST: &str = "web-01.example.com";

fn entry(data: Rdata, resource: Option<&str>) -> Entry {
    Entry {
        name: HOST.to_owned(),
        ttl: 60,
        data,
        owner: Some("default".to_owned()),
        mine: true,
        resource: resource.map(str::to_owned),
        attributes: Vec::new(),
    }
}

fn answer(status: contract::Status, before: Vec<Entry>, after: Vec<Entry>) -> contract::Outcome {
    contract::Outcome { status, reason: None, warnings: Vec::new(), before, after, token: None, attributes: Vec::new() }
}

fn refused(status: contract::Status, code: Code, message: &str) -> contract::Outcome {
    contract::Outcome { reason: Some(contract::Reason::new(code, message)), ..answer(status, Vec::new(), Vec::new()) }
}

fn a(last: u8) -> Rdata {
    Rdata::A((192, 168, 1, last))
}

fn set(data: Vec<Rdata>) -> RecordSet {
    RecordSet { name: HOST.to_owned(), ttl: Some(60), data }
}

/// `+ name value resource` of what is registered, `- name value` of what is removed.
fn told(pointers: &[Pointer]) -> Vec<String> {
    pointers
        .iter()
        .map(|pointer| match &pointer.change.action {
            Action::Add(set) => {
                let resource = pointer.change.resource.as_deref().unwrap_or("-");
                format!("+ {} {} {resource}", set.name, value::to_text(&set.data[0]))
            }
            Action::Remove(selector) => format!("- {} {}", selector.name, value::to_text(&selector.data[0])),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn an_address_has_its_reverse_name() {
    for (address, expected) in [
        ("192.168.1.10", "10.1.168.192.in-addr.arpa"),
        ("2001:db8::567:89ab", "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
    ] {
        assert_eq!(reverse_name(address.parse().unwrap()), expected);
    }
}

#[test]
fn what_is_registered_and_what_goes_has_its_ptr_registered_and_removed() {
    use contract::Status::{Created, Deleted, Unchanged, Unknown, Updated};
    let add = |data| change::of(Action::Add(set(data)), None);
    let replace = |data| change::of(Action::Replace(set(data)), None);
    let remove = |data| {
        let selector = Selector { name: HOST.to_owned(), rr_type: Some(1), data, resource: None };
        change::of(Action::Remove(selector), None)
    };
    let txt = Rdata::Txt(vec![b"v".to_vec()]);
    let cases: Vec<(Change, contract::Outcome, Vec<&str>)> = vec![
        (
            add(vec![a(10)]),
            answer(Created, vec![], vec![entry(a(10), Some("id"))]),
            vec!["+ 10.1.168.192.in-addr.arpa web-01.example.com id"],
        ),
        // Values that were there before are not this request's.
        (
            add(vec![a(10)]),
            answer(Updated, vec![entry(a(9), None)], vec![entry(a(9), None), entry(a(10), None)]),
            vec!["+ 10.1.168.192.in-addr.arpa web-01.example.com -"],
        ),
        (
            replace(vec![a(10)]),
            answer(Updated, vec![entry(a(9), Some("id"))], vec![entry(a(10), Some("id"))]),
            vec!["- 9.1.168.192.in-addr.arpa web-01.example.com", "+ 10.1.168.192.in-addr.arpa web-01.example.com id"],
        ),
        (
            remove(vec![]),
            answer(Deleted, vec![entry(a(9), None), entry(txt.clone(), None)], vec![]),
            vec!["- 9.1.168.192.in-addr.arpa web-01.example.com"],
        ),
        // It was gone already; perhaps its PTR is not.
        (remove(vec![a(9)]), answer(Unchanged, vec![], vec![]), vec!["- 9.1.168.192.in-addr.arpa web-01.example.com"]),
        (add(vec![txt.clone()]), answer(Created, vec![], vec![entry(txt, None)]), vec![]),
        (add(vec![a(10)]), answer(Unknown, vec![], vec![entry(a(10), None)]), vec![]),
    ];
    for (change, answer, expected) in cases {
        assert_eq!(told(&pointers(&change, &answer)), expected, "{change:?}");
    }
}

#[test]
fn what_has_no_ptr_is_a_warning_beside_its_address() {
    let change = change::of(Action::Add(set(vec![a(1), a(2), a(3), a(4)])), None);
    let after = vec![entry(a(1), None), entry(a(2), None), entry(a(3), None), entry(a(4), None)];
    let created = answer(contract::Status::Created, vec![], after);
    let pointers = pointers(&change, &created);
    let values = [a(1), a(2), a(3), a(4)].iter().map(value::to_text).collect();
    let asked = Asked { name: HOST.to_owned(), record_type: Some(RecordType::A), values, ..Asked::default() };
    let mut outcomes = asked.expand(&created);
    let answers = [
        refused(contract::Status::Refused, Code::OutsideZones, "in none of the zones"),
        refused(contract::Status::Conflict, Code::Coexistence, "has the PTR `db-01.example.com`"),
        refused(contract::Status::Refused, Code::OutsideZones, "in none of the zones"),
        refused(contract::Status::Failed, Code::Unavailable, "etcd is not reached"),
    ];

    tell(&pointers, &answers, &mut outcomes);

    let lines: Vec<String> = outcomes
        .iter()
        .map(|outcome| {
            let warnings: Vec<_> = outcome.warnings.iter().map(|w| format!(" {}: {}", w.code, w.message)).collect();
            format!("{} {}{}", outcome.value.as_deref().unwrap(), outcome.outcome, warnings.concat())
        })
        .collect();
    assert_eq!(
        lines,
        [
            "192.168.1.1 created outside-zones: no PTR is registered for 192.168.1.1, 192.168.1.3: no reverse zone of theirs is \
             served from etcd; add it to the Corefile, and to orchestrator.dns.zones where that is set",
            "192.168.1.2 created coexistence: 192.168.1.2: has no PTR of its own: has the PTR `db-01.example.com`",
            "192.168.1.3 created",
            "192.168.1.4 created",
            "web-01.example.com failed",
        ]
    );
}

#[tokio::test]
async fn ptrs_are_written_after_the_addresses_and_removed_first() {
    let dns = FakeDns::default();
    let changes = [change::of(Action::Replace(set(vec![a(10)])), None)];
    let answers = [answer(contract::Status::Updated, vec![entry(a(9), None)], vec![entry(a(10), Some("id"))])];
    let mut outcomes = Vec::new();

    let acknowledged = follow(&dns, &changes, &answers, &mut outcomes).await;

    assert!(acknowledged.is_some());
    assert_eq!(dns.asked(), ["apply 2"]);
    assert_eq!(dns.stored(), ["10.1.168.192.in-addr.arpa web-01.example.com id"]);
    assert_eq!(outcomes.len(), 1, "there was no PTR to remove: {outcomes:?}");
    let page = dns.list(Filter::default(), dns::usual_call()).await.unwrap();
    assert_eq!(page.entries[0].ttl, 60);

    let nothing = [answer(contract::Status::Unchanged, vec![], vec![])];
    assert_eq!(follow(&dns, &changes, &nothing, &mut outcomes).await, None);
}

#[tokio::test]
async fn an_unreachable_backend_is_told_for_each_ptr() {
    let dns = FakeDns::default();
    dns.set_unavailable(true);
    let changes = [change::of(Action::Add(set(vec![a(10)])), None)];
    let mut outcomes = Vec::new();

    follow(&dns, &changes, &[answer(contract::Status::Created, vec![], vec![entry(a(10), None)])], &mut outcomes).await;

    assert_eq!(outcomes[0].name, "10.1.168.192.in-addr.arpa");
    assert_eq!(outcomes[0].outcome, Status::Failed);
}
