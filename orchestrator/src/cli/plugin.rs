//! `plugin inspect`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use dns_manager_host::{DnsManager, LinkMode};
use serde::Serialize;
use wasmparser::{Parser, Payload};

use super::output::{Console, Rows};
use super::{Exit, Failure};
use crate::record::RecordType;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a component imports and exports, what it says of itself, and whether it can be loaded.
    #[command(after_help = "Example:
  dns-manager plugin inspect dns-manager.wasm")]
    Inspect {
        /// The component.
        file: PathBuf,
    },
}

/// What a component is.
#[derive(Serialize)]
struct Inspection {
    file: String,
    bytes: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    /// Null: it cannot be loaded.
    info: Option<Info>,
    strict: Loads,
    inert: Loads,
}

/// What a plugin says of itself.
#[derive(Serialize)]
struct Info {
    name: String,
    version: String,
    record_types: Vec<String>,
    max_items: u32,
    features: Vec<String>,
}

/// Whether a component loads in a link mode.
#[derive(Serialize)]
struct Loads {
    loads: bool,
    /// Null: it does.
    problem: Option<String>,
}

pub(super) async fn run(command: Command, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let Command::Inspect { file } = command;
    console.waiting("loading the component");
    let inspection = inspect(&file).await?;
    console.result(&inspection, |inspection| rows(inspection).text())?;
    for (mode, outcome) in [("strict", &inspection.strict), ("inert", &inspection.inert)] {
        if let Some(problem) = &outcome.problem {
            console.error(&format!("{}: it cannot be loaded (link mode {mode}): {problem}", inspection.file));
        }
    }
    Ok(Exit::when(inspection.strict.loads || inspection.inert.loads))
}

async fn inspect(file: &Path) -> Result<Inspection, Failure> {
    let bytes = fs::read(file).with_context(|| format!("reading the component {}", file.display()))?;
    let (imports, exports) = names(&bytes).with_context(|| format!("{} is not a component", file.display()))?;
    let size = bytes.len();
    let strict = load(&bytes, LinkMode::Strict).await;
    let inert = load(&bytes, LinkMode::Inert).await;
    let info = strict.as_ref().or(inert.as_ref()).ok().map(|manager| Info::from(manager.info()));
    Ok(Inspection {
        file: file.display().to_string(),
        bytes: size,
        imports,
        exports,
        info,
        strict: strict.into(),
        inert: inert.into(),
    })
}

/// Loads a component next to a backend and a name server that it is never asked to use.
async fn load(bytes: &[u8], mode: LinkMode) -> Result<DnsManager, dns_manager_host::Error> {
    DnsManager::builder()
        .component(bytes)
        .backend(["http://127.0.0.1:2379"])
        .nameservers(["127.0.0.1:53"])
        .link_mode(mode)
        .build()
        .await
}

/// The names of a component's imports and exports.
fn names(bytes: &[u8]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    // Components hold components and modules, whose imports and exports are their own affair.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } => {
                anyhow::ensure!(depth > 0 || encoding == wasmparser::Encoding::Component, "it is a core module");
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

impl From<&dns_manager_host::contract::Info> for Info {
    fn from(info: &dns_manager_host::contract::Info) -> Self {
        Self {
            name: info.name.clone(),
            version: info.version.clone(),
            record_types: info.rr_types.iter().map(|number| RecordType::from(*number).to_string()).collect(),
            max_items: info.max_items,
            features: info.features.clone(),
        }
    }
}

impl From<Result<DnsManager, dns_manager_host::Error>> for Loads {
    fn from(loaded: Result<DnsManager, dns_manager_host::Error>) -> Self {
        let problem = loaded.err().map(|error| crate::error_chain(&error));
        Self { loads: problem.is_none(), problem }
    }
}

fn rows(inspection: &Inspection) -> Rows {
    let mut rows = Rows::plain();
    rows.add(&["file", &inspection.file]);
    rows.add(&["size", &format!("{} bytes", inspection.bytes)]);
    if let Some(info) = &inspection.info {
        rows.add(&["name", &info.name]);
        rows.add(&["version", &info.version]);
        rows.add(&["record types", &info.record_types.join(" ")]);
        rows.add(&["items per call", &info.max_items.to_string()]);
        rows.add(&["features", &info.features.join(" ")]);
    }
    for (kind, names) in [("imports", &inspection.imports), ("exports", &inspection.exports)] {
        for name in names {
            rows.add(&[kind, name]);
        }
    }
    for (mode, outcome) in [("link mode strict", &inspection.strict), ("link mode inert", &inspection.inert)] {
        rows.add(&[mode, if outcome.loads { "loads" } else { "does not load" }]);
    }
    rows
}
