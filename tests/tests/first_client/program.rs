//! A program in a terminal: lines in, lines out.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use aldis_tests::python;

use crate::PATIENCE;

const SHOWN_LINES: usize = 10_000;

/// A running program of `examples/first-client`. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    input: ChildStdin,
    shown: Receiver<String>,
    seen: Vec<String>,
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-client")).join(name)
}

/// Runs a program to its end.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(python()).arg(file(name)).args(arguments).output().expect("Python")
}

impl Program {
    /// Starts it. Lines of its standard output and standard error are treated alike.
    pub(crate) fn start(name: &str, arguments: &[&OsStr]) -> Self {
        let mut child = Command::new(python())
            .arg(file(name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python");
        let (sender, shown) = sync_channel(SHOWN_LINES);
        follow(child.stdout.take().expect("its output"), sender.clone());
        follow(child.stderr.take().expect("its error output"), sender);
        Self { input: child.stdin.take().expect("its input"), child, shown, seen: Vec::new() }
    }

    pub(crate) fn types(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("a program that reads");
    }

    /// Waits for a line with this text.
    #[track_caller]
    pub(crate) fn expects(&mut self, text: &str) -> String {
        self.expects_line(text, |line| line.contains(text))
    }

    /// Waits for the message of a room with this number.
    #[track_caller]
    pub(crate) fn expects_message(&mut self, number: u64) -> String {
        let start = format!("{number} ");
        self.expects_line(&start, |line| line.starts_with(&start))
    }

    #[track_caller]
    fn expects_line(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.shown.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("awaited {what:?}; shown so far: {:#?}", self.seen));
            self.seen.push(line.clone());
            if fits(&line) {
                return line;
            }
        }
    }

    /// Whether it has shown such a line so far.
    pub(crate) fn has_shown(&mut self, text: &str) -> bool {
        self.seen.extend(self.shown.try_iter());
        self.seen.iter().any(|line| line.contains(text))
    }

    /// The lines that it has shown so far.
    pub(crate) fn shown(&self) -> &[String] {
        &self.seen
    }
}

fn follow(output: impl Read + Send + 'static, shown: SyncSender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if shown.send(line).is_err() {
                return;
            }
        }
    });
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
