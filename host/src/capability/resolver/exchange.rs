//! One question, one answer, over UDP or TCP.
//!
//! A fresh socket for each question, connected to the server: the system
//! picks an unguessed source port and drops what comes from elsewhere.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout_at},
};

use crate::{
    bindings::provisioning::dns::resolver::{Answer, Failure, Transport},
    capability::resolver::{
        Asked,
        wire::{self, Query},
    },
};

/// Asks, and returns the answer; none if it is more than is left to the call.
pub(super) async fn exchange(server: SocketAddr, asked: &Asked<'_>) -> Result<Option<Answer>, Failure> {
    let begun = Instant::now();
    let Asked { query, transport, deadline, bytes_left } = asked;
    let (message, over) = match transport {
        Transport::Udp => (udp(server, query, *deadline).await?, Transport::Udp),
        Transport::Tcp => (tcp(server, query).await?, Transport::Tcp),
        Transport::UdpThenTcp => {
            let message = udp(server, query, *deadline).await?;
            if wire::is_truncated(&message) {
                (tcp(server, query).await?, Transport::Tcp)
            } else {
                (message, Transport::Udp)
            }
        }
    };
    let elapsed = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
    query.answer(&message, over, elapsed, bytes_left)
}

/// The first message that answers the question. Whatever else arrives may be
/// forged, so it is remembered and the wait goes on.
async fn udp(server: SocketAddr, query: &Query, deadline: Instant) -> Result<Vec<u8>, Failure> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await.map_err(other)?;
    socket.connect(server).await.map_err(unreachable)?;
    socket.send(query.bytes()).await.map_err(unreachable)?;
    // Larger than what was offered, should the server not care.
    let mut buffer = vec![0; 4096];
    let mut failure = Failure::Timeout;
    loop {
        let received = match timeout_at(deadline, socket.recv(&mut buffer)).await {
            Ok(received) => received.map_err(unreachable)?,
            Err(_) => return Err(failure),
        };
        let message = buffer.get(..received).unwrap_or_default();
        match query.check(message) {
            Ok(()) => return Ok(message.to_owned()),
            Err(bad) => failure = bad,
        }
    }
}

async fn tcp(server: SocketAddr, query: &Query) -> Result<Vec<u8>, Failure> {
    let mut stream = TcpStream::connect(server).await.map_err(unreachable)?;
    stream.write_all(&query.framed()?).await.map_err(unreachable)?;
    let length = stream.read_u16().await.map_err(cut_off)?;
    let mut message = vec![0; length.into()];
    stream.read_exact(&mut message).await.map_err(cut_off)?;
    query.check(&message)?;
    Ok(message)
}

fn unreachable(error: io::Error) -> Failure {
    Failure::Unreachable(error.to_string())
}

fn cut_off(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        Failure::Malformed("the connection ended within the message".to_owned())
    } else {
        unreachable(error)
    }
}

fn other(error: io::Error) -> Failure {
    Failure::Other(error.to_string())
}
