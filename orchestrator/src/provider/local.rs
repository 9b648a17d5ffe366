//! Servers that live in this process: each a TCP listener on a loopback address of its own, which says who it is.
//!
//! For trying things out: they are gone when the process ends, and only this machine reaches them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::{Error, Provider, Status};
use crate::server::Server;

/// Where every one of these servers listens, each at its own address.
pub const PORT: u16 = 7007;
/// How many addresses are tried before one must be free.
const TRIES: u32 = 64;
/// A connection on loopback is made at once or not at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// The provider.
#[derive(Debug, Default)]
pub struct Local {
    running: Mutex<BTreeMap<Uuid, Listener>>,
}

/// A server that runs; it ends when this is dropped.
#[derive(Debug)]
struct Listener {
    addresses: Vec<IpAddr>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Local {
    fn running(&self) -> MutexGuard<'_, BTreeMap<Uuid, Listener>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start(&self, server: &Server) -> Result<(), Error> {
        if self.running().contains_key(&server.id) {
            return Ok(());
        }
        let mut listener = Listener { addresses: Vec::new(), tasks: Vec::new() };
        for socket in bind(server).await? {
            let address =
                socket.local_addr().map_err(|error| Error::passing(format!("its address is not known: {error}")))?;
            let greeting = format!("{} at {}\n", server.hostname, address.ip());
            listener.addresses.push(address.ip());
            listener.tasks.push(tokio::spawn(greet(socket, greeting)).abort_handle());
        }
        self.running().insert(server.id, listener);
        Ok(())
    }

    async fn state(&self, server: &Server) -> Result<Status, Error> {
        let addresses = self.running().get(&server.id).map(|listener| listener.addresses.clone());
        let Some(addresses) = addresses else {
            return Ok(Status::Absent);
        };
        for address in &addresses {
            let connecting = TcpStream::connect((*address, PORT));
            if !matches!(tokio::time::timeout(CONNECT_WITHIN, connecting).await, Ok(Ok(_))) {
                return Ok(Status::Pending(format!("{} does not answer", SocketAddr::new(*address, PORT))));
            }
        }
        Ok(Status::Ready(addresses))
    }
}

/// Listens at the addresses that were asked for, or at one that is free.
async fn bind(server: &Server) -> Result<Vec<TcpListener>, Error> {
    let mut sockets = Vec::new();
    for address in &server.addresses {
        let socket = TcpListener::bind((*address, PORT));
        sockets.push(socket.await.map_err(|error| not_bound(*address, &error))?);
    }
    if !sockets.is_empty() {
        return Ok(sockets);
    }
    let mut last = None;
    for attempt in 0..TRIES {
        let address = candidate(server.id, attempt).into();
        match TcpListener::bind((address, PORT)).await {
            Ok(socket) => return Ok(vec![socket]),
            Err(error) => last = Some(not_bound(address, &error)),
        }
    }
    Err(last.unwrap_or_else(|| Error::lasting("no address was tried")))
}

fn not_bound(address: IpAddr, error: &io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "; give this machine the address first, such as `ifconfig lo0 alias {address}`, and name it with --ip"
            )
        }
        io::ErrorKind::AddrInUse => {
            format!(
                "; another program listens on port {PORT} of this address or of all: `ss -ltnp 'sport = :{PORT}'` shows which"
            )
        }
        _ => String::new(),
    };
    Error::passing(format!("listening on {} failed: {error}{remedy}", SocketAddr::new(address, PORT)))
}

/// An address in 127.64.0.0/10, away from those that people give by hand, its last octet never 0 or 255.
fn candidate(id: Uuid, attempt: u32) -> Ipv4Addr {
    // The last octets of an id are random.
    let [.., a, b, c, d] = *id.as_bytes();
    let [second, third, last, _] =
        u32::from_be_bytes([a, b, c, d]).wrapping_add(attempt.wrapping_mul(0x0001_0100)).to_be_bytes();
    Ipv4Addr::new(127, 64 | (second & 0x3f), third, last.clamp(1, 254))
}

/// Tells everybody who connects which server this is.
async fn greet(socket: TcpListener, greeting: String) {
    loop {
        let Ok((mut connection, _)) = socket.accept().await else {
            // Out of file descriptors, say: others may be closed meanwhile.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let greeting = greeting.clone();
        tokio::spawn(async move {
            // Who hangs up early did not want to know.
            let _ = connection.write_all(greeting.as_bytes()).await;
            let _ = connection.shutdown().await;
        });
    }
}

impl Provider for Local {
    fn check(&self, addresses: &[IpAddr]) -> Result<(), Error> {
        match addresses.iter().find(|address| !address.is_loopback()) {
            Some(address) => Err(Error::lasting(format!(
                "the local provider listens on loopback, and {address} is no loopback address: leave addresses out, or \
                 give one such as 127.1.2.3"
            ))),
            None => Ok(()),
        }
    }

    fn create<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.start(server))
    }

    fn status<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<Status, Error>> {
        Box::pin(self.state(server))
    }

    fn stop<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async {
            self.running().remove(&server.id);
            Ok(())
        })
    }

    fn delete<'a>(&'a self, server: &'a Server) -> BoxFuture<'a, Result<(), Error>> {
        self.stop(server)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn server(name: &str, addresses: &[IpAddr]) -> Server {
        Server::new(crate::name::HostName::complete(name, None, "example.com").unwrap(), addresses.to_vec())
    }

    async fn greeting(address: IpAddr) -> io::Result<String> {
        let mut text = String::new();
        TcpStream::connect((address, PORT)).await?.read_to_string(&mut text).await?;
        Ok(text)
    }

    #[tokio::test]
    async fn each_server_is_reached_at_an_address_of_its_own_until_it_is_stopped() {
        let provider = Local::default();
        let servers = [server("a.example.com", &[]), server("b.example.com", &[])];
        let mut addresses = Vec::new();
        for server in &servers {
            provider.create(server).await.unwrap();
            provider.create(server).await.unwrap();
            let Status::Ready(ready) = provider.status(server).await.unwrap() else { panic!("it is not ready") };
            let [address] = ready[..] else { panic!("{ready:?}") };
            assert_eq!(greeting(address).await.unwrap(), format!("{} at {address}\n", server.hostname));
            addresses.push(address);
        }
        assert_ne!(addresses[0], addresses[1]);

        for server in &servers {
            provider.stop(server).await.unwrap();
            provider.delete(server).await.unwrap();
            assert_eq!(provider.status(server).await.unwrap(), Status::Absent);
        }
        // An aborted task lets go of its socket a moment later.
        while greeting(addresses[0]).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn addresses_that_are_asked_for_are_taken_and_only_loopback_is() {
        let provider = Local::default();
        let address: IpAddr = "127.33.44.55".parse().unwrap();
        let server = server("c.example.com", &[address]);
        provider.check(&server.addresses).unwrap();
        provider.create(&server).await.unwrap();
        assert_eq!(provider.status(&server).await.unwrap(), Status::Ready(vec![address]));

        let refused = provider.check(&["192.0.2.1".parse().unwrap()]).unwrap_err();
        assert!(refused.message.contains("192.0.2.1 is no loopback address"), "{refused}");
    }
}
