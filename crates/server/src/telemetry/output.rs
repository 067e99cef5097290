//! The output of the log: a bounded queue and a thread that writes it. If a line cannot be written, it is lost;
//! nothing else fails or waits.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How many lines can wait. Further ones are lost.
const LINES: usize = 4_096;
/// How many bytes the waiting lines can have. Further ones are lost.
const BYTES: usize = 1024 * 1024;
/// How long [`Output::flush`] waits.
const FLUSH: Duration = Duration::from_secs(1);

/// The queue.
#[derive(Debug, Clone)]
pub(super) struct Output {
    queue: SyncSender<Entry>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    /// Lines that were lost since the last line was written.
    lost: AtomicU64,
}

impl Output {
    /// Starts the thread, which ends when the last clone of the queue is dropped.
    pub(super) fn start(target: impl Write + Send + 'static) -> Self {
        let (queue, waiting) = sync_channel(LINES);
        let counts = Arc::<Counts>::default();
        let thread_counts = Arc::clone(&counts);
        // Without the thread there is no log. But a process that cannot start a thread does not get far anyway.
        let _ =
            thread::Builder::new().name("log".into()).spawn(move || write(target, &waiting, &thread_counts));
        Self { queue, counts }
    }

    /// Waits until the queued lines are written, at most a second.
    pub(super) fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        if self.queue.try_send(Entry::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(FLUSH);
        }
    }

    fn push(&self, line: &[u8]) {
        let before = self.counts.waiting_bytes.fetch_add(line.len(), Ordering::Relaxed);
        if before + line.len() > BYTES || self.queue.try_send(Entry::Line(line.to_vec())).is_err() {
            self.counts.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Write for &Output {
    /// Queues a line. Never fails and never waits.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

fn write(mut target: impl Write, waiting: &Receiver<Entry>, counts: &Counts) {
    for entry in waiting {
        match entry {
            Entry::Line(line) => {
                let lost = counts.lost.swap(0, Ordering::Relaxed);
                if write_line(&mut target, &line, lost).is_err() {
                    counts.lost.fetch_add(lost + 1, Ordering::Relaxed);
                }
                counts.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            }
            // If this fails, nobody waits any more.
            Entry::Flush(done) => drop(done.try_send(())),
        }
    }
}

fn write_line(target: &mut impl Write, line: &[u8], lost: u64) -> io::Result<()> {
    if lost > 0 {
        writeln!(target, "{lost} lines of the log were lost: they could not be written")?;
    }
    target.write_all(line)?;
    target.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::fmt;

    use super::*;

    /// A fake disk: it takes a text, or fails.
    struct Disk {
        is_full: Arc<Mutex<bool>>,
        written: SyncSender<String>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if *self.is_full.lock().unwrap() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_cannot_be_written_does_not_panic() {
        let (written, lines) = sync_channel(64);
        let is_full = Arc::new(Mutex::new(true));
        let output = Output::start(Disk { is_full: Arc::clone(&is_full), written });
        let log = fmt().with_writer(output.clone()).log_internal_errors(false).with_ansi(false).finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!("lost");
            tracing::warn!("lost, too");
            Output::flush(&output);
            *is_full.lock().unwrap() = false;
            tracing::warn!("kept");
        });
        Output::flush(&output);
        let written: String = lines.try_iter().collect();
        assert!(written.starts_with("2 lines of the log were lost"), "{written}");
        assert!(written.contains("kept") && !written.contains("lost, too"), "{written}");
    }

    #[test]
    fn a_log_that_nobody_reads_blocks_nothing() {
        /// A pipe that is full.
        struct Stuck(Receiver<()>);

        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                // Returns when the sender is dropped.
                let _ = self.0.recv();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let (release, stuck) = sync_channel(1);
        let output = Output::start(Stuck(stuck));
        let line = [b'x'; 1_000];
        for _ in 0..3 * LINES {
            (&output).write_all(&line).unwrap();
        }
        assert!(output.counts.waiting_bytes.load(Ordering::Relaxed) <= BYTES);
        assert!(output.counts.lost.load(Ordering::Relaxed) > 0);
        drop(release);
        Output::flush(&output);
    }
}
