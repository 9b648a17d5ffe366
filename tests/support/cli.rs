//! The binary `dns-manager`, in processes of its own.
//!
//! Cargo builds it for these tests as an example of this package, from the
//! orchestrator's own `main.rs`, so that it is never older than the library.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    app::OWNER,
    http,
    process::{self, Process},
    site::Site,
    terminal::OnTerminal,
    wait,
};

/// One configuration file and one data folder.
#[derive(Debug)]
pub struct Installation {
    folder: TempDir,
}

/// What a command left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The exit status; -1 after a signal.
    pub status: i32,
    /// Results.
    pub stdout: String,
    /// Progress, warnings, errors.
    pub stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("the output is text"),
            stderr: String::from_utf8(output.stderr).expect("the output is text"),
        }
    }

    /// The results as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Itself, if the command succeeded.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.status, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

impl Installation {
    /// Writes `config` as the whole configuration file.
    pub fn new(config: &str) -> Self {
        let folder = TempDir::with_prefix("dns-manager-").expect("a temporary folder");
        std::fs::write(folder.path().join("config.toml"), config).expect("the configuration is written");
        Self { folder }
    }

    /// With these lines in the table `orchestrator.dns`.
    pub fn with_dns(lines: &[String]) -> Self {
        Self::new(&format!("[orchestrator.dns]\n{}\n", lines.join("\n")))
    }

    /// In front of a site, with the owner's mark that tests write.
    pub fn of(site: &Site) -> Self {
        Self::with_dns(&[
            format!("coredns_url = \"{}\"", site.etcd.url()),
            format!("nameservers = [\"{}\"]", site.coredns.address()),
            format!("zones = [\"{}\"]", site.zones.join("\", \"")),
            format!("owner = \"{OWNER}\""),
        ])
    }

    /// Where the configuration lies, and commands run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs one command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[]).await
    }

    /// Runs one command with more environment variables.
    pub async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.envs(variables.iter().copied());
        finish(command, arguments).await
    }

    /// Runs one command that reads `input` from its standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let file = self.folder.path().join("input");
        std::fs::write(&file, input).expect("the input is written");
        let mut command = self.command(arguments);
        command.stdin(std::fs::File::open(&file).expect("the input is there"));
        finish(tokio::process::Command::from(command), arguments).await
    }

    /// Starts one command, to be told to stop later.
    pub fn start(&self, arguments: &[&str]) -> Started {
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Started(command.spawn().expect("the binary runs"))
    }

    /// Starts one command with a terminal as its standard error.
    pub fn start_on_terminal(&self, arguments: &[&str]) -> OnTerminal {
        OnTerminal::start(self.command(arguments))
    }

    /// Writes a program into the folder where commands run.
    #[cfg(unix)]
    pub fn write_program(&self, name: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, content);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.folder.path().join(name), mode).expect("it becomes a program");
    }

    /// Writes a file into the folder where commands run.
    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).expect("the file is written");
    }

    /// Starts `serve` on a port of its own choice and waits until it says which.
    pub async fn serve(&self) -> Serving {
        let mut command = self.command(&["serve"]);
        command.env("DNS_MANAGER__ORCHESTRATOR__LISTEN", "127.0.0.1:0");
        // What an earlier one said of where it listens is no longer true.
        let log = self.folder.path().join("serve.log");
        let _ = std::fs::remove_file(&log);
        let mut process = Process::start(&mut command, &log);
        let url = wait::until("`serve` says where it listens", Duration::from_secs(60), async || {
            if let Some(status) = process.ended() {
                panic!("`serve` ended ({status}); {}", process.last_words());
            }
            let output = process.output();
            let line = output.lines().find_map(|line| line.strip_prefix("listening on "))?;
            Some(line.to_owned())
        })
        .await;
        // An answer may take long, and not for ever.
        let http = http::builder().timeout(Duration::from_secs(300)).build().expect("a client without TLS can be made");
        Serving { process, http, url }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .current_dir(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null());
        // Of the programs that a provider starts.
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}

/// A command that is running.
#[derive(Debug)]
pub struct Started(tokio::process::Child);

impl Started {
    /// Sends a signal, by its name without `SIG`, and waits for the end.
    pub async fn ended_by(self, signal: &str) -> Ran {
        process::signal(self.0.id().expect("it is still running"), signal);
        let output = tokio::time::timeout(Duration::from_secs(60), self.0.wait_with_output())
            .await
            .unwrap_or_else(|_elapsed| panic!("SIG{signal} does not end it"))
            .expect("its output is read");
        Ran::of(output)
    }
}

/// A running `serve`.
#[derive(Debug)]
pub struct Serving {
    process: Process,
    http: reqwest::Client,
    url: String,
}

impl Serving {
    /// Its base URL.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Sends a request; the status and the body.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call_if(None, method, path, body).await
    }

    /// Sends a request that is to be carried out only while what it is about has this tag.
    pub async fn call_if(&self, tag: Option<&str>, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(tag) = tag {
            request = request.header("If-Match", tag);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer =
            request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}; {}", self.process.last_words()));
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("the body comes");
        let json =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {status}, no JSON ({error}): {text}"));
        (status, json)
    }

    /// The tag of what is at a path.
    pub async fn tag(&self, path: &str) -> String {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        let tag = answer.headers().get("etag").unwrap_or_else(|| panic!("{path} has no tag: {answer:?}"));
        tag.to_str().expect("a tag is text").to_owned()
    }

    /// The status of a path, whatever its body is.
    pub async fn status(&self, path: &str) -> u16 {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        answer.status().as_u16()
    }

    /// Sends it a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Sends it a signal that ends it; the exit status, -1 after a signal, and all that it printed.
    pub async fn ended_by(mut self, name: &str) -> (i32, String) {
        self.process.signal(name);
        let ended = wait::until("`serve` ends", Duration::from_secs(60), async || self.process.ended()).await;
        (ended.code().unwrap_or(-1), self.process.output())
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// Waits until a command ends.
async fn finish(mut command: tokio::process::Command, arguments: &[&str]) -> Ran {
    let output = tokio::time::timeout(Duration::from_secs(180), command.kill_on_drop(true).output())
        .await
        .unwrap_or_else(|_elapsed| panic!("`dns-manager {}` does not end", arguments.join(" ")))
        .expect("the binary runs");
    Ran::of(output)
}

/// Built beside the test binary, which lies in `deps`.
fn binary() -> PathBuf {
    example("dns-manager")
}

/// A program of this package.
pub(crate) fn example(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a test knows where it lies");
    let folder = own.parent().and_then(Path::parent).expect("it lies in a folder of the target directory");
    let binary = folder.join("examples").join(name);
    assert!(binary.is_file(), "{} is missing: run the tests with `cargo test`, without `--test`", binary.display());
    binary
}
