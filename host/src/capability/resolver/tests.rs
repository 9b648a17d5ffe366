//! Questions to name servers on loopback.

use std::io;

use futures_util::future::BoxFuture;
use hickory_proto::{
    op::{Message, MessageType},
    rr::{Name, RData, Record, rdata},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

use super::*;
use crate::testing::nobody_at_all;
use crate::{Denials, bindings::provisioning::dns::resolver::Rr};

/// Every name is at these addresses.
struct At(Vec<SocketAddr>);

impl Lookup for At {
    fn lookup<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let addresses = self.0.clone();
        Box::pin(async move { Ok(addresses) })
    }
}

fn question(server: &str, transport: Transport, timeout_ms: u32) -> Question {
    Question {
        server: server.to_owned(),
        name: "a.example".to_owned(),
        rr_type: 1,
        transport,
        recursion_desired: false,
        timeout_ms,
        attributes: Vec::new(),
    }
}

async fn resolver(server: &str, lookup: Vec<SocketAddr>) -> Resolver {
    Resolver::new(&[server.to_owned()], Arc::new(At(lookup)), Duration::from_secs(2)).await.unwrap()
}

async fn ask(resolver: &Resolver, question: Question) -> Result<Answer, Failure> {
    resolver.ask(&question, &AtomicUsize::new(100_000), &Shared::default()).await
}

fn answer(question: &[u8], truncated: bool) -> Vec<u8> {
    let mut message = Message::from_vec(question).unwrap();
    message.metadata.message_type = MessageType::Response;
    message.metadata.truncation = truncated;
    if !truncated {
        let data = RData::A(rdata::A([192, 0, 2, 1].into()));
        message.add_answer(Record::from_rdata(Name::from_ascii("a.example.").unwrap(), 30, data));
    }
    message.to_vec().unwrap()
}

/// What a name server on UDP sends for a question: several datagrams, or none.
type Reply = fn(&[u8]) -> Vec<Vec<u8>>;

/// A name server; over TCP it answers in full.
async fn server(reply: Reply) -> SocketAddr {
    let (udp, tcp) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            for datagram in reply(&buffer[..length]) {
                udp.send_to(&datagram, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await.unwrap();
            let answer = answer(&question, false);
            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn server_is_known_by_its_id_alone() {
    let address = server(|question| vec![answer(question, false)]).await;
    let resolver = resolver(&address.to_string(), vec![]).await;

    let found = ask(&resolver, question(&address.to_string(), Transport::UdpThenTcp, 1_000)).await.unwrap();
    assert_eq!((found.answers.len(), found.over), (1, Transport::Udp));

    let other = ask(&resolver, question("127.0.0.1:53", Transport::Udp, 1_000)).await;
    assert_eq!(other.unwrap_err(), Failure::UnknownServer);
}

#[tokio::test]
async fn truncated_answer_is_asked_for_over_tcp_when_wished() {
    let address = server(|question| vec![answer(question, true)]).await.to_string();
    let resolver = resolver(&address, vec![]).await;

    let whole = ask(&resolver, question(&address, Transport::UdpThenTcp, 1_000)).await.unwrap();
    assert_eq!((whole.truncated, whole.over, whole.answers.len()), (false, Transport::Tcp, 1));

    let cut = ask(&resolver, question(&address, Transport::Udp, 1_000)).await.unwrap();
    assert_eq!((cut.truncated, cut.over, cut.answers.len()), (true, Transport::Udp, 0));

    let tcp = ask(&resolver, question(&address, Transport::Tcp, 1_000)).await.unwrap();
    assert_eq!((tcp.over, tcp.answers.len()), (Transport::Tcp, 1));
}

#[tokio::test]
async fn forged_answers_are_waited_out() {
    let address = server(|question| {
        let mut other_id = answer(question, true);
        other_id[0] ^= 1;
        vec![b"nonsense".to_vec(), other_id, answer(question, false)]
    });
    let address = address.await.to_string();
    let found = ask(&resolver(&address, vec![]).await, question(&address, Transport::Udp, 1_000)).await.unwrap();
    assert_eq!(found.answers.len(), 1);
}

#[tokio::test]
async fn nonsense_alone_is_malformed_and_silence_a_timeout() {
    let nonsense = server(|_| vec![b"nonsense".to_vec()]).await.to_string();
    let failed = ask(&resolver(&nonsense, vec![]).await, question(&nonsense, Transport::Udp, 1_000)).await;
    assert!(matches!(failed, Err(Failure::Malformed(_))), "{failed:?}");

    let silence = server(|_| vec![]).await.to_string();
    let failed = ask(&resolver(&silence, vec![]).await, question(&silence, Transport::Udp, 50)).await;
    assert_eq!(failed.unwrap_err(), Failure::Timeout);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let (_connections, _datagrams, address) = nobody_at_all();
    let address = address.to_string();
    for transport in [Transport::Udp, Transport::Tcp] {
        let failed = ask(&resolver(&address, vec![]).await, question(&address, transport, 1_000)).await;
        assert!(matches!(failed, Err(Failure::Unreachable(_))), "{failed:?}");
    }
}

#[tokio::test]
async fn name_with_several_addresses_is_asked_where_somebody_is() {
    let up = server(|question| vec![answer(question, false)]).await;
    let (_connections, _datagrams, nobody) = nobody_at_all();
    let resolver = resolver("dns.example:53", vec![nobody, up]).await;
    for _ in 0..2 {
        let found = ask(&resolver, question("dns.example:53", Transport::Udp, 1_000)).await.unwrap();
        assert_eq!(found.answers.len(), 1);
    }
    assert_eq!(resolver.servers[0].lock().first, 1);
}

#[tokio::test]
async fn silent_address_is_left_for_the_next_question() {
    let (silent, up) = (server(|_| vec![]).await, server(|question| vec![answer(question, false)]).await);
    let resolver = resolver("dns.example:53", vec![silent, up]).await;
    assert_eq!(ask(&resolver, question("dns.example:53", Transport::Udp, 50)).await.unwrap_err(), Failure::Timeout);
    assert!(ask(&resolver, question("dns.example:53", Transport::Udp, 1_000)).await.is_ok());
}

#[tokio::test]
async fn name_at_a_forbidden_address_is_denied() {
    let resolver = resolver("dns.example:53", vec!["169.254.169.253:53".parse().unwrap()]).await;
    let denied = ask(&resolver, question("dns.example:53", Transport::Udp, 1_000)).await;
    assert_eq!(denied.unwrap_err(), Failure::Denied);
}

#[tokio::test]
async fn answers_are_charged_to_the_call() {
    let address = server(|question| vec![answer(question, false)]).await.to_string();
    let resolver = resolver(&address, vec![]).await;
    // Enough for one of them in the form in which the plugin gets it.
    let (left, tally) = (AtomicUsize::new(size_of::<Rr>() + 100), Shared::default());
    let first = resolver.ask(&question(&address, Transport::Udp, 1_000), &left, &tally).await;
    let second = resolver.ask(&question(&address, Transport::Udp, 1_000), &left, &tally).await;
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(second.unwrap_err(), Failure::Denied);
    assert_eq!(tally.lock().denials, Denials { limits: 1, ..Denials::default() });
}

#[tokio::test]
async fn what_is_refused_is_counted() {
    let resolver = resolver("dns.example:53", vec!["169.254.169.253:53".parse().unwrap()]).await;
    let (left, tally) = (AtomicUsize::new(1_000), Shared::default());
    let zone_transfer = Question { rr_type: 252, ..question("dns.example:53", Transport::Udp, 1_000) };
    for asked in [
        question("elsewhere.example:53", Transport::Udp, 1_000),
        question("dns.example:53", Transport::Udp, 1_000),
        zone_transfer,
    ] {
        assert!(resolver.ask(&asked, &left, &tally).await.is_err(), "{asked:?}");
    }
    assert_eq!(tally.lock().denials, Denials { resolver: 3, ..Denials::default() });
}

#[tokio::test]
async fn ids_are_read_strictly() {
    for id in ["127.0.0.1", "127.0.0.1:0", "http://127.0.0.1:53", "::1:53", "", "127.1:53"] {
        assert!(Resolver::new(&[id.to_owned()], Arc::new(At(vec![])), Duration::from_secs(1)).await.is_err(), "{id}");
    }
}
