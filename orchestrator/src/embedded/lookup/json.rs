//! Stored values, read as Go's `encoding/json` reads them into CoreDNS's service.
//!
//! That is not what a strict reader does: names of fields match in any case, the last of two counts, `null` is nothing,
//! octets that are no UTF-8 become U+FFFD, and lone surrogates, too. A value of another type than the field's is an error.

use super::service::Service;

/// Why a value was not read: it is no JSON, no object, or a field has another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Go gives up at this depth.
const MAX_DEPTH: usize = 10_000;

/// Reads a value.
///
/// # Errors
///
/// Whatever is wrong with it.
pub fn read(value: &[u8]) -> Result<Service, Unreadable> {
    let mut parser = Parser { text: value, place: 0 };
    let mut service = Service::default();
    let mut is_right = true;
    parser.space();
    match parser.peek() {
        Some(b'{') => parser.object(|name, value| is_right &= service.set(name, value))?,
        _ => is_right = parser.value()? == Value::Null,
    }
    parser.space();
    if parser.place == value.len() && is_right { Ok(service) } else { Err(Unreadable) }
}

/// A value of a field.
#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Null,
    Switch(bool),
    Number(&'a str),
    Text(Vec<u8>),
    /// An object or array.
    Compound,
}

impl Service {
    /// Whether the value is of the field's type; a name that is none is passed over.
    fn set(&mut self, name: &[u8], value: &Value<'_>) -> bool {
        let text = |field: &mut Vec<u8>| match value {
            Value::Text(text) => {
                field.clone_from(text);
                true
            }
            other => *other == Value::Null,
        };
        let number = |field: &mut i64| match value {
            Value::Number(text) => text.parse().map(|value| *field = value).is_ok(),
            other => *other == Value::Null,
        };
        match folded(name).as_slice() {
            b"host" => text(&mut self.host),
            b"text" => text(&mut self.text),
            b"group" => text(&mut self.group),
            b"port" => number(&mut self.port),
            b"priority" => number(&mut self.priority),
            b"weight" => number(&mut self.weight),
            b"targetstrip" => number(&mut self.target_strip),
            b"mail" => match value {
                Value::Switch(on) => {
                    self.mail = *on;
                    true
                }
                other => *other == Value::Null,
            },
            b"ttl" => match value {
                Value::Number(text) => text.parse().map(|value| self.ttl = value).is_ok(),
                other => *other == Value::Null,
            },
            _ => true,
        }
    }
}

/// Lower case, with the two letters outside ASCII that Unicode's simple folding takes into it.
fn folded(name: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(name).replace('\u{17f}', "s").replace('\u{212a}', "k");
    text.to_ascii_lowercase().into_bytes()
}

struct Parser<'a> {
    text: &'a [u8],
    place: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.place).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.place += 1;
        }
    }

    fn take(&mut self, octet: u8) -> Result<(), Unreadable> {
        if self.peek() != Some(octet) {
            return Err(Unreadable);
        }
        self.place += 1;
        Ok(())
    }

    fn object(&mut self, mut field: impl FnMut(&[u8], &Value<'_>)) -> Result<(), Unreadable> {
        self.take(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            return self.take(b'}');
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.take(b':')?;
            self.space();
            let value = self.value()?;
            field(&name, &value);
            self.space();
            match self.peek() {
                Some(b',') => self.place += 1,
                _ => return self.take(b'}'),
            }
        }
    }

    fn value(&mut self) -> Result<Value<'a>, Unreadable> {
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Switch(true)),
            Some(b'f') => self.word("false", Value::Switch(false)),
            Some(b'{' | b'[') => self.compound(),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Unreadable> {
        word.bytes().try_for_each(|octet| self.take(octet))?;
        Ok(value)
    }

    fn number(&mut self) -> Result<Value<'a>, Unreadable> {
        let start = self.place;
        if self.peek() == Some(b'-') {
            self.place += 1;
        }
        match self.peek() {
            Some(b'0') => self.place += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(Unreadable),
        }
        if self.peek() == Some(b'.') {
            self.place += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.place += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.place += 1;
            }
            self.digits()?;
        }
        let text = self.text.get(start..self.place).unwrap_or_default();
        Ok(Value::Number(std::str::from_utf8(text).map_err(|_| Unreadable)?))
    }

    fn digits(&mut self) -> Result<(), Unreadable> {
        let start = self.place;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.place += 1;
        }
        if self.place == start { Err(Unreadable) } else { Ok(()) }
    }

    /// Passes over an object or array, with a stack of its own: values are nested as deeply as somebody likes.
    fn compound(&mut self) -> Result<Value<'a>, Unreadable> {
        let mut open = Vec::new();
        loop {
            // A value begins here.
            self.space();
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.place += 1;
                    open.push(bracket);
                    if open.len() >= MAX_DEPTH {
                        return Err(Unreadable);
                    }
                    self.space();
                    if self.peek() != Some(closing(bracket)) {
                        self.name_in(bracket)?;
                        continue;
                    }
                }
                _ => {
                    self.value()?;
                }
            }
            // A value has ended here.
            loop {
                let Some(&bracket) = open.last() else { return Ok(Value::Compound) };
                self.space();
                if self.peek() == Some(b',') {
                    self.place += 1;
                    self.space();
                    self.name_in(bracket)?;
                    break;
                }
                self.take(closing(bracket))?;
                open.pop();
            }
        }
    }

    /// In an object, the name before a value.
    fn name_in(&mut self, bracket: u8) -> Result<(), Unreadable> {
        if bracket == b'[' {
            return Ok(());
        }
        self.string()?;
        self.space();
        self.take(b':')
    }

    fn string(&mut self) -> Result<Vec<u8>, Unreadable> {
        self.take(b'"')?;
        let mut raw = Vec::new();
        loop {
            let octet = self.peek().ok_or(Unreadable)?;
            self.place += 1;
            match octet {
                b'"' => return Ok(as_utf8(&raw)),
                b'\\' => self.escape(&mut raw)?,
                0..=0x1f => return Err(Unreadable),
                _ => raw.push(octet),
            }
        }
    }

    fn escape(&mut self, raw: &mut Vec<u8>) -> Result<(), Unreadable> {
        let octet = self.peek().ok_or(Unreadable)?;
        self.place += 1;
        let plain = match octet {
            b'"' | b'\\' | b'/' => octet,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = self.unicode()?;
                raw.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(Unreadable),
        };
        raw.push(plain);
        Ok(())
    }

    fn unicode(&mut self) -> Result<char, Unreadable> {
        let first = self.hexadecimal()?;
        if let Some(character) = char::from_u32(first.into()) {
            return Ok(character);
        }
        // Half of a pair; what follows is left alone unless it is the other half.
        let behind = self.place;
        if self.text.get(behind..).is_some_and(|rest| rest.starts_with(b"\\u")) {
            self.place += 2;
            let second = self.hexadecimal()?;
            if let Some(Ok(character)) = char::decode_utf16([first, second]).next() {
                return Ok(character);
            }
            self.place = behind;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hexadecimal(&mut self) -> Result<u16, Unreadable> {
        let digits = self.text.get(self.place..self.place + 4).ok_or(Unreadable)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(Unreadable);
        }
        self.place += 4;
        let digits = std::str::from_utf8(digits).map_err(|_| Unreadable)?;
        u16::from_str_radix(digits, 16).map_err(|_| Unreadable)
    }
}

fn closing(bracket: u8) -> u8 {
    if bracket == b'{' { b'}' } else { b']' }
}

/// Each octet that is no UTF-8 becomes a replacement character of its own.
fn as_utf8(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, bad) = rest.split_at(error.valid_up_to());
        text.extend_from_slice(valid);
        text.extend_from_slice("\u{fffd}".as_bytes());
        rest = bad.get(1..).unwrap_or_default();
    }
    text.extend_from_slice(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_go_reads_them() {
        let host = |host: &str| Service { host: host.into(), ..Service::default() };
        for (value, expected) in [
            (r#"{"host":"a"}"#, Ok(host("a"))),
            (r#" {"HOST":"a","hoſt":"b", "other":[{"x":[1,2.5e3,{}]},"y"]} "#, Ok(host("b"))),
            (r#"{"host":"a","host":null}"#, Ok(host("a"))),
            ("null", Ok(Service::default())),
            ("{}", Ok(Service::default())),
            (r#"{"host":"\ud83d\ude00\ud83dx"}"#, Ok(host("\u{1f600}\u{fffd}x"))),
            (r#"{"port":-1,"priority":-0}"#, Ok(Service { port: -1, ..Service::default() })),
            ("", Err(Unreadable)),
            ("[]", Err(Unreadable)),
            ("7", Err(Unreadable)),
            (r#"{"host":"a"}x"#, Err(Unreadable)),
            (r#"{"host":"a",}"#, Err(Unreadable)),
            (r#"{"port":"80"}"#, Err(Unreadable)),
            (r#"{"port":8.0}"#, Err(Unreadable)),
            (r#"{"port":01}"#, Err(Unreadable)),
            (r#"{"ttl":-1}"#, Err(Unreadable)),
            (r#"{"ttl":1e2}"#, Err(Unreadable)),
            (r#"{"ttl":4294967296}"#, Err(Unreadable)),
            (r#"{"mail":1}"#, Err(Unreadable)),
            (r#"{"other":[1,]}"#, Err(Unreadable)),
            ("{\"host\":\"a\nb\"}", Err(Unreadable)),
        ] {
            assert_eq!(read(value.as_bytes()), expected, "{value}");
        }
        assert_eq!(read(b"{\"host\":\"\xe2\x82\"}"), Ok(host("\u{fffd}\u{fffd}")));
        assert_eq!(read(format!("{}{}", r#"{"x":"#, "[".repeat(200_000)).as_bytes()), Err(Unreadable));
    }
}
