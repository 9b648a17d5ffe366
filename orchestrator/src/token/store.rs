//! The file of tokens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Token, Wanted, name_problem};

/// Of the form below.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    tokens: Vec<Token>,
}

/// The file of tokens. It is written whole or not at all, for its owner alone, by one writer at a time.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// At this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tokens; none while there is no file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is damaged, or could have been written by others.
    pub fn read(&self) -> Result<Vec<Token>, Error> {
        let octets = match fs::read(&self.path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::Unreadable { path: self.path.clone(), source }),
        };
        self.only_ours()?;
        let damaged = |why: String| Error::Damaged { path: self.path.clone(), why };
        let content: Content = serde_json::from_slice(&octets).map_err(|error| damaged(error.to_string()))?;
        if content.version != VERSION {
            return Err(damaged(format!("it is of version {}, and {VERSION} is known", content.version)));
        }
        Ok(content.tokens)
    }

    /// Makes a token; the text is what its owner presents, and is kept nowhere.
    ///
    /// # Errors
    ///
    /// The name is no good, or taken; or the file cannot be read or written.
    pub fn create(&self, wanted: Wanted) -> Result<(Token, String), Error> {
        if let Some(why) = name_problem(&wanted.name) {
            return Err(Error::Name { name: wanted.name, why });
        }
        self.change(|tokens| {
            if tokens.iter().any(|token| token.name == wanted.name) {
                return Err(Error::Exists(wanted.name));
            }
            let made = Token::make(wanted);
            tokens.push(made.0.clone());
            Ok(made)
        })
    }

    /// Ends a token.
    ///
    /// # Errors
    ///
    /// There is none of this name; or the file cannot be read or written.
    pub fn revoke(&self, name: &str) -> Result<Token, Error> {
        self.change(|tokens| {
            let found = tokens.iter().position(|token| token.name == name);
            found.map(|index| tokens.remove(index)).ok_or_else(|| Error::NotFound(name.to_owned()))
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Token>) -> Result<T, Error>) -> Result<T, Error> {
        let unwritable = |source| Error::Unwritable { path: self.path.clone(), source };
        let directory = self.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(unwritable)?;
        // The file itself is replaced, so that a lock on it would be on one that is gone.
        let _lock = self.lock().map_err(unwritable)?;
        let mut tokens = self.read()?;
        let changed = change(&mut tokens)?;
        write(directory, &self.path, &Content { version: VERSION, tokens }).map_err(unwritable)?;
        Ok(changed)
    }

    /// Others wait until the file is closed, which the end of the process does, too.
    fn lock(&self) -> io::Result<File> {
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(name)?;
        file.lock()?;
        Ok(file)
    }

    /// Whoever can write the file can let anybody in.
    #[cfg(unix)]
    fn only_ours(&self) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata =
            fs::metadata(&self.path).map_err(|source| Error::Unreadable { path: self.path.clone(), source })?;
        match metadata.permissions().mode() & 0o022 {
            0 => Ok(()),
            _ => Err(Error::Exposed { path: self.path.clone() }),
        }
    }

    #[cfg(not(unix))]
    fn only_ours(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A temporary file is for its owner alone, and stays so.
fn write(directory: &Path, path: &Path, content: &Content) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer_pretty(&mut file, content)?;
    writeln!(file)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What is wrong with tokens.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the tokens cannot be read from {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "{} is damaged, and nobody is let in by it: {why}; restore it, or remove it and create the tokens anew",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Others than its owner can write the file.
    #[error("{} can be written by others, and nobody is let in by it: `chmod 600` it, and look whose tokens are in it", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("the tokens cannot be written to {}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No token can be called that.
    #[error("\"{}\" cannot be a token's name: {why}", name.escape_debug())]
    Name {
        /// What was given.
        name: String,
        /// Why not.
        why: String,
    },
    /// There is one already.
    #[error("there is a token \"{0}\" already: revoke it first (`dns-manager token revoke {0}`), or use another name")]
    Exists(String),
    /// There is none.
    #[error("there is no token \"{}\": `dns-manager token list` shows all", .0.escape_debug())]
    NotFound(String),
}
