//! A real etcd on loopback.

use std::{
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{gateway::Gateway, port::free_address, process::Process, tool::Tool, wait};

/// How long a server may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Which etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The current one, 3.7.
    Current,
    /// The oldest supported, 3.4.
    Old,
}

impl Release {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Current, Self::Old];

    /// Where its program is to be found.
    pub fn tool(self) -> Tool {
        match self {
            Self::Current => Tool::EtcdCurrent,
            Self::Old => Tool::EtcdOld,
        }
    }
}

/// One etcd of one member, with its data in a folder of its own.
#[derive(Debug)]
pub struct Etcd {
    process: Option<Process>,
    release: Release,
    folder: TempDir,
    client: SocketAddr,
    peer: SocketAddr,
}

impl Etcd {
    /// Starts one on free ports and waits until it answers.
    pub async fn start(release: Release) -> Self {
        loop {
            let etcd = Self::new(release, free_address());
            if let Some(etcd) = etcd.launch().await {
                return etcd;
            }
        }
    }

    /// Starts one that clients reach at `client`; none if somebody else has
    /// taken the address.
    pub async fn start_at(release: Release, client: SocketAddr) -> Option<Self> {
        Self::new(release, client).launch().await
    }

    /// Where clients reach it.
    pub fn address(&self) -> SocketAddr {
        self.client
    }

    /// The base URL of its gateway.
    pub fn url(&self) -> String {
        format!("http://{}", self.client)
    }

    /// Looks into it, past everything that is to be tested.
    pub fn gateway(&self) -> Gateway {
        Gateway::new(&self.url())
    }

    /// Ends it at once; its data stay.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again, on the same ports and data.
    pub async fn restart(&mut self) {
        self.stop();
        assert!(self.run().await, "etcd did not come back on its own port {}", self.client);
    }

    fn new(release: Release, client: SocketAddr) -> Self {
        let folder = TempDir::with_prefix("dns-manager-etcd-").expect("a temporary folder");
        Self { process: None, release, folder, client, peer: free_address() }
    }

    async fn launch(mut self) -> Option<Self> {
        self.run().await.then_some(self)
    }

    /// False if a port was taken in between.
    async fn run(&mut self) -> bool {
        let program = self.release.tool().find().expect("the caller has looked for it");
        let (client, peer) = (self.url(), format!("http://{}", self.peer));
        let mut command = Command::new(program);
        command
            .env_clear()
            .args(["--name", "one", "--logger", "zap", "--log-level", "warn"])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            // A member of its own elects itself; the default waits a second for others.
            .args(["--heartbeat-interval", "10", "--election-timeout", "100"]);
        let mut process = Process::start(&mut command, &self.folder.path().join("log"));
        let gateway = self.gateway();
        let begin = Instant::now();
        let ready = wait::until("etcd answers", PATIENCE + Duration::from_secs(1), async || {
            if let Some(status) = process.ended() {
                let words = process.last_words();
                assert!(words.contains("address already in use"), "etcd ended ({status}); {words}");
                return Some(false);
            }
            assert!(begin.elapsed() < PATIENCE, "etcd does not answer; {}", process.last_words());
            gateway.is_ready().await.then_some(true)
        })
        .await;
        self.process = ready.then_some(process);
        ready
    }
}
