//! The components of `tests/fixtures`, as `tests/build.rs` built them.

use std::path::Path;

/// The bytes of one of them.
pub fn component(name: &str) -> Vec<u8> {
    let path = Path::new(env!("DNS_MANAGER_FIXTURES")).join(name).with_extension("wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
