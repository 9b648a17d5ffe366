//! The operator's settings, by `settings`.

use super::bindings::provisioning::dns::settings;
use crate::ports::Settings;

/// What the host hands out.
pub(super) struct HostSettings;

impl Settings for HostSettings {
    fn get(&self, key: &str) -> Option<String> {
        settings::get(key)
    }
}
