//! Diagnosis: a look at everything that has to be right, the cheapest first.
//!
//! Never an error and never beyond the budget. Each check says what was seen, and what to do as a command or a line of
//! configuration. What etcd's gateway says to what is measured in `coredns-etcd.md` 5, what CoreDNS answers in its 3.

use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::{
    budget::Budget,
    config::Config,
    discovery::{PART, etcd_zone},
    etcd::{Gateway, Range},
    layout::Layout,
    manager::Options,
    name::Name,
    ports::{Answer, DnsFault, HttpFault, HttpReply, Ports, Question},
    rdata::{RData, RrType},
    skydns::service::Service,
    verification::{Check, Level},
    verify::{NXDOMAIN, rcode_name, trouble_of},
    zone::Zone,
};

/// For `/version`, which etcd answers without its cluster.
const VERSION_TIMEOUT: Duration = Duration::from_secs(3);
/// For a read: without quorum etcd answers after 7 seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(8);
/// For questions: CoreDNS answers SERVFAIL when etcd has kept it waiting for 5 seconds.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(6);
/// With less time than this, nothing more is begun.
const SHORTEST_STEP: Duration = Duration::from_millis(50);
/// Values that are read at once, and how many at all: a look must end.
const CHUNK: u32 = 1_000;
const MOST_VALUES: usize = 50_000;
/// Bad values that are named.
const SHOWN: usize = 3;
/// Characters that are shown of somebody else's text.
const EXCERPT: usize = 120;
/// A longer key is not written into a command.
const LONGEST_IN_COMMAND: usize = 200;
/// What to do where etcd has no quorum.
const START_MEMBERS: &str = "etcdctl endpoint health --cluster; start the missing members";
/// CoreDNS's `path`, when the settings cannot be read.
const DEFAULT_PATH: &str = "skydns";

/// Looks at the settings, the backend and the name servers.
pub fn diagnose(ports: &dyn Ports, options: &Options) -> Vec<Check> {
    let budget = Budget::new(ports.clock(), options.budget);
    let mut diagnosis = Diagnosis { ports, budget, url: ports.settings().get("url"), checks: Vec::new() };
    if diagnosis.run().is_none() {
        diagnosis.add(
            "budget",
            Level::Warn,
            format!("the budget of {} ms was used up, so not everything was checked", options.budget.as_millis()),
            "put right what is named above, then run `dns-manager doctor` again",
        );
    }
    diagnosis.checks
}

struct Diagnosis<'a> {
    ports: &'a dyn Ports,
    budget: Budget<'a>,
    url: Option<String>,
    checks: Vec<Check>,
}

type Reply = Result<Answer, DnsFault>;

/// A gateway that answers.
struct Gate {
    /// The name that the first key below the path stands for.
    stored: Option<Name>,
}

impl Diagnosis<'_> {
    /// Makes all checks; none when the budget was over before the last.
    fn run(&mut self) -> Option<()> {
        let config = self.check_settings();
        let path = config.as_ref().map_or_else(|| DEFAULT_PATH.to_owned(), |config| config.path.clone());
        let mut gateway = None;
        if self.url.is_some() && self.check_backend()? {
            gateway = self.check_gateway(&path)?;
            // One that reads nothing tells of no alarm either, and takes its time.
            if gateway.is_some() {
                self.check_room()?;
            }
        }
        let zones = config.and_then(|config| config.zones);
        let stored = gateway.as_ref().and_then(|gateway| gateway.stored.as_ref());
        self.check_name_servers(zones.as_deref(), stored)?;
        if gateway.is_some() { self.check_values(zones.as_deref(), &Layout::new(&path)) } else { Some(()) }
    }

    fn add(&mut self, id: &'static str, level: Level, saw: impl Into<String>, remedy: impl Into<String>) {
        self.checks.push(Check { id, level, saw: saw.into(), remedy: remedy.into(), attributes: Vec::new() });
    }

    /// Says which zone the last check is about.
    fn about(&mut self, zone: &Zone) {
        if let Some(check) = self.checks.last_mut() {
            check.attributes.push(("zone", zone.to_string()));
        }
    }

    /// The time for a step; none when there is too little left.
    fn time(&self, most: Duration) -> Option<Duration> {
        let left = self.budget.left().saturating_sub(SHORTEST_STEP);
        (left >= SHORTEST_STEP).then_some(left.min(most))
    }

    fn check_settings(&mut self) -> Option<Config> {
        let config = match Config::read(self.ports.settings()) {
            Ok(config) => config,
            Err(reason) => {
                self.add(
                    "settings",
                    Level::Fail,
                    reason.message,
                    "correct it in [orchestrator.dns]; see `dns-manager config show`",
                );
                return None;
            }
        };
        let zones = match &config.zones {
            Some(zones) => zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            None => "as the name servers tell".to_owned(),
        };
        let Config { owner, path, ttl, .. } = &config;
        let saw = format!("owner `{owner}`, ttl {}, path /{path}, zones: {zones}", ttl.seconds());
        match &self.url {
            Some(url) => self.add("settings", Level::Ok, format!("backend {url}, {saw}"), ""),
            None => self.add(
                "settings",
                Level::Fail,
                format!("no `url` of a backend is set; {saw}"),
                "set coredns_url = \"http://127.0.0.1:2379\" (etcd's client port) in [orchestrator.dns]",
            ),
        }
        Some(config)
    }

    /// Tells whether the backend is etcd and can be talked to.
    fn check_backend(&mut self) -> Option<bool> {
        let url = self.url.clone().unwrap_or_default();
        let reply = self.ports.http().send("/version", None, self.time(VERSION_TIMEOUT)?);
        let reply = match reply {
            Ok(reply) => reply,
            Err(fault) => {
                let (saw, remedy) = explain_fault(&url, fault);
                self.add("backend-reachable", Level::Fail, saw, remedy);
                return Some(false);
            }
        };
        let Some(version) = json_of(&reply).and_then(|body| Some(body.get("etcdserver")?.as_str()?.to_owned())) else {
            let refused = json_of(&reply).filter(|body| body.get("code").is_some_and(Value::is_number));
            let (saw, remedy) = match refused {
                // Whoever logs in there for us was turned away.
                Some(body) => explain_refusal("/version", &reply, Some(&body)),
                None => explain_stranger(&url, &reply),
            };
            self.add("backend-reachable", Level::Fail, saw, remedy);
            return Some(false);
        };
        if is_before_3_4(&version) {
            let remedy = "upgrade etcd to 3.4 or later; older ones have no /v3 gateway";
            self.add("backend-reachable", Level::Fail, format!("{url} is etcd {version}"), remedy);
            return Some(false);
        }
        self.add("backend-reachable", Level::Ok, format!("{url} is etcd {version}"), "");
        Some(true)
    }

    /// Reads one key below the path; none inside when that did not work.
    fn check_gateway(&mut self, path: &str) -> Option<Option<Gate>> {
        let prefix = format!("/{path}/");
        let body = json!({
            "key": BASE64.encode(prefix.as_bytes()),
            // The octet after `/` is `0`.
            "range_end": BASE64.encode(format!("/{path}0").as_bytes()),
            "limit": 1,
            "keys_only": true,
        });
        let timeout = self.time(READ_TIMEOUT)?;
        let reply = match self.ports.http().send("/v3/kv/range", Some(body.to_string().as_bytes()), timeout) {
            Ok(reply) => reply,
            // It answered `/version`, for which it needs no other member.
            Err(HttpFault::Lost(why)) => {
                let saw =
                    format!("etcd does not answer a read: it has no quorum, or it is overloaded: {}", excerpt(&why));
                self.add("backend-gateway", Level::Fail, saw, START_MEMBERS);
                return Some(None);
            }
            Err(fault) => {
                let url = self.url.clone().unwrap_or_default();
                let (saw, remedy) = explain_fault(&url, fault);
                self.add("backend-gateway", Level::Fail, saw, remedy);
                return Some(None);
            }
        };
        let answer = match json_of(&reply) {
            Some(answer) if reply.status == 200 => answer,
            other => {
                let (saw, remedy) = explain_refusal(&prefix, &reply, other.as_ref());
                self.add("backend-gateway", Level::Fail, saw, remedy);
                return Some(None);
            }
        };
        // A count is text; zero is left out.
        let count = answer.get("count").and_then(Value::as_str).unwrap_or("0");
        self.add("backend-gateway", Level::Ok, format!("the gateway answers; {count} keys below {prefix}"), "");
        Some(Some(Gate { stored: stored_name(&answer, &prefix) }))
    }

    /// Looks for alarms: without room, etcd takes no writes. Who may not ask is not told.
    fn check_room(&mut self) -> Option<()> {
        let body = json!({ "action": "GET" }).to_string();
        let timeout = self.time(READ_TIMEOUT)?;
        let Ok(reply) = self.ports.http().send("/v3/maintenance/alarm", Some(body.as_bytes()), timeout) else {
            return Some(());
        };
        let Some(answer) = json_of(&reply).filter(|_| reply.status == 200) else { return Some(()) };
        let alarms = answer.get("alarms").and_then(Value::as_array);
        let alarms: Vec<_> = alarms.into_iter().flatten().filter_map(|alarm| alarm.get("alarm")?.as_str()).collect();
        if alarms.contains(&"NOSPACE") {
            let remedy = "etcdctl compact REVISION && etcdctl defrag --cluster && etcdctl alarm disarm";
            self.add("backend-room", Level::Fail, "etcd has raised NOSPACE: it takes no writes", remedy);
        } else if let Some(alarm) = alarms.first() {
            self.add(
                "backend-room",
                Level::Fail,
                format!("etcd has raised {}", excerpt(alarm)),
                "etcdctl alarm list; etcdctl endpoint status --cluster",
            );
        } else {
            self.add("backend-room", Level::Ok, "etcd has raised no alarm", "");
        }
        Some(())
    }

    fn check_name_servers(&mut self, zones: Option<&[Zone]>, stored: Option<&Name>) -> Option<()> {
        let servers = self.ports.resolver().servers();
        if servers.is_empty() {
            let (level, saw) = match zones {
                Some(_) => (Level::Warn, "no name server is configured: nothing can be verified"),
                None => {
                    (Level::Fail, "no name server is configured: zones cannot be found out and nothing can be verified")
                }
            };
            self.add(
                "nameservers",
                level,
                saw,
                "set nameservers = [\"127.0.0.1:53\"] (where CoreDNS answers) in [orchestrator.dns]",
            );
            return Some(());
        }
        self.add("nameservers", Level::Ok, format!("configured: {}", servers.join(" ")), "");

        // What to ask the SOA of: each zone, or something stored, whose zone the answer tells, or anything at all.
        let asked: Vec<Name> = match (zones, stored) {
            (Some(zones), _) => zones.iter().map(|zone| zone.apex().clone()).collect(),
            (None, Some(name)) => vec![name.clone()],
            (None, None) => vec![Name::root()],
        };
        let pairs: Vec<(&String, &Name)> =
            servers.iter().flat_map(|server| asked.iter().map(move |name| (server, name))).collect();
        let replies = self.ask(&pairs, RrType::Soa)?;

        let mut alive = Vec::new();
        for server in &servers {
            let mine: Vec<_> =
                pairs.iter().zip(&replies).filter(|((asked, _), _)| *asked == server).map(|(_, reply)| reply).collect();
            if self.check_reachable(server, asked.first(), &mine) {
                alive.push(server);
            }
        }
        if zones.is_none() && stored.is_none() {
            let saw = "no zones are configured and nothing is stored, so there is no zone to look at";
            self.add("zone-served", Level::Warn, saw, "set zones = [\"example.com\"] in [orchestrator.dns]");
            return Some(());
        }
        let mut served: Vec<(&String, Zone)> = Vec::new();
        for ((server, name), reply) in pairs.iter().zip(&replies).filter(|((server, _), _)| alive.contains(server)) {
            if let Some(zone) = self.check_served(server, name, zones.is_some(), reply)
                && !served.iter().any(|(_, known)| *known == zone)
            {
                served.push((server, zone));
            }
        }
        self.check_ns(&served)
    }

    /// Tells whether a name server answers at all.
    fn check_reachable(&mut self, server: &str, asked: Option<&Name>, replies: &[&Reply]) -> bool {
        if replies.iter().any(|reply| reply.is_ok()) {
            self.add("nameserver-reachable", Level::Ok, format!("{server} answers"), "");
            return true;
        }
        let saw = match replies.first().and_then(|reply| trouble_of(server, reply)) {
            Some(trouble) => trouble.message,
            None => format!("{server} was not asked"),
        };
        let dig = asked.map(|name| dig(server, name, RrType::Soa)).unwrap_or_default();
        let remedy = format!("start CoreDNS there, or correct nameservers in [orchestrator.dns]; try `{dig}`");
        self.add("nameserver-reachable", Level::Fail, saw, remedy);
        false
    }

    /// Checks that a server serves a zone from etcd, and gives the zone that it serves.
    fn check_served(&mut self, server: &str, name: &Name, configured: bool, reply: &Reply) -> Option<Zone> {
        let trouble = trouble_of(server, reply);
        let answer = match (reply, trouble) {
            (Ok(answer), None) => answer,
            (Ok(answer), Some(trouble)) if trouble.refused => {
                let saw = format!("{server} does not serve `{name}` ({})", rcode_name(answer.rcode));
                let level = if configured { Level::Fail } else { Level::Warn };
                self.add("zone-served", level, saw, corefile(name));
                return None;
            }
            (_, trouble) => {
                let saw = trouble.map_or_else(|| format!("{server} did not tell"), |trouble| trouble.message);
                self.add("zone-served", Level::Warn, saw, format!("try `{}`", dig(server, name, RrType::Soa)));
                return None;
            }
        };
        match etcd_zone(answer, name) {
            Some(zone) if configured && zone.apex() != name => {
                let saw = format!("{server} serves `{name}` as a part of the zone `{zone}`, not as a zone of its own");
                let remedy = format!(
                    "set zones = [\"{zone}\"] in [orchestrator.dns], or add `{name}` to the `etcd` line of the Corefile"
                );
                self.add("zone-served", Level::Fail, saw, remedy);
                None
            }
            Some(zone) => {
                self.add("zone-served", Level::Ok, format!("{server} serves `{zone}` from etcd"), "");
                self.about(&zone);
                Some(zone)
            }
            None => {
                let (saw, remedy) = Self::explain_other_source(server, name, answer);
                let level = if configured { Level::Fail } else { Level::Warn };
                self.add("zone-served", level, saw, remedy);
                None
            }
        }
    }

    /// Says where an answer came from that is not of the etcd plugin.
    fn explain_other_source(server: &str, name: &Name, answer: &Answer) -> (String, String) {
        let soa = answer.answers.iter().find_map(|rr| match &rr.data {
            RData::Soa(soa) => Some((&rr.name, soa)),
            _ => None,
        });
        match soa {
            Some((owner, _)) if !answer.authoritative => (
                format!("{server} is not authoritative for `{owner}`: it forwards or caches"),
                "set nameservers in [orchestrator.dns] to CoreDNS itself".to_owned(),
            ),
            Some((owner, soa)) => (
                format!(
                    "{server} serves `{owner}`, but not from etcd: its SOA names `{}`, not `ns.dns.{owner}`",
                    soa.mname
                ),
                format!("in the Corefile, serve `{owner}` with `etcd` instead of the plugin that answers now"),
            ),
            None => (format!("{server} has no SOA for `{name}` ({})", rcode_name(answer.rcode)), corefile(name)),
        }
    }

    /// Checks that each zone has name server records: CoreDNS works without, delegations and some resolvers do not.
    fn check_ns(&mut self, served: &[(&String, Zone)]) -> Option<()> {
        let pairs: Vec<_> = served.iter().map(|(server, zone)| (*server, zone.apex())).collect();
        let replies = self.ask(&pairs, RrType::Ns)?;
        for ((server, zone), reply) in served.iter().zip(&replies) {
            let servers: Vec<_> = match reply {
                Ok(answer) => answer
                    .answers
                    .iter()
                    .filter(|rr| rr.data.rr_type() == RrType::Ns)
                    .map(|rr| rr.data.to_string())
                    .collect(),
                Err(_) => Vec::new(),
            };
            let branch = zone.ns_branch();
            match (trouble_of(server, reply), reply) {
                (Some(trouble), Ok(_)) => {
                    let remedy = format!(
                        "only addresses may stand below `{branch}`; see `dns-manager record list --name {branch}`"
                    );
                    self.add("name-server-records", Level::Warn, trouble.message, remedy);
                }
                (Some(trouble), Err(_)) => {
                    self.add(
                        "name-server-records",
                        Level::Warn,
                        trouble.message,
                        format!("try `{}`", dig(server, zone.apex(), RrType::Ns)),
                    );
                }
                (None, Ok(answer)) if servers.is_empty() => {
                    let what = if answer.rcode == NXDOMAIN { "NXDOMAIN" } else { "no data" };
                    let saw = format!("the zone `{zone}` has no name server records ({what} for NS)");
                    let remedy = format!("dns-manager record register ns1.{branch} A <address of CoreDNS>");
                    self.add("name-server-records", Level::Warn, saw, remedy);
                }
                (None, _) => {
                    self.add("name-server-records", Level::Ok, format!("`{zone}` has {}", servers.join(" ")), "");
                }
            }
        }
        Some(())
    }

    /// Looks for values that CoreDNS cannot read: it answers SERVFAIL to every question that meets one, at its name and at all
    /// names above.
    fn check_values(&mut self, zones: Option<&[Zone]>, layout: &Layout) -> Option<()> {
        let below = |key: &str| Range::between(format!("{key}/"), format!("{key}0"));
        let ranges: Vec<Range> = match zones {
            Some(zones) => zones
                .iter()
                .map(|zone| layout.key(zone.apex()))
                .flat_map(|key| [Range::key(&key), below(&key)])
                .collect(),
            None => vec![below(layout.prefix())],
        };
        let mut looked_at = 0_usize;
        let mut cut = false;
        let mut bad = Vec::new();
        for range in ranges {
            let mut start = Some(range.start.clone());
            while let Some(from) = start.take() {
                if looked_at >= MOST_VALUES {
                    cut = true;
                    break;
                }
                let part = Range { start: from, end: range.end.clone(), limit: CHUNK };
                let timeout = self.time(READ_TIMEOUT)?;
                let read = Gateway::new(self.ports.http()).read(std::slice::from_ref(&part), None, timeout);
                let found = match read {
                    Ok((_, found)) => found,
                    Err(fault) => {
                        let saw = format!(
                            "whether CoreDNS can read what is stored is not known beyond {looked_at} values: {}",
                            excerpt(&fault.message)
                        );
                        let remedy = "put right what is named above, then run `dns-manager doctor` again";
                        self.add("stored-values", Level::Warn, saw, remedy);
                        return Some(());
                    }
                };
                for found in found {
                    looked_at = looked_at.saturating_add(found.entries.len());
                    bad.extend(found.entries.iter().filter_map(|entry| bad_value(&entry.key, &entry.value)));
                    if let Some(last) = found.entries.last().filter(|_| found.more) {
                        start = Some([last.key.as_slice(), &[0]].concat());
                    }
                }
            }
        }
        let extent = if cut { format!("the first {looked_at} values") } else { format!("all {looked_at} values") };
        let Some(first) = bad.first() else {
            self.add("stored-values", Level::Ok, format!("CoreDNS can read {extent}"), "");
            return Some(());
        };
        let shown: Vec<_> = bad.iter().take(SHOWN).map(|bad| bad.saw.as_str()).collect();
        let more = bad.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let saw = format!(
            "of {extent}, CoreDNS cannot read {}, and answers SERVFAIL at these names and above: {}{more}",
            bad.len(),
            shown.join("; ")
        );
        let remedy = first.remedy.clone();
        self.add("stored-values", Level::Fail, saw, remedy);
        Some(())
    }

    /// Asks each server for its name; reply i is for pair i.
    fn ask(&self, pairs: &[(&String, &Name)], rr_type: RrType) -> Option<Vec<Reply>> {
        let mut replies = Vec::with_capacity(pairs.len());
        for part in pairs.chunks(PART) {
            let timeout = self.time(QUESTION_TIMEOUT)?;
            let questions: Vec<_> = part
                .iter()
                .map(|(server, name)| Question { server: (*server).clone(), name: (*name).clone(), rr_type, timeout })
                .collect();
            replies.extend(self.ports.resolver().ask(&questions));
        }
        Some(replies)
    }
}

/// What makes CoreDNS serve a zone from this backend. The block itself has more in it than is known here.
fn corefile(zone: &Name) -> String {
    format!(
        "put the block that `dns-manager config show --corefile` prints, with `{zone}` in its first line, into the Corefile and \
         restart CoreDNS; or correct zones in [orchestrator.dns]"
    )
}

/// Why there was no HTTP answer, and what to do.
fn explain_fault(url: &str, fault: HttpFault) -> (String, String) {
    let correct = "correct coredns_url in [orchestrator.dns]";
    match fault {
        HttpFault::Denied(why) => (
            format!("the host's policy forbids {url}: {}", excerpt(&why)),
            format!(
                "{correct}: loopback and private addresses are allowed there, link-local and metadata addresses never"
            ),
        ),
        HttpFault::NotSent(why) if why.contains("TLS") => (
            format!("{url} was not reached: {}", excerpt(&why)),
            format!(
                "if etcd takes no TLS there, set coredns_url = \"{}\" in [orchestrator.dns]; see `curl -k {url}/version`",
                url.replacen("https://", "http://", 1)
            ),
        ),
        HttpFault::NotSent(why) if why.contains("in time") => (
            format!("{url} was not reached: {}", excerpt(&why)),
            format!("start etcd and all of its members, for it serves nobody while it waits for them, or {correct}"),
        ),
        HttpFault::NotSent(why) => {
            (format!("{url} was not reached: {}", excerpt(&why)), format!("start etcd, or {correct}"))
        }
        HttpFault::NotTrusted(why) if url.starts_with("http://") => {
            (format!("{url} takes HTTPS only: {}", excerpt(&why)), https_instead(url))
        }
        HttpFault::NotTrusted(why) if why.contains("its certificate is for") => (
            format!("no trusted connection to {url}: {}", excerpt(&why)),
            "name the host as its certificate does, in coredns_url in [orchestrator.dns]".to_owned(),
        ),
        HttpFault::NotTrusted(why) => {
            let is_ours = why.contains("client certificate");
            let remedy = if is_ours && why.contains("expired") {
                "renew our certificate and set certificate and key in [orchestrator.dns.tls] to the new ones"
            } else if is_ours {
                "set certificate and key in [orchestrator.dns.tls] to those that etcd's authority (--trusted-ca-file) issued"
            } else if why.contains("expired") {
                "renew etcd's certificate (--cert-file)"
            } else if why.contains("not valid before") {
                "set this machine's clock if it is wrong; else wait until then, or issue etcd another certificate"
            } else if why.contains("an authority's own") {
                "issue etcd a certificate of its own (--cert-file), signed by that authority"
            } else {
                "set ca in [orchestrator.dns.tls] to the certificate of the authority that issued etcd's"
            };
            let shown = "`openssl s_client -connect HOST:PORT` shows the certificate that is used there";
            (format!("no trusted connection to {url}: {}", excerpt(&why)), format!("{remedy}; {shown}"))
        }
        HttpFault::Lost(why) => (
            format!("{url} was reached, but sent no HTTP answer: {}", excerpt(&why)),
            format!(
                "try `curl {url}/version`; {correct}: it is the URL of etcd's client port (2379), not CoreDNS's port 53"
            ),
        ),
        HttpFault::TooLarge => (format!("{url} sent more than an answer can be"), correct.to_owned()),
    }
}

/// The settings for an etcd with TLS.
fn https_instead(url: &str) -> String {
    let secure = url.replacen("http://", "https://", 1);
    format!("set coredns_url = \"{secure}\" in [orchestrator.dns], and ca = \"FILE\" in [orchestrator.dns.tls]")
}

/// What something that is not etcd answered, and what to do.
fn explain_stranger(url: &str, reply: &HttpReply) -> (String, String) {
    let body = String::from_utf8_lossy(&reply.body);
    if body.contains("HTTP request to an HTTPS server") {
        return (format!("{url} takes HTTPS only"), https_instead(url));
    }
    let kind = if body.trim_start().starts_with('<') { "a web page" } else { "no version of etcd" };
    let saw =
        format!("something else listens at {url}: /version gave {kind} (HTTP {}, `{}`)", reply.status, excerpt(&body));
    (saw, "correct coredns_url in [orchestrator.dns]: it is the URL of etcd's client port (2379)".to_owned())
}

/// Why etcd did not read, and what to do: by its code, which is the same in all versions, and not by the HTTP status.
fn explain_refusal(prefix: &str, reply: &HttpReply, body: Option<&Value>) -> (String, String) {
    let code = body.and_then(|body| body.get("code")?.as_i64());
    let text = body.and_then(|body| body.get("message").or_else(|| body.get("error"))?.as_str());
    let said = text.map_or_else(|| excerpt(&String::from_utf8_lossy(&reply.body)), excerpt);
    let credentials =
        "set username and password_file in [orchestrator.dns.credentials]; `etcdctl user list` shows who there is";
    match (code, reply.status) {
        (Some(3), _) if said.contains("user name is empty") => {
            ("etcd wants a user and a password".to_owned(), credentials.to_owned())
        }
        _ if said.contains("common name (CN)") || said.contains("CommonName of client") => (
            "etcd's gateway takes no client certificate with a common name (CN)".to_owned(),
            "issue one without, `openssl req -new -subj \"/O=dns-manager\" ...` say, and name it in [orchestrator.dns.tls]"
                .to_owned(),
        ),
        (Some(16), _) | (None, 401) => (format!("etcd does not know who asks: {said}"), credentials.to_owned()),
        (Some(7), _) | (None, 403) => (
            format!("etcd forbids reading {prefix}: {said}"),
            format!("etcdctl role grant-permission ROLE --prefix=true readwrite {prefix}"),
        ),
        (Some(2 | 14), _) => {
            (format!("etcd cannot read, it has no quorum or no leader: {said}"), START_MEMBERS.to_owned())
        }
        (Some(8), _) => (format!("etcd is overloaded: {said}"), "etcdctl endpoint status --cluster".to_owned()),
        (None, 404) => (
            "etcd's gateway is off: /v3/kv/range is not found".to_owned(),
            "set `enable-grpc-gateway: true` in etcd's configuration file (etcd 3.4 needs it); coredns_url must name \
             the client port (2379), not the peer port (2380)"
                .to_owned(),
        ),
        (_, status) => (
            format!("reading {prefix} failed: HTTP {status}, `{said}`"),
            "see etcd's log; a proxy in between must hand /v3/ through unchanged".to_owned(),
        ),
    }
}

/// A value that CoreDNS cannot read.
struct BadValue {
    saw: String,
    remedy: String,
}

/// Tells whether CoreDNS stops at a value, and whose it is.
fn bad_value(key: &[u8], value: &[u8]) -> Option<BadValue> {
    let error = Service::from_json(value).err()?;
    let mut owner = "nobody's".to_owned();
    if let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(value) {
        let named = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("owner")).map(|(name, _)| name.clone());
        // CoreDNS does not look at the owner, whatever it is.
        if let Some(value) = named.and_then(|name| fields.remove(&name)) {
            owner = match value.as_str() {
                Some(text) => format!("of the owner `{}`", excerpt(text)),
                None => "of an owner that is no text".to_owned(),
            };
            Service::from_json(Value::Object(fields).to_string().as_bytes()).err()?;
        }
    }
    let key = String::from_utf8_lossy(key);
    let shown = excerpt(&key);
    let error = error.trim_start_matches("CoreDNS cannot read this value: ");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~' | '@');
    let remedy = if key.len() <= LONGEST_IN_COMMAND && key.chars().all(is_plain) {
        format!("see `etcdctl get {key}`, and have its owner correct it or `etcdctl del {key}`")
    } else {
        "see it with `etcdctl get --prefix` below the path, and have its owner correct or delete it".to_owned()
    };
    Some(BadValue { saw: format!("{shown} ({owner}, {})", excerpt(error)), remedy })
}

/// The JSON object in an answer.
fn json_of(reply: &HttpReply) -> Option<Value> {
    serde_json::from_slice(&reply.body).ok().filter(Value::is_object)
}

/// The name that the first key of a range stands for, or the nearest above it that may stand in a command: the key can
/// be anybody's.
fn stored_name(answer: &Value, prefix: &str) -> Option<Name> {
    let key = answer.get("kvs")?.get(0)?.get("key")?.as_str()?;
    let key = String::from_utf8(BASE64.decode(key.as_bytes()).ok()?).ok()?;
    let labels: Vec<_> = key.strip_prefix(prefix)?.rsplit('/').collect();
    let name: Name = labels.join(".").parse().ok()?;
    std::iter::successors(Some(name), Name::parent).find(|name| !name.is_root() && name.check_servable().is_ok())
}

/// Tells whether a version is older than the first with `/v3/`; of odd ones it is not said.
fn is_before_3_4(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (3, 4))
}

/// Text from outside, as it may stand in a line.
fn excerpt(text: &str) -> String {
    let mut short: String = text.trim().chars().take(EXCERPT).flat_map(char::escape_debug).collect();
    if text.trim().chars().nth(EXCERPT).is_some() {
        short.push_str("...");
    }
    short
}

/// The command that asks the same.
fn dig(server: &str, name: &Name, rr_type: RrType) -> String {
    match server.rsplit_once(':') {
        Some((host, port)) => format!("dig @{} -p {port} {name} {rr_type} +norecurse", host.trim_matches(['[', ']'])),
        None => format!("dig @{server} {name} {rr_type} +norecurse"),
    }
}

#[cfg(test)]
mod tests;
