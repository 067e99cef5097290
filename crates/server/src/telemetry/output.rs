//! The output of the log: a bounded buffer and a thread that writes it. If a line cannot be written, it is lost;
//! nothing else fails or waits.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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
/// How long lines are collected after a write. Waking the thread for each line would cost more than the line itself.
const PAUSE: Duration = Duration::from_millis(5);
/// A larger buffer is given back once it is written.
const KEPT_BYTES: usize = 64 * 1024;

/// The way to the log. The thread ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Output(Arc<Sender>);

/// Closes the buffer when it is dropped.
#[derive(Debug)]
struct Sender(Arc<Buffer>);

/// What the thread shares with those who log.
#[derive(Debug, Default)]
struct Buffer {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: Condvar,
    /// Notified after each write.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Lines,
    /// The lines that are being written.
    writing_lines: usize,
    writing_bytes: usize,
    /// Lines that were lost since the last line was written.
    lost: u64,
    /// The thread waits for a line, however long that takes.
    is_idle: bool,
    /// Somebody waits until everything is written.
    is_urgent: bool,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Output {
    /// Starts the thread.
    pub(super) fn start(target: impl Write + Send + 'static) -> Self {
        let buffer = Arc::<Buffer>::default();
        let mut writer = Writer { target, is_mid_line: false };
        let thread_buffer = Arc::clone(&buffer);
        // Without the thread there is no log. But a process that cannot start a thread does not get far anyway.
        let _ = thread::Builder::new().name("log".into()).spawn(move || thread_buffer.drain(&mut writer));
        Self(Arc::new(Sender(buffer)))
    }

    /// Waits until the queued lines are written, at most a second.
    pub(super) fn flush(&self) {
        let Sender(buffer) = &*self.0;
        let mut state = buffer.lock();
        if state.is_written() {
            return;
        }
        state.is_urgent = true;
        buffer.wake.notify_one();
        // If a thread panicked here, the state is still consistent.
        drop(buffer.written.wait_timeout_while(state, FLUSH, |state| !state.is_written()));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.wake.notify_one();
    }
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if !state.has_room(line.len()) {
            state.lost += 1;
            return;
        }
        state.waiting.push(line);
        if mem::take(&mut state.is_idle) {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Writes what is pushed, until the buffer is closed.
    fn drain(&self, writer: &mut Writer<impl Write>) {
        let mut lines = Lines::default();
        let mut state = self.lock();
        loop {
            state.is_idle = true;
            let nothing_to_do = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
            state = self.wake.wait_while(state, nothing_to_do).unwrap_or_else(PoisonError::into_inner);
            state.is_idle = false;
            if state.waiting.is_empty() {
                return;
            }
            let lost = state.begin_write(&mut lines);
            drop(state);
            let unwritten = writer.write(&lines, lost);
            lines.clear();
            state = self.lock();
            state.end_write(unwritten);
            self.written.notify_all();
            let may_pause = |state: &mut State| !state.is_urgent && !state.is_closed;
            let waited = self.wake.wait_timeout_while(state, PAUSE, may_pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn has_room(&self, bytes: usize) -> bool {
        let lines = self.waiting.ends.len() + self.writing_lines;
        lines < LINES && self.waiting.text.len() + self.writing_bytes + bytes <= BYTES
    }

    fn is_written(&self) -> bool {
        self.waiting.is_empty() && self.writing_lines == 0
    }

    /// Moves the waiting lines to `lines`, which is empty. Returns how many were lost before them.
    fn begin_write(&mut self, lines: &mut Lines) -> u64 {
        mem::swap(&mut self.waiting, lines);
        (self.writing_lines, self.writing_bytes) = (lines.ends.len(), lines.text.len());
        mem::take(&mut self.lost)
    }

    fn end_write(&mut self, unwritten: u64) {
        (self.writing_lines, self.writing_bytes) = (0, 0);
        self.lost += unwritten;
        self.is_urgent &= !self.is_written();
    }
}

impl Lines {
    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn push(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.ends.push(self.text.len());
    }

    fn clear(&mut self) {
        if self.text.capacity() > KEPT_BYTES {
            *self = Self::default();
        }
        self.text.clear();
        self.ends.clear();
    }

    /// How many lines are not in the first `bytes` as a whole.
    fn beyond(&self, bytes: usize) -> u64 {
        self.ends.iter().filter(|end| **end > bytes).count() as u64
    }
}

impl Write for &Output {
    /// Queues a line. Never fails and never waits.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Sender(buffer) = &*self.0;
        buffer.push(line);
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

/// Writes to the target.
struct Writer<T> {
    target: T,
    /// A write failed within a line.
    is_mid_line: bool,
}

impl<T: Write> Writer<T> {
    /// Writes the lines, after how many were lost before them. Returns how many are lost now.
    fn write(&mut self, lines: &Lines, lost: u64) -> u64 {
        if self.write_lost(lost).is_err() {
            return lost + lines.beyond(0);
        }
        let mut written = 0;
        while written < lines.text.len() {
            match self.target.write(&lines.text[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // The target buffers nothing that a flush could fail to write.
        let _ = self.target.flush();
        self.is_mid_line = written > 0 && !lines.ends.contains(&written);
        lines.beyond(written)
    }

    fn write_lost(&mut self, lost: u64) -> io::Result<()> {
        if self.is_mid_line {
            self.target.write_all(b"\n")?;
            self.is_mid_line = false;
        }
        if lost > 0 {
            let text = format!("{lost} lines of the log were lost: they could not be written\n");
            self.target.write_all(text.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

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
    fn a_line_that_was_cut_off_is_ended_and_counts_as_lost() {
        /// A disk with room for so many bytes.
        struct Small(Vec<u8>, usize);

        impl Write for Small {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let count = bytes.len().min(self.1 - self.0.len());
                self.0.extend_from_slice(&bytes[..count]);
                if count > 0 { Ok(count) } else { Err(io::ErrorKind::StorageFull.into()) }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let mut lines = Lines::default();
        ["one\n", "two\n", "three\n"].iter().for_each(|line| lines.push(line.as_bytes()));
        let mut writer = Writer { target: Small(Vec::new(), 6), is_mid_line: false };
        assert_eq!(writer.write(&lines, 0), 2);
        writer.target.1 = 1_000;
        assert_eq!(writer.write(&lines, 2), 0);
        let written = String::from_utf8(writer.target.0).unwrap();
        assert!(written.starts_with("one\ntw\n2 lines of the log were lost: "), "{written}");
        assert!(written.ends_with(" written\none\ntwo\nthree\n"), "{written}");
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
        let state = output.0.0.lock();
        assert!(state.waiting.text.len() + state.writing_bytes <= BYTES && state.lost > 0);
        drop(state);
        drop(release);
        Output::flush(&output);
    }
}
