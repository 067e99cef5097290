//! The process, as Linux describes it. Elsewhere these figures are missing.

use std::{
    fs,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// When the process began to serve, in Unix seconds.
static STARTED: LazyLock<f64> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1000.0).round() / 1000.0
});

/// Clock ticks in a second, as the kernel reports times to programs on every platform.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub(crate) struct Process {
    /// When it started, in Unix seconds.
    pub(crate) started_at: f64,
    /// Processor time of all cores.
    pub(crate) cpu_seconds: f64,
    /// Memory that is not swapped out.
    pub(crate) resident_bytes: u64,
    /// Open files and sockets.
    pub(crate) open_files: u64,
    /// How many there may be.
    pub(crate) max_files: u64,
}

impl Process {
    /// Remembers the time at which the process started. Call it once, early.
    pub(crate) fn starts() {
        LazyLock::force(&STARTED);
    }

    /// Reads the figures.
    pub(crate) fn read() -> Self {
        Self {
            started_at: *STARTED,
            cpu_seconds: cpu_seconds().unwrap_or_default(),
            resident_bytes: resident_bytes().unwrap_or_default(),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            max_files: max_files().unwrap_or_default(),
        }
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before it may have blanks and parentheses.
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn max_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_memory_files_and_time() {
        let process = Process::read();
        assert!(process.resident_bytes > 1024 * 1024 && process.open_files > 2, "{process:?}");
        assert!(process.max_files >= process.open_files && process.started_at > 1.7e9, "{process:?}");
    }
}
