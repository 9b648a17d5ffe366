//! The import `settings`: the operator's keys and values.

use crate::{bindings::provisioning::dns::settings::Host, state::State};

impl Host for State {
    async fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.settings.get(&key).cloned())
    }
}
