//! The component, loaded and lent what the configuration names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dns_manager_host::{Builder, DnsManager, Error};

use crate::config::Config;
use crate::embedded::lookup::Lookup;
use crate::embedded::store::OpenError as StoreError;
use crate::embedded::{self, Embedded, OpenError};
use crate::name::Name;
use crate::zones::NotServed;

/// How long a command that holds the embedded store may take to end.
const HELD_FOR: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no DNS to ask.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The embedded default did not start.
    #[error(transparent)]
    Embedded(#[from] OpenError),
    /// The component cannot be used.
    #[error("the plugin {plugin} cannot be used")]
    Plugin {
        /// Which.
        plugin: String,
        /// Why.
        source: Error,
    },
    /// What would be written would never be answered.
    #[error(transparent)]
    Zone(#[from] NotServed),
}

impl ConnectError {
    /// Whether another process has the embedded store.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self, Self::Embedded(OpenError::Store(StoreError::Held(_))))
    }
}

/// Loads the component and lends it what the configuration names.
///
/// # Errors
///
/// The embedded default, if it is the backend, does not start, or the component cannot be loaded.
pub async fn connect(config: &Config) -> Result<DnsManager, ConnectError> {
    connect_with(config, DnsManager::builder).await
}

/// The same, beginning with a builder of the caller's: one with an observer, say.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_with(
    config: &Config,
    builder: impl Fn() -> Builder + Send + Sync,
) -> Result<DnsManager, ConnectError> {
    let deadline = Instant::now() + HELD_FOR;
    loop {
        match connect_once(config, builder()).await {
            Err(error) if error.is_held() && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            connected => return connected,
        }
    }
}

/// The same, and a command that holds the embedded store is not waited for.
pub(crate) async fn connect_now(config: &Config) -> Result<DnsManager, ConnectError> {
    connect_once(config, DnsManager::builder()).await
}

async fn connect_once(config: &Config, mut builder: Builder) -> Result<DnsManager, ConnectError> {
    let dns = &config.dns;
    builder = match config.dns_listen {
        None => builder.backend(config.backend().iter().map(ToString::to_string)),
        Some(listen) => {
            let lookup = Lookup::new(&dns.path, dns.zones.iter().map(Name::as_str));
            let embedded = Embedded::open_with(&config.data_dir, lookup, Some(listen)).await?;
            // Whoever has the manager has it; it answers names until then.
            builder.backend_handler(embedded::AUTHORITY, Arc::new(embedded))
        }
    };
    builder = builder
        .nameservers(dns.nameservers.clone())
        .setting("ttl", dns.ttl.to_string())
        .setting("owner", dns.owner.clone())
        .setting("path", dns.path.clone())
        .verify_wait(dns.verify_timeout);
    if !dns.zones.is_empty() {
        let zones: Vec<_> = dns.zones.iter().map(Name::as_str).collect();
        builder = builder.setting("zones", zones.join(" "));
    }
    for (key, value) in &dns.settings {
        builder = builder.setting(key.clone(), value.clone());
    }
    if let Some(tls) = &dns.tls {
        builder = builder.tls(tls.content.clone());
    }
    if let Some(credentials) = &dns.credentials {
        builder = builder.credentials(credentials.username.clone(), credentials.password.clone());
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
