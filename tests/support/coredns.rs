//! A stock CoreDNS on loopback, with its etcd plugin and no cache.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    dns::{self, Transport},
    port::free_address,
    process::Process,
    tool::Tool,
    wait,
};

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What it is to serve.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The base URL of etcd.
    pub etcd: String,
    /// The plugin's `path`.
    pub path: String,
    /// The zones of the plugin, and of the server.
    pub zones: Vec<String>,
    /// The world outside these zones: `owner ttl type rdata`.
    pub world: Vec<String>,
    /// What answers a name inside these zones that etcd does not have.
    pub fallthrough: Vec<String>,
    /// More plugins of the zones: `cache 30`, say.
    pub plugins: String,
    /// A plugin in place of etcd.
    pub in_place_of_etcd: Option<String>,
    /// The plugins for all other names.
    pub others: String,
}

impl Plan {
    /// Serves `zones` from the default path and knows nothing of the world.
    pub fn new(etcd: &str, zones: &[&str]) -> Self {
        Self {
            etcd: etcd.to_owned(),
            path: "/skydns".to_owned(),
            zones: zones.iter().map(|zone| (*zone).to_owned()).collect(),
            world: Vec::new(),
            fallthrough: Vec::new(),
            plugins: String::new(),
            in_place_of_etcd: None,
            others: String::new(),
        }
    }

    fn corefile(&self, listen: SocketAddr, behind: SocketAddr) -> String {
        let mut text = String::new();
        let Self { etcd, path, .. } = self;
        let zones = self.zones.join(" ");
        let fallthrough = if self.fallthrough.is_empty() { "" } else { "fallthrough" };
        let heads: Vec<String> = self.zones.iter().map(|zone| format!("{zone}:{}", listen.port())).collect();
        let source = match &self.in_place_of_etcd {
            Some(plugin) => plugin.clone(),
            None => format!("etcd {zones} {{\npath {path}\nendpoint {etcd}\n{fallthrough}\n}}"),
        };
        let mut body = format!("errors\n{}\n{source}\n", self.plugins);
        if !self.fallthrough.is_empty() {
            writeln!(body, "forward . {behind}").expect("a string takes everything");
        }
        block(&mut text, &heads.join(" "), listen.ip(), &body);
        for (owner, records) in by_owner(&self.world) {
            block(&mut text, &format!("{owner}:{}", listen.port()), listen.ip(), &templates(&records));
        }
        if !self.others.is_empty() {
            block(&mut text, &format!(".:{}", listen.port()), listen.ip(), &format!("{}\n", self.others));
        }
        if !self.fallthrough.is_empty() {
            block(&mut text, &format!(".:{}", behind.port()), behind.ip(), &templates(&self.fallthrough));
        }
        text
    }
}

fn block(text: &mut String, head: &str, bind: IpAddr, body: &str) {
    write!(text, "{head} {{\nbind {bind}\n{body}}}\n").expect("a string takes everything");
}

/// Records of one owner as `template` blocks, one for each type: no data for every other type, and no other name.
fn templates(records: &[String]) -> String {
    let mut text = String::new();
    for record in records {
        let (owner, ttl, rr_type, rdata) = fields(record);
        let rdata = rdata.replace('"', "\\\"");
        let answer = format!("answer \"{owner} {ttl} IN {rr_type} {rdata}\"");
        template(&mut text, rr_type, &format!("match ^{}$\n{answer}\nfallthrough", owner.replace('.', "[.]")));
    }
    if let Some(record) = records.first() {
        template(&mut text, "ANY", &format!("match ^{}$\nrcode NOERROR\nfallthrough", fields(record).0));
    }
    template(&mut text, "ANY", "rcode NXDOMAIN");
    text
}

fn template(text: &mut String, rr_type: &str, body: &str) {
    writeln!(text, "template IN {rr_type} . {{\n{body}\n}}").expect("a string takes everything");
}

fn by_owner(records: &[String]) -> std::collections::BTreeMap<&str, Vec<String>> {
    let mut owners = std::collections::BTreeMap::<&str, Vec<String>>::new();
    for record in records {
        owners.entry(fields(record).0).or_default().push(record.clone());
    }
    owners
}

fn fields(record: &str) -> (&str, &str, &str, &str) {
    let fields: Vec<&str> = record.splitn(4, ' ').collect();
    (fields[0], fields[1], fields[2], fields[3])
}

/// A running CoreDNS.
#[derive(Debug)]
pub struct CoreDns {
    process: Option<Process>,
    plan: Plan,
    folder: TempDir,
    listen: SocketAddr,
}

impl CoreDns {
    /// Starts one on a free port and waits until it answers.
    pub async fn start(plan: Plan) -> Self {
        loop {
            if let Some(server) = Self::start_at(plan.clone(), free_address()).await {
                return server;
            }
        }
    }

    /// Starts one at an address; none if somebody else has taken it.
    pub async fn start_at(plan: Plan, listen: SocketAddr) -> Option<Self> {
        let folder = TempDir::with_prefix("dns-manager-coredns-").expect("a temporary folder");
        let mut server = Self { process: None, plan, folder, listen };
        server.run().await.then_some(server)
    }

    /// Where it answers, over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Asks it over TCP.
    pub async fn ask(&self, name: &str, rr_type: &str) -> dns::Answer {
        dns::ask(self.listen, name, rr_type).await
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again at the same address.
    pub async fn restart(&mut self) {
        self.stop();
        assert!(self.run().await, "CoreDNS did not come back at its own address {}", self.listen);
    }

    /// False if a port was taken in between.
    async fn run(&mut self) -> bool {
        let program = Tool::CoreDns.find().expect("the caller has looked for it");
        let corefile = self.folder.path().join("Corefile");
        std::fs::write(&corefile, self.plan.corefile(self.listen, free_address())).expect("the Corefile is written");
        let mut command = Command::new(program);
        command.env_clear().arg("-conf").arg(&corefile);
        let mut process = Process::start(&mut command, &self.folder.path().join("log"));
        let zone = self.plan.zones.first().expect("it serves something").clone();
        let begin = Instant::now();
        let ready = wait::until("CoreDNS answers", PATIENCE + Duration::from_secs(1), async || {
            if let Some(status) = process.ended() {
                let words = process.last_words();
                assert!(words.contains("address already in use"), "CoreDNS ended ({status}); {words}");
                return Some(false);
            }
            assert!(begin.elapsed() < PATIENCE, "CoreDNS does not answer; {}", process.last_words());
            let answer = dns::try_ask(self.listen, &zone, "SOA", Transport::Tcp, Duration::from_secs(5)).await;
            answer.is_ok_and(|answer| answer.authoritative && answer.rcode == "NOERROR").then_some(true)
        })
        .await;
        self.process = ready.then_some(process);
        ready
    }
}
