//! A handler in this process, reached over TCP: what the component would ask it, anybody can.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    body::{self, Body},
    extract::Request,
};
use dns_manager_host::Handler;
use tokio::{net::TcpListener, task::JoinHandle};

/// An HTTP server in front of a handler.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Front {
    /// Starts one on a free port.
    pub async fn start(handler: Arc<dyn Handler>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let router = Router::new().fallback(move |request: Request| {
            let handler = Arc::clone(&handler);
            async move {
                let (head, body) = request.into_parts();
                let body = body::to_bytes(body, usize::MAX).await.expect("the body comes");
                handler.handle(Request::from_parts(head, body)).await.map(Body::from)
            }
        });
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it is served until it is aborted");
        });
        Self { address, serving }
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
