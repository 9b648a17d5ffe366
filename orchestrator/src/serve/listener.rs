//! A listener and those who came through it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::task::JoinHandle;

/// How long somebody who is connected may take to send a request's head, and how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Of a request's head, its URI included.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// A listener that is being served.
pub(super) struct Listener {
    handle: Handle<SocketAddr>,
    served: JoinHandle<io::Result<()>>,
}

impl Listener {
    /// Serves these paths there, over TLS if it is given.
    pub(super) fn serve(listener: TcpListener, tls: Option<RustlsConfig>, router: Router) -> io::Result<Self> {
        let handle = Handle::new();
        let mut server = axum_server::from_tcp(listener)?.handle(handle.clone()).http1_only();
        server.http_builder().http1().header_read_timeout(HEAD_WITHIN).max_buf_size(MAX_HEAD_BYTES);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let served = match tls {
            None => tokio::spawn(server.serve(service)),
            Some(tls) => tokio::spawn(server.acceptor(RustlsAcceptor::new(tls)).serve(service)),
        };
        Ok(Self { handle, served })
    }

    /// Takes nobody in any more, and lets those who are in end within this time.
    pub(super) async fn stop(self, within: Duration) -> io::Result<()> {
        let Self { handle, mut served } = self;
        handle.graceful_shutdown(Some(within));
        match tokio::time::timeout(within, &mut served).await {
            Ok(ended) => ended.unwrap_or_else(|panicked| Err(io::Error::other(panicked))),
            Err(_) => {
                handle.shutdown();
                served.abort();
                Ok(())
            }
        }
    }
}
