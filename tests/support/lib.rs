//! What the integration tests stand on.
//!
//! [`site`] puts one real etcd and one stock CoreDNS together, [`etcd`] and
//! [`coredns`] start them, [`gateway`] looks into the tree and [`dns`] asks
//! the server, both without a line of the component's code, so that agreement
//! proves something. [`proxy`] stands between the component and etcd and
//! breaks things; [`front`] puts a handler in this process on a [`port`], and [`http`] has clients. [`cases`] reads the measured facts about CoreDNS. [`app`]
//! makes [`change`]s through the library, [`cli`] through the binary, on a [`terminal`] where that matters;
//! [`fixture`] has components that misbehave; [`external_dns`] is another
//! program on the same tree. [`cluster`] is an etcd as in
//! production, with [`certificate`]s. [`generator`] makes nasty zones and changes, [`model`] follows them, [`oracle`] says
//! what has to be answered, and [`shrink`] makes small what fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so by failing"
)]

pub mod app;
pub mod cases;
pub mod certificate;
pub mod change;
pub mod cli;
pub mod cluster;
pub mod coredns;
pub mod dns;
pub mod etcd;
pub mod external_dns;
pub mod fixture;
pub mod front;
pub mod gateway;
pub mod generator;
pub mod http;
pub mod left_out;
pub mod model;
pub mod odd_etcd;
pub mod oracle;
pub mod port;
pub mod process;
pub mod proxy;
pub mod race;
pub mod shrink;
pub mod site;
pub mod terminal;
pub mod tool;
pub mod wait;
