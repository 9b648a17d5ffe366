//! A small orchestrator on [`dns_manager_host`]: it creates and deletes servers and keeps their DNS records with them.
//!
//! A request comes in through [`cli`] or [`api`]. Requests about records go to [`registry`], which hands them to the
//! component behind [`dns`] and tells the outcome record by record ([`outcome`], [`verification`]); whole files of records go
//! to [`desired`], which plans before it writes. Requests about servers go to [`lifecycle`], whose steps ask a [`provider`] for
//! the server and the component for its records, and write how far they came to the [`inventory`]. [`embedded`] stands in for
//! etcd and CoreDNS where none are configured. [`config`] is read before all of it; [`serve`] runs the REST API, in which [`token`] says who
//! may do what, and [`remote`]
//! is how a command reaches it: when both work on one inventory, or because it was told to.

#![warn(missing_docs)]

pub mod api;
pub(crate) mod change;
pub mod cli;
pub mod client;
pub mod config;
mod database;
pub mod demo;
pub mod desired;
pub mod dns;
pub mod doctor;
pub mod embedded;
pub mod environment;
mod interruption;
pub mod inventory;
pub mod lifecycle;
mod log;
pub mod metrics;
pub mod name;
pub mod outcome;
pub mod plugin;
mod pointer;
pub mod provider;
mod question;
pub mod reconcile;
pub mod record;
pub mod registry;
pub mod remote;
pub mod repair;
pub mod serve;
pub mod server;
pub mod telemetry;
pub mod timestamp;
pub mod token;
pub mod verification;
pub mod zones;

#[cfg(test)]
mod testing;

/// An error and all its causes in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent errors repeat their source.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
