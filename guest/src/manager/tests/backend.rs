//! etcd in memory, as far as the gateway's transactions show it: revisions, faults, and another writer.

use super::*;

/// Every put and delete of a key, by revision.
pub(super) type Versions = BTreeMap<Vec<u8>, Vec<(u64, Option<Vec<u8>>)>>;

/// etcd's transactions, in memory.
#[derive(Default)]
pub(super) struct Backend {
    pub(super) versions: RefCell<Versions>,
    pub(super) revision: Cell<u64>,
    pub(super) requests: Cell<u32>,
    pub(super) largest: Cell<usize>,
    pub(super) faults: RefCell<Vec<Fault>>,
    /// What a later write meets, and how many go well before it.
    pub(super) later: Cell<Option<(u32, Fault)>>,
    /// Done right before the next write, as another writer would.
    pub(super) before_write: RefCell<Vec<Act>>,
}

/// What another writer does.
pub(super) struct Act(pub(super) Box<dyn Fn(&Backend)>);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// On a write: not sent.
    Refused,
    /// On a write: lost before it was done.
    LostBefore,
    /// On a write: done, and the answer lost.
    LostAfter,
    /// On anything.
    Answer(u16, &'static str),
    /// On a read.
    ReadLost,
}

impl Backend {
    pub(super) fn tree(&self) -> BTreeMap<String, String> {
        self.at(self.revision.get())
            .into_iter()
            .map(|(key, (_, value))| (String::from_utf8(key).unwrap(), String::from_utf8(value).unwrap()))
            .collect()
    }

    pub(super) fn at(&self, revision: u64) -> BTreeMap<Vec<u8>, (u64, Vec<u8>)> {
        self.versions
            .borrow()
            .iter()
            .filter_map(|(key, versions)| {
                let (at, value) = versions.iter().rev().find(|(at, _)| *at <= revision)?;
                Some((key.clone(), (*at, value.clone()?)))
            })
            .collect()
    }

    pub(super) fn put(&self, key: &str, value: Option<&str>) {
        self.revision.set(self.revision.get() + 1);
        self.set(key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()));
    }

    pub(super) fn set(&self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.versions.borrow_mut().entry(key).or_default().push((self.revision.get(), value));
    }

    /// The write after so many others meets this fault.
    pub(super) fn after_writes(&self, others: u32, fault: Fault) {
        self.later.set(Some((others, fault)));
    }

    pub(super) fn transaction(&self, body: &Value) -> Value {
        let octets = |value: &Value| BASE64.decode(value.as_str().unwrap().as_bytes()).unwrap();
        let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
        let now = self.at(self.revision.get());
        let empty = Vec::new();
        let compares = body["compare"].as_array().unwrap_or(&empty);
        let operations = body["success"].as_array().unwrap();
        assert!(compares.len() <= 128 && operations.len() <= 128, "{} {}", compares.len(), operations.len());
        self.largest.set(self.largest.get().max(operations.len()));
        let holds = compares.iter().all(|compare| {
            let (start, operand) = (octets(&compare["key"]), number(&compare["mod_revision"]));
            let revisions: Vec<u64> = match compare.get("range_end") {
                Some(end) => now.range(start..octets(end)).map(|(_, (at, _))| *at).collect(),
                None => vec![now.get(&start).map_or(0, |(at, _)| *at)],
            };
            match compare["result"].as_str().unwrap() {
                "EQUAL" => revisions.iter().all(|revision| *revision == operand),
                _ => revisions.iter().all(|revision| *revision < operand),
            }
        });
        let header = |revision: u64| json!({"revision": revision.to_string()});
        if !holds {
            return json!({"header": header(self.revision.get())});
        }
        if operations.iter().any(|operation| operation.get("request_range").is_none()) {
            self.revision.set(self.revision.get() + 1);
        }
        let mut touched = BTreeSet::new();
        let responses: Vec<Value> = operations
            .iter()
            .map(|operation| {
                if let Some(put) = operation.get("request_put") {
                    assert!(touched.insert(octets(&put["key"])), "duplicate key given in txn request");
                    self.set(octets(&put["key"]), Some(octets(&put["value"])));
                    return json!({"response_put": {}});
                }
                if let Some(delete) = operation.get("request_delete_range") {
                    assert!(touched.insert(octets(&delete["key"])), "duplicate key given in txn request");
                    assert!(delete.get("range_end").is_none(), "deletes are exact");
                    self.set(octets(&delete["key"]), None);
                    return json!({"response_delete_range": {}});
                }
                let range = &operation["request_range"];
                let at = range.get("revision").map_or(self.revision.get(), number);
                let tree = self.at(at);
                let start = octets(&range["key"]);
                let found: Vec<_> = match range.get("range_end") {
                    Some(end) => tree.range(start..octets(end)).collect(),
                    None => tree.get_key_value(&start).into_iter().collect(),
                };
                let limit = range.get("limit").map_or(usize::MAX, |limit| number(limit) as usize);
                let kvs: Vec<Value> = found
                    .iter()
                    .take(limit)
                    .map(|(key, (at, value))| {
                        json!({"key": BASE64.encode(key), "value": BASE64.encode(value), "mod_revision": at.to_string()})
                    })
                    .collect();
                json!({"response_range": {"kvs": kvs, "more": found.len() > limit}})
            })
            .collect();
        json!({"header": header(self.revision.get()), "succeeded": true, "responses": responses})
    }
}

impl HttpClient for Backend {
    fn send(&self, path: &str, body: Option<&[u8]>, _: Duration) -> Result<HttpReply, HttpFault> {
        assert_eq!(path, "/v3/kv/txn");
        self.requests.set(self.requests.get() + 1);
        let body: Value = serde_json::from_slice(body.unwrap()).unwrap();
        let writes =
            body["success"].as_array().unwrap().iter().any(|operation| operation.get("request_range").is_none());
        if writes && let Some(Act(act)) = self.before_write.borrow_mut().pop() {
            act(self);
        }
        if writes {
            match self.later.take() {
                Some((0, fault)) => self.faults.borrow_mut().push(fault),
                later => self.later.set(later.map(|(others, fault)| (others - 1, fault))),
            }
        }
        let next = self.faults.borrow().last().copied();
        let fault = next.filter(|fault| match fault {
            Fault::Refused | Fault::LostBefore | Fault::LostAfter => writes,
            Fault::Answer(..) => true,
            Fault::ReadLost => !writes,
        });
        if fault.is_some() {
            self.faults.borrow_mut().pop();
        }
        match fault {
            Some(Fault::Refused) => return Err(HttpFault::NotSent("refused".into())),
            Some(Fault::LostBefore | Fault::ReadLost) => return Err(HttpFault::Lost("reset".into())),
            Some(Fault::Answer(status, body)) => return Ok(HttpReply { status, body: body.into() }),
            Some(Fault::LostAfter) | None => {}
        }
        let reply = self.transaction(&body);
        if fault == Some(Fault::LostAfter) {
            return Err(HttpFault::Lost("reset".into()));
        }
        Ok(HttpReply { status: 200, body: reply.to_string().into_bytes() })
    }
}
