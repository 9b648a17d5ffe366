//! Fakes for the tests of this crate.

mod dns;
mod inventory;

pub(crate) use dns::FakeDns;
pub(crate) use inventory::FakeInventory;
