//! An example in a terminal, with its own directory.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use aldis_tests::unique;

/// How long to wait for a line.
const PATIENCE: Duration = Duration::from_secs(30);
const SHOWN_LINES: usize = 1_000;

/// The directory of the programs' files.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let path = env::temp_dir().join(unique("aldis-delivery"));
        fs::create_dir(&path).expect("a temporary directory");
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn runs(&self, example: &str, arguments: &[&str]) -> Program {
        let mut command = Command::new(binary(example));
        command.args(arguments).current_dir(&self.0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the example's binary");
        let (sender, shown) = sync_channel(SHOWN_LINES);
        let output = BufReader::new(child.stdout.take().expect("its output"));
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Program { input: child.stdin.take(), child, shown, seen: Vec::new() }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Files that cannot be removed are left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running example, which is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    shown: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    pub(crate) fn types(&mut self, line: &str) {
        let input = self.input.as_mut().expect("an open input");
        writeln!(input, "{line}").expect("a program that reads");
    }

    /// Waits for a line with this text, and returns the line.
    pub(crate) fn expects(&mut self, text: &str) -> String {
        loop {
            let line = self.shown.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("awaited {text:?}; shown so far: {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Ends the input, as Ctrl-D does; returns everything that was shown.
    pub(crate) fn leaves(mut self) -> Vec<String> {
        self.input = None;
        assert!(self.child.wait().expect("its end").success());
        self.seen.extend(self.shown.iter());
        std::mem::take(&mut self.seen)
    }

    /// Waits until the program ends with an error.
    pub(crate) fn fails(mut self) {
        assert!(!self.child.wait().expect("its end").success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo builds a package's examples together with its tests.
fn binary(example: &str) -> PathBuf {
    let test = env::current_exe().expect("the path of the running test");
    test.parent().and_then(Path::parent).expect("a target directory").join("examples").join(example)
}
