//! The orchestrator as a service: the REST API on loopback, on an inventory that it alone holds.

mod holder;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use holder::Holder;

use crate::api::{self, Service};
use crate::config::Config;
use crate::desired::Desired;
use crate::dns::{self, ConnectError, Dns};
use crate::inventory::{Database, OpenError};
use crate::lifecycle::{Keeper, Lifecycle, Policy};
use crate::metrics::{Metered, Metrics};
use crate::name::Name;
use crate::registry::Registry;
use crate::zones;

/// How long running requests and workflows may take to end once the service is told to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long a command that holds the inventory may take to end.
const HELD_FOR: Duration = Duration::from_secs(5);
/// How often what was timed is folded, whether or not somebody scrapes.
const FOLD_EVERY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// A service that is running.
pub struct Running {
    address: SocketAddr,
    lifecycle: Lifecycle,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
    background: JoinHandle<()>,
    data_dir: PathBuf,
}

/// Loads the component, takes the inventory, and listens.
///
/// # Errors
///
/// One of these fails; then nothing is left running.
pub async fn start(config: &Config) -> Result<Running, Error> {
    let metrics = Metrics::default();
    let dns: Arc<dyn Dns> = Arc::new(Metered::new(Arc::new(dns::connect(config).await?), metrics.clone()));
    for warning in zones::check(config, &*dns).await.map_err(ConnectError::from)? {
        tracing::warn!("{warning}");
    }
    let database = open_inventory(&config.data_dir).await?;
    let listener =
        TcpListener::bind(config.listen).await.map_err(|source| Error::Listen { address: config.listen, source })?;
    let address = listener.local_addr().map_err(|source| Error::Listen { address: config.listen, source })?;

    let instance = Uuid::now_v7();
    let provider = config.provider.provider();
    let lifecycle =
        Lifecycle::counted(Arc::clone(&dns), provider, Arc::new(database), Policy::of(config), metrics.clone());
    let service = Service {
        registry: Registry::new(Arc::clone(&dns), config.dns.ttl).with_ptr(config.dns.ptr),
        desired: Desired::new(Arc::clone(&dns), config.dns.ttl, config.dns.zones.iter().map(Name::as_str))
            .with_ptr(config.dns.ptr),
        lifecycle: lifecycle.clone(),
        dns,
        instance,
    };
    let stop = watch::Sender::new(false);
    let serving = axum::serve(listener, api::router(service)).with_graceful_shutdown(told(&stop));
    let server = tokio::spawn(serving.into_future());
    let keeper = Keeper::new(&lifecycle, config.workflow.in_flight);
    let background = tokio::spawn(keeper.run(told(&stop), STOP_WITHIN));

    tokio::spawn(fold(metrics, told(&stop)));

    // Only now: who reads it finds somebody who answers.
    let holder = Holder { url: format!("http://{address}"), instance };
    holder.write(&config.data_dir).map_err(|source| Error::Announce { directory: config.data_dir.clone(), source })?;
    tracing::info!(%address, "listening");
    Ok(Running { address, lifecycle, stop, server, background, data_dir: config.data_dir.clone() })
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no more requests, lets those at work and the workflows end, and lets go of the inventory.
    ///
    /// # Errors
    ///
    /// Serving had failed.
    pub async fn stop(self) -> std::io::Result<()> {
        let Self { lifecycle, stop, mut server, background, data_dir, .. } = self;
        let deadline = Instant::now() + STOP_WITHIN;
        stop.send_replace(true);
        let ended = match tokio::time::timeout(STOP_WITHIN, &mut server).await {
            Ok(ended) => ended.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked))),
            Err(_) => {
                server.abort();
                Ok(())
            }
        };
        while !lifecycle.is_idle() && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
        // It ends by itself within the same time; what it leaves, the next process goes on with.
        if background.await.is_err() {
            tracing::error!("the background work had broken off");
        }
        Holder::remove(&data_dir);
        ended
    }
}

/// Keeps the metrics small until `stop` is over.
async fn fold(metrics: Metrics, stop: impl Future<Output = ()>) {
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep(FOLD_EVERY) => metrics.fold(),
        }
    }
}

/// Ends when the service is told to stop.
fn told(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stop = stop.subscribe();
    async move {
        // A sender that is gone means the same as a message.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

/// Opens the inventory; a command that holds it is waited for.
async fn open_inventory(data_dir: &Path) -> Result<Database, OpenError> {
    let deadline = Instant::now() + HELD_FOR;
    loop {
        match Database::open(data_dir) {
            Err(OpenError::Held(_)) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            opened => return opened,
        }
    }
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no DNS to ask.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The inventory cannot be opened.
    #[error(transparent)]
    Inventory(#[from] OpenError),
    /// The address cannot be listened on.
    #[error("listening on {address}, which is orchestrator.listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Commands could not be told where it listens.
    #[error("writing into {}, which is orchestrator.data_dir", directory.display())]
    Announce {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
