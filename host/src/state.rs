//! What one call's store holds, and the views that the linked interfaces take
//! of it. It is made for a call and thrown away with it.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{
    Limits,
    bindings::provisioning::dns::dns_types,
    capability::{
        http::{Hooks, Sender},
        resolver::Resolver,
        stdio::{Stdio, Tail},
    },
    limits::SumLimits,
    lines::Lines,
    shared::Shared,
    tally::Tally,
};

/// Octets that the fields of one message may have which the plugin makes; it may keep many.
const FIELDS: usize = 16 << 10;

/// What the plugin is given in every call: the same things, shared.
#[derive(Clone)]
pub(crate) struct Lent {
    pub(crate) sender: Arc<Sender>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) settings: Arc<BTreeMap<String, String>>,
}

/// The data of one store.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) limits: SumLimits,
    /// Epochs that the plugin's own code may still see pass.
    pub(crate) ticks_left: u64,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) questions_left: usize,
    pub(crate) bytes_left: Arc<AtomicUsize>,
    pub(crate) settings: Arc<BTreeMap<String, String>>,
    pub(crate) lines: Shared<Lines>,
    pub(crate) tail: Shared<Tail>,
    pub(crate) tally: Shared<Tally>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

impl State {
    pub(crate) fn new(lent: &Lent, limits: &Limits, ticks: u64, lines: Lines, tally: Shared<Tally>) -> Self {
        let lines = Shared::new(lines);
        let tail = Shared::<Tail>::default();
        let stdio = |name| Stdio::new(name, tail.clone(), lines.clone(), limits.log_line_bytes);
        // Nothing is granted: no arguments, no environment, no directory, no
        // network; standard input is closed.
        let wasi = WasiCtx::builder()
            .stdout(stdio("stdout"))
            .stderr(stdio("stderr"))
            .wall_clock(NoDate)
            .max_random_size(64 << 10)
            .build();
        let bytes_left = Arc::new(AtomicUsize::new(limits.response_bytes_per_call));
        let hooks = Hooks::new(
            lent.sender.clone(),
            limits.http_requests_per_call,
            bytes_left.clone(),
            lines.clone(),
            tally.clone(),
        );
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        Self {
            table,
            limits: SumLimits::new(limits.memory_bytes, tally.clone()),
            ticks_left: ticks,
            resolver: lent.resolver.clone(),
            questions_left: limits.questions_per_call,
            bytes_left,
            settings: lent.settings.clone(),
            lines,
            tail,
            tally,
            wasi,
            http,
            hooks,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

// The interface has types only.
impl dns_types::Host for State {}

/// A calendar that stands at its first second: what time it is, is not lent.
struct NoDate;

impl HostWallClock for NoDate {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}
