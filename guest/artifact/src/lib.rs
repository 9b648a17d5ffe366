//! The built component of `dns-manager-guest`, as bytes.
//!
//! The build script compiles it, so that one `cargo build` does it all. A
//! ready component can be named in `DNS_MANAGER_COMPONENT` instead.

/// The component: world `dns-plugin` of `provisioning:dns@0.1.0`.
pub const COMPONENT: &[u8] = include_bytes!(env!("DNS_MANAGER_COMPONENT_PATH"));

/// Where the component lies, for tools that want a file.
pub const PATH: &str = env!("DNS_MANAGER_COMPONENT_PATH");
