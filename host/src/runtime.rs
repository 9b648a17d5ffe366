//! The engine, and the one way in which a plugin's code is ever run.
//!
//! Every export, `describe` included, goes through [`Runtime::invoke`]: a place
//! among the running calls, a fresh store, instantiation and the call under a
//! clock, and the store is thrown away. Connections and compiled code stay.

use std::{
    panic::AssertUnwindSafe,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use wasmtime::{
    Config, Engine, EngineWeak, InstanceAllocationStrategy, PoolConcurrencyLimitError, PoolingAllocationConfig, Store,
    Strategy, Trap, UpdateDeadline, component::ResourceTableError,
};
use wasmtime_wasi::I32Exit;

use crate::{
    Error, Limits,
    bindings::{DnsPlugin, DnsPluginPre},
    capability::stdio::Tail,
    contract::Options,
    limits::{Breach, MAX_CONCURRENCY, MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS},
    lines::{Lines, escaped},
    report::Usage,
    shared::Shared,
    state::{Lent, State},
    tally::Tally,
    watch::{Observer, Watch},
};

/// How often epochs advance; the unit in which processor time is counted.
const TICK: Duration = Duration::from_millis(10);
/// What is told of a trap.
const TRAP_BYTES: usize = 2_048;

/// Places in the pool, for all managers of the process together.
static PLACES: Semaphore = Semaphore::const_new(MAX_CONCURRENCY);
/// The engine, for as long as a manager lives.
static ENGINE: Mutex<Option<EngineWeak>> = Mutex::new(None);

/// The process's engine, made when there is none.
pub(crate) fn engine() -> Result<Engine, Error> {
    let mut shared = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(engine) = shared.as_ref().and_then(EngineWeak::upgrade) {
        return Ok(engine);
    }
    // The pool reserves address space when the engine is made; where there is
    // little of it, memory is allocated call by call.
    let engine = Engine::new(&profile(true))
        .or_else(|error| {
            tracing::warn!("no pool of instances, memory is allocated call by call: {error:#}");
            Engine::new(&profile(false))
        })
        .map_err(|error| Error::Internal(format!("{error:#}")))?;
    tick(engine.weak()).map_err(|error| Error::Internal(format!("the epoch thread could not be started: {error}")))?;
    *shared = Some(engine.weak());
    Ok(engine)
}

/// What is on and off in the engine. Whatever is not needed for components of
/// WASI 0.2 is off: component-model async, garbage collection and threads are
/// where the runtime's latest holes were. `gc` and `threads` are compiled in
/// nevertheless, since builds without them can be made to abort
/// (GHSA-rc4p-x33f-vpr2, GHSA-2674-w29h-wqvj).
fn profile(pooling: bool) -> Config {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift);
    config.epoch_interruption(true);
    config.concurrency_support(false);
    config.gc_support(false).wasm_gc(false).wasm_function_references(false).wasm_exceptions(false);
    config.wasm_threads(false).wasm_shared_everything_threads(false);
    config.wasm_memory64(false).wasm_multi_memory(false).wasm_relaxed_simd(false);
    config.wasm_tail_call(false).wasm_wide_arithmetic(false);
    config.wasm_custom_page_sizes(false).wasm_stack_switching(false);
    config
        .wasm_component_model_error_context(false)
        .wasm_component_model_gc(false)
        .wasm_component_model_map(false)
        .wasm_component_model_memory64(false)
        .wasm_component_model_fixed_length_lists(false)
        .wasm_component_model_implements(false);
    // Python needs 1 MiB for ordinary nesting; the rest of the stack is for
    // what the host does on it.
    config.max_wasm_stack(1 << 20).async_stack_size(2 << 20).async_stack_zeroing(true);
    config.memory_init_cow(true);
    if pooling {
        let places = u32::try_from(MAX_CONCURRENCY).unwrap_or(u32::MAX);
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(places)
            // Python has 14 core instances, and one more per native extension.
            .total_core_instances(32 * places)
            .max_core_instances_per_component(32)
            .total_memories(2 * places)
            .max_memories_per_component(4)
            .total_tables(8 * places)
            .max_tables_per_component(16)
            .total_stacks(places)
            .max_memory_size(MAX_MEMORY_BYTES)
            .table_elements(MAX_TABLE_ELEMENTS)
            .max_unused_warm_slots(16)
            .linear_memory_keep_resident(1 << 20)
            .table_keep_resident(64 << 10);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Advances the epoch for as long as the engine lives. A thread of its own: as
/// a task it would not run on the one thread that a looping plugin occupies.
///
/// # Errors
///
/// There is no thread: nothing would end a loop.
fn tick(engine: EngineWeak) -> std::io::Result<()> {
    std::thread::Builder::new().name("dns-manager-epoch".to_owned()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            #[allow(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
            std::thread::sleep(TICK);
        }
    })?;
    Ok(())
}

/// One plugin, ready to be called.
pub(crate) struct Runtime {
    pub(crate) plugin: DnsPluginPre<State>,
    pub(crate) lent: Lent,
    pub(crate) limits: Limits,
    /// What the plugin calls itself, for the log.
    pub(crate) name: String,
    places: Semaphore,
    observer: Option<Observer>,
}

/// What holds for one call of the manager, over all calls of the plugin that
/// it may take.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    budget: Duration,
    deadline: Instant,
    dry_run: bool,
    request_id: String,
}

impl Turn {
    pub(crate) fn new(budget: Duration, dry_run: bool, request_id: String) -> Self {
        // A day is for ever here, and keeps arithmetic on instants safe.
        let budget = budget.min(Duration::from_secs(86_400));
        Self { budget, deadline: Instant::now() + budget, dry_run, request_id }
    }

    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Why a call of the plugin brought nothing, and whether it was begun.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) error: Error,
    /// False: no code of the plugin was run.
    pub(crate) begun: bool,
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        broken.error
    }
}

impl Runtime {
    pub(crate) fn new(plugin: DnsPluginPre<State>, lent: Lent, limits: Limits, observer: Option<Observer>) -> Self {
        let places = Semaphore::new(limits.concurrency);
        Self { plugin, lent, limits, name: "plugin".to_owned(), places, observer }
    }

    pub(crate) fn usage(&self) -> Usage {
        let Limits { concurrency, connections, .. } = self.limits;
        Usage {
            places: concurrency,
            places_in_use: concurrency.saturating_sub(self.places.available_permits()),
            connections,
            connections_open: connections.saturating_sub(self.lent.sender.free_connections()),
        }
    }

    /// Runs one export. `call` gets the instance, its store and the options;
    /// `judge` makes of what it answered what the caller gets.
    pub(crate) async fn invoke<R, T, F>(
        &self,
        turn: &Turn,
        export: &'static str,
        call: F,
        judge: impl FnOnce(R) -> Result<T, Error> + Send,
    ) -> Result<T, Broken>
    where
        F: for<'a> FnOnce(&'a DnsPlugin, &'a mut Store<State>, Options) -> BoxFuture<'a, wasmtime::Result<R>> + Send,
    {
        let mut watch = Watch::begin(self.observer.as_ref(), export, &turn.request_id);
        let judged = self.run(turn, &mut watch, call).await.and_then(|answer| {
            judge(answer).map_err(|error| {
                // A refusal is of the whole call. Else it did something, and
                // what it says of it is no use.
                let begun = !matches!(error, Error::Refused(_));
                Broken { error, begun }
            })
        });
        watch.end(judged.as_ref().map(drop).map_err(|broken| &broken.error));
        judged
    }

    async fn run<R, F>(&self, turn: &Turn, watch: &mut Watch<'_>, call: F) -> Result<R, Broken>
    where
        F: for<'a> FnOnce(&'a DnsPlugin, &'a mut Store<State>, Options) -> BoxFuture<'a, wasmtime::Result<R>> + Send,
    {
        let not_begun = |error| Broken { error, begun: false };
        if turn.left().is_zero() {
            return Err(not_begun(Error::OutOfTime { budget: turn.budget }));
        }
        let busy = || not_begun(Error::Busy { budget: turn.budget });
        let places = async { (self.places.acquire().await, PLACES.acquire().await) };
        let _places = timeout_at(turn.deadline, places).await.map_err(|_| busy())?;
        watch.placed();

        let mut store = self.store(turn, watch.tally()).map_err(not_begun)?;
        let tail = store.data().tail.clone();
        let left = turn.left();
        let options = Options {
            budget_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1),
            dry_run: turn.dry_run,
            request_id: turn.request_id.clone(),
            attributes: Vec::new(),
        };
        let run = async {
            let plugin = self.plugin.instantiate_async(&mut store).await?;
            call(&plugin, &mut store, options).await
        };
        let run = watch.run(AssertUnwindSafe(run).catch_unwind());
        let ended = timeout(left + self.limits.grace, run).await;
        // After a trap or a cancellation the store is good for nothing.
        drop(store);
        match ended {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(error))) => Err(self.classify(&error, &tail)),
            Ok(Err(_panic)) => {
                let error = Error::Internal("a panic of the host's own during a call".to_owned());
                Err(Broken { error, begun: true })
            }
            Err(_elapsed) => Err(Broken { error: Error::OutOfTime { budget: turn.budget }, begun: true }),
        }
    }

    fn store(&self, turn: &Turn, tally: &Shared<Tally>) -> Result<Store<State>, Error> {
        let ticks = u64::try_from(self.limits.cpu.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX);
        let lines = Lines::new(&self.name, &turn.request_id, self.limits.log_lines, self.limits.log_line_bytes);
        let state = State::new(&self.lent, &self.limits, ticks, lines, tally.clone());
        let mut store = Store::try_new(self.plugin.engine(), state).map_err(|e| Error::Internal(format!("{e:#}")))?;
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(self.limits.transfer_bytes);
        // One more than the host's table holds, whose error has a type.
        store.set_max_component_handles(self.limits.handles.saturating_add(1));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| {
            // Epochs are looked at only in the plugin's own code, so waiting
            // is not counted. Nothing but the state may be touched here.
            let state = context.data_mut();
            match state.ticks_left.checked_sub(1) {
                Some(left) => {
                    state.ticks_left = left;
                    // tokio's yield: the runtime's own would be polled again
                    // at once, and nobody else would have a turn.
                    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
                }
                None => Ok(UpdateDeadline::Interrupt),
            }
        });
        Ok(store)
    }

    /// The runtime's error by its type; its text is for people only.
    fn classify(&self, error: &wasmtime::Error, tail: &Shared<Tail>) -> Broken {
        let limits = &self.limits;
        let begun = true;
        let stderr = || tail.lock().text();
        let what = || escaped(&format!("{error:#}"), TRAP_BYTES);
        if error.is::<PoolConcurrencyLimitError>() {
            // The places above should prevent it; no code was run.
            return Broken { error: Error::Internal(what()), begun: false };
        }
        let error = if let Some(breach) = error.downcast_ref::<Breach>() {
            match breach {
                Breach::Memory => Error::OutOfMemory { limit: limits.memory_bytes },
                Breach::Table(_) => Error::Exceeded { what: breach.to_string(), stderr: stderr() },
                Breach::Forbidden(what) => Error::Denied(what.clone()),
            }
        } else if let Some(trap) = error.downcast_ref::<Trap>() {
            match trap {
                Trap::Interrupt => Error::OutOfCpu { limit: limits.cpu },
                Trap::StackOverflow => Error::OutOfStack,
                _ => Error::Trapped { trap: what(), stderr: stderr() },
            }
        } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
            Error::Trapped { trap: format!("exit with status {}", exit.0), stderr: stderr() }
        } else if let Some(ResourceTableError::Full) = error.downcast_ref() {
            Error::OutOfHandles { limit: limits.handles }
        } else {
            Error::Exceeded { what: what(), stderr: stderr() }
        };
        Broken { error, begun }
    }
}
