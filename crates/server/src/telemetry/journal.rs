//! The log under systemd: each line begins with its priority, as `sd-daemon(3)` says.

use std::{
    env,
    io::{self, Write},
    os::fd::AsFd,
};

use rustix::fs::fstat;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::output::Output;

/// Whether the journal reads this stream. The variable alone proves nothing: it is inherited by programs whose output
/// was redirected.
pub(super) fn is_the_journal(stream: &impl AsFd) -> bool {
    let Ok(named) = env::var("JOURNAL_STREAM") else { return false };
    fstat(stream).is_ok_and(|file| named == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Puts the priority before each line.
#[derive(Debug, Clone)]
pub(super) struct Journal(pub(super) Output);

impl<'a> MakeWriter<'a> for Journal {
    type Writer = Prioritized<'a>;

    fn make_writer(&'a self) -> Prioritized<'a> {
        Prioritized { output: &self.0, priority: priority(Level::INFO) }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Prioritized<'a> {
        Prioritized { output: &self.0, priority: priority(*metadata.level()) }
    }
}

/// Writes lines of one priority.
#[derive(Debug)]
pub(super) struct Prioritized<'a> {
    output: &'a Output,
    priority: &'static str,
}

impl Write for Prioritized<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut output = self.output;
        output.write_all(&[self.priority.as_bytes(), line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}
