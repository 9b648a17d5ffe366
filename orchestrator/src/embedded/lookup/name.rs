//! Names as CoreDNS's DNS library has them: text in presentation form, escapes included, from end to end.
//!
//! What looks like a detail here decides answers: a name is split, compared and lower-cased as text, and whether it can be
//! sent at all shows only when it is turned into octets. The rules are those of miekg/dns.

/// Adds the final dot if the text has none.
pub fn fqdn(name: &[u8]) -> Vec<u8> {
    let mut name = name.to_vec();
    if !is_fqdn(&name) {
        name.push(b'.');
    }
    name
}

/// Whether it ends in a dot that is not escaped.
fn is_fqdn(name: &[u8]) -> bool {
    let Some((b'.', rest)) = name.split_last() else { return false };
    rest.iter().rev().take_while(|octet| **octet == b'\\').count().is_multiple_of(2)
}

/// Where the label after the one at `offset` begins; none behind the last.
fn next_label(name: &[u8], offset: usize) -> Option<usize> {
    let end = name.len().saturating_sub(1);
    (offset..end)
        .find(|&place| {
            let before = name.get(..place).unwrap_or_default();
            let backslashes = before.iter().rev().take_while(|octet| **octet == b'\\').count();
            name.get(place) == Some(&b'.') && backslashes.is_multiple_of(2)
        })
        .map(|dot| dot + 1)
}

/// Where the labels begin.
fn starts(name: &[u8]) -> Vec<usize> {
    if name == b"." {
        return Vec::new();
    }
    std::iter::successors(Some(0), |&offset| next_label(name, offset)).collect()
}

/// The labels, from the left.
pub fn labels(name: &[u8]) -> Vec<&[u8]> {
    if name.is_empty() {
        return Vec::new();
    }
    let starts = starts(name);
    let end = if is_fqdn(name) { name.len() - 1 } else { name.len() };
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([end]);
    starts.iter().zip(ends).map(|(&start, end)| name.get(start..end).unwrap_or_default()).collect()
}

/// Whether `child` is `parent` or lies below it.
pub fn is_within(parent: &[u8], child: &[u8]) -> bool {
    if parent == b"." {
        return true;
    }
    let (parents, children) = (starts(parent), starts(child));
    if parents.len() > children.len() {
        return false;
    }
    // Whole suffixes are compared, dots included: a name without its final dot is below nothing.
    let suffix = children.get(children.len() - parents.len()).and_then(|&start| child.get(start..));
    suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(parent))
}

/// Without its first `count` labels; as it is, if it has no more than that.
pub fn stripped(name: &[u8], count: i64) -> &[u8] {
    let mut offset = 0;
    for _ in 0..count {
        match next_label(name, offset) {
            Some(next) => offset = next,
            None => return name,
        }
    }
    name.get(offset..).unwrap_or_default()
}

/// The name that joins these, as CoreDNS's `dnsutil.Join` does.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    match parts.split_last() {
        None => b".".to_vec(),
        Some((last, rest)) if *last == b"." => [rest.join(&b'.').as_slice(), b"."].concat(),
        Some(_) => fqdn(&parts.join(&b'.')),
    }
}

/// The text with every escape in its usual form, as a name from the wire has it.
pub fn normal(name: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = Vec::with_capacity(name.len());
    // Until something has to be written otherwise, all that was passed stays as it was.
    let mut is_changed = false;
    let mut place = 0;
    while let Some(&octet) = name.get(place) {
        if octet == b'.' {
            text.push(b'.');
            place += 1;
            continue;
        }
        let Some((value, length)) = next_octet(name, place) else { break };
        match value {
            b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                text.extend([b'\\', value]);
                is_changed = true;
            }
            0x20..=0x7e if is_changed => text.push(value),
            // An escape that needs none stays, until then.
            0x20..=0x7e => text.extend_from_slice(name.get(place..place + length).unwrap_or_default()),
            _ => {
                text.extend_from_slice(format!("\\{value:03}").as_bytes());
                is_changed = true;
            }
        }
        place += length;
    }
    text
}

/// The octet that is written at `place`, and how much text it takes; none for a lone backslash at the end.
fn next_octet(name: &[u8], place: usize) -> Option<(u8, usize)> {
    match name.get(place..)? {
        [b'\\', rest @ ..] => match (decimal(rest), rest) {
            (Some(value), _) => Some((value, 4)),
            (None, [value, ..]) => Some((*value, 2)),
            (None, []) => None,
        },
        [value, ..] => Some((*value, 1)),
        [] => None,
    }
}

/// The octet that three digits at the beginning name; what does not fit wraps.
pub fn decimal(text: &[u8]) -> Option<u8> {
    let digits = text.first_chunk::<3>()?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(10).wrapping_add(digit - b'0')))
}

/// How many octets its labels take on the wire, escapes resolved.
pub fn unescaped_length(name: &[u8]) -> usize {
    let mut length = name.len();
    let mut place = 0;
    while let Some(rest) = name.get(place..).filter(|rest| !rest.is_empty()) {
        let step = match rest {
            [b'\\', escaped @ ..] if decimal(escaped).is_some() => 4,
            [b'\\', ..] => 2,
            _ => 1,
        };
        length = length.saturating_sub(step - 1);
        place += step;
    }
    length
}

/// The suffixes that begin with a label, the whole name first.
pub fn suffixes(name: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let starts = std::iter::successors(Some(0), |&offset| next_label(name, offset));
    starts.map(|start| (start, name.get(start..).unwrap_or_default()))
}

/// The labels in octets; none if it cannot be sent: no final dot, an empty label, one of more than 63 octets, or more
/// than 255 octets in all (these CoreDNS sends, and nobody can read them).
pub fn octets(name: &[u8]) -> Option<Vec<Vec<u8>>> {
    if !is_fqdn(name) {
        return None;
    }
    if name == b"." {
        return Some(Vec::new());
    }
    let mut labels = Vec::new();
    let mut label = Vec::new();
    let mut place = 0;
    while let Some(&octet) = name.get(place) {
        if octet == b'.' {
            if label.is_empty() || label.len() > 63 {
                return None;
            }
            labels.push(std::mem::take(&mut label));
            place += 1;
        } else {
            let (value, length) = next_octet(name, place)?;
            label.push(value);
            place += length;
        }
    }
    let length: usize = labels.iter().map(|label: &Vec<u8>| label.len() + 1).sum();
    (length < 255).then_some(labels)
}

/// A name from the wire as text.
pub fn from_octets<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut text = Vec::new();
    for label in labels {
        for &octet in label {
            match octet {
                b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => text.extend([b'\\', octet]),
                0x20..=0x7e => text.push(octet),
                _ => text.extend_from_slice(format!("\\{octet:03}").as_bytes()),
            }
        }
        text.push(b'.');
    }
    if text.is_empty() { b".".to_vec() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_at_dots_that_are_not_escaped() {
        for (name, expected) in [
            ("a.b.example.com.", vec!["a", "b", "example", "com"]),
            ("a\\.b.com", vec!["a\\.b", "com"]),
            ("a\\\\.com.", vec!["a\\\\", "com"]),
            ("a..b.", vec!["a", "", "b"]),
            (".", vec![]),
        ] {
            let labels: Vec<_> = labels(name.as_bytes()).iter().map(|label| String::from_utf8_lossy(label)).collect();
            assert_eq!(labels, expected, "{name}");
        }
    }

    #[test]
    fn within_is_by_whole_labels() {
        for (parent, child, expected) in [
            ("example.com.", "a.EXAMPLE.com.", true),
            ("example.com.", "example.com.", true),
            ("example.com.", "anexample.com.", false),
            ("example.com.", "com.", false),
            ("example.com.", "a.example.com\\.", false),
            (".", "com.", true),
        ] {
            assert_eq!(is_within(parent.as_bytes(), child.as_bytes()), expected, "{parent} {child}");
        }
    }

    #[test]
    fn what_cannot_be_sent_has_no_octets() {
        for (name, expected) in [
            ("a.b.", Some(vec![b"a".to_vec(), b"b".to_vec()])),
            ("\\065\\b.", Some(vec![b"Ab".to_vec()])),
            ("\\999.", Some(vec![vec![231]])),
            ("a\\.b.", Some(vec![b"a.b".to_vec()])),
            (".", Some(vec![])),
            ("a..b.", None),
            (".a.", None),
            ("a\\.", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(octets(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(octets(format!("{}.", "x".repeat(64)).as_bytes()), None);
    }

    #[test]
    fn escapes_get_their_usual_form_once_one_is_needed() {
        for (name, expected) in [
            ("a b.com.", "a\\ b.com."),
            ("\\065.com.", "\\065.com."),
            ("\u{e9}\\065.com.", "\\195\\169A.com."),
            ("a\\", "a"),
        ] {
            assert_eq!(String::from_utf8_lossy(&normal(name.as_bytes())), expected, "{name}");
        }
    }
}
