//! Why a command failed.

use std::io;

/// Why a command failed. Each message names the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
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
}

impl CommandError {
    /// The exit code of the process: 1 if it may work later, 2 for wrong usage or configuration, 3 if the command was
    /// refused and nothing changed.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoAnswer { .. } | Self::NotWell { .. } => 1,
            Self::UnknownPort => 2,
        }
    }
}
