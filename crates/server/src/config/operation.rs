//! What a command beside the server is asked to do.

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
}
