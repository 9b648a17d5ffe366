//! Configured zones are compared with what CoreDNS serves before anything is written.

use dns_manager_tests::{
    app::OWNER,
    cli::Installation,
    coredns::{CoreDns, Plan},
    site::{Site, on_every_etcd},
};
use tokio::net::UdpSocket;

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_not_served_is_an_error_and_nothing_is_written() {
    on_every_etcd(&["ex.test"], async |site| {
        let address = site.coredns.address().to_string();
        for (zone, answer) in [
            ("elsewhere.test", format!("{address} answers REFUSED")),
            // A part of a zone is none of its own.
            ("sub.ex.test", format!("{address} has no SOA there")),
        ] {
            let installation = installation(site, zone, &[&address]);
            let expected = format!(
                "error: orchestrator.dns.zones: \"{zone}\" is not served: {answer}; name it in an `etcd` line of the Corefile, for \
                 which see `dns-manager config show --corefile`, or correct orchestrator.dns.zones\n"
            );
            let name = format!("web.{zone}");
            for arguments in [
                &["record", "register", &name, "A", "10.0.0.1"] as &[&str],
                &["record", "update", &name, "A", "10.0.0.1"],
                &["server", "create", &name, "--ip", "10.0.0.1"],
                &["serve"],
            ] {
                let ran = installation.run(arguments).await;

                assert_eq!((ran.status, ran.stderr.as_str()), (2, expected.as_str()), "{arguments:?}");
            }
            assert!(site.tree().await.entries.is_empty(), "{zone}");
            let servers = installation.run(&["server", "list", "--output", "json"]).await.succeeded();
            assert_eq!(servers.stdout, "[]\n");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_zone_that_is_served_no_longer_can_be_removed() {
    on_every_etcd(&["ex.test", "old.test"], async |site| {
        let address = site.coredns.address().to_string();
        installation(site, "old.test", &[&address])
            .run(&["record", "register", "web.old.test", "A", "10.0.0.1"])
            .await
            .succeeded();
        site.coredns = CoreDns::start(Plan::new(&site.etcd.url(), &["ex.test"])).await;
        let address = site.coredns.address().to_string();

        let ran = installation(site, "old.test", &[&address]).run(&["record", "unregister", "web.old.test"]).await;

        assert_eq!(ran.status, 0, "{ran:?}");
        let warning =
            format!("warning: orchestrator.dns.zones: \"old.test\" is not served: {address} answers REFUSED;");
        assert!(ran.stderr.starts_with(&warning), "{}", ran.stderr);
        assert!(site.tree().await.entries.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_name_server_proves_nothing_and_is_a_warning() {
    on_every_etcd(&["ex.test"], async |site| {
        let silent = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let silent = silent.local_addr().expect("a bound socket has an address").to_string();
        let address = site.coredns.address().to_string();

        let alone = installation(site, "ex.test", &[&silent])
            .run(&["record", "register", "one.ex.test", "A", "10.0.0.1"])
            .await
            .succeeded();
        let beside = installation(site, "ex.test", &[&silent, &address])
            .run(&["record", "register", "two.ex.test", "A", "10.0.0.2"])
            .await
            .succeeded();

        let warning = "warning: orchestrator.dns.zones: whether \"ex.test\" is served is not known: ";
        assert!(alone.stderr.starts_with(&format!("{warning}{silent} ")), "{}", alone.stderr);
        let warning = "warning: orchestrator.dns.zones: \"ex.test\" is not served everywhere: ";
        assert!(beside.stderr.starts_with(&format!("{warning}{silent} ")), "{}", beside.stderr);
        for name in ["/skydns/test/ex/one", "/skydns/test/ex/two"] {
            assert!(site.tree().await.entries.contains_key(name), "{name}");
        }
    })
    .await;
}

fn installation(site: &Site, zone: &str, nameservers: &[&str]) -> Installation {
    Installation::with_dns(&[
        format!("coredns_url = \"{}\"", site.etcd.url()),
        format!("nameservers = [\"{}\"]", nameservers.join("\", \"")),
        format!("zones = [\"{zone}\"]"),
        format!("owner = \"{OWNER}\""),
    ])
}
