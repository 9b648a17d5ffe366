//! What is read page by page.

use super::{Call, DnsManager, accepted, exports};
use crate::{
    Error,
    contract::{Code, Filter, Page, Reason},
    judge::{self, Load},
    runtime::Turn,
};

/// How often a listing begins again because its cursor has expired.
const RESTARTS: usize = 3;
/// Entries that are asked for in one page.
const PAGE: u32 = 1_000;

#[derive(Clone)]
pub(super) enum Listing {
    Entries(Filter),
    Repair(String),
}

impl DnsManager {
    /// One page of what is read, judged.
    pub(super) async fn page(
        &self,
        what: &Listing,
        cursor: Option<String>,
        limit: u32,
        turn: &Turn,
    ) -> Result<Page, Error> {
        let runtime = &self.0.runtime;
        let asked = cursor.clone();
        let judge = |answer| judge::page(accepted(answer)?, cursor.as_deref());
        let page = match what.clone() {
            Listing::Entries(filter) => {
                self.has("resource", filter.resource.is_some())?;
                let limit = limit.clamp(1, PAGE);
                runtime
                    .invoke(
                        turn,
                        "list",
                        |plugin, store, options| {
                            Box::pin(async move {
                                exports(plugin).call_list(store, &filter, asked.as_deref(), limit, &options).await
                            })
                        },
                        judge,
                    )
                    .await?
            }
            Listing::Repair(zone) => {
                runtime
                    .invoke(
                        turn,
                        "repair",
                        |plugin, store, options| {
                            Box::pin(async move {
                                exports(plugin).call_repair(store, &zone, asked.as_deref(), &options).await
                            })
                        },
                        judge,
                    )
                    .await?
            }
        };
        Ok(page)
    }

    pub(super) async fn all_pages(&self, what: Listing, call: Call) -> Result<Page, Error> {
        let (turn, most) = (call.begin(), self.0.runtime.limits.entries);
        let mut all = Page { entries: Vec::new(), problems: Vec::new(), next: None };
        let (mut restarts, mut load) = (0, Load::default());
        loop {
            match self.page(&what, all.next.take(), PAGE, &turn).await {
                Ok(page) => {
                    load.take(&page)?;
                    all.entries.extend(page.entries);
                    all.problems.extend(page.problems);
                    all.next = page.next;
                }
                Err(Error::Refused(Reason { code: Code::CursorExpired, .. })) if restarts < RESTARTS => {
                    restarts += 1;
                    begin_again(&mut all);
                    load = Load::default();
                    load.take(&all)?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if all.entries.len().max(all.problems.len()) > most {
                let what = format!("more than {most} entries in one listing");
                return Err(Error::Exceeded { what, stderr: String::new() });
            }
            if all.next.is_none() {
                return Ok(all);
            }
        }
    }
}

/// Forgets what will be read again. What was mended is no problem the next time, and would be told to nobody.
fn begin_again(all: &mut Page) {
    all.entries.clear();
    all.problems.retain(|problem| problem.mended);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Problem;

    #[test]
    fn what_was_mended_is_still_told_when_a_repair_begins_again() {
        let problem = |mended| Problem { place: String::new(), reason: Reason::new(Code::Protocol, ""), mended };
        let mut all = Page { entries: Vec::new(), problems: vec![problem(true), problem(false)], next: None };
        begin_again(&mut all);
        assert_eq!(all.problems.iter().map(|problem| problem.mended).collect::<Vec<_>>(), [true]);
    }
}
