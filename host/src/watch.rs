//! One call under observation: what it uses is counted, and told at its end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{CallReport, Error, shared::Shared, tally::Tally};

/// Whoever wants to know of each call.
pub(crate) type Observer = Arc<dyn Fn(&CallReport) + Send + Sync>;

/// The watch over one call. Its end is told when this is dropped, so that it is
/// told of calls, too, for which nobody waits to the end.
pub(crate) struct Watch<'a> {
    observer: Option<&'a Observer>,
    export: &'static str,
    request_id: &'a str,
    wished: Instant,
    waited: Option<Duration>,
    outcome: &'static str,
    tally: Shared<Tally>,
}

impl<'a> Watch<'a> {
    pub(crate) fn begin(observer: Option<&'a Observer>, export: &'static str, request_id: &'a str) -> Self {
        Self {
            observer,
            export,
            request_id,
            wished: Instant::now(),
            waited: None,
            outcome: "cancelled",
            tally: Shared::default(),
        }
    }

    /// It has got its place.
    pub(crate) fn placed(&mut self) {
        self.waited = Some(self.wished.elapsed());
    }

    pub(crate) fn tally(&self) -> &Shared<Tally> {
        &self.tally
    }

    /// Runs the call itself, and counts the time in which it does something.
    pub(crate) async fn run<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        std::future::poll_fn(|context| {
            let begun = Instant::now();
            let polled = call.as_mut().poll(context);
            self.tally.lock().busy += begun.elapsed();
            polled
        })
        .await
    }

    /// It has come to an end of its own.
    pub(crate) fn end(mut self, ended: Result<(), &Error>) {
        self.outcome = ended.map_or_else(Error::code, |()| "ok");
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let Some(observer) = self.observer else { return };
        let elapsed = self.wished.elapsed();
        let Tally { busy, memory_bytes, http_requests, http_answered, questions, denials } = *self.tally.lock();
        let report = CallReport {
            export: self.export,
            outcome: self.outcome,
            request_id: self.request_id.to_owned(),
            elapsed,
            waited: self.waited.unwrap_or(elapsed),
            busy,
            memory_peak_bytes: memory_bytes,
            http_requests,
            http_failures: http_requests.saturating_sub(http_answered),
            questions,
            denials,
        };
        // Who watches must not break what is watched.
        if catch_unwind(AssertUnwindSafe(|| observer(&report))).is_err() {
            tracing::error!(export = self.export, "the observer of calls panicked");
        }
    }
}

#[cfg(test)]
mod tests;
