//! What is logged, and where: lines on stderr, chosen by `ALDIS_LOG`, in colour where somebody watches.
//!
//! `error`: somebody has to act. `warn`: somebody should look. `info`: the server's own life. `debug`: one line for each
//! request and connection. Never a token, a password, a code or what somebody said, at any level.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::{config::LogFilter, transport::UNLOGGED};

/// Starts logging for the process. A second start changes nothing.
pub fn start(chosen: &LogFilter) {
    let filter = EnvFilter::new(format!("{chosen},{UNLOGGED}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let _ = lines.with_ansi(io::stderr().is_terminal()).try_init();
}
