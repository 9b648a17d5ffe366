//! Addresses on loopback at which somebody listens, or surely nobody.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use tokio::net::{TcpListener, TcpSocket};

/// Somebody who takes connections.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port at which connections are refused, and which is nobody else's as long as this is kept.
pub(crate) fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The same for datagrams, too.
pub(crate) fn nobody_at_all() -> (TcpSocket, UdpSocket, SocketAddr) {
    loop {
        let (socket, address) = nobody();
        // Who is connected, be it to itself, takes nothing of anybody else.
        if let Ok(datagrams) = UdpSocket::bind(address)
            && datagrams.connect(address).is_ok()
        {
            return (socket, datagrams, address);
        }
    }
}
