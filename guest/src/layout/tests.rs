use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn zone(text: &str) -> Zone {
    Zone::new(name(text)).unwrap()
}

fn record(owner: &str, data: RData) -> Record {
    Record { name: name(owner), data, ttl: 60, owner: Some("us".to_owned()), resource: None }
}

fn a(owner: &str) -> Record {
    record(owner, RData::A(Ipv4Addr::new(10, 0, 0, 1)))
}

fn cname(owner: &str, target: &str) -> Record {
    record(owner, RData::Cname(name(target)))
}

fn keys(zones: &[&str], records: &[Record]) -> Vec<String> {
    let zones: Vec<Zone> = zones.iter().map(|apex| zone(apex)).collect();
    Layout::new("skydns").encode(&zones, records).into_keys().collect()
}

/// The worked key set of the layout's specification.
#[test]
fn the_worked_example_has_its_keys() {
    let case: Value = serde_json::from_str(include_str!("../../testdata/ly-keys.json")).unwrap();
    let mut zones = Vec::new();
    let mut records = Vec::new();
    for (apex, list) in case["input"]["zones"].as_object().unwrap() {
        zones.push(zone(apex));
        for row in list.as_array().unwrap() {
            let text = |value: &Value| name(value.as_str().unwrap());
            let number = |value: &Value| u16::try_from(value.as_u64().unwrap()).unwrap();
            let value = &row[2];
            let data = match row[1].as_str().unwrap() {
                "A" => RData::A(value.as_str().unwrap().parse().unwrap()),
                "AAAA" => RData::Aaaa(value.as_str().unwrap().parse().unwrap()),
                "TXT" => RData::Txt(value.as_str().unwrap().into()),
                "CNAME" => RData::Cname(text(value)),
                "PTR" => RData::Ptr(text(value)),
                "MX" => RData::Mx { preference: number(&value[0]), exchange: text(&value[1]) },
                "SRV" => RData::Srv {
                    priority: number(&value[0]),
                    weight: number(&value[1]),
                    port: number(&value[2]),
                    target: text(&value[3]),
                },
                other => panic!("{other}"),
            };
            let ttl = u32::try_from(row[3].as_u64().unwrap()).unwrap();
            records.push(Record {
                name: text(&row[0]),
                data,
                ttl,
                owner: Some("example-owner".into()),
                resource: None,
            });
        }
    }
    for (apex, list) in case["input"]["ns"].as_object().unwrap() {
        for row in list.as_array().unwrap() {
            let owner = name(&format!("{}.ns.dns.{apex}", row[0].as_str().unwrap()));
            let data = RData::A(row[1].as_str().unwrap().parse().unwrap());
            let ttl = u32::try_from(row[2].as_u64().unwrap()).unwrap();
            records.push(Record { name: owner, data, ttl, owner: Some("example-owner".into()), resource: None });
        }
    }
    let ours = Layout::new("skydns").encode(&zones, &records);
    let compare = |entries: Vec<(String, Value)>| {
        let mut entries: Vec<(String, String)> =
            entries.into_iter().map(|(key, value)| (without_hash(&key), value.to_string())).collect();
        entries.sort();
        entries
    };
    let expected = case["expect"]["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|service| (service["key"].as_str().unwrap().to_owned(), service["json"].clone()));
    let ours = ours.iter().map(|(key, value)| (key.clone(), serde_json::from_str(value).unwrap()));
    let (ours, expected) = (compare(ours.collect()), compare(expected.collect()));
    let missing: Vec<_> = expected.iter().filter(|entry| !ours.contains(entry)).collect();
    let surplus: Vec<_> = ours.iter().filter(|entry| !expected.contains(entry)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:#?}\nsurplus: {surplus:#?}");
    assert_eq!(ours.len(), expected.len());
}

/// The 16 digits of a hash are each project's own; that there are 16 is not.
fn without_hash(key: &str) -> String {
    match key.rsplit_once(['-', '/']) {
        Some((start, hash)) if hash.len() == 16 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')) => {
            format!("{start}#")
        }
        _ => key.to_owned(),
    }
}

#[test]
fn a_zone_without_records_has_no_key() {
    assert!(keys(&["ex.test", "b.ex.test"], &[]).is_empty());
}

#[test]
fn a_zone_inside_another_counts_for_the_names_above_it() {
    let zones = ["ex.test", "z.m.ex.test"];
    let inner = [cname("alias.z.m.ex.test", "ext.world")];
    assert!(
        keys(&zones, &inner).iter().all(|key| key.starts_with("/skydns/test/ex/m/z")),
        "the outer zone has no record"
    );

    let both = [a("w.ex.test"), cname("alias.z.m.ex.test", "ext.world")];
    let hash = digest(b"alias.z.m.ex.test");
    let keys = keys(&zones, &both);
    for key in ["", "/@GUARD", "/!B"] {
        for above in ["/skydns/test/ex", "/skydns/test/ex/m", "/skydns/test/ex/m/z"] {
            assert!(keys.contains(&format!("{above}{key}")), "{above}{key}");
        }
    }
    assert!(keys.contains(&format!("/skydns/test/ex/m/!A/{hash}")));
    assert!(keys.contains(&format!("/skydns/test/ex/!A/{hash}")));
}

#[test]
fn an_alias_with_descendants_has_a_leaf_too() {
    let keys = keys(&["ex.test"], &[cname("w.ex.test", "x.ex.test"), a("c.w.ex.test")]);
    assert!(keys.iter().any(|key| key.starts_with("/skydns/test/ex/w/CNAME-")), "{keys:?}");
    assert!(keys.contains(&"/skydns/test/ex/w/@GUARD".to_owned()));
}

#[test]
fn name_servers_have_markers_and_no_guards() {
    let keys = keys(&["ex.test"], &[a("ns1.ns.dns.ex.test")]);
    let below: Vec<&str> = keys.iter().filter_map(|key| key.strip_prefix("/skydns/test/ex/dns/ns")).collect();
    assert_eq!(below, ["", "/ns1", "/ns1/A-0A000001"]);
}

#[test]
fn a_null_mx_and_an_absent_service_are_not_padded() {
    let zone = zone("ex.test");
    let layout = Layout::new("skydns");
    let (_, mx) = layout.record(&zone, &record("ex.test", RData::Mx { preference: 0, exchange: Name::root() }));
    assert_eq!((mx.host.as_str(), mx.priority, mx.targetstrip), (".", 65_536, 3));
    let srv = RData::Srv { priority: 1, weight: 0, port: 0, target: Name::root() };
    let (_, srv) = layout.record(&zone, &record("_x._tcp.ex.test", srv));
    assert_eq!((srv.host.as_str(), srv.weight), (".", 1));
}

#[test]
fn addresses_are_their_keys() {
    let layout = Layout::new("skydns");
    let v6 = record("w.ex.test", RData::Aaaa(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x28)));
    let (key, service) = layout.record(&zone("ex.test"), &v6);
    assert_eq!(key, "/skydns/test/ex/w/AAAA-20010DB8000000000000000000000028");
    assert_eq!(service.host, "2001:db8::28");
}
