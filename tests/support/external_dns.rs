//! The coredns provider of external-dns, as it is, run once for each request.

use std::{io::Write, process::Command, process::Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{left_out::left_out, site::test_name, tool::Tool};

/// One installation of external-dns, before one etcd.
#[derive(Clone, Debug)]
pub struct ExternalDns {
    etcd: String,
    prefix: String,
    owner: String,
    is_strict: bool,
    domains: Vec<String>,
}

/// Whose records a round of its controller may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registry {
    /// All of them.
    Noop,
    /// Those beside which a TXT of its own stands.
    Txt,
}

/// What became of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ran {
    /// What it read.
    pub endpoints: Vec<Endpoint>,
    /// What a round of its controller changed.
    pub changes: Value,
    /// Why it failed.
    pub error: String,
    /// Whether it crashed.
    pub panic: bool,
}

/// A record set, in its words.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    /// The name.
    pub dns_name: String,
    /// `A`, say.
    pub record_type: String,
    /// The values.
    pub targets: Vec<String>,
    /// Seconds; 0: not known.
    #[serde(rename = "recordTTL")]
    pub ttl: u32,
    /// Its bookkeeping.
    pub labels: Value,
}

impl ExternalDns {
    /// Before the etcd at this URL. None, reported, when the program is not here.
    pub fn new(etcd: &str) -> Option<Self> {
        if let Err(missing) = Tool::ExternalDns.find() {
            left_out(&test_name(), &missing);
            return None;
        }
        Some(Self {
            etcd: etcd.to_owned(),
            prefix: "/skydns/".to_owned(),
            owner: "xd".to_owned(),
            is_strict: false,
            domains: Vec::new(),
        })
    }

    /// For these zones only.
    #[must_use]
    pub fn for_domains(self, domains: &[&str]) -> Self {
        Self { domains: domains.iter().map(|domain| (*domain).to_owned()).collect(), ..self }
    }

    /// With `--coredns-strictly-owned`, or not, and an owner's mark.
    #[must_use]
    pub fn strict(self, is_strict: bool, owner: &str) -> Self {
        Self { is_strict, owner: owner.to_owned(), ..self }
    }

    /// With `--coredns-prefix`.
    #[must_use]
    pub fn below(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    /// What its provider reads.
    pub fn records(&self) -> Ran {
        self.run("records", &json!({}))
    }

    /// What its provider makes of changes; an error is told.
    pub fn apply(&self, changes: &Value) -> Ran {
        self.run("apply", &json!({"changes": changes}))
    }

    /// One round of its controller; it must succeed.
    pub fn sync(&self, registry: Registry, policy: &str, desired: &Value) -> Ran {
        let registry = match registry {
            Registry::Noop => "noop",
            Registry::Txt => "txt",
        };
        let ran = self.run("sync", &json!({"registry": registry, "policy": policy, "desired": desired}));
        assert_eq!(ran.error, "", "a round of external-dns fails");
        ran
    }

    fn run(&self, what: &str, more: &Value) -> Ran {
        let mut request = json!({
            "do": what, "prefix": self.prefix, "owner": self.owner, "strict": self.is_strict, "domains": self.domains,
        });
        let fields = request.as_object_mut().expect("it is an object");
        fields.extend(more.as_object().expect("so is this").clone());
        let program = Tool::ExternalDns.find().expect("it was there before");
        let mut child = Command::new(program)
            .env_clear()
            .env("ETCD_URLS", &self.etcd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        child.stdin.take().expect("it has an input").write_all(request.to_string().as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{what}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// A record set that is wanted, in its words.
pub fn endpoint(name: &str, rr_type: &str, targets: &[&str]) -> Value {
    json!({"dnsName": name, "recordType": rr_type, "targets": targets, "recordTTL": 60, "labels": {}})
}
