//! What is read page by page.

use super::{Call, DnsManager, accepted, exports};
use crate::{
    Error,
    contract::{Code, Filter, Page, Reason},
    judge,
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
        let mut restarts = 0;
        loop {
            match self.page(&what, all.next.take(), PAGE, &turn).await {
                Ok(page) => {
                    all.entries.extend(page.entries);
                    all.problems.extend(page.problems);
                    all.next = page.next;
                }
                Err(Error::Refused(Reason { code: Code::CursorExpired, .. })) if restarts < RESTARTS => {
                    restarts += 1;
                    all.entries.clear();
                    all.problems.clear();
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
