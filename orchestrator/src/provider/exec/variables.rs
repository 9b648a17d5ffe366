//! The environment variables of the program.

use std::collections::BTreeMap;
use std::fmt;

use crate::environment::Environment;

/// Where programs and the user's files are, and how text is written.
const USUAL: [&str; 10] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

/// Variables with their values, which may be secrets and are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The usual ones and those that are named, as far as they are set.
    pub fn of(environment: &Environment, named: &[String]) -> Self {
        let names = USUAL.into_iter().chain(named.iter().map(String::as_str));
        let set = names.filter_map(|name| Some((name.to_owned(), environment.variables.get(name)?.clone())));
        Self(set.collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
