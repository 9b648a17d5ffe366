//! What a call uses, as it is counted.

use std::time::Duration;

use crate::Denials;

/// What a call has used and was refused so far, counted where it happens: in
/// its store, in its requests, which are tasks of their own, in its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) busy: Duration,
    pub(crate) memory_bytes: usize,
    pub(crate) http_requests: u64,
    /// What is not answered in the end has failed: nobody is told of a request
    /// that the plugin no longer waits for.
    pub(crate) http_answered: u64,
    pub(crate) questions: u64,
    pub(crate) denials: Denials,
}
