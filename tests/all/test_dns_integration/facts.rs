//! The support library against the measured facts: real CoreDNS on real etcd
//! answers every `lookup` case as the case file says, with keys that the case
//! file gives. Nothing of ours takes part but the test support itself.

use std::{collections::BTreeMap, io::ErrorKind, time::Duration};

use dns_manager_tests::{
    cases::{Case, Cases, Config, Upstream},
    coredns::{CoreDns, Plan},
    dns::{self, Transport},
    etcd::Etcd,
    gateway::Gateway,
    site,
};

/// Silence this long is no reply.
const SILENCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn coredns_answers_every_case_as_measured() {
    let Some(cases) = Cases::load() else { return };
    let lookups = cases.server_lookups();
    assert!(lookups.len() > 190, "the case file has {} lookups for a server", lookups.len());
    for release in site::installed() {
        let etcd = Etcd::start(release).await;
        let gateway = etcd.gateway();
        let mut servers = BTreeMap::new();
        let mut differences = Vec::new();
        for &case in &lookups {
            if !servers.contains_key(&case.config) {
                let server = CoreDns::start(plan(&etcd.url(), &case.config)).await;
                servers.insert(case.config.clone(), server);
            }
            fill(&gateway, &cases, case).await;
            if let Some(difference) = difference(&servers[&case.config], case).await {
                differences.push(format!("{}: {difference}", case.id));
            }
        }
        assert!(
            differences.is_empty(),
            "on the {release:?} etcd, {} of {} cases differ:\n{}",
            differences.len(),
            lookups.len(),
            differences.join("\n")
        );
    }
}

async fn fill(gateway: &Gateway, cases: &Cases, case: &Case) {
    gateway.delete_below(&format!("/{}/", case.config.path)).await;
    let entries: Vec<_> = cases.services(case).iter().map(dns_manager_tests::cases::Service::entry).collect();
    match case.lease_ttl {
        None => gateway.put_all(&entries).await,
        Some(seconds) => {
            let lease = gateway.grant(seconds).await;
            for (key, value) in entries {
                gateway.put_leased(&key, value, &lease).await;
            }
        }
    }
}

async fn difference(server: &CoreDns, case: &Case) -> Option<String> {
    let query = case.query.as_ref().expect("a server lookup has a question");
    let patience = if case.expects_no_reply() { SILENCE } else { Duration::from_secs(15) };
    match dns::try_ask(server.address(), &query.name, &query.rr_type, Transport::Tcp, patience).await {
        Ok(answer) if case.expects_no_reply() => Some(format!("{answer:?} instead of no reply")),
        Ok(answer) => case.difference(&answer),
        Err(error) if case.expects_no_reply() && error.kind() == ErrorKind::TimedOut => None,
        Err(error) => Some(error.to_string()),
    }
}

fn plan(etcd: &str, config: &Config) -> Plan {
    let zones: Vec<&str> = config.zones.iter().map(String::as_str).collect();
    let mut plan = Plan::new(etcd, &zones);
    plan.path = format!("/{}", config.path);
    match &config.upstream {
        Upstream::Records(records) => plan.world.clone_from(records),
        // Without a server for them, names outside are refused.
        Upstream::Words(words) => match words.strip_prefix("next plugin answers ") {
            Some(record) if config.fallthrough => plan.fallthrough = vec![record.to_owned()],
            _ => assert!(words == "none" || words == "REFUSED", "unknown upstream {words:?}"),
        },
    }
    plan
}
