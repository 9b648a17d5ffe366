//! A server's life in five calls, each with the usual options.

use std::net::IpAddr;

use super::{Call, DnsManager};
use crate::{
    Error,
    contract::{
        Action, Change, Entry, Expectation, Filter, Outcome, Rdata, RecordSet, Selector, Verdict, Verification,
    },
};

/// A and AAAA.
const ADDRESSES: [u16; 2] = [1, 28];

impl DnsManager {
    /// Registers an address of a server: it is present afterwards, beside
    /// others that are there.
    ///
    /// ```
    /// use dns_manager_host::{DnsManager, Error};
    ///
    /// async fn server_is_ready(dns: &DnsManager) -> Result<(), Error> {
    ///     match dns.register_server_dns("web-01.example.com", [192, 0, 2, 10].into()).await {
    ///         Ok(outcome) => println!("{}", outcome.status.name()), // created, updated or unchanged
    ///         Err(Error::NotDone(outcome)) => println!("{:?}", outcome.reason), // a conflict, say
    ///         Err(broken) => return Err(broken),
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotDone`] when the outcome is a conflict, refused, failed or
    /// unknown; the machinery's errors.
    pub async fn register_server_dns(&self, hostname: &str, ip: IpAddr) -> Result<Outcome, Error> {
        self.one(Action::Add(self.address(hostname, ip)?)).await
    }

    /// Gives a server a new address: our addresses of that family at this
    /// name become exactly this one.
    ///
    /// ```
    /// # use dns_manager_host::{DnsManager, Error};
    /// async fn server_has_moved(dns: &DnsManager) -> Result<(), Error> {
    ///     dns.update_dns_record("web-01.example.com", [192, 0, 2, 11].into()).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::register_server_dns`].
    pub async fn update_dns_record(&self, hostname: &str, ip: IpAddr) -> Result<Outcome, Error> {
        self.one(Action::Replace(self.address(hostname, ip)?)).await
    }

    /// Removes our addresses, A and AAAA, of a server's name. What is not
    /// there is `unchanged`.
    ///
    /// ```
    /// # use dns_manager_host::{DnsManager, Error};
    /// async fn server_is_gone(dns: &DnsManager) -> Result<(), Error> {
    ///     for outcome in dns.unregister_server_dns("web-01.example.com").await? {
    ///         println!("{}", outcome.status.name()); // deleted or unchanged
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotDone`] with the first outcome that is not as wished.
    pub async fn unregister_server_dns(&self, hostname: &str) -> Result<Vec<Outcome>, Error> {
        let families = ADDRESSES.into_iter().filter(|rr_type| self.0.info.rr_types.contains(rr_type));
        let removals: Vec<_> = families
            .map(|rr_type| {
                change(Action::Remove(Selector {
                    name: hostname.to_owned(),
                    rr_type: Some(rr_type),
                    data: Vec::new(),
                    resource: None,
                }))
            })
            .collect();
        if removals.is_empty() {
            return Err(Error::Unsupported("addresses".to_owned()));
        }
        let outcomes = self.apply(removals, Call::default()).await?;
        match outcomes.iter().find(|outcome| !outcome.status.is_done()) {
            Some(outcome) => Err(Error::NotDone(Box::new(outcome.clone()))),
            None => Ok(outcomes),
        }
    }

    /// Lists everything that is stored, one entry per value.
    ///
    /// ```
    /// # use dns_manager_host::{DnsManager, Error};
    /// async fn inventory(dns: &DnsManager) -> Result<(), Error> {
    ///     for entry in dns.list_records().await? {
    ///         println!("{} {} {:?}", entry.name, entry.ttl, entry.data);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when the backend cannot be read. What is unreadable
    /// in itself is left out, with a warning in the log; [`Self::list_all`]
    /// returns it.
    pub async fn list_records(&self) -> Result<Vec<Entry>, Error> {
        let page = self.list_all(Filter::default(), Call::default()).await?;
        if let Some(problem) = page.problems.first() {
            let (place, why) = (&problem.place, &problem.reason.message);
            tracing::warn!(place, "{} of the backend's values cannot be read: {why}", page.problems.len());
        }
        Ok(page.entries)
    }

    /// Whether every name server answers for this name with what is
    /// registered, within the `verify_wait` of the builder. Where nothing is
    /// registered, this is false.
    ///
    /// ```
    /// # use dns_manager_host::{DnsManager, Error};
    /// async fn may_go_on(dns: &DnsManager) -> Result<bool, Error> {
    ///     dns.verify_dns_resolution("web-01.example.com").await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when no name server is configured: then nobody could
    /// say yes.
    pub async fn verify_dns_resolution(&self, name: &str) -> Result<bool, Error> {
        if self.0.nameservers.is_empty() {
            return Err(Error::Config("no name server is configured".to_owned()));
        }
        let wait = self.0.verify_wait;
        let call = Call { budget: Call::default().budget.saturating_add(wait), ..Call::default() };
        let asked = Expectation { name: name.to_owned(), rr_type: None, data: None };
        let verifications = self.verify(vec![asked], wait, call).await?;
        let verified = |v: &Verification| v.verdict == Verdict::Verified && !v.answers.is_empty();
        Ok(!verifications.is_empty() && verifications.iter().all(verified))
    }

    /// One change, which is to be in force afterwards.
    async fn one(&self, action: Action) -> Result<Outcome, Error> {
        let outcome = self.apply(vec![change(action)], Call::default()).await?.pop();
        match outcome {
            Some(outcome) if outcome.status.is_done() => Ok(outcome),
            Some(outcome) => Err(Error::NotDone(Box::new(outcome))),
            None => Err(Error::Contract("no outcome for a change".to_owned())),
        }
    }

    fn address(&self, hostname: &str, ip: IpAddr) -> Result<RecordSet, Error> {
        let [a, aaaa] = ADDRESSES;
        let rr_type = if ip.is_ipv4() { a } else { aaaa };
        if !self.0.info.rr_types.contains(&rr_type) {
            return Err(Error::Unsupported(format!("records of type {rr_type}")));
        }
        Ok(RecordSet { name: hostname.to_owned(), ttl: None, data: vec![Rdata::from(ip)] })
    }
}

fn change(action: Action) -> Change {
    Change { action, resource: None, expect: None, attributes: Vec::new() }
}
