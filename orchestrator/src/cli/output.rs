//! How results, progress and errors are written.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

use super::progress::{Progress, Waiting};
use crate::outcome::Outcome;
use crate::verification::Verification;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people.
    Table,
    /// The bare `data` of the REST API.
    Json,
}

/// Where a command writes.
pub(super) struct Console<'a> {
    pub(super) form: Form,
    pub(super) progress: Progress,
    pub(super) stdout: &'a mut dyn Write,
    pub(super) stderr: &'a mut dyn Write,
    waiting: Option<Waiting>,
}

impl<'a> Console<'a> {
    pub(super) fn new(form: Form, progress: Progress, stdout: &'a mut dyn Write, stderr: &'a mut dyn Write) -> Self {
        Self { form, progress, stdout, stderr, waiting: None }
    }
}

impl Console<'_> {
    /// Tells what is being waited for until the result is there, if that takes long.
    pub(super) fn waiting(&mut self, what: impl Into<String>) {
        match &self.waiting {
            Some(waiting) => waiting.turn_to(what.into()),
            None => self.waiting = Some(Waiting::new(what.into(), self.progress)),
        }
    }

    /// Nothing is waited for any more, or something else tells of it.
    pub(super) fn waited(&mut self) {
        self.waiting = None;
    }

    /// Writes a result: as JSON, or as what `people` makes of it.
    pub(super) fn result<T: Serialize + ?Sized>(
        &mut self,
        data: &T,
        people: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        self.waited();
        match self.form {
            Form::Json => {
                serde_json::to_writer_pretty(&mut *self.stdout, data)?;
                writeln!(self.stdout)?;
            }
            Form::Table => write!(self.stdout, "{}", people(data))?,
        }
        self.stdout.flush()
    }

    /// Writes what became of records, and names each that is not as it was asked for.
    pub(super) fn outcomes(&mut self, outcomes: &[Outcome]) -> io::Result<bool> {
        self.result(outcomes, outcome_table)?;
        let mut is_done = true;
        for outcome in outcomes {
            let words = [Some(&outcome.name), outcome.record_type.as_ref(), outcome.value.as_ref()];
            let what = words.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
            for warning in &outcome.warnings {
                self.warning(&format!("{what}: {}", warning.message));
            }
            if !outcome.outcome.is_done() {
                is_done = false;
                let why = outcome.reason.as_ref().map(|reason| format!(" ({}): {}", reason.code, reason.message));
                self.error(&format!("{what}: {}{}", outcome.outcome, why.unwrap_or_default()));
            }
        }
        Ok(is_done)
    }

    /// As [`outcomes`](Self::outcomes); where there are none, people read these words.
    pub(super) fn outcomes_or(&mut self, outcomes: &[Outcome], none: &str) -> io::Result<bool> {
        if outcomes.is_empty() {
            self.result(outcomes, |_| format!("{none}\n"))?;
            return Ok(true);
        }
        self.outcomes(outcomes)
    }

    /// A line for whoever reads along.
    pub(super) fn note(&mut self, text: &str) {
        if self.progress != Progress::Nothing {
            self.say("", text);
        }
    }

    /// A line that belongs to a warning or to a question.
    pub(super) fn more(&mut self, text: &str) {
        self.say("", text);
    }

    pub(super) fn warning(&mut self, text: &str) {
        self.say("warning: ", text);
    }

    pub(super) fn error(&mut self, text: &str) {
        self.say("error: ", text);
    }

    fn say(&mut self, kind: &str, text: &str) {
        let Self { stderr, waiting, .. } = self;
        // Nobody is left to tell if standard error is closed.
        let mut write = || drop(writeln!(stderr, "{kind}{}", printable(text)));
        match waiting {
            Some(waiting) => waiting.suspend(write),
            None => write(),
        }
    }
}

/// A table for people: columns of text.
pub(super) struct Rows(Table);

impl Rows {
    pub(super) fn new(heading: &[&str]) -> Self {
        let mut rows = Self::plain();
        rows.0.set_header(heading);
        rows
    }

    /// Without a heading.
    pub(super) fn plain() -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        Self(table)
    }

    pub(super) fn add(&mut self, cells: &[&str]) {
        self.0.add_row(cells.iter().map(|cell| printable(cell)));
    }

    pub(super) fn text(self) -> String {
        let mut text = String::new();
        for line in self.0.to_string().lines() {
            // Cells are padded, the last one for nothing.
            text.push_str(line.trim());
            text.push('\n');
        }
        text
    }
}

fn outcome_table(outcomes: &[Outcome]) -> String {
    let mut rows = Rows::new(&["NAME", "TYPE", "VALUE", "TTL", "OUTCOME"]);
    for outcome in outcomes {
        rows.add(&[
            &outcome.name,
            outcome.record_type.as_deref().unwrap_or("-"),
            outcome.value.as_deref().unwrap_or("-"),
            &outcome.ttl.map_or_else(|| "-".to_owned(), |ttl| ttl.to_string()),
            &outcome.outcome.to_string(),
        ]);
    }
    rows.text()
}

pub(super) fn verification_table(verifications: &[Verification]) -> String {
    let mut rows = Rows::new(&["NAME", "TYPE", "NAMESERVER", "OUTCOME", "AFTER", "ANSWER"]);
    for verification in verifications {
        for answer in &verification.answers {
            let values = if answer.values.is_empty() {
                answer.rcode.clone().unwrap_or_else(|| "-".to_owned())
            } else {
                answer.values.join(", ")
            };
            let outcome = answer.outcome.to_string();
            let after = answer.resolvable_ms.map_or_else(|| "-".to_owned(), |after| format!("{after} ms"));
            rows.add(&[&verification.name, &verification.record_type, &answer.nameserver, &outcome, &after, &values]);
        }
        if verification.answers.is_empty() {
            let outcome = verification.outcome.to_string();
            rows.add(&[&verification.name, &verification.record_type, "-", &outcome, "-", "-"]);
        }
    }
    rows.text()
}

/// Text without control characters: records are written by others, and a terminal obeys what it is sent.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_frame_and_obeys_nobody() {
        let mut rows = Rows::new(&["NAME", "VALUE"]);
        rows.add(&["web-01.example.com", "a\u{1b}[2Jb"]);
        rows.add(&["b", "-"]);

        assert_eq!(rows.text(), "NAME                VALUE\nweb-01.example.com  a\\u{1b}[2Jb\nb                   -\n");
    }
}
