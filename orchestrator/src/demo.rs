//! The main job, shown from beginning to end: three servers that come, are reached by name, and go.
//!
//! Every step says what it does and shows what really came back; the first thing that is not as told ends it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dns_manager_host::DnsManager;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::dns::Dns;
use crate::embedded::{self, Embedded};
use crate::inventory::{self, Database};
use crate::lifecycle::{self, Lifecycle, Policy};
use crate::name::{Name, NameError};
use crate::provider::{Kind, local};
use crate::question::{Answer, Question, Transport};
use crate::record::{RecordSet, Ttl};
use crate::registry::{Registry, Selection, VerifyError, Wanted};
use crate::server::{Server, State};
use crate::verification::Verdict;

/// The zone that the servers are in.
pub const ZONE: &str = "example.com";
const HOSTNAMES: [&str; 3] = ["web-01.example.com", "web-02.example.com", "db-01.example.com"];
const MOVED: &str = "web-01.example.com";
const MOVED_TO: &str = "web-02.example.com";
/// Some port of loopback.
const FREE_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// On loopback everything answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// What it is shown on: an orchestrator of its own, on the embedded default, with servers of the `local` provider.
pub struct Stage {
    lifecycle: Lifecycle,
    registry: Registry,
    nameserver: String,
    embedded: Embedded,
}

impl Stage {
    /// Sets it up, with all that it writes in this directory.
    ///
    /// # Errors
    ///
    /// The directory cannot be used.
    pub async fn open(directory: &Path) -> Result<Self, OpenError> {
        let zone: Name = ZONE.parse()?;
        let embedded = Embedded::open(directory, std::slice::from_ref(&zone), Some(FREE_PORT)).await?;
        let nameserver = embedded.dns_address().unwrap_or(FREE_PORT).to_string();
        let manager = DnsManager::builder()
            .component(dns_manager_guest_artifact::COMPONENT)
            .backend_handler(embedded::AUTHORITY, embedded.handler())
            .nameservers([nameserver.clone()])
            .setting("zones", ZONE)
            .setting("owner", "demo")
            .setting("path", "/skydns")
            .setting("ttl", "300")
            .build()
            .await?;
        let dns: Arc<dyn Dns> = Arc::new(manager);
        let policy = Policy {
            auto_register: true,
            ptr: false,
            ttl: Ttl::try_from(300)?,
            verify_timeout: PATIENCE,
            ready_timeout: PATIENCE,
            retry_for: Duration::ZERO,
            domain: Some(zone),
            suggested_domain: ZONE.to_owned(),
        };
        let ttl = policy.ttl;
        let inventory = Arc::new(Database::open(directory)?);
        let lifecycle = Lifecycle::new(Arc::clone(&dns), Kind::Local.provider(), inventory, policy);
        Ok(Self { lifecycle, registry: Registry::new(dns, ttl), nameserver, embedded })
    }

    /// Where names are answered, `host:port`.
    pub fn nameserver(&self) -> &str {
        &self.nameserver
    }

    /// Lets go of everything.
    pub async fn close(self) {
        self.embedded.stop().await;
    }
}

/// Why there is no stage.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says in its own words what is wrong")]
pub enum OpenError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Ttl(#[from] crate::record::TtlError),
    #[error(transparent)]
    Embedded(#[from] embedded::OpenError),
    #[error(transparent)]
    Inventory(#[from] inventory::OpenError),
    #[error("the built-in component cannot be used")]
    Component(#[from] dns_manager_host::Error),
}

/// A line of what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// What is done now.
    Step(String),
    /// What came back.
    Seen(String),
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is not as it was told.
    #[error("{0}")]
    Untrue(String),
    /// A workflow was not begun.
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::Error),
    /// The inventory does not work.
    #[error(transparent)]
    Inventory(#[from] inventory::Error),
    /// A verification was not made.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// What is registered could not be read.
    #[error(transparent)]
    Dns(#[from] dns_manager_host::Error),
}

/// Shows all of it; `tell` is given each line as it is known.
///
/// # Errors
///
/// Something is not as it was told.
pub async fn run(stage: &Stage, tell: &mut (dyn FnMut(Line) + Send)) -> Result<(), Error> {
    let mut show = Show { stage, tell };
    let servers = show.create().await?;
    show.ask(&servers).await?;
    show.reach(&servers).await?;
    show.list(&servers).await?;
    show.update(&servers).await?;
    show.delete().await?;
    show.gone(&servers).await
}

struct Show<'a> {
    stage: &'a Stage,
    tell: &'a mut (dyn FnMut(Line) + Send),
}

impl Show<'_> {
    fn step(&mut self, text: impl Into<String>) {
        (self.tell)(Line::Step(text.into()));
    }

    fn seen(&mut self, text: impl Into<String>) {
        (self.tell)(Line::Seen(text.into()));
    }

    async fn create(&mut self) -> Result<Vec<Server>, Error> {
        self.step(
            "Create three servers. Each is started by the provider `local` at a loopback address of its own, waited for until it \
             accepts a connection, registered in DNS, and verified over DNS.",
        );
        let mut servers = Vec::new();
        for hostname in HOSTNAMES {
            let server = self.stage.lifecycle.create(hostname, &[], None).await?.run(|_| ()).await?;
            self.show_steps(&server);
            if server.state != State::Ready || server.problem.is_some() || server.dns.verified != Some(true) {
                let problem = server.problem.unwrap_or_else(|| "its name was not verified".to_owned());
                return Err(Error::Untrue(format!(
                    "{hostname} is {}, not ready and verified: {problem}",
                    server.state
                )));
            }
            servers.push(server);
        }
        Ok(servers)
    }

    fn show_steps(&mut self, server: &Server) {
        self.seen(server.hostname.to_string());
        for step in &server.steps {
            self.seen(format!("  {step}"));
        }
    }

    async fn ask(&mut self, servers: &[Server]) -> Result<(), Error> {
        self.step(format!("Ask the name server at {} for each name, as any program would.", self.stage.nameserver));
        for server in servers {
            for over in [Transport::Udp, Transport::Tcp] {
                let answer = self.resolve(server.hostname.as_str(), over).await?;
                let expected: Vec<_> = server.addresses.iter().map(ToString::to_string).collect();
                must(answer.rcode == "NOERROR" && answer.values == expected, || {
                    format!("{} should be {}, and the answer is {answer}", server.hostname, expected.join(" "))
                })?;
            }
        }
        Ok(())
    }

    async fn reach(&mut self, servers: &[Server]) -> Result<(), Error> {
        self.step("Reach each server by its name: ask DNS for the address, connect to it, read who is there.");
        for server in servers {
            self.reach_one(server.hostname.as_str(), server).await?;
        }
        Ok(())
    }

    /// Follows a name, which must lead to this server.
    async fn reach_one(&mut self, hostname: &str, server: &Server) -> Result<(), Error> {
        let answer = self.resolve(hostname, Transport::Udp).await?;
        let address: Option<Ipv4Addr> = answer.values.first().and_then(|value| value.parse().ok());
        let Some(address) = address else {
            return Err(Error::Untrue(format!("{hostname} has no address: {answer}")));
        };
        let greeting = greeting(address.into()).await.map_err(|why| Error::Untrue(format!("{hostname}: {why}")))?;
        self.seen(format!("{hostname} -> {address}:{} says \"{}\"", local::PORT, greeting.trim()));
        must(greeting.starts_with(server.hostname.as_str()), || {
            format!("{hostname} does not lead to {}", server.hostname)
        })
    }

    async fn list(&mut self, servers: &[Server]) -> Result<(), Error> {
        self.step("List what is registered.");
        let listing = self.stage.registry.list(Wanted::default()).await?;
        for record in &listing.records {
            self.seen(format!("{} {} {} ttl {}", record.name, record.record_type, record.value, record.ttl));
        }
        let mut listed: Vec<_> =
            listing.records.iter().map(|record| (record.name.clone(), record.value.clone())).collect();
        let mut expected: Vec<_> = servers
            .iter()
            .flat_map(|server| {
                server.addresses.iter().map(|address| (server.hostname.to_string(), address.to_string()))
            })
            .collect();
        listed.sort();
        expected.sort();
        must(listed == expected && listing.problems.is_empty(), || "that is not what was registered".to_owned())
    }

    async fn update(&mut self, servers: &[Server]) -> Result<(), Error> {
        self.step(format!("Update one record: {MOVED} shall lead to {MOVED_TO}, as after a failover."));
        let target = servers.iter().find(|server| server.hostname.as_str() == MOVED_TO);
        let Some((target, address)) = target.and_then(|server| Some((server, server.addresses.first()?))) else {
            return Err(Error::Untrue(format!("{MOVED_TO} is not there")));
        };
        let set = RecordSet {
            name: MOVED.to_owned(),
            record_type: "A".to_owned(),
            ttl: None,
            values: vec![address.to_string()],
        };
        let outcomes = self.stage.registry.update(&set).await;
        for outcome in &outcomes {
            self.seen(format!("{MOVED} A {} {}", outcome.value.as_deref().unwrap_or_default(), outcome.outcome));
        }
        must(!outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.outcome.is_done()), || {
            "the update was not made".to_owned()
        })?;

        let selection = Selection { name: MOVED.to_owned(), record_type: None, values: Vec::new() };
        let verifications = self.stage.registry.verify(&selection, PATIENCE).await?;
        for answer in verifications.iter().flat_map(|verification| &verification.answers) {
            self.seen(format!("{} {}: {}", answer.nameserver, answer.outcome, answer.values.join(" ")));
        }
        must(!verifications.is_empty() && verifications.iter().all(|one| one.outcome == Verdict::Verified), || {
            "the update was not verified".to_owned()
        })?;
        self.reach_one(MOVED, target).await
    }

    async fn delete(&mut self) -> Result<(), Error> {
        self.step("Delete all three. Each is stopped, its records are removed, by its id and no others, and it leaves the inventory.");
        for hostname in HOSTNAMES {
            let before = self.stage.lifecycle.find(hostname).await?.server.steps.len();
            let server = self.stage.lifecycle.delete(hostname, None).await?.run(|_| ()).await?;
            self.seen(hostname);
            for step in server.steps.iter().skip(before) {
                self.seen(format!("  {step}"));
            }
            must(server.state == State::Deleted, || format!("{hostname} is {}, not deleted", server.state))?;
        }
        Ok(())
    }

    async fn gone(&mut self, servers: &[Server]) -> Result<(), Error> {
        self.step("Verify that nothing is left: no name, no listener, no record, no server.");
        for server in servers {
            let answer = self.resolve(server.hostname.as_str(), Transport::Udp).await?;
            must(answer.rcode == "NXDOMAIN", || {
                format!("{} should be gone, and the answer is {answer}", server.hostname)
            })?;
            for address in &server.addresses {
                let greeted = greeting(*address).await;
                must(greeted.is_err(), || format!("somebody still listens at {address}:{}", local::PORT))?;
            }
        }
        let records = self.stage.registry.list(Wanted::default()).await?.records.len();
        let left = self.stage.lifecycle.list().await?.len();
        self.seen(format!("{records} records, {left} servers"));
        must(records == 0 && left == 0, || "something is left".to_owned())
    }

    /// Asks, and shows the answer.
    async fn resolve(&mut self, hostname: &str, over: Transport) -> Result<Answer, Error> {
        let asked = Question::a(hostname).ask(&self.stage.nameserver, over, PATIENCE).await;
        let answer = asked
            .map_err(|why| Error::Untrue(format!("{} on {hostname} over {over}: {why}", self.stage.nameserver)))?;
        self.seen(format!("{hostname} A over {over}: {answer}"));
        Ok(answer)
    }
}

fn must(is_so: bool, why: impl FnOnce() -> String) -> Result<(), Error> {
    if is_so { Ok(()) } else { Err(Error::Untrue(why())) }
}

/// What a server says to who connects.
async fn greeting(address: IpAddr) -> Result<String, String> {
    let reading = async {
        let mut text = String::new();
        TcpStream::connect((address, local::PORT)).await?.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no greeting in time".to_owned()),
    }
}
