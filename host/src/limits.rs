//! How much a plugin may use, and the counter that sums its memories.

use std::{fmt, time::Duration};

use wasmtime::ResourceLimiter;

use crate::{shared::Shared, tally::Tally};

/// The most memory that a plugin can be given: what the pool's slots hold.
pub(crate) const MAX_MEMORY_BYTES: usize = 512 << 20;
/// The most elements that a table can have: Go puts every function into one.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 65_536;
/// The most calls at one time in a process, over all managers.
pub(crate) const MAX_CONCURRENCY: usize = 64;

/// What a plugin may use, in all or in one call.
///
/// The defaults suit a plugin in any language that writes to a backend on the
/// same network.
///
/// ```
/// use dns_manager_host::Limits;
///
/// let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
/// assert_eq!(limits.concurrency, 16);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Size of the component. 64 MiB.
    pub component_bytes: usize,
    /// All linear memories of one call together. 64 MiB, at most 512 MiB.
    pub memory_bytes: usize,
    /// Things of the host's that one call may keep open. The runtime forgets
    /// the options of an HTTP request only when the call ends, so this must
    /// exceed `http_requests_per_call`. Each may take some 16 KiB of the host's memory. 3000.
    pub handles: usize,
    /// Bytes that one list or string structure may have that the plugin hands
    /// to the host. 16 MiB.
    pub transfer_bytes: usize,
    /// Time that the plugin's own code may run in one call, waiting not
    /// counted. It goes by the clock: where the machine does something else in
    /// between, that counts, too. 10 s.
    pub cpu: Duration,
    /// How long after its budget a call is ended from outside. 2 s.
    pub grace: Duration,
    /// Calls at one time; the others wait. 16, at most 64.
    pub concurrency: usize,
    /// HTTP requests in one call. 1000.
    pub http_requests_per_call: usize,
    /// Bytes of one request's body. 8 MiB.
    pub request_bytes: usize,
    /// Bytes of one response's body. 16 MiB.
    pub response_bytes: usize,
    /// Bytes of all response bodies in one call, and of all DNS answers as the
    /// plugin gets them, their names in full. 128 MiB.
    pub response_bytes_per_call: usize,
    /// Connections to the backend, idle ones included. 32.
    pub connections: usize,
    /// Time for a connection to one member of the backend. 2 s.
    pub connect_timeout: Duration,
    /// Time for one HTTP exchange, from the first byte to the last. 30 s.
    pub http_timeout: Duration,
    /// DNS questions in one call. 100 000.
    pub questions_per_call: usize,
    /// Time for one DNS question: more than a plugin gives CoreDNS, which waits up to 5 s for etcd. 7 s.
    pub question_timeout: Duration,
    /// Log lines in one call, and lines on the standard streams. 1000.
    pub log_lines: usize,
    /// Bytes of one log line. 2048.
    pub log_line_bytes: usize,
    /// Entries that one `list_all` gathers. 1 000 000.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes: 64 << 20,
            memory_bytes: 64 << 20,
            handles: 3_000,
            transfer_bytes: 16 << 20,
            cpu: Duration::from_secs(10),
            grace: Duration::from_secs(2),
            concurrency: 16,
            http_requests_per_call: 1_000,
            request_bytes: 8 << 20,
            response_bytes: 16 << 20,
            response_bytes_per_call: 128 << 20,
            connections: 32,
            connect_timeout: Duration::from_secs(2),
            http_timeout: Duration::from_secs(30),
            questions_per_call: 100_000,
            question_timeout: Duration::from_secs(7),
            log_lines: 1_000,
            log_line_bytes: 2_048,
            entries: 1_000_000,
        }
    }
}

impl Limits {
    /// What is impossible about these limits, in one sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        let positive = [
            ("component_bytes", self.component_bytes),
            ("memory_bytes", self.memory_bytes),
            ("handles", self.handles),
            ("transfer_bytes", self.transfer_bytes),
            ("concurrency", self.concurrency),
            ("connections", self.connections),
            ("log_line_bytes", self.log_line_bytes),
            ("entries", self.entries),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("the limit `{name}` must not be 0"));
        }
        if self.memory_bytes > MAX_MEMORY_BYTES {
            return Err(format!("the limit `memory_bytes` is at most {MAX_MEMORY_BYTES}"));
        }
        if self.concurrency > MAX_CONCURRENCY {
            return Err(format!("the limit `concurrency` is at most {MAX_CONCURRENCY}"));
        }
        if self.handles <= self.http_requests_per_call {
            return Err("the limit `handles` must exceed `http_requests_per_call`".to_owned());
        }
        for (name, value) in [
            ("cpu", self.cpu),
            ("connect_timeout", self.connect_timeout),
            ("http_timeout", self.http_timeout),
            ("question_timeout", self.question_timeout),
        ] {
            if value < Duration::from_millis(1) || value > Duration::from_secs(86_400) {
                return Err(format!("the limit `{name}` must lie between 1 ms and a day"));
            }
        }
        if self.grace > Duration::from_secs(86_400) {
            return Err("the limit `grace` is at most a day".to_owned());
        }
        Ok(())
    }
}

/// A limit or rule of ours that the plugin broke inside the runtime. It
/// travels through wasmtime's error and is found again by its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Breach {
    /// All memories together.
    Memory,
    /// The elements of one table.
    Table(usize),
    /// Something that is linked only to be refused.
    Forbidden(String),
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory budget exceeded"),
            Self::Table(wanted) => write!(f, "a table of {wanted} elements, where {MAX_TABLE_ELEMENTS} are allowed"),
            Self::Forbidden(what) => write!(f, "`{what}` is forbidden"),
        }
    }
}

impl std::error::Error for Breach {}

/// Sums over all memories of a store; wasmtime's own limiter counts each alone.
pub(crate) struct SumLimits {
    used: usize,
    max: usize,
    tally: Shared<Tally>,
}

impl SumLimits {
    pub(crate) fn new(max: usize, tally: Shared<Tally>) -> Self {
        Self { used: 0, max, tally }
    }
}

impl ResourceLimiter for SumLimits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond the memory's own type: the plugin sees -1, as the standard says.
        if maximum.is_some_and(|max| desired > max) {
            return Ok(false);
        }
        let total = self.used.checked_add(desired.saturating_sub(current)).filter(|total| *total <= self.max);
        let Some(total) = total else { return Err(Breach::Memory.into()) };
        self.used = total;
        // Memories never shrink: the sum is the most.
        self.tally.lock().memory_bytes = total;
        Ok(true)
    }

    // Nothing is given back here. A growth that was allowed and then failed
    // stays charged, which errs on the safe side; subtracting could be
    // provoked without a growth before it.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Breach::Memory.into())
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|max| desired > max) {
            return Ok(false);
        }
        if desired > MAX_TABLE_ELEMENTS {
            return Err(Breach::Table(desired).into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_are_summed_and_stay_charged() {
        let mut limits = SumLimits::new(100, Shared::default());
        assert!(limits.memory_growing(0, 60, None).unwrap());
        assert!(limits.memory_growing(0, 40, None).unwrap());

        let broken = limits.memory_growing(40, 41, None).unwrap_err();

        assert_eq!(broken.downcast_ref(), Some(&Breach::Memory));
        assert_eq!((limits.used, limits.tally.lock().memory_bytes), (100, 100));
    }

    #[test]
    fn growth_beyond_the_own_type_is_no_breach() {
        let mut limits = SumLimits::new(100, Shared::default());
        assert!(!limits.memory_growing(0, 60, Some(50)).unwrap());
        assert!(!limits.table_growing(0, 60, Some(50)).unwrap());
        assert_eq!(limits.used, 0);
    }

    #[test]
    fn growth_does_not_wrap_around() {
        let mut limits = SumLimits::new(100, Shared::default());
        limits.used = 50;
        assert!(limits.memory_growing(0, usize::MAX, None).is_err());
    }

    #[test]
    fn tables_have_a_limit() {
        let mut limits = SumLimits::new(0, Shared::default());
        assert!(limits.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        let broken = limits.table_growing(0, MAX_TABLE_ELEMENTS + 1, None).unwrap_err();
        assert_eq!(broken.downcast_ref(), Some(&Breach::Table(MAX_TABLE_ELEMENTS + 1)));
    }

    #[test]
    fn impossible_limits_are_named() {
        let cases = [
            (Limits { concurrency: 0, ..Limits::default() }, "concurrency"),
            (Limits { concurrency: 65, ..Limits::default() }, "concurrency"),
            (Limits { memory_bytes: usize::MAX, ..Limits::default() }, "memory_bytes"),
            (Limits { handles: 1_000, ..Limits::default() }, "handles"),
            (Limits { cpu: Duration::ZERO, ..Limits::default() }, "cpu"),
            (Limits { http_timeout: Duration::MAX, ..Limits::default() }, "http_timeout"),
        ];
        assert_eq!(Limits::default().check(), Ok(()));
        for (limits, name) in cases {
            assert!(limits.check().unwrap_err().contains(name), "{name}");
        }
    }
}
