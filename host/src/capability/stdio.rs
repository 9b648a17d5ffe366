//! Standard output and standard error: bounded, into the log, with a tail
//! kept for the error of a trap.
//!
//! A stream of our own, since the runtime's asynchronous one lets empty writes
//! pile up in the host's memory (GHSA-5m8g-xhq4-4h93).

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use crate::{
    bindings::provisioning::dns::log::Level,
    lines::{Lines, escaped},
    shared::Shared,
};

/// What one write may bring.
const PERMIT: usize = 64 << 10;
/// What is kept for the error of a trap.
const TAIL: usize = 4 << 10;

/// The last octets that a plugin wrote.
#[derive(Default)]
pub(crate) struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let new = bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or_default();
        let surplus = (self.0.len() + new.len()).saturating_sub(TAIL);
        self.0.drain(..surplus);
        self.0.extend(new);
    }

    /// The tail as text: its lines stay lines, all else is escaped.
    pub(crate) fn text(&self) -> String {
        let (front, back) = self.0.as_slices();
        let bytes = [front, back].concat();
        let text = String::from_utf8_lossy(&bytes);
        text.trim_end().lines().map(|line| escaped(line, TAIL)).collect::<Vec<_>>().join("\n")
    }
}

/// One of the two standard streams of one call.
#[derive(Clone)]
pub(crate) struct Stdio {
    source: &'static str,
    tail: Shared<Tail>,
    lines: Shared<Lines>,
    partial: Shared<Vec<u8>>,
    line_bytes: usize,
}

impl Stdio {
    pub(crate) fn new(source: &'static str, tail: Shared<Tail>, lines: Shared<Lines>, line_bytes: usize) -> Self {
        Self { source, tail, lines, partial: Shared::default(), line_bytes }
    }

    fn take(&self, bytes: &[u8]) {
        self.tail.lock().push(bytes);
        let (mut partial, mut lines) = (self.partial.lock(), self.lines.lock());
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let room = self.line_bytes.saturating_sub(partial.len());
            partial.extend(piece.iter().take(room).filter(|b| **b != b'\n'));
            if piece.ends_with(b"\n") {
                lines.write(Level::Debug, self.source, &String::from_utf8_lossy(&partial));
                partial.clear();
            }
        }
    }
}

impl IsTerminal for Stdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdio {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Asked for by WASI 0.1 and 0.3 alone, which are not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stdio {
    async fn ready(&mut self) {}
}

impl OutputStream for Stdio {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > PERMIT {
            return Err(StreamError::trap("write exceeded budget"));
        }
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdio() -> Stdio {
        let lines = Shared::new(Lines::new("test", "", 10, 16));
        Stdio::new("stderr", Shared::default(), lines, 16)
    }

    #[test]
    fn tail_keeps_the_end() {
        let stdio = stdio();
        for _ in 0..10_000 {
            stdio.take(b"noise noise noise\n");
        }
        stdio.take(b"panicked at \x1b[1mhere\n");

        let text = stdio.tail.lock().text();

        assert!(text.len() <= 2 * TAIL);
        assert!(text.ends_with("panicked at \\u{1b}[1mhere"), "{text}");
    }

    #[test]
    fn write_beyond_the_permit_is_a_trap() {
        let mut stdio = stdio();
        assert!(stdio.write(Bytes::from(vec![b'x'; PERMIT])).is_ok());
        assert!(matches!(stdio.write(Bytes::from(vec![b'x'; PERMIT + 1])), Err(StreamError::Trap(_))));
    }

    #[test]
    fn unended_line_does_not_grow() {
        let stdio = stdio();
        for _ in 0..1_000 {
            stdio.take(&[b'x'; 1_000]);
        }
        assert_eq!(stdio.partial.lock().len(), 16);
        stdio.take(b"\n");
        assert_eq!(stdio.partial.lock().len(), 0);
    }
}
