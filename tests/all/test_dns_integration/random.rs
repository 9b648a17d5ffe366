//! Incremental = full: after each of thousands of random changes, the tree is,
//! byte for byte, the full encoding of the records that it holds, and these
//! are the records that the outcomes speak of.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv6Addr,
};

use dns_manager_guest::{
    layout::Layout,
    name::Name,
    rdata::{RData, RrType},
    record::Record,
    zone::Zone,
};
use dns_manager_host::contract::{Action, Change, Entry, Outcome, Rdata, Status};
use dns_manager_tests::{
    app,
    change::{a, aaaa, add, cname, mx, ptr, remove, replace, srv, txt},
    left_out::say,
    site::{Site, on_every_etcd, test_name},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A zone, one inside it, and a reverse zone.
const ZONES: &[&str] = &["ex.test", "in.b.ex.test", "0.0.10.in-addr.arpa"];
/// Changes on each etcd.
const CHANGES: usize = 1500;

/// Name, type number, value; a value's text is unique in its type.
type Model = BTreeMap<(String, u16), (u32, BTreeSet<String>)>;

#[tokio::test(flavor = "multi_thread")]
async fn after_every_change_the_tree_is_the_full_encoding_of_its_records() {
    on_every_etcd(ZONES, async |site| {
        let seed =
            std::env::var("DNS_MANAGER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
        say(&format!("{}: seed {seed} (DNS_MANAGER_SEED={seed} repeats it)\n", test_name()));
        let mut random = StdRng::seed_from_u64(seed);
        let manager = app::manager(site).await;
        let mut model = Model::new();
        let mut tally = BTreeMap::<&str, usize>::new();
        for number in 0..CHANGES {
            let changes: Vec<Change> = (0..random.random_range(1..=3)).map(|_| change(&mut random)).collect();

            let outcomes = app::apply(&manager, changes.clone()).await;

            for (change, outcome) in changes.iter().zip(&outcomes) {
                *tally.entry(outcome.status.name()).or_default() += 1;
                let what = || format!("seed {seed}, change {number}: {change:?}: {outcome:?}");
                assert!(!matches!(outcome.status, Status::Failed | Status::Unknown), "{}", what());
                let is_changed = note(&mut model, change, outcome);
                assert_eq!(
                    is_changed,
                    matches!(outcome.status, Status::Created | Status::Updated | Status::Deleted),
                    "{}",
                    what()
                );
            }
            let entries = app::entries(&manager).await;
            let what = || format!("seed {seed}, after change {number}: {changes:#?}\n{outcomes:#?}");
            assert_eq!(listed(&entries), model, "{}", what());
            assert_eq!(site.tree().await.values(), encoding(&entries), "{}", what());
            if number % 250 == 249 {
                assert_answers(site, &entries, &what()).await;
            }
        }
        say(&format!("{}: {:?} etcd, {CHANGES} calls: {tally:?}\n", test_name(), site.release));
        empty(site, &model).await;
    })
    .await;
}

async fn empty(site: &Site, model: &Model) {
    let names: BTreeSet<&String> = model.keys().map(|(name, _)| name).collect();
    app::done(&app::manager(site).await, names.into_iter().map(|name| remove(name, None, [])).collect()).await;
    assert!(site.tree().await.is_empty(), "{:#?}", site.tree().await.values());
}

/// CoreDNS answers every set with its values and no others.
async fn assert_answers(site: &Site, entries: &[Entry], what: &str) {
    let mut sets = BTreeMap::<(String, u16), Vec<String>>::new();
    for entry in entries {
        sets.entry((entry.name.clone(), rr_type(&entry.data))).or_default().push(line(entry));
    }
    for ((name, number), mut expected) in sets {
        let mnemonic = RrType::from(number).to_string();
        let answer = site.coredns.ask(&name, &mnemonic).await;
        // What stands at this name counts; a followed alias brings more along.
        let own = format!("{name}. ");
        let mut seen: Vec<String> = answer.answers.iter().filter(|line| line.starts_with(&own)).cloned().collect();
        seen.retain(|line| line.split(' ').nth(2) == Some(&mnemonic));
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected, "{name} {mnemonic}: {answer:?}\n{what}");
    }
}

fn line(entry: &Entry) -> String {
    let rdata = match &entry.data {
        Rdata::A((a, b, c, d)) => format!("{a}.{b}.{c}.{d}"),
        Rdata::Aaaa((a, b, c, d, e, f, g, h)) => Ipv6Addr::new(*a, *b, *c, *d, *e, *f, *g, *h).to_string(),
        Rdata::Cname(target) | Rdata::Ptr(target) => format!("{target}."),
        Rdata::Mx(mx) => format!("{} {}.", mx.preference, mx.exchange),
        Rdata::Srv(srv) => format!("{} {} {} {}.", srv.priority, srv.weight, srv.port, srv.target),
        Rdata::Txt(strings) => format!("\"{}\"", String::from_utf8_lossy(&strings.concat())),
        other => panic!("not among these changes: {other:?}"),
    };
    format!("{}. {} {} {rdata}", entry.name, entry.ttl, RrType::from(rr_type(&entry.data)))
}

/// Follows a change in the model, if its outcome says that it was made; whether anything differs then.
fn note(model: &mut Model, change: &Change, outcome: &Outcome) -> bool {
    if !outcome.status.is_done() {
        return false;
    }
    let before = model.clone();
    match &change.action {
        Action::Add(set) => {
            let here = model.entry((set.name.clone(), rr_type(&set.data[0]))).or_default();
            here.0 = set.ttl.expect("each change here has a TTL");
            here.1.extend(set.data.iter().map(text));
        }
        Action::Replace(set) => {
            let ttl = set.ttl.expect("each change here has a TTL");
            model.insert((set.name.clone(), rr_type(&set.data[0])), (ttl, set.data.iter().map(text).collect()));
        }
        Action::Remove(selector) => {
            let values: BTreeSet<String> = selector.data.iter().map(text).collect();
            for ((name, kind), (_, here)) in model.iter_mut() {
                if *name == selector.name && selector.rr_type.is_none_or(|wanted| wanted == *kind) {
                    here.retain(|value| !values.is_empty() && !values.contains(value));
                }
            }
            model.retain(|_, (_, here)| !here.is_empty());
        }
        Action::Adopt(_) | Action::Release(_) => unreachable!("not among these changes"),
    }
    *model != before
}

fn listed(entries: &[Entry]) -> Model {
    let mut model = Model::new();
    for entry in entries {
        let set = model.entry((entry.name.clone(), rr_type(&entry.data))).or_default();
        set.0 = entry.ttl;
        assert!(set.1.insert(text(&entry.data)), "listed twice: {entry:?}");
        assert!(entry.mine && entry.owner.as_deref() == Some(app::OWNER), "{entry:?}");
    }
    model
}

/// What the tree should hold, by the guest's own pure function, natively.
fn encoding(entries: &[Entry]) -> BTreeMap<String, String> {
    let zones: Vec<Zone> = ZONES.iter().map(|zone| Zone::new(name(zone)).expect("a zone")).collect();
    let records: Vec<Record> = entries
        .iter()
        .map(|entry| Record {
            name: name(&entry.name),
            data: rdata(&entry.data),
            ttl: entry.ttl,
            owner: entry.owner.clone(),
            resource: entry.resource.clone(),
        })
        .collect();
    Layout::new("skydns").encode(&zones, &records)
}

fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn rdata(data: &Rdata) -> RData {
    match data {
        Rdata::A((a, b, c, d)) => RData::A([*a, *b, *c, *d].into()),
        Rdata::Aaaa((a, b, c, d, e, f, g, h)) => RData::Aaaa([*a, *b, *c, *d, *e, *f, *g, *h].into()),
        Rdata::Cname(target) => RData::Cname(name(target)),
        Rdata::Ptr(target) => RData::Ptr(name(target)),
        Rdata::Mx(mx) => RData::Mx { preference: mx.preference, exchange: name(&mx.exchange) },
        Rdata::Srv(srv) => {
            RData::Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: name(&srv.target) }
        }
        Rdata::Txt(strings) => RData::Txt(strings.concat()),
        Rdata::Ns(_) | Rdata::Soa(_) | Rdata::Other(_) => panic!("not among these changes: {data:?}"),
    }
}

fn rr_type(data: &Rdata) -> u16 {
    rdata(data).rr_type().number()
}

fn text(data: &Rdata) -> String {
    format!("{:?}", rdata(data))
}

fn change(random: &mut StdRng) -> Change {
    let name = owner(random);
    let ttl = [60, 300][random.random_range(0..2)];
    let data = values(random, &name);
    match random.random_range(0..10) {
        0..=4 => add(&name, ttl, data),
        5..=6 => replace(&name, ttl, data),
        7 => remove(&name, None, []),
        8 => remove(&name, Some(rr_type(&data[0])), []),
        _ => remove(&name, Some(rr_type(&data[0])), data),
    }
}

/// Few names, so that they meet: three levels, names that sort before and behind the guards, the apexes, the reserved ones.
fn owner(random: &mut StdRng) -> String {
    let labels = ["a", "b", "0", "-x", "z_", "dns"];
    let mut pick = || labels[random.random_range(0..labels.len())].to_owned();
    let (first, second) = (pick(), pick());
    match random.random_range(0..20) {
        0..=5 => format!("{first}.ex.test"),
        6..=10 => format!("{first}.{second}.ex.test"),
        11..=12 => format!("{first}.{second}.b.ex.test"),
        13 => "ex.test".to_owned(),
        14 => "in.b.ex.test".to_owned(),
        15 => format!("{first}.in.b.ex.test"),
        16 => format!("ns{}.ns.dns.ex.test", random.random_range(1..=2)),
        17 => format!("{}.{}.0.0.10.in-addr.arpa", random.random_range(1..=2), random.random_range(1..=2)),
        _ => format!("{}.0.0.10.in-addr.arpa", random.random_range(1..=3)),
    }
}

/// One to three values of one type, mostly one that can stand at this name.
fn values(random: &mut StdRng, owner: &str) -> Vec<Rdata> {
    let target = ["a.ex.test", "b.ex.test", "0.a.ex.test", "ext.world", "a.in.b.ex.test"][random.random_range(0..5)];
    let kind =
        if owner.ends_with(".arpa") { [5, 5, 5, 2][random.random_range(0..4)] } else { random.random_range(0..8) };
    let count = random.random_range(1..=3_u16);
    let mut values: Vec<Rdata> = (0..count)
        .map(|number| match kind {
            0 | 7 => a(&format!("10.0.0.{}", random.random_range(1..=4))),
            1 => aaaa(&format!("2001:db8::{}", random.random_range(1..=4))),
            2 => txt(&format!("text {}", random.random_range(1..=3))),
            3 => mx(random.random_range(0..=1) * 10, target),
            4 => srv(0, 5 * (number + 1), 5060 + number, target),
            5 if owner.ends_with(".arpa") => ptr(target),
            _ => cname(target),
        })
        .collect();
    // One alias, one name of an address; and no value twice.
    if matches!(values[0], Rdata::Cname(_) | Rdata::Ptr(_)) {
        values.truncate(1);
    }
    let mut seen = BTreeSet::new();
    values.retain(|value| seen.insert(text(value)));
    values
}
