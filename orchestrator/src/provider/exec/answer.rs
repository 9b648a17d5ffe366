//! What the program answered, and what that means.
//!
//! A program that fails is called again, unless it says that this is of no use. One that says something else than the protocol
//! has is not: it has to be put right first.

use std::net::IpAddr;
use std::process::ExitStatus;

use serde::Deserialize;

use super::line::printable;
use crate::provider::{Error, Status};

/// Of a text that goes to people, so many characters.
const MOST_TOLD: usize = 1000;
/// Of an answer that cannot be read, so many characters.
const MOST_SHOWN: usize = 120;

/// How a run of the program ended by itself.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
    /// Of its standard error; empty: it said nothing there.
    pub(super) last_words: String,
}

/// The document on the program's standard output. What it has beyond these fields is for later versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Answer {
    status: Option<String>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    detail: String,
    error: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Failure {
    message: String,
    #[serde(default = "yes")]
    may_pass: bool,
}

fn yes() -> bool {
    true
}

/// The answer of a program that did what it was asked.
pub(super) fn judge(ended: &Ended) -> Result<Answer, Error> {
    let answer = read(&ended.output);
    if let Ok(Answer { error: Some(Failure { message, may_pass }), .. }) = &answer {
        return Err(Error { message: printable(message, MOST_TOLD), may_pass: *may_pass });
    }
    if ended.status.success() {
        return answer.map_err(Error::lasting);
    }
    let how = how_it_ended(ended.status);
    Err(Error::passing(if ended.last_words.is_empty() { how } else { format!("{how}: {}", ended.last_words) }))
}

fn read(output: &[u8]) -> Result<Answer, String> {
    let beginning = || printable(&String::from_utf8_lossy(output), MOST_SHOWN);
    if output.trim_ascii().is_empty() {
        // Enough where nothing is to be told.
        return Ok(Answer::default());
    }
    match serde_json::from_slice(output) {
        Ok(serde_json::Value::Object(fields)) => {
            serde_json::from_value(serde_json::Value::Object(fields)).map_err(|error| {
                format!("its answer is not what the protocol has ({error}); it begins with: {}", beginning())
            })
        }
        Ok(_) => Err(format!("its answer is JSON, but no object; it begins with: {}", beginning())),
        Err(error) => Err(format!("its answer is not one JSON document ({error}); it begins with: {}", beginning())),
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;

    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(signal)) => format!("it was killed by signal {signal}"),
        (None, None) => "it ended in an unknown way".to_owned(),
    }
}

impl Answer {
    /// How far the server is.
    pub(super) fn status(self) -> Result<Status, Error> {
        match self.status.as_deref() {
            Some("absent") => Ok(Status::Absent),
            Some("pending") => Ok(Status::Pending(printable(&self.detail, MOST_TOLD))),
            Some("ready") => addresses(&self.addresses).map(Status::Ready).map_err(Error::lasting),
            Some(other) => Err(Error::lasting(format!(
                "its status \"{}\" is none: write \"absent\", \"pending\" or \"ready\"",
                printable(other, MOST_SHOWN)
            ))),
            None => Err(Error::lasting(
                "its answer has no \"status\": write {\"status\": \"absent\"}, \"pending\", or \"ready\" with its \"addresses\"",
            )),
        }
    }
}

fn addresses(texts: &[String]) -> Result<Vec<IpAddr>, String> {
    let mut addresses = Vec::with_capacity(texts.len());
    for text in texts {
        let address = text.parse().ok().filter(|address: &IpAddr| !address.is_unspecified() && !address.is_multicast());
        let Some(address) = address else {
            let text = printable(text, MOST_SHOWN);
            return Err(format!(
                "\"{text}\" is not the address of a server: write it such as \"192.0.2.1\" or \"2001:db8::1\""
            ));
        };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err("it says \"ready\" without \"addresses\": a server that is ready has at least one".to_owned());
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    /// `wait` has the exit status in the second octet, and the signal in the first.
    fn ended(status: i32, output: &str) -> Ended {
        Ended {
            status: ExitStatus::from_raw(status),
            output: output.as_bytes().to_vec(),
            last_words: "boom".to_owned(),
        }
    }

    fn status(output: &str) -> Result<Status, Error> {
        judge(&ended(0, output))?.status()
    }

    #[test]
    fn a_status_is_one_of_three() {
        assert_eq!(status("{\"status\": \"absent\", \"more\": 1}"), Ok(Status::Absent));
        assert_eq!(
            status("{\"status\": \"pending\", \"detail\": \"boots\\u001b[2J\"}"),
            Ok(Status::Pending("boots\\u{1b}[2J".to_owned()))
        );
        let addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(
            status("{\"status\": \"ready\", \"addresses\": [\"192.0.2.1\", \"2001:DB8::1\", \"192.0.2.1\"]}\n"),
            Ok(Status::Ready(addresses))
        );
        assert_eq!(judge(&ended(0, " \n")), Ok(Answer::default()));
    }

    #[test]
    fn what_does_not_keep_the_protocol_is_named_and_not_repeated() {
        for (output, expected) in [
            (
                "",
                "its answer has no \"status\": write {\"status\": \"absent\"}, \"pending\", or \"ready\" with its \"addresses\"",
            ),
            ("{\"status\": \"up\"}", "its status \"up\" is none: write \"absent\", \"pending\" or \"ready\""),
            (
                "{\"status\": \"ready\"}",
                "it says \"ready\" without \"addresses\": a server that is ready has at least one",
            ),
            (
                "{\"status\": \"ready\", \"addresses\": [\"web-01\"]}",
                "\"web-01\" is not the address of a server: write it such as \"192.0.2.1\" or \"2001:db8::1\"",
            ),
            (
                "{\"status\": \"ready\", \"addresses\": [\"0.0.0.0\"]}",
                "\"0.0.0.0\" is not the address of a server: write it such as \"192.0.2.1\" or \"2001:db8::1\"",
            ),
            (
                "{\"status\": \"ready\", \"addresses\": \"192.0.2.1\"}",
                "its answer is not what the protocol has (invalid type: string \"192.0.2.1\", expected a sequence); it \
                 begins with: {\"status\": \"ready\", \"addresses\": \"192.0.2.1\"}",
            ),
            (
                "Traceback\n\u{7}",
                "its answer is not one JSON document (expected value at line 1 column 1); it begins with: Traceback\\n\\u{7}",
            ),
            (
                "{} {}",
                "its answer is not one JSON document (trailing characters at line 1 column 4); it begins with: {} {}",
            ),
            ("[]", "its answer is JSON, but no object; it begins with: []"),
        ] {
            assert_eq!(status(output), Err(Error::lasting(expected)), "{output}");
        }
    }

    #[test]
    fn a_failure_is_repeated_unless_the_program_says_that_it_lasts() {
        let busy = "{\"error\": {\"message\": \"busy\"}}";
        let never = "{\"error\": {\"message\": \"no such image\", \"may_pass\": false}}";
        for (raw, output, expected) in [
            (3 << 8, "", Error::passing("it ended with exit status 3: boom")),
            (3 << 8, "{\"status\": \"absent\"}", Error::passing("it ended with exit status 3: boom")),
            (3 << 8, "nonsense", Error::passing("it ended with exit status 3: boom")),
            (9, "", Error::passing("it was killed by signal 9: boom")),
            (1 << 8, busy, Error::passing("busy")),
            (0, busy, Error::passing("busy")),
            (1 << 8, never, Error::lasting("no such image")),
            (0, never, Error::lasting("no such image")),
        ] {
            assert_eq!(judge(&ended(raw, output)), Err(expected), "{raw} {output}");
        }
    }
}
