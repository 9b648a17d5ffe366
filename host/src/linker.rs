//! What a component is linked with: the imports of its world, what language
//! runtimes drag in with nothing behind it, and no more.

use wasmtime::{
    Engine, StoreContextMut,
    component::{
        Component, HasData, HasSelf, Linker, Resource, ResourceTable, ResourceType, Val, types::ComponentItem,
    },
};
use wasmtime_wasi::{
    cli::{WasiCli, WasiCliView as _},
    clocks::{WasiClocks, WasiClocksView as _},
    p2::bindings::{cli, clocks, random},
    random::WasiRandom,
};
use wasmtime_wasi_http::{
    WasiHttpView as _,
    p2::bindings::http::types::{HostOutgoingRequest as _, Method, OutgoingRequest},
};
use wasmtime_wasi_io::bindings::wasi::io;

use crate::{
    bindings::provisioning::dns::{dns_types, log, resolver, settings},
    limits::Breach,
    state::State,
};

/// What happens to imports of files and sockets, which no plugin gets.
///
/// Standard streams, environment, arguments, random numbers and the wall clock
/// are linked in both modes with nothing behind them but random numbers:
/// almost every language's runtime asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkMode {
    /// A component that imports files or sockets is not loaded.
    #[default]
    Strict,
    /// They are linked empty: no directory, and every attempt is refused. For
    /// languages whose runtimes import them without need (Go, Python, C).
    Inert,
}

/// Ours, by interface name without version. They use no resources, so each
/// can be checked alone.
pub(crate) const OWN: [&str; 3] = ["provisioning:dns/resolver", "provisioning:dns/settings", "provisioning:dns/log"];

/// All that is linked: interface name without version, and the version.
pub(crate) const OFFERED: [(&str, &str); 24] = [
    ("provisioning:dns/dns-types", "0.1.0"),
    ("provisioning:dns/resolver", "0.1.0"),
    ("provisioning:dns/settings", "0.1.0"),
    ("provisioning:dns/log", "0.1.0"),
    ("wasi:cli/environment", "0.2.12"),
    ("wasi:cli/exit", "0.2.12"),
    ("wasi:cli/stdin", "0.2.12"),
    ("wasi:cli/stdout", "0.2.12"),
    ("wasi:cli/stderr", "0.2.12"),
    ("wasi:cli/terminal-input", "0.2.12"),
    ("wasi:cli/terminal-output", "0.2.12"),
    ("wasi:cli/terminal-stdin", "0.2.12"),
    ("wasi:cli/terminal-stdout", "0.2.12"),
    ("wasi:cli/terminal-stderr", "0.2.12"),
    ("wasi:clocks/monotonic-clock", "0.2.12"),
    ("wasi:clocks/wall-clock", "0.2.12"),
    ("wasi:http/outgoing-handler", "0.2.12"),
    ("wasi:http/types", "0.2.12"),
    ("wasi:io/error", "0.2.12"),
    ("wasi:io/poll", "0.2.12"),
    ("wasi:io/streams", "0.2.12"),
    ("wasi:random/insecure", "0.2.12"),
    ("wasi:random/insecure-seed", "0.2.12"),
    ("wasi:random/random", "0.2.12"),
];

/// Whether this interface (name without version) is files or sockets.
pub(crate) fn is_forbidden(interface: &str) -> bool {
    interface.starts_with("wasi:filesystem/") || interface.starts_with("wasi:sockets/")
}

struct HasIo;

impl HasData for HasIo {
    type Data<'a> = &'a mut ResourceTable;
}

/// Everything that a component may import, but for stubs.
pub(crate) fn base(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    link_wasi(&mut linker)?;
    for own in OWN {
        link_own(&mut linker, own)?;
    }
    dns_types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

fn link_wasi(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    io::error::add_to_linker::<State, HasIo>(linker, |state| &mut state.table)?;
    io::poll::add_to_linker::<State, HasIo>(linker, |state| &mut state.table)?;
    io::streams::add_to_linker::<State, HasIo>(linker, |state| &mut state.table)?;
    clocks::monotonic_clock::add_to_linker::<State, WasiClocks>(linker, State::clocks)?;
    clocks::wall_clock::add_to_linker::<State, WasiClocks>(linker, State::clocks)?;
    random::random::add_to_linker::<State, WasiRandom>(linker, |state| wasi(state).random())?;
    random::insecure::add_to_linker::<State, WasiRandom>(linker, |state| wasi(state).random())?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(linker, |state| wasi(state).random())?;
    cli::environment::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::stdin::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::stdout::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::stderr::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    bound_requests(linker)
}

/// Octets of a method, of which the longest that is registered has 17.
const METHOD: usize = 32;
/// Octets of an authority: a name has 253 at most.
const AUTHORITY: usize = 300;

/// Bounds what a request is told about itself: the runtime keeps it for as
/// long as the handle is there, and bounds only paths and headers.
fn bound_requests(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Set<T> = (Resource<OutgoingRequest>, T);
    linker.allow_shadowing(true);
    let mut types = linker.instance("wasi:http/types@0.2.12")?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreContextMut<'_, State>, (request, method): Set<Method>| {
            if is_longer(if let Method::Other(name) = &method { Some(name) } else { None }, METHOD) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_method(request, method)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreContextMut<'_, State>, (request, authority): Set<Option<String>>| {
            if is_longer(authority.as_ref(), AUTHORITY) {
                return Ok((Err(()),));
            }
            Ok((store.data_mut().http().set_authority(request, authority)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn is_longer(text: Option<&String>, most: usize) -> bool {
    text.is_some_and(|text| text.len() > most)
}

fn wasi(state: &mut State) -> &mut wasmtime_wasi::WasiCtx {
    wasmtime_wasi::WasiView::ctx(state).ctx
}

fn link_own(linker: &mut Linker<State>, interface: &str) -> wasmtime::Result<()> {
    match interface {
        "provisioning:dns/resolver" => resolver::add_to_linker::<State, HasSelf<State>>(linker, |state| state),
        "provisioning:dns/settings" => settings::add_to_linker::<State, HasSelf<State>>(linker, |state| state),
        _ => log::add_to_linker::<State, HasSelf<State>>(linker, |state| state),
    }
}

/// A linker in which `interface` alone is ours and every other import is a
/// stub of the component's own making: it tells whether the two agree.
pub(crate) fn with_only(interface: &str, component: &Component, engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    link_own(&mut linker, interface)?;
    link_stubs(&mut linker, component, engine, |name| name != interface)?;
    Ok(linker)
}

/// A linker in which ours are stubs and the rest is as it will be.
pub(crate) fn without_own(component: &Component, engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    link_wasi(&mut linker)?;
    link_stubs(&mut linker, component, engine, |name| is_forbidden(name) || name.starts_with("provisioning:dns/"))?;
    Ok(linker)
}

/// Links the interfaces of files and sockets without any file or socket.
pub(crate) fn link_inert(linker: &mut Linker<State>, component: &Component, engine: &Engine) -> wasmtime::Result<()> {
    link_stubs(linker, component, engine, is_forbidden)
}

/// Stubs for the component's own imports: constants where runtimes ask at
/// start, an error where code may try, a trap for the rest.
///
/// `Linker::define_unknown_imports_as_traps` is no help: it also defines what
/// an interface takes over from one that is linked already, and then their
/// resource types differ.
fn link_stubs(
    linker: &mut Linker<State>,
    component: &Component,
    engine: &Engine,
    wanted: impl Fn(&str) -> bool,
) -> wasmtime::Result<()> {
    struct Never;
    // A resource is defined where it is first imported, never where it is used.
    let mut seen = Vec::new();
    for (name, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
        let interface = name.split('@').next().unwrap_or(name);
        let wanted = wanted(interface);
        for (item, export) in instance.exports(engine) {
            match export.ty {
                ComponentItem::Resource(resource) if !seen.contains(&resource) => {
                    seen.push(resource);
                    if wanted {
                        linker.instance(name)?.resource(item, ResourceType::host::<Never>(), |_, _| Ok(()))?;
                    }
                }
                ComponentItem::ComponentFunc(_) if wanted => {
                    let mut instance = linker.instance(name)?;
                    match (interface, item) {
                        ("wasi:filesystem/preopens", _) => instance.func_new(item, |_, _, _, results| {
                            // The component chose the signature: never index.
                            if let [result] = results {
                                *result = Val::List(Vec::new());
                            }
                            Ok(())
                        })?,
                        ("wasi:sockets/instance-network", _) => {
                            instance.func_wrap(item, |_, ()| Ok((Resource::<Never>::new_own(0),)))?;
                        }
                        ("wasi:sockets/tcp-create-socket" | "wasi:sockets/udp-create-socket", _)
                        | ("wasi:sockets/ip-name-lookup", "resolve-addresses") => {
                            instance.func_new_async(item, |mut store, _, arguments, results| {
                                Box::new(async move {
                                    store.data().tally.lock().denials.imports += 1;
                                    for argument in arguments {
                                        // A borrow ends with the call.
                                        if let Val::Resource(resource) = argument {
                                            resource.resource_drop_async(&mut store).await?;
                                        }
                                    }
                                    if let [result] = results {
                                        let denied = Val::Enum("access-denied".to_owned());
                                        *result = Val::Result(Err(Some(Box::new(denied))));
                                    }
                                    Ok(())
                                })
                            })?;
                        }
                        _ => {
                            let what = format!("{interface}#{item}");
                            instance.func_new(item, move |store, _, _, _| {
                                store.data().tally.lock().denials.imports += 1;
                                Err(Breach::Forbidden(what.clone()).into())
                            })?;
                        }
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether a linked version serves an imported one: the same major version,
/// or below 1.0 the same minor one, as the runtime's linker has it.
pub(crate) fn serves(offered: &str, wanted: &str) -> bool {
    let parts = |version: &str| {
        let release = version.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = release.split('.').map(|number| number.parse::<u64>().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    match (parts(offered), parts(wanted)) {
        (Some((0, 0, a)), Some((0, 0, b))) => a == b,
        (Some((0, a, _)), Some((0, b, _))) => a == b,
        (Some((a, _, _)), Some((b, _, _))) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_served_as_the_linker_does() {
        let cases = [
            ("0.2.12", "0.2.0", true),
            ("0.2.12", "0.2.13", true),
            ("0.2.12", "0.3.0", false),
            ("0.1.0", "0.1.9", true),
            ("0.0.1", "0.0.2", false),
            ("1.2.3", "1.9.0", true),
            ("1.2.3", "2.0.0", false),
            ("0.2.12", "0.2", false),
            ("0.2.12", "", false),
        ];
        for (offered, wanted, expected) in cases {
            assert_eq!(serves(offered, wanted), expected, "{offered} for {wanted}");
        }
    }
}
