//! Who is let in, and the exact words for those who are not.

use std::time::Duration;

use dns_manager_host::{Call, DnsManager, contract::Code};
use dns_manager_tests::{
    app::apply,
    certificate::Authority,
    change::{a, add},
    cli::Installation,
    cluster::{Cluster, PASSWORD, USER},
    wait,
};
use serde_json::json;

use super::{Production, ZONE, identified, release, trusting};

/// All that is logged on the way of a request; the compiler's own lines would be fifty megabytes.
const EVERYTHING: &str = "dns_manager_host=trace,dns_manager_orchestrator=trace,hyper=trace,hyper_util=trace,rustls=trace,\
                          wasmtime_wasi_http=trace,h2=trace,mio=trace";

const NO_COMMON_NAME: &str = "its gateway takes no client certificate with a common name (CN); use one without";

#[tokio::test(flavor = "multi_thread")]
async fn the_five_calls_work_on_three_members_with_tls_and_a_user() {
    let Some(site) = Production::start().await else { return };
    let manager = site.builder().verify_wait(Duration::from_secs(20)).build().await.expect("it is built");
    let (name, ip) = (format!("web-01.{ZONE}"), "192.0.2.1".parse().unwrap());

    manager.register_server_dns(&name, ip).await.unwrap();
    assert!(manager.verify_dns_resolution(&name).await.unwrap());
    let listed: Vec<_> = manager.list_records().await.unwrap().into_iter().map(|entry| entry.name).collect();
    manager.update_dns_record(&name, "192.0.2.2".parse().unwrap()).await.unwrap();
    let updated = site.coredns.ask(&name, "A").await;
    let keys = site.cluster.as_root(0).await.everything().await;
    manager.unregister_server_dns(&name).await.unwrap();

    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(updated.answers[0].ends_with("192.0.2.2"), "{updated:?}");
    assert!(!keys.is_empty() && keys.keys().iter().all(|key| key.starts_with("/skydns/")), "{:?}", keys.keys());
    assert_eq!(site.coredns.ask(&name, "A").await.rcode, "NXDOMAIN");
    assert!(site.cluster.as_root(0).await.everything().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_works_with_a_configuration_file() {
    let Some(site) = Production::start().await else { return };
    let installation = site.installation();
    let name = format!("api.{ZONE}");

    let mut seen = String::new();
    for arguments in [
        vec!["record", "register", &name, "A", "192.0.2.7"],
        vec!["record", "verify", &name],
        vec!["server", "create", "web-02.ex.test", "--ip", "192.0.2.8"],
        vec!["record", "list"],
        vec!["server", "delete", "web-02.ex.test"],
        vec!["record", "unregister", &name],
        vec!["config", "show"],
    ] {
        let ran = installation.run_with(&arguments, &[("DNS_MANAGER_LOG", EVERYTHING)]).await.succeeded();
        seen.push_str(&ran.stdout);
        seen.push_str(&ran.stderr);
    }

    assert!(seen.contains("192.0.2.7") && seen.contains("192.0.2.8"), "{seen}");
    assert!(seen.contains("password_file"), "{seen}");
    assert!(!seen.contains(PASSWORD), "the password was told");
    assert!(site.cluster.as_root(0).await.everything().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_from_the_environment_is_as_good() {
    let Some(site) = Production::start().await else { return };
    let (certificate, key) = site.cluster.client();
    let mut lines = site.lines();
    lines.extend([
        format!("tls.ca = \"{}\"", site.cluster.ca().display()),
        format!("tls.certificate = \"{}\"\ntls.key = \"{}\"", certificate.display(), key.display()),
        format!("credentials.username = \"{USER}\"\ncredentials.password_env = \"ETCD_PASSWORD\""),
    ]);
    let installation = Installation::with_dns(&lines);
    let command = ["record", "list", "--output", "json"];

    let right = installation.run_with(&command, &[("ETCD_PASSWORD", PASSWORD)]).await.succeeded();
    let wrong = installation.run_with(&command, &[("ETCD_PASSWORD", "open sesame")]).await;

    assert_eq!(right.json(), json!([]));
    assert_eq!(wrong.status, 1);
    let refused = "etcd says: the login as `dns` is refused: authentication failed, invalid user ID or password";
    assert!(wrong.stderr.contains(refused), "{wrong:?}");
    assert!(!wrong.stderr.contains("open sesame"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_named_exactly() {
    let Some(site) = Production::start().await else { return };
    let stranger = Authority::new("somebody else");
    let foreign = stranger.issue(&["client.example.com"]);
    let foreign_identity =
        trusting(&site.cluster).identity(foreign.certificate.as_bytes(), foreign.key.as_bytes()).unwrap();
    let named = site.cluster.authority.issue_named("dns", &["client.example.com"]);
    let named_identity = || {
        trusting(&site.cluster).identity(named.certificate.as_bytes(), named.key.as_bytes()).expect("a key of its own")
    };
    let other_roots = dns_manager_host::Tls::default().authorities(stranger.pem.as_bytes()).unwrap();
    let member = site.cluster.addresses()[0];
    let port = member.port();
    let plain = site.cluster.plain_url();
    let plain_address = plain.trim_start_matches("http://").to_owned();
    let one = |url: String| site.settings().backend([url]).credentials(USER, PASSWORD);
    let cases = [
        (
            site.builder_as("open sesame"),
            "denied",
            "etcd says: the login as `dns` is refused: authentication failed, invalid user ID or password".to_owned(),
        ),
        (
            site.settings().tls(identified(&site.cluster)),
            "denied",
            "etcd asks for a user and a password; configure its credentials".to_owned(),
        ),
        (
            one(format!("https://{member}")).tls(other_roots),
            "misconfigured",
            format!(
                "the backend cannot be trusted: {member}: its certificate is of an authority that is not trusted here"
            ),
        ),
        (
            one(format!("https://localhost:{port}")).tls(identified(&site.cluster)),
            "misconfigured",
            format!(
                "the backend cannot be trusted: localhost:{port}: its certificate is for 127.0.0.1, not for localhost"
            ),
        ),
        (
            one(format!("https://{member}")).tls(trusting(&site.cluster)),
            "misconfigured",
            format!(
                "the backend cannot be trusted: {member}: it asks for a client certificate, and none is configured"
            ),
        ),
        (
            one(format!("https://{member}")).tls(foreign_identity),
            "misconfigured",
            format!(
                "the backend cannot be trusted: {member}: it does not accept our client certificate: it does not know \
                 who issued it"
            ),
        ),
        (
            one(format!("https://{member}")).tls(named_identity()),
            "denied",
            format!("etcd says: {NO_COMMON_NAME}"),
        ),
        (
            site.settings().backend([format!("https://{member}")]).tls(named_identity()),
            "misconfigured",
            NO_COMMON_NAME.replace("its", "etcd's"),
        ),
        (
            site.settings().backend([format!("http://{member}")]),
            "misconfigured",
            format!("the backend cannot be trusted: {member}: it speaks TLS; write https:// instead of http://"),
        ),
        (
            one(format!("https://{plain_address}")).tls(identified(&site.cluster)),
            "unavailable",
            "the backend cannot be reached: no TLS connection comes about: what listens there speaks http, or closes the \
             connection"
                .to_owned(),
        ),
        (
            site.builder().setting("path", "/elsewhere"),
            "denied",
            format!(
                "etcd says: permission denied for the user `{USER}`, asked for `KEY` and the keys around it; \
                 the user needs to read and write all below `path`: `dns-manager doctor` shows the command that grants it"
            ),
        ),
    ];
    for (builder, code, message) in cases {
        let manager = builder.build().await.expect("nothing is asked before the first call");
        // On a busy machine a request may be cut short, and what comes of it tells of that alone.
        wait::until(&format!("{code}: {message}"), Duration::from_secs(60), async || {
            let (seen, said) = refusal(&manager).await;
            // Which of the keys of a change is asked for first does not matter.
            let said = match said
                .split_once("asked for `/elsewhere")
                .and_then(|(before, rest)| Some((before, rest.split_once('`')?.1)))
            {
                Some((before, rest)) => format!("{before}asked for `KEY`{rest}"),
                None => said,
            };
            let is_cut_short = said == "the backend cannot be reached: no connection in time";
            assert!(is_cut_short || (seen.as_str(), said.as_str()) == (code, message.as_str()), "{seen}: {said}");
            (!is_cut_short).then_some(())
        })
        .await;
    }
    assert!(site.cluster.as_root(0).await.everything().await.is_empty(), "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_named_with_its_date() {
    let Some(release) = release() else { return };
    let authority = Authority::new("production");
    let expired = authority.issue_expired(&["127.0.0.1"]);
    let cluster = Cluster::start_unacceptable(release, authority, &expired).await;
    let member = cluster.addresses()[0];
    let nobody = "127.0.0.1:9".parse().unwrap();
    let builder = dns_manager_tests::app::builder(&cluster.urls()[0], nobody, &[ZONE.to_owned()]);
    let manager = builder.tls(identified(&cluster)).build().await.unwrap();

    let (code, message) = refusal(&manager).await;

    assert_eq!(code, "misconfigured");
    let expected = "its certificate expired at 2001-02-03T00:00:00Z";
    assert_eq!(message, format!("the backend cannot be trusted: {member}: {expected}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_etcd_forgot_is_renewed_and_nothing_is_done_twice() {
    let Some(release) = release() else { return };
    let mut cluster = Cluster::start(release, 1).await;
    cluster.close_to_others().await;
    let nobody = "127.0.0.1:9".parse().unwrap();
    let builder = dns_manager_tests::app::builder(&cluster.urls()[0], nobody, &[ZONE.to_owned()]);
    let manager = builder.tls(identified(&cluster)).credentials(USER, PASSWORD).build().await.unwrap();
    let add_one = |index: u8| vec![add(&format!("w{index}.{ZONE}"), 60, [a(&format!("10.0.0.{index}"))])];
    assert!(apply(&manager, add_one(1)).await[0].status.is_done());

    // Tokens are in etcd's memory alone.
    cluster.restart(release, 0).await;
    assert!(apply(&manager, add_one(2)).await[0].status.is_done());
    // Access control goes off and on again: the token of before is not known, then none is known.
    let root = cluster.as_root(0).await;
    root.post("auth/disable", &json!({})).await;
    assert!(apply(&manager, add_one(3)).await[0].status.is_done());
    root.post("auth/enable", &json!({})).await;
    assert!(apply(&manager, add_one(4)).await[0].status.is_done());

    let tree = cluster.as_root(0).await.tree("/skydns/test/ex/").await;
    for index in 1..=4 {
        let key = format!("/skydns/test/ex/w{index}/A-0A00000{index}");
        assert_eq!(tree.entries[&key].version, 1, "{:?}", tree.keys());
    }
}

/// Code and message of a call that cannot be done.
async fn refusal(manager: &DnsManager) -> (String, String) {
    let call = Call { budget: Duration::from_secs(4), ..Call::default() };
    let outcome = manager.apply(vec![add(&format!("w.{ZONE}"), 60, [a("10.0.0.1")])], call).await.unwrap().remove(0);
    assert!(!outcome.status.is_done(), "{outcome:?}");
    let reason = outcome.reason.expect("it says why");
    let code: &Code = &reason.code;
    (code.name().to_owned(), reason.message)
}
