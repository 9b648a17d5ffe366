//! Messages there and back.

use std::net::Ipv4Addr;

use hickory_proto::{
    op::{MessageType, ResponseCode},
    rr::rdata,
};

use super::*;

fn question(name: &str, rr_type: u16) -> Question {
    Question {
        server: "127.0.0.1:53".to_owned(),
        name: name.to_owned(),
        rr_type,
        transport: Transport::Udp,
        recursion_desired: false,
        timeout_ms: 1_000,
        attributes: Vec::new(),
    }
}

fn response(query: &Query) -> Message {
    let mut message = Message::from_vec(query.bytes()).unwrap();
    message.metadata.message_type = MessageType::Response;
    message
}

fn rename(message: &mut Message, name: &str) {
    message.queries[0].set_name(Name::from_ascii(name).unwrap());
}

#[test]
fn names_go_there_and_back() {
    let cases = [
        (".", "."),
        ("example.com", "example.com"),
        ("example.com.", "example.com"),
        ("WeB.Example.COM", "WeB.Example.COM"),
        ("_sip._tcp.example", "_sip._tcp.example"),
        ("*.example", "*.example"),
        (r"a\.b.example", r"a\.b.example"),
        (r"a\\b.example", r"a\\b.example"),
        (r"a\046b.example", r"a\.b.example"),
        (r"a\032b.example", r"a\032b.example"),
        (r"\195\164.example", r"\195\164.example"),
        ("ä.example", r"\195\164.example"),
        (r"a\@b.example", "a@b.example"),
        (r"a\.", r"a\."),
    ];
    for (text, expected) in cases {
        assert_eq!(name_from(text).map(|name| text_of(&name)).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn what_is_no_name_is_refused() {
    let long_label = "a".repeat(64);
    let long_name = ["a".repeat(63).as_str(); 4].join(".");
    for text in ["", "..", ".a", "a..b", r"a\", r"a\25", r"a\256.b", r"a\2x5", &long_label, &long_name] {
        assert_eq!(name_from(text), None, "{text}");
    }
}

#[test]
fn question_is_sent_as_asked() {
    let mut asked = question("WeB.Example.COM", 257);
    asked.recursion_desired = true;
    let query = Query::new(&asked).unwrap();

    let message = Message::from_vec(query.bytes()).unwrap();

    assert!(message.metadata.recursion_desired);
    assert_eq!(message.queries[0].name().to_ascii(), "WeB.Example.COM.");
    assert_eq!(u16::from(message.queries[0].query_type()), 257);
    assert_eq!(message.edns.unwrap().max_payload(), UDP_PAYLOAD);
    assert_eq!(query.framed().unwrap()[..2], u16::try_from(query.bytes().len()).unwrap().to_be_bytes());
}

#[test]
fn zone_transfers_are_denied() {
    for rr_type in NOT_ASKED {
        assert_eq!(Query::new(&question("example", rr_type)).err(), Some(Failure::Denied), "{rr_type}");
    }
    assert!(Query::new(&question("example", 255)).is_ok());
}

#[test]
fn only_the_answer_to_the_question_counts() {
    let query = Query::new(&question("a.example", 1)).unwrap();
    let check = |change: fn(&mut Message)| {
        let mut message = response(&query);
        change(&mut message);
        query.check(&message.to_vec().unwrap()).is_ok()
    };

    assert!(check(|_| {}));
    assert!(check(|m| rename(m, "A.EXAMPLE.")));
    assert!(check(|m| {
        m.queries.clear();
        m.metadata.response_code = ResponseCode::Refused;
    }));
    assert!(!check(|m| m.queries.clear()));
    assert!(!check(|m| m.metadata.id ^= 1));
    assert!(!check(|m| m.metadata.message_type = MessageType::Query));
    assert!(!check(|m| rename(m, "b.example.")));
    assert!(!check(|m| m.queries[0] = Asked::query(Name::from_ascii("a.example.").unwrap(), RecordType::AAAA)));
    for length in 0..query.bytes().len().min(20) {
        assert!(query.check(&response(&query).to_vec().unwrap()[..length]).is_err(), "{length}");
    }
}

#[test]
fn all_data_is_carried_over() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let caa =
        RData::Unknown { code: RecordType::from(257), rdata: rdata::NULL::with(b"\0\x05issueca.example".to_vec()) };
    let data = [
        RData::A(rdata::A(Ipv4Addr::new(192, 0, 2, 1))),
        RData::AAAA(rdata::AAAA("2001:db8::1".parse().unwrap())),
        RData::CNAME(rdata::CNAME(name("Target.example."))),
        RData::NS(rdata::NS(name("ns.example."))),
        RData::PTR(rdata::PTR(name("host.example."))),
        RData::MX(rdata::MX::new(0, Name::root())),
        RData::SRV(rdata::SRV::new(1, 2, 3, name("srv.example."))),
        RData::TXT(rdata::TXT::from_bytes(vec![b"one", b"", b"\xff"])),
        RData::SOA(rdata::SOA::new(name("ns.example."), name("mail.example."), 7, 1, 2, 3, 4)),
        caa,
        RData::Unknown { code: RecordType::from(65_280), rdata: rdata::NULL::with(vec![1, 2, 3]) },
    ];
    let query = Query::new(&question("a.example", 255)).unwrap();
    let mut message = response(&query);
    message.metadata.authoritative = true;
    for data in data {
        message.add_answer(Record::from_rdata(name("A.example."), 300, data));
    }

    let left = AtomicUsize::new(usize::MAX);
    let answer = query.answer(&message.to_vec().unwrap(), Transport::Tcp, 5, &left).unwrap().unwrap();

    assert!(answer.authoritative && !answer.truncated);
    assert_eq!((answer.rcode, answer.over, answer.elapsed_us), (0, Transport::Tcp, 5));
    assert!(answer.additionals.is_empty(), "OPT is left out");
    assert!(answer.answers.iter().all(|rr| rr.name == "A.example" && rr.ttl == 300));
    let found: Vec<_> = answer.answers.into_iter().map(|rr| rr.data).collect();
    let expected = [
        Rdata::A((192, 0, 2, 1)),
        Rdata::Aaaa((0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        Rdata::Cname("Target.example".to_owned()),
        Rdata::Ns("ns.example".to_owned()),
        Rdata::Ptr("host.example".to_owned()),
        Rdata::Mx(Mx { preference: 0, exchange: ".".to_owned() }),
        Rdata::Srv(Srv { priority: 1, weight: 2, port: 3, target: "srv.example".to_owned() }),
        Rdata::Txt(vec![b"one".to_vec(), vec![], vec![0xff]]),
        Rdata::Soa(Soa {
            mname: "ns.example".to_owned(),
            rname: "mail.example".to_owned(),
            serial: 7,
            refresh: 1,
            retry: 2,
            expire: 3,
            minimum: 4,
        }),
        Rdata::Other(OtherRdata { rr_type: 257, octets: b"\0\x05issueca.example".to_vec() }),
        Rdata::Other(OtherRdata { rr_type: 65_280, octets: vec![1, 2, 3] }),
    ];
    assert_eq!(found, expected);
}

#[test]
fn response_codes_beyond_the_header_are_whole() {
    let query = Query::new(&question("a.example", 1)).unwrap();
    let mut message = response(&query);
    message.metadata.response_code = ResponseCode::BADVERS;
    let left = AtomicUsize::new(usize::MAX);
    let answer = query.answer(&message.to_vec().unwrap(), Transport::Udp, 0, &left).unwrap().unwrap();
    assert_eq!(answer.rcode, 16);
}

#[test]
fn names_are_charged_as_long_as_they_become() {
    let query = Query::new(&question("a.example", 255)).unwrap();
    let mut message = response(&query);
    // Octets that take four each in text, and are compressed but once.
    let long = Name::from_labels(vec![vec![0xff_u8; 60]; 4]).unwrap();
    for _ in 0..100 {
        message.add_answer(Record::from_rdata(long.clone(), 300, RData::NS(rdata::NS(long.clone()))));
    }
    let bytes = message.to_vec().unwrap();
    let expanded = 100 * (size_of::<Rr>() + 2 * (4 * 60 * 4 + 3));
    assert!(bytes.len() < expanded / 5, "{} octets become {expanded}", bytes.len());
    for (room, fits) in [(bytes.len() + expanded, true), (bytes.len() + expanded - 1, false), (bytes.len() - 1, false)]
    {
        let left = AtomicUsize::new(room);
        assert_eq!(query.answer(&bytes, Transport::Tcp, 0, &left).unwrap().is_some(), fits, "{room}");
    }
}
