//! Servers through the command line, as a person would, on well-known ports.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use dns_manager_tests::{
    cli::Installation,
    coredns::{CoreDns, Plan},
    etcd::{Etcd, Release},
    left_out::left_out,
    site::{Site, installed, on_every_etcd, test_name},
};
use serde_json::json;

const ZONE: &str = "example.com";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_comes_and_goes_with_nothing_configured_but_the_url() {
    for release in installed() {
        let Some(site) = well_known(release, None).await else { return };
        let ip = site.etcd.address().ip();
        let installation = Installation::with_dns(&[format!("coredns_url = \"http://{ip}:2379\"")]);

        let created = comes_and_goes(&site, &installation).await;

        assert_eq!(created, "", "progress is for terminals");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_the_users_document_names_the_dns_port_and_works_with_a_warning() {
    for release in installed() {
        let Some(site) = well_known(release, None).await else { return };
        let ip = site.etcd.address().ip();
        let installation = Installation::with_dns(&[format!("coredns_url = \"http://{ip}:53\"")]);

        let created = comes_and_goes(&site, &installation).await;

        let warning = format!(
            "warning: orchestrator.dns.coredns_url: \"http://{ip}:53\" is where CoreDNS answers DNS, so it is used as the \
             name server; records are managed at \"http://{ip}:2379\": write that URL to end this warning\n"
        );
        assert_eq!(created, warning);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn localhost_53_works_as_the_users_document_has_it() {
    for release in installed() {
        // Here alone the ports are not ours to choose: somebody may have them.
        let Some(site) = well_known(release, Some(Ipv4Addr::LOCALHOST)).await else { return };
        let installation = Installation::with_dns(&["coredns_url = \"http://localhost:53\"".to_owned()]);
        comes_and_goes(&site, &installation).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_registered_automatically_leaves_dns_alone() {
    on_every_etcd(&[ZONE], async |site| {
        let installation = Installation::of(site);
        let variables = [("DNS_MANAGER__ORCHESTRATOR__DNS__AUTO_REGISTER", "false")];

        let create = ["server", "create", "web-01.example.com", "--ip", "192.168.1.10"];
        installation.run_with(&create, &variables).await.succeeded();

        assert!(site.tree().await.is_empty());
        installation.run_with(&["server", "delete", "web-01.example.com"], &variables).await.succeeded();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_server_takes_its_own_values_and_no_others() {
    on_every_etcd(&[ZONE], async |site| {
        let installation = Installation::of(site);
        installation.run(&["server", "create", "web-01.example.com", "--ip", "192.168.1.10"]).await.succeeded();
        installation.run(&["record", "register", "web-01.example.com", "A", "192.168.1.99"]).await.succeeded();
        installation.run(&["record", "register", "web-01.example.com", "TXT", "by hand"]).await.succeeded();

        installation.run(&["server", "delete", "web-01.example.com"]).await.succeeded();

        let left = installation.run(&["record", "list", "--output", "json"]).await.succeeded().json();
        assert_eq!(
            left,
            json!([
                {"name": "web-01.example.com", "record_type": "A", "value": "192.168.1.99", "ttl": 300},
                {"name": "web-01.example.com", "record_type": "TXT", "value": "by hand", "ttl": 300},
            ])
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_reported_on_the_server_and_the_workflow_goes_on() {
    on_every_etcd(&[ZONE], async |site| {
        let installation = Installation::of(site);
        installation.run(&["record", "register", "web-01.example.com", "CNAME", "other.example.com"]).await.succeeded();

        let created = installation
            .run(&["server", "create", "web-01.example.com", "--ip", "192.168.1.10", "--output", "json"])
            .await;

        assert_eq!(created.status, 1, "{created:?}");
        let server = created.json();
        assert_eq!(server["state"], "ready", "{server}");
        assert_eq!(server["dns"]["records"][0]["outcome"], "conflict", "{server}");
        assert_eq!(server["dns"]["records"][0]["reason"]["code"], "coexistence", "{server}");
        installation.run(&["server", "delete", "web-01.example.com"]).await.succeeded();
        assert_eq!(
            site.coredns.ask("web-01.example.com", "CNAME").await.answers,
            ["web-01.example.com. 300 CNAME other.example.com."]
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_go_through_a_running_serve() {
    on_every_etcd(&[ZONE], async |site| {
        let installation = Installation::of(site);
        let serving = installation.serve().await;

        let create = ["server", "create", "web-01.example.com", "--ip", "192.168.1.10", "--output", "json"];
        let created = installation.run(&create).await.succeeded().json();

        assert_eq!(created["state"], "ready", "{created}");
        let (_, servers) = serving.call("GET", "/api/v1/servers", None).await;
        assert_eq!(servers["data"][0]["hostname"], "web-01.example.com", "{servers}");
        installation.run(&["server", "delete", "web-01.example.com"]).await.succeeded();
        assert!(site.tree().await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn record_commands_do_what_they_say() {
    on_every_etcd(&[ZONE], async |site| {
        let installation = Installation::of(site);
        let run = async |arguments: &[&str]| installation.run(arguments).await;

        run(&["record", "register", "web.example.com", "A", "10.0.0.1", "10.0.0.2", "--ttl", "60"]).await.succeeded();
        run(&["record", "register", "www.example.com", "CNAME", "web.example.com"]).await.succeeded();
        run(&["record", "register", "web.example.com", "TXT", "say \"hi\" \\ there"]).await.succeeded();
        assert_eq!(site.coredns.ask("web.example.com", "TXT").await.texts, [br#"say "hi" \ there"#]);
        run(&["record", "verify", "web.example.com"]).await.succeeded();
        run(&["record", "update", "web.example.com", "A", "10.0.0.3"]).await.succeeded();
        assert_eq!(site.coredns.ask("web.example.com", "A").await.answers, ["web.example.com. 300 A 10.0.0.3"]);

        let listed = run(&["record", "list", "--type", "A", "--output", "json"]).await.succeeded().json();
        assert_eq!(listed, json!([{"name": "web.example.com", "record_type": "A", "value": "10.0.0.3", "ttl": 300}]));
        run(&["record", "unregister", "web.example.com", "A"]).await.succeeded();
        run(&["record", "unregister", "web.example.com"]).await.succeeded();
        run(&["record", "unregister", "www.example.com", "CNAME", "web.example.com"]).await.succeeded();
        assert!(site.tree().await.is_empty());

        let verified = run(&["record", "verify", "web.example.com", "A", "10.0.0.3", "--wait", "0s"]).await;
        assert_eq!(verified.status, 1, "{verified:?}");
        assert!(verified.stdout.contains("not-found"), "{verified:?}");
    })
    .await;
}

/// Creates a server, asks for it, deletes it; what `create` said on standard error.
async fn comes_and_goes(site: &Site, installation: &Installation) -> String {
    let create = ["server", "create", "web-01.example.com", "--ip", "192.168.1.10", "--ip", "2001:db8::10"];
    let created = installation.run(&create).await.succeeded();

    assert_eq!(site.coredns.ask("web-01.example.com", "A").await.answers, ["web-01.example.com. 300 A 192.168.1.10"]);
    assert_eq!(
        site.coredns.ask("web-01.example.com", "AAAA").await.answers,
        ["web-01.example.com. 300 AAAA 2001:db8::10"]
    );
    let listed = installation.run(&["record", "list", "--output", "json"]).await.succeeded().json();
    assert_eq!(
        listed,
        json!([
            {"name": "web-01.example.com", "record_type": "A", "value": "192.168.1.10", "ttl": 300},
            {"name": "web-01.example.com", "record_type": "AAAA", "value": "2001:db8::10", "ttl": 300},
        ])
    );

    installation.run(&["server", "delete", "web-01.example.com"]).await.succeeded();

    assert_eq!(site.coredns.ask("web-01.example.com", "A").await.rcode, "NXDOMAIN");
    assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.values());
    created.stderr
}

/// etcd on port 2379 and CoreDNS on port 53 of one address of loopback.
///
/// None, reported, where this user may not have such ports, or somebody has those of the given address.
async fn well_known(release: Release, given: Option<Ipv4Addr>) -> Option<Site> {
    for attempt in 0..20 {
        let ip = given.unwrap_or_else(|| {
            Ipv4Addr::new(127, rand::random_range(1..=254), rand::random_range(0..=255), 1 + attempt)
        });
        let [dns, client] = [53, 2379].map(|port| SocketAddr::new(IpAddr::V4(ip), port));
        if let Err(error) = std::net::UdpSocket::bind(dns) {
            if error.kind() == std::io::ErrorKind::PermissionDenied {
                left_out(
                    &test_name(),
                    "only root may listen on port 53; run the tests as root, or lower net.ipv4.ip_unprivileged_port_start",
                );
                return None;
            }
        } else if let Some(etcd) = Etcd::start_at(release, client).await
            && let Some(coredns) = CoreDns::start_at(Plan::new(&etcd.url(), &[ZONE]), dns).await
        {
            return Some(Site { etcd, coredns, release, zones: vec![ZONE.to_owned()] });
        }
        if given.is_some() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
    left_out(&test_name(), "ports 53 and 2379 are taken");
    None
}
