//! Names that the orchestrator itself has to understand: zones of the configuration and host names of servers.
//!
//! Names of records are the component's business and pass through as they were written.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// RFC 1035 2.3.4.
const MAX_LABEL: usize = 63;
/// RFC 1035 2.3.4 allows 255 octets on the wire, that is 253 characters without the trailing dot.
const MAX_NAME: usize = 253;

/// A DNS name of ASCII labels, in lower case, without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name, as somebody wrote it, is surely this one or below it. Whole labels are compared; one with an escaped
    /// dot could hide what its labels are, and is not.
    pub(crate) fn holds(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let rest = name.strip_suffix(self.as_str()).filter(|_| !name.contains('\\'));
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |why: String| Err(NameError { text: text.to_owned(), kind: "name", why });
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return refuse("it is empty".to_owned());
        }
        if name.parse::<IpAddr>().is_ok() {
            return refuse("it is an IP address".to_owned());
        }
        for label in name.split('.') {
            if let Some(why) = label_problem(label) {
                return refuse(why);
            }
        }
        if name.len() > MAX_NAME {
            return refuse(format!("it is {} octets long, {MAX_NAME} are allowed", name.len()));
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// The full name of a server: a [`Name`] of letters, digits and hyphens (RFC 1123 2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(Name);

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Reads what somebody gave as a server's name; a short one is completed with `domain`.
    ///
    /// # Errors
    ///
    /// It is no host name; or it is short, and there is no domain. Then the error proposes a full name, below `suggestion`.
    pub fn complete(text: &str, domain: Option<&Name>, suggestion: &str) -> Result<Self, NameError> {
        let given: Self = text.parse()?;
        if given.as_str().contains('.') {
            return Ok(given);
        }
        match domain {
            Some(domain) => format!("{given}.{domain}").parse(),
            None => Err(NameError {
                text: text.to_owned(),
                kind: "full host name",
                why: format!("give \"{given}.{suggestion}\", say, or set orchestrator.domain"),
            }),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let as_host = |error: NameError| NameError { kind: "host name", ..error };
        let name: Name = text.parse().map_err(as_host)?;
        for label in name.as_str().split('.') {
            let why = if let Some(character) = label.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
                format!("label \"{label}\" has \"{character}\": letters, digits and \"-\" are allowed")
            } else if label.starts_with('-') || label.ends_with('-') {
                format!("label \"{label}\" starts or ends with \"-\"")
            } else {
                continue;
            };
            return Err(NameError { text: text.to_owned(), kind: "host name", why });
        }
        Ok(Self(name))
    }
}

/// Text that is not the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is not a {kind}: {why}", text.escape_debug())]
pub struct NameError {
    text: String,
    kind: &'static str,
    why: String,
}

fn label_problem(label: &str) -> Option<String> {
    if label.is_empty() {
        return Some("it has an empty label".to_owned());
    }
    if !label.is_ascii() {
        return Some(format!("label \"{label}\" is not ASCII: write it in its ASCII form, which starts with \"xn--\""));
    }
    if label.chars().any(|c| c.is_ascii_whitespace() || c.is_ascii_control()) {
        return Some(format!("label \"{}\" has white space", label.escape_debug()));
    }
    if label.len() > MAX_LABEL {
        return Some(format!("label \"{label}\" is {} octets long, {MAX_LABEL} are allowed", label.len()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_and_has_no_trailing_dot() {
        assert_eq!("Example.COM.".parse::<Name>().unwrap().as_str(), "example.com");
        assert_eq!("_dmarc.example.com".parse::<Name>().unwrap().as_str(), "_dmarc.example.com");
    }

    #[test]
    fn what_is_no_host_name_is_refused_with_the_reason() {
        let long_label = "a".repeat(64);
        let long_name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
        for (text, expected) in [
            ("", "\"\" is not a host name: it is empty".to_owned()),
            ("192.168.1.10", "\"192.168.1.10\" is not a host name: it is an IP address".to_owned()),
            ("web 01.example.com", "\"web 01.example.com\" is not a host name: label \"web 01\" has white space".to_owned()),
            (
                "web_01.example.com",
                "\"web_01.example.com\" is not a host name: label \"web_01\" has \"_\": letters, digits and \"-\" are allowed"
                    .to_owned(),
            ),
            ("-web.example.com", "\"-web.example.com\" is not a host name: label \"-web\" starts or ends with \"-\"".to_owned()),
            ("web..com", "\"web..com\" is not a host name: it has an empty label".to_owned()),
            (
                &long_label,
                format!("\"{long_label}\" is not a host name: label \"{long_label}\" is 64 octets long, 63 are allowed"),
            ),
            (&long_name, format!("\"{long_name}\" is not a host name: it is 254 octets long, 253 are allowed")),
        ] {
            assert_eq!(text.parse::<HostName>().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_short_host_name_is_completed_or_refused_with_a_proposal() {
        let domain = "example.com".parse().unwrap();

        let completed = HostName::complete("Web-01", Some(&domain), "example.com").unwrap();
        let refused = HostName::complete("web-01", None, "example.org").unwrap_err();

        assert_eq!(completed.as_str(), "web-01.example.com");
        assert_eq!(
            refused.to_string(),
            "\"web-01\" is not a full host name: give \"web-01.example.org\", say, or set orchestrator.domain"
        );
    }
}
