//! What can be wrong with a configuration. Every message names the setting and the remedy, and no secret.

use std::{io, path::PathBuf};

use super::{key_file::KeyFileError, place::Place};

/// Why the server does not start with what it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The command line is not understood; the text says what would be.
    #[error("{0}")]
    Usage(String),
    /// A value that its setting does not take.
    #[error("{variable}{place}: \"{value}\" is not valid; {remedy}")]
    BadValue {
        /// The setting, by its variable.
        variable: &'static str,
        /// Where the value was given.
        place: Place,
        /// The value, masked where it is secret.
        value: String,
        /// What to give instead.
        remedy: String,
    },
    /// A variable that is no text.
    #[error("{variable}: not UTF-8; give it as UTF-8 text")]
    NotText {
        /// The variable.
        variable: String,
    },
    /// An `ALDIS_` variable whose name is nearly that of a setting.
    #[error("{variable}: there is no such setting; write \"{nearest}\" or remove it")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// The setting's variable.
        nearest: String,
    },
    /// A control character in a value, as a line break that a file of variables left at its end.
    #[error("{variable}{place}: the value holds the control character U+{character:04X}; remove it")]
    ControlCharacter {
        /// The setting, by its variable.
        variable: &'static str,
        /// Where the value was given.
        place: Place,
        /// The first of them, by its code point.
        character: u32,
    },
    /// A key in the file that means nothing.
    #[error("{}, line {line}: there is no setting \"{key}\"; {}remove it", path.display(), suggestion(.nearest))]
    UnknownKey {
        /// The configuration file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The key, with its section.
        key: String,
        /// The known key that it looks most like.
        nearest: Option<String>,
    },
    /// The file is no TOML.
    #[error("{}, line {line}: {problem}; correct it (the file is TOML)", path.display())]
    Syntax {
        /// The configuration file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What the parser stumbled over.
        problem: String,
    },
    /// A file that a setting names cannot be read.
    #[error("{setting}: cannot read {}: {source}; name a readable UTF-8 text file of at most {limit} bytes", path.display())]
    Unreadable {
        /// The variable that names the file.
        setting: String,
        /// The file.
        path: PathBuf,
        /// The most that is read of it.
        limit: u64,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A secret was given itself and as a file, in the same place.
    #[error("{variable} and {variable}_FILE are both given; remove one")]
    BothForms {
        /// The setting, by its variable.
        variable: &'static str,
    },
    /// Two settings that only work together.
    #[error("{given} is given without {missing}; give both or none")]
    Half {
        /// The variable that was given.
        given: &'static str,
        /// The one that was not.
        missing: &'static str,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("write \"{name}\" or ")).unwrap_or_default()
}
