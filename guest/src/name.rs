//! DNS names: absolute, lower-case, in one canonical spelling.
//!
//! A [`Name`] in hand is a legal name (RFC 1035 2.3.4, RFC 2181 11). Whether
//! it can be *served* is a narrower question; [`Name::check_servable`] answers
//! it for the names that records stand at.

use std::{fmt, str::FromStr};

/// The longest name on the wire, in octets (RFC 1035 2.3.4).
const MAX_NAME: usize = 255;
/// The longest label, in octets.
const MAX_LABEL: usize = 63;

/// An absolute name, lower-case. The root has no labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Leftmost first; each in the presentation form of miekg/dns, in which CoreDNS spells the components of a key.
    labels: Vec<Box<str>>,
}

impl Name {
    /// The name without labels.
    pub fn root() -> Self {
        Self::default()
    }

    /// Tells whether this is the root.
    pub fn is_root(&self) -> bool {
        self.labels.is_empty()
    }

    /// The labels, leftmost first, in presentation form.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.labels.iter().map(AsRef::as_ref)
    }

    /// The number of labels.
    pub fn label_count(&self) -> usize {
        self.labels.len()
    }

    /// The name one label up; none for the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.labels.split_first()?;
        Some(Self { labels: rest.to_vec() })
    }

    /// The names above this one, nearest first, up to and with `top`; none when `top` is not above.
    pub fn ancestors_up_to(&self, top: &Self) -> Vec<Self> {
        if !self.is_below(top) {
            return Vec::new();
        }
        (1..=self.label_count() - top.label_count())
            .filter_map(|cut| Some(Self { labels: self.labels.get(cut..)?.to_vec() }))
            .collect()
    }

    /// Tells whether this is `other` or a name below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.labels.ends_with(&other.labels)
    }

    /// Tells whether this is a name below `other`.
    pub fn is_below(&self, other: &Self) -> bool {
        self.label_count() > other.label_count() && self.is_within(other)
    }

    /// Tells whether this is an IPv6 address, or a part of one (RFC 3596 2.5).
    pub fn is_ip6(&self) -> bool {
        self.labels().rev().take(2).eq(["arpa", "ip6"])
    }

    /// The name `label.self`. The label is one of the fixed words of the layout.
    pub(crate) fn child(&self, label: &str) -> Self {
        let mut labels = Vec::with_capacity(self.labels.len() + 1);
        labels.push(label.into());
        labels.extend(self.labels.iter().cloned());
        Self { labels }
    }

    /// The name of labels that are in presentation form already, as in a key.
    pub(crate) fn from_components<'a>(labels: impl Iterator<Item = &'a str>) -> Self {
        Self { labels: labels.map(Into::into).collect() }
    }

    /// This name without its first `count` labels.
    pub(crate) fn without_first(&self, count: usize) -> Self {
        Self { labels: self.labels.get(count..).unwrap_or_default().to_vec() }
    }

    /// Octets on the wire, uncompressed.
    pub fn wire_length(&self) -> usize {
        1 + self.labels.iter().map(|label| 1 + unescaped(label).count()).sum::<usize>()
    }

    /// Checks that stock CoreDNS can serve records at this name.
    ///
    /// # Errors
    ///
    /// [`Unservable`] for the first label that it cannot: the rules are those of CoreDNS's `plugin/etcd/msg/path.go` (a key is
    /// made of labels) and `plugin/etcd/etcd.go` (`*` and `any` in a question are wildcards).
    pub fn check_servable(&self) -> Result<(), Unservable> {
        for label in self.labels() {
            let problem = match label {
                "*" => Problem::Wildcard,
                "any" => Problem::Any,
                _ => match unescaped(label).find(|octet| !matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')) {
                    Some(octet @ b' '..=b'~') => Problem::Character(label.into(), char::from(octet).to_string()),
                    Some(octet) => Problem::Character(label.into(), format!("\\{octet:03}")),
                    None => continue,
                },
            };
            return Err(Unservable { name: self.clone(), problem });
        }
        Ok(())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (i, label) in self.labels().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            f.write_str(label)?;
        }
        Ok(())
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    /// Reads presentation form (RFC 1035 5.1), with or without a trailing dot, in any letter case. Letters beyond ASCII
    /// go through IDNA (UTS 46).
    fn from_str(input: &str) -> Result<Self, InvalidName> {
        let fail = |fault| InvalidName { input: shortened(input), fault };
        if input == "." {
            return Ok(Self::root());
        }
        if input.is_empty() {
            return Err(fail(Fault::Empty));
        }
        let ascii = if input.is_ascii() {
            std::borrow::Cow::Borrowed(input)
        } else {
            idna::domain_to_ascii_cow(input.as_bytes(), idna::AsciiDenyList::EMPTY).map_err(|_| fail(Fault::Idna))?
        };
        let mut labels = Vec::new();
        let mut label = Vec::new();
        let mut octets = ascii.bytes().peekable();
        while let Some(octet) = octets.next() {
            match octet {
                b'.' if label.is_empty() => return Err(fail(Fault::EmptyLabel)),
                b'.' => labels.push(std::mem::take(&mut label)),
                b'\\' => label.push(unescape(&mut octets).ok_or_else(|| fail(Fault::Escape))?),
                _ => label.push(octet),
            }
        }
        if !label.is_empty() {
            labels.push(label);
        }
        if let Some(long) = labels.iter().find(|label| label.len() > MAX_LABEL) {
            let (label, octets) = (shortened(&present(long)), long.len());
            return Err(fail(Fault::LongLabel { label, octets }));
        }
        let name = Self { labels: labels.iter().map(|label| present(label).into()).collect() };
        match name.wire_length() {
            length if length > MAX_NAME => Err(fail(Fault::Long { characters: length - 2 })),
            _ => Ok(name),
        }
    }
}

/// What stands after a backslash: three digits, or one character.
fn unescape(octets: &mut std::iter::Peekable<std::str::Bytes<'_>>) -> Option<u8> {
    let first = octets.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let digits = [first, octets.next()?, octets.next()?];
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// The canonical presentation of a label, as miekg/dns spells it (`types.go`, `sprintName`).
fn present(label: &[u8]) -> String {
    let mut text = String::with_capacity(label.len());
    for octet in label {
        match octet.to_ascii_lowercase() {
            special @ (b'.' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' | b' ') => {
                text.push('\\');
                text.push(special.into());
            }
            plain @ 0x21..=0x7e => text.push(plain.into()),
            other => text.push_str(&format!("\\{other:03}")),
        }
    }
    text
}

/// The octets that a label in presentation form stands for.
fn unescaped(label: &str) -> impl Iterator<Item = u8> {
    let mut bytes = label.bytes().peekable();
    std::iter::from_fn(move || match bytes.next()? {
        b'\\' => unescape(&mut bytes),
        octet => Some(octet),
    })
}

/// Input as it may stand in a message: whole when it is short.
fn shortened(input: &str) -> String {
    match input.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", input.get(..end).unwrap_or_default()),
        None => input.to_owned(),
    }
}

/// Text that is no DNS name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    input: String,
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    Empty,
    EmptyLabel,
    Escape,
    Idna,
    Long { characters: usize },
    LongLabel { label: String, octets: usize },
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, fault } = self;
        match fault {
            Fault::Empty => write!(f, "the name is empty; write a full name such as web-01.example.com"),
            Fault::EmptyLabel => write!(f, "`{input}` is no name: there is nothing between two dots"),
            Fault::Escape => {
                write!(f, "`{input}` is no name: after `\\` one character or three digits up to 255 must follow")
            }
            Fault::Idna => write!(f, "`{input}` is no name: its letters cannot be converted for DNS (IDNA)"),
            Fault::Long { characters } => {
                write!(f, "`{input}` is no name: it has {characters} characters, and 253 is the most that DNS allows")
            }
            Fault::LongLabel { label, octets } => {
                write!(
                    f,
                    "`{input}` is no name: the label `{label}` has {octets} octets, and 63 is the most that DNS allows"
                )
            }
        }
    }
}

impl std::error::Error for InvalidName {}

/// A legal name that stock CoreDNS cannot serve records at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unservable {
    name: Name,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Any,
    Character(String, String),
    Wildcard,
}

impl fmt::Display for Unservable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, problem } = self;
        match problem {
            Problem::Any => write!(
                f,
                "`{name}`: CoreDNS's etcd plugin takes the label `any` in a question for a wildcard, so this name cannot be served; choose another name"
            ),
            Problem::Character(label, character) => write!(
                f,
                "`{name}`: the label `{label}` holds `{character}`; only letters, digits, `-` and `_` can be served"
            ),
            Problem::Wildcard => {
                let below = name.parent().unwrap_or_default();
                let pattern = below.to_string().replace('.', "[.]");
                write!(
                    f,
                    "`{name}`: CoreDNS's etcd plugin serves no wildcard records; put this into the Corefile instead, with your address: \
                     template IN A {below} {{ match \"^[^.]+[.]{pattern}[.]$\" answer \"{{{{ .Name }}}} 300 IN A 192.0.2.1\" fallthrough }}"
                )
            }
        }
    }
}

impl std::error::Error for Unservable {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_name_are_equal() {
        let cases = [
            ("WEB-01.Example.COM.", "web-01.example.com"),
            (".", "."),
            (r"a\.b.example", r"a\.b.example"),
            (r"a\046b.example", r"a\.b.example"),
            (r"\119eb.example", "web.example"),
            (r"a\032b.example", r"a\ b.example"),
            ("a b.example", r"a\ b.example"),
            (r"\195\169.example", r"\195\169.example"),
            ("bücher.example", "xn--bcher-kva.example"),
        ];
        for (input, canonical) in cases {
            assert_eq!(name(input).to_string(), canonical, "{input}");
            assert_eq!(name(canonical), name(input), "{input}");
        }
    }

    #[test]
    fn lengths_are_counted_on_the_wire() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(name(&longest).wire_length(), 255);
        let error = format!("{label}.{label}.{label}.{}", "b".repeat(62)).parse::<Name>().unwrap_err();
        assert!(error.to_string().ends_with("it has 254 characters, and 253 is the most that DNS allows"), "{error}");
        let error = format!("{}.example", "a".repeat(64)).parse::<Name>().unwrap_err();
        assert!(error.to_string().contains("has 64 octets, and 63 is the most"), "{error}");
    }

    #[test]
    fn what_is_no_name_says_why() {
        for (input, part) in
            [("", "is empty"), ("a..b", "between two dots"), (".a", "between two dots"), (r"a\25", "three digits")]
        {
            let error = input.parse::<Name>().unwrap_err().to_string();
            assert!(error.contains(part), "{input}: {error}");
        }
    }

    #[test]
    fn names_that_cannot_be_served_say_what_to_do() {
        for (input, part) in [
            ("*.apps.example.com", "template IN A apps.example.com"),
            ("any.example.com", "for a wildcard"),
            ("web 01.example.com", "holds ` `"),
            ("0/25.2.0.192.in-addr.arpa", "holds `/`"),
        ] {
            let error = name(input).check_servable().unwrap_err().to_string();
            assert!(error.contains(part), "{input}: {error}");
        }
        name("_sip._tcp.web-01.example.com").check_servable().unwrap();
    }

    #[test]
    fn ancestors_end_at_the_top() {
        let shown: Vec<String> =
            name("c.b.a.example").ancestors_up_to(&name("a.example")).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["b.a.example", "a.example"]);
        assert!(name("xa.example").ancestors_up_to(&name("a.example")).is_empty());
    }
}
