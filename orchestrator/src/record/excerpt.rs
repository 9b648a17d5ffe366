//! Texts of whoever asks, in what is said of them.

/// Enough of a text to know it by, in a form that is fit for a line.
pub(crate) fn excerpt(text: &str) -> String {
    const MOST: usize = 80;
    let shown: String = text.chars().take(MOST).collect();
    let dots = if shown.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_and_fit_for_a_line() {
        assert_eq!(excerpt("web\n01"), "web\\n01");
        assert_eq!(excerpt(&"ü".repeat(80)), "ü".repeat(80));
        assert_eq!(excerpt(&"ü".repeat(81)), format!("{}...", "ü".repeat(80)));
    }
}
