//! What the orchestrator asks of DNS, as a seam: the component behind [`DnsManager`], or a fake in tests.

use std::time::Duration;

use dns_manager_host::contract::{Change, Check, Expectation, Filter, Outcome, Page, Verification};
use dns_manager_host::{Call, DnsManager, Error};
use futures_util::future::BoxFuture;

use crate::config::{self, Config};
use crate::outcome::Reason;

/// DNS as the workflows and the record operations use it; see [`DnsManager`] for what each call means.
pub trait Dns: Send + Sync {
    /// Changes records; outcome i is for change i.
    fn apply(&self, changes: Vec<Change>, call: Call) -> BoxFuture<'_, Result<Vec<Outcome>, Error>>;

    /// Lists everything that fits.
    fn list(&self, filter: Filter, call: Call) -> BoxFuture<'_, Result<Page, Error>>;

    /// Asks the name servers until all answer as expected or `wait` is over.
    fn verify(
        &self,
        expectations: Vec<Expectation>,
        wait: Duration,
        call: Call,
    ) -> BoxFuture<'_, Result<Vec<Verification>, Error>>;

    /// Looks for trouble.
    fn diagnose(&self, call: Call) -> BoxFuture<'_, Result<Vec<Check>, Error>>;
}

impl Dns for DnsManager {
    fn apply(&self, changes: Vec<Change>, call: Call) -> BoxFuture<'_, Result<Vec<Outcome>, Error>> {
        Box::pin(Self::apply(self, changes, call))
    }

    fn list(&self, filter: Filter, call: Call) -> BoxFuture<'_, Result<Page, Error>> {
        Box::pin(self.list_all(filter, call))
    }

    fn verify(
        &self,
        expectations: Vec<Expectation>,
        wait: Duration,
        call: Call,
    ) -> BoxFuture<'_, Result<Vec<Verification>, Error>> {
        Box::pin(Self::verify(self, expectations, wait, call))
    }

    fn diagnose(&self, call: Call) -> BoxFuture<'_, Result<Vec<Check>, Error>> {
        Box::pin(Self::diagnose(self, call))
    }
}

/// A call with this budget and an id of its own.
pub(crate) fn call(budget: Duration) -> Call {
    Call { budget, request_id: uuid::Uuid::now_v7().to_string(), ..Call::default() }
}

/// Long enough for etcd to say that it has no quorum (7 s) and for a look afterwards; short enough to wait for at a prompt.
const USUAL_BUDGET: Duration = Duration::from_secs(15);

/// A call with the usual budget.
pub(crate) fn usual_call() -> Call {
    call(USUAL_BUDGET)
}

/// Why a call broke, for people: `message (code)`.
pub(crate) fn why(error: &Error) -> String {
    let Reason { code, message } = Reason::from(error);
    format!("{message} ({code})")
}

/// Why there is no DNS to ask.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configuration does not say where.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The component cannot be used.
    #[error("the plugin {plugin} cannot be used")]
    Plugin {
        /// Which.
        plugin: String,
        /// Why.
        source: Error,
    },
}

/// Loads the component and lends it what the configuration names.
///
/// # Errors
///
/// No backend is configured, or the component cannot be loaded.
pub async fn connect(config: &Config) -> Result<DnsManager, ConnectError> {
    let backend: Vec<String> = config.backend()?.iter().map(ToString::to_string).collect();
    let dns = &config.dns;
    let mut builder = DnsManager::builder()
        .backend(backend)
        .nameservers(dns.nameservers.clone())
        .setting("ttl", dns.ttl.to_string())
        .setting("owner", dns.owner.clone())
        .setting("path", dns.path.clone())
        .verify_wait(dns.verify_timeout);
    if !dns.zones.is_empty() {
        let zones: Vec<_> = dns.zones.iter().map(crate::name::Name::as_str).collect();
        builder = builder.setting("zones", zones.join(" "));
    }
    for (key, value) in &dns.settings {
        builder = builder.setting(key.clone(), value.clone());
    }
    let builder = match &dns.plugin {
        Some(file) => builder.component_file(file.clone()),
        None => builder.component(dns_manager_guest_artifact::COMPONENT),
    };
    builder.build().await.map_err(|source| ConnectError::Plugin {
        plugin: dns.plugin.as_ref().map_or_else(|| "that is built in".to_owned(), |file| file.display().to_string()),
        source,
    })
}
