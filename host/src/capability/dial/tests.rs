//! What is looked up, what is dialled, and in which order.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    capability::policy::anywhere,
    testing::{listener, nobody},
};

/// Answers every name with the same addresses and counts the questions.
#[derive(Default)]
struct Forged {
    addresses: Vec<SocketAddr>,
    asked: AtomicUsize,
}

impl Lookup for Forged {
    fn lookup<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let addresses = self.addresses.clone();
        Box::pin(async move { Ok(addresses) })
    }
}

fn dial(members: &[impl ToString], lookup: Arc<Forged>, connections: usize) -> (Dial, Uri) {
    let members: Vec<_> = members.iter().map(|m| Authority::parse(&m.to_string(), None).unwrap()).collect();
    let uri = format!("http://{}/", members[0]).parse().unwrap();
    let endpoint = Endpoint {
        authority: members[0].clone(),
        secure: false,
        route: Route::Network(members),
        private: anywhere(),
        rule: None,
    };
    let policy = Arc::new(Policy { endpoints: vec![Arc::new(endpoint)] });
    (Dial::new(policy, lookup, None, Duration::from_secs(2), connections), uri)
}

#[tokio::test]
async fn members_are_dialled_in_order_and_failures_shunned() {
    let ((up, up_address), (_nobody, down)) = (listener().await, nobody());
    let (dial, uri) = dial(&[down, up_address], Arc::default(), 8);

    for _ in 0..2 {
        dial.clone().dial(uri.clone()).await.unwrap();
        up.accept().await.unwrap();
    }

    let Route::Network(members) = &dial.0.policy.endpoints[0].route else { panic!("a network route") };
    assert_eq!(dial.0.in_order(members), [&members[1], &members[0]]);
}

#[tokio::test]
async fn member_that_does_not_answer_costs_one_timeout_and_is_skipped_then() {
    // A queue that is full: connections are neither taken nor refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let silent = full.local_addr().unwrap();
    // The kernel keeps one more than it was told.
    let _waiting = [TcpStream::connect(silent).await.unwrap(), TcpStream::connect(silent).await.unwrap()];
    let (_up, up_address) = listener().await;
    let (dial, uri) = dial(&[silent, up_address], Arc::default(), 8);

    let begin = Instant::now();
    dial.clone().dial(uri.clone()).await.unwrap();
    let first = begin.elapsed();
    let begin = Instant::now();
    dial.clone().dial(uri).await.unwrap();
    let second = begin.elapsed();

    assert!(first >= Duration::from_secs(2) && second < first, "{first:?}, then {second:?}");
    let Route::Network(members) = &dial.0.policy.endpoints[0].route else { panic!("a network route") };
    assert_eq!(dial.0.in_order(members), [&members[1], &members[0]]);
}

#[tokio::test]
async fn shunned_member_is_dialled_when_all_others_fail() {
    let ((first_socket, first), (_second_socket, second)) = (nobody(), nobody());
    let (dial, uri) = dial(&[first, second], Arc::default(), 8);
    assert!(matches!(dial.clone().dial(uri.clone()).await, Err(DialError::Connect(_))));

    let _first = first_socket.listen(8).unwrap();

    dial.dial(uri).await.unwrap();
}

#[tokio::test]
async fn one_prohibited_answer_refuses_all() {
    let (up, address) = listener().await;
    let addresses = vec![address, "169.254.169.254:80".parse().unwrap()];
    let lookup = Arc::new(Forged { addresses, asked: AtomicUsize::new(0) });
    let (dial, uri) = dial(&["etcd.example.com:80"], lookup.clone(), 8);

    let refused = dial.dial(uri).await;

    assert!(matches!(refused, Err(DialError::Prohibited(ip)) if ip.to_string() == "169.254.169.254"));
    assert_eq!(lookup.asked.load(Ordering::Relaxed), 1);
    assert!(timeout(Duration::from_millis(50), up.accept()).await.is_err());
}

#[tokio::test]
async fn other_authority_is_never_looked_up() {
    let lookup = Arc::new(Forged::default());
    let (dial, _) = dial(&["etcd.example.com:80"], lookup.clone(), 8);

    let refused = dial.dial("http://other.example.com/".parse().unwrap()).await;

    assert!(matches!(refused, Err(DialError::Denied)));
    assert_eq!(lookup.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn connection_holds_its_permit() {
    let (_up, address) = listener().await;
    let (dial, uri) = dial(&[address], Arc::default(), 1);
    let held = dial.clone().dial(uri.clone()).await.unwrap();

    tokio::time::pause();
    assert!(matches!(dial.clone().dial(uri.clone()).await, Err(DialError::Full)));
    tokio::time::resume();

    drop(held);
    dial.dial(uri).await.unwrap();
}

#[tokio::test]
async fn response_under_way_is_not_cut_off_by_blame() {
    let (up, address) = listener().await;
    let (dial, uri) = dial(&[address], Arc::default(), 1);
    let mut held = TokioIo::new(dial.clone().dial(uri).await.unwrap());
    let (mut server, _) = up.accept().await.unwrap();
    server.write_u8(b'a').await.unwrap();
    assert_eq!(held.read_u8().await.unwrap(), b'a');

    dial.blame(&Member(Authority::parse(&address.to_string(), None).unwrap()));
    let rest = tokio::spawn(async move {
        sleep(Duration::from_millis(20)).await;
        server.write_u8(b'b').await.unwrap();
        server
    });
    assert_eq!(held.read_u8().await.unwrap(), b'b');
    let _server = rest.await.unwrap();

    let begin = Instant::now();
    assert_eq!(held.read(&mut [0]).await.unwrap(), 0, "it ends when it is idle");
    assert!(begin.elapsed() >= QUIET / 2);
}

/// Knows no name.
struct Nowhere;

impl Lookup for Nowhere {
    fn lookup<'a>(&'a self, host: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Err(io::Error::other(format!("{host}: name or service not known"))) })
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_says_why() {
    let members = vec![Authority::parse("etcd.test:2379", None).unwrap()];
    let endpoint = Endpoint {
        authority: members[0].clone(),
        secure: false,
        route: Route::Network(members),
        private: anywhere(),
        rule: None,
    };
    let policy = Arc::new(Policy { endpoints: vec![Arc::new(endpoint)] });
    let dial = Dial::new(policy, Arc::new(Nowhere), None, Duration::from_secs(2), 8);

    let failed = dial.dial("http://etcd.test:2379/".parse().unwrap()).await.err().unwrap();

    assert_eq!(failed.to_string(), "looking up the name: etcd.test: name or service not known");
}
