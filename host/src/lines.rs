//! A plugin's lines in the log, and how its text is made fit for one.

use std::fmt::Write as _;

use crate::bindings::provisioning::dns::log::Level;

/// Where and how a plugin's lines are written; one per call.
pub(crate) struct Lines {
    plugin: String,
    request_id: String,
    left: usize,
    bytes: usize,
}

impl Lines {
    /// At most `lines` lines of at most `bytes` bytes.
    pub(crate) fn new(plugin: &str, request_id: &str, lines: usize, bytes: usize) -> Self {
        Self { plugin: plugin.to_owned(), request_id: escaped(request_id, 128), left: lines, bytes }
    }

    /// Writes one line, if there is room for it.
    pub(crate) fn write(&mut self, level: Level, source: &'static str, message: &str) {
        let (plugin, request_id) = (&*self.plugin, &*self.request_id);
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        if left == 0 {
            // The last line is ours, so that nobody takes silence for peace.
            tracing::warn!(plugin, request_id, source, "the plugin has written too many lines; the rest is dropped");
            return;
        }
        let message = escaped(message, self.bytes);
        match level {
            Level::Debug => tracing::debug!(plugin, request_id, source, "{message}"),
            Level::Info => tracing::info!(plugin, request_id, source, "{message}"),
            Level::Warn => tracing::warn!(plugin, request_id, source, "{message}"),
            Level::Error => tracing::error!(plugin, request_id, source, "{message}"),
        }
    }
}

/// The text in one line of at most `max` bytes, with everything escaped that
/// could forge a line, move a terminal's cursor or turn the reading direction.
pub(crate) fn escaped(text: &str, max: usize) -> String {
    const CUT: &str = "...";
    let mut line = String::with_capacity(text.len().min(max));
    let mut fits = 0;
    for c in text.chars() {
        if deceives(c) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
        if line.len() > max {
            line.truncate(fits);
            line.push_str(CUT.get(..max.saturating_sub(fits)).unwrap_or(CUT));
            return line;
        }
        if line.len() + CUT.len() <= max {
            fits = line.len();
        }
    }
    line
}

/// Control characters, and the format characters that hide or reorder text.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_is_escaped() {
        let cases = [
            ("plain, ümläut, 漢字", "plain, ümläut, 漢字"),
            ("two\nlines\r\n", "two\\nlines\\r\\n"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("c1 \u{9b}31m", "c1 \\u{9b}31m"),
            ("line\u{2028}separator", "line\\u{2028}separator"),
        ];
        for (text, expected) in cases {
            assert_eq!(escaped(text, 100), expected);
        }
    }

    #[test]
    fn length_is_bounded_in_bytes() {
        assert_eq!(escaped("abcdefgh", 8), "abcdefgh");
        assert_eq!(escaped("abcdefghi", 8), "abcde...");
        assert_eq!(escaped("ääääää", 8), "ää...");
        assert_eq!(escaped("\n\n\n\n\n", 8), "\\n\\n...");
        assert_eq!(escaped("abc", 2), "..");
        for max in 0..40 {
            assert!(escaped(&"\u{202e}ä漢x".repeat(1_000), max).len() <= max);
        }
    }
}
