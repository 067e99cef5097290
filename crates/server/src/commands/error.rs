//! Why a command failed.

use std::{io, path::PathBuf};

use super::archive::ArchiveError;
use crate::{config::key_file::KeyFileError, terminal::InputError};

/// Why a command failed. Each message names the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The runtime does not start.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The address of the server cannot be known.
    #[error("PORT is 0, so the port of the server is unknown; set PORT to the port that it listens on")]
    UnknownPort,
    /// The server does not answer.
    #[error("no answer from {address}: {source}; is the server running, with these HOST and PORT?")]
    NoAnswer {
        /// The address that was asked.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The server answers that it does not take clients.
    #[error("the server at {address} answers {status}: {detail}")]
    NotWell {
        /// The address that was asked.
        address: String,
        /// The HTTP status.
        status: u16,
        /// What the server says about it.
        detail: String,
    },
    /// The database cannot be used.
    #[error("{0}")]
    Database(String),
    /// The command is for another kind of database.
    #[error("{0}")]
    WrongDatabase(&'static str),
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}{}", path.display(), remedy(source))]
    File {
        /// `read`, `write` and the like.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The key file cannot be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The file is no backup that can be restored.
    #[error("cannot restore {}: {problem}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A file is in the way.
    #[error("{} exists; {remedy}", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A server uses the database that a restore would replace.
    #[error("a server or another program uses {}; stop it first", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The data directory has another key file than the backup.
    #[error(
        "{} is another key file than the one in the backup; restore into an empty directory (ALDIS_DATA_DIR), or \
         replace both with --overwrite",
        path.display()
    )]
    OtherKeyFile {
        /// The key file in the data directory.
        path: PathBuf,
    },
    /// The address of the admin listener cannot be known.
    #[error("the port of ALDIS_ADMIN_LISTEN is 0, so it is unknown; set the port that the server listens on")]
    UnknownAdminPort,
    /// The admin listener does not answer.
    #[error("no answer from {address}: {source}; is the server running, with this ALDIS_ADMIN_LISTEN?")]
    NoAdminAnswer {
        /// The address that was asked.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is no such room.
    #[error("there is no stored room of this name; aldis rooms list prints all")]
    NoRoom,
    /// There is no such message.
    #[error("there is no message with this id: it was never stored, or its time is over")]
    NoMessage,
    /// The passphrase cannot be used.
    #[error("{0}")]
    Passphrase(String),
}

fn remedy(error: &io::Error) -> &'static str {
    use io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, StorageFull};

    let kind = error.kind();
    if matches!(kind, StorageFull | FileTooLarge | QuotaExceeded) {
        "; free some space on its disk"
    } else if kind == PermissionDenied {
        "; run the command as the server's user"
    } else {
        ""
    }
}

impl CommandError {
    /// The exit code of the process: 1 if it may work later, 2 for wrong usage or configuration, 3 if the command was
    /// refused and nothing changed.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Runtime(_)
            | Self::NoAnswer { .. }
            | Self::NoAdminAnswer { .. }
            | Self::NotWell { .. }
            | Self::Database(_)
            | Self::File { .. }
            | Self::KeyFile(_) => 1,
            Self::UnknownPort | Self::UnknownAdminPort | Self::WrongDatabase(_) => 2,
            Self::Backup { .. }
            | Self::Exists { .. }
            | Self::InUse { .. }
            | Self::OtherKeyFile { .. }
            | Self::NoRoom
            | Self::NoMessage
            | Self::Passphrase(_) => 3,
        }
    }

    /// An error of reading a backup.
    pub(super) fn of_archive(path: &std::path::Path, error: ArchiveError) -> Self {
        let path = path.to_owned();
        match error {
            ArchiveError::Io(source) => Self::File { action: "read", path, source },
            ArchiveError::WrongPassphrase => Self::Passphrase(format!("{}: {error}", path.display())),
            ArchiveError::NoBackup | ArchiveError::NewerFormat(_) | ArchiveError::Damaged => {
                Self::Backup { path, problem: error.to_string() }
            }
        }
    }
}

impl From<InputError> for CommandError {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Read(error) => {
                Self::Passphrase(format!("cannot read the passphrase from standard input: {error}"))
            }
            InputError::Differ => {
                Self::Passphrase("the two passphrases differ; nothing was written".to_owned())
            }
        }
    }
}
