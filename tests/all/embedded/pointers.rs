//! `ptr = true` on the embedded default, whose reverse zones are those that are configured.

use dns_manager_tests::{cli::Installation, dns, port::free_address};

const POINTER: &str = "5.0.0.10.in-addr.arpa";
/// That of 2001:db8::10.
const POINTER6: &str = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";

#[tokio::test]
async fn configured_reverse_zones_have_the_ptrs_of_servers() {
    let nameserver = free_address();
    let installation = Installation::new(&format!(
        "[orchestrator.dns]\nzones = [\"example.com\", \"0.0.10.in-addr.arpa\", \"8.b.d.0.1.0.0.2.ip6.arpa\"]\nptr = true\n\
         [orchestrator.embedded]\ndns_listen = \"{nameserver}\"\n"
    ));
    let create =
        ["server", "create", "web-01.example.com", "--ip", "10.0.0.5", "--ip", "2001:db8::10", "--output", "json"];

    let created = installation.run(&create).await.succeeded();

    let server = created.json();
    let verified = server["steps"].as_array().and_then(|steps| steps.last()).map(|step| &step["detail"]);
    let detail = verified.and_then(|detail| detail.as_str()).unwrap_or_default();
    assert!(detail.starts_with("A, AAAA, PTR verified, resolvable at "), "{server:#}");
    let serving = installation.serve().await;
    for pointer in [POINTER, POINTER6] {
        let answer = dns::ask(nameserver, pointer, "PTR").await;
        assert_eq!(answer.answers, [format!("{pointer}. 300 PTR web-01.example.com.")]);
    }
    // A name between an IPv6 address and its zone is no alias of anything.
    let above = dns::ask(nameserver, &POINTER6[8..], "A").await;
    assert_eq!((above.rcode.as_str(), above.answers.len()), ("NOERROR", 0), "{above:?}");

    installation.run(&["server", "delete", "web-01.example.com"]).await.succeeded();
    assert_eq!(dns::ask(nameserver, POINTER, "PTR").await.rcode, "NXDOMAIN");
    let (_, listed) = serving.call("GET", "/api/v1/dns/records", None).await;
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(0), "{listed}");
}

#[tokio::test]
async fn without_a_reverse_zone_an_address_has_no_ptr_and_one_word_says_so() {
    let nameserver = free_address();
    let installation = Installation::new(&format!(
        "[orchestrator.dns]\nptr = true\n[orchestrator.embedded]\ndns_listen = \"{nameserver}\"\n"
    ));

    let created = installation.run(&["server", "create", "web-01.example.com", "--ip", "10.0.0.5"]).await.succeeded();

    assert_eq!(created.stderr.matches("no PTR is registered for 10.0.0.5").count(), 1, "{created:?}");
}
