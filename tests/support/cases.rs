//! The measured facts about CoreDNS, `cases/coredns-cases.json`.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use crate::{dns::Answer, left_out::left_out, site::test_name};

/// The whole file.
#[derive(Debug, Deserialize)]
pub struct Cases {
    /// The facts.
    pub cases: Vec<Case>,
}

/// One fact.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Unique.
    pub id: String,
    /// `lookup`, `write` or `read`.
    pub kind: String,
    /// A fact about one function.
    #[serde(default)]
    pub subkind: Option<String>,
    /// How CoreDNS is configured.
    #[serde(default)]
    pub config: Config,
    /// What etcd holds.
    #[serde(default)]
    pub services: Vec<Service>,
    /// The case whose `expect.services` etcd holds instead.
    #[serde(default)]
    pub services_ref: Option<String>,
    /// The question.
    #[serde(default)]
    pub query: Option<Question>,
    /// The answer, and more in other kinds.
    #[serde(default)]
    pub expect: Value,
    /// What a `write` encodes.
    #[serde(default)]
    pub input: Value,
    /// Why it cannot be judged.
    #[serde(default)]
    pub skip_reason: Option<String>,
    /// A lease for every key, seconds.
    #[serde(default)]
    pub lease_ttl: Option<u64>,
}

/// How CoreDNS is configured.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Config {
    /// The plugin's `path`.
    #[serde(default)]
    pub path: String,
    /// Its zones.
    #[serde(default)]
    pub zones: Vec<String>,
    /// The world outside.
    #[serde(default)]
    pub upstream: Upstream,
    /// Whether it passes on what it does not have.
    #[serde(default)]
    pub fallthrough: bool,
}

/// The world outside the zones.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(untagged)]
pub enum Upstream {
    /// These records are in it.
    Records(Vec<String>),
    /// `none`, `REFUSED`, or what the next plugin answers.
    Words(String),
}

impl Default for Upstream {
    fn default() -> Self {
        Self::Records(Vec::new())
    }
}

/// One key and its value.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// The key.
    #[serde(default)]
    pub key: String,
    /// An object, or text that is the raw value.
    #[serde(default)]
    pub json: Value,
}

impl Service {
    /// As etcd takes it.
    pub fn entry(&self) -> (String, Vec<u8>) {
        let value = match &self.json {
            Value::String(raw) => raw.clone(),
            object => object.to_string(),
        };
        (self.key.clone(), value.into_bytes())
    }
}

/// A DNS question.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    /// Presentation form.
    pub name: String,
    /// The mnemonic.
    #[serde(rename = "type")]
    pub rr_type: String,
}

impl Cases {
    /// Reads the file in the folder `DNS_MANAGER_CASES`, or in the one that is
    /// shared beside the project. None, reported, when there is none.
    pub fn load() -> Option<Self> {
        let path = path();
        match std::fs::read(&path) {
            Ok(text) => Some(serde_json::from_slice(&text).expect("the case file is as its README says")),
            Err(error) => {
                left_out(&test_name(), &format!("{}: {error}; DNS_MANAGER_CASES can name its folder", path.display()));
                None
            }
        }
    }

    /// The lookups that a server can be asked, the skipped ones left out.
    pub fn server_lookups(&self) -> Vec<&Case> {
        self.cases
            .iter()
            .filter(|case| case.kind == "lookup" && case.subkind.is_none() && case.skip_reason.is_none())
            .collect()
    }

    /// One case.
    pub fn case(&self, id: &str) -> &Case {
        self.cases.iter().find(|case| case.id == id).unwrap_or_else(|| panic!("no case {id}"))
    }

    /// What etcd holds in a case.
    pub fn services(&self, case: &Case) -> Vec<Service> {
        match &case.services_ref {
            Some(id) => serde_json::from_value(self.case(id).expect["services"].clone()).expect("services of the case"),
            None => case.services.clone(),
        }
    }
}

impl Case {
    /// Whether CoreDNS sends nothing at all.
    pub fn expects_no_reply(&self) -> bool {
        self.expect["no_reply"] == true
    }

    /// Compares an answer with what is expected; the difference, in words.
    pub fn difference(&self, answer: &Answer) -> Option<String> {
        let expect = &self.expect;
        if expect["rcode"] != answer.rcode.as_str() {
            return Some(format!("rcode {} instead of {}", answer.rcode, expect["rcode"]));
        }
        let deployed = expect.get("deployed_answers");
        let exact = expect["order"] == "exact";
        // Where upstream's test stops at an empty answer, its authority section goes with that.
        let no_lines = Value::Array(Vec::new());
        let sections = [
            ("answer", deployed.unwrap_or(&expect["answers"]), &answer.answers),
            ("authority", if deployed.is_some() { &no_lines } else { &expect["authority"] }, &answer.authority),
            ("additional", &expect["additional"], &answer.additional),
        ];
        sections.into_iter().find_map(|(section, expected, seen)| {
            let expected: Vec<&str> = expected.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let same = if exact { matches_in_order(&expected, seen) } else { matches_as_sets(&expected, seen) };
            (!same).then(|| format!("{section} section {seen:#?} instead of {expected:#?}"))
        })
    }
}

/// Key to value, with the hash digits of the keys removed, as a multiset.
pub fn without_hashes(tree: &BTreeMap<String, Value>) -> BTreeMap<String, Vec<Value>> {
    let mut plain = BTreeMap::<String, Vec<Value>>::new();
    for (key, value) in tree {
        plain.entry(without_hash(key)).or_default().push(value.clone());
    }
    for values in plain.values_mut() {
        values.sort_by_key(Value::to_string);
    }
    plain
}

/// The key without the 16 upper-case hexadecimal digits that come from a hash.
fn without_hash(key: &str) -> String {
    let Some((head, last)) = key.rsplit_once('/') else { return key.to_owned() };
    let prefix = ["MX-", "SRV-", "~TXT-", "CNAME-"].into_iter().find(|prefix| last.starts_with(prefix));
    let (kept, digits) = match prefix {
        Some(prefix) => last.split_at(prefix.len()),
        None if head.ends_with("/!A") && last != "G" => ("", last),
        None => return key.to_owned(),
    };
    let is_digit = |octet: u8| octet.is_ascii_digit() || (b'A'..=b'F').contains(&octet);
    assert!(digits.len() == 16 && digits.bytes().all(is_digit), "{key} does not end in 16 upper-case hex digits");
    format!("{head}/{kept}")
}

fn path() -> PathBuf {
    let folder = match env::var_os("DNS_MANAGER_CASES") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases"),
    };
    folder.join("coredns-cases.json")
}

fn matches_in_order(expected: &[&str], seen: &[String]) -> bool {
    expected.len() == seen.len() && expected.iter().zip(seen).all(|(expected, seen)| matches(expected, seen))
}

/// As multisets; lines without a `*` find their partner first.
fn matches_as_sets(expected: &[&str], seen: &[String]) -> bool {
    let mut rest: Vec<&String> = seen.iter().collect();
    let (open, closed): (Vec<&str>, Vec<&str>) = expected.iter().partition(|line| line.contains('*'));
    closed.into_iter().chain(open).all(|expected| {
        let place = rest.iter().position(|seen| matches(expected, seen));
        place.map(|place| rest.remove(place)).is_some()
    }) && rest.is_empty()
}

/// A lone `*` as TTL or as the rest of the data matches anything.
fn matches(expected: &str, seen: &str) -> bool {
    let parts = |line: &'_ str| -> Vec<String> { line.splitn(4, ' ').map(str::to_owned).collect() };
    let (expected, seen) = (parts(expected), parts(seen));
    let ([owner, ttl, rr_type, rdata], [seen_owner, seen_ttl, seen_type, seen_rdata]) =
        (expected.as_slice(), seen.as_slice())
    else {
        return false;
    };
    let same_rdata = match rdata.strip_suffix('*') {
        Some(head) if head.is_empty() || head.ends_with(' ') => seen_rdata.starts_with(head),
        _ => rdata == seen_rdata,
    };
    owner == seen_owner && (ttl == "*" || ttl == seen_ttl) && rr_type == seen_type && same_rdata
}
