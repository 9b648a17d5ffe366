//! What is wrong with etcd, or with the way to it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use dns_manager_tests::{
    cli::Installation,
    coredns::{CoreDns, Plan},
    etcd::Release,
    gateway::Gateway,
    odd_etcd::{OddEtcd, arguments},
    port::free_address,
    site::{Site, installed},
    wait,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{Report, ZONE, settings, settings_of, site};

const PATIENCE: Duration = Duration::from_secs(60);

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
    let coredns = CoreDns::start(Plan::new(etcd.url(), &[ZONE])).await;
    let report = Report::of(&settings(etcd.url(), coredns.address(), ZONE)).await;
    report.says("ok", "backend-reachable", "is etcd 3.4", "");
    report.says("fail", "backend-gateway", "gateway is off", "enable-grpc-gateway: true");

    // Whoever would log in there is told the same.
    let mut lines = settings(etcd.url(), coredns.address(), ZONE);
    lines.push("[orchestrator.dns.credentials]\nusername = \"dns\"\npassword_env = \"ETCD_PASSWORD\"".to_owned());
    let installation = Installation::with_dns(&lines);
    let ran = installation.run_with(&["doctor", "--output", "json"], &[("ETCD_PASSWORD", "secret")]).await;
    Report::read(&ran).says("fail", "backend-gateway", "gateway is off", "enable-grpc-gateway: true");
    let ran = installation.run_with(&["record", "list"], &[("ETCD_PASSWORD", "secret")]).await;
    assert!(ran.stderr.contains("there is no etcd gateway at this address (404)"), "{ran:?}");
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
    one.healthy().await;
    drop(two);

    let report = Report::of(&settings(one.url(), free_address(), ZONE)).await;
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
        let gateway = Gateway::new(etcd.url());
        let value = data_encoding::BASE64.encode(&vec![b'x'; 600_000]);
        // Etcd knows how large it is since its last commit, a tenth of a second ago at most, and raises the alarm by
        // itself afterwards.
        let mut written = 0;
        wait::until("etcd is full", PATIENCE, async || {
            let key = data_encoding::BASE64.encode(format!("/other/{written}").as_bytes());
            written += 1;
            gateway.try_post("kv/put", &json!({"key": key, "value": value})).await.err()
        })
        .await;
        wait::until("etcd raises its alarm", PATIENCE, async || {
            let raised = gateway.post("maintenance/alarm", &json!({"action": "GET"})).await;
            raised["alarms"].as_array().is_some_and(|alarms| !alarms.is_empty()).then_some(())
        })
        .await;
        let coredns = CoreDns::start(Plan::new(etcd.url(), &[ZONE])).await;
        let report = Report::of(&settings(etcd.url(), coredns.address(), ZONE)).await;
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
    etcd.speaking_tls().await;
    let report = Report::of(&settings(etcd.url(), free_address(), ZONE)).await;
    let secure = etcd.url().replace("http://", "https://");
    report.says("fail", "backend-reachable", "takes HTTPS only", &secure);

    let report = Report::of(&settings(&secure, free_address(), ZONE)).await;
    report.says("fail", "backend-reachable", "no trusted connection", "[orchestrator.dns.tls]");
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
