//! The backend: is it etcd, does its gateway read for us, and has it room?

use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{Diagnosis, READ_TIMEOUT, excerpt};
use crate::{
    name::Name,
    ports::{HttpFault, HttpReply},
    verification::Level,
};

/// For `/version`, which etcd answers without its cluster.
const VERSION_TIMEOUT: Duration = Duration::from_secs(3);
/// What to do where etcd has no quorum.
const START_MEMBERS: &str = "etcdctl endpoint health --cluster; start the missing members";

/// A gateway that answers.
pub(super) struct Gate {
    /// The name that the first key below the path stands for.
    pub(super) stored: Option<Name>,
}

impl Diagnosis<'_> {
    /// Tells whether the backend is etcd and can be talked to.
    pub(super) fn check_backend(&mut self) -> Option<bool> {
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
    pub(super) fn check_gateway(&mut self, path: &str) -> Option<Option<Gate>> {
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
    pub(super) fn check_room(&mut self) -> Option<()> {
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

/// The JSON object in an answer.
fn json_of(reply: &HttpReply) -> Option<Value> {
    serde_json::from_slice(&reply.body).ok().filter(Value::is_object)
}

/// The name that the first key of a range stands for, or the nearest above it that may stand in a command: the key can
/// be anybody's.
pub(super) fn stored_name(answer: &Value, prefix: &str) -> Option<Name> {
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
