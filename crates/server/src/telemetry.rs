//! The log: lines on stderr, filtered by `ALDIS_LOG`, in colour on a terminal.
//!
//! `error`: an operator must act. `warn`: an operator should look. `info`: changes in the server's state. `debug`: one
//! line for each request and connection. No level ever logs a token, a password, a code or content.

mod output;

use std::{
    backtrace::Backtrace,
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
};

use tracing_subscriber::EnvFilter;

use self::output::Output;
use crate::{config::LogFilter, transport::UNLOGGED};

/// The running log. Dropping it waits up to a second for unwritten lines.
#[must_use = "lines that are still to be written are lost when the process ends"]
#[derive(Debug)]
pub struct Telemetry(Output);

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Starts logging for the process. A second call changes nothing.
pub fn start(chosen: &LogFilter) -> Telemetry {
    let filter = EnvFilter::new(format!("{chosen},{UNLOGGED}"));
    let output = Output::start(io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(output.clone());
    // By default the library reports a failed write on stderr, with a macro that panics if stderr fails.
    let lines = lines.log_internal_errors(false).with_ansi(io::stderr().is_terminal());
    if lines.try_init().is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Telemetry(output)
}

/// The default hook writes to stderr itself, and so blocks if nobody reads it.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    tracing::error!(location, message, %backtrace, "a task panicked");
}
