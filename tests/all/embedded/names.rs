//! The same random trees, and the same questions, to the real CoreDNS and to the embedded default: no difference.
//!
//! The trees are not those of our layout: every field has every kind of value, keys have wildcards, escapes, doubled
//! slashes and capitals, and some values are no JSON. A tree and its questions come from a seed, which a failure shows and
//! `DNS_MANAGER_SEED` sets.

use std::{collections::BTreeSet, io::ErrorKind, net::SocketAddr, time::Duration};

use dns_manager_orchestrator::embedded::lookup::Lookup;
use dns_manager_tests::{
    coredns::{CoreDns, Plan},
    dns::{self, Answer, Transport},
    etcd::{Etcd, Release},
    left_out::{left_out, say},
    site,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Map, Value, json};

use super::Site;

/// An alias may lead from a zone to one before it, never back: on a circle through two zones CoreDNS dies.
const ZONES: [&str; 3] = ["example.com", "sub.example.com", "example.net"];
const TREES: u64 = 50;
const QUESTIONS: usize = 60;
const TYPES: [&str; 13] = ["A", "AAAA", "TXT", "CNAME", "PTR", "MX", "SRV", "NS", "SOA", "CAA", "ANY", "HTTPS", "DS"];
/// Silence this long is no reply, if the other is silent, too.
const SILENCE: Duration = Duration::from_millis(1500);
/// When only one is silent, it is asked again.
const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_trees_are_answered_as_coredns_answers_them() {
    if !site::installed().contains(&Release::Current) {
        left_out(&site::test_name(), "there is no CoreDNS or no etcd");
        return;
    }
    let base = std::env::var("DNS_MANAGER_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let trees = std::env::var("DNS_MANAGER_TREES").map_or(TREES, |trees| trees.parse().unwrap());
    say(&format!("seed {base}\n"));
    let etcd = Etcd::start(Release::Current).await;
    let mut coredns = CoreDns::start(Plan::new(&etcd.url(), &ZONES)).await;
    let embedded = Site::start(Lookup::new("/skydns", ZONES)).await;
    let mut asked = 0;
    let mut cut_earlier = 0;
    for seed in base..base + trees {
        let mut random = StdRng::seed_from_u64(seed);
        let tree = tree(&mut random);
        for gateway in [etcd.gateway(), embedded.gateway()] {
            gateway.delete_below("/").await;
            gateway.put_all(&tree).await;
        }
        for question in questions(&mut random, &tree) {
            let servers = (coredns.address(), embedded.nameserver());
            let mut difference = difference(servers, &question).await;
            if difference.as_ref().is_some_and(Difference::is_cut_earlier) {
                cut_earlier += 1;
                let over_tcp = Question { over: Transport::Tcp, ..question.clone() };
                difference = self::difference(servers, &over_tcp).await;
            }
            if let Some(difference) = difference {
                let lines: Vec<String> =
                    tree.iter().map(|(key, value)| format!("{key}  {}", String::from_utf8_lossy(value))).collect();
                panic!("seed {seed}: {question:?}\n{difference:#?}\nin the tree\n{}", lines.join("\n"));
            }
            asked += 1;
        }
    }
    coredns.stop();
    say(&format!(
        "{asked} questions in {trees} trees, no difference; {cut_earlier} answers over UDP were cut earlier\n"
    ));
    assert!(cut_earlier * 50 < asked, "{cut_earlier} of {asked} answers were cut earlier than by CoreDNS");
}

/// A name, a type, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    name: String,
    rr_type: &'static str,
    over: Transport,
}

/// Two answers that are not the same.
#[derive(Debug)]
struct Difference {
    coredns: Result<Answer, ErrorKind>,
    embedded: Result<Answer, ErrorKind>,
}

impl Difference {
    /// The codec of the embedded default remembers 64 places that a name can point to, CoreDNS's all of them: a long answer
    /// over UDP may be longer and cut earlier, with the bit that sends the client to TCP.
    fn is_cut_earlier(&self) -> bool {
        let (Ok(theirs), Ok(ours)) = (&self.coredns, &self.embedded) else { return false };
        let starts = |whole: &[String], part: &[String]| whole.starts_with(part);
        ours.truncated
            && (&ours.rcode, ours.authoritative) == (&theirs.rcode, theirs.authoritative)
            && starts(&theirs.answers, &ours.answers)
            && starts(&theirs.authority, &ours.authority)
            && starts(&theirs.additional, &ours.additional)
    }
}

async fn difference((coredns, embedded): (SocketAddr, SocketAddr), question: &Question) -> Option<Difference> {
    let ask = |server, patience| async move {
        let answer = dns::try_ask(server, &question.name, question.rr_type, question.over, patience).await;
        answer.map(without_serials).map_err(|error| error.kind())
    };
    let (mut theirs, mut ours) = tokio::join!(ask(coredns, SILENCE), ask(embedded, SILENCE));
    if theirs == Err(ErrorKind::TimedOut) && ours.is_ok() {
        theirs = ask(coredns, PATIENCE).await;
    } else if ours == Err(ErrorKind::TimedOut) && theirs.is_ok() {
        ours = ask(embedded, PATIENCE).await;
    }
    (theirs != ours).then_some(Difference { coredns: theirs, embedded: ours })
}

/// The serial is the time.
fn without_serials(mut answer: Answer) -> Answer {
    for line in answer.answers.iter_mut().chain(&mut answer.authority) {
        if let Some((head, data)) = line.split_once(" SOA ") {
            let mut fields: Vec<&str> = data.split(' ').collect();
            fields[2] = "*";
            *line = format!("{head} SOA {}", fields.join(" "));
        }
    }
    answer
}

fn tree(random: &mut StdRng) -> Vec<(String, Vec<u8>)> {
    let mut keys = BTreeSet::new();
    // One tree in four is of one name with many keys, whose answers have to be cut.
    let is_long = random.random_ratio(1, 4);
    for _ in 0..random.random_range(1..25) {
        keys.insert(key(random));
    }
    if is_long {
        let name = name_key(random, 2);
        keys.extend((0..random.random_range(20..60)).map(|leaf| format!("{name}/{leaf:02}")));
    }
    let has_bad = random.random_ratio(1, 5);
    let mut aliases = 0;
    keys.into_iter()
        .map(|key| {
            let value = match random.random_range(0..30) {
                0 if has_bad => bad_value(random),
                _ => value(random, &key, &mut aliases),
            };
            (key, value)
        })
        .collect()
}

fn label(random: &mut StdRng) -> &'static str {
    const COMMON: [&str; 6] = ["a", "b", "c", "web", "ns1", "mail"];
    const ODD: [&str; 16] = [
        "any",
        "*",
        "_sip",
        "_tcp",
        "dns",
        "ns",
        "apex",
        "A",
        "x-1",
        "a\\.b",
        "a\\ b",
        "\\195\\169",
        "0/25",
        "sub",
        "\\*",
        "@",
    ];
    if random.random_ratio(4, 5) { COMMON.choose(random).unwrap() } else { ODD.choose(random).unwrap() }
}

fn name_key(random: &mut StdRng, depth: usize) -> String {
    let zone = ["/skydns/com/example", "/skydns/com/example", "/skydns/com/example/sub", "/skydns/net/example"]
        .choose(random)
        .unwrap();
    let mut key = (*zone).to_owned();
    for _ in 0..random.random_range(0..=depth) {
        key.push('/');
        key.push_str(label(random));
    }
    key
}

fn key(random: &mut StdRng) -> String {
    let mut key = name_key(random, 3);
    match random.random_range(0..30) {
        0 => key.push('/'),
        1 => key.push_str("//a"),
        2 => key.push_str("/dns/apex"),
        3 | 4 => key.push_str("/dns/ns/ns1"),
        5 => key.push_str("/!A/00FF"),
        6 => key.push_str("/@GUARD"),
        7 => key = key.replacen("/skydns", "/other", 1),
        _ => {}
    }
    key
}

fn bad_value(random: &mut StdRng) -> Vec<u8> {
    const BAD: [&[u8]; 12] = [
        b"",
        b"x",
        b"[]",
        b"7",
        b"{\"host\":\"10.0.0.1\"}x",
        b"{\"host\":\"10.0.0.1\",}",
        b"{\"port\":\"80\"}",
        b"{\"ttl\":-1}",
        b"{\"ttl\":1e2}",
        b"{\"ttl\":4294967296}",
        b"{\"host\":7}",
        b"{\"priority\":1.0}",
    ];
    BAD.choose(random).unwrap().to_vec()
}

fn value(random: &mut StdRng, key: &str, aliases: &mut usize) -> Vec<u8> {
    // Read otherwise than by a strict reader, and nevertheless read.
    const ODD: [&[u8]; 10] = [
        b"null",
        b"{}",
        b" {\"HOST\" : \"10.9.0.1\" , \"Ttl\":9}\n",
        b"{\"host\":\"10.9.0.2\",\"host\":\"10.9.0.3\"}",
        b"{\"host\":\"10.9.0.4\",\"host\":null,\"port\":-0}",
        b"{\"text\":\"\\ud83d\\u0041 \xff\xe2\x82 \\u00e9\"}",
        "{\"ho\u{17f}t\":\"10.9.0.5\"}".as_bytes(),
        b"{\"host\":\"10.9.0.6\",\"owner\":{\"a\":[1,{\"b\":null}]}}",
        b"{\"host\":\"10.9.0.7\",\"ttl\":4294967295}",
        b"{\"host\":\"10.9.0.8\",\"group\":null,\"mail\":false}",
    ];
    if random.random_ratio(1, 15) {
        return ODD.choose(random).unwrap().to_vec();
    }
    let mut fields = Map::new();
    let kind = random.random_range(0..20);
    // Each alias can lead to each other one: many of them take CoreDNS for ever.
    let kind = if (12..18).contains(&kind) && *aliases >= 5 { 0 } else { kind };
    let host = match kind {
        0..8 => address_v4(random),
        8..11 => address_v6(random),
        11 => odd_host(random),
        12..18 => {
            *aliases += 1;
            target(random, key)
        }
        _ => String::new(),
    };
    if !host.is_empty() {
        fields.insert("host".to_owned(), host.into());
    }
    if kind >= 18 || random.random_ratio(1, 12) {
        fields.insert("text".to_owned(), text(random).into());
    }
    let mut number = |name: &str, one_in: u32, values: &[i64]| {
        if random.random_ratio(1, one_in) {
            fields.insert(name.to_owned(), json!(values.choose(random).unwrap()));
        }
    };
    number("port", 3, &[-1, -1, 0, 1, 80, 5060, 65_535, 65_536, -2]);
    number("priority", 3, &[0, 1, 5, 10, 20, 65_536, 65_537, -1]);
    number("weight", 3, &[0, 1, 10, 20, 33, 50, 99, 1000, -5, -100, 100_000]);
    number("ttl", 3, &[0, 1, 5, 60, 300, 86_400]);
    number("targetstrip", 5, &[0, 1, 2, 3, 9, -1]);
    if random.random_ratio(1, 4) {
        fields.insert("mail".to_owned(), random.random_bool(0.8).into());
    }
    if random.random_ratio(1, 3) {
        let groups = ["a", "a", "a", "b", ""];
        fields.insert("group".to_owned(), (*groups.choose(random).unwrap()).into());
    }
    Value::Object(fields).to_string().into_bytes()
}

fn address_v4(random: &mut StdRng) -> String {
    format!("10.0.0.{}", random.random_range(0..6))
}

fn address_v6(random: &mut StdRng) -> String {
    let addresses = ["2001:db8::1", "2001:db8::2", "2001:DB8:0::1", "::ffff:10.0.0.1", "::", "::1.2.3.4"];
    (*addresses.choose(random).unwrap()).to_owned()
}

/// What is neither an address nor a usual name.
fn odd_host(random: &mut StdRng) -> String {
    let hosts = [
        "010.0.0.1",
        "1.2.3",
        "[::1]",
        "fe80::1%eth0",
        " 10.0.0.1",
        "foo..bar.world",
        "trailing\\",
        ".",
        "*.world",
        "UPPER.world",
        "esc\\.aped.world",
        "\\065.world",
        "\\300.world",
        "é.world",
        "sp ace.world",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.world",
    ];
    (*hosts.choose(random).unwrap()).to_owned()
}

/// A name that the zone of this key may lead to.
fn target(random: &mut StdRng, key: &str) -> String {
    let zones: &[&str] = if key.contains("/net/") {
        &["example.net", "example.net", "example.com", "sub.example.com", "world"]
    } else {
        &["example.com", "example.com", "sub.example.com", "world"]
    };
    let mut name = String::new();
    for _ in 0..random.random_range(0..3) {
        name.push_str(label(random));
        name.push('.');
    }
    name.push_str(zones.choose(random).unwrap());
    match random.random_range(0..8) {
        0 => name.push('.'),
        1 => name = name.to_uppercase(),
        _ => {}
    }
    name
}

fn text(random: &mut StdRng) -> String {
    match random.random_range(0..8) {
        0 => "x".repeat(*[254, 255, 256, 300, 510, 511].choose(random).unwrap()),
        1 => format!("{}\\\\y", "x".repeat(random.random_range(250..256))),
        2 => "\\".to_owned(),
        3 => "a\\b \\065 \\300 \"quoted\" é".to_owned(),
        4 => "same".to_owned(),
        _ => format!("text {}", random.random_range(0..5)),
    }
}

fn questions(random: &mut StdRng, tree: &[(String, Vec<u8>)]) -> Vec<Question> {
    let mut questions = Vec::new();
    while questions.len() < QUESTIONS {
        let mut labels: Vec<String> = match tree.choose(random) {
            Some((key, _)) if random.random_ratio(4, 5) => {
                key.split('/').skip(2).filter(|label| !label.is_empty()).map(str::to_owned).collect()
            }
            _ => name_key(random, 3).split('/').skip(2).map(str::to_owned).collect(),
        };
        // At a key, or above it, or below it.
        labels.truncate(random.random_range(2..=labels.len().max(2)));
        match random.random_range(0..12) {
            0 => labels.push(label(random).to_owned()),
            1 => {
                let place = random.random_range(0..labels.len());
                labels[place] = (*["*", "any", "ANY"].choose(random).unwrap()).to_owned();
            }
            2 => labels.push("DNS".to_owned()),
            _ => {}
        }
        labels.reverse();
        // Components of keys are in presentation form already.
        let mut name = labels.join(".");
        if random.random_ratio(1, 6) {
            name = capitals(random, &name);
        }
        let over = if random.random_ratio(1, 2) { Transport::Udp } else { Transport::Tcp };
        questions.push(Question { name, rr_type: TYPES.choose(random).unwrap(), over });
    }
    questions
}

/// Some letters in upper case, none of an escape.
fn capitals(random: &mut StdRng, name: &str) -> String {
    if name.contains('\\') {
        return name.to_owned();
    }
    name.chars().map(|letter| if random.random_bool(0.5) { letter.to_ascii_uppercase() } else { letter }).collect()
}
