//! What a plugin's answers take in memory. A listing, or a change of many items, gathers those of many calls.

use std::mem::size_of_val;

use crate::{
    Error,
    contract::{Code, Entry, OtherRdata, Outcome, Page, Problem, Rdata, Reason, Seen, Verification},
};

/// What the answers to one call of the manager may take, all its calls of the plugin together.
const MOST: usize = 256 << 20;

/// What is gathered for one call of the manager.
#[derive(Debug, Default)]
pub(crate) struct Load(usize);

impl Load {
    /// Adds an answer.
    pub(crate) fn take(&mut self, answer: &impl Weight) -> Result<(), Error> {
        self.0 = self.0.saturating_add(answer.weight());
        if self.0 <= MOST {
            return Ok(());
        }
        let what = format!("answers to one call of more than {} MiB", MOST >> 20);
        Err(Error::Exceeded { what, stderr: String::new() })
    }
}

/// Something that keeps octets elsewhere.
pub(crate) trait Weight {
    /// How many.
    fn weight(&self) -> usize;
}

impl Weight for u8 {
    fn weight(&self) -> usize {
        0
    }
}

impl Weight for String {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl<T: Weight> Weight for Option<T> {
    fn weight(&self) -> usize {
        self.as_ref().map_or(0, T::weight)
    }
}

impl<T: Weight> Weight for Vec<T> {
    fn weight(&self) -> usize {
        size_of_val(self.as_slice()) + self.iter().map(T::weight).sum::<usize>()
    }
}

impl<A: Weight, B: Weight> Weight for (A, B) {
    fn weight(&self) -> usize {
        self.0.weight() + self.1.weight()
    }
}

impl Weight for Rdata {
    fn weight(&self) -> usize {
        match self {
            Self::A(_) | Self::Aaaa(_) => 0,
            Self::Cname(name) | Self::Ns(name) | Self::Ptr(name) => name.weight(),
            Self::Mx(mx) => mx.exchange.weight(),
            Self::Srv(srv) => srv.target.weight(),
            Self::Txt(strings) => strings.weight(),
            Self::Soa(soa) => soa.mname.weight() + soa.rname.weight(),
            Self::Other(OtherRdata { octets, .. }) => octets.weight(),
        }
    }
}

impl Weight for Entry {
    fn weight(&self) -> usize {
        let Self { name, ttl: _, data, owner, mine: _, resource, attributes } = self;
        name.weight() + data.weight() + owner.weight() + resource.weight() + attributes.weight()
    }
}

impl Weight for Code {
    fn weight(&self) -> usize {
        match self {
            Self::Other(name) | Self::OwnedBy(Some(name)) => name.weight(),
            _ => 0,
        }
    }
}

impl Weight for Reason {
    fn weight(&self) -> usize {
        let Self { code, message, attributes } = self;
        code.weight() + message.weight() + attributes.weight()
    }
}

impl Weight for Outcome {
    fn weight(&self) -> usize {
        let Self { status: _, reason, warnings, before, after, token, attributes } = self;
        let entries = before.weight() + after.weight();
        reason.weight() + warnings.weight() + entries + token.weight() + attributes.weight()
    }
}

impl Weight for Problem {
    fn weight(&self) -> usize {
        let Self { place, reason, mended: _ } = self;
        place.weight() + reason.weight()
    }
}

impl Weight for Page {
    fn weight(&self) -> usize {
        self.entries.weight() + self.problems.weight()
    }
}

impl Weight for Seen {
    fn weight(&self) -> usize {
        let Self { server, verdict: _, rcode: _, authoritative: _, ttl: _, data, problem, attributes } = self;
        server.weight() + data.weight() + problem.weight() + attributes.weight()
    }
}

impl Weight for Verification {
    fn weight(&self) -> usize {
        let Self { name, rr_type: _, verdict: _, expected, answers, elapsed_ms: _, attributes } = self;
        name.weight() + expected.weight() + answers.weight() + attributes.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_texts_count_down_to_the_last() {
        let problem = |octets: usize| Problem {
            place: "x".repeat(octets),
            reason: Reason { attributes: vec![("a".to_owned(), "bc".to_owned())], ..Reason::new(Code::Full, "12345") },
            mended: false,
        };
        let pairs = size_of::<(String, String)>() + 3;
        assert_eq!(vec![problem(7)].weight(), size_of::<Problem>() + 7 + 5 + pairs);
        let txt = Rdata::Txt(vec![b"abc".to_vec(), Vec::new()]);
        assert_eq!(txt.weight(), 2 * size_of::<Vec<u8>>() + 3);
    }

    #[test]
    fn load_has_a_limit_over_all_answers() {
        let mut load = Load(MOST - 5);
        assert!(load.take(&"12345".to_owned()).is_ok());
        assert!(matches!(load.take(&"1".to_owned()), Err(Error::Exceeded { .. })));
    }
}
