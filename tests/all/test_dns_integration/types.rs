//! Every record type through command line and REST: exact values in and out, and CoreDNS's answers; what stock CoreDNS
//! cannot serve is refused with its reason, and what it serves in another form is warned about.

use dns_manager_tests::{
    cli::{Installation, Ran},
    site::{Site, on_every_etcd},
};
use serde_json::{Value, json};

const ZONES: &[&str] = &["example.com", "0.0.10.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"];
/// That of 2001:db8::10.
const POINTER6: &str = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";

/// A record set, what it becomes, and where and as what it is answered.
struct Set {
    name: &'static str,
    record_type: &'static str,
    values: &'static [&'static str],
    later: &'static [&'static str],
    /// The question.
    asked: (&'static str, &'static str),
    answers: &'static [&'static str],
    /// What comes in the additional section.
    additional: &'static [&'static str],
    answers_later: &'static [&'static str],
}

/// In an order in which each can be added; the addresses of the first are what the others lead to.
const SETS: &[Set] = &[
    Set {
        name: "web.example.com",
        record_type: "A",
        values: &["10.0.0.1", "10.0.0.2"],
        later: &["10.0.0.3"],
        asked: ("web.example.com", "A"),
        answers: &["web.example.com. 300 A 10.0.0.1", "web.example.com. 300 A 10.0.0.2"],
        additional: &[],
        answers_later: &["web.example.com. 60 A 10.0.0.3"],
    },
    Set {
        name: "web.example.com",
        record_type: "AAAA",
        values: &["2001:db8::10"],
        later: &["2001:db8::11"],
        asked: ("web.example.com", "AAAA"),
        answers: &["web.example.com. 300 AAAA 2001:db8::10"],
        additional: &[],
        answers_later: &["web.example.com. 60 AAAA 2001:db8::11"],
    },
    Set {
        name: "web.example.com",
        record_type: "TXT",
        values: &["say \"hi\" \\ there", ""],
        later: &["v=spf1 -all"],
        asked: ("web.example.com", "TXT"),
        answers: &["web.example.com. 300 TXT \"\"", "web.example.com. 300 TXT \"say \\\"hi\\\" \\\\ there\""],
        additional: &[],
        answers_later: &["web.example.com. 60 TXT \"v=spf1 -all\""],
    },
    Set {
        name: "www.example.com",
        record_type: "CNAME",
        values: &["mail.example.com"],
        later: &["elsewhere.example.com"],
        // The alias of a name that is not there is asked for itself.
        asked: ("www.example.com", "CNAME"),
        answers: &["www.example.com. 300 CNAME mail.example.com."],
        additional: &[],
        answers_later: &["www.example.com. 60 CNAME elsewhere.example.com."],
    },
    Set {
        name: "mail.example.com",
        record_type: "A",
        values: &["10.0.0.25"],
        later: &["10.0.0.26"],
        asked: ("mail.example.com", "A"),
        answers: &["mail.example.com. 300 A 10.0.0.25"],
        additional: &[],
        answers_later: &["mail.example.com. 60 A 10.0.0.26"],
    },
    Set {
        name: "example.com",
        record_type: "MX",
        values: &["0 mail.example.com", "20 web.example.com"],
        later: &["10 mail.example.com"],
        asked: ("example.com", "MX"),
        answers: &["example.com. 300 MX 0 mail.example.com.", "example.com. 300 MX 20 web.example.com."],
        additional: &[
            "mail.example.com. 300 A 10.0.0.25",
            "web.example.com. 300 A 10.0.0.1",
            "web.example.com. 300 A 10.0.0.2",
        ],
        answers_later: &["example.com. 60 MX 10 mail.example.com."],
    },
    Set {
        name: "_sip._tcp.example.com",
        record_type: "SRV",
        values: &["0 60 5060 mail.example.com", "0 7 5061 mail.example.com", "10 300 5062 mail.example.com"],
        later: &["10 1 5060 mail.example.com"],
        asked: ("_sip._tcp.example.com", "SRV"),
        answers: &[
            "_sip._tcp.example.com. 300 SRV 0 60 5060 mail.example.com.",
            "_sip._tcp.example.com. 300 SRV 0 7 5061 mail.example.com.",
            "_sip._tcp.example.com. 300 SRV 10 300 5062 mail.example.com.",
        ],
        additional: &["mail.example.com. 300 A 10.0.0.25"],
        answers_later: &["_sip._tcp.example.com. 60 SRV 10 1 5060 mail.example.com."],
    },
    Set {
        name: "1.0.0.10.in-addr.arpa",
        record_type: "PTR",
        values: &["web.example.com"],
        later: &["www.example.com"],
        asked: ("1.0.0.10.in-addr.arpa", "PTR"),
        answers: &["1.0.0.10.in-addr.arpa. 300 PTR web.example.com."],
        additional: &[],
        answers_later: &["1.0.0.10.in-addr.arpa. 60 PTR www.example.com."],
    },
    Set {
        name: POINTER6,
        record_type: "PTR",
        values: &["web.example.com"],
        later: &["www.example.com"],
        asked: (POINTER6, "PTR"),
        answers: &[
            "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 300 PTR web.example.com.",
        ],
        additional: &[],
        answers_later: &[
            "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 60 PTR www.example.com.",
        ],
    },
    // The addresses at such a name are a name server of the zone.
    Set {
        name: "ns1.ns.dns.example.com",
        record_type: "A",
        values: &["10.0.0.53"],
        later: &["10.0.0.54"],
        asked: ("example.com", "NS"),
        answers: &["example.com. 300 NS ns1.ns.dns.example.com."],
        additional: &["ns1.ns.dns.example.com. 300 A 10.0.0.53"],
        answers_later: &["example.com. 60 NS ns1.ns.dns.example.com."],
    },
    Set {
        name: "ns1.ns.dns.example.com",
        record_type: "AAAA",
        values: &["2001:db8::53"],
        later: &["2001:db8::54"],
        asked: ("ns1.ns.dns.example.com", "AAAA"),
        answers: &["ns1.ns.dns.example.com. 300 AAAA 2001:db8::53"],
        additional: &[],
        answers_later: &["ns1.ns.dns.example.com. 60 AAAA 2001:db8::54"],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_in_and_comes_out_by_command() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        let run = async |arguments: &[&str]| installation.run(arguments).await;
        for set in SETS {
            let register = [&["record", "register", set.name, set.record_type], set.values, &["--output", "json"]];
            let registered = run(&register.concat()).await.succeeded();
            assert!(!registered.stderr.contains("warning"), "{registered:?}");
            assert_eq!(outcomes(&registered.json()), expected(set.values, "created"), "{registered:?}");
            assert_listed(&listing(&installation, set).await, set, set.values, 300);
            run(&["record", "verify", set.name, set.record_type]).await.succeeded();
            run(&[&["record", "verify", set.name, set.record_type], set.values].concat()).await.succeeded();
        }
        for set in SETS {
            assert_answers(site, set, set.answers).await;
        }
        for set in SETS {
            let update = [&["record", "update", set.name, set.record_type, "--ttl", "60"], set.later].concat();
            run(&update).await.succeeded();
            assert_listed(&listing(&installation, set).await, set, set.later, 60);
            run(&["record", "verify", set.name, set.record_type]).await.succeeded();
        }
        for set in SETS {
            assert_eq!(site.coredns.ask(set.asked.0, set.asked.1).await.sorted(), set.answers_later, "{}", set.name);
        }
        for set in SETS {
            let unregister = [&["record", "unregister", set.name, set.record_type], set.later, &["--output", "json"]];
            let removed = run(&unregister.concat()).await.succeeded();
            assert_eq!(outcomes(&removed.json()), expected(set.later, "deleted"), "{removed:?}");
        }
        assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.values());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_in_and_comes_out_over_rest() {
    on_every_etcd(ZONES, async |site| {
        let serving = Installation::of(site).serve().await;
        let sets: Vec<Value> = SETS
            .iter()
            .map(|set| json!({"name": set.name, "record_type": set.record_type, "values": set.values}))
            .collect();

        let (status, body) = serving.call("POST", "/api/v1/dns/records", Some(sets.into())).await;

        assert_eq!(status, 200, "{body}");
        for set in SETS {
            let path = format!("/api/v1/dns/records?name={}&type={}", set.name, set.record_type);
            let (status, listed) = serving.call("GET", &path, None).await;
            assert_eq!(status, 200, "{listed}");
            assert_listed(&listed["data"], set, set.values, 300);
            assert_answers(site, set, set.answers).await;
            let verify = json!({"record_type": set.record_type});
            let path = format!("/api/v1/dns/records/{}/verify", set.name);
            let (status, verified) = serving.call("POST", &path, Some(verify)).await;
            assert_eq!((status, &verified["data"][0]["outcome"]), (200, &json!("verified")), "{verified}");
        }
        for set in SETS {
            let path = format!("/api/v1/dns/records/{}/{}", set.name, set.record_type);
            let (status, body) = serving.call("PUT", &path, Some(json!({"values": set.later, "ttl": 60}))).await;
            assert_eq!(status, 200, "{body}");
        }
        for set in SETS {
            assert_eq!(site.coredns.ask(set.asked.0, set.asked.1).await.sorted(), set.answers_later, "{}", set.name);
        }
        for set in SETS {
            let path = format!("/api/v1/dns/records/{}/{}", set.name, set.record_type);
            let (status, body) = serving.call("DELETE", &path, None).await;
            assert_eq!(status, 200, "{body}");
            assert_eq!(outcomes(&body["data"]), expected(set.later, "deleted"), "{body}");
        }
        assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.values());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stock_coredns_cannot_serve_is_refused_with_the_reason() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        let long = format!("10 {0}.{0}.{0}.{1}.example.com", "t".repeat(63), "u".repeat(45));
        let text = "x".repeat(4000);
        let texts: Vec<String> = (0..17).map(|i| format!("{text}{i:02}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let octets = format!("\\# 101 64{}", "ff".repeat(100));
        // Name, type, values; code and a part of the reason.
        let cases: Vec<(&str, &str, Vec<&str>, &str, &str)> = vec![
            ("w.example.com", "AAAA", vec!["::ffff:10.0.0.1"], "unsupported", "register A 10.0.0.1"),
            ("w.example.com", "AAAA", vec!["10.0.0.1"], "invalid", "register it as A"),
            ("w.example.com", "A", vec!["10.0.0.1", "010.0.0.1"], "invalid", "is not an IPv4 address"),
            ("w.example.com", "CNAME", vec!["10.0.0.9"], "invalid", "register the address as A or AAAA"),
            ("w.example.com", "CNAME", vec!["a.example.com", "b.example.com"], "invalid", "one CNAME only"),
            ("w.example.com", "CNAME", vec!["w.example.com"], "invalid", "close a loop"),
            ("example.com", "CNAME", vec!["w.example.com"], "invalid", "register addresses instead"),
            ("1.0.0.10.in-addr.arpa", "CNAME", vec!["w.example.com"], "unsupported", "register the PTR itself"),
            (
                "1.0.0.10.in-addr.arpa",
                "PTR",
                vec!["a.example.com", "b.example.com"],
                "unsupported",
                "serves one PTR at a name",
            ),
            ("w.example.com", "MX", vec!["10 *.example.com"], "unsupported", "for a wildcard"),
            ("w.example.com", "SRV", vec!["1 1 1 any.example.com"], "unsupported", "for a wildcard"),
            ("w.example.com", "MX", vec!["10"], "invalid", "write preference and name"),
            ("w.example.com", "MX", vec!["65536 mail.example.com"], "invalid", "write preference and name"),
            ("w.example.com", "SRV", vec!["1 1 sip.example.com"], "invalid", "write priority, weight, port and name"),
            ("w.example.com", "MX", vec![&long], "unsupported", "too long by"),
            ("w.example.com", "TXT", texts, "unsupported", "use fewer or shorter values"),
            ("w.example.com", "TXT", vec![&octets], "unsupported", "as base64"),
            ("example.com", "NS", vec!["ns1.example.com"], "unsupported", "register an A or AAAA at"),
            ("w.example.com", "NS", vec!["ns1.example.com"], "unsupported", "<label>.ns.dns.<zone>"),
            ("ns1.ns.dns.example.com", "TXT", vec!["v"], "unsupported", "only A and AAAA can stand there"),
            ("x.apex.dns.example.com", "A", vec!["10.0.0.1"], "unsupported", "a meaning of their own"),
            ("example.com", "SOA", vec!["a b 1 2 3 4 5"], "invalid", "makes the SOA itself"),
            ("example.com", "CAA", vec!["\\# 3 00aabb"], "unsupported", "MX and SRV only"),
            ("w.example.com", "TYPE65280", vec!["\\# 0"], "unsupported", "MX and SRV only"),
            ("*.example.com", "A", vec!["10.0.0.1"], "unsupported", "*"),
            ("any.example.com", "A", vec!["10.0.0.1"], "unsupported", "any"),
            ("a/b.example.com", "A", vec!["10.0.0.1"], "unsupported", "a/b"),
            ("w.example.org", "A", vec!["10.0.0.1"], "outside-zones", "add its zone"),
        ];
        for (name, record_type, values, code, part) in cases {
            let register = [&["record", "register", name, record_type, "--output", "json", "--"], values.as_slice()];

            let refused = installation.run(&register.concat()).await;

            assert_eq!(refused.status, 1, "{name} {record_type}: {refused:?}");
            for outcome in refused.json().as_array().expect("outcomes") {
                assert_eq!(
                    (&outcome["outcome"], &outcome["reason"]["code"]),
                    (&json!("refused"), &json!(code)),
                    "{outcome}"
                );
            }
            let reasons = refused.json().to_string();
            assert!(reasons.contains(part), "{name} {record_type}: {part:?} is not in {reasons}");
            assert!(refused.stderr.contains("error: "), "each is named for people: {refused:?}");
        }
        for ttl in ["0", "-1", "2147483648"] {
            let refused =
                installation.run(&["record", "register", "w.example.com", "A", "10.0.0.1", "--ttl", ttl]).await;
            assert_eq!(refused.status, 1, "{refused:?}");
            assert!(refused.stderr.contains("is out of range: a TTL is 1 to 2147483647 seconds"), "{refused:?}");
        }
        assert!(site.tree().await.is_empty(), "nothing was written: {:#?}", site.tree().await.values());

        // What depends on what is there.
        let run = async |arguments: &[&str]| installation.run(arguments).await;
        run(&["record", "register", "w.example.com", "A", "10.0.0.1"]).await.succeeded();
        run(&["record", "register", "1.0.0.10.in-addr.arpa", "PTR", "w.example.com"]).await.succeeded();
        for (name, record_type, value) in
            [("w.example.com", "CNAME", "x.example.com"), ("1.0.0.10.in-addr.arpa", "PTR", "x.example.com")]
        {
            let conflict = run(&["record", "register", name, record_type, value, "--output", "json"]).await;
            assert_eq!(conflict.status, 1, "{conflict:?}");
            assert_eq!(conflict.json()[0]["outcome"], "conflict", "{conflict:?}");
            assert_eq!(conflict.json()[0]["reason"]["code"], "coexistence", "{conflict:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_in_another_form_is_warned_about() {
    on_every_etcd(ZONES, async |site| {
        let installation = Installation::of(site);
        let run = async |arguments: &[&str]| installation.run(arguments).await;
        let warned = |ran: &Ran, part: &str| {
            let warning = ran.stderr.lines().find(|line| line.starts_with("warning: "));
            assert!(warning.is_some_and(|line| line.contains(part)), "{part:?} is not in {ran:?}");
        };

        // A weight of 0 cannot be stored.
        let name = "_sip._tcp.example.com";
        let zero = "10 0 5060 sip.example.com";
        let weightless = run(&["record", "register", name, "SRV", zero, "--output", "json"]).await.succeeded();
        warned(&weightless, "weight 1 where 0 was registered");
        assert_eq!(outcomes(&weightless.json()), expected(&["10 1 5060 sip.example.com"], "created"));
        assert_eq!(
            site.coredns.ask(name, "SRV").await.answers,
            ["_sip._tcp.example.com. 300 SRV 10 1 5060 sip.example.com."]
        );
        run(&["record", "verify", name]).await.succeeded();
        let removed = run(&["record", "unregister", name, "SRV", zero]).await.succeeded();
        assert!(removed.stdout.contains("deleted"), "{removed:?}");
        assert!(site.tree().await.is_empty());

        // The target of an MX outside the zone is followed for TXT questions, at other names than the apex for addresses, too.
        run(&["record", "register", "w.example.com", "TXT", "v=spf1 -all"]).await.succeeded();
        let hosted = run(&["record", "register", "w.example.com", "MX", "10 mail.example.org"]).await.succeeded();
        warned(&hosted, "outside the zone `example.com`");
        let texts = site.coredns.ask("w.example.com", "TXT").await.answers;
        assert!(texts.iter().any(|answer| answer.contains(" CNAME ")), "that is so: {texts:?}");

        let below = run(&["record", "register", "app.example.com", "CNAME", "v2.app.example.com"]).await.succeeded();
        warned(&below, "a name below itself");
    })
    .await;
}

async fn listing(installation: &Installation, set: &Set) -> Value {
    let list = ["record", "list", "--name", set.name, "--type", set.record_type, "--output", "json"];
    installation.run(&list).await.succeeded().json()
}

fn assert_listed(listed: &Value, set: &Set, values: &[&str], ttl: u32) {
    let mut listed = listed.as_array().expect("a list").clone();
    let mut expected: Vec<Value> = values
        .iter()
        .map(|value| json!({"name": set.name, "record_type": set.record_type, "value": value, "ttl": ttl}))
        .collect();
    for list in [&mut listed, &mut expected] {
        list.sort_by_key(Value::to_string);
    }
    assert_eq!(listed, expected);
}

async fn assert_answers(site: &Site, set: &Set, answers: &[&str]) {
    let (name, rr_type) = set.asked;
    let mut answer = site.coredns.ask(name, rr_type).await;
    assert_eq!(answer.rcode, "NOERROR", "{name} {rr_type}: {answer:?}");
    assert_eq!(answer.sorted(), answers, "{name} {rr_type}");
    answer.additional.retain(|line| set.additional.contains(&line.as_str()));
    answer.additional.sort();
    answer.additional.dedup();
    assert_eq!(answer.additional, set.additional, "{name} {rr_type}");
}

/// `value outcome` of each, sorted.
fn outcomes(outcomes: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let outcomes = outcomes.as_array().into_iter().flatten();
    let mut told: Vec<_> =
        outcomes.map(|outcome| format!("{} {}", text(&outcome["value"]), text(&outcome["outcome"]))).collect();
    told.sort();
    told
}

fn expected(values: &[&str], outcome: &str) -> Vec<String> {
    let mut told: Vec<_> = values.iter().map(|value| format!("{value} {outcome}")).collect();
    told.sort();
    told
}
