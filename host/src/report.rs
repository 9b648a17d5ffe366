//! What a call of the plugin cost, for whoever watches.

use std::time::Duration;

/// One call of the plugin, which has ended; see [`Builder::observer`](crate::Builder::observer).
///
/// A method of [`DnsManager`](crate::DnsManager) may take several calls of the
/// plugin: long lists are cut, and listings come page by page. Each is
/// reported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallReport {
    /// The function called: `describe` (once, when the plugin is loaded),
    /// `apply`, `list`, `verify`, `repair` or `diagnose`.
    pub export: &'static str,
    /// `ok`; the [`Error::code`](crate::Error::code) of what became of it
    /// instead; or `cancelled`, when the caller no longer waited.
    pub outcome: &'static str,
    /// `Call::request_id`.
    pub request_id: String,
    /// From the wish to the end, `waited` included.
    pub elapsed: Duration,
    /// The part of it in which it waited for a place; see `Limits::concurrency`.
    pub waited: Duration,
    /// The part of it in which a thread was busy with it: with the plugin's
    /// code, and with what the host does for that. Waiting for answers is not
    /// in it; standing still because the machine has too much to do, is.
    pub busy: Duration,
    /// The most that all its linear memories had together.
    pub memory_peak_bytes: usize,
    /// HTTP requests of the plugin that the policy let pass. The host's own
    /// logins are not among them.
    pub http_requests: u64,
    /// Those of them that brought no whole response, or one with a status
    /// from 500 on.
    ///
    /// Whether a request is another try, the plugin alone knows: it tries
    /// again after a failed one, but also when another writer was faster,
    /// where no request failed. Both show in more requests in a call.
    pub http_failures: u64,
    /// DNS questions that were asked.
    pub questions: u64,
    /// What it was refused.
    pub denials: Denials,
}

/// How often a plugin was refused what it asked for, by what refused it.
///
/// Who meets a limit of memory, processor time or handles is not refused but
/// ended: that is the call's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Denials {
    /// HTTP requests that policy forbids: to another than the backend, against
    /// its rule, to an address that must never be dialled.
    pub http: u64,
    /// Questions to a name server that is not configured, or is at an address
    /// that must never be reached.
    pub resolver: u64,
    /// Files and sockets, which are linked only to be refused.
    pub imports: u64,
    /// Requests and questions beyond their number in a call, bodies and
    /// answers beyond their bytes.
    pub limits: u64,
}

impl Denials {
    /// Each kind under its name, for a metric's label.
    ///
    /// ```
    /// use dns_manager_host::Denials;
    ///
    /// let denials = Denials { http: 2, ..Denials::default() };
    /// assert_eq!(denials.kinds(), [("http", 2), ("resolver", 0), ("imports", 0), ("limits", 0)]);
    /// ```
    pub fn kinds(&self) -> [(&'static str, u64); 4] {
        let Self { http, resolver, imports, limits } = *self;
        [("http", http), ("resolver", resolver), ("imports", imports), ("limits", limits)]
    }
}

/// How much is in use of what all calls of a manager share; see
/// [`DnsManager::usage`](crate::DnsManager::usage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Calls that can run at one time: `Limits::concurrency`.
    pub places: usize,
    /// Calls that run now.
    pub places_in_use: usize,
    /// Connections to the backend that there can be: `Limits::connections`.
    pub connections: usize,
    /// Those that are open, idle ones included.
    pub connections_open: usize,
}
