//! HTTP clients for servers of this machine, without TLS.

/// One to be changed.
pub fn builder() -> reqwest::ClientBuilder {
    dns_manager_orchestrator::client::plain().expect("a client without TLS can be made").no_proxy()
}

/// One that waits as long as it takes.
pub fn client() -> reqwest::Client {
    builder().build().expect("a client without TLS can be made")
}
