//! Answers in JSON: 64-bit numbers are texts, octets are base64, and what is zero or empty is left out.

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::VERSION;
use super::request::{Form, TransactionRequest};
use crate::embedded::store::{Answer, Done, Entry, Found};

/// Puts the header of a whole answer in front of it.
pub(super) fn headed(answer: Value, revision: u64) -> Value {
    let mut object = with_revision(answer, revision);
    if let Some(header) = object.get_mut("header").and_then(Value::as_object_mut) {
        // One member that has elected itself; the numbers mean nothing else.
        for (name, number) in [("cluster_id", "1"), ("member_id", "1"), ("raft_term", "1")] {
            header.insert(name.to_owned(), number.into());
        }
    }
    object
}

/// Puts the header of an answer within a transaction in front of it.
fn with_revision(answer: Value, revision: u64) -> Value {
    let mut object = match answer {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    object.insert("header".to_owned(), json!({"revision": revision.to_string()}));
    Value::Object(object)
}

pub(super) fn transaction(request: &TransactionRequest, done: Done) -> Value {
    let mut answer = Map::new();
    if done.succeeded {
        answer.insert("succeeded".to_owned(), true.into());
    }
    let mut forms = request.forms(done.succeeded).iter();
    let responses: Vec<Value> = done
        .results
        .into_iter()
        .map(|(revision, result)| {
            let (name, answer) = match result {
                Answer::Range(found) => {
                    // Each range has a form.
                    let answer = forms.next().map(|form| form.answer(found)).unwrap_or_default();
                    ("response_range", answer)
                }
                put @ Answer::Put(_) => ("response_put", changed(put)),
                deleted @ Answer::Delete(..) => ("response_delete_range", changed(deleted)),
            };
            json!({name: with_revision(answer, revision)})
        })
        .collect();
    if !responses.is_empty() {
        answer.insert("responses".to_owned(), responses.into());
    }
    headed(Value::Object(answer), done.revision)
}

/// What a put or a deletion answers.
pub(super) fn changed(result: Answer) -> Value {
    let mut answer = Map::new();
    match result {
        Answer::Put(Some(previous)) => {
            answer.insert("prev_kv".to_owned(), entry(&previous, true));
        }
        Answer::Put(None) | Answer::Range(_) => {}
        Answer::Delete(count, previous) => {
            if count > 0 {
                answer.insert("deleted".to_owned(), count.to_string().into());
            }
            if !previous.is_empty() {
                let previous: Vec<Value> = previous.iter().map(|previous| entry(previous, true)).collect();
                answer.insert("prev_kvs".to_owned(), previous.into());
            }
        }
    }
    Value::Object(answer)
}

impl Form {
    /// What a range answers.
    pub(super) fn answer(&self, found: Found) -> Value {
        let Found { mut entries, count } = found;
        let mut answer = Map::new();
        if self.count_only {
            entries.clear();
        }
        entries.retain(|entry| self.passes(entry));
        self.sort(&mut entries);
        if self.limit > 0 && entries.len() > self.limit {
            entries.truncate(self.limit);
            answer.insert("more".to_owned(), true.into());
        }
        if !entries.is_empty() {
            let entries: Vec<Value> = entries.iter().map(|found| entry(found, !self.keys_only)).collect();
            answer.insert("kvs".to_owned(), entries.into());
        }
        if count > 0 {
            answer.insert("count".to_owned(), count.to_string().into());
        }
        Value::Object(answer)
    }
}

fn entry(entry: &Entry, with_value: bool) -> Value {
    let mut object = json!({
        "key": BASE64.encode(&entry.key),
        "create_revision": entry.create_revision.to_string(),
        "mod_revision": entry.mod_revision.to_string(),
        "version": entry.version.to_string(),
    });
    if with_value
        && !entry.value.is_empty()
        && let Some(object) = object.as_object_mut()
    {
        object.insert("value".to_owned(), BASE64.encode(&entry.value).into());
    }
    object
}

pub(super) fn version() -> Value {
    json!({"etcdserver": VERSION, "etcdcluster": "3.7.0", "storage": "3.7.0"})
}

pub(super) fn health() -> Value {
    json!({"health": "true", "reason": ""})
}

pub(super) fn status() -> Value {
    json!({"version": VERSION, "leader": "1", "raftTerm": "1"})
}
