//! The whole way, on real etcd and stock CoreDNS: `cargo test test_dns_integration`.
//!
//! These tests need the feature `live` and both servers, which `make test`
//! installs. [`facts`] proves the support library; [`layout`], [`records`],
//! [`random`] and [`answers`] write through the component and ask CoreDNS,
//! [`verification`] has the component ask; [`size`] counts what changes cost; [`types`] takes every record type through command line and
//! REST, [`ipv6`] and [`pointers`] are about PTR; [`foreign`], [`ownership`] and [`external_dns`] are
//! about what others wrote, [`concurrency`], [`race`], [`faults`], [`cuts`] and [`killed`] about what is lost (nothing);
//! [`servers`], [`workflows`], [`rest`], [`conditions`], [`desired`] and [`zones`] come in through the binary.

#[cfg(feature = "live")]
mod answers;
#[cfg(feature = "live")]
mod concurrency;
#[cfg(feature = "live")]
mod conditions;
#[cfg(feature = "live")]
mod cuts;
#[cfg(feature = "live")]
mod desired;
#[cfg(feature = "live")]
mod external_dns;
#[cfg(feature = "live")]
mod facts;
#[cfg(feature = "live")]
mod faults;
#[cfg(feature = "live")]
mod foreign;
#[cfg(feature = "live")]
mod ipv6;
#[cfg(feature = "live")]
mod killed;
#[cfg(feature = "live")]
mod layout;
#[cfg(feature = "live")]
mod ownership;
#[cfg(feature = "live")]
mod pointers;
#[cfg(feature = "live")]
mod race;
#[cfg(feature = "live")]
mod random;
#[cfg(feature = "live")]
mod records;
#[cfg(feature = "live")]
mod rest;
#[cfg(feature = "live")]
mod servers;
#[cfg(feature = "live")]
mod size;
#[cfg(feature = "live")]
mod types;
#[cfg(feature = "live")]
mod verification;
#[cfg(feature = "live")]
mod workflows;
#[cfg(feature = "live")]
mod zones;

#[cfg(not(feature = "live"))]
#[test]
fn tests_on_real_servers_are_left_out_and_say_so() {
    dns_manager_tests::left_out::say(
        "left out: every test on real etcd and CoreDNS; they are in the feature `live`, and `make test` installs both \
         servers and runs them\n",
    );
}
