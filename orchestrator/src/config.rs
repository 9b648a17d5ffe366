//! The configuration: one TOML file, environment variables over it, defaults under it.
//!
//! `key` is the table of all keys; `written` collects what file and environment say; `parse` and `endpoint` turn each
//! value into what it means; `show` explains where it came from. Everything is checked at load, and everything wrong is
//! reported at once.

mod access;
mod background;
mod corefile;
mod endpoint;
mod error;
mod inventory;
mod key;
mod log;
mod parse;
mod provider;
mod service;
mod show;
mod value;
mod written;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use access::{Credentials, Tls};
pub use background::{Reconcile, Workflow};
pub use endpoint::Endpoint;
pub use error::{Error, Problem};
pub use inventory::Inventory;
pub use log::{Format as LogFormat, Log};
pub use service::{Access, Limits, OwnTls};
pub use show::Shown;
pub use value::Source;

use crate::embedded;
use crate::environment::Environment;
use crate::name::Name;
use crate::provider::Settings as Provider;
use crate::record::Ttl;
use access::Door;
use inventory::Records;
use key::Key;
use value::{Value, Written};
use written::Collection;

/// Names the configuration file when `--config` does not.
const FILE_VARIABLE: &str = "DNS_MANAGER_CONFIG";
/// Read from the working directory when nothing names a file.
const DEFAULT_FILE: &str = "config.toml";

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the REST API listens; on loopback, or with access control.
    pub listen: SocketAddr,
    /// Where the inventory is kept.
    pub data_dir: PathBuf,
    /// Where names are answered by the embedded default, which stands in for a backend; none: there is a backend.
    pub dns_listen: Option<SocketAddr>,
    /// Completes short host names.
    pub domain: Option<Name>,
    /// The table `orchestrator.dns`.
    pub dns: Dns,
    /// The table `orchestrator.inventory`.
    pub inventory: Inventory,
    /// The table `orchestrator.provider`: what creates and deletes servers.
    pub provider: Provider,
    /// The table `orchestrator.workflow`.
    pub workflow: Workflow,
    /// The table `orchestrator.reconcile`.
    pub reconcile: Reconcile,
    /// The table `orchestrator.access`.
    pub access: Access,
    /// The table `orchestrator.tls`; none: the API is served without.
    pub tls: Option<OwnTls>,
    /// The table `orchestrator.limits`.
    pub limits: Limits,
    /// The table `orchestrator.log`.
    pub log: Log,
    /// Where the collector is that traces are sent to; none: nowhere.
    pub otlp_endpoint: Option<String>,
    /// What works, but not as it was written.
    pub warnings: Vec<String>,
    shown: Vec<Shown>,
}

/// The table `orchestrator.dns`.
#[derive(Clone, Debug)]
pub struct Dns {
    backend: Vec<Endpoint>,
    /// Whether a new server's addresses are registered.
    pub auto_register: bool,
    /// Whether each A and AAAA gets its PTR, where a reverse zone is served.
    pub ptr: bool,
    /// For records that name none.
    pub ttl: Ttl,
    /// The zones that may be written; empty: the component finds them out.
    pub zones: Vec<Name>,
    /// The name servers that verification asks, each `host:port`.
    pub nameservers: Vec<String>,
    /// The mark on everything that is ours.
    pub owner: String,
    /// `path` of CoreDNS's etcd plugin.
    pub path: String,
    /// How long a new server's name may take to resolve.
    pub verify_timeout: Duration,
    /// The component; none: the built-in one.
    pub plugin: Option<PathBuf>,
    /// Whom to trust at an https backend, and who we are there; none: whom the system trusts, and nobody.
    pub tls: Option<Tls>,
    /// Of a backend that wants them.
    pub credentials: Option<Credentials>,
    /// More settings for the component.
    pub settings: BTreeMap<String, String>,
}

impl Config {
    /// Loads the configuration: from `file`, else the file that `DNS_MANAGER_CONFIG` names, else `config.toml` if there is
    /// one; then from the environment.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or something in it or in the environment is wrong; the error names all of it.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, Error> {
        let mut collection = Collection::default();
        let named = file.map(Path::to_owned).or_else(|| environment.variable(FILE_VARIABLE).map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        match std::fs::read_to_string(environment.directory.join(&path)) {
            Ok(text) => collection.add_file(&path, &text)?,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Unreadable { path, source }),
        }
        collection.add_variables(environment);
        Reader { collection, environment, shown: Vec::new() }.read()
    }

    /// The base URLs through which records are managed; none: the embedded default is used.
    pub fn backend(&self) -> &[Endpoint] {
        &self.dns.backend
    }

    /// The same configuration for each member of the backend by itself.
    pub fn members(&self) -> Vec<Self> {
        let member = |url: &Endpoint| {
            let mut config = self.clone();
            config.dns.backend = vec![url.clone()];
            config
        };
        self.dns.backend.iter().map(member).collect()
    }

    /// Every value in force and where it came from, secrets masked.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// The domain to propose when somebody gives a short name.
    pub fn suggested_domain(&self) -> &str {
        self.dns.zones.first().map_or("example.com", Name::as_str)
    }
}

/// Takes a collection apart, key by key, and keeps what is wrong.
struct Reader<'a> {
    collection: Collection,
    environment: &'a Environment,
    shown: Vec<Shown>,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Config, Error> {
        let listen = self.take(&key::LISTEN, parse::listen);
        let data_dir = self.data_dir();
        let domain = self.take(&key::DOMAIN, parse::name);
        let dns_listen = self.take(&key::EMBEDDED_DNS_LISTEN, parse::dns_listen);
        let dns_listen = dns_listen.filter(|_| !self.collection.known.contains_key(key::COREDNS_URL.path));
        let written_urls = self.take(&key::COREDNS_URL, parse::endpoints).unwrap_or_default();
        let auto_register = self.take(&key::AUTO_REGISTER, parse::switch);
        let ptr = self.take(&key::PTR, parse::switch);
        let ttl = self.take(&key::TTL, parse::ttl);
        let zones = self.zones(dns_listen.is_some());
        let (nameservers, named) = self.nameservers(&written_urls, dns_listen);
        let owner = self.take(&key::OWNER, parse::owner);
        let path = self.take(&key::SKYDNS_PATH, parse::skydns_path);
        let verify_timeout = self.take(&key::VERIFY_TIMEOUT, parse::verify_timeout);
        let plugin = self.take_path(&key::PLUGIN);
        self.alike(&key::COREDNS_URL, &written_urls);
        let absent = format!("{} is not set", key::COREDNS_URL.path);
        let door = Door { keys: &key::RECORDS, urls: &written_urls, named_by: &key::COREDNS_URL, absent: &absent };
        let tls = self.tls(door);
        let credentials = self.credentials(door);
        let provider = self.provider();
        let workflow = self.workflow();
        let reconcile = self.reconcile();
        let access = self.access(data_dir.as_deref());
        let own_tls = self.own_tls();
        let limits = self.limits();
        self.protected(listen, access.as_ref(), own_tls.is_some());
        let log = self.log();
        let otlp_endpoint = self.take(&key::OTLP_ENDPOINT, log::otlp_endpoint);
        let settings = self.settings();
        let (backend, mut warnings) = managed_at(&written_urls, named);
        warnings.extend(access::in_clear(key::RECORDS.username, credentials.as_ref(), &backend));
        let records =
            Records { urls: &backend, tls: tls.as_ref(), credentials: credentials.as_ref(), path: path.as_deref() };
        let inventory = self.inventory(records, &mut warnings);

        // A key with a default is missing here only when it was wrong, and then there is a problem.
        let problems = self.collection.problems;
        let served = access.zip(limits);
        match (
            listen,
            data_dir,
            auto_register,
            ptr,
            ttl,
            owner,
            path,
            verify_timeout,
            provider,
            inventory,
            workflow,
            reconcile,
            served,
            log,
        ) {
            (
                Some(listen),
                Some(data_dir),
                Some(auto_register),
                Some(ptr),
                Some(ttl),
                Some(owner),
                Some(path),
                Some(verify_timeout),
                Some(provider),
                Some(inventory),
                Some(workflow),
                Some(reconcile),
                Some((access, limits)),
                Some(log),
            ) if problems.is_empty() => Ok(Config {
                listen,
                data_dir,
                dns_listen,
                domain,
                dns: Dns {
                    backend,
                    auto_register,
                    ptr,
                    ttl,
                    zones,
                    nameservers,
                    owner,
                    path,
                    verify_timeout,
                    plugin,
                    tls,
                    credentials,
                    settings,
                },
                provider,
                inventory,
                workflow,
                reconcile,
                access,
                tls: own_tls,
                limits,
                log,
                otlp_endpoint,
                warnings,
                shown: self.shown,
            }),
            _ => Err(Error::Invalid(problems)),
        }
    }

    /// Reads one key; what is wrong is kept.
    fn take<T>(&mut self, key: &'static Key, parse: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let Some(written) = self.collection.effective(key) else {
            self.shown.push(Shown::absent(key.path));
            return None;
        };
        self.shown.push(Shown::written(key.path, &written));
        self.parse(key.path, &written, parse)
    }

    fn parse<T>(&mut self, path: &str, written: &Written, parse: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        parse(&written.value)
            .map_err(|why| {
                let message = format!("{path}: {why}");
                self.collection.problems.push(Problem { source: written.source.clone(), message });
            })
            .ok()
    }

    /// Reads a path: one in a file is relative to that file, so that it means the same wherever the command is started.
    fn take_path(&mut self, key: &'static Key) -> Option<PathBuf> {
        let path = self.take(key, parse::path)?;
        let base = match self.collection.effective(key)?.source {
            Source::File { path: file, .. } => file.parent().map(Path::to_owned).unwrap_or_default(),
            Source::Variable(_) | Source::Default => PathBuf::new(),
        };
        Some(self.environment.directory.join(base).join(path))
    }

    fn data_dir(&mut self) -> Option<PathBuf> {
        if self.collection.known.contains_key(key::DATA_DIR.path) {
            return self.take_path(&key::DATA_DIR);
        }
        let Some(state) = state_dir(self.environment) else {
            let message = format!(
                "{}: it is not set, and neither XDG_STATE_HOME nor HOME says where your state directory is: set it",
                key::DATA_DIR.path
            );
            self.collection.problems.push(Problem { source: Source::Default, message });
            return None;
        };
        let data_dir = state.join("dns-manager");
        self.shown.push(Shown::derived(key::DATA_DIR.path, data_dir.display().to_string().into()));
        Some(data_dir)
    }

    /// The zones; the embedded default has one of its own.
    fn zones(&mut self, is_embedded: bool) -> Vec<Name> {
        if is_embedded && !self.collection.known.contains_key(key::ZONES.path) {
            self.shown.push(Shown::derived(key::ZONES.path, vec![embedded::ZONE].into()));
            return embedded::ZONE.parse().into_iter().collect();
        }
        self.take(&key::ZONES, parse::names).unwrap_or_default()
    }

    /// The name servers, and whether somebody named them.
    fn nameservers(&mut self, urls: &[Endpoint], dns_listen: Option<SocketAddr>) -> (Vec<String>, bool) {
        if self.collection.known.contains_key(key::NAMESERVERS.path) {
            return (self.take(&key::NAMESERVERS, parse::nameservers).unwrap_or_default(), true);
        }
        let mut nameservers: Vec<String> = dns_listen.iter().map(ToString::to_string).collect();
        for nameserver in urls.iter().map(Endpoint::nameserver) {
            if !nameservers.contains(&nameserver) {
                nameservers.push(nameserver);
            }
        }
        self.shown.push(Shown::derived(key::NAMESERVERS.path, nameservers.clone().into()));
        (nameservers, false)
    }

    fn settings(&mut self) -> BTreeMap<String, String> {
        let written = std::mem::take(&mut self.collection.settings);
        let mut settings = BTreeMap::new();
        for (name, written) in written {
            let path = format!("{}.{name}", key::SETTINGS);
            self.shown.push(Shown::setting(&path, &name, &written));
            let value = self.parse(&path, &written, |value| match own_key(&name) {
                Some(own) => Err(format!("the plugin is handed this one already: set {} instead", own.path)),
                None => parse::setting(value),
            });
            settings.extend(value.map(|value| (name, value)));
        }
        settings
    }
}

/// The key whose value the plugin sees under this name.
fn own_key(setting: &str) -> Option<&'static Key> {
    match setting {
        "url" => Some(&key::COREDNS_URL),
        "zones" => Some(&key::ZONES),
        "ttl" => Some(&key::TTL),
        "owner" => Some(&key::OWNER),
        "path" => Some(&key::SKYDNS_PATH),
        _ => None,
    }
}

/// Applies the port-53 rule to each URL, with a warning where it does.
fn managed_at(urls: &[Endpoint], nameservers_named: bool) -> (Vec<Endpoint>, Vec<String>) {
    let mut backend = Vec::new();
    let mut warnings = Vec::new();
    for url in urls {
        let managed = url.beside_dns_port();
        if let Some(managed) = &managed {
            let role = if nameservers_named { "" } else { ", so it is used as the name server" };
            warnings.push(format!(
                "{}: \"{url}\" is where CoreDNS answers DNS{role}; records are managed at \"{managed}\": write that URL to \
                 end this warning",
                key::COREDNS_URL.path
            ));
        }
        let managed = managed.unwrap_or_else(|| url.clone());
        if !backend.contains(&managed) {
            backend.push(managed);
        }
    }
    (backend, warnings)
}

/// The user's state directory (XDG Base Directory Specification).
fn state_dir(environment: &Environment) -> Option<PathBuf> {
    environment
        .variable("XDG_STATE_HOME")
        .map(PathBuf::from)
        // The specification says that a relative one is to be ignored.
        .filter(|path| path.is_absolute())
        .or_else(|| environment.variable("HOME").map(|home| Path::new(home).join(".local/state")))
}

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;
