//! Log lines, by `log`.

use super::bindings::provisioning::dns::log;
use crate::ports::{Log, LogLevel};

/// The host's log.
pub(super) struct HostLog;

impl Log for HostLog {
    fn write(&self, level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Debug => log::Level::Debug,
            LogLevel::Info => log::Level::Info,
            LogLevel::Warn => log::Level::Warn,
            LogLevel::Error => log::Level::Error,
        };
        log::write(level, message);
    }
}
