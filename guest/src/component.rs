//! The border to WebAssembly: the exports of the world `dns-plugin` over the manager, and the ports over its imports.
//!
//! No decision is made here. Only this module and those below it know WIT.

mod bindings;
mod clock;
mod convert;
mod http;
mod log;
mod resolver;
mod settings;

use std::time::Duration;

use self::bindings::{
    exports::provisioning::dns::dns_manager::{
        Change, Check, Expectation, Filter, Guest, Info, Outcome, Page, Verification,
    },
    provisioning::dns::dns_types::{Options, Reason},
};
use crate::{
    config::Config,
    manager::{MAX_ITEMS, Manager},
    ports::{Clock, HttpClient, Log, Ports, Resolver, Settings},
    rdata::RrType,
    reason::{self, Code},
};

/// What is exported.
struct Component;

impl Guest for Component {
    fn describe() -> Info {
        Info {
            name: "coredns-etcd".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rr_types: RrType::KEPT.map(RrType::number).to_vec(),
            max_items: MAX_ITEMS,
            features: ["dry-run", "expect", "resource", "adopt", "release", "repair"].map(str::to_owned).to_vec(),
            attributes: Vec::new(),
        }
    }

    fn apply(changes: Vec<Change>, options: Options) -> Result<Vec<Outcome>, Reason> {
        let apply = || {
            check_count(changes.len())?;
            let options = convert::options(options)?;
            let Config { ttl, owner, .. } = Config::read(World.settings())?;
            let changes = changes.into_iter().map(|change| convert::change(change, ttl)).collect();
            let outcomes = Manager::new(&World).apply(changes, &options)?;
            Ok(outcomes.into_iter().map(|outcome| convert::outcome(outcome, &owner)).collect())
        };
        apply().map_err(convert::reason)
    }

    fn list(filter: Filter, cursor: Option<String>, limit: u32, options: Options) -> Result<Page, Reason> {
        let list = || {
            let options = convert::options(options)?;
            let filter = convert::filter(filter)?;
            let Config { owner, .. } = Config::read(World.settings())?;
            let limit = limit.clamp(1, MAX_ITEMS);
            let page = Manager::new(&World).list(&filter, cursor.as_deref(), limit, &options)?;
            Ok(convert::page(page, &owner))
        };
        list().map_err(convert::reason)
    }

    fn verify(expectations: Vec<Expectation>, wait_ms: u32, options: Options) -> Result<Vec<Verification>, Reason> {
        let verify = || {
            check_count(expectations.len())?;
            let options = convert::options(options)?;
            let wait = Duration::from_millis(wait_ms.into());
            let expectations = expectations.into_iter().map(convert::expectation).collect();
            let verifications = Manager::new(&World).verify(expectations, wait, &options)?;
            Ok(verifications.into_iter().map(convert::verification).collect())
        };
        verify().map_err(convert::reason)
    }

    fn repair(zone: String, cursor: Option<String>, options: Options) -> Result<Page, Reason> {
        let repair = || {
            let options = convert::options(options)?;
            let zone = convert::name(&zone)?;
            let Config { owner, .. } = Config::read(World.settings())?;
            let page = Manager::new(&World).repair(&zone, cursor.as_deref(), &options)?;
            Ok(convert::page(page, &owner))
        };
        repair().map_err(convert::reason)
    }

    fn diagnose(options: Options) -> Vec<Check> {
        // Attributes that must be understood are for what can be refused; this cannot.
        let options = Options { attributes: Vec::new(), ..options };
        let checks = convert::options(options).map(|options| Manager::new(&World).diagnose(&options));
        checks.unwrap_or_default().into_iter().map(convert::check).collect()
    }
}

/// Checks the length of a list.
fn check_count(count: usize) -> Result<(), reason::Reason> {
    match u32::try_from(count) {
        Ok(..=MAX_ITEMS) => Ok(()),
        _ => {
            let message = format!("{count} items in one call; {MAX_ITEMS} is the most, so cut the list");
            Err(reason::Reason::new(Code::TooMany, message))
        }
    }
}

/// The imports of the world.
struct World;

impl Ports for World {
    fn http(&self) -> &dyn HttpClient {
        &http::HostHttp
    }

    fn resolver(&self) -> &dyn Resolver {
        &resolver::HostResolver
    }

    fn clock(&self) -> &dyn Clock {
        &clock::HostClock
    }

    fn settings(&self) -> &dyn Settings {
        &settings::HostSettings
    }

    fn log(&self) -> &dyn Log {
        &log::HostLog
    }
}
