//! Runs a `dns-plugin` component and lends it what it needs, under policy.
//!
//! DNS-record logic lives in a WebAssembly component of the world `dns-plugin`
//! (`wit/`). This library embeds it in any orchestrator: it loads the component
//! with wasmtime and lends it HTTP to one backend, questions to the configured
//! name servers, settings, a log and a monotonic clock, and nothing else.
//!
//! # The way of a call
//!
//! 1. [`DnsManager`] (`manager.rs`), made by [`Builder`] (`builder.rs`), has an
//!    async method per export, and the five calls of everyday use.
//! 2. `runtime.rs` runs it: a place among the running calls, a fresh store and
//!    instance, a clock around it all. `load.rs` and `linker.rs` made the
//!    instance ready when the component was loaded.
//! 3. The plugin decides what to do, and asks for it through the imports:
//!    `capability/http.rs` after `capability/policy.rs`, on connections of
//!    `capability/dial.rs`, with `capability/tls.rs` and `capability/login.rs`; `capability/resolver.rs`, `settings.rs`, `log.rs`.
//! 4. `limits.rs` and `runtime.rs` end what goes too far; `judge.rs` checks
//!    what comes back; [`Error`] says what went wrong.
//! 5. `watch.rs` tells the observer what the call cost ([`CallReport`]).
//!
//! The host carries record types through ([`contract`]) and decides nothing by
//! them: what DNS is about is in the component.
//!
//! # Embedding
//!
//! ```
//! use std::time::Duration;
//!
//! use dns_manager_host::{Call, DnsManager, contract::Filter};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dns_manager_host::Error> {
//! let dns = DnsManager::builder()
//!     .component(dns_manager_guest_artifact::COMPONENT)
//!     .backend(["http://localhost:2379"]) // etcd, where CoreDNS reads its records
//!     .nameservers(["localhost:53"]) // CoreDNS, to verify
//!     .setting("zones", "example.com")
//!     .setting("owner", "default")
//!     .build()
//!     .await?;
//! println!("{} {}", dns.info().name, dns.info().version);
//!
//! // Every error has a name that programs can rely on.
//! let call = Call { budget: Duration::from_millis(500), ..Call::default() };
//! match dns.list(Filter::default(), None, 100, call).await {
//!     Ok(page) => println!("{} entries", page.entries.len()),
//!     Err(error) => println!("{}: {error}", error.code()), // without etcd: refused, unavailable
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Observing
//!
//! What each call of the plugin cost is told to an observer, and what calls
//! share can be looked at:
//!
//! ```
//! use dns_manager_host::{CallReport, DnsManager};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dns_manager_host::Error> {
//! let dns = DnsManager::builder()
//!     .component(dns_manager_guest_artifact::COMPONENT)
//!     .observer(|call: &CallReport| {
//!         println!("{} {} in {:?}, {} bytes", call.export, call.outcome, call.elapsed, call.memory_peak_bytes);
//!         if call.http_failures > 0 {
//!             println!("{} of {} requests failed", call.http_failures, call.http_requests);
//!         }
//!         for (kind, times) in call.denials.kinds() {
//!             println!("refused {times} times by {kind}");
//!         }
//!     })
//!     .build()
//!     .await?;
//! let usage = dns.usage();
//! println!("{} of {} places are taken", usage.places_in_use, usage.places);
//! # Ok(())
//! # }
//! ```
//!
//! # A server's life
//!
//! It takes three of the five calls:
//!
//! ```no_run
//! # async fn life(dns: dns_manager_host::DnsManager) -> Result<(), dns_manager_host::Error> {
//! dns.register_server_dns("web-01.example.com", [192, 0, 2, 10].into()).await?;
//! let resolves = dns.verify_dns_resolution("web-01.example.com").await?;
//! dns.unregister_server_dns("web-01.example.com").await?;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod bindings;
mod builder;
mod capability;
pub mod contract;
mod error;
mod judge;
mod limits;
mod lines;
mod linker;
mod load;
mod manager;
mod report;
mod runtime;
mod shared;
mod state;
mod tally;
#[cfg(test)]
mod testing;
mod watch;

pub use builder::Builder;
pub use capability::http::Handler;
pub use capability::login::Secret;
pub use capability::tls::{Tls, TlsError};
pub use error::{Error, LoadError, Misfit, MisfitKind};
pub use limits::Limits;
pub use linker::LinkMode;
pub use manager::{Call, DnsManager};
pub use report::{CallReport, Denials, Usage};
