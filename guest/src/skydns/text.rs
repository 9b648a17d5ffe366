//! How the text of a TXT is spelt in a value.
//!
//! CoreDNS cuts the stored text every 255 octets (`plugin/etcd/msg/service.go`, `split255`) and takes each piece for
//! presentation form: `\DDD` and `\x` are escapes. So a cut must not fall into an escape, and the length must not be a multiple of
//! 255, which would add an empty string. Both are avoided by spelling an earlier octet one character longer: `\x` for `x`.

/// Where CoreDNS cuts.
const CUT: usize = 255;

/// Spells `text` for a value; none when no spelling of it survives the cuts.
///
/// That is so only for texts with 63 or more octets in a row that are no UTF-8.
pub fn encode(text: &[u8]) -> Option<String> {
    if text.is_empty() {
        // The only way to serve an empty string: an escape of nothing.
        return Some("\\".to_owned());
    }
    let tokens = tokens(text);
    let mut stored = String::with_capacity(text.len() + 8);
    let mut piece: Vec<String> = Vec::new();
    let mut length = 0;
    for token in tokens {
        if length + token.len() > CUT {
            fill(&mut piece, CUT - length)?;
            stored.extend(piece.drain(..));
            length = 0;
        }
        length += token.len();
        piece.push(token);
        // A token of several octets that is no escape (UTF-8) may be cut: the pieces are joined again.
    }
    if length == CUT {
        let last = piece.pop()?;
        fill(&mut piece, last.len())?;
        piece.push(last);
    }
    stored.extend(piece);
    Some(stored)
}

/// Reads the spelling as the server does.
pub fn decode(stored: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(stored.len());
    for piece in stored.as_bytes().chunks(CUT) {
        let mut rest = piece;
        while let Some((&octet, tail)) = rest.split_first() {
            rest = tail;
            if octet != b'\\' {
                text.push(octet);
                continue;
            }
            match tail {
                [a, b, c, after @ ..] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => {
                    let value = [a, b, c].iter().fold(0u16, |value, digit| value * 10 + u16::from(**digit - b'0'));
                    // miekg/dns computes in an octet, too.
                    text.push(value.to_le_bytes()[0]);
                    rest = after;
                }
                [escaped, after @ ..] => {
                    text.push(*escaped);
                    rest = after;
                }
                [] => {}
            }
        }
    }
    text
}

/// One spelling for each octet that may stand between cuts.
fn tokens(text: &[u8]) -> Vec<String> {
    let mut tokens = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' { tokens.push("\\\\".to_owned()) } else { tokens.push(character.to_string()) }
        }
        tokens.extend(chunk.invalid().iter().map(|octet| format!("\\{octet:03}")));
    }
    tokens
}

/// Makes a piece `missing` octets longer without changing what it says.
fn fill(piece: &mut [String], missing: usize) -> Option<()> {
    let mut missing = missing;
    for token in piece.iter_mut().rev() {
        if missing == 0 {
            return Some(());
        }
        if let &[octet] = token.as_bytes()
            && octet.is_ascii_graphic()
            && !octet.is_ascii_digit()
        {
            token.insert(0, '\\');
            missing -= 1;
        }
    }
    match missing {
        0 => Some(()),
        // The server drops a backslash right before the cut.
        1 => piece.last_mut().map(|last| last.push('\\')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The strings that the server sends: its cuts, with the extra empty string that an even length gives.
    fn strings(stored: &str) -> usize {
        if stored.len() < CUT { 1 } else { stored.len() / CUT + 1 }
    }

    #[test]
    fn awkward_texts_survive_the_cuts() {
        let cases: Vec<Vec<u8>> = vec![
            vec![],
            b"\\".to_vec(),
            b"say \"hello\" \\ \\065".to_vec(),
            vec![b'x'; 255],
            vec![b'x'; 510],
            [vec![b'x'; 254], b"\\y".to_vec()].concat(),
            vec![b'\\'; 128],
            vec![b'\\'; 255],
            "é".repeat(200).into_bytes(),
            [vec![b'7'; 254], vec![0xff]].concat(),
            [b"k=".to_vec(), vec![0xff; 60], vec![b'a'; 200]].concat(),
            b"0123456789".repeat(51),
        ];
        for text in cases {
            let Some(stored) = encode(&text) else {
                // Digits cannot be spelt longer as `\x`; nothing else stands there.
                assert!(text.iter().all(|octet| octet.is_ascii_digit() || *octet > 0x7f), "{text:?}");
                continue;
            };
            assert_eq!(decode(&stored), text, "{stored}");
            assert_ne!((stored.len() % CUT, stored.is_empty()), (0, false), "{stored}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in prop::collection::vec(prop_oneof![Just(b'\\'), Just(b'"'), any::<u8>(), 32u8..127], 0..1100)) {
            if let Some(stored) = encode(&text) {
                prop_assert_eq!(decode(&stored), text);
                prop_assert!(stored.len() % CUT != 0);
                prop_assert!(strings(&stored) > 0);
            }
        }

        #[test]
        fn printable_texts_can_always_be_spelt(text in "[ -/:-~é]{0,1000}") {
            prop_assert!(encode(text.as_bytes()).is_some());
        }
    }
}
