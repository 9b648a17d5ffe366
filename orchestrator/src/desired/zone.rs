//! Which zone a name is in: for grouping a plan, and for the guard.
//!
//! What may be written is the component's business; this only sorts what it was told.

use std::collections::BTreeSet;
use std::time::Duration;

use dns_manager_host::Error;
use dns_manager_host::contract::{Expectation, Rdata};

use crate::dns::{self, Dns};
use crate::record::{RecordType, value};

/// Name servers in working order answer within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The zones of some names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones(BTreeSet<String>);

impl Zones {
    /// These.
    pub fn new(zones: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(zones.into_iter().map(Into::into).collect())
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The innermost zone that a name is in.
    pub fn of(&self, name: &str) -> Option<&str> {
        let name = value::name_text(name);
        suffixes(&name).find_map(|suffix| self.0.get(suffix)).map(String::as_str)
    }

    /// Asks the name servers which of the names' ancestors are zones; an apex that has nothing below it is asked for itself.
    pub(crate) async fn discover(dns: &dyn Dns, names: &BTreeSet<String>) -> Result<Self, Error> {
        let above: BTreeSet<&str> = names.iter().flat_map(|name| suffixes(name).skip(1)).collect();
        let mut zones = Self(apexes(dns, above).await?);
        let alone: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| zones.of(name).is_none()).collect();
        zones.0.extend(apexes(dns, alone).await?);
        Ok(zones)
    }
}

/// Those of these names at which a SOA stands.
async fn apexes(dns: &dyn Dns, names: BTreeSet<&str>) -> Result<BTreeSet<String>, Error> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    // What is expected does not matter: the answers are looked at.
    let soa = |name: &&str| Expectation {
        name: (*name).to_owned(),
        rr_type: Some(RecordType::SOA.number()),
        data: Some(Vec::new()),
    };
    let answers = dns.verify(names.iter().map(soa).collect(), Duration::ZERO, dns::call(PATIENCE)).await?;
    let is_apex = |data: &Rdata| matches!(data, Rdata::Soa(_));
    let zones = names
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.answers.iter().any(|seen| seen.authoritative && seen.data.iter().any(is_apex)));
    Ok(zones.map(|(name, _)| (*name).to_owned()).collect())
}

/// A name, and the names above it; the root is left out.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    starts.filter_map(|at| name.get(at..)).filter(|suffix| !suffix.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_in_the_innermost_zone() {
        let zones = Zones::new(["example.com", "sub.example.com"]);

        assert_eq!(zones.of("web.Sub.example.com."), Some("sub.example.com"));
        assert_eq!(zones.of("sub.example.com"), Some("sub.example.com"));
        assert_eq!(zones.of("websub.example.com"), Some("example.com"));
        assert_eq!(zones.of("example.org"), None);
    }
}
