//! The whole way, on real etcd and stock CoreDNS: `cargo test test_dns_integration`.
//!
//! These tests need the feature `live` and both servers, which `make test`
//! installs. [`facts`] proves the support library; [`layout`], [`records`] and
//! [`random`] write through the component and ask CoreDNS, [`verification`] has
//! the component ask; [`concurrency`] and [`faults`] are about what is lost
//! (nothing); [`servers`] and [`rest`] come in through the binary.

#[cfg(feature = "live")]
mod concurrency;
#[cfg(feature = "live")]
mod facts;
#[cfg(feature = "live")]
mod faults;
#[cfg(feature = "live")]
mod layout;
#[cfg(feature = "live")]
mod random;
#[cfg(feature = "live")]
mod records;
#[cfg(feature = "live")]
mod rest;
#[cfg(feature = "live")]
mod servers;
#[cfg(feature = "live")]
mod verification;

#[cfg(not(feature = "live"))]
#[test]
fn tests_on_real_servers_are_left_out_and_say_so() {
    dns_manager_tests::left_out::left_out(
        "every test on real etcd and CoreDNS",
        "they are in the feature `live`; `make test` installs both servers and runs them",
    );
}
