//! What is logged, and where: lines on stderr, chosen by `ALDIS_LOG`, in colour where somebody watches.
//!
//! `error`: somebody has to act. `warn`: somebody should look. `info`: the server's own life. `debug`: one line for each
//! request and connection. Never a token, a password, a code or what somebody said, at any level.

mod output;

use std::{
    backtrace::Backtrace,
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
};

use tracing_subscriber::EnvFilter;

use self::output::Output;
use crate::{config::LogFilter, transport::UNLOGGED};

/// The running log. Dropping it waits up to a second for the lines that are still to be written.
#[must_use = "lines that are still to be written are lost when the process ends"]
#[derive(Debug)]
pub struct Telemetry(Output);

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Starts logging for the process. A second start changes nothing.
pub fn start(chosen: &LogFilter) -> Telemetry {
    let filter = EnvFilter::new(format!("{chosen},{UNLOGGED}"));
    let output = Output::start(io::stderr());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(output.clone());
    // A failure to write is reported on stderr by default, with a macro that panics where stderr fails.
    let lines = lines.log_internal_errors(false).with_ansi(io::stderr().is_terminal());
    if lines.try_init().is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Telemetry(output)
}

/// The default hook writes to stderr itself, and so blocks where nobody reads it.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    tracing::error!(location, message, %backtrace, "a task panicked");
}
