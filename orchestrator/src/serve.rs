//! The orchestrator as a service: the REST API, on loopback or with access control, on an inventory that it alone holds.

mod holder;
mod listener;
mod tls;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns_manager_host::DnsManager;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use holder::Holder;

use crate::api::{self, Door, Guard, LastLook, Service};
use crate::config::Config;
use crate::desired::Desired;
use crate::dns::{Batching, Dns};
use crate::inventory::{self, Inventory, OpenError};
use crate::lifecycle::{Keeper, Lifecycle, Policy};
use crate::metrics::{Metered, Metrics};
use crate::name::Name;
use crate::plugin::{self, ConnectError};
use crate::provider::limited::Limited;
use crate::reconcile::{self, Reconciler};
use crate::registry::Registry;
use crate::token::{self, Store};
use crate::zones;
use listener::Listener;

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
    url: String,
    listeners: Vec<Listener>,
    background: Background,
    data_dir: PathBuf,
    /// How long what is at work may take to end.
    stop_timeout: Duration,
}

/// What goes on without anybody asking.
struct Background {
    renewal: Option<JoinHandle<()>>,
    keeper: JoinHandle<()>,
    reconciler: JoinHandle<()>,
}

/// Loads the component, takes the inventory, and listens.
///
/// # Errors
///
/// One of these fails; then nothing is left running.
pub async fn start(config: &Config) -> Result<Running, Error> {
    let tls = config.tls.as_ref().map(tls::load).transpose()?;
    if let Some(warning) = tls.as_ref().and_then(|loaded| loaded.warning.as_ref()) {
        tracing::warn!("{warning}");
    }
    has_token(config)?;
    let metrics = Metrics::default();
    let observed = || {
        let metrics = metrics.clone();
        DnsManager::builder().observer(move |call| metrics.call(call))
    };
    let manager = Arc::new(plugin::connect_with(config, observed).await?);
    let dns: Arc<dyn Dns> = Arc::new(Metered::new(manager, metrics.clone()));
    let dns: Arc<dyn Dns> = Arc::new(Batching::new(dns));
    for warning in zones::check(config, &*dns).await.map_err(ConnectError::from)? {
        tracing::warn!("{warning}");
    }
    let inventory = open_inventory(config).await?;
    let (listener, address) = bind(config.listen)?;
    // Over TLS, or from elsewhere, commands on this machine would need more than they find: they have a listener of their own.
    let own =
        if tls.is_some() || !address.ip().is_loopback() { Some(bind((Ipv4Addr::LOCALHOST, 0).into())?) } else { None };

    let instance = Uuid::now_v7();
    let provider = Arc::new(Limited::new(config.provider.provider(), config.workflow.in_flight));
    let lifecycle = Lifecycle::counted(Arc::clone(&dns), provider, inventory, Policy::of(config), metrics.clone());
    let reconciler = Reconciler::new(Arc::clone(&dns), lifecycle.clone(), reconcile::Policy::of(config));
    let stop = watch::Sender::new(false);
    let service = Service {
        registry: Registry::new(Arc::clone(&dns), config.dns.ttl).with_ptr(config.dns.ptr),
        desired: Desired::new(Arc::clone(&dns), config.dns.ttl, config.dns.zones.iter().map(Name::as_str))
            .with_ptr(config.dns.ptr),
        reconciler: reconciler.clone(),
        lifecycle: lifecycle.clone(),
        dns,
        zones: config.dns.zones.iter().map(ToString::to_string).collect(),
        instance,
        stopping: stop.subscribe(),
        openapi: Arc::default(),
        last_look: LastLook::default(),
    };
    let secret = token::secret();
    let guard = Guard::new(config, &secret, metrics.clone()).map_err(|(path, source)| Error::Audit { path, source })?;
    let router = api::router(service);
    let (tls, read) = tls.map(|loaded| (loaded.config(), loaded.read)).unzip();
    let url = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
    let found_at = own.as_ref().map_or_else(|| url.clone(), |(_, own)| format!("http://{own}"));
    let failed = |source| Error::Listen { address, source };
    let mut listeners = Vec::new();
    if let Some((own, _)) = own {
        let router = guard.before(router.clone(), Door::Local);
        listeners.push(Listener::serve(own, None, router).map_err(failed)?);
    }
    listeners.push(Listener::serve(listener, tls.clone(), guard.before(router, Door::Public)).map_err(failed)?);
    // Only now: who reads it finds somebody who answers. Nor before that: what fails leaves nothing at work.
    let holder = Holder { url: found_at, instance, secret: Some(secret) };
    let listeners = announce(&holder, &config.data_dir, listeners, &lifecycle).await?;
    let keeper = Keeper::new(&lifecycle, config.workflow.in_flight);
    let shown = config.tls.clone().zip(read).zip(tls);
    let renewal = shown.map(|((files, read), shown)| tokio::spawn(tls::renew(files, read, shown)));
    let background = Background {
        renewal,
        keeper: tokio::spawn(keeper.run(told(&stop))),
        reconciler: tokio::spawn(reconcile::keep(reconciler, config.reconcile.every, told(&stop))),
    };

    tokio::spawn(fold(metrics, told(&stop)));
    tracing::info!(%address, "listening");
    let (data_dir, stop_timeout) = (config.data_dir.clone(), config.limits.stop_timeout);
    Ok(Running { address, lifecycle, stop, url, listeners, background, data_dir, stop_timeout })
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Takes no more requests, lets those at work and the workflows end, breaks off what does not in time, and lets go of the
    /// inventory.
    ///
    /// # Errors
    ///
    /// Serving had failed.
    pub async fn stop(self) -> std::io::Result<()> {
        let Self { lifecycle, stop, listeners, mut background, data_dir, stop_timeout, .. } = self;
        let deadline = tokio::time::Instant::now() + stop_timeout;
        stop.send_replace(true);
        let stopped = listeners.into_iter().map(|listener| listener.stop(stop_timeout));
        let ended = futures_util::future::join_all(stopped).await.into_iter().collect();
        let workflows = async {
            let kept = (&mut background.keeper).await;
            // Those that requests began.
            while !lifecycle.is_idle() {
                tokio::time::sleep(PAUSE).await;
            }
            kept
        };
        match tokio::time::timeout_at(deadline, workflows).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the background work had broken off"),
            Err(_) => {
                tracing::warn!("stopped while workflows were at work; they go on when the service is started again");
                background.keeper.abort();
            }
        }
        // A pass that is broken off is made anew; workflows that are go on in the next process.
        background.reconciler.abort();
        if let Some(renewal) = background.renewal {
            renewal.abort();
        }
        lifecycle.leave().await;
        Holder::remove(&data_dir);
        ended
    }
}

/// Says where the service listens; where that fails, nobody is let in any more.
async fn announce(
    holder: &Holder,
    data_dir: &Path,
    listeners: Vec<Listener>,
    lifecycle: &Lifecycle,
) -> Result<Vec<Listener>, Error> {
    let Err(source) = holder.write(data_dir) else { return Ok(listeners) };
    for listener in listeners {
        drop(listener.stop(Duration::ZERO).await);
    }
    lifecycle.leave().await;
    Err(Error::Announce { directory: data_dir.to_owned(), source })
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

/// Other addresses than loopback are for those with a token: somebody has to have one.
fn has_token(config: &Config) -> Result<(), Error> {
    let store = Store::new(&config.access.tokens);
    if !config.access.required {
        return Ok(());
    }
    let is_usable = store.read()?.iter().any(|token| !token.is_expired());
    match is_usable {
        true => Ok(()),
        false if !config.listen.ip().is_loopback() => Err(Error::NoToken(store.path().to_owned())),
        false => {
            tracing::warn!(
                "there is no token yet, and only commands on this machine are let in: `dns-manager token create`"
            );
            Ok(())
        }
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let bound = TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    bound.map(|(address, listener)| (listener, address)).map_err(|source| Error::Listen { address, source })
}

/// Opens the inventory; a command that holds it is waited for.
async fn open_inventory(config: &Config) -> Result<Arc<dyn Inventory>, OpenError> {
    let deadline = Instant::now() + HELD_FOR;
    loop {
        match inventory::open(config).await {
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
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] token::Error),
    /// Nobody could enter.
    #[error(
        "orchestrator.listen is not a loopback address, and there is no token in {} that could let anybody in: create one \
         (`dns-manager token create NAME`)",
        .0.display()
    )]
    NoToken(PathBuf),
    /// The audit log cannot be written.
    #[error("opening {}, which is orchestrator.access.audit", path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
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
