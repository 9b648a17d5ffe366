//! The table `orchestrator.provider`: what creates and deletes servers, and when one counts as ready.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{self, Key};
use super::value::Value;
use super::{Reader, parse};
use crate::provider::readiness::Probe;
use crate::provider::{Kind, Settings, exec};

/// What is the program's alone.
const OF_EXEC: [&Key; 5] = [
    &key::PROVIDER_PROGRAM,
    &key::PROVIDER_ARGUMENTS,
    &key::PROVIDER_ENVIRONMENT,
    &key::PROVIDER_TIMEOUT,
    &key::PROVIDER_STATUS_TIMEOUT,
];
/// A program that may take longer is a mistake in the unit.
const LONGEST_CALL: Duration = Duration::from_secs(3600);

/// The kinds, as they are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Static,
    Local,
    Exec,
}

impl Reader<'_> {
    pub(super) fn provider(&mut self) -> Option<Settings> {
        let word = self.take(&key::PROVIDER_KIND, word);
        let program = self.take_path(&key::PROVIDER_PROGRAM);
        let arguments = self.take(&key::PROVIDER_ARGUMENTS, arguments).unwrap_or_default();
        let environment =
            self.take(&key::PROVIDER_ENVIRONMENT, |value| parse::list(value, variable)).unwrap_or_default();
        let timeout = self.take(&key::PROVIDER_TIMEOUT, |value| parse::duration(value, "60s", LONGEST_CALL));
        let status_timeout =
            self.take(&key::PROVIDER_STATUS_TIMEOUT, |value| parse::duration(value, "10s", LONGEST_CALL));
        let probes = self.take(&key::PROVIDER_PROBES, |value| parse::list(value, probe)).unwrap_or_default();

        let kind = match word? {
            Word::Static => self.without_program("static", Kind::Static),
            Word::Local => self.without_program("local", Kind::Local),
            Word::Exec => Kind::Exec(exec::Settings {
                program: self.program(program)?,
                arguments,
                environment,
                timeout: timeout?,
                status_timeout: status_timeout?,
                guard: self.environment.guard.clone(),
            }),
        };
        Some(Settings { kind, probes })
    }

    /// A setting that would have no effect is a mistake.
    fn without_program(&mut self, word: &str, kind: Kind) -> Kind {
        for key in OF_EXEC {
            if self.collection.known.contains_key(key.path) {
                self.wrong(
                    key,
                    format!("the provider \"{word}\" runs no program: write kind = \"exec\", or remove this"),
                );
            }
        }
        kind
    }

    /// The program, as a path that no search and no change of directory changes.
    fn program(&mut self, program: Option<PathBuf>) -> Option<PathBuf> {
        let Some(program) = program else {
            if !self.collection.known.contains_key(key::PROVIDER_PROGRAM.path) {
                let program = key::PROVIDER_PROGRAM.path;
                self.wrong(&key::PROVIDER_KIND, format!("{program} is not set: which program creates servers?"));
            }
            return None;
        };
        let checked = std::path::absolute(&program).map_err(|error| error.to_string()).and_then(|program| {
            runs(&program)?;
            Ok(program)
        });
        checked.map_err(|why| self.wrong(&key::PROVIDER_PROGRAM, format!("{}: {why}", program.display()))).ok()
    }
}

/// Whether this can be run, as far as the file says.
fn runs(program: &std::path::Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;

    let metadata = std::fs::metadata(program).map_err(|error| format!("it cannot be run: {error}"))?;
    if !metadata.is_file() {
        return Err("it cannot be run: it is no file".to_owned());
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err("it is not executable: `chmod +x` makes it so".to_owned());
    }
    Ok(())
}

fn word(value: &Value) -> Result<Word, String> {
    match parse::text(value)?.as_str() {
        "static" => Ok(Word::Static),
        "local" => Ok(Word::Local),
        "exec" => Ok(Word::Exec),
        _ => Err(format!("{value} is not a provider: write \"static\", \"local\" or \"exec\"")),
    }
}

/// As they are: one may be empty, and come several times.
fn arguments(value: &Value) -> Result<Vec<String>, String> {
    let Value::List(items) = value else { return Err(format!("{value} is not a list: write [{value}]")) };
    let argument = |item: &Value| match item {
        Value::Text(text) if text.contains('\0') => Err(format!("{item} has a zero octet, which no argument can have")),
        Value::Text(text) => Ok(text.clone()),
        other => Err(format!("{other} is not a text: write it in quotation marks")),
    };
    items.iter().map(argument).collect()
}

fn variable(value: &Value) -> Result<String, String> {
    let name = parse::text(value)?;
    if name.contains(['=', '\0']) {
        // The text is not repeated: it may hold a secret.
        return Err("name the variables that the program is handed; their values come from the environment".to_owned());
    }
    Ok(name)
}

fn probe(value: &Value) -> Result<Probe, String> {
    parse::text(value)?.parse()
}
