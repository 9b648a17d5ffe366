//! Ports for servers that are started by and by.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// An address of loopback with a port that is free for TCP and UDP, and that
/// nobody else of this process is given.
pub fn free_address() -> SocketAddr {
    let ports = served();
    for _ in ports.clone() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, next(&ports)));
        if is_free(address) {
            return address;
        }
    }
    panic!("none of the ports {ports:?} is free");
}

/// The ports that the kernel gives to nobody who asks for just any: a server that is stopped and started again finds its
/// own port as it left it, whoever connected to whatever in the meantime.
fn served() -> Range<u16> {
    const LEAST: u16 = 10_000;
    let given = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let first = given.and_then(|range| range.split_whitespace().next()?.parse().ok()).unwrap_or(32_768);
    if first < LEAST + 5_000 { LEAST..32_768 } else { LEAST..first }
}

/// One after the other, from a place of this process's own, so that two test runs seldom look at the same port at once.
fn next(ports: &Range<u16>) -> u16 {
    static NEXT: OnceLock<AtomicUsize> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicUsize::new((std::process::id() as usize).wrapping_mul(7_919)));
    let step = next.fetch_add(1, Ordering::Relaxed) % ports.len();
    ports.start + u16::try_from(step).expect("a range of ports is no longer than there are ports")
}

fn is_free(address: SocketAddr) -> bool {
    let free = |bound: io::Result<()>| match bound {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AddrInUse => false,
        Err(error) => panic!("{address} cannot be listened at: {error}"),
    };
    free(TcpListener::bind(address).map(drop)) && free(UdpSocket::bind(address).map(drop))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nobody_is_given_the_port_of_another() {
        let given: BTreeSet<SocketAddr> = (0..100).map(|_| free_address()).collect();
        assert_eq!(given.len(), 100);
    }

    #[test]
    fn a_port_in_use_is_not_free_for_either_protocol() {
        let (address, other) = (free_address(), free_address());
        assert!(is_free(address));
        let _listener = TcpListener::bind(address).unwrap();
        let _socket = UdpSocket::bind(other).unwrap();
        assert!(!is_free(address));
        assert!(!is_free(other));
    }
}
