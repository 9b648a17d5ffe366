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
    manager::Options,
    name::Name,
    ports::{Answer, DnsFault, HttpFault, HttpReply, Ports, Question},
    rdata::{RData, RrType},
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

impl Diagnosis<'_> {
    /// Makes all checks; none when the budget was over before the last.
    fn run(&mut self) -> Option<()> {
        let config = self.check_settings();
        let path = config.as_ref().map_or_else(|| DEFAULT_PATH.to_owned(), |config| config.path.clone());
        let mut stored = None;
        if self.url.is_some() && self.check_backend()? {
            stored = self.check_gateway(&path)?;
            self.check_room()?;
        }
        let zones = config.and_then(|config| config.zones);
        self.check_name_servers(zones.as_deref(), stored.as_ref(), &path)
    }

    fn add(&mut self, id: &'static str, level: Level, saw: impl Into<String>, remedy: impl Into<String>) {
        self.checks.push(Check { id, level, saw: saw.into(), remedy: remedy.into() });
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
            let (saw, remedy) = explain_stranger(&url, &reply);
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

    /// Reads one key below the path; gives the name that it stands for.
    fn check_gateway(&mut self, path: &str) -> Option<Option<Name>> {
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
        Some(stored_name(&answer, &prefix))
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

    fn check_name_servers(&mut self, zones: Option<&[Zone]>, stored: Option<&Name>, path: &str) -> Option<()> {
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
            if let Some(zone) = self.check_served(server, name, zones.is_some(), reply, path)
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
    fn check_served(&mut self, server: &str, name: &Name, configured: bool, reply: &Reply, path: &str) -> Option<Zone> {
        let trouble = trouble_of(server, reply);
        let answer = match (reply, trouble) {
            (Ok(answer), None) => answer,
            (Ok(answer), Some(trouble)) if trouble.refused => {
                let saw = format!("{server} does not serve `{name}` ({})", rcode_name(answer.rcode));
                let level = if configured { Level::Fail } else { Level::Warn };
                self.add("zone-served", level, saw, self.corefile(name, path));
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
                Some(zone)
            }
            None => {
                let (saw, remedy) = self.explain_other_source(server, name, answer, path);
                let level = if configured { Level::Fail } else { Level::Warn };
                self.add("zone-served", level, saw, remedy);
                None
            }
        }
    }

    /// Says where an answer came from that is not of the etcd plugin.
    fn explain_other_source(&self, server: &str, name: &Name, answer: &Answer, path: &str) -> (String, String) {
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
            None => {
                (format!("{server} has no SOA for `{name}` ({})", rcode_name(answer.rcode)), self.corefile(name, path))
            }
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

    /// The command that makes CoreDNS serve a zone from this backend.
    fn corefile(&self, zone: &Name, path: &str) -> String {
        let url = self.url.as_deref().unwrap_or("http://127.0.0.1:2379");
        format!(
            "printf '{zone} {{\\n  etcd {{\\n    path /{path}\\n    endpoint {url}\\n  }}\\n}}\\n' >> Corefile, and \
             restart CoreDNS (or correct zones in [orchestrator.dns])"
        )
    }
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
        HttpFault::NotSent(why) => {
            (format!("{url} was not reached: {}", excerpt(&why)), format!("start etcd, or {correct}"))
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

/// What something that is not etcd answered, and what to do.
fn explain_stranger(url: &str, reply: &HttpReply) -> (String, String) {
    let body = String::from_utf8_lossy(&reply.body);
    if body.contains("HTTP request to an HTTPS server") {
        return (
            format!("{url} takes HTTPS only"),
            "dns-manager cannot speak TLS to etcd yet: give etcd --listen-client-urls http://127.0.0.1:2379 too"
                .to_owned(),
        );
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
    // The host has no credentials to lend yet.
    let credentials =
        "dns-manager cannot log in to etcd yet: use an etcd without authentication (`etcdctl auth disable`)";
    match (code, reply.status) {
        (Some(3), _) if said.contains("user name is empty") => {
            ("etcd wants a user and a password".to_owned(), credentials.to_owned())
        }
        (Some(16), _) | (None, 401) => (format!("etcd does not know who asks: {said}"), credentials.to_owned()),
        (Some(7), _) | (None, 403) => (
            format!("etcd forbids reading {prefix}: {said}"),
            format!("etcdctl role grant-permission ROLE --prefix=true readwrite {prefix}"),
        ),
        (Some(2 | 14), _) => (
            format!("etcd cannot read, it has no quorum or no leader: {said}"),
            "etcdctl endpoint health --cluster; start the missing members".to_owned(),
        ),
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
    let mut short: String = text.trim().chars().take(80).flat_map(char::escape_debug).collect();
    if text.trim().chars().nth(80).is_some() {
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
mod tests {
    use super::*;
    use crate::verify::tests::{
        FakeClock, FakePorts, FakeResolver, data, name, nxdomain, refused, rr, servfail, soa, timeout,
    };

    const URL: &str = "http://127.0.0.1:2379";

    fn reply(status: u16, body: &str) -> Result<HttpReply, HttpFault> {
        Ok(HttpReply { status, body: body.into() })
    }

    fn version() -> Result<HttpReply, HttpFault> {
        reply(200, r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#)
    }

    fn range() -> Result<HttpReply, HttpFault> {
        let key = BASE64.encode(b"/skydns/test/ex/web");
        reply(200, &format!(r#"{{"header":{{}},"kvs":[{{"key":"{key}"}}],"count":"7","more":true}}"#))
    }

    fn run(ports: &FakePorts<'_>) -> Vec<Check> {
        diagnose(ports, &Options { budget: Duration::from_secs(30), dry_run: false, request_id: String::new() })
    }

    fn levels(checks: &[Check]) -> Vec<(&'static str, Level)> {
        checks.iter().map(|check| (check.id, check.level)).collect()
    }

    /// A check of an id, the only one.
    fn the<'a>(checks: &'a [Check], id: &str) -> &'a Check {
        let mut found = checks.iter().filter(|check| check.id == id);
        let check = found.next().unwrap_or_else(|| panic!("{id} is not in {checks:#?}"));
        assert_eq!(found.next(), None);
        check
    }

    fn etcd_plugin(question: &Question) -> Reply {
        match question.rr_type {
            RrType::Soa if question.name.is_within(&name("ex.test")) => soa("ex.test", "ns.dns.ex.test"),
            RrType::Ns => data(vec![rr("ex.test", 300, RData::Ns(name("ns1.ns.dns.ex.test")))]),
            _ => refused(),
        }
    }

    fn ports<'a>(clock: &'a FakeClock, answer: impl Fn(&Question) -> Reply + 'a) -> FakePorts<'a> {
        let mut ports = FakePorts::new(clock, FakeResolver::new(&["10.0.0.2:53"], answer));
        ports.settings = vec![("url", URL), ("zones", "ex.test")];
        ports.http = Box::new(|path, _| match path {
            "/version" => version(),
            "/v3/kv/range" => range(),
            _ => reply(404, "404 page not found\n"),
        });
        ports
    }

    #[test]
    fn a_sound_installation_is_ok_throughout() {
        let clock = FakeClock::default();
        for settings in [vec![("url", URL), ("zones", "ex.test")], vec![("url", URL)]] {
            let mut ports = ports(&clock, etcd_plugin);
            ports.settings = settings;
            let checks = run(&ports);

            let ids = [
                "settings",
                "backend-reachable",
                "backend-gateway",
                "nameservers",
                "nameserver-reachable",
                "zone-served",
                "name-server-records",
            ];
            assert_eq!(levels(&checks), ids.map(|id| (id, Level::Ok)), "{checks:#?}");
            assert!(checks.iter().all(|check| check.remedy.is_empty() && !check.saw.contains('\n')), "{checks:#?}");
            assert!(the(&checks, "backend-gateway").saw.contains("7 keys below /skydns/"));
        }
    }

    #[test]
    fn a_backend_that_is_no_etcd_is_told_by_what_it_says() {
        let cases = [
            (Err(HttpFault::NotSent("connection refused".into())), "start etcd, or correct coredns_url"),
            (Err(HttpFault::Denied("link-local".into())), "link-local and metadata addresses never"),
            (Err(HttpFault::Lost("protocol error".into())), "not CoreDNS's port 53"),
            (Err(HttpFault::TooLarge), "correct coredns_url"),
            (reply(200, "<html>Welcome to nginx!</html>"), "etcd's client port (2379)"),
            (reply(400, "Client sent an HTTP request to an HTTPS server.\n"), "cannot speak TLS"),
            (reply(200, r#"{"etcdserver":"3.3.27","etcdcluster":"3.3.0"}"#), "upgrade etcd"),
            (reply(200, "\u{0}\u{1b}[31m\u{202e}"), "correct coredns_url"),
        ];
        for (answer, remedy) in cases {
            let clock = FakeClock::default();
            let mut ports = ports(&clock, etcd_plugin);
            ports.http = Box::new(|_, _| answer.clone());
            let checks = run(&ports);
            let check = the(&checks, "backend-reachable");
            assert_eq!(check.level, Level::Fail);
            assert!(check.remedy.contains(remedy), "{check:?}");
            assert!(!check.saw.contains(char::is_control), "{check:?}");
            assert_eq!(the(&checks, "zone-served").level, Level::Ok, "the name servers are looked at all the same");
        }
    }

    #[test]
    fn what_the_gateway_refuses_has_its_remedy() {
        let cases = [
            (404, "404 page not found\n", "enable-grpc-gateway: true"),
            (
                400,
                r#"{"error":"etcdserver: user name is empty","code":3,"message":"etcdserver: user name is empty"}"#,
                "cannot log in",
            ),
            (401, r#"{"code":16,"message":"etcdserver: invalid auth token"}"#, "cannot log in"),
            (
                403,
                r#"{"code":7,"message":"etcdserver: permission denied"}"#,
                "etcdctl role grant-permission ROLE --prefix=true readwrite /skydns/",
            ),
            (503, r#"{"code":14,"message":"etcdserver: request timed out"}"#, "etcdctl endpoint health"),
            (500, r#"{"code":2,"message":"context deadline exceeded"}"#, "etcdctl endpoint health"),
            (200, "OK", "see etcd's log"),
        ];
        for (status, body, remedy) in cases {
            let clock = FakeClock::default();
            let mut ports = ports(&clock, etcd_plugin);
            ports.http = Box::new(|path, _| if path == "/version" { version() } else { reply(status, body) });
            let checks = run(&ports);
            let check = the(&checks, "backend-gateway");
            assert_eq!(check.level, Level::Fail, "{body}");
            assert!(check.remedy.contains(remedy), "{check:?}");
        }
    }

    #[test]
    fn a_full_backend_is_told() {
        let clock = FakeClock::default();
        let mut ports = ports(&clock, etcd_plugin);
        ports.http = Box::new(|path, _| match path {
            "/version" => version(),
            "/v3/kv/range" => range(),
            _ => reply(200, r#"{"header":{},"alarms":[{"memberID":"1","alarm":"NOSPACE"}]}"#),
        });
        assert_eq!(the(&run(&ports), "backend-room").level, Level::Fail);
    }

    #[test]
    fn a_zone_that_is_not_served_from_etcd_says_by_whom() {
        let second_hand = || soa("ex.test", "ns.dns.ex.test").map(|answer| Answer { authoritative: false, ..answer });
        let cases: [(Reply, Level, &str, &str); 6] = [
            (refused(), Level::Fail, "does not serve `ex.test` (REFUSED)", "etcd {"),
            (soa("ex.test", "a.ns.test"), Level::Fail, "its SOA names `a.ns.test`", "serve `ex.test` with `etcd`"),
            (soa("test", "ns.dns.test"), Level::Fail, "a part of the zone `test`", "zones = [\"test\"]"),
            (second_hand(), Level::Fail, "not authoritative", "CoreDNS itself"),
            (nxdomain("test", 30), Level::Fail, "NXDOMAIN", "etcd {"),
            (servfail(), Level::Warn, "SERVFAIL", "dig @10.0.0.2 -p 53 ex.test SOA"),
        ];
        for (answer, level, saw, remedy) in cases {
            let clock = FakeClock::default();
            let ports = ports(&clock, |_| answer.clone());
            let checks = run(&ports);
            let check = the(&checks, "zone-served");
            assert_eq!(check.level, level, "{check:?}");
            assert!(check.saw.contains(saw) && check.remedy.contains(remedy), "{check:?}");
        }
    }

    #[test]
    fn each_name_server_has_its_own_checks() {
        let clock = FakeClock::default();
        let mut ports = ports(&clock, etcd_plugin);
        ports.resolver =
            FakeResolver::new(&["10.0.0.2:53", "[2001:db8::1]:53"], |question| match question.server.as_str() {
                "10.0.0.2:53" => etcd_plugin(question),
                _ => timeout(),
            });
        let checks = run(&ports);
        let reachable: Vec<_> = checks.iter().filter(|check| check.id == "nameserver-reachable").collect();
        assert_eq!(reachable.iter().map(|check| check.level).collect::<Vec<_>>(), [Level::Ok, Level::Fail]);
        assert!(reachable[1].remedy.contains("dig @2001:db8::1 -p 53 ex.test SOA"), "{reachable:?}");
        assert!(the(&checks, "zone-served").saw.contains("10.0.0.2:53"), "a silent server has one line only");
    }

    #[test]
    fn a_zone_without_name_server_records_says_how_to_make_them() {
        let clock = FakeClock::default();
        let ports = ports(&clock, |question| match question.rr_type {
            RrType::Ns => nxdomain("ex.test", 30),
            _ => etcd_plugin(question),
        });
        let checks = run(&ports);
        let check = the(&checks, "name-server-records");
        assert_eq!(check.level, Level::Warn);
        assert_eq!(check.remedy, "dns-manager record register ns1.ns.dns.ex.test A <address of CoreDNS>");
    }

    #[test]
    fn a_stranger_s_key_never_reaches_a_command() {
        for (key, stands_for) in [
            ("/skydns/test/ex/web", Some("web.ex.test")),
            ("/skydns/test/ex/$(reboot)/web", Some("ex.test")),
            ("/skydns/test/ex/@GUARD", Some("ex.test")),
            ("/skydns/`reboot`", None),
            ("/elsewhere/test", None),
        ] {
            let answer = json!({ "kvs": [{ "key": BASE64.encode(key.as_bytes()) }] });
            assert_eq!(stored_name(&answer, "/skydns/"), stands_for.map(name), "{key}");
        }
    }

    #[test]
    fn settings_that_are_missing_are_named() {
        let clock = FakeClock::default();
        let mut ports = ports(&clock, |_| refused());
        ports.settings = Vec::new();
        ports.resolver = FakeResolver::new(&[], |_| timeout());
        let checks = run(&ports);
        assert_eq!(levels(&checks), [("settings", Level::Fail), ("nameservers", Level::Fail)]);
        assert!(the(&checks, "settings").remedy.contains("coredns_url"));
        assert!(the(&checks, "nameservers").remedy.contains("nameservers = "));
    }

    #[test]
    fn what_the_budget_does_not_allow_is_said() {
        let clock = FakeClock::default();
        let mut ports = ports(&clock, etcd_plugin);
        ports.http = Box::new(|_, _| {
            clock.advance(Duration::from_secs(29));
            version()
        });
        let checks = run(&ports);
        assert_eq!(checks.last().map(|check| (check.id, check.level)), Some(("budget", Level::Warn)));
    }
}
