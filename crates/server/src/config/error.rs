//! Errors of the configuration. Every message names the setting and the remedy, and contains no secret.

use std::{io, path::PathBuf};

use super::{key_file::KeyFileError, place::Place};

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The command line is not understood; the text says what is expected.
    #[error("{0}")]
    Usage(String),
    /// A value that is invalid for its setting.
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
    /// A variable that is not UTF-8.
    #[error("{variable}: not valid UTF-8; set it to UTF-8 text")]
    NotText {
        /// The variable.
        variable: String,
    },
    /// An `ALDIS_` variable with a name close to a setting's.
    #[error("{variable}: there is no such setting; write \"{nearest}\" or remove it")]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// The setting's variable.
        nearest: String,
    },
    /// A control character in a value, for example a line break.
    #[error("{variable}{place}: the value contains the control character U+{character:04X}; remove it")]
    ControlCharacter {
        /// The setting, by its variable.
        variable: &'static str,
        /// Where the value was given.
        place: Place,
        /// The code point of the first one.
        character: u32,
    },
    /// An unknown key in the file.
    #[error("{}, line {line}: there is no setting \"{key}\"; {}remove it", path.display(), suggestion(.nearest))]
    UnknownKey {
        /// The configuration file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The key, with its section.
        key: String,
        /// The most similar known key.
        nearest: Option<String>,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: {problem}; correct it (the file is TOML)", path.display())]
    Syntax {
        /// The configuration file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The parser's reason.
        problem: String,
    },
    /// A file that a setting names cannot be read.
    #[error("{setting}: cannot read {}: {source}; name a readable UTF-8 text file of at most {limit} bytes", path.display())]
    Unreadable {
        /// The variable that names the file.
        setting: String,
        /// The file.
        path: PathBuf,
        /// How many bytes may be read from it.
        limit: u64,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A secret and its file were both set in the same place.
    #[error("{variable} and {variable}_FILE are both set; remove one")]
    BothForms {
        /// The setting, by its variable.
        variable: &'static str,
    },
    /// One of two settings that only work together is missing.
    #[error("{given} is set without {missing}; set both or none")]
    Half {
        /// The variable that was set.
        given: &'static str,
        /// The variable that is missing.
        missing: &'static str,
    },
    /// Two settings that exclude each other.
    #[error("{one} and {other} are both set; remove one")]
    Both {
        /// The first one's variable.
        one: &'static str,
        /// The second one's variable.
        other: &'static str,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("write \"{name}\" or ")).unwrap_or_default()
}
