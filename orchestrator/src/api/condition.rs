//! Conditional requests: the ETag of a server is its revision in quotation marks (RFC 9110, section 13).

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::error::Failure;
use crate::registry::SetTag;

/// The ETag of a revision.
pub(super) fn tag(revision: u64) -> HeaderValue {
    // Digits and quotation marks are what a header may have.
    HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The revision that `If-Match` demands; none: any.
pub(super) fn demanded(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    match one(headers, &IF_MATCH)? {
        None | Some("*") => Ok(None),
        Some(text) => match unquoted(text) {
            Some(revision) => Ok(Some(revision)),
            None => Err(Failure::invalid(format!(
                "If-Match: \"{}\" is no ETag of a server: send one that a GET brought, or *",
                text.escape_debug()
            ))),
        },
    }
}

/// The ETag of a record set.
pub(super) fn set_tag(tag: &SetTag) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", tag.as_str())).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The tag of a record set that `If-Match` demands; none: any.
pub(super) fn demanded_set(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    match one(headers, &IF_MATCH)? {
        None | Some("*") => Ok(None),
        Some(text) => {
            let tag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|tag| !tag.contains('"'));
            tag.map(|tag| Some(tag.to_owned())).ok_or_else(|| {
                let text = text.escape_debug();
                Failure::invalid(format!("If-Match: \"{text}\" is no ETag: send one that a GET brought, or *"))
            })
        }
    }
}

/// Whether `If-None-Match` says that this revision is known.
pub(super) fn is_known(headers: &HeaderMap, revision: u64) -> bool {
    let given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = given.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|text| text == "*" || unquoted(text.strip_prefix("W/").unwrap_or(text)) == Some(revision))
}

/// Refuses a condition where there is nothing that it could be about.
pub(super) fn refuse(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.contains_key(IF_MATCH) {
        let why =
            "If-Match: a tag is of one record set: send it with DELETE /api/v1/dns/records/NAME/TYPE, or leave it out";
        return Err(Failure::invalid(why));
    }
    Ok(())
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Failure::invalid(format!("{name} is given more than once")));
    }
    let text = first.map(|value| value.to_str().map_err(|_| Failure::invalid(format!("{name} is no text"))));
    Ok(text.transpose()?.map(str::trim))
}

fn unquoted(text: &str) -> Option<u64> {
    text.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_revision_is_demanded_by_its_tag() {
        assert_eq!(demanded(&HeaderMap::new()).unwrap(), None);
        assert_eq!(demanded(&headers(IF_MATCH, "*")).unwrap(), None);
        assert_eq!(demanded(&headers(IF_MATCH, "\"17\"")).unwrap(), Some(17));
        assert_eq!(tag(17), "\"17\"");
        for wrong in ["17", "W/\"17\"", "\"17\", \"18\"", "\"x\"", ""] {
            assert!(demanded(&headers(IF_MATCH, wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_known_revision_need_not_be_sent_again() {
        assert!(!is_known(&HeaderMap::new(), 17));
        for known in ["\"17\"", "\"16\", \"17\"", "W/\"17\"", "*"] {
            assert!(is_known(&headers(IF_NONE_MATCH, known), 17), "{known}");
        }
        assert!(!is_known(&headers(IF_NONE_MATCH, "\"18\", 17"), 17));
    }
}
