//! Questions to the name servers, by `resolver`.

use std::time::Duration;

use super::{bindings::provisioning::dns::resolver, convert};
use crate::ports::{Answer, DnsFault, Question, Resolver, Rr};

/// The host's resolver.
pub(super) struct HostResolver;

impl Resolver for HostResolver {
    fn servers(&self) -> Vec<String> {
        resolver::servers()
    }

    fn ask(&self, questions: &[Question]) -> Vec<Result<Answer, DnsFault>> {
        let questions: Vec<_> = questions.iter().map(question).collect();
        resolver::ask(&questions).into_iter().map(|reply| reply.map(answer).map_err(fault)).collect()
    }
}

fn question(question: &Question) -> resolver::Question {
    resolver::Question {
        server: question.server.clone(),
        name: question.name.to_string(),
        rr_type: question.rr_type.number(),
        transport: resolver::Transport::UdpThenTcp,
        recursion_desired: false,
        timeout_ms: convert::milliseconds(question.timeout).max(1),
        attributes: Vec::new(),
    }
}

fn answer(answer: resolver::Answer) -> Answer {
    Answer {
        rcode: answer.rcode,
        authoritative: answer.authoritative,
        truncated: answer.truncated,
        elapsed: Duration::from_micros(answer.elapsed_us.into()),
        answers: answer.answers.into_iter().filter_map(rr).collect(),
        authorities: answer.authorities.into_iter().filter_map(rr).collect(),
    }
}

/// A record of an answer; none when a name in it is no name, which cannot be equal to any of ours.
fn rr(rr: resolver::Rr) -> Option<Rr> {
    Some(Rr { name: rr.name.parse().ok()?, ttl: rr.ttl, data: convert::rdata(rr.data).ok()? })
}

fn fault(failure: resolver::Failure) -> DnsFault {
    match failure {
        resolver::Failure::Timeout => DnsFault::Timeout,
        resolver::Failure::Unreachable(why) => DnsFault::Unreachable(why),
        resolver::Failure::Malformed(why) => DnsFault::Malformed(why),
        resolver::Failure::Denied => DnsFault::Denied,
        resolver::Failure::UnknownServer => DnsFault::Other("the host does not know this name server".to_owned()),
        resolver::Failure::Other(why) => DnsFault::Other(why),
    }
}
