//! The name server of the embedded default: hickory's, on UDP and TCP of one loopback address, answering as CoreDNS does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT};
use hickory_server::proto::rr::{DNSClass, Name, RData, Record as WireRecord};
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::{MessageResponse, MessageResponseBuilder};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lookup::{Data, Lookup, Question, Rcode, Record, Reply, Stored, Tree, Unavailable, name};
use super::store::{Budget, Query, Range, Snapshot, Store};

/// Silence after which a TCP connection is closed.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers that may wait for a TCP client that does not read.
const TCP_ANSWERS: usize = 32;
/// What is read below one name; a zone with more of it answers nothing about its apex.
const READ_OCTETS: usize = 64 << 20;
/// Questions that are answered at one time.
const AT_ONCE: usize = 32;
/// Questions that are at work or wait for it; to others nothing is said, and who asked asks again.
const WAITING: usize = 1_024;
/// How often a port that the system chose for UDP is tried for TCP.
const PORT_ATTEMPTS: usize = 20;

/// A running name server. It ends when this is dropped.
pub(super) struct NameServer {
    server: Server<Answerer>,
    address: SocketAddr,
}

impl NameServer {
    /// Listens; port 0 is a free one.
    pub(super) async fn start(listen: SocketAddr, lookup: Lookup, store: Arc<Store>) -> std::io::Result<Self> {
        let (udp, tcp) = sockets(listen).await?;
        let address = udp.local_addr()?;
        let mut server = Server::new(Answerer::new(lookup, store));
        server.register_socket(udp);
        server.register_listener(tcp, TCP_TIMEOUT, TCP_ANSWERS);
        Ok(Self { server, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more questions, and lets those at work end.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.server.shutdown_gracefully().await {
            tracing::debug!(%error, "the name server had ended before");
        }
    }
}

/// Both on one port.
async fn sockets(listen: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut attempts = if listen.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        let udp = UdpSocket::bind(listen).await?;
        attempts -= 1;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if attempts == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

impl Tree for Snapshot {
    fn below(&self, prefix: &[u8]) -> Result<Vec<Stored>, Unavailable> {
        let query = Query { range: Range::below(prefix), revision: 0, limit: 0 };
        let found = self.range(&query, &mut Budget::new(READ_OCTETS)).map_err(|_| Unavailable)?;
        Ok(found.entries.into_iter().map(|entry| Stored { key: entry.key, value: entry.value }).collect())
    }

    fn at(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(Snapshot::at(self, key).map_err(|_| Unavailable)?.map(|entry| entry.value))
    }
}

struct Answerer {
    lookup: Arc<Lookup>,
    store: Arc<Store>,
    room: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// What a question has in hand while it is answered: room among those that wait, and a place among those at work.
struct Place {
    _room: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

/// What is sent: records that can be, or a code alone.
#[derive(Default)]
struct Answer {
    rcode: ResponseCode,
    authoritative: bool,
    truncated: bool,
    answers: Vec<WireRecord>,
    authority: Vec<WireRecord>,
    additional: Vec<WireRecord>,
}

impl From<ResponseCode> for Answer {
    fn from(rcode: ResponseCode) -> Self {
        Self { rcode, ..Self::default() }
    }
}

type Records<'a> = std::slice::Iter<'a, WireRecord>;
type Response<'q, 'a> = MessageResponse<'q, 'a, Records<'a>, Records<'a>, Records<'a>, Records<'a>>;

impl Answer {
    fn metadata(&self, request: &Request) -> Metadata {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = self.rcode;
        metadata.authoritative = self.authoritative;
        metadata.truncation = self.truncated;
        metadata
    }

    /// With the first records of all sections together, so many.
    fn response<'q, 'a>(
        &'a self,
        mut records: usize,
        request: &'q Request,
        edns: Option<&'q Edns>,
    ) -> Response<'q, 'a> {
        let mut first = |section: &'a [WireRecord]| {
            let first = section.get(..records).unwrap_or(section);
            records -= first.len();
            first
        };
        let (answers, authority, additional) = (first(&self.answers), first(&self.authority), first(&self.additional));
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = edns {
            builder.edns(edns);
        }
        builder.build(self.metadata(request), answers, authority, &[], additional)
    }

    /// Drops records from the end until there is room for the OPT record, too, without which an answer with EDNS is none.
    /// It fits by CoreDNS's reckoning; the codec here shortens fewer names.
    fn leave_room(&mut self, request: &Request, edns: &Edns) {
        if self.has_room(self.len(), request, edns) {
            return;
        }
        self.truncated = true;
        // Each more takes more: as many as fit are found by halving.
        let (mut fitting, mut too_many) = (0, self.len());
        while too_many - fitting > 1 {
            let between = fitting + (too_many - fitting) / 2;
            if self.has_room(between, request, edns) {
                fitting = between;
            } else {
                too_many = between;
            }
        }
        self.keep(fitting);
    }

    fn len(&self) -> usize {
        self.answers.len() + self.authority.len() + self.additional.len()
    }

    /// Of the first records so many.
    fn keep(&mut self, mut records: usize) {
        for section in [&mut self.answers, &mut self.authority, &mut self.additional] {
            section.truncate(records);
            records -= section.len();
        }
    }

    /// Whether there is room for so many of the records.
    fn has_room(&self, records: usize, request: &Request, edns: &Edns) -> bool {
        let mut octets = Vec::new();
        let mut encoder = BinEncoder::new(&mut octets);
        encoder.set_max_size(edns.max_payload());
        let emitted = self.response(records, request, Some(edns)).destructive_emit(&mut encoder);
        let additional = records.saturating_sub(self.answers.len() + self.authority.len());
        emitted.is_ok_and(|information| usize::from(information.counts().additionals) == additional + 1)
    }
}

impl Answerer {
    fn new(lookup: Lookup, store: Arc<Store>) -> Self {
        let [room, places] = [WAITING, AT_ONCE].map(|permits| Arc::new(Semaphore::new(permits)));
        Self { lookup: Arc::new(lookup), store, room, places }
    }

    /// None: too many wait already.
    async fn place(&self) -> Option<Place> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        Some(Place { _room: room, _place: place })
    }

    /// None: nothing is sent, as CoreDNS sends nothing when a name cannot be.
    async fn answer(&self, request: &Request) -> Option<Answer> {
        if request.metadata.op_code != OpCode::Query {
            return Some(ResponseCode::NotImp.into());
        }
        let Ok(information) = request.request_info() else { return Some(ResponseCode::FormErr.into()) };
        let query = information.query.original();
        if query.query_class != DNSClass::IN {
            return Some(ResponseCode::Refused.into());
        }
        if request.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
            return Some(ResponseCode::BADVERS.into());
        }
        let question = Question {
            name: name::from_octets(query.name.iter()),
            rr_type: query.query_type.into(),
            size: match request.protocol() {
                Protocol::Udp => request.max_payload().into(),
                _ => u16::MAX.into(),
            },
            has_opt: request.edns.is_some(),
        };
        let (lookup, store) = (Arc::clone(&self.lookup), Arc::clone(&self.store));
        let place = self.place().await?;
        // Reading waits for the disk.
        let answer = tokio::task::spawn_blocking(move || {
            // Work goes on when nobody waits for it any more, and keeps its place until it ends.
            let _place = place;
            let snapshot = store.snapshot().map_err(|_| Unavailable);
            on_the_wire(match snapshot {
                Ok(snapshot) => lookup.answer(&snapshot, &question),
                Err(Unavailable) => lookup.answer(&Away, &question),
            })
        });
        answer.await.ok()?
    }
}

/// A store that cannot be read.
struct Away;

impl Tree for Away {
    fn below(&self, _: &[u8]) -> Result<Vec<Stored>, Unavailable> {
        Err(Unavailable)
    }

    fn at(&self, _: &[u8]) -> Result<Option<Vec<u8>>, Unavailable> {
        Err(Unavailable)
    }
}

#[async_trait::async_trait]
impl RequestHandler for Answerer {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut handle: R) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        if let Some(mut answer) = self.answer(request).await {
            let edns = request.edns.as_ref().map(|asked| {
                let mut edns = Edns::new();
                edns.set_max_payload(asked.max_payload()).set_dnssec_ok(asked.flags().dnssec_ok);
                edns
            });
            if let (Some(edns), Protocol::Udp) = (&edns, request.protocol()) {
                answer.leave_room(request, edns);
            }
            metadata = answer.metadata(request);
            match handle.send_response(answer.response(answer.len(), request, edns.as_ref())).await {
                Ok(information) => return information,
                Err(error) => tracing::debug!(%error, "an answer was not sent"),
            }
        }
        Header { metadata, counts: HeaderCounts::default() }.into()
    }
}

fn on_the_wire(reply: Reply) -> Option<Answer> {
    let records = |records: &[Record]| records.iter().map(record).collect::<Option<Vec<_>>>();
    Some(Answer {
        rcode: match reply.rcode {
            Rcode::NoError => ResponseCode::NoError,
            Rcode::ServFail => ResponseCode::ServFail,
            Rcode::NxDomain => ResponseCode::NXDomain,
            Rcode::Refused => ResponseCode::Refused,
        },
        authoritative: reply.authoritative,
        truncated: reply.truncated,
        answers: records(&reply.answers)?,
        authority: records(&reply.authority)?,
        additional: records(&reply.additional)?,
    })
}

fn record(record: &Record) -> Option<WireRecord> {
    let data = match &record.data {
        Data::A(address) => RData::A(A(*address)),
        Data::Aaaa(address) => RData::AAAA(AAAA(*address)),
        Data::Cname(target) => RData::CNAME(CNAME(wire_name(target)?)),
        Data::Ns(target) => RData::NS(NS(wire_name(target)?)),
        Data::Ptr(target) => RData::PTR(PTR(wire_name(target)?)),
        Data::Mx { preference, exchange } => RData::MX(MX::new(*preference, wire_name(exchange)?)),
        Data::Srv { priority, weight, port, target } => {
            RData::SRV(SRV::new(*priority, *weight, *port, wire_name(target)?))
        }
        // The timers are CoreDNS's, and so is the serial, which is the time.
        Data::Soa { mname, rname, minimum } => {
            RData::SOA(SOA::new(wire_name(mname)?, wire_name(rname)?, serial(), 7200, 1800, 86_400, *minimum))
        }
        Data::Txt(strings) => {
            let strings: Vec<Vec<u8>> = strings.iter().map(Vec::as_slice).map(unescaped).collect();
            let length: usize = strings.iter().map(|string| string.len() + 1).sum();
            if length > u16::MAX.into() {
                return None;
            }
            RData::TXT(TXT::from_bytes(strings.iter().map(Vec::as_slice).collect()))
        }
    };
    Some(WireRecord::from_rdata(wire_name(&record.owner)?, record.ttl, data))
}

fn wire_name(text: &[u8]) -> Option<Name> {
    let labels = name::octets(text)?;
    Name::from_labels(labels.iter().map(Vec::as_slice)).ok()
}

/// Seconds since 1970, as far as 32 bits go.
fn serial() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(now & u64::from(u32::MAX)).unwrap_or_default()
}

/// A string in octets; a backslash at its end is dropped.
fn unescaped(string: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(string.len());
    let mut rest = string;
    while let [first, behind @ ..] = rest {
        rest = behind;
        let octet = match (first, behind) {
            (b'\\', []) => break,
            (b'\\', [next, further @ ..]) => match name::decimal(behind) {
                Some(octet) => {
                    rest = behind.get(3..).unwrap_or_default();
                    octet
                }
                None => {
                    rest = further;
                    *next
                }
            },
            _ => *first,
        };
        octets.push(octet);
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answerer() -> (tempfile::TempDir, Answerer) {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        (directory, Answerer::new(Lookup::new("/skydns", ["example.com"]), store))
    }

    #[tokio::test]
    async fn questions_wait_for_a_place_and_no_more_than_so_many() {
        let (_directory, answerer) = answerer();
        let held: Vec<_> = futures_util::future::join_all((0..AT_ONCE).map(|_| answerer.place())).await;
        assert!(held.iter().all(Option::is_some));
        let waiting = tokio::time::timeout(Duration::from_millis(20), answerer.place()).await;
        assert!(waiting.is_err());

        let _rest =
            Arc::clone(&answerer.room).try_acquire_many_owned(u32::try_from(WAITING - AT_ONCE).unwrap()).unwrap();
        assert!(answerer.place().await.is_none());
    }

    #[test]
    fn records_that_do_not_fit_are_dropped_from_the_end() {
        let name = Name::from_ascii("web.example.com.").unwrap();
        let record = |last: u8| WireRecord::from_rdata(name.clone(), 30, RData::A(A([192, 0, 2, last].into())));
        let mut query = hickory_server::proto::op::Message::query();
        query.add_query(hickory_server::proto::op::Query::query(name.clone(), 1.into()));
        let source = "127.0.0.1:53535".parse().unwrap();
        let request = Request::from_bytes(query.to_vec().unwrap(), source, Protocol::Udp).unwrap();
        let mut edns = Edns::new();
        edns.set_max_payload(512);
        let mut whole = Answer { answers: (0..20).map(record).collect(), ..Answer::default() };
        whole.leave_room(&request, &edns);
        assert_eq!((whole.truncated, whole.answers.len()), (false, 20));

        let many = || (0..40).map(record).collect();
        for (answers, additional) in [(many(), many()), ((0..10).map(record).collect(), many()), (many(), Vec::new())] {
            let mut cut = Answer { answers, additional, ..Answer::default() };
            let fitting = (0..=cut.len()).rev().find(|records| cut.has_room(*records, &request, &edns)).unwrap();
            assert!((25..30).contains(&fitting), "512 octets have room for {fitting}");
            let answers = fitting.min(cut.answers.len());
            cut.leave_room(&request, &edns);
            assert_eq!((cut.truncated, cut.answers.len(), cut.len()), (true, answers, fitting));
        }
    }
}
