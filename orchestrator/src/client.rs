//! HTTP clients. All of them are made here, with TLS that is decided on: what `reqwest` would choose by itself needs a provider that
//! is installed for the whole process, and the system's authorities, even where nothing but http is spoken.

use dns_manager_host::Tls;
use reqwest::{ClientBuilder, blocking};

/// A client that trusts nobody: http alone.
///
/// # Errors
///
/// TLS cannot be set up at all.
pub fn plain() -> Result<ClientBuilder, String> {
    trusting(&Tls::nobody())
}

/// The same for a thread that may wait.
///
/// # Errors
///
/// As [`plain`].
pub(crate) fn plain_blocking() -> Result<blocking::ClientBuilder, String> {
    Ok(blocking::ClientBuilder::new().tls_backend_preconfigured(Tls::nobody().client_config()?))
}

/// A client for https as well.
///
/// # Errors
///
/// No authorities were given, and the system trusts none.
pub(crate) fn trusting(tls: &Tls) -> Result<ClientBuilder, String> {
    Ok(ClientBuilder::new().tls_backend_preconfigured(tls.client_config()?))
}
