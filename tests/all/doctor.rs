//! `dns-manager doctor` in each situation, made with the real programs.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use dns_manager_tests::{
    cli::{Installation, Ran},
    coredns::{self, CoreDns, Plan},
    etcd::{Etcd, Release, free_address},
    gateway::Gateway,
    http,
    process::Process,
    site::{Site, installed},
    wait,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

const ZONE: &str = "example.com";

/// What `doctor` says: its exit status and its checks.
struct Report {
    status: i32,
    checks: Vec<Value>,
}

impl Report {
    async fn of(lines: &[String]) -> Self {
        Self::read(&Installation::with_dns(lines).run(&["doctor", "--output", "json"]).await)
    }

    fn read(ran: &Ran) -> Self {
        Self { status: ran.status, checks: ran.json().as_array().expect("a list of checks").clone() }
    }

    /// The levels of all checks of an id.
    fn levels(&self, id: &str) -> Vec<&str> {
        self.checks.iter().filter(|check| check["id"] == id).filter_map(|check| check["level"].as_str()).collect()
    }

    /// Fails unless a check of this id and level saw this and has this remedy.
    fn says(&self, level: &str, id: &str, saw: &str, remedy: &str) {
        let text = |check: &Value, field: &str| check[field].as_str().unwrap_or_default().to_owned();
        let found = self.checks.iter().any(|check| {
            check["id"] == id
                && check["level"] == level
                && text(check, "saw").contains(saw)
                && text(check, "remedy").contains(remedy)
        });
        assert!(found, "no {level} {id} with `{saw}` and `{remedy}` in {:#?}", self.checks);
        assert_eq!(
            self.status,
            i32::from(self.checks.iter().any(|check| check["level"] == "fail")),
            "{:#?}",
            self.checks
        );
    }
}

fn settings(url: &str, nameserver: SocketAddr, zone: &str) -> Vec<String> {
    vec![
        format!("coredns_url = \"{url}\""),
        format!("nameservers = [\"{nameserver}\"]"),
        format!("zones = [\"{zone}\"]"),
    ]
}

fn settings_of(site: &Site) -> Vec<String> {
    settings(&site.etcd.url(), site.coredns.address(), ZONE)
}

/// One site, where both programs are installed.
async fn site() -> Option<Site> {
    Some(Site::start(installed().first().copied()?, &[ZONE]).await)
}

async fn site_with(change: impl FnOnce(&mut Plan)) -> Option<Site> {
    let release = installed().first().copied()?;
    let etcd = Etcd::start(release).await;
    let mut plan = Plan::new(&etcd.url(), &[ZONE]);
    change(&mut plan);
    let coredns = CoreDns::start(plan).await;
    Some(Site { etcd, coredns, release, zones: vec![ZONE.to_owned()] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_installation_is_ok_and_the_probe_leaves_nothing() {
    let Some(site) = site().await else { return };
    let report = Report::of(&settings_of(&site)).await;
    report.says("warn", "name-server-records", "no name server records", "record register ns1.ns.dns.example.com A");
    assert_eq!(report.status, 0, "{:#?}", report.checks);
    assert!(site.tree().await.is_empty(), "{:?}", site.tree().await.keys());

    // The command that it names, done.
    let installation = Installation::with_dns(&settings_of(&site));
    installation.run(&["record", "register", "ns1.ns.dns.example.com", "A", "127.0.0.1"]).await.succeeded();
    let report = Report::of(&settings_of(&site)).await;
    for id in [
        "configuration",
        "settings",
        "backend-reachable",
        "backend-gateway",
        "nameserver-reachable",
        "zone-served",
        "name-server-records",
        "stored-values",
        "nameserver-transport",
        "probe-written",
        "probe-resolves",
        "probe-removed",
    ] {
        assert_eq!(report.levels(id), ["ok"], "{id} in {:#?}", report.checks);
    }
    assert!(report.levels("cache").is_empty());
    assert_eq!(report.status, 0);

    let ran = installation.run(&["doctor"]).await.succeeded();
    assert!(ran.stdout.lines().all(|line| line.starts_with("ok    ")), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_need_not_be_configured_once_something_is_stored() {
    let Some(site) = site().await else { return };
    let lines = &settings_of(&site)[..2];
    Report::of(lines).await.says("warn", "probe", "no zone is known", "zones = [");

    let installation = Installation::with_dns(lines);
    installation.run(&["record", "register", "web.example.com", "A", "192.0.2.1"]).await.succeeded();
    Report::of(lines).await.says("ok", "probe-resolves", "over UDP and over TCP", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_a_failed_check() {
    let report = Report::of(&["coredns_ulr = \"http://localhost:2379\"".to_owned(), "ttl = 0".to_owned()]).await;
    report.says("fail", "configuration", "nearest known one is \"orchestrator.dns.coredns_url\"", "correct that line");
    assert_eq!(report.levels("configuration"), ["fail", "fail"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_leads_elsewhere_is_told_by_what_answers() {
    let Some(site) = site().await else { return };
    let nameserver = site.coredns.address();
    let at = |address: SocketAddr| settings(&format!("http://{address}"), nameserver, ZONE);

    let report = Report::of(&at(free_address())).await;
    report.says("fail", "backend-reachable", "was not reached", "start etcd, or correct coredns_url");
    report.says("warn", "probe", "the backend does not work", "above");

    let report = Report::of(&at(nameserver)).await;
    report.says("fail", "backend-reachable", "sent no HTTP answer", "not CoreDNS's port 53");

    // TLS on a plain port; the reverse is another test.
    let report = Report::of(&settings(&site.etcd.url().replace("http://", "https://"), nameserver, ZONE)).await;
    report.says("fail", "backend-reachable", "TLS", &format!("coredns_url = \"{}\"", site.etcd.url()));

    let page = "<html><body>Welcome to nginx!</body></html>";
    let report = Report::of(&at(stranger(page).await)).await;
    report.says("fail", "backend-reachable", "a web page", "etcd's client port (2379)");

    // Port 53 itself is where CoreDNS answers; the records are managed beside it.
    let dns_port = format!("coredns_url = \"http://{}:53\"", Ipv4Addr::new(127, 9, 9, 9));
    let report = Report::of(&[dns_port]).await;
    report.says("warn", "configuration", "records are managed at \"http://127.9.9.9:2379\"", "config show");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_member_of_the_backend_is_looked_at_by_itself() {
    let Some(site) = site().await else { return };
    let mut lines = settings_of(&site);
    lines[0] = format!("coredns_url = [\"http://{}\", \"{}\"]", free_address(), site.etcd.url());
    let report = Report::of(&lines).await;
    report.says("warn", "backend-reachable", "another member answers", "start etcd");
    report.says("ok", "backend-reachable", &site.etcd.url(), "");
    report.says("ok", "probe-resolves", "over UDP and over TCP", "");
    assert_eq!(report.status, 0, "{:#?}", report.checks);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_without_gateway_says_how_to_switch_it_on() {
    if !installed().contains(&Release::Old) {
        return;
    }
    let etcd = OddEtcd::start(Release::Old, |folder, client, peer| {
        let file = folder.join("etcd.yml");
        let config = format!(
            "name: one\ndata-dir: {}\nlisten-client-urls: {client}\nadvertise-client-urls: {client}\nlisten-peer-urls: \
             {peer}\ninitial-advertise-peer-urls: {peer}\ninitial-cluster: one={peer}\n",
            folder.join("data").display()
        );
        std::fs::write(&file, config).unwrap();
        vec!["--config-file".to_owned(), file.display().to_string()]
    })
    .await;
    let coredns = CoreDns::start(Plan::new(&etcd.url, &[ZONE])).await;
    let report = Report::of(&settings(&etcd.url, coredns.address(), ZONE)).await;
    report.says("ok", "backend-reachable", "is etcd 3.4", "");
    report.says("fail", "backend-gateway", "gateway is off", "enable-grpc-gateway: true");

    // Whoever would log in there is told the same.
    let mut lines = settings(&etcd.url, coredns.address(), ZONE);
    lines.push("[orchestrator.dns.credentials]\nusername = \"dns\"\npassword_env = \"ETCD_PASSWORD\"".to_owned());
    let installation = Installation::with_dns(&lines);
    let ran = installation.run_with(&["doctor", "--output", "json"], &[("ETCD_PASSWORD", "secret")]).await;
    Report::read(&ran).says("fail", "backend-gateway", "gateway is off", "enable-grpc-gateway: true");
    let ran = installation.run_with(&["record", "list"], &[("ETCD_PASSWORD", "secret")]).await;
    assert!(ran.stderr.contains("there is no etcd gateway at this address (404)"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_that_is_told_to_stop_removes_its_probe() {
    let Some(site) = site().await else { return };
    // Whoever asks it waits, so that there is time to interrupt.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let installation = Installation::with_dns(&settings(&site.etcd.url(), silent.local_addr().unwrap(), ZONE));
    let doctor = installation.start(&["doctor", "--output", "json"]);
    wait::until("the probe is written", Duration::from_secs(120), async || {
        (site.tree().await.keys().iter().filter(|key| key.contains("-probe-")).count() >= 2).then_some(())
    })
    .await;

    let ran = doctor.ended_by("TERM").await;

    Report::read(&ran).says("fail", "interrupted", "before everything was checked", "dns-manager doctor");
    assert!(site.tree().await.is_empty(), "{:?}", site.tree().await.keys());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_wants_a_password_says_what_is_wrong_with_ours() {
    for release in installed() {
        let site = Site::start(release, &[ZONE]).await;
        let gateway = site.gateway();
        let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
        gateway.post("auth/user/add", &json!({"name": "root", "password": "secret"})).await;
        gateway.post("auth/role/add", &json!({"name": "root"})).await;
        gateway.post("auth/user/grant", &json!({"user": "root", "role": "root"})).await;
        gateway.post("auth/user/add", &json!({"name": "stranger", "password": "hidden"})).await;
        gateway.post("auth/role/add", &json!({"name": "elsewhere"})).await;
        let range = json!({"permType": "READWRITE", "key": base64("/other/"), "range_end": base64("/other0")});
        gateway.post("auth/role/grant", &json!({"name": "elsewhere", "perm": range})).await;
        gateway.post("auth/user/grant", &json!({"user": "stranger", "role": "elsewhere"})).await;
        gateway.post("auth/enable", &json!({})).await;

        let report = Report::of(&settings_of(&site)).await;
        report.says("fail", "backend-gateway", "wants a user and a password", "[orchestrator.dns.credentials]");
        report.says("warn", "probe", "the backend does not work", "above");

        let report = as_user(&site, "stranger", "hidden").await;
        report.says("fail", "backend-gateway", "forbids reading /skydns/", "readwrite /skydns/");

        gateway_as_root(
            &site,
            "role/grant",
            |key, end| json!({"name": "elsewhere", "perm": {"permType": "READ", "key": key, "range_end": end}}),
        )
        .await;
        let report = as_user(&site, "stranger", "hidden").await;
        report.says("fail", "probe-written", "permission denied", "readwrite /skydns/");

        let report = as_user(&site, "stranger", "guessed").await;
        let refused = report.checks.iter().find(|check| check["level"] == "fail").unwrap();
        assert!(refused["remedy"].as_str().unwrap().contains("[orchestrator.dns.credentials]"), "{:#?}", report.checks);
        assert!(!format!("{:?}", report.checks).contains("guessed"), "{:#?}", report.checks);
    }
}

/// Changes a role's rights on what is below `/skydns/`.
async fn gateway_as_root(site: &Site, path: &str, body: impl Fn(String, String) -> Value) {
    let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    let gateway = site.gateway();
    let answer = gateway.post("auth/authenticate", &json!({"name": "root", "password": "secret"})).await;
    let gateway = gateway.with_token(answer["token"].as_str().expect("root gets a token"));
    gateway.post(&format!("auth/{path}"), &body(base64("/skydns/"), base64("/skydns0"))).await;
}

/// What `doctor` says when we are somebody.
async fn as_user(site: &Site, user: &str, password: &str) -> Report {
    let mut lines = settings_of(site);
    lines.push(format!("[orchestrator.dns.credentials]\nusername = \"{user}\"\npassword_env = \"ETCD_PASSWORD\""));
    let installation = Installation::with_dns(&lines);
    Report::read(&installation.run_with(&["doctor", "--output", "json"], &[("ETCD_PASSWORD", password)]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_without_quorum_is_told() {
    let Some(release) = installed().first().copied() else { return };
    let (first, second) = (free_address(), free_address());
    let cluster = format!("one=http://{first},two=http://{second}");
    let member = |name: &'static str, peer: SocketAddr| {
        let cluster = cluster.clone();
        OddEtcd::launch(release, move |folder, client, _| {
            arguments(name, folder, client, &format!("http://{peer}"), &cluster)
        })
    };
    let (one, two) = (member("one", first), member("two", second));
    one.ready().await;
    drop(two);

    let report = Report::of(&settings(&one.url, free_address(), ZONE)).await;
    report.says("fail", "backend-gateway", "no quorum", "etcdctl endpoint health");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_without_room_is_told() {
    for release in installed() {
        let etcd = OddEtcd::start(release, |folder, client, peer| {
            let mut arguments = arguments("one", folder, client, peer, &format!("one={peer}"));
            arguments.extend(["--quota-backend-bytes".to_owned(), "2000000".to_owned()]);
            arguments
        })
        .await;
        let gateway = Gateway::new(&etcd.url);
        let value = data_encoding::BASE64.encode(&vec![b'x'; 600_000]);
        let mut refused = false;
        for number in 0..8 {
            let key = data_encoding::BASE64.encode(format!("/other/{number}").as_bytes());
            refused |= gateway.try_post("kv/put", &json!({"key": key, "value": value})).await.is_err();
        }
        assert!(refused, "the quota is reached");
        let coredns = CoreDns::start(Plan::new(&etcd.url, &[ZONE])).await;
        let report = Report::of(&settings(&etcd.url, coredns.address(), ZONE)).await;
        report.says("fail", "backend-room", "NOSPACE", "etcdctl alarm disarm");
        report.says("warn", "probe", "the backend does not work", "above");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_with_tls_says_so() {
    let Some(release) = installed().first().copied() else { return };
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let etcd = OddEtcd::launch(release, |folder, client, peer| {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&cert, certificate.cert.pem()).unwrap();
        std::fs::write(&key, certificate.signing_key.serialize_pem()).unwrap();
        let client = client.replace("http://", "https://");
        let mut arguments = arguments("one", folder, &client, peer, &format!("one={peer}"));
        arguments
            .extend(["--cert-file", cert.to_str().unwrap(), "--key-file", key.to_str().unwrap()].map(str::to_owned));
        arguments
    });
    etcd.listening().await;
    let report = Report::of(&settings(&etcd.url, free_address(), ZONE)).await;
    let secure = etcd.url.replace("http://", "https://");
    report.says("fail", "backend-reachable", "takes HTTPS only", &secure);

    let report = Report::of(&settings(&secure, free_address(), ZONE)).await;
    report.says("fail", "backend-reachable", "no trusted connection", "[orchestrator.dns.tls]");
}

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
    let report = Report::of(&settings(&site.etcd.url(), coredns::free_address(), ZONE)).await;
    report.says("fail", "nameserver-reachable", "", "start CoreDNS there");
    report.says("fail", "probe-resolves", "does not answer", "nameservers");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_break_answers_are_named_with_their_owner() {
    let Some(site) = site().await else { return };
    let gateway = site.gateway();
    gateway.put("/skydns/com/example/bad", "no json").await;
    gateway.put("/skydns/com/example/worse", r#"{"host":"10.0.0.1","ttl":-1,"owner":"k8s"}"#).await;
    assert_eq!(site.coredns.ask("bad.example.com", "A").await.rcode, "SERVFAIL");
    assert_eq!(site.coredns.ask("worse.example.com", "A").await.rcode, "SERVFAIL");

    let report = Report::of(&settings_of(&site)).await;
    report.says("fail", "stored-values", "/skydns/com/example/bad (nobody's", "etcdctl del /skydns/com/example/bad");
    report.says("fail", "stored-values", "/skydns/com/example/worse (of the owner `k8s`", "");
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
    let nameserver = coredns::free_address();
    let installation = Installation::with_dns(&settings(&etcd.url(), nameserver, ZONE));
    let printed = installation.run(&["config", "show", "--corefile"]).await.succeeded();
    let corefile = installation.folder().join("Corefile");
    std::fs::write(&corefile, printed.stdout).unwrap();
    let mut command = Command::new(dns_manager_tests::tool::Tool::CoreDns.find().unwrap());
    command.arg("-conf").arg(&corefile);
    let process = Process::start(&mut command, &installation.folder().join("coredns.log"));

    wait::until("CoreDNS serves from the printed Corefile", Duration::from_secs(30), async || {
        let ran = installation.run(&["doctor"]).await;
        (ran.status == 0).then_some(())
    })
    .await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_default_is_sound_alone_and_behind_a_service() {
    let listen = coredns::free_address();
    let installation = Installation::new(&format!("[orchestrator.embedded]\ndns_listen = \"{listen}\"\n"));
    for serving in [None, Some(())] {
        let service = match serving {
            Some(()) => Some(installation.serve().await),
            None => None,
        };
        let report = Report::read(&installation.run(&["doctor", "--output", "json"]).await);
        assert_eq!(report.status, 0, "{:#?}", report.checks);
        report.says("ok", "probe-resolves", "over UDP and over TCP", "");
        report.says("ok", "probe-removed", "", "");
        if service.is_some() {
            report.says("ok", "backend", "holds the embedded store", "");
        }
    }
}

/// An HTTP server that answers everything with one page.
async fn stranger(page: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 4_096];
            let _ = connection.read(&mut request).await;
            let length = page.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n");
            let _ = connection.write_all(format!("{head}connection: close\r\n\r\n{page}").as_bytes()).await;
        }
    });
    address
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

/// What every member is given.
fn arguments(name: &str, folder: &Path, client: &str, peer: &str, cluster: &str) -> Vec<String> {
    let data = folder.join("data").display().to_string();
    [
        ["--name", name],
        ["--log-level", "warn"],
        ["--data-dir", &data],
        ["--listen-client-urls", client],
        ["--advertise-client-urls", client],
        ["--listen-peer-urls", peer],
        ["--initial-advertise-peer-urls", peer],
        ["--initial-cluster", cluster],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect()
}

/// An etcd that is not as it should be.
struct OddEtcd {
    url: String,
    process: Process,
    _folder: TempDir,
}

impl OddEtcd {
    /// Starts it with these arguments, made of its folder and its two URLs, and waits until it answers.
    async fn start(release: Release, arguments: impl FnOnce(&Path, &str, &str) -> Vec<String>) -> Self {
        let etcd = Self::launch(release, arguments);
        etcd.ready().await;
        etcd
    }

    fn launch(release: Release, arguments: impl FnOnce(&Path, &str, &str) -> Vec<String>) -> Self {
        let folder = TempDir::with_prefix("dns-manager-etcd-").unwrap();
        let (url, peer) = (format!("http://{}", free_address()), format!("http://{}", free_address()));
        let mut command = Command::new(release.tool().find().unwrap());
        command.env_clear().arg("--logger").arg("zap").args(arguments(folder.path(), &url, &peer));
        if command.get_args().any(|argument| argument == "--config-file") {
            // Together with a file, flags are ignored, with a warning.
            command = only_the_file(&command);
        }
        let process = Process::start(&mut command, &folder.path().join("log"));
        Self { url, process, _folder: folder }
    }

    async fn ready(&self) {
        let http = http::builder().timeout(Duration::from_secs(2)).build().unwrap();
        wait::until(&format!("etcd answers; {}", self.process.last_words()), Duration::from_secs(60), async || {
            http.get(format!("{}/health", self.url)).send().await.ok().filter(|answer| answer.status().is_success())
        })
        .await;
    }

    async fn listening(&self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        wait::until("etcd listens", Duration::from_secs(60), async || {
            tokio::net::TcpStream::connect(&address).await.ok()
        })
        .await;
    }
}

fn only_the_file(command: &Command) -> Command {
    let mut plain = Command::new(command.get_program());
    plain.env_clear().args(command.get_args().skip(2));
    plain
}
