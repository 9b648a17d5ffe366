//! Changes in the contract's words, shortly.

use dns_manager_host::contract::{Action, Change, Mx, Rdata, RecordSet, Selector, Srv};

/// RR type numbers.
pub const A: u16 = 1;
/// AAAA.
pub const AAAA: u16 = 28;
/// CNAME.
pub const CNAME: u16 = 5;
/// TXT.
pub const TXT: u16 = 16;

/// These values are present afterwards.
pub fn add(name: &str, ttl: u32, data: impl IntoIterator<Item = Rdata>) -> Change {
    change(Action::Add(set(name, Some(ttl), data)))
}

/// Our values become exactly these.
pub fn replace(name: &str, ttl: u32, data: impl IntoIterator<Item = Rdata>) -> Change {
    change(Action::Replace(set(name, Some(ttl), data)))
}

/// Values are absent afterwards; without data, all of the type, without a type, all.
pub fn remove(name: &str, rr_type: Option<u16>, data: impl IntoIterator<Item = Rdata>) -> Change {
    let data = data.into_iter().collect();
    change(Action::Remove(Selector { name: name.to_owned(), rr_type, data, resource: None }))
}

/// A change of nothing but this action.
pub fn change(action: Action) -> Change {
    Change { action, resource: None, expect: None, attributes: Vec::new() }
}

/// Values of one type at one name.
pub fn set(name: &str, ttl: Option<u32>, data: impl IntoIterator<Item = Rdata>) -> RecordSet {
    RecordSet { name: name.to_owned(), ttl, data: data.into_iter().collect() }
}

/// An IPv4 address.
pub fn a(address: &str) -> Rdata {
    Rdata::A(address.parse::<std::net::Ipv4Addr>().expect("an IPv4 address").octets().into())
}

/// An IPv6 address.
pub fn aaaa(address: &str) -> Rdata {
    Rdata::Aaaa(address.parse::<std::net::Ipv6Addr>().expect("an IPv6 address").segments().into())
}

/// The target of an alias.
pub fn cname(target: &str) -> Rdata {
    Rdata::Cname(target.to_owned())
}

/// The name of an address.
pub fn ptr(target: &str) -> Rdata {
    Rdata::Ptr(target.to_owned())
}

/// A mail server.
pub fn mx(preference: u16, exchange: &str) -> Rdata {
    Rdata::Mx(Mx { preference, exchange: exchange.to_owned() })
}

/// A server of a service.
pub fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Rdata {
    Rdata::Srv(Srv { priority, weight, port, target: target.to_owned() })
}

/// Text, in strings of 255 octets.
pub fn txt(text: &str) -> Rdata {
    let strings: Vec<Vec<u8>> = text.as_bytes().chunks(255).map(<[u8]>::to_vec).collect();
    Rdata::Txt(if strings.is_empty() { vec![Vec::new()] } else { strings })
}

/// Values of others become ours; without a type, all of the name.
pub fn adopt(name: &str, rr_type: Option<u16>) -> Change {
    change(Action::Adopt(selector(name, rr_type)))
}

/// Our mark goes from values; without a type, from all of the name.
pub fn release(name: &str, rr_type: Option<u16>) -> Change {
    change(Action::Release(selector(name, rr_type)))
}

fn selector(name: &str, rr_type: Option<u16>) -> Selector {
    Selector { name: name.to_owned(), rr_type, data: Vec::new(), resource: None }
}
