//! The embedded default answers every `lookup` case as the case file says: over the wire, and function by function.

use std::{collections::BTreeMap, io::ErrorKind, time::Duration};

use dns_manager_orchestrator::embedded::lookup::{Data, Kind, Lookup, Record, Service, json, service};
use dns_manager_tests::{
    cases::{Case, Cases, Config, Upstream},
    dns::{self, Transport},
};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::RecordType,
};
use serde_json::Value;
use tokio::net::UdpSocket;

use super::Site;

/// Silence this long is no reply.
const SILENCE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn the_embedded_default_answers_every_case_as_measured() {
    let Some(cases) = Cases::load() else { return };
    let is_judged = |case: &&&Case| case.lease_ttl.is_none() && !case.config.fallthrough;
    let lookups = cases.server_lookups();
    let lookups: Vec<&Case> = lookups.iter().filter(is_judged).copied().collect();
    assert!(lookups.len() > 185, "the case file has {} lookups for it", lookups.len());
    let mut sites = BTreeMap::new();
    let mut differences = Vec::new();
    for case in &lookups {
        if !sites.contains_key(&case.config) {
            sites.insert(case.config.clone(), Site::start(lookup(&case.config)).await);
        }
        let site = &sites[&case.config];
        let gateway = site.gateway();
        gateway.delete_below(&format!("/{}/", case.config.path)).await;
        let services = cases.services(case);
        let entries: Vec<_> = services.iter().map(dns_manager_tests::cases::Service::entry).collect();
        gateway.put_all(&entries).await;
        if let Some(difference) = difference(site, case).await {
            differences.push(format!("{}: {difference}", case.id));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} cases differ:\n{}",
        differences.len(),
        lookups.len(),
        differences.join("\n")
    );
}

async fn difference(site: &Site, case: &Case) -> Option<String> {
    let query = case.query.as_ref().unwrap();
    let patience = if case.expects_no_reply() { SILENCE } else { Duration::from_secs(15) };
    match dns::try_ask(site.nameserver(), &query.name, &query.rr_type, Transport::Tcp, patience).await {
        Ok(answer) if case.expects_no_reply() => Some(format!("{answer:?} instead of no reply")),
        Ok(answer) => case.difference(&answer),
        Err(error) if case.expects_no_reply() && error.kind() == ErrorKind::TimedOut => None,
        Err(error) => Some(error.to_string()),
    }
}

fn lookup(config: &Config) -> Lookup {
    let lookup = Lookup::new(&config.path, &config.zones);
    match &config.upstream {
        Upstream::Records(records) => lookup.with_world(records.iter().map(|line| record(line)).collect()),
        // No server behind it and a refusal are the same to a server of its own.
        Upstream::Words(_) => lookup,
    }
}

/// A record of the outside world.
fn record(line: &str) -> Record {
    let fields: Vec<&str> = line.splitn(4, ' ').collect();
    let data = match fields[2] {
        "A" => Data::A(fields[3].parse().unwrap()),
        "TXT" => Data::Txt(vec![fields[3].trim_matches('"').into()]),
        other => panic!("the world has no {other}"),
    };
    Record { owner: fields[0].into(), ttl: fields[1].parse().unwrap(), data }
}

#[tokio::test]
async fn an_answer_that_is_cut_keeps_its_opt_record() {
    let site = Site::start(Lookup::new("/skydns", ["example.com"])).await;
    let entry =
        |number| (format!("/skydns/com/example/web/{number}"), format!(r#"{{"host":"10.0.0.{number}"}}"#).into_bytes());
    site.gateway().put_all(&(10..90).map(entry).collect::<Vec<_>>()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(site.nameserver()).await.unwrap();
    for size in [512, 520, 527, 600, 700, 1232] {
        let mut question = Message::new(7, MessageType::Query, OpCode::Query);
        question.add_query(Query::query("web.example.com.".parse().unwrap(), RecordType::A));
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        question.edns = Some(edns);
        socket.send(&question.to_vec().unwrap()).await.unwrap();
        let mut octets = [0; 65_535];
        let length = socket.recv(&mut octets).await.unwrap();
        let answer = Message::from_vec(&octets[..length]).unwrap();
        assert!(length <= usize::from(size), "{length} of {size}");
        assert!(answer.metadata.truncation && answer.edns.is_some(), "{size}: {answer:?}");
        // All that there is room for: a record takes 16 octets, the first one more.
        assert!(length + 16 + 15 > usize::from(size), "{length} of {size}");
    }
}

#[test]
fn every_fact_about_one_function_holds() {
    let Some(cases) = Cases::load() else { return };
    let mut judged = BTreeMap::<&str, usize>::new();
    for case in cases.cases.iter().filter(|case| case.kind == "lookup") {
        let Some(subkind) = case.subkind.as_deref() else { continue };
        let services: Vec<Service> = case.services.iter().map(read).collect();
        let seen = match subkind {
            "host-type" => Value::from(match services[0].kind() {
                Kind::Address(address) if address.is_ipv4() => "A",
                Kind::Address(_) => "AAAA",
                Kind::Name => "CNAME",
                Kind::Text => "TXT",
            }),
            "group-filter" => {
                let kept = service::grouped(services);
                kept.iter().map(|service| String::from_utf8_lossy(&service.key).into_owned()).collect()
            }
            "txt-chunks" => service::chunks(&services[0].text).iter().map(Vec::len).collect(),
            // Leases are etcd's, and these say that their ids mean nothing.
            "ttl" => continue,
            other => panic!("{}: the subkind {other} is new", case.id),
        };
        let field = match subkind {
            "host-type" => "host_type",
            "group-filter" => "selected_keys",
            _ => "chunk_lengths",
        };
        assert_eq!(seen, case.expect[field], "{}", case.id);
        *judged.entry(subkind).or_default() += 1;
    }
    assert_eq!(judged, BTreeMap::from([("group-filter", 5), ("host-type", 5), ("txt-chunks", 2)]));
}

fn read(stored: &dns_manager_tests::cases::Service) -> Service {
    let (key, value) = stored.entry();
    Service { key: key.into_bytes(), ..json::read(&value).unwrap() }
}
