//! The JSON of requests and answers. Pure.

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::etcd::{Found, Range, Transaction, Written, fault::Fault};

/// A key, its value, and the revision that put it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision of its last put.
    pub mod_revision: u64,
}

/// What must hold of the modification revisions of keys; an absent key has 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key was last put at this revision; 0: it is absent.
    PutAt(String, u64),
    /// No key of the range was put after this revision.
    NotPutAfter(Range, u64),
}

impl Compare {
    fn to_json(&self) -> Value {
        match self {
            Self::PutAt(key, revision) => json!({
                "key": BASE64.encode(key.as_bytes()), "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string(),
            }),
            Self::NotPutAfter(range, revision) => {
                let mut compare = json!({
                    "key": BASE64.encode(&range.start), "target": "MOD", "result": "LESS",
                    "mod_revision": (revision + 1).to_string(),
                });
                if !range.is_key() {
                    insert(&mut compare, "range_end", BASE64.encode(&range.end).into());
                }
                compare
            }
        }
    }
}

pub(super) fn read(ranges: &[Range], revision: Option<u64>) -> Value {
    let operations: Vec<Value> = ranges
        .iter()
        .map(|range| {
            let mut request = json!({"key": BASE64.encode(&range.start)});
            if !range.is_key() {
                insert(&mut request, "range_end", BASE64.encode(&range.end).into());
                if range.limit > 0 {
                    insert(&mut request, "limit", range.limit.to_string().into());
                }
            }
            if let Some(revision) = revision {
                insert(&mut request, "revision", revision.to_string().into());
            }
            json!({"request_range": request})
        })
        .collect();
    json!({"success": operations})
}

pub(super) fn write(transaction: &Transaction) -> Value {
    let puts = transaction.puts.iter().map(|(key, value)| {
        json!({"request_put": {"key": BASE64.encode(key.as_bytes()), "value": BASE64.encode(value.as_bytes())}})
    });
    let deletes =
        transaction.deletes.iter().map(|key| json!({"request_delete_range": {"key": BASE64.encode(key.as_bytes())}}));
    json!({
        "compare": transaction.compares.iter().map(Compare::to_json).collect::<Vec<_>>(),
        "success": puts.chain(deletes).collect::<Vec<_>>(),
    })
}

pub(super) fn found(reply: &Value, asked: usize) -> Result<(u64, Vec<Found>), Fault> {
    let revision = revision(reply)?;
    let responses = reply.get("responses").and_then(Value::as_array).ok_or_else(|| Fault::nonsense("no responses"))?;
    let found: Vec<Found> = responses.iter().map(range).collect::<Result<_, _>>()?;
    if found.len() != asked {
        return Err(Fault::nonsense("another number of answers than of questions"));
    }
    Ok((revision, found))
}

fn range(response: &Value) -> Result<Found, Fault> {
    // A range that found nothing is an object without fields, or with none but a header.
    let range = response.get("response_range").ok_or_else(|| Fault::nonsense("no range in the answer"))?;
    let entries = match range.get("kvs").and_then(Value::as_array) {
        Some(entries) => entries.iter().map(entry).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    Ok(Found { entries, more: range.get("more").and_then(Value::as_bool).unwrap_or_default() })
}

fn entry(entry: &Value) -> Result<KeyValue, Fault> {
    let octets = |field: &str| match entry.get(field) {
        Some(value) => value
            .as_str()
            .and_then(|text| BASE64.decode(text.as_bytes()).ok())
            .ok_or_else(|| Fault::nonsense("a key or value that is no base64")),
        None => Ok(Vec::new()),
    };
    Ok(KeyValue { key: octets("key")?, value: octets("value")?, mod_revision: number(entry.get("mod_revision"))? })
}

pub(super) fn written(reply: &Value) -> Result<Written, Fault> {
    match reply.get("succeeded").and_then(Value::as_bool) {
        Some(true) => Ok(Written::Committed(revision(reply)?)),
        // Left out when a comparison failed.
        _ => revision(reply).map(|_| Written::Compared),
    }
}

fn revision(reply: &Value) -> Result<u64, Fault> {
    number(reply.get("header").and_then(|header| header.get("revision")))
}

fn number(value: Option<&Value>) -> Result<u64, Fault> {
    match value {
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Number(number)) => number.as_u64(),
        _ => None,
    }
    .ok_or_else(|| Fault::nonsense("no revision"))
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_the_gateway_reads_them() {
        let ranges = [Range::key("/a"), Range::between("/a/".into(), "/a0".into()).limited(3)];
        assert_eq!(
            read(&ranges, Some(7)),
            json!({"success": [
                {"request_range": {"key": "L2E=", "revision": "7"}},
                {"request_range": {"key": "L2Ev", "range_end": "L2Ew", "limit": "3", "revision": "7"}},
            ]})
        );
        let transaction = Transaction {
            compares: vec![
                Compare::PutAt("/a".into(), 0),
                Compare::NotPutAfter(Range::key("/b"), 7),
                Compare::NotPutAfter(Range::between("/a/".into(), "/a0".into()), 7),
            ],
            puts: vec![("/a".into(), "{}".into())],
            deletes: vec!["/b".into()],
        };
        assert_eq!(
            write(&transaction),
            json!({
                "compare": [
                    {"key": "L2E=", "target": "MOD", "result": "EQUAL", "mod_revision": "0"},
                    {"key": "L2I=", "target": "MOD", "result": "LESS", "mod_revision": "8"},
                    {"key": "L2Ev", "range_end": "L2Ew", "target": "MOD", "result": "LESS", "mod_revision": "8"},
                ],
                "success": [
                    {"request_put": {"key": "L2E=", "value": "e30="}},
                    {"request_delete_range": {"key": "L2I="}},
                ],
            })
        );
    }

    #[test]
    fn answers_leave_out_what_is_zero() {
        let reply = json!({"header": {"revision": "9"}, "succeeded": true, "responses": [
            {"response_range": {"header": {"revision": "9"}}},
            {"response_range": {"kvs": [{"key": "L2E=", "mod_revision": "4"}], "more": true, "count": "2"}},
        ]});
        let (revision, found) = found(&reply, 2).unwrap();
        assert_eq!((revision, found[0].clone()), (9, Found::default()));
        assert_eq!(found[1].entries, [KeyValue { key: b"/a".to_vec(), value: vec![], mod_revision: 4 }]);
        assert!(found[1].more);
        assert_eq!(written(&reply), Ok(Written::Committed(9)));
        assert_eq!(written(&json!({"header": {"revision": 9}})), Ok(Written::Compared));
        assert!(written(&json!({})).is_err());
    }
}
