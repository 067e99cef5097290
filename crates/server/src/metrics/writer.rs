//! What a writer of the store tells about itself.

use std::time::Duration;

use super::Histogram;

/// In microseconds: from a commit to a fast disk up to the time after which a batch is given up.
const COMMIT_BOUNDS_US: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000];
const BATCH_BOUNDS: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// The figures of one writer.
#[derive(Debug)]
pub(crate) struct WriterStatistics {
    /// How long each transaction took, in microseconds.
    pub(crate) commits_us: Histogram,
    /// How many appends each transaction had.
    pub(crate) batches: Histogram,
}

/// A writer as the metrics show it.
#[derive(Debug)]
pub(crate) struct WriterFigures<'a> {
    /// Its name.
    pub(crate) name: &'static str,
    /// The memory of the appends that wait, are written or are delivered.
    pub(crate) queued_bytes: usize,
    pub(crate) statistics: &'a WriterStatistics,
}

impl Default for WriterStatistics {
    fn default() -> Self {
        Self { commits_us: Histogram::new(&COMMIT_BOUNDS_US), batches: Histogram::new(&BATCH_BOUNDS) }
    }
}

impl WriterStatistics {
    /// Counts a transaction, committed or not.
    pub(crate) fn wrote(&self, appends: usize, took: Duration) {
        self.commits_us.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.batches.observe(appends as u64);
    }
}
