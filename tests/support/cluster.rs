//! A real etcd as in production: several members, TLS with client
//! certificates, users and roles.
//!
//! Each member listens a second time without TLS, for the tests' own eyes and
//! hands alone.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    certificate::{Authority, Issued, write},
    etcd::Release,
    gateway::{Gateway, range_end},
    http,
    port::free_address,
    process::Process,
    wait,
};

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The user that may read and write below `/skydns/`, and nothing else.
pub const USER: &str = "dns";
/// That user's password.
pub const PASSWORD: &str = "correct horse battery staple";
const ROOT_PASSWORD: &str = "root's own";

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Who issued all of its certificates.
    pub authority: Authority,
    members: Vec<Member>,
    folder: TempDir,
}

/// When a member has started.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Answers,
    Listens,
}

#[derive(Debug)]
struct Member {
    process: Option<Process>,
    client: SocketAddr,
    plain: SocketAddr,
    peer: SocketAddr,
}

impl Cluster {
    /// Starts `size` members and waits until all of them answer. Their certificates are for 127.0.0.1.
    pub async fn start(release: Release, size: usize) -> Self {
        let authority = Authority::new("production");
        let server = authority.issue(&["127.0.0.1"]);
        Self::start_with(release, size, authority, &server).await
    }

    /// The same with a certificate that the members show.
    pub async fn start_with(release: Release, size: usize, authority: Authority, server: &Issued) -> Self {
        Self::start_until(release, size, authority, server, Ready::Answers).await
    }

    /// One member with a certificate that nobody accepts, its own gateway, which calls it over TLS, included: it listens.
    pub async fn start_unacceptable(release: Release, authority: Authority, server: &Issued) -> Self {
        Self::start_until(release, 1, authority, server, Ready::Listens).await
    }

    async fn start_until(release: Release, size: usize, authority: Authority, server: &Issued, ready: Ready) -> Self {
        let folder = TempDir::with_prefix("dns-manager-cluster-").expect("a temporary folder");
        write(folder.path(), "ca.pem", &authority.pem);
        server.write(folder.path(), "server");
        let mut cluster = Self { authority, members: Vec::new(), folder };
        loop {
            let address = free_address;
            cluster.members = (0..size)
                .map(|_| Member { process: None, client: address(), plain: address(), peer: address() })
                .collect();
            if cluster.run(release, ready).await {
                return cluster;
            }
        }
    }

    /// The URLs of all members.
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("https://{}", member.client)).collect()
    }

    /// The first member's other door: without TLS.
    pub fn plain_url(&self) -> String {
        format!("http://{}", self.members[0].plain)
    }

    /// Where the members listen, with TLS.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    /// The file of the authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The files of a new client certificate and its key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        self.authority.issue(&["client.example.com"]).write(self.folder.path(), "client")
    }

    /// Lets in only [`USER`], to what is below `/skydns/`, and root.
    pub async fn close_to_others(&self) {
        let gateway = self.plain_gateway(0);
        for (path, body) in [
            ("user/add", json!({"name": "root", "password": ROOT_PASSWORD})),
            ("role/add", json!({"name": "root"})),
            ("user/grant", json!({"user": "root", "role": "root"})),
            ("user/add", json!({"name": USER, "password": PASSWORD})),
            ("role/add", json!({"name": "skydns"})),
            (
                "role/grant",
                json!({"name": "skydns", "perm": {
                    "permType": "READWRITE", "key": BASE64.encode(b"/skydns/"), "range_end": BASE64.encode(b"/skydns0"),
                }}),
            ),
            ("user/grant", json!({"user": USER, "role": "skydns"})),
            ("enable", json!({})),
        ] {
            gateway.post(&format!("auth/{path}"), &body).await;
        }
    }

    /// Adds a user that may read and write below one prefix, after access was closed to others.
    pub async fn admit(&self, user: &str, password: &str, prefix: &str) {
        let root = self.as_root(0).await;
        root.post("auth/user/add", &json!({"name": user, "password": password})).await;
        root.post("auth/role/add", &json!({"name": user})).await;
        root.post("auth/user/grant", &json!({"user": user, "role": user})).await;
        self.grant(user, prefix).await;
    }

    /// Lets a role read and write below one more prefix.
    pub async fn grant(&self, role: &str, prefix: &str) {
        let range = json!({
            "permType": "READWRITE", "key": BASE64.encode(prefix.as_bytes()), "range_end": range_end(prefix),
        });
        self.as_root(0).await.post("auth/role/grant", &json!({"name": role, "perm": range})).await;
    }

    /// Looks into the cluster as root, at one of its members.
    pub async fn as_root(&self, member: usize) -> Gateway {
        let gateway = self.plain_gateway(member);
        let login = json!({"name": "root", "password": ROOT_PASSWORD});
        let answer = gateway.post("auth/authenticate", &login).await;
        gateway.with_token(answer["token"].as_str().expect("root gets a token"))
    }

    /// Ends a member at once, as a power failure would.
    pub fn kill(&mut self, member: usize) {
        self.members[member].process = None;
    }

    /// Starts a member again on its own data and ports.
    pub async fn restart(&mut self, release: Release, member: usize) {
        self.kill(member);
        self.launch(release, member);
        let gateway = self.plain_gateway(member);
        let process = self.members[member].process.as_mut().expect("it was launched");
        wait::until("the member is back", PATIENCE, async || {
            assert!(process.ended().is_none(), "it ended; {}", process.last_words());
            gateway.is_up().await.then_some(())
        })
        .await;
    }

    /// Looks into the cluster as nobody, by a member's other door.
    pub fn plain_gateway(&self, member: usize) -> Gateway {
        Gateway::new(&format!("http://{}", self.members[member].plain))
    }

    /// False if a port was taken in between.
    async fn run(&mut self, release: Release, ready: Ready) -> bool {
        for member in 0..self.members.len() {
            self.launch(release, member);
        }
        let begin = Instant::now();
        let http = http::builder().timeout(Duration::from_secs(2)).build().expect("an HTTP client can be made");
        for index in 0..self.members.len() {
            let gateway = self.plain_gateway(index);
            let member = &mut self.members[index];
            let is_up = wait::until("a member of the cluster answers", PATIENCE * 2, async || {
                let process = member.process.as_mut().expect("it was launched");
                if let Some(status) = process.ended() {
                    let words = process.last_words();
                    assert!(words.contains("address already in use"), "etcd ended ({status}); {words}");
                    return Some(false);
                }
                assert!(begin.elapsed() < PATIENCE, "etcd does not answer; {}", process.last_words());
                let is_ready = match ready {
                    Ready::Answers => gateway.is_ready().await,
                    // Both doors are opened at the same moment.
                    Ready::Listens => http.get(format!("http://{}/version", member.plain)).send().await.is_ok(),
                };
                is_ready.then_some(true)
            })
            .await;
            if !is_up {
                return false;
            }
        }
        true
    }

    fn launch(&mut self, release: Release, index: usize) {
        let program = release.tool().find().expect("the caller has looked for it");
        let peers = |member: &Member| format!("http://{}", member.peer);
        let everybody: Vec<_> =
            self.members.iter().enumerate().map(|(index, member)| format!("m{index}={}", peers(member))).collect();
        let member = &self.members[index];
        let (folder, secure) = (self.folder.path(), format!("https://{}", member.client));
        let mut command = Command::new(program);
        command
            .env_clear()
            .args(["--name", &format!("m{index}"), "--logger", "zap", "--log-level", "warn"])
            .arg("--data-dir")
            // With the port, for a second attempt is on others.
            .arg(folder.join(format!("data-{}", member.peer.port())))
            .args(["--listen-client-urls", &format!("{secure},http://{}", member.plain)])
            .args(["--advertise-client-urls", &secure])
            .args(["--listen-peer-urls", &peers(member), "--initial-advertise-peer-urls", &peers(member)])
            .args(["--initial-cluster", &everybody.join(","), "--initial-cluster-token", "production"])
            .arg("--cert-file")
            .arg(folder.join("server.pem"))
            .arg("--key-file")
            .arg(folder.join("server-key.pem"))
            .arg("--trusted-ca-file")
            .arg(folder.join("ca.pem"))
            .arg("--client-cert-auth");
        if release == Release::Current {
            // A slow disk would hold elections up; no power fails here.
            command.arg("--unsafe-no-fsync");
        }
        let log = folder.join(format!("log-{index}"));
        self.members[index].process = Some(Process::start(&mut command, &log));
    }
}
