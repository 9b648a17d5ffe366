//! What the name servers answered, in the words of REST and command line.

use std::fmt;
use std::time::Duration;

use dns_manager_host::contract;
use serde::{Deserialize, Serialize};

use crate::outcome::Reason;
use crate::record::{RecordType, value};

/// The verification of one name and type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Verification {
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    pub record_type: String,
    /// The gravest of the answers.
    pub outcome: Verdict,
    /// The values expected.
    pub expected: Vec<String>,
    /// One per name server.
    pub answers: Vec<Answer>,
}

/// What one name server answered last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = NameServerAnswer)]
pub struct Answer {
    /// The name server, as configured.
    pub nameserver: String,
    /// Its verdict.
    pub outcome: Verdict,
    /// Its response code by name, `NXDOMAIN` say; null: no answer.
    pub rcode: Option<String>,
    /// The values answered.
    pub values: Vec<String>,
    /// The lowest TTL; of a negative answer, that of its SOA.
    pub ttl: Option<u32>,
    /// Milliseconds until it answered as expected: from the acknowledged write that is verified, else from when this was asked for.
    /// Absent: it does not, or the plugin does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolvable_ms: Option<u64>,
    /// Why there is no usable answer, or what is odd about it: a stale one, say, and how long it stays so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// What a verification came to, in rising order of gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Answered as expected.
    Verified,
    /// No usable answer.
    Unreachable,
    /// The name or the type is not there.
    NotFound,
    /// Answered with other values.
    Mismatch,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Verified => "verified",
            Self::Unreachable => "unreachable",
            Self::NotFound => "not-found",
            Self::Mismatch => "mismatch",
        })
    }
}

impl From<contract::Verdict> for Verdict {
    fn from(verdict: contract::Verdict) -> Self {
        match verdict {
            contract::Verdict::Verified => Self::Verified,
            contract::Verdict::Unreachable => Self::Unreachable,
            contract::Verdict::NotFound => Self::NotFound,
            contract::Verdict::Mismatch => Self::Mismatch,
        }
    }
}

impl Verification {
    /// One that follows a write, which was acknowledged so long before the name servers were asked.
    pub(crate) fn after_a_write(verification: &contract::Verification, written: Duration) -> Self {
        Self {
            name: value::name_text(&verification.name),
            record_type: RecordType::from(verification.rr_type).to_string(),
            outcome: verification.verdict.into(),
            expected: texts(&verification.expected),
            answers: verification.answers.iter().map(|seen| Answer::after_a_write(seen, written)).collect(),
        }
    }

    /// Whether every name server answers as expected.
    pub fn is_verified(&self) -> bool {
        self.outcome == Verdict::Verified
    }

    /// One line for each name server that does not answer as expected.
    pub fn problems(&self) -> Vec<String> {
        let what = format!("{} {}", self.name, self.record_type);
        if self.answers.is_empty() && self.outcome != Verdict::Verified {
            return vec![format!("{what}: {}, nothing is registered there", self.outcome)];
        }
        let odd = self.answers.iter().filter(|answer| answer.outcome != Verdict::Verified);
        odd.map(|answer| format!("{what}: {}", answer.problem())).collect()
    }
}

/// The name of these verifications, if there are some and every name server answers as expected.
pub(crate) fn verified_name(verifications: &[Verification]) -> Option<&str> {
    let is_verified = verifications.iter().all(Verification::is_verified);
    verifications.first().filter(|_| is_verified).map(|verification| verification.name.as_str())
}

impl Answer {
    fn problem(&self) -> String {
        let mut text = format!("{}: {}", self.nameserver, self.outcome);
        match (&self.rcode, self.values.as_slice()) {
            (None, _) => {}
            (Some(rcode), []) => text.push_str(&format!(", it answers {rcode} without a value")),
            (Some(_), values) => text.push_str(&format!(", it answers {}", values.join(", "))),
        }
        if let Some(reason) = &self.reason {
            text.push_str(&format!(" ({})", reason.message));
        }
        text
    }
}

impl From<&contract::Verification> for Verification {
    fn from(verification: &contract::Verification) -> Self {
        Self::after_a_write(verification, Duration::ZERO)
    }
}

impl Answer {
    fn after_a_write(seen: &contract::Seen, written: Duration) -> Self {
        Self {
            nameserver: seen.server.clone(),
            outcome: seen.verdict.into(),
            rcode: seen.rcode.map(rcode_name),
            values: texts(&seen.data),
            ttl: seen.ttl,
            resolvable_ms: resolvable_after(seen).map(|after| whole_milliseconds(written + after)),
            reason: seen.problem.as_ref().map(Reason::from),
        }
    }
}

/// From the beginning of the call to the first answer as expected (`docs/plugins.md`).
fn resolvable_after(seen: &contract::Seen) -> Option<Duration> {
    let (_, text) = seen.attributes.iter().find(|(key, _)| key == "resolvable-us")?;
    (seen.verdict == contract::Verdict::Verified).then_some(Duration::from_micros(text.parse().ok()?))
}

/// No fewer than it took.
fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn texts(data: &[contract::Rdata]) -> Vec<String> {
    data.iter().map(value::to_text).collect()
}

/// RFC 6895 2.3.
pub(crate) fn rcode_name(rcode: u16) -> String {
    let name = match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        9 => "NOTAUTH",
        other => return format!("RCODE{other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_until_it_resolves_counts_from_the_write() {
        let seen = |verdict, attributes: &[(&str, &str)]| contract::Seen {
            server: "127.0.0.1:53".to_owned(),
            verdict,
            rcode: Some(0),
            authoritative: true,
            ttl: None,
            data: Vec::new(),
            problem: None,
            attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let written = Duration::from_micros(4_200);
        for (seen, expected) in [
            (seen(contract::Verdict::Verified, &[("resolvable-us", "1800")]), Some(6)),
            (seen(contract::Verdict::Verified, &[("resolvable-us", "1801")]), Some(7)),
            (seen(contract::Verdict::Verified, &[]), None),
            (seen(contract::Verdict::Verified, &[("resolvable-us", "soon")]), None),
            (seen(contract::Verdict::NotFound, &[("resolvable-us", "1800")]), None),
        ] {
            assert_eq!(Answer::after_a_write(&seen, written).resolvable_ms, expected, "{seen:?}");
        }
    }

    #[test]
    fn a_verification_in_json() {
        let verification = contract::Verification {
            name: "web.example.com.".to_owned(),
            rr_type: 1,
            verdict: contract::Verdict::NotFound,
            expected: vec![contract::Rdata::A((192, 0, 2, 1))],
            answers: vec![contract::Seen {
                server: "127.0.0.1:53".to_owned(),
                verdict: contract::Verdict::NotFound,
                rcode: Some(3),
                authoritative: true,
                ttl: Some(7),
                data: Vec::new(),
                problem: None,
                attributes: Vec::new(),
            }],
            elapsed_ms: 3,
            attributes: Vec::new(),
        };

        let verification = Verification::from(&verification);

        assert_eq!(
            serde_json::to_string(&verification).unwrap(),
            r#"{"name":"web.example.com","record_type":"A","outcome":"not-found","expected":["192.0.2.1"],"answers":[{"nameserver":"127.0.0.1:53","outcome":"not-found","rcode":"NXDOMAIN","values":[],"ttl":7}]}"#
        );
        assert_eq!(
            verification.problems(),
            ["web.example.com A: 127.0.0.1:53: not-found, it answers NXDOMAIN without a value"]
        );
    }
}
