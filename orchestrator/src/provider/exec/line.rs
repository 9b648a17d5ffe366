//! What a program writes to its standard error, line by line, made fit for a log.

/// A longer line is cut here, in octets.
const MOST_OCTETS: usize = 2000;
/// More lines of one run are counted, and not shown.
const MOST_LINES: usize = 1000;

/// Takes a stream apart. It keeps one line at most, however much comes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
    is_cut: bool,
    shown: usize,
    left_out: usize,
    last: String,
}

impl Lines {
    /// Takes what has come, and shows each line that is complete.
    pub(super) fn push(&mut self, octets: &[u8], show: &mut impl FnMut(&str)) {
        let mut pieces = octets.split(|octet| *octet == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = MOST_OCTETS - self.begun.len();
            let (kept, rest) = piece.split_at(room.min(piece.len()));
            self.begun.extend_from_slice(kept);
            self.is_cut |= !rest.is_empty();
            // The last piece has no end yet.
            if pieces.peek().is_some() {
                self.end_line(show);
            }
        }
    }

    /// Shows what has no end of line, and says how many lines were left out.
    pub(super) fn end(&mut self, show: &mut impl FnMut(&str)) {
        self.end_line(show);
        if self.left_out > 0 {
            show(&format!("({} more lines were left out)", self.left_out));
            self.left_out = 0;
        }
    }

    /// The last line that was not empty.
    pub(super) fn last(&self) -> &str {
        &self.last
    }

    fn end_line(&mut self, show: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(self.begun.trim_ascii_end());
        if !line.is_empty() {
            let mut line = printable(&line, MOST_OCTETS);
            if self.is_cut {
                line.push('…');
            }
            if self.shown < MOST_LINES {
                self.shown += 1;
                show(&line);
            } else {
                self.left_out += 1;
            }
            self.last = line;
        }
        self.begun.clear();
        self.is_cut = false;
    }
}

/// The first `most` characters of a text without its white space around, with control characters written out.
pub(super) fn printable(text: &str, most: usize) -> String {
    let text = text.trim();
    let mut printable = String::new();
    for character in text.chars().take(most) {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    if text.chars().nth(most).is_some() {
        printable.push('…');
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, String) {
        let (mut lines, mut shown) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, &mut |line| shown.push(line.to_owned()));
        }
        lines.end(&mut |line| shown.push(line.to_owned()));
        (shown, lines.last().to_owned())
    }

    #[test]
    fn lines_are_whole_however_they_come_and_harmless() {
        let (shown, last) = lines(&[b"one\ntw", b"o\r\n\n", b"\x1b[31mred\xff", b""]);
        assert_eq!(shown, ["one", "two", "\\u{1b}[31mred\u{fffd}"]);
        assert_eq!(last, "\\u{1b}[31mred\u{fffd}");
    }

    #[test]
    fn neither_a_long_line_nor_many_lines_fill_the_log() {
        let long = vec![b'x'; 10 * MOST_OCTETS];
        let (shown, _) = lines(&[&long, &long, b"\nafter\n"]);
        assert_eq!(shown, [format!("{}…", "x".repeat(MOST_OCTETS)), "after".to_owned()]);

        let (shown, last) = lines(&[&b"y\n".repeat(MOST_LINES + 7), b"z\n"]);
        assert_eq!(shown.len(), MOST_LINES + 1);
        assert_eq!((shown.last().unwrap().as_str(), last.as_str()), ("(8 more lines were left out)", "z"));
    }
}
