//! Where a value comes from.

use std::{fmt, path::PathBuf};

/// Where a setting was given, the strongest place first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A flag, with its hyphens.
    Flag(String),
    /// An environment variable, or the file that a `…_FILE` variable names.
    Variable(String),
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The key, with its section.
        key: String,
        /// Its line, from 1.
        line: usize,
    },
    /// Not set: the default applies.
    Default,
}

/// The text after the variable's name in a message; empty where it would repeat the name.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, " (flag {flag})"),
            Self::Variable(name) if name.ends_with("_FILE") => write!(f, " (in the file of {name})"),
            Self::Variable(_) => Ok(()),
            Self::File { path, key, line } => write!(f, " ({key} in {}, line {line})", path.display()),
            Self::Default => f.write_str(" (default)"),
        }
    }
}
