//! What came out of a plugin, judged against the contract.
//!
//! Types are checked by the runtime; what types cannot say is checked here.
//! Some languages convert silently, so a plugin can break the contract without
//! knowing. Text for people is made fit for one line.

use crate::{
    Error,
    contract::{Check, Code, Expectation, Info, Outcome, Page, Reason, Verdict, Verification},
    lines::escaped,
};
pub(crate) use weight::{Load, Weight};

/// Bytes of a line for people.
const LINE: usize = 1_024;
/// Bytes of a cursor, which the caller has to carry about.
const CURSOR: usize = 4_096;
/// Bytes of a token, which the caller has to carry about.
const TOKEN: usize = 4_096;
/// Bytes of a name where it is told to people.
const NAME: usize = 255;
/// The most items that a plugin may take in one call.
const ITEMS: u32 = 1_000;

fn broken<T>(what: impl Into<String>) -> Result<T, Error> {
    Err(Error::Contract(what.into()))
}

fn tidy(line: &mut String) {
    *line = escaped(line, LINE);
}

/// A reason with its text fit for a line.
pub(crate) fn reason(mut reason: Reason) -> Reason {
    tidy_reason(&mut reason);
    reason
}

fn tidy_reason(reason: &mut Reason) {
    tidy(&mut reason.message);
    match &mut reason.code {
        Code::Other(name) | Code::OwnedBy(Some(name)) => tidy(name),
        _ => {}
    }
}

/// Cut, a token would name nothing.
fn check_token(token: Option<&String>) -> Result<(), Error> {
    match token {
        Some(token) if token.len() > TOKEN => {
            broken(format!("a token of {} bytes, where {TOKEN} are allowed", token.len()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn info(mut info: Info) -> Result<Info, Error> {
    tidy(&mut info.name);
    tidy(&mut info.version);
    if !(1..=ITEMS).contains(&info.max_items) {
        return broken(format!("`max-items` is {}, not 1 to {ITEMS}", info.max_items));
    }
    if !info.rr_types.is_sorted_by(|a, b| a < b) {
        return broken("`rr-types` is not ascending");
    }
    Ok(info)
}

pub(crate) fn outcomes(mut outcomes: Vec<Outcome>, asked: usize) -> Result<Vec<Outcome>, Error> {
    if outcomes.len() != asked {
        return broken(format!("{} outcomes for {asked} changes", outcomes.len()));
    }
    for (index, outcome) in outcomes.iter_mut().enumerate() {
        if !outcome.status.is_done() && outcome.reason.is_none() {
            return broken(format!("outcome {index} is {} without a reason", outcome.status.name()));
        }
        check_token(outcome.token.as_ref())?;
        outcome.reason.iter_mut().chain(&mut outcome.warnings).for_each(tidy_reason);
    }
    Ok(outcomes)
}

pub(crate) fn page(mut page: Page, cursor: Option<&str>) -> Result<Page, Error> {
    if let Some(next) = &page.next {
        if next.len() > CURSOR {
            return broken(format!("a cursor of {} bytes, where {CURSOR} are allowed", next.len()));
        }
        if Some(&**next) == cursor {
            return broken("the cursor does not move on");
        }
    }
    for problem in &mut page.problems {
        tidy(&mut problem.place);
        tidy_reason(&mut problem.reason);
    }
    Ok(page)
}

pub(crate) fn verifications(
    mut verifications: Vec<Verification>,
    asked: &[Expectation],
    servers: &[String],
) -> Result<Vec<Verification>, Error> {
    // Without a type one expectation may become several, never none: nothing
    // found is an answer too.
    let exact = asked.iter().all(|expectation| expectation.rr_type.is_some());
    if verifications.len() < asked.len() || exact && verifications.len() != asked.len() {
        return broken(format!("{} verifications for {} expectations", verifications.len(), asked.len()));
    }
    for verification in &mut verifications {
        let (name, answers) = (escaped(&verification.name, NAME), &verification.answers);
        if answers.is_empty() && verification.verdict == Verdict::Verified {
            return broken(format!("`{name}` is verified although nobody was asked"));
        }
        if !answers.is_empty() && !answers.iter().map(|seen| &seen.server).eq(servers) {
            return broken(format!("the answers for `{name}` are not one per name server"));
        }
        let gravest = answers.iter().map(|seen| gravity(seen.verdict)).max();
        if gravest.is_some_and(|gravest| gravest != gravity(verification.verdict)) {
            return broken(format!("`{name}` is {} but its answers say otherwise", verification.verdict.name()));
        }
        verification.answers.iter_mut().filter_map(|seen| seen.problem.as_mut()).for_each(tidy_reason);
    }
    Ok(verifications)
}

/// The contract lists verdicts in rising order of gravity.
fn gravity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Verified => 0,
        Verdict::Unreachable => 1,
        Verdict::NotFound => 2,
        Verdict::Mismatch => 3,
    }
}

pub(crate) fn checks(mut checks: Vec<Check>) -> Vec<Check> {
    for check in &mut checks {
        tidy(&mut check.id);
        tidy(&mut check.saw);
        tidy(&mut check.remedy);
    }
    checks
}

mod weight;

#[cfg(test)]
mod tests;
