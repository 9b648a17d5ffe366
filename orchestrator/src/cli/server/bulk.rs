//! Many servers at once, some at a time, with one outcome for each.

use std::path::Path;

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use super::super::output::{Console, Rows};
use super::super::progress::Servers;
use super::super::{Exit, Failure, Settings};
use super::warnings;
use crate::desired::{self, NewServer};
use crate::server::{Server, State};

/// How many at a time where nobody says.
pub(super) const PARALLEL: usize = 16;
const MOST: usize = 1000;

/// What became of one server.
#[derive(Serialize)]
struct Outcome {
    hostname: String,
    /// Where it is in its life; none: nothing was begun.
    state: Option<State>,
    /// What is wrong; null: nothing.
    problem: Option<String>,
    /// What was done and deserves a look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

pub(super) fn parallel(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.ok_or_else(|| format!("write a number from 1 to {MOST}"))
}

/// The servers of a file, or of standard input.
pub(super) fn read(file: &Path, settings: &Settings<'_>) -> Result<Vec<NewServer>, Failure> {
    let usage = |error: anyhow::Error| Failure::Usage(error);
    let octets = settings.read(file).with_context(|| format!("{} cannot be read", file.display())).map_err(usage)?;
    desired::servers(&file.display().to_string(), &octets).map_err(|error| usage(error.into()))
}

/// Does one thing to each, some at a time, and tells what became of each.
pub(super) async fn run<T, F: Future<Output = (String, anyhow::Result<Server>)>>(
    items: Vec<T>,
    parallel: usize,
    shown: &Servers,
    one: impl Fn(T) -> F,
    console: &mut Console<'_>,
) -> Result<Exit, Failure> {
    let mut ended = stream::iter(items.into_iter().map(one)).buffer_unordered(parallel);
    let mut outcomes: Vec<Outcome> = Vec::new();
    while let Some((hostname, server)) = ended.next().await {
        shown.ended(&hostname, matches!(&server, Ok(server) if server.problem.is_none()));
        outcomes.push(match server {
            Ok(server) => Outcome {
                warnings: warnings(&server).map(str::to_owned).collect(),
                hostname: server.hostname.to_string(),
                state: Some(server.state),
                problem: server.problem,
            },
            Err(error) => Outcome {
                hostname,
                state: None,
                problem: Some(crate::error_chain(error.as_ref())),
                warnings: Vec::new(),
            },
        });
    }
    shown.clear();
    outcomes.sort_by(|one, other| one.hostname.cmp(&other.hostname));
    console.result(outcomes.as_slice(), table)?;
    let mut is_done = true;
    for Outcome { hostname, problem, warnings, .. } in &outcomes {
        warnings.iter().for_each(|warning| console.warning(&format!("{hostname}: {warning}")));
        if let Some(problem) = problem {
            is_done = false;
            console.error(&format!("{hostname}: {problem}"));
        }
    }
    Ok(Exit::when(is_done))
}

fn table(outcomes: &[Outcome]) -> String {
    let mut rows = Rows::new(&["HOSTNAME", "STATE", "PROBLEM"]);
    for Outcome { hostname, state, problem, .. } in outcomes {
        let state = state.map_or_else(|| "-".to_owned(), |state| state.to_string());
        rows.add(&[hostname, &state, problem.as_deref().unwrap_or("-")]);
    }
    rows.text()
}
