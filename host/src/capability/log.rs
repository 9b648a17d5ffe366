//! The import `log`.

use crate::{
    bindings::provisioning::dns::log::{Host, Level},
    state::State,
};

impl Host for State {
    async fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.lines.lock().write(level, "log", &message);
        Ok(())
    }
}
