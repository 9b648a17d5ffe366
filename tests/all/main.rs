//! Every integration test, in one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by failing"
)]

mod access;
mod bad_input;
#[cfg(feature = "live")]
mod both_ways;
#[cfg(feature = "live")]
mod chaos;
mod contract;
mod demo;
#[cfg(feature = "live")]
mod doctor;
mod embedded;
#[cfg(feature = "live")]
mod inventory;
#[cfg(feature = "live")]
mod production;
#[cfg(target_os = "linux")]
mod progress;
mod providers;
mod sandbox;
mod telemetry;
mod test_dns_integration;
