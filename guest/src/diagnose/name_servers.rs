//! The name servers: do they answer, serve the zones from etcd, and have the zones name server records?

use std::time::Duration;

use super::Diagnosis;
use crate::{
    discovery::{PART, etcd_zone},
    name::Name,
    ports::{Answer, DnsFault, Question},
    rdata::{RData, RrType},
    reply::{NXDOMAIN, rcode_name, trouble_of},
    verification::Level,
    zone::Zone,
};

/// For questions: CoreDNS answers SERVFAIL when etcd has kept it waiting for 5 seconds.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(6);

type Reply = Result<Answer, DnsFault>;

impl Diagnosis<'_> {
    pub(super) fn check_name_servers(&mut self, zones: Option<&[Zone]>, stored: Option<&Name>) -> Option<()> {
        let servers = self.ports.resolver().servers();
        if servers.is_empty() {
            let (level, saw) = match zones {
                Some(_) => (Level::Warn, "no name server is configured: nothing can be verified"),
                None => {
                    (Level::Fail, "no name server is configured: zones cannot be found out and nothing can be verified")
                }
            };
            self.add(
                "nameservers",
                level,
                saw,
                "set nameservers = [\"127.0.0.1:53\"] (where CoreDNS answers) in [orchestrator.dns]",
            );
            return Some(());
        }
        self.add("nameservers", Level::Ok, format!("configured: {}", servers.join(" ")), "");

        // What to ask the SOA of: each zone, or something stored, whose zone the answer tells, or anything at all.
        let asked: Vec<Name> = match (zones, stored) {
            (Some(zones), _) => zones.iter().map(|zone| zone.apex().clone()).collect(),
            (None, Some(name)) => vec![name.clone()],
            (None, None) => vec![Name::root()],
        };
        let pairs: Vec<(&String, &Name)> =
            servers.iter().flat_map(|server| asked.iter().map(move |name| (server, name))).collect();
        let replies = self.ask(&pairs, RrType::Soa)?;

        let mut alive = Vec::new();
        for server in &servers {
            let mine: Vec<_> =
                pairs.iter().zip(&replies).filter(|((asked, _), _)| *asked == server).map(|(_, reply)| reply).collect();
            if self.check_reachable(server, asked.first(), &mine) {
                alive.push(server);
            }
        }
        if zones.is_none() && stored.is_none() {
            let saw = "no zones are configured and nothing is stored, so there is no zone to look at";
            self.add("zone-served", Level::Warn, saw, "set zones = [\"example.com\"] in [orchestrator.dns]");
            return Some(());
        }
        let mut served: Vec<(&String, Zone)> = Vec::new();
        for ((server, name), reply) in pairs.iter().zip(&replies).filter(|((server, _), _)| alive.contains(server)) {
            if let Some(zone) = self.check_served(server, name, zones.is_some(), reply)
                && !served.iter().any(|(_, known)| *known == zone)
            {
                served.push((server, zone));
            }
        }
        self.check_ns(&served)
    }

    /// Tells whether a name server answers at all.
    fn check_reachable(&mut self, server: &str, asked: Option<&Name>, replies: &[&Reply]) -> bool {
        if replies.iter().any(|reply| reply.is_ok()) {
            self.add("nameserver-reachable", Level::Ok, format!("{server} answers"), "");
            return true;
        }
        let saw = match replies.first().and_then(|reply| trouble_of(server, reply)) {
            Some(trouble) => trouble.message,
            None => format!("{server} was not asked"),
        };
        let dig = asked.map(|name| dig(server, name, RrType::Soa)).unwrap_or_default();
        let remedy = format!("start CoreDNS there, or correct nameservers in [orchestrator.dns]; try `{dig}`");
        self.add("nameserver-reachable", Level::Fail, saw, remedy);
        false
    }

    /// Checks that a server serves a zone from etcd, and gives the zone that it serves.
    fn check_served(&mut self, server: &str, name: &Name, configured: bool, reply: &Reply) -> Option<Zone> {
        let trouble = trouble_of(server, reply);
        let answer = match (reply, trouble) {
            (Ok(answer), None) => answer,
            (Ok(answer), Some(trouble)) if trouble.refused => {
                let saw = format!("{server} does not serve `{name}` ({})", rcode_name(answer.rcode));
                let level = if configured { Level::Fail } else { Level::Warn };
                self.add("zone-served", level, saw, corefile(name));
                return None;
            }
            (_, trouble) => {
                let saw = trouble.map_or_else(|| format!("{server} did not tell"), |trouble| trouble.message);
                self.add("zone-served", Level::Warn, saw, format!("try `{}`", dig(server, name, RrType::Soa)));
                return None;
            }
        };
        match etcd_zone(answer, name) {
            Some(zone) if configured && zone.apex() != name => {
                let saw = format!("{server} serves `{name}` as a part of the zone `{zone}`, not as a zone of its own");
                let remedy = format!(
                    "set zones = [\"{zone}\"] in [orchestrator.dns], or add `{name}` to the `etcd` line of the Corefile"
                );
                self.add("zone-served", Level::Fail, saw, remedy);
                None
            }
            Some(zone) => {
                self.add("zone-served", Level::Ok, format!("{server} serves `{zone}` from etcd"), "");
                self.about(&zone);
                Some(zone)
            }
            None => {
                let (saw, remedy) = Self::explain_other_source(server, name, answer);
                let level = if configured { Level::Fail } else { Level::Warn };
                self.add("zone-served", level, saw, remedy);
                None
            }
        }
    }

    /// Says where an answer came from that is not of the etcd plugin.
    fn explain_other_source(server: &str, name: &Name, answer: &Answer) -> (String, String) {
        let soa = answer.answers.iter().find_map(|rr| match &rr.data {
            RData::Soa(soa) => Some((&rr.name, soa)),
            _ => None,
        });
        match soa {
            Some((owner, _)) if !answer.authoritative => (
                format!("{server} is not authoritative for `{owner}`: it forwards or caches"),
                "set nameservers in [orchestrator.dns] to CoreDNS itself".to_owned(),
            ),
            Some((owner, soa)) => (
                format!(
                    "{server} serves `{owner}`, but not from etcd: its SOA names `{}`, not `ns.dns.{owner}`",
                    soa.mname
                ),
                format!("in the Corefile, serve `{owner}` with `etcd` instead of the plugin that answers now"),
            ),
            None => (format!("{server} has no SOA for `{name}` ({})", rcode_name(answer.rcode)), corefile(name)),
        }
    }

    /// Checks that each zone has name server records: CoreDNS works without, delegations and some resolvers do not.
    fn check_ns(&mut self, served: &[(&String, Zone)]) -> Option<()> {
        let pairs: Vec<_> = served.iter().map(|(server, zone)| (*server, zone.apex())).collect();
        let replies = self.ask(&pairs, RrType::Ns)?;
        for ((server, zone), reply) in served.iter().zip(&replies) {
            let servers: Vec<_> = match reply {
                Ok(answer) => answer
                    .answers
                    .iter()
                    .filter(|rr| rr.data.rr_type() == RrType::Ns)
                    .map(|rr| rr.data.to_string())
                    .collect(),
                Err(_) => Vec::new(),
            };
            let branch = zone.ns_branch();
            match (trouble_of(server, reply), reply) {
                (Some(trouble), Ok(_)) => {
                    let remedy = format!(
                        "only addresses may stand below `{branch}`; see `dns-manager record list --name {branch}`"
                    );
                    self.add("name-server-records", Level::Warn, trouble.message, remedy);
                }
                (Some(trouble), Err(_)) => {
                    self.add(
                        "name-server-records",
                        Level::Warn,
                        trouble.message,
                        format!("try `{}`", dig(server, zone.apex(), RrType::Ns)),
                    );
                }
                (None, Ok(answer)) if servers.is_empty() => {
                    let what = if answer.rcode == NXDOMAIN { "NXDOMAIN" } else { "no data" };
                    let saw = format!("the zone `{zone}` has no name server records ({what} for NS)");
                    let remedy = format!("dns-manager record register ns1.{branch} A <address of CoreDNS>");
                    self.add("name-server-records", Level::Warn, saw, remedy);
                }
                (None, _) => {
                    self.add("name-server-records", Level::Ok, format!("`{zone}` has {}", servers.join(" ")), "");
                }
            }
        }
        Some(())
    }

    /// Asks each server for its name; reply i is for pair i.
    fn ask(&self, pairs: &[(&String, &Name)], rr_type: RrType) -> Option<Vec<Reply>> {
        let mut replies = Vec::with_capacity(pairs.len());
        for part in pairs.chunks(PART) {
            let timeout = self.time(QUESTION_TIMEOUT)?;
            let questions: Vec<_> = part
                .iter()
                .map(|(server, name)| Question { server: (*server).clone(), name: (*name).clone(), rr_type, timeout })
                .collect();
            replies.extend(self.ports.resolver().ask(&questions));
        }
        Some(replies)
    }
}

/// What makes CoreDNS serve a zone from this backend. The block itself has more in it than is known here.
fn corefile(zone: &Name) -> String {
    format!(
        "put the block that `dns-manager config show --corefile` prints, with `{zone}` in its first line, into the Corefile and \
         restart CoreDNS; or correct zones in [orchestrator.dns]"
    )
}

/// The command that asks the same.
fn dig(server: &str, name: &Name, rr_type: RrType) -> String {
    match server.rsplit_once(':') {
        Some((host, port)) => format!("dig @{} -p {port} {name} {rr_type} +norecurse", host.trim_matches(['[', ']'])),
        None => format!("dig @{server} {name} {rr_type} +norecurse"),
    }
}
