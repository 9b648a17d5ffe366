//! From requests in text to outcomes, against a fake.

use super::*;
use crate::testing::FakeDns;

fn registry(dns: &Arc<FakeDns>) -> Registry {
    Registry::new(dns.clone(), Ttl::try_from(300).unwrap())
}

fn set(name: &str, record_type: &str, ttl: Option<i64>, values: &[&str]) -> RecordSet {
    RecordSet {
        name: name.to_owned(),
        record_type: record_type.to_owned(),
        ttl,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

/// `name type value ttl outcome message` of each.
fn told(outcomes: &[Outcome]) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    outcomes
        .iter()
        .map(|outcome| {
            let ttl = outcome.ttl.map_or_else(|| "-".to_owned(), |ttl| ttl.to_string());
            let reason = outcome.reason.as_ref().map(|reason| format!(" {}: {}", reason.code, reason.message));
            format!(
                "{} {} {} {ttl} {}{}",
                outcome.name,
                text(&outcome.record_type),
                text(&outcome.value),
                outcome.outcome,
                reason.unwrap_or_default()
            )
        })
        .collect()
}

#[tokio::test]
async fn what_is_invalid_is_refused_and_the_rest_goes_on() {
    let dns = Arc::new(FakeDns::default());

    let outcomes = registry(&dns)
        .register(&[
            set("a.example.com", "A", None, &["192.0.2.1", "2001:db8::1"]),
            set("b.example.com", "A", Some(60), &["192.0.2.2"]),
            set("c.example.com", "A", Some(0), &["192.0.2.3"]),
            set("d.example.com", "AA", None, &["192.0.2.4"]),
            set("e.example.com", "CNAME", None, &["192.0.2.5"]),
        ])
        .await;

    assert_eq!(
        told(&outcomes),
        [
            "a.example.com A 192.0.2.1 300 refused invalid: it stands or falls with the other values of its set, one of which \
             is refused: \"2001:db8::1\" is an IPv6 address, and A takes an IPv4 address: register it as AAAA",
            "a.example.com A 2001:db8::1 300 refused invalid: \"2001:db8::1\" is an IPv6 address, and A takes an IPv4 \
             address: register it as AAAA",
            "b.example.com A 192.0.2.2 60 created",
            "c.example.com A 192.0.2.3 0 refused invalid: 0 is out of range: a TTL is 1 to 2147483647 seconds",
            "d.example.com AA 192.0.2.4 300 refused invalid: \"AA\" is not a record type: write A, AAAA, CNAME, TXT, MX, SRV, \
             PTR or NS, say",
            "e.example.com CNAME 192.0.2.5 300 refused invalid: \"192.0.2.5\" is an IP address, and CNAME takes a name: \
             register the address as A or AAAA",
        ]
    );
    assert_eq!(dns.asked(), ["apply 1"]);
}

#[tokio::test]
async fn nothing_is_sent_when_everything_is_refused() {
    let dns = Arc::new(FakeDns::default());

    registry(&dns).update(&set("a.example.com", "A", Some(-1), &["192.0.2.1"])).await;

    assert_eq!(dns.asked(), <[String; 0]>::default());
}

#[tokio::test]
async fn a_call_that_breaks_is_told_for_each_record() {
    let dns = Arc::new(FakeDns::default());
    dns.set_unavailable(true);

    let outcomes = registry(&dns).register(&[set("a.example.com", "A", None, &["192.0.2.1", "192.0.2.2"])]).await;

    assert_eq!(
        told(&outcomes),
        [
            "a.example.com A 192.0.2.1 300 failed unavailable: http://localhost:2379 is not reached",
            "a.example.com A 192.0.2.2 300 failed unavailable: http://localhost:2379 is not reached",
        ]
    );
}

#[tokio::test]
async fn a_name_is_unregistered_whole() {
    let dns = Arc::new(FakeDns::default());
    let registry = registry(&dns);
    registry.register(&[set("a.example.com", "A", None, &["192.0.2.1"])]).await;

    let everything = Selection { name: "a.example.com".to_owned(), record_type: None, values: Vec::new() };
    let removed = registry.unregister(&everything).await;
    let again = registry.unregister(&everything).await;

    assert_eq!(told(&removed), ["a.example.com A 192.0.2.1 300 deleted"]);
    assert_eq!(told(&again), <[String; 0]>::default());
}

#[tokio::test]
async fn records_are_handed_back_and_taken_over() {
    let dns = Arc::new(FakeDns::default());
    let registry = registry(&dns);
    registry.register(&[set("a.example.com", "A", None, &["192.0.2.1"])]).await;

    let released = registry.release("a.example.com", None).await;
    let listed = registry.list(Wanted::default()).await.unwrap().records;
    let adopted = registry.adopt("a.example.com", Some(RecordType::A)).await;

    assert_eq!(told(&released), ["a.example.com A 192.0.2.1 300 updated"]);
    assert_eq!(listed[0].owner, Some(None));
    assert_eq!(told(&adopted), ["a.example.com A 192.0.2.1 300 updated"]);
    assert_eq!(registry.list(Wanted::default()).await.unwrap().records[0].owner, None);
}

#[tokio::test]
async fn what_a_repair_finds_is_told_once() {
    let dns = Arc::new(FakeDns::default());

    let found = registry(&dns).repair("example.com", true).await.unwrap();

    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "zone": "example.com", "place": "/skydns/example.com", "mended": false,
            "reason": {"code": "missing", "message": "this key is missing"},
        }])
    );
}

#[tokio::test]
async fn a_zone_that_cannot_be_looked_at_hides_nothing_of_the_others() {
    let dns = Arc::new(FakeDns::default().hide_zone("b.example"));
    let zones = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();

    let found = registry(&dns).repair_each(&zones(&["a.example", "b.example", "c.example"]), false).await.unwrap();
    let none = registry(&dns).repair_each(&zones(&["b.example"]), false).await.unwrap_err();

    let told: Vec<_> =
        found.iter().map(|problem| (problem.zone.as_str(), problem.place.as_deref(), problem.mended)).collect();
    assert_eq!(
        told,
        [
            ("a.example", Some("/skydns/a.example"), true),
            ("c.example", Some("/skydns/c.example"), true),
            ("b.example", None, false),
        ]
    );
    assert_eq!(found[2].reason.message, "b.example is hidden");
    assert!(none.to_string().contains("b.example is hidden"), "{none}");
}

#[tokio::test]
async fn a_value_of_another_type_is_not_verified() {
    let dns = Arc::new(FakeDns::default());
    let selection = Selection {
        name: "a.example.com".to_owned(),
        record_type: Some(RecordType::A),
        values: vec!["::1".to_owned()],
    };

    let error = registry(&dns).verify(&selection, Duration::ZERO).await.unwrap_err();

    assert_eq!(error.to_string(), "\"::1\" is an IPv6 address, and A takes an IPv4 address: register it as AAAA");
    assert_eq!(dns.asked(), <[String; 0]>::default());
}
