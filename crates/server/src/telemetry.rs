//! The log: lines on stderr, filtered by `ALDIS_LOG`, in colour on a terminal.
//!
//! docs/operations.md says what each level means. No level ever logs a token, a password, a code or content.

mod journal;
mod levels;
mod output;
mod plain;

use std::{
    backtrace::Backtrace,
    io::{self, IsTerminal},
    panic::{self, PanicHookInfo},
};

use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, fmt::layer, layer::SubscriberExt, util::SubscriberInitExt};

pub use self::levels::Levels;
use self::{
    journal::{Journal, is_the_journal},
    levels::LevelFilter,
    output::Output,
    plain::Plain,
};
use crate::{config::LogFilter, transport::UNLOGGED};

/// The running log. Dropping it waits up to a second for unwritten lines.
#[must_use = "lines that are still to be written are lost when the process ends"]
#[derive(Debug)]
pub struct Telemetry {
    output: Output,
    levels: Levels,
}

impl Telemetry {
    /// A handle that changes the levels while the server runs.
    #[must_use]
    pub fn levels(&self) -> Levels {
        self.levels.clone()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.output.flush();
    }
}

/// Starts logging for the process. A second call changes nothing.
pub fn start(chosen: &LogFilter) -> Telemetry {
    let output = Output::start(io::stderr());
    let levels = Levels::new(filter(chosen));
    // By default the library reports a failed write on stderr, with a macro that panics if stderr fails.
    let lines = layer().with_ansi(io::stderr().is_terminal()).log_internal_errors(false);
    let lines = if is_the_journal(&io::stderr()) {
        // The journal has a time and a level of its own for each line.
        lines.without_time().with_writer(Journal(output.clone())).boxed()
    } else if io::stderr().is_terminal() {
        lines.with_writer(output.clone()).boxed()
    } else {
        lines.with_writer(output.clone()).fmt_fields(Plain).event_format(Plain).boxed()
    };
    let lines = tracing_subscriber::registry().with(lines).with(LevelFilter(levels.clone()));
    if lines.try_init().is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Telemetry { output, levels }
}

/// The filter for the chosen levels. It takes no lock where a span is entered, unlike the library's `EnvFilter`.
fn filter(chosen: &LogFilter) -> Targets {
    let filter: Targets = format!("{chosen},{UNLOGGED}").parse().unwrap_or_default();
    let shows = |level| filter.would_enable(DATABASE, &level);
    if shows(Level::INFO) && !shows(Level::DEBUG) {
        // What it says at info, such as each notice of PostgreSQL, is of no use without the statements.
        return filter.with_target(DATABASE, Level::WARN);
    }
    filter
}

/// The database library.
const DATABASE: &str = "sqlx";

/// The default hook writes to stderr itself, and so blocks if nobody reads it.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    tracing::error!(location, message, %backtrace, "a task panicked");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(chosen: &str, target: &str, level: Level) -> bool {
        filter(&chosen.parse().unwrap()).would_enable(target, &level)
    }

    #[test]
    fn the_database_library_speaks_at_info_only_when_debug_is_chosen() {
        assert!(shows("info", "aldis_server::session", Level::INFO));
        assert!(!shows("info", "sqlx::postgres::notice", Level::INFO));
        assert!(shows("info", "sqlx::query", Level::WARN), "slow statements");
        assert!(shows("debug", "sqlx::query", Level::DEBUG));
        assert!(shows("info,sqlx=debug", "sqlx::query", Level::DEBUG));
        assert!(!shows("off", "sqlx::query", Level::ERROR));
    }

    #[test]
    fn the_websocket_library_is_never_logged() {
        assert!(!shows("trace", "tungstenite::protocol", Level::ERROR));
        assert!(shows("warn,aldis_server::store=debug", "aldis_server::store::db", Level::DEBUG));
        assert!(!shows("warn,aldis_server::store=debug", "aldis_server::session", Level::INFO));
    }
}
