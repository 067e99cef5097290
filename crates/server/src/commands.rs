//! The commands that operate a server: `aldis healthcheck` and the like.

mod error;
mod health_check;

use std::io::{self, Write};

pub use self::error::CommandError;
use crate::config::{Job, Operation};

/// Carries out a command. It writes its result to standard output.
///
/// # Errors
/// [`CommandError`], which says what to fix.
pub fn run(job: Job) -> Result<(), CommandError> {
    let Job { config, operation } = job;
    match operation {
        Operation::HealthCheck { live, json } => health_check::run(&config, live, json),
    }
}

/// Prints text. If nobody reads standard output, the command itself is done either way.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
