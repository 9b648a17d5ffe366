//! What the reply of a name server says about a name: something, or why it says nothing.

use crate::{
    ports::{Answer, DnsFault},
    reason::Code,
};

pub(crate) const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
pub(crate) const SERVFAIL: u16 = 2;
pub(crate) const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
pub(crate) const REFUSED: u16 = 5;
const NOTAUTH: u16 = 9;

/// Why a reply says nothing about a name.
pub(crate) struct Trouble {
    /// For programs.
    pub(crate) code: Code,
    /// What was seen of which server, and what to do.
    pub(crate) message: String,
    /// The server said that it does not serve the name.
    pub(crate) refused: bool,
}

/// Why a reply says nothing about the name asked for; none: it does.
pub(crate) fn trouble_of(server: &str, reply: &Result<Answer, DnsFault>) -> Option<Trouble> {
    let trouble = |code, message| Some(Trouble { code, message, refused: false });
    match reply {
        Err(DnsFault::Timeout) => trouble(
            Code::Unavailable,
            format!("{server} did not answer in time: is CoreDNS running there, and is its UDP port open?"),
        ),
        Err(DnsFault::Unreachable(why)) => trouble(
            Code::Unavailable,
            format!("{server} was not reached ({why}): is CoreDNS running there, and is `nameservers` right?"),
        ),
        Err(DnsFault::Malformed(why)) => {
            trouble(Code::Protocol, format!("{server} sent what is no answer ({why}): is it a DNS server?"))
        }
        Err(DnsFault::Denied) => trouble(
            Code::Denied,
            format!("the host's policy forbids this question to {server}; see its policy for the resolver"),
        ),
        Err(DnsFault::Other(why)) => trouble(Code::Unavailable, format!("asking {server} failed: {why}")),
        Ok(answer) if answer.truncated => trouble(
            Code::Protocol,
            format!("the answer of {server} is truncated, and it came no better over TCP: is its TCP port open?"),
        ),
        Ok(answer) => match answer.rcode {
            NOERROR | NXDOMAIN => None,
            SERVFAIL => trouble(
                Code::Unavailable,
                format!(
                    "{server} answered SERVFAIL: CoreDNS cannot read etcd, or a value at or below the name is no \
                     SkyDNS record; see CoreDNS's log, or run `dns-manager doctor`"
                ),
            ),
            REFUSED | NOTAUTH => Some(Trouble {
                code: Code::Protocol,
                message: format!(
                    "{server} answered {}: it does not serve the name; add its zone to the `etcd` block of the \
                     Corefile",
                    rcode_name(answer.rcode)
                ),
                refused: true,
            }),
            rcode => trouble(Code::Protocol, format!("{server} answered {}: is it CoreDNS?", rcode_name(rcode))),
        },
    }
}

/// The mnemonic of a response code (RFC 6895 2.3).
pub(crate) fn rcode_name(rcode: u16) -> String {
    match rcode {
        NOERROR => "NOERROR".to_owned(),
        FORMERR => "FORMERR".to_owned(),
        SERVFAIL => "SERVFAIL".to_owned(),
        NXDOMAIN => "NXDOMAIN".to_owned(),
        NOTIMP => "NOTIMP".to_owned(),
        REFUSED => "REFUSED".to_owned(),
        NOTAUTH => "NOTAUTH".to_owned(),
        other => format!("RCODE{other}"),
    }
}
