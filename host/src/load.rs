//! From bytes to a plugin that can be instantiated, or to a list of all that
//! does not fit.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use tokio::sync::Semaphore;
use wasmtime::{Engine, component::Component};

use crate::{
    Error, LinkMode, LoadError, Misfit, MisfitKind,
    bindings::DnsPluginPre,
    linker::{self, OFFERED, OWN, is_forbidden, serves},
    state::State,
};

/// The one export of the world.
const EXPORT: (&str, &str) = ("provisioning:dns/dns-manager", "0.1.0");

/// Compiling takes all processors and hundreds of MiB: one at a time.
static COMPILING: Semaphore = Semaphore::const_new(1);

/// Reads a component's file, of at most `limit` bytes.
pub(crate) async fn read(path: &Path, limit: usize) -> Result<Vec<u8>, LoadError> {
    let file = path.to_owned();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        File::open(file)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match read.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        Ok(bytes) if bytes.len() > limit => Err(LoadError::TooLarge { limit }),
        Ok(bytes) => Ok(bytes),
        Err(source) => Err(LoadError::Read { path: path.to_owned(), source }),
    }
}

/// Compiles and links a component.
pub(crate) async fn load(
    engine: &Engine,
    bytes: Vec<u8>,
    limit: usize,
    mode: LinkMode,
) -> Result<DnsPluginPre<State>, Error> {
    if bytes.len() > limit {
        return Err(LoadError::TooLarge { limit }.into());
    }
    let _turn = COMPILING.acquire().await.map_err(|e| Error::Internal(e.to_string()))?;
    let engine = engine.clone();
    let compiled = tokio::task::spawn_blocking(move || {
        // Binary only: never text, never code compiled elsewhere.
        let component =
            Component::from_binary(&engine, &bytes).map_err(|error| LoadError::NotAComponent(format!("{error:#}")))?;
        link(&engine, &component, mode)
    });
    compiled.await.map_err(|e| Error::Internal(e.to_string()))?
}

fn link(engine: &Engine, component: &Component, mode: LinkMode) -> Result<DnsPluginPre<State>, Error> {
    let internal = |error: wasmtime::Error| Error::Internal(format!("{error:#}"));
    let mut misfits = missing(engine, component, mode);
    if misfits.is_empty() {
        let mut linker = linker::base(engine).map_err(internal)?;
        if mode == LinkMode::Inert {
            linker::link_inert(&mut linker, component, engine).map_err(internal)?;
        }
        let error = match linker.instantiate_pre(component) {
            Ok(pre) => match DnsPluginPre::new(pre) {
                Ok(plugin) => return Ok(plugin),
                Err(error) => {
                    let kind = MisfitKind::ExportDiffers(format!("{error:#}"));
                    misfits.push(Misfit { name: format!("{}@{}", EXPORT.0, EXPORT.1), kind });
                    return Err(LoadError::World(misfits).into());
                }
            },
            Err(error) => error,
        };
        misfits = differing(engine, component);
        if misfits.is_empty() {
            return Err(LoadError::NotAComponent(format!("{error:#}")).into());
        }
    }
    Err(LoadError::World(misfits).into())
}

/// Imports and exports that are not there by name and version.
fn missing(engine: &Engine, component: &Component, mode: LinkMode) -> Vec<Misfit> {
    let ty = component.component_type();
    let fits = |name: &str, (offered, version): (&str, &str)| {
        name.split_once('@').is_some_and(|(interface, wanted)| interface == offered && serves(version, wanted))
    };
    let mut misfits = Vec::new();
    let mut exports = ty.exports(engine).map(|(name, _)| name).peekable();
    if exports.peek().is_none() {
        let kind = MisfitKind::MissingExport("it exports nothing".to_owned());
        misfits.push(Misfit { name: format!("{}@{}", EXPORT.0, EXPORT.1), kind });
    } else if !ty.exports(engine).any(|(name, _)| fits(name, EXPORT)) {
        let found: Vec<_> = exports.map(|name| format!("`{name}`")).collect();
        let kind = MisfitKind::MissingExport(format!("it exports {}", found.join(", ")));
        misfits.push(Misfit { name: format!("{}@{}", EXPORT.0, EXPORT.1), kind });
    }
    for (name, _) in ty.imports(engine) {
        let kind = if is_forbidden(name) {
            match mode {
                LinkMode::Strict => MisfitKind::ForbiddenImport,
                LinkMode::Inert => continue,
            }
        } else if OFFERED.into_iter().any(|offered| fits(name, offered)) {
            continue;
        } else {
            MisfitKind::UnknownImport
        };
        misfits.push(Misfit { name: name.to_owned(), kind });
    }
    misfits
}

/// Imports that are there but have other types. Each of ours is checked by
/// itself; WASI's interfaces share resources and are checked together.
fn differing(engine: &Engine, component: &Component) -> Vec<Misfit> {
    let mut misfits = Vec::new();
    let differs = |linker: wasmtime::Result<wasmtime::component::Linker<State>>| {
        linker.and_then(|linker| linker.instantiate_pre(component)).err().map(|error| format!("{error:#}"))
    };
    for own in OWN {
        let ty = component.component_type();
        let import = ty.imports(engine).find(|(name, _)| name.split('@').next() == Some(own));
        let Some((name, _)) = import else { continue };
        if let Some(why) = differs(linker::with_only(own, component, engine)) {
            misfits.push(Misfit { name: name.to_owned(), kind: MisfitKind::ImportDiffers(why) });
        }
    }
    if let Some(why) = differs(linker::without_own(component, engine)) {
        misfits.push(Misfit { name: "wasi".to_owned(), kind: MisfitKind::ImportDiffers(why) });
    }
    misfits
}

#[cfg(test)]
mod tests;
