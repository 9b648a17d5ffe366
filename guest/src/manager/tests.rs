//! The operations over a backend in memory that speaks the gateway's language: the order of reads and writes, faults, races.
//!
//! Whether the keys give the right answers is for the tests with a real CoreDNS to say.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use data_encoding::BASE64;
use proptest::{prelude::*, test_runner::Config as Proptest};
use serde_json::{Value, json};

use super::*;
use crate::{
    change::{Action, Selector, Status},
    decode::Decoded,
    ports::{Answer, Clock, DnsFault, HttpClient, HttpFault, HttpReply, Log, Question, Resolver, Settings},
    reason::Code,
    record::{Record, RecordSet, Ttl},
};

/// Every put and delete of a key, by revision.
type Versions = BTreeMap<Vec<u8>, Vec<(u64, Option<Vec<u8>>)>>;

/// etcd's transactions, in memory.
#[derive(Default)]
struct Backend {
    versions: RefCell<Versions>,
    revision: Cell<u64>,
    requests: Cell<u32>,
    largest: Cell<usize>,
    faults: RefCell<Vec<Fault>>,
    /// Done right before the next write, as another writer would.
    before_write: RefCell<Vec<Act>>,
}

/// What another writer does.
struct Act(Box<dyn Fn(&Backend)>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
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
    fn tree(&self) -> BTreeMap<String, String> {
        self.at(self.revision.get())
            .into_iter()
            .map(|(key, (_, value))| (String::from_utf8(key).unwrap(), String::from_utf8(value).unwrap()))
            .collect()
    }

    fn at(&self, revision: u64) -> BTreeMap<Vec<u8>, (u64, Vec<u8>)> {
        self.versions
            .borrow()
            .iter()
            .filter_map(|(key, versions)| {
                let (at, value) = versions.iter().rev().find(|(at, _)| *at <= revision)?;
                Some((key.clone(), (*at, value.clone()?)))
            })
            .collect()
    }

    fn put(&self, key: &str, value: Option<&str>) {
        self.revision.set(self.revision.get() + 1);
        self.set(key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()));
    }

    fn set(&self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.versions.borrow_mut().entry(key).or_default().push((self.revision.get(), value));
    }

    fn transaction(&self, body: &Value) -> Value {
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

struct World {
    backend: Backend,
    settings: BTreeMap<&'static str, String>,
    now: Cell<Duration>,
}

impl World {
    fn new(zones: &str) -> Self {
        let settings = BTreeMap::from([("zones", zones.to_owned()), ("owner", "us".to_owned())]);
        Self { backend: Backend::default(), settings, now: Cell::new(Duration::from_secs(9)) }
    }

    fn apply(&self, changes: Vec<Change>) -> Vec<Outcome> {
        self.apply_with(changes, false)
    }

    fn apply_with(&self, changes: Vec<Change>, dry_run: bool) -> Vec<Outcome> {
        let options = Options { budget: Duration::from_secs(10), dry_run, request_id: "test".into() };
        Manager::new(self).apply(changes.into_iter().map(Ok).collect(), &options).unwrap()
    }

    fn one(&self, change: Change) -> Outcome {
        self.apply(vec![change]).remove(0)
    }

    /// The records that the tree holds, and the keys that they need.
    fn check_tree(&self) -> Vec<Record> {
        let tree = self.backend.tree();
        let layout = Layout::new("skydns");
        let mut records = Vec::new();
        let mut foreign = 0;
        for (key, value) in &tree {
            match layout.decode(key.as_bytes(), value.as_bytes()) {
                Decoded::Ours(record) => records.push(record),
                Decoded::Structure => {}
                Decoded::Foreign(_) | Decoded::Unreadable(_) => foreign += 1,
            }
        }
        let zones: Vec<Zone> =
            self.settings["zones"].split(' ').map(|zone| Zone::new(zone.parse().unwrap()).unwrap()).collect();
        let full = layout.encode(&zones, &records);
        let missing: Vec<_> = full.iter().filter(|(key, value)| tree.get(*key) != Some(value)).collect();
        let surplus: Vec<_> = tree.iter().filter(|(key, value)| full.get(*key) != Some(value)).collect();
        assert!(
            missing.is_empty() && surplus.len() == foreign,
            "missing or wrong: {missing:#?}\nsurplus: {surplus:#?}"
        );
        records
    }
}

impl Ports for World {
    fn http(&self) -> &dyn HttpClient {
        &self.backend
    }
    fn resolver(&self) -> &dyn Resolver {
        self
    }
    fn clock(&self) -> &dyn Clock {
        self
    }
    fn settings(&self) -> &dyn Settings {
        self
    }
    fn log(&self) -> &dyn Log {
        self
    }
}

impl Resolver for World {
    fn servers(&self) -> Vec<String> {
        vec![]
    }
    fn ask(&self, _: &[Question]) -> Vec<Result<Answer, DnsFault>> {
        vec![]
    }
}

impl Clock for World {
    fn now(&self) -> Duration {
        self.now.set(self.now.get() + Duration::from_micros(10));
        self.now.get()
    }
    fn sleep(&self, duration: Duration) {
        self.now.set(self.now.get() + duration);
    }
}

impl Settings for World {
    fn get(&self, key: &str) -> Option<String> {
        self.settings.get(key).cloned()
    }
}

impl Log for World {
    fn write(&self, _: LogLevel, _: &str) {}
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn set(owner: &str, data: Vec<RData>) -> RecordSet {
    RecordSet { name: name(owner), ttl: Ttl::try_from(60).unwrap(), data }
}

fn change(action: Action) -> Change {
    Change { action, resource: None, expect: None }
}

fn add(owner: &str, data: RData) -> Change {
    change(Action::Add(set(owner, vec![data])))
}

fn replace(owner: &str, data: Vec<RData>) -> Change {
    change(Action::Replace(set(owner, data)))
}

fn remove(owner: &str) -> Change {
    change(Action::Remove(Selector { name: name(owner), rr_type: None, data: vec![], resource: None }))
}

fn a(last: u8) -> RData {
    RData::A([10, 0, 0, last].into())
}

fn cname(target: &str) -> RData {
    RData::Cname(name(target))
}

fn code(outcome: &Outcome) -> Option<&Code> {
    outcome.reason.as_ref().map(|reason| &reason.code)
}

#[test]
fn a_name_comes_and_goes() {
    let world = World::new("ex.test");
    let outcome = world.one(add("w.ex.test", a(1)));
    assert_eq!((outcome.status, outcome.before.len(), outcome.after.len()), (Status::Created, 0, 1));
    assert_eq!(world.check_tree().len(), 1);
    assert_eq!(world.backend.requests.get(), 2, "one read and one write");

    assert_eq!(world.one(add("w.ex.test", a(1))).status, Status::Unchanged);
    assert_eq!(world.one(add("w.ex.test", a(2))).status, Status::Updated);
    assert_eq!(world.one(replace("w.ex.test", vec![a(3)])).after.len(), 1);
    assert_eq!(world.check_tree().len(), 1);

    let outcome = world.one(remove("w.ex.test"));
    assert_eq!((outcome.status, outcome.before.len(), outcome.after.len()), (Status::Deleted, 1, 0));
    assert_eq!(world.backend.tree(), BTreeMap::new());
    assert_eq!(world.one(remove("w.ex.test")).status, Status::Unchanged);
}

#[test]
fn many_names_take_few_requests() {
    let world = World::new("ex.test");
    let changes: Vec<Change> = (0..1000).map(|i| add(&format!("w{i}.ex.test"), a(1))).collect();
    assert!(world.apply(changes).iter().all(|outcome| outcome.status == Status::Created));
    assert!(world.backend.requests.get() <= 40, "{}", world.backend.requests.get());
    world.check_tree();
    world.backend.requests.set(0);
    assert_eq!(world.one(add("new.ex.test", a(1))).status, Status::Created);
    assert_eq!(world.backend.requests.get(), 2, "a large zone costs no more");
    world.backend.requests.set(0);
    let changes: Vec<Change> =
        (0..1000).map(|i| remove(&format!("w{i}.ex.test"))).chain([remove("new.ex.test")]).collect();
    for (i, outcome) in world.apply(changes).iter().enumerate() {
        assert_eq!(outcome.status, Status::Deleted, "{i}: {outcome:?}");
    }
    assert!(world.backend.requests.get() <= 60, "{}", world.backend.requests.get());
    assert_eq!(world.backend.tree(), BTreeMap::new());
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let world = World::new("ex.test");
    let outcomes =
        world.apply_with(vec![add("w.ex.test", a(1)), add("w.ex.test", a(2)), add("w.ex.test", cname("x.y"))], true);
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Created, Status::Updated, Status::Conflict]);
    assert_eq!(world.backend.revision.get(), 0);
}

#[test]
fn one_item_does_not_stop_another() {
    let world = World::new("ex.test");
    let outcomes = world.apply(vec![
        add("w.ex.test", a(1)),
        add("w.ex.test", cname("x.ex.test")),
        add("any.ex.test", a(1)),
        add("w.other.test", a(1)),
        add("x.ex.test", a(2)),
    ]);
    let codes: Vec<Option<&Code>> = outcomes.iter().map(code).collect();
    assert_eq!(codes, [None, Some(&Code::Coexistence), Some(&Code::Unsupported), Some(&Code::OutsideZones), None]);
    assert_eq!(world.check_tree().len(), 2);
}

#[test]
fn what_others_own_is_left_alone() {
    let world = World::new("ex.test");
    let theirs = r#"{"host":"10.9.9.9","targetstrip":1,"owner":"them"}"#;
    world.backend.put("/skydns/test/ex/w/1a2b3c4d", Some(theirs));
    world.backend.put("/skydns/test/ex/x", Some(r#"{"host":"10.9.9.8"}"#));
    world.backend.put("/skydns/test/ex/y", Some("garbage"));
    let outcomes =
        world.apply(vec![add("w.ex.test", a(1)), add("x.ex.test", a(1)), add("y.ex.test", a(1)), remove("x.ex.test")]);
    let codes: Vec<Option<&Code>> = outcomes.iter().map(code).collect();
    let (them, nobody) = (Code::OwnedBy(Some("them".into())), Code::OwnedBy(None));
    assert_eq!(codes, [Some(&them), Some(&nobody), Some(&nobody), Some(&nobody)]);
    assert_eq!(world.backend.tree().len(), 3);

    // Below a name of theirs ours can stand; their key stays as it is.
    let outcome = world.one(add("c.x.ex.test", a(1)));
    assert_eq!((outcome.status, outcome.warnings.len()), (Status::Created, 1));
    assert_eq!(world.backend.tree()["/skydns/test/ex/x"], r#"{"host":"10.9.9.8"}"#);
    world.one(remove("c.x.ex.test"));
    assert_eq!(world.backend.tree().len(), 3);
}

#[test]
fn a_foreign_value_where_writers_take_turns_stops_the_zone_and_stays() {
    let world = World::new("ex.test b.ex.test other.test");
    let theirs = r#"{"host":"ex.test","targetstrip":3}"#;
    world.backend.put("/skydns/test/ex/@GUARD", Some(theirs));
    let outcomes = world.apply(vec![
        add("w.ex.test", a(1)),
        add("ex.test", a(1)),
        // The zone around it would be written, too.
        add("w.b.ex.test", a(1)),
        // The alias leads into it.
        add("w.other.test", cname("x.ex.test")),
        add("x.other.test", a(1)),
    ]);
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    use Status::{Conflict, Created};
    assert_eq!(statuses, [Conflict, Conflict, Conflict, Conflict, Created]);
    assert_eq!(world.backend.tree()["/skydns/test/ex/@GUARD"], theirs);
    assert!(!world.backend.tree().keys().any(|key| key.starts_with("/skydns/test/ex/") && !key.ends_with("@GUARD")));
}

#[test]
fn records_of_a_server_go_by_its_id() {
    let world = World::new("ex.test");
    let of = |resource: &str, last: u8| Change { resource: Some(resource.into()), ..add("w.ex.test", a(last)) };
    world.apply(vec![of("s1", 1), of("s2", 2), add("w.ex.test", a(3))]);
    assert!(matches!(code(&world.one(of("s2", 1))), Some(Code::OwnedBy(_))));
    let by_id = Selector { name: name("w.ex.test"), rr_type: None, data: vec![], resource: Some("s1".into()) };
    let outcome = world.one(change(Action::Remove(by_id)));
    assert_eq!((outcome.status, outcome.after.len()), (Status::Deleted, 2));

    // What replaces values of one server is that server's.
    world.one(remove("w.ex.test"));
    world.one(of("s1", 1));
    let outcome = world.one(replace("w.ex.test", vec![a(7)]));
    assert_eq!(outcome.after[0].resource.as_deref(), Some("s1"));
}

#[test]
fn a_token_that_is_no_longer_true_stops_the_change() {
    let world = World::new("ex.test");
    let token = world.one(add("w.ex.test", a(1))).token;
    let expecting = |data| Change { expect: token.clone(), ..replace("w.ex.test", vec![data]) };
    assert_eq!(world.one(expecting(a(2))).status, Status::Updated);
    assert_eq!(code(&world.one(expecting(a(3)))), Some(&Code::Changed));
}

#[test]
fn loops_of_aliases_are_refused_across_zones() {
    let world = World::new("a.test b.test");
    let outcomes = world.apply(vec![
        add("x.a.test", cname("y.b.test")),
        add("y.b.test", cname("z.a.test")),
        add("z.a.test", cname("x.a.test")),
        add("self.a.test", cname("self.a.test")),
    ]);
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [Status::Created, Status::Created, Status::Refused, Status::Refused]);
    world.check_tree();
    // Now with the first two in the tree, not in the same call.
    let outcome = world.one(add("z.a.test", cname("x.a.test")));
    let message = outcome.reason.unwrap().message;
    assert!(message.contains("z.a.test -> x.a.test -> y.b.test -> z.a.test"), "{message}");
}

#[test]
fn a_loop_that_another_writer_closes_meanwhile_is_refused() {
    let world = World::new("a.test b.test");
    world.backend.before_write.borrow_mut().push(Act(Box::new(|backend| {
        let other = World::new("a.test b.test");
        *other.backend.versions.borrow_mut() = backend.versions.borrow().clone();
        other.backend.revision.set(backend.revision.get());
        assert_eq!(other.one(add("y.b.test", cname("x.a.test"))).status, Status::Created);
        *backend.versions.borrow_mut() = other.backend.versions.borrow().clone();
        backend.revision.set(other.backend.revision.get());
    })));
    assert_eq!(world.one(add("x.a.test", cname("y.b.test"))).status, Status::Refused);
    world.check_tree();
}

#[test]
fn lost_answers_are_settled_by_reading() {
    for fault in [
        Fault::Refused,
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::ReadLost,
        Fault::Answer(503, "<html>"),
        Fault::Answer(429, ""),
        Fault::Answer(200, "garbage"),
        Fault::Answer(503, r#"{"code":14,"message":"etcdserver: leader changed"}"#),
    ] {
        let world = World::new("ex.test");
        world.one(add("before.ex.test", a(1)));
        world.backend.faults.borrow_mut().extend([fault, fault]);
        let outcome = world.one(add("w.ex.test", a(1)));
        assert_eq!(outcome.status, Status::Created, "{fault:?}: {outcome:?}");
        assert_eq!(world.check_tree().len(), 2);
        // What was done is not done again.
        assert_eq!(world.backend.faults.borrow().len(), usize::from(fault == Fault::LostAfter), "{fault:?}");
    }
}

#[test]
fn what_cannot_be_settled_is_unknown() {
    let world = World::new("ex.test");
    world.backend.faults.borrow_mut().extend(vec![Fault::ReadLost; 10_000]);
    world.backend.faults.borrow_mut().push(Fault::LostAfter);
    // The first reads must work for a write to be tried at all.
    let lost: Vec<Fault> = world.backend.faults.borrow().clone();
    world.backend.faults.borrow_mut().clear();
    let act = Act(Box::new(move |backend| *backend.faults.borrow_mut() = lost.clone()));
    world.backend.before_write.borrow_mut().push(act);
    let outcomes = world.apply(vec![add("w.ex.test", a(1)), add("x.ex.test", a(2))]);
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Unknown), "{outcomes:?}");
    assert_eq!(world.check_tree().len(), 2, "it was written; nobody could know");
}

#[test]
fn permanent_faults_fail_at_once() {
    for (fault, expected) in [
        (Fault::Answer(404, "404 page not found"), Code::Misconfigured),
        (Fault::Answer(403, r#"{"code":7,"message":"etcdserver: permission denied"}"#), Code::Denied),
        (Fault::Answer(429, r#"{"code":8,"message":"etcdserver: mvcc: database space exceeded"}"#), Code::Full),
    ] {
        let world = World::new("ex.test");
        world.backend.faults.borrow_mut().push(fault);
        let outcome = world.one(add("w.ex.test", a(1)));
        assert_eq!((outcome.status, code(&outcome)), (Status::Failed, Some(&expected)));
        assert_eq!(world.backend.requests.get(), 1);
    }
}

#[test]
fn another_writer_costs_a_try_and_nothing_else() {
    let world = World::new("ex.test");
    world.one(add("w.ex.test", a(1)));
    world.backend.before_write.borrow_mut().push(Act(Box::new(|backend| {
        let other = World::new("ex.test");
        *other.backend.versions.borrow_mut() = backend.versions.borrow().clone();
        other.backend.revision.set(backend.revision.get());
        other.apply(vec![add("c.w.ex.test", a(9)), remove("w.ex.test")]);
        *backend.versions.borrow_mut() = other.backend.versions.borrow().clone();
        backend.revision.set(other.backend.revision.get());
    })));
    assert_eq!(world.one(add("w.ex.test", a(2))).status, Status::Created);
    assert_eq!(world.check_tree().len(), 2);
}

#[test]
fn a_foreign_write_meanwhile_is_seen() {
    let world = World::new("ex.test");
    world.backend.before_write.borrow_mut().push(Act(Box::new(|backend| {
        backend.put("/skydns/test/ex/w", Some(r#"{"host":"10.9.9.9"}"#));
    })));
    assert_eq!(world.one(add("w.ex.test", a(2))).status, Status::Conflict);
    assert_eq!(world.backend.tree().len(), 1);
}

#[test]
fn a_set_too_large_for_a_transaction_is_written_in_parts() {
    let world = World::new("ex.test");
    let values = |from: u8| (from..from + 50).map(a).collect::<Vec<_>>();
    let text = (0..50u8).map(|i| RData::Txt(vec![b'a' + i % 26, b'0' + i / 26])).collect::<Vec<_>>();
    let v6 = (0..50u16).map(|i| RData::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, i].into())).collect::<Vec<_>>();
    let outcomes = world.apply(vec![
        replace("w.ex.test", values(1)),
        replace("w.ex.test", text),
        replace("w.ex.test", v6),
        replace("w.ex.test", values(100)),
    ]);
    assert!(outcomes.iter().all(|outcome| outcome.reason.is_none()), "{outcomes:?}");
    assert_eq!(world.check_tree().len(), 150);
    assert_eq!(world.one(remove("w.ex.test")).status, Status::Deleted);
    assert_eq!(world.backend.tree(), BTreeMap::new());
}

#[test]
fn pages_hold_whole_sets_and_everything_once() {
    let world = World::new("ex.test");
    let mut changes: Vec<Change> = (0..30).map(|i| replace(&format!("w{i}.ex.test"), vec![a(1), a(2), a(3)])).collect();
    changes.push(add("ex.test", a(1)));
    world.apply(changes);
    world.backend.put("/skydns/test/ex/bad", Some("garbage"));
    let options = Options { budget: Duration::from_secs(1), dry_run: false, request_id: String::new() };
    let manager = Manager::new(&world);
    let (mut records, mut problems, mut cursor, mut pages) = (Vec::new(), 0, None, 0);
    loop {
        let page = manager.list(&Filter::default(), cursor.as_deref(), 10, &options).unwrap();
        assert!(page.records.len() <= 12);
        records.extend(page.records);
        problems += page.problems.len();
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((records.len(), problems), (91, 1));
    assert!(pages >= 8);
    let only = |filter: Filter| manager.list(&filter, None, 100, &options).unwrap().records.len();
    assert_eq!(only(Filter { name: Some(name("w1.ex.test")), ..Filter::default() }), 3);
    assert_eq!(only(Filter { name: Some(name("ex.test")), ..Filter::default() }), 1);
    assert_eq!(only(Filter { name: Some(name("ex.test")), below: true, ..Filter::default() }), 91);
    assert_eq!(only(Filter { owner: Some("them".into()), ..Filter::default() }), 0);
    assert_eq!(manager.list(&Filter::default(), Some("x"), 1, &options).unwrap_err().code, Code::Invalid);
}

mod ownership;
mod repair;

/// Names that sort on all sides of the guards, and stand above and inside each other's zones.
const NAMES: [&str; 22] = [
    "ex.test",
    "w.ex.test",
    "c.w.ex.test",
    "-d.w.ex.test",
    "0.w.ex.test",
    "a.0.w.ex.test",
    "_s.ex.test",
    "dns.ex.test",
    "x.dns.ex.test",
    "ns1.ns.dns.ex.test",
    "m.ex.test",
    "z.m.ex.test",
    "k.z.m.ex.test",
    "l.k.z.m.ex.test",
    "q.p.o.ex.test",
    "w-1.ex.test",
    "w0.ex.test",
    "1.0.0.10.in-addr.arpa",
    "0.0.10.in-addr.arpa",
    "2.1.0.10.in-addr.arpa",
    "i.z.m.ex.test",
    "apex.ex.test",
];

/// An IPv6 reverse zone, the names between it and two addresses, one of them, and what may stand beside them.
const NAMES_IP6: [&str; 11] = [
    "8.b.d.0.1.0.0.2.ip6.arpa",
    "0.8.b.d.0.1.0.0.2.ip6.arpa",
    "1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "f.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "2.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "a.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "6.5.4.3.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "7.5.4.3.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "5.4.3.1.0.8.b.d.0.1.0.0.2.ip6.arpa",
    "dns.8.b.d.0.1.0.0.2.ip6.arpa",
    "ns1.ns.dns.8.b.d.0.1.0.0.2.ip6.arpa",
];

fn any_change(names: &'static [&'static str]) -> impl Strategy<Value = Change> {
    let data = prop_oneof![
        4 => (1u8..4).prop_map(a),
        1 => (1u16..3).prop_map(|i| RData::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, i].into())),
        3 => (0..names.len()).prop_map(|i| cname(names[i])),
        1 => Just(cname("ext.world")),
        if names.len() == NAMES.len() { 2 } else { 12 } => Just(RData::Ptr(name("w.ex.test"))),
        2 => "[a-c]".prop_map(|text| RData::Txt(text.into_bytes())),
        1 => Just(RData::Mx { preference: 10, exchange: name("w.ex.test") }),
        1 => (0u16..3).prop_map(|weight| RData::Srv { priority: 10, weight, port: 1, target: name("w.ex.test") }),
    ];
    (0..names.len(), data, 0..10).prop_map(|(i, data, what)| match what {
        0..5 => add(names[i], data),
        5..7 => replace(names[i], vec![data]),
        7 => {
            let rr_type = Some(data.rr_type());
            change(Action::Remove(Selector { name: name(names[i]), rr_type, data: vec![], resource: None }))
        }
        _ => remove(names[i]),
    })
}

/// Makes the changes, call by call, in the zones: the tree must be the encoding of its records after each, and empty in the end.
fn assert_incremental_is_full(zones: &str, names: &[&str], calls: &[Vec<Change>]) -> Result<(), TestCaseError> {
    let world = World::new(zones);
    for changes in calls {
        let outcomes = world.apply(changes.clone());
        prop_assert_eq!(outcomes.len(), changes.len());
        let failed = |outcome: &Outcome| matches!(outcome.status, Status::Failed | Status::Unknown);
        prop_assert!(!outcomes.iter().any(failed), "{:?}", outcomes);
        world.check_tree();
    }
    world.apply(names.iter().map(|name| remove(name)).collect());
    prop_assert_eq!(world.backend.tree(), BTreeMap::new());
    Ok(())
}

const ZONE_IP6: &str = "8.b.d.0.1.0.0.2.ip6.arpa";

/// The name of 2001:db8::x, its last nibble being `last`.
fn pointer(last: char) -> String {
    format!("{last}.{}{ZONE_IP6}", "0.".repeat(23))
}

fn ptr(target: &str) -> RData {
    RData::Ptr(name(target))
}

#[test]
fn the_first_ptr_of_an_ipv6_zone_takes_few_keys_and_requests() {
    let world = World::new(ZONE_IP6);
    assert_eq!(world.one(add(&pointer('1'), ptr("w.ex.test"))).status, Status::Created);
    assert_eq!(world.check_tree().len(), 1);
    assert_eq!(world.backend.tree().len(), 11, "{:#?}", world.backend.tree());
    assert_eq!(world.backend.requests.get(), 2, "one read and one write");
    assert_eq!(world.one(add(&pointer('2'), ptr("x.ex.test"))).status, Status::Created);
    assert_eq!(world.backend.tree().len(), 12);
    assert_eq!(world.one(remove(&pointer('1'))).status, Status::Deleted);
    assert!(world.backend.requests.get() <= 7, "{} for the second and a removal", world.backend.requests.get() - 2);
    world.check_tree();
}

/// The tree of releases before the short form: a guard pair, a marker and a guard at every name above a PTR, and a guard at its own.
fn full_form(lasts: &[char]) -> Vec<(String, String)> {
    let (layout, zone) = (Layout::new("skydns"), Zone::new(name(ZONE_IP6)).unwrap());
    let records: Vec<Record> = lasts
        .iter()
        .map(|last| Record {
            name: name(&pointer(*last)),
            data: ptr("w.ex.test"),
            ttl: 60,
            owner: Some("us".into()),
            resource: None,
        })
        .collect();
    let mut keys = layout.encode(std::slice::from_ref(&zone), &records);
    for record in &records {
        let (key, service) = layout.record(&zone, record);
        keys.insert(key, crate::skydns::service::Service { text: String::new(), ..service }.to_json());
        let guard = layout.guard_key(&record.name);
        let guard = layout.site(&zone, &record.name, &[], true).remove_entry(&guard).unwrap();
        keys.extend([guard]);
        for above in record.name.ancestors_up_to(zone.apex()) {
            keys.extend(layout.site(&zone, &above, &[], true));
            keys.extend(layout.reverse_guards(&above));
        }
    }
    keys.into_iter().collect()
}

#[test]
fn the_full_form_of_earlier_releases_is_read_and_mended() {
    let world = World::new(ZONE_IP6);
    let written = full_form(&['1', '2']);
    assert!(written.len() > 98, "{}", written.len());
    for (key, value) in &written {
        world.backend.put(key, Some(value));
    }
    let list = || {
        let options = Options { budget: Duration::from_secs(1), dry_run: false, request_id: String::new() };
        Manager::new(&world).list(&Filter::default(), None, 100, &options).unwrap()
    };
    assert_eq!((list().records.len(), list().problems.len()), (2, 0));

    // A third beside them is in short form and leaves what the two have.
    assert_eq!(world.one(add(&pointer('3'), ptr("w.ex.test"))).status, Status::Created);
    assert_eq!(world.backend.tree().len(), written.len() + 1);
    // To ask for a PTR again mends it; what both share stays as long as the other needs it.
    let outcome = world.one(add(&pointer('1'), ptr("w.ex.test")));
    assert_eq!((outcome.status, outcome.warnings.len()), (Status::Updated, 1), "{outcome:?}");
    assert_eq!(world.backend.tree().len(), written.len(), "its guard is gone");
    assert_eq!(world.one(remove(&pointer('2'))).status, Status::Deleted);
    assert_eq!(world.check_tree().len(), 2);

    // The same where all go.
    for (key, value) in full_form(&['1', '2']) {
        world.backend.put(&key, Some(&value));
    }
    world.apply(['1', '2', '3'].map(|last| remove(&pointer(last))).into());
    assert_eq!(world.backend.tree(), BTreeMap::new());
}

proptest! {
    #![proptest_config(Proptest::with_cases(150))]

    /// Whatever is changed, one call or many: the tree is the full encoding of the records that it holds, octet for octet.
    #[test]
    fn incremental_is_full(calls in prop::collection::vec(prop::collection::vec(any_change(&NAMES), 1..4), 1..40)) {
        for zones in ["ex.test 10.in-addr.arpa", "ex.test z.m.ex.test k.z.m.ex.test 10.in-addr.arpa 0.0.10.in-addr.arpa"] {
            assert_incremental_is_full(zones, &NAMES, &calls)?;
        }
    }

    /// The same in IPv6 reverse zones, where a PTR is in short form and everything else is not.
    #[test]
    fn incremental_is_full_in_ipv6_reverse_zones(
        calls in prop::collection::vec(prop::collection::vec(any_change(&NAMES_IP6), 1..4), 1..40),
    ) {
        for zones in [
            "8.b.d.0.1.0.0.2.ip6.arpa",
            "8.b.d.0.1.0.0.2.ip6.arpa 0.8.b.d.0.1.0.0.2.ip6.arpa",
            "8.b.d.0.1.0.0.2.ip6.arpa 5.4.3.1.0.8.b.d.0.1.0.0.2.ip6.arpa 1.0.8.b.d.0.1.0.0.2.ip6.arpa",
        ] {
            assert_incremental_is_full(zones, &NAMES_IP6, &calls)?;
        }
    }
}
