//! What can go wrong, each with a name of its own.
//!
//! *The plugin said no* ([`Error::Refused`], [`Error::NotDone`]) is kept apart
//! from *the machinery broke* (all others). `Display` is one line and never
//! prints its source.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::contract::{Outcome, Reason};

/// Why a call did not bring what was asked for.
///
/// Exhaustive on purpose: who maps errors to exit codes or HTTP statuses
/// learns at compile time that there is a new one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component could not be loaded, or is of another world.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What the builder was given is wrong.
    #[error("configuration: {0}")]
    Config(String),
    /// The plugin refused the whole call; nothing was attempted.
    #[error("{} ({})", .0.message, .0.code.name())]
    Refused(Reason),
    /// The one change of a call was not made: conflict, refused, failed or
    /// unknown.
    #[error("{}", not_done(.0))]
    NotDone(Box<Outcome>),
    /// The plugin reached for what the host's policy forbids.
    #[error("the host forbids it: {0}")]
    Denied(String),
    /// The plugin's code broke off: a panic, a bad memory access, an exit.
    #[error("the plugin broke off: {trap}")]
    Trapped {
        /// What happened, in wasmtime's words, with the innermost functions.
        trap: String,
        /// The end of what the plugin wrote to its standard streams. The
        /// cause of a panic stands only there.
        stderr: String,
    },
    /// The call was ended from outside, its budget and the grace being over.
    #[error("the call did not end within its budget of {}", seconds(*budget))]
    OutOfTime {
        /// The budget that the call had.
        budget: Duration,
    },
    /// The plugin's own code ran for too long, waiting not counted.
    #[error("the plugin used more processor time than {} in one call", seconds(*limit))]
    OutOfCpu {
        /// `Limits::cpu`.
        limit: Duration,
    },
    /// The plugin wanted more memory than it may have.
    #[error("the plugin wanted more memory than {limit} bytes")]
    OutOfMemory {
        /// `Limits::memory_bytes`.
        limit: usize,
    },
    /// The plugin's calls were nested too deeply.
    #[error("the plugin's call stack is exhausted")]
    OutOfStack,
    /// The plugin kept too many things of the host's open, or sent more
    /// requests in one call than the host has room to remember.
    #[error("the plugin holds more than {limit} of the host's resources")]
    OutOfHandles {
        /// `Limits::handles`.
        limit: usize,
    },
    /// The plugin broke another limit, or a rule of the component model: too
    /// much data in one list, a value that is no value of its type.
    #[error("the plugin went too far: {what}")]
    Exceeded {
        /// Which limit or rule, for people.
        what: String,
        /// As in [`Error::Trapped`].
        stderr: String,
    },
    /// All places were taken for as long as the budget lasted. The plugin was
    /// not started.
    #[error("no place was free within the budget of {}", seconds(*budget))]
    Busy {
        /// The budget that the call had.
        budget: Duration,
    },
    /// The plugin returned something that the contract forbids.
    #[error("the plugin breaks the contract: {0}")]
    Contract(String),
    /// The call needs a feature or a record type that the plugin does not
    /// list. Nothing was attempted.
    #[error("the plugin does not support {0}")]
    Unsupported(String),
    /// The host's own machinery failed.
    #[error("the host failed: {0}")]
    Internal(String),
}

impl Error {
    /// A stable name for programs, in kebab case.
    ///
    /// ```
    /// use dns_manager_host::Error;
    ///
    /// assert_eq!(Error::OutOfStack.code(), "out-of-stack");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::Config(_) => "config",
            Self::Refused(_) => "refused",
            Self::NotDone(_) => "not-done",
            Self::Denied(_) => "denied",
            Self::Trapped { .. } => "trapped",
            Self::OutOfTime { .. } => "out-of-time",
            Self::OutOfCpu { .. } => "out-of-cpu",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::OutOfStack => "out-of-stack",
            Self::OutOfHandles { .. } => "out-of-handles",
            Self::Exceeded { .. } => "exceeded",
            Self::Busy { .. } => "busy",
            Self::Contract(_) => "contract",
            Self::Unsupported(_) => "unsupported",
            Self::Internal(_) => "internal",
        }
    }
}

/// Why a component could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("reading the component `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than `Limits::component_bytes`.
    #[error("the component has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// These bytes are no component that this host accepts: a core module,
    /// text, a damaged file, or one that uses a WebAssembly proposal which is
    /// switched off.
    #[error("this is no component that can be loaded: {0}")]
    NotAComponent(String),
    /// The component is of another world than `dns-plugin`, or of another
    /// version of it.
    #[error("the component does not fit the world `dns-plugin`: {}", joined(.0))]
    World(Vec<Misfit>),
}

/// One import or export that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The import or export, as the component names it.
    pub name: String,
    /// What is wrong with it.
    pub kind: MisfitKind,
}

/// How an import or export does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MisfitKind {
    /// The host offers nothing of that name.
    UnknownImport,
    /// Files or sockets, and the link mode is strict.
    ForbiddenImport,
    /// The host offers it with other types; the text says where they differ.
    ImportDiffers(String),
    /// The component lacks it; the text says what it exports instead.
    MissingExport(String),
    /// The component exports it with other types; the text says where.
    ExportDiffers(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.kind {
            MisfitKind::UnknownImport => write!(f, "import `{name}` is not offered"),
            MisfitKind::ForbiddenImport => {
                write!(f, "import `{name}` is forbidden (link mode strict; inert links it empty)")
            }
            MisfitKind::ImportDiffers(why) => write!(f, "import `{name}` has other types: {why}"),
            MisfitKind::MissingExport(instead) => write!(f, "export `{name}` is missing; {instead}"),
            MisfitKind::ExportDiffers(why) => write!(f, "export `{name}` has other types: {why}"),
        }
    }
}

fn joined(misfits: &[Misfit]) -> String {
    misfits.iter().map(Misfit::to_string).collect::<Vec<_>>().join("; ")
}

fn not_done(outcome: &Outcome) -> String {
    let status = outcome.status.name();
    match &outcome.reason {
        Some(reason) => format!("{status}: {} ({})", reason.message, reason.code.name()),
        None => status.to_owned(),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
