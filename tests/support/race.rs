//! Many writers in processes of their own, and what is left of their race in etcd's history.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use data_encoding::BASE64;
use dns_manager_guest::{decode::Decoded, layout::Layout, rdata::RData, record::Record};
use dns_manager_host::contract::{Action, Change};
use serde::Deserialize;
use serde_json::json;

use crate::gateway::Gateway;

/// The values at each name, where there are any.
pub type State = BTreeMap<String, BTreeSet<String>>;

/// What a writer was told about one change.
#[derive(Clone, Debug, Deserialize)]
pub struct Told {
    /// Where.
    pub name: String,
    /// `Created`, say.
    pub status: String,
    /// Why it was not done.
    pub code: Option<String>,
    /// The values that it found.
    pub before: BTreeSet<String>,
    /// The values that it left.
    pub after: BTreeSet<String>,
}

/// One step of the history: a name, its values before and after.
pub type Step = (String, BTreeSet<String>, BTreeSet<String>);

/// The names that all writers change: parents, and a child of each.
pub fn names(zone: &str) -> Vec<String> {
    (0..20).flat_map(|index| [format!("w{index}.{zone}"), format!("c.w{index}.{zone}")]).collect()
}

/// The name that a change is about.
pub fn name_of(change: &Change) -> &str {
    match &change.action {
        Action::Add(set) | Action::Replace(set) => &set.name,
        Action::Remove(selector) | Action::Adopt(selector) | Action::Release(selector) => &selector.name,
    }
}

/// A writer that is ready to begin.
#[derive(Debug)]
pub struct Writer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Writer {
    /// Starts one and waits until it has loaded the component.
    pub fn start(backend: &str, nameserver: SocketAddr, zone: &str, seed: u64, time: Duration) -> Self {
        let mut child = Command::new(crate::cli::example("writer"))
            .args([backend, &nameserver.to_string(), zone, &seed.to_string(), &time.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the writer starts");
        let mut output = BufReader::new(child.stdout.take().expect("it has an output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it speaks");
        assert_eq!(line, "ready\n");
        Self { child, output }
    }

    /// Lets it write.
    pub fn begin(&mut self) {
        self.child.stdin.take().expect("it listens").write_all(b"go\n").expect("it listens");
    }

    /// Everything that it was told, once it has ended.
    pub fn told(mut self) -> Vec<Told> {
        let lines = self.output.lines().map(|line| line.expect("text"));
        let told = lines.map(|line| serde_json::from_str(&line).expect("an outcome")).collect();
        assert!(self.child.wait().expect("it ends").success(), "a writer failed");
        told
    }
}

/// What was in the zone at each revision from `first` to `last`.
pub async fn history(gateway: &Gateway, first: i64, last: i64) -> Vec<State> {
    let layout = Layout::new("skydns");
    let mut states = Vec::new();
    for revision in first..=last {
        let range = json!({
            "key": BASE64.encode(b"/skydns/"), "range_end": BASE64.encode(b"/skydns0"), "revision": revision.to_string(),
        });
        let answer = gateway.post("kv/range", &range).await;
        let pairs = answer["kvs"].as_array().cloned().unwrap_or_default();
        let octets =
            |text: &serde_json::Value| BASE64.decode(text.as_str().unwrap_or_default().as_bytes()).expect("base64");
        let mut state = State::new();
        for record in
            pairs.iter().filter_map(|pair| match layout.decode(&octets(&pair["key"]), &octets(&pair["value"])) {
                Decoded::Ours(record) => Some(record),
                Decoded::Structure | Decoded::Foreign(_) | Decoded::Unreadable(_) => None,
            })
        {
            state.entry(record.name.to_string()).or_default().insert(text(&record));
        }
        states.push(state);
    }
    states
}

/// The steps from one state to the next.
pub fn steps(history: &[State]) -> Vec<Step> {
    let mut steps = Vec::new();
    for pair in history.windows(2) {
        let [before, after] = pair else { continue };
        let at = |state: &State, name: &String| state.get(name).cloned().unwrap_or_default();
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed = names.into_iter().map(|name| (name.clone(), at(before, name), at(after, name)));
        steps.extend(changed.filter(|(_, before, after)| before != after));
    }
    steps
}

fn text(record: &Record) -> String {
    match &record.data {
        RData::A(address) => address.to_string(),
        other => format!("{other:?}"),
    }
}
