//! What is wrong with a name server, or between it and etcd.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use dns_manager_tests::{
    cli::Installation,
    coredns::{CoreDns, Plan},
    etcd::Etcd,
    port::free_address,
    process::Process,
    site::{Site, installed},
    tool::Tool,
    wait,
};
use tempfile::TempDir;
use tokio::net::UdpSocket;

use super::{Report, ZONE, settings, settings_of, site};

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_is_not_served_says_how_to_serve_it() {
    let Some(site) = site().await else { return };
    let report = Report::of(&settings(&site.etcd.url(), site.coredns.address(), "example.org")).await;
    report.says("fail", "zone-served", "does not serve `example.org` (REFUSED)", "config show --corefile");
    report.says("fail", "probe-resolves", "REFUSED", "config show --corefile");
    assert!(site.tree().await.is_empty(), "{:?}", site.tree().await.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_from_a_file_is_not_from_etcd() {
    let folder = TempDir::new().unwrap();
    let zone = folder.path().join("example.com.zone");
    let text =
        "@ 60 IN SOA ns1.example.com. admin.example.com. 1 3600 600 86400 60\n@ 60 IN NS ns1\nns1 60 IN A 192.0.2.1\n";
    std::fs::write(&zone, format!("$ORIGIN example.com.\n{text}")).unwrap();
    let Some(site) = site_with(|plan| plan.in_place_of_etcd = Some(format!("file {} {ZONE}", zone.display()))).await
    else {
        return;
    };
    let report = Report::of(&settings_of(&site)).await;
    report.says("fail", "zone-served", "its SOA names `ns1.example.com`", "with `etcd` instead");
    report.says("fail", "probe-resolves", "NXDOMAIN", "config show --corefile");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_path_and_another_etcd_are_told_by_the_probe() {
    let Some(site) = site_with(|plan| plan.path = "/other".to_owned()).await else { return };
    let report = Report::of(&settings_of(&site)).await;
    report.says("ok", "zone-served", "from etcd", "");
    report.says("fail", "probe-resolves", "another etcd, or another `path`", "the `path` here is /skydns");

    let other = Etcd::start(site.release).await;
    let report = Report::of(&settings(&other.url(), site.coredns.address(), ZONE)).await;
    report.says("fail", "probe-resolves", "another etcd, or another `path`", "config show --corefile");
    report.says("ok", "probe-removed", "", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_in_the_way_is_told_with_its_seconds() {
    let Some(site) = site_with(|plan| plan.plugins = "cache 30".to_owned()).await else { return };
    let report = Report::of(&settings_of(&site)).await;
    report.says("warn", "cache", "a name is absent for up to", "denial 9984 5");
    report.says("ok", "probe-resolves", "over UDP and over TCP", "");
    assert_eq!(report.status, 0, "{:#?}", report.checks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_without_tcp_is_told() {
    let Some(site) = site().await else { return };
    let only_udp = udp_only(site.coredns.address()).await;
    let report = Report::of(&settings(&site.etcd.url(), only_udp, ZONE)).await;
    report.says("fail", "nameserver-transport", "over UDP but not over TCP", "let TCP through");
    report.says("ok", "probe-resolves", "over UDP", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_that_is_not_there_is_told() {
    let Some(site) = site().await else { return };
    let report = Report::of(&settings(&site.etcd.url(), free_address(), ZONE)).await;
    report.says("fail", "nameserver-reachable", "", "start CoreDNS there");
    report.says("fail", "probe-resolves", "does not answer", "nameservers");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_coredns_is_told_by_its_version() {
    let Some(site) = site_with(|plan| plan.others = "chaos CoreDNS-1.9.1 somebody".to_owned()).await else { return };
    let report = Report::of(&settings_of(&site)).await;
    report.says("fail", "nameserver-version", "is CoreDNS 1.9.1", "upgrade CoreDNS to 1.9.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_corefile_that_is_printed_serves_what_is_written() {
    let Some(release) = installed().first().copied() else { return };
    let etcd = Etcd::start(release).await;
    let nameserver = free_address();
    let installation = Installation::with_dns(&settings(&etcd.url(), nameserver, ZONE));
    let printed = installation.run(&["config", "show", "--corefile"]).await.succeeded();
    let corefile = installation.folder().join("Corefile");
    std::fs::write(&corefile, printed.stdout).unwrap();
    let mut command = Command::new(Tool::CoreDns.find().unwrap());
    command.arg("-conf").arg(&corefile);
    let process = Process::start(&mut command, &installation.folder().join("coredns.log"));

    wait::until("CoreDNS serves from the printed Corefile", Duration::from_secs(120), async || {
        let ran = installation.run(&["doctor"]).await;
        (ran.status == 0).then_some(())
    })
    .await;
    drop(process);
}

/// One site whose CoreDNS is not as it should be, where both programs are installed.
async fn site_with(change: impl FnOnce(&mut Plan)) -> Option<Site> {
    let release = installed().first().copied()?;
    let etcd = Etcd::start(release).await;
    let mut plan = Plan::new(&etcd.url(), &[ZONE]);
    change(&mut plan);
    let coredns = CoreDns::start(plan).await;
    Some(Site { etcd, coredns, release, zones: vec![ZONE.to_owned()] })
}

/// Hands datagrams on to a name server, and takes no connection.
async fn udp_only(server: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut datagram = vec![0; 65_535];
        while let Ok((length, client)) = socket.recv_from(&mut datagram).await {
            let behind = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            behind.send_to(&datagram[..length], server).await.unwrap();
            let mut answer = vec![0; 65_535];
            let waiting = tokio::time::timeout(Duration::from_secs(10), behind.recv(&mut answer));
            if let Ok(Ok(length)) = waiting.await {
                socket.send_to(&answer[..length], client).await.unwrap();
            }
        }
    });
    address
}
