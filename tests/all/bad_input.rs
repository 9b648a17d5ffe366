//! What is refused, each with its exact words; nothing of it is ever sent.
//!
//! These go through the binary: the orchestrator refuses what it cannot put
//! into the contract's words, the component everything else.

use dns_manager_tests::{
    cli::{Installation, Ran},
    port::free_address,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Code and message.
type Case = (&'static str, String);

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_served_are_refused_in_words_and_never_sent() {
    let (backend, installation) = silent_backend().await;
    let serving = installation.serve().await;
    let (sets, expected): (Vec<Value>, Vec<Case>) = refused_records().into_iter().unzip();

    let (status, body) = serving.call("POST", "/api/v1/dns/records", Some(Value::Array(sets.clone()))).await;

    assert_eq!(status, 400, "{body}");
    let mut outcomes = body["data"].as_array().expect("outcomes").iter();
    let mut wrong = Vec::new();
    for (set, (code, message)) in sets.iter().zip(&expected) {
        // One outcome for each value.
        for outcome in outcomes.by_ref().take(set["values"].as_array().expect("values").len()) {
            let seen = (&outcome["outcome"], &outcome["reason"]["code"], &outcome["reason"]["message"]);
            if seen != (&json!("refused"), &json!(code), &json!(message)) {
                wrong.push(format!("{set}\n  is: {outcome}\n  not: refused ({code}): {message}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(outcomes.next(), None);
    assert!(nobody_came(&backend).await, "something was sent for records that are refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_names_each_refused_record_and_its_reason() {
    let (backend, installation) = silent_backend().await;

    let ran = installation.run(&["record", "register", "web.ex.test", "A", "10.0.0.1", "2001:db8::10"]).await;

    assert_eq!(ran.status, 1, "{ran:?}");
    let why = "\"2001:db8::10\" is an IPv6 address, and A takes an IPv4 address: register it as AAAA";
    let address = backend.local_addr().expect("a bound socket has an address");
    assert_eq!(
        ran.stderr,
        format!(
            "warning: orchestrator.dns.zones: whether \"ex.test\" is served is not known: {address} was not reached (Connection \
             refused (os error 111)): is CoreDNS running there, and is `nameservers` right?\n\
             error: web.ex.test A 10.0.0.1: refused (invalid): it stands or falls with the other values of its set, one of \
             which is refused: {why}\nerror: web.ex.test A 2001:db8::10: refused (invalid): {why}\n"
        )
    );
    assert!(nobody_came(&backend).await, "something was sent for records that are refused");
}

fn refused_records() -> Vec<(Value, Case)> {
    let case = |words: &[&str], code: &'static str, message: &str| {
        let set = json!({"name": words[0], "record_type": words[1], "values": words[2..]});
        (set, (code, message.to_owned()))
    };
    let with_ttl = |ttl: i64, message: &str| {
        let set = json!({"name": "web.ex.test", "record_type": "A", "values": ["10.0.0.1"], "ttl": ttl});
        (set, ("invalid", message.to_owned()))
    };
    let long_label = "a".repeat(64);
    let label = "a".repeat(63);
    let long_name = format!("{label}.{label}.{label}.{}.ex.test", "b".repeat(54));
    assert_eq!(long_name.len(), 254);
    let none = "is in none of the zones that may be written (ex.test); correct the name, or add its zone to `zones` and to the \
                Corefile";
    vec![
        case(
            &["web 01.ex.test", "A", "10.0.0.1"],
            "unsupported",
            "`web\\ 01.ex.test`: the label `web\\ 01` holds ` `; only letters, digits, `-` and `_` can be served",
        ),
        case(
            &[&format!("{long_label}.ex.test"), "A", "10.0.0.1"],
            "invalid",
            &format!(
                "`{long_label}.ex.test` is no name: the label `{long_label}` has 64 octets, and 63 is the most that DNS allows"
            ),
        ),
        case(
            &[&long_name, "A", "10.0.0.1"],
            "invalid",
            &format!(
                "`{}...` is no name: it has 254 characters, and 253 is the most that DNS allows",
                &long_name[..80]
            ),
        ),
        case(
            &["*.apps.ex.test", "A", "10.0.0.1"],
            "unsupported",
            "`*.apps.ex.test`: CoreDNS's etcd plugin serves no wildcard records; put this into the Corefile instead, with your \
             address: template IN A apps.ex.test { match \"^[^.]+[.]apps[.]ex[.]test[.]$\" answer \"{{ .Name }} 300 IN A \
             192.0.2.1\" fallthrough }",
        ),
        case(
            &["any.ex.test", "A", "10.0.0.1"],
            "unsupported",
            "`any.ex.test`: CoreDNS's etcd plugin takes the label `any` in a question for a wildcard, so this name cannot be \
             served; choose another name",
        ),
        case(
            &["www.ex.test", "CNAME", "10.0.0.9"],
            "invalid",
            "\"10.0.0.9\" is an IP address, and CNAME takes a name: register the address as A or AAAA",
        ),
        case(
            &["web.ex.test", "A", "2001:db8::10"],
            "invalid",
            "\"2001:db8::10\" is an IPv6 address, and A takes an IPv4 address: register it as AAAA",
        ),
        case(
            &["web.ex.test", "AAAA", "10.0.0.1"],
            "invalid",
            "\"10.0.0.1\" is an IPv4 address, and AAAA takes an IPv6 address: register it as A",
        ),
        case(
            &["web.ex.test", "A", "10.0.0.256"],
            "invalid",
            "\"10.0.0.256\" is not an IPv4 address, such as 192.168.1.10",
        ),
        case(
            &["web.ex.test", "AAAA", "::ffff:10.0.0.1"],
            "unsupported",
            "`web.ex.test` AAAA `::ffff:10.0.0.1` is the IPv4 address 10.0.0.1 in IPv6 form, which CoreDNS serves as an A; \
             register A 10.0.0.1",
        ),
        with_ttl(0, "0 is out of range: a TTL is 1 to 2147483647 seconds"),
        with_ttl(-1, "-1 is out of range: a TTL is 1 to 2147483647 seconds"),
        with_ttl(2_147_483_648, "2147483648 is out of range: a TTL is 1 to 2147483647 seconds"),
        case(&["web.elsewhere.test", "A", "10.0.0.1"], "outside-zones", &format!("`web.elsewhere.test` {none}")),
        case(&["10.0.0.9", "A", "10.0.0.9"], "outside-zones", &format!("`10.0.0.9` {none}")),
        case(
            &["ex.test", "CNAME", "web.ex.test"],
            "invalid",
            "`ex.test` is the apex of a zone, where SOA and NS stand; a CNAME cannot stand beside them (RFC 1034 3.6.2); register \
             addresses instead",
        ),
        case(
            &["www.ex.test", "CNAME", "one.ex.test", "two.ex.test"],
            "invalid",
            "`www.ex.test`: a name has one CNAME only (RFC 2181 10.1), and this would be 2",
        ),
        case(
            &["x.apex.dns.ex.test", "A", "10.0.0.1"],
            "unsupported",
            "`x.apex.dns.ex.test`: CoreDNS gives the names at and below `apex.dns.ex.test` and `ns.dns.ex.test` a meaning of \
             their own; register the addresses of `ex.test` at `ex.test` itself, and those of its name servers at \
             `<label>.ns.dns.ex.test`",
        ),
        case(
            &["ns1.ns.dns.ex.test", "TXT", "x"],
            "unsupported",
            "`ns1.ns.dns.ex.test` is a name server of `ex.test`; only A and AAAA can stand there",
        ),
        case(
            &["ex.test", "NS", "ns1.example.com"],
            "unsupported",
            "`ex.test`: CoreDNS's etcd plugin makes the NS records of a zone itself: register an A or AAAA at \
             `<label>.ns.dns.<zone>`, and that name is a name server of the zone",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_that_is_wrong_is_named_where_it_stands() {
    let cases = [
        (
            "[orchestrator.dns]\ncoredns_urls = \"http://localhost:2379\"\n",
            "error: config.toml:2: unknown key \"orchestrator.dns.coredns_urls\": the nearest known one is \"orchestrator.dns.coredns_url\"\n",
        ),
        (
            "[orchestrator.dns]\ncoredns_url = \"localhost:2379\"\n",
            "error: config.toml:2: orchestrator.dns.coredns_url: \"localhost:2379\" has no scheme: write \"http://localhost:2379\"\n",
        ),
        (
            "[orchestrator.dns]\ncoredns_url = \"ftp://localhost:2379\"\n",
            "error: config.toml:2: orchestrator.dns.coredns_url: \"ftp://localhost:2379\": the scheme \"ftp\" is not known: write \"http://localhost:2379\"\n",
        ),
        (
            "[orchestrator.dns]\nttl = 0\n",
            "error: config.toml:2: orchestrator.dns.ttl: 0 is out of range: a TTL is 1 to 2147483647 seconds\n",
        ),
        (
            "[orchestrator.dns]\nttl = 2147483648\n",
            "error: config.toml:2: orchestrator.dns.ttl: 2147483648 is out of range: a TTL is 1 to 2147483647 seconds\n",
        ),
        (
            "[orchestrator.dns]\nzones = [\"ex ample.com\"]\n",
            "error: config.toml:2: orchestrator.dns.zones: \"ex ample.com\" is not a name: label \"ex ample\" has white space\n",
        ),
    ];
    for (config, expected) in cases {
        let ran = Installation::new(config).run(&["record", "list"]).await;

        assert_eq!((ran.status, ran.stderr.as_str()), (2, expected), "{config}");
        assert_eq!(ran.stdout, "", "{config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn port_53_is_taken_for_the_name_server_with_a_warning() {
    let installation = Installation::with_dns(&["coredns_url = \"http://localhost:53\"".to_owned()]);

    let shown = installation.run(&["config", "show", "--output", "json"]).await.succeeded();

    assert_eq!(
        shown.stderr,
        "warning: orchestrator.dns.coredns_url: \"http://localhost:53\" is where CoreDNS answers DNS, so it is used as the \
         name server; records are managed at \"http://localhost:2379\": write that URL to end this warning\n"
    );
    let value = |key: &str| {
        let shown = shown.json();
        let found = shown.as_array().into_iter().flatten().find(|entry| entry["key"] == key).cloned();
        found.unwrap_or_else(|| panic!("no {key}: {shown}"))["value"].clone()
    };
    assert_eq!(value("orchestrator.dns.nameservers"), json!(["localhost:53"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_name_is_none_is_refused_before_anything_is_done() {
    let (backend, installation) = silent_backend().await;
    for (hostname, expected) in [
        ("web 01.ex.test", "error: \"web 01.ex.test\" is not a host name: label \"web 01\" has white space\n"),
        ("10.0.0.9", "error: \"10.0.0.9\" is not a host name: it is an IP address\n"),
        (
            "web_01.ex.test",
            "error: \"web_01.ex.test\" is not a host name: label \"web_01\" has \"_\": letters, digits and \"-\" are allowed\n",
        ),
        (
            "web-01",
            "error: \"web-01\" is not a full host name: give \"web-01.ex.test\", say, or set orchestrator.domain\n",
        ),
    ] {
        let Ran { status, stderr, .. } = installation.run(&["server", "create", hostname, "--ip", "10.0.0.1"]).await;
        assert_eq!((status, stderr.as_str()), (2, expected), "{hostname}");
    }
    let without = installation.run(&["server", "create", "web-01.ex.test"]).await;
    assert_eq!(
        without.stderr,
        "error: web-01.ex.test cannot be created: the static provider cannot know a server's addresses: give at least one, as --ip or in \"addresses\"\n",
        "{without:?}"
    );
    let none = installation.run(&["server", "create", "web-01.ex.test", "--ip", "10.0.0.256"]).await;
    assert_eq!(none.status, 2, "{none:?}");
    let listed = installation.run(&["server", "list", "--output", "json"]).await.succeeded();
    assert_eq!(listed.json(), json!([]));
    assert!(nobody_came(&backend).await, "something was sent for servers that are refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_shown_with_the_usage() {
    let installation = Installation::new("");
    for arguments in [&["record", "register"] as &[&str], &["nonsense"], &["server", "create"]] {
        let ran = installation.run(arguments).await;
        assert_eq!(ran.status, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("Usage: dns-manager"), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    let help = installation.run(&["--help"]).await.succeeded();
    for command in ["serve", "server", "record", "config", "plugin"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command} is missing in:\n{}", help.stdout);
    }
}

/// A backend that must never be reached, and an installation in front of it.
async fn silent_backend() -> (TcpListener, Installation) {
    let address = free_address();
    let listener = TcpListener::bind(address).await.expect("a free port");
    let own = [
        format!("coredns_url = \"http://{address}\""),
        format!("nameservers = [\"{address}\"]"),
        "zones = [\"ex.test\"]".to_owned(),
        // A pass looks at the backend by itself.
        "[orchestrator.reconcile]\nevery = \"never\"".to_owned(),
    ];
    (listener, Installation::with_dns(&own))
}

/// Whether no connection waits to be accepted.
async fn nobody_came(listener: &TcpListener) -> bool {
    tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await.is_err()
}
