//! DNS-management logic, compiled to the `dns-manager` component.
//!
//! Read in this order: [`manager`] (the operations), [`plan`] (what would change), [`layout`] (how CoreDNS wants it stored),
//! [`transaction`] and [`etcd`] (how it is written), [`ports`] (what is asked of the host). Only `component`, which exists on
//! WebAssembly alone, knows the contract's bindings.
#![warn(missing_docs)]

pub mod budget;
pub mod change;
pub mod check;
#[cfg(target_family = "wasm")]
mod component;
pub mod config;
pub mod decode;
pub mod diagnose;
pub mod discovery;
pub mod etcd;
pub mod layout;
pub mod manager;
pub mod name;
pub mod options;
pub mod plan;
pub mod ports;
pub mod rdata;
pub mod reason;
pub mod record;
mod reply;
pub mod retry;
pub mod skydns;
pub mod transaction;
pub mod verification;
pub mod verify;
pub mod view;
pub mod zone;
