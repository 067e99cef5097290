//! The programs of docs/first-client.md, run as a reader would run them.

mod chat;
mod page;
mod program;
mod tokens;

use std::time::Duration;

/// Interpreters and browsers start slowly beside other tests.
const PATIENCE: Duration = Duration::from_secs(60);
