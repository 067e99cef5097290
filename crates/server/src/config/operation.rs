//! What a command beside the server is asked to do.

use std::path::PathBuf;

use aldis_protocol::{DeviceId, MessageId, RoomId};

use super::Config;

/// A command beside the server, with the server's settings: [`commands::run`](crate::commands::run) carries it out.
#[derive(Debug)]
pub struct Job {
    pub(crate) config: Config,
    pub(crate) operation: Operation,
}

/// The command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Ask the running server whether it is well.
    HealthCheck {
        /// Ask only whether it answers, not whether it takes clients.
        live: bool,
        json: bool,
    },
    /// Copy the database and the key file.
    Backup(BackupWanted),
    /// Put a copy in place.
    Restore(RestoreWanted),
    /// End every sign-in after PostgreSQL's own tools have restored the database.
    RestoredByPostgres { json: bool },
    /// Bring the tables up to date.
    Migrate {
        /// Only say what would be done.
        dry_run: bool,
        json: bool,
    },
    /// Print the sessions of the running server.
    ListSessions { json: bool },
    /// Close the session of a device on every server.
    CloseSession { device: DeviceId, json: bool },
    /// Print the stored rooms.
    ListRooms { json: bool },
    /// Print a room and its users.
    ShowRoom { room: RoomId, json: bool },
    /// Remove a room.
    RemoveRoom { room: RoomId, json: bool },
    /// Print the way of a stored message.
    Trace { message: MessageId, json: bool },
}

/// A backup to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackupWanted {
    pub(crate) file: PathBuf,
    /// Whether to seal it by a passphrase.
    pub(crate) seal: bool,
    /// Where the passphrase is.
    pub(crate) passphrase_file: Option<PathBuf>,
    pub(crate) json: bool,
}

/// A backup to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestoreWanted {
    pub(crate) file: PathBuf,
    /// Where the passphrase of a sealed backup is.
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Whether to replace a database and a key file.
    pub(crate) overwrite: bool,
    pub(crate) json: bool,
}
