//! The same requests to the gateways of both etcds and of the embedded default: the same answers, limits and codes
//! included. What they call themselves and their members is left out.

use data_encoding::BASE64;
use dns_manager_orchestrator::embedded::lookup::Lookup;
use dns_manager_tests::{
    etcd::{Etcd, Release},
    http,
    left_out::say,
    site,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Map, Value, json};

use super::Site;

const REQUESTS: usize = 1_000;

/// What is compared of an answer.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Done(Value),
    /// The code, and the text where it is etcd's own.
    Refused(Option<u64>, Option<String>),
}

struct Gateway {
    name: String,
    base: String,
    http: reqwest::Client,
}

impl Gateway {
    fn new(name: &str, base: &str) -> Self {
        let http = http::client();
        Self { name: name.to_owned(), base: base.to_owned(), http }
    }

    async fn ask(&self, path: &str, body: &str) -> Answer {
        let url = format!("{}/v3/{path}", self.base);
        let sent = self.http.post(url).body(body.to_owned()).send().await;
        let answer = sent.unwrap_or_else(|error| panic!("{} on {path} {body}: {error:?}", self.name));
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let mut json: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", self.name));
        if status.is_success() {
            if let Some(header) = json.get_mut("header").and_then(Value::as_object_mut) {
                header.retain(|name, _| name == "revision");
            }
            return Answer::Done(json);
        }
        let message = json["message"].as_str().filter(|message| message.starts_with("etcdserver: "));
        Answer::Refused(json["code"].as_u64(), message.map(str::to_owned))
    }
}

/// Asks all of them; the embedded one, which is the last, must answer as the others do.
async fn agree(gateways: &[Gateway], path: &str, body: &str, context: &str) -> Answer {
    let (embedded, etcds) = gateways.split_last().unwrap();
    let ours = embedded.ask(path, body).await;
    for etcd in etcds {
        let theirs = etcd.ask(path, body).await;
        let start: String = body.chars().take(2_000).collect();
        assert_eq!(ours, theirs, "{context}: embedded and {} on {path} {start}", etcd.name);
    }
    ours
}

/// Runs `claim` on the installed etcds, all of them empty, and an empty embedded default.
async fn beside_every_etcd(claim: impl AsyncFnOnce(&mut Vec<Gateway>)) {
    let mut etcds = Vec::new();
    for release in site::installed() {
        etcds.push((release, Etcd::start(release).await));
    }
    let embedded = Site::start(Lookup::new("/skydns", ["example.com"])).await;
    let mut gateways: Vec<Gateway> =
        etcds.iter().map(|(release, etcd)| Gateway::new(&format!("{release:?}"), &etcd.url())).collect();
    gateways.push(Gateway::new("embedded", &embedded.front.url()));
    claim(&mut gateways).await;
}

#[tokio::test]
async fn random_requests_are_answered_as_etcd_answers_them() {
    let seed = std::env::var("DNS_MANAGER_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    say(&format!("seed {seed}\n"));
    beside_every_etcd(async |gateways| {
        let mut random = StdRng::seed_from_u64(seed);
        let mut revision = 1;
        for number in 0..REQUESTS {
            let (path, body) = request(&mut random, revision);
            let context = format!("seed {seed}, request {number}");
            if let Answer::Done(answer) = agree(gateways, path, &body.to_string(), &context).await {
                revision = answer["header"]["revision"].as_str().unwrap().parse().unwrap();
            }
        }
        say(&format!("{REQUESTS} requests up to revision {revision}, no difference\n"));
        assert!(revision > 200, "revision {revision}: most requests change nothing");
    })
    .await;
}

fn request(random: &mut StdRng, revision: i64) -> (&'static str, Value) {
    match random.random_range(0..10) {
        0 | 1 => ("kv/put", put(random)),
        2 => ("kv/deleterange", delete(random)),
        3 | 4 => ("kv/range", range(random, revision)),
        _ => ("kv/txn", transaction(random, revision)),
    }
}

fn key(random: &mut StdRng) -> Vec<u8> {
    const KEYS: [&[u8]; 10] = [b"a", b"b", b"ba", b"c", b"/s/a", b"/s/b", b"/s/b/c", b"/t", b"\xff\x00", b"\0"];
    KEYS.choose(random).unwrap().to_vec()
}

fn base64(octets: &[u8]) -> Value {
    BASE64.encode(octets).into()
}

/// A key, and perhaps an end: of a prefix, of all, or somewhere.
fn keys(random: &mut StdRng) -> Map<String, Value> {
    let key = key(random);
    let end = match random.random_range(0..6) {
        0 => vec![0],
        1 => {
            let mut end = key.clone();
            *end.last_mut().unwrap() = end.last().unwrap().saturating_add(1);
            end
        }
        2 => self::key(random),
        _ => Vec::new(),
    };
    let mut fields = Map::new();
    if !random.random_ratio(1, 60) {
        fields.insert("key".to_owned(), base64(&key));
    }
    if !end.is_empty() {
        fields.insert("range_end".to_owned(), base64(&end));
    }
    fields
}

fn sometimes(random: &mut StdRng, fields: &mut Map<String, Value>, one_in: u32, name: &str, value: impl Into<Value>) {
    if random.random_ratio(1, one_in) {
        fields.insert(name.to_owned(), value.into());
    }
}

fn number(random: &mut StdRng, number: i64) -> Value {
    // Both forms are taken.
    if random.random_bool(0.5) { number.into() } else { number.to_string().into() }
}

fn near(random: &mut StdRng, revision: i64) -> Value {
    let near = random.random_range((revision - 8).max(-1)..=revision + 1);
    number(random, near)
}

fn put(random: &mut StdRng) -> Value {
    let mut fields = Map::new();
    if !random.random_ratio(1, 60) {
        fields.insert("key".to_owned(), base64(&key(random)));
    }
    if !random.random_ratio(1, 6) {
        let value = vec![b'v'; random.random_range(0..4)];
        fields.insert("value".to_owned(), base64(&value));
    }
    sometimes(random, &mut fields, 4, "prev_kv", true);
    sometimes(random, &mut fields, 15, "ignore_value", true);
    sometimes(random, &mut fields, 15, "ignore_lease", true);
    // Of two faults 3.4 names the other.
    if !fields.contains_key("ignore_value") {
        sometimes(random, &mut fields, 30, "lease", "7");
    }
    sometimes(random, &mut fields, 30, "nobody_knows_this", 7);
    Value::Object(fields)
}

fn delete(random: &mut StdRng) -> Value {
    let mut fields = keys(random);
    sometimes(random, &mut fields, 3, "prev_kv", true);
    Value::Object(fields)
}

fn range(random: &mut StdRng, revision: i64) -> Value {
    let mut fields = keys(random);
    let limit = random.random_range(-1..4);
    let limit = number(random, limit);
    sometimes(random, &mut fields, 3, "limit", limit);
    let at = near(random, revision);
    sometimes(random, &mut fields, 3, "revision", at);
    sometimes(random, &mut fields, 6, "keys_only", true);
    sometimes(random, &mut fields, 6, "count_only", true);
    sometimes(random, &mut fields, 6, "serializable", true);
    for name in ["min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"] {
        let at = near(random, revision);
        sometimes(random, &mut fields, 20, name, at);
    }
    let order = *["ASCEND", "DESCEND", "NONE"].choose(random).unwrap();
    sometimes(random, &mut fields, 6, "sort_order", order);
    // No others: what is equal comes in any order.
    let target = *["KEY", "MOD"].choose(random).unwrap();
    if fields.contains_key("sort_order") && !fields.contains_key("range_end") {
        sometimes(random, &mut fields, 2, "sort_target", target);
    }
    Value::Object(fields)
}

fn compare(random: &mut StdRng, revision: i64) -> Value {
    let mut fields = keys(random);
    let (target, operand) = *[
        ("MOD", "mod_revision"),
        ("CREATE", "create_revision"),
        ("VERSION", "version"),
        ("VALUE", "value"),
        ("LEASE", "lease"),
    ]
    .choose(random)
    .unwrap();
    if target != "VERSION" || random.random_bool(0.5) {
        fields.insert("target".to_owned(), target.into());
    }
    let operand = if random.random_ratio(1, 15) { "version" } else { operand };
    let value = match operand {
        "value" => base64(&vec![b'v'; random.random_range(0..4)]),
        "mod_revision" | "create_revision" => {
            if random.random_bool(0.4) {
                number(random, 0)
            } else {
                near(random, revision)
            }
        }
        _ => {
            let small = random.random_range(-1..4);
            number(random, small)
        }
    };
    if !random.random_ratio(1, 20) {
        fields.insert(operand.to_owned(), value);
    }
    let results = [json!("EQUAL"), json!("GREATER"), json!("LESS"), json!("NOT_EQUAL"), json!(2)];
    if random.random_bool(0.7) {
        fields.insert("result".to_owned(), results.choose(random).unwrap().clone());
    }
    Value::Object(fields)
}

/// Takes fields out of all requests of a kind.
fn without(requests: &mut [Value], kind: &str, fields: &[&str]) {
    for request in requests.iter_mut().filter_map(|request| request.get_mut(kind)?.as_object_mut()) {
        request.retain(|field, _| !fields.contains(&field.as_str()));
    }
}

fn transaction(random: &mut StdRng, revision: i64) -> Value {
    let compares: Vec<Value> = (0..random.random_range(0..3)).map(|_| compare(random, revision)).collect();
    let mut branch = || -> Vec<Value> {
        let mut requests: Vec<Value> = (0..random.random_range(0..4))
            .map(|_| match random.random_range(0..30) {
                0 => json!({}),
                1..12 => json!({"request_put": put(random)}),
                12..18 => json!({"request_delete_range": delete(random)}),
                _ => json!({"request_range": range(random, revision)}),
            })
            .collect();
        // etcd ends with a panic when a put keeps what a deletion before it in the same transaction took.
        if requests.iter().any(|request| request.get("request_delete_range").is_some()) {
            without(&mut requests, "request_put", &["ignore_value", "ignore_lease"]);
        }
        // Of two faults 3.4 names the other: a future revision is one, what a put names and is not there may be.
        let may_fail =
            |put: &Value| ["ignore_value", "ignore_lease", "lease"].iter().any(|field| put.get(field).is_some());
        if requests.iter().filter_map(|request| request.get("request_put")).any(may_fail) {
            without(&mut requests, "request_range", &["revision"]);
        }
        requests
    };
    json!({"compare": compares, "success": branch(), "failure": branch()})
}

#[tokio::test]
async fn limits_and_refusals_are_those_of_etcd() {
    beside_every_etcd(async |gateways| {
        let key = |number: usize| BASE64.encode(format!("k{number}").as_bytes());
        let puts = |count: usize| -> Vec<Value> {
            (0..count).map(|number| json!({"request_put": {"key": key(number)}})).collect()
        };
        let compares = |count: usize| vec![json!({"key": "YQ==", "mod_revision": 0, "target": "MOD"}); count];
        let sized = |octets: usize| json!({"key": "YQ==", "value": BASE64.encode(&vec![b'v'; octets])}).to_string();
        let sized_txn = |octets: usize| {
            let value = BASE64.encode(&vec![b'v'; octets / 2]);
            let put = |key: &str| json!({"request_put": {"key": key, "value": value}});
            json!({"success": [put("YQ=="), put("Yg==")]}).to_string()
        };
        let overlap = json!([
            {"request_put": {"key": "YWI="}}, {"request_delete_range": {"key": "YQ==", "range_end": "Yg=="}},
        ]);
        for (what, path, body) in [
            ("128 puts", "kv/txn", json!({"success": puts(128)}).to_string()),
            ("129 puts", "kv/txn", json!({"success": puts(129)}).to_string()),
            ("129 otherwise", "kv/txn", json!({"failure": puts(129)}).to_string()),
            (
                "128 of each",
                "kv/txn",
                json!({"compare": compares(128), "success": puts(128), "failure": puts(128)}).to_string(),
            ),
            ("129 compares", "kv/txn", json!({"compare": compares(129)}).to_string()),
            ("a key put twice", "kv/txn", json!({"success": [puts(1)[0], puts(1)[0]]}).to_string()),
            ("a key put twice otherwise", "kv/txn", json!({"failure": [puts(1)[0], puts(1)[0]]}).to_string()),
            ("a key put and deleted", "kv/txn", json!({"success": overlap}).to_string()),
            ("an empty transaction", "kv/txn", "{}".to_owned()),
            ("nothing at all", "kv/txn", String::new()),
            ("a large value", "kv/put", sized(1_572_700)),
            ("a value that is too large", "kv/put", sized(1_572_900)),
            ("a value beyond all bounds", "kv/put", sized(2_200_000)),
            ("a large transaction", "kv/txn", sized_txn(1_572_700)),
            ("a transaction that is too large", "kv/txn", sized_txn(1_572_900)),
            ("a transaction beyond all bounds", "kv/txn", sized_txn(2_200_000)),
            ("no key", "kv/put", "{}".to_owned()),
            ("an absent key's value kept", "kv/put", json!({"key": "emVybw==", "ignore_value": true}).to_string()),
            (
                "a value kept and given",
                "kv/put",
                json!({"key": "YQ==", "value": "YQ==", "ignore_value": true}).to_string(),
            ),
            ("a lease that is not there", "kv/put", json!({"key": "YQ==", "lease": "99"}).to_string()),
            ("a future revision", "kv/range", json!({"key": "YQ==", "revision": "999"}).to_string()),
            ("bad base64", "kv/range", json!({"key": "!!"}).to_string()),
            ("a number that is none", "kv/range", json!({"key": "YQ==", "limit": "x"}).to_string()),
            ("a list for an object", "kv/range", "[]".to_owned()),
            ("half of a body", "kv/range", "{".to_owned()),
            ("a switch that is a text", "kv/range", json!({"key": "YQ==", "keys_only": "true"}).to_string()),
            ("an unknown field", "kv/range", json!({"key": "YQ==", "nobody": {"knows": 1}}).to_string()),
            (
                "names in the other style",
                "kv/range",
                json!({"key": "YQ==", "rangeEnd": "eg==", "keysOnly": true}).to_string(),
            ),
        ] {
            agree(gateways, path, &body, what).await;
        }
        // What 3.4 does otherwise.
        gateways.retain(|gateway| gateway.name != format!("{:?}", Release::Old));
        for (what, path, body) in [
            ("base64 without padding", "kv/range", json!({"key": "YQ"}).to_string()),
            ("base64 for URLs", "kv/range", json!({"key": "_-8="}).to_string()),
            ("two operands", "kv/txn", json!({"compare": [{"key": "YQ==", "version": 1, "lease": 2}]}).to_string()),
            (
                "two requests",
                "kv/txn",
                json!({"success": [{"request_put": {"key": "YQ=="}, "request_range": {"key": "YQ=="}}]}).to_string(),
            ),
            (
                "a number with an exponent",
                "kv/range",
                json!({"key": "YQ==", "range_end": "eg==", "limit": "1e0"}).to_string(),
            ),
            ("an unknown word", "kv/range", json!({"key": "YQ==", "sort_order": "SIDEWAYS"}).to_string()),
            ("an unknown path", "nobody/knows", "{}".to_owned()),
        ] {
            agree(gateways, path, &body, what).await;
        }
    })
    .await;
}
