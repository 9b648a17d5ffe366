//! An etcd that is not as it should be.

use std::{path::Path, process::Command, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{etcd::Release, http, port::free_address, process::Process, wait};

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// One etcd, started with arguments of the test's own.
#[derive(Debug)]
pub struct OddEtcd {
    url: String,
    process: Process,
    _folder: TempDir,
}

impl OddEtcd {
    /// Starts it with these arguments, made of its folder and the URLs for clients and peers, and waits until it is healthy.
    pub async fn start(release: Release, arguments: impl FnOnce(&Path, &str, &str) -> Vec<String>) -> Self {
        let etcd = Self::launch(release, arguments);
        etcd.healthy().await;
        etcd
    }

    /// Starts it without waiting.
    pub fn launch(release: Release, arguments: impl FnOnce(&Path, &str, &str) -> Vec<String>) -> Self {
        let folder = TempDir::with_prefix("dns-manager-etcd-").expect("a temporary folder");
        let (url, peer) = (format!("http://{}", free_address()), format!("http://{}", free_address()));
        let mut command = Command::new(release.tool().find().expect("the caller has looked for it"));
        command.env_clear().args(arguments(folder.path(), &url, &peer));
        let process = Process::start(&mut command, &folder.path().join("log"));
        Self { url, process, _folder: folder }
    }

    /// The base URL of its gateway.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until it says that it is healthy.
    pub async fn healthy(&self) {
        let http =
            http::builder().timeout(Duration::from_secs(2)).build().expect("an HTTP client without TLS can be made");
        let health = format!("{}/health", self.url);
        wait::until(&format!("{} is healthy", self.process.name()), PATIENCE, async || {
            http.get(&health).send().await.ok().filter(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Waits until it speaks TLS: it listens before it looks at what comes.
    pub async fn speaking_tls(&self) {
        let address = self.url.trim_start_matches("http://");
        wait::until(&format!("{} closes what is no TLS", self.process.name()), PATIENCE, async || {
            let mut stream = TcpStream::connect(address).await.ok()?;
            stream.write_all(b"no TLS\r\n\r\n").await.ok()?;
            timeout(Duration::from_secs(1), stream.read(&mut [0])).await.ok().map(drop)
        })
        .await;
    }
}

/// What a member is started with when nothing is odd about it.
pub fn arguments(name: &str, folder: &Path, client: &str, peer: &str, cluster: &str) -> Vec<String> {
    let data = folder.join("data").display().to_string();
    [
        ["--name", name],
        ["--logger", "zap"],
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
