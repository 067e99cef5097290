//! `encrypted_mailbox` as it is used: killed, and started again.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails and says why")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::Duration,
};

use aldis_tests::{TestServer, unique};

/// How long a line is awaited.
const PATIENCE: Duration = Duration::from_secs(30);
const SHOWN_LINES: usize = 1_000;

#[test]
fn an_inbox_has_each_message_once_over_a_kill() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let directory = Directory::new();
    let mailbox = |name: &str| {
        let (key, inbox) = (format!("{name}.key"), format!("{name}.inbox"));
        directory.runs("encrypted_mailbox", &[&server.url(""), &key, &inbox, "our secret"])
    };
    let mut alice = mailbox("alice");
    let bob = mailbox("bob").fingerprint();
    for text in ["one", "two"] {
        alice.types(&format!("{bob} {text}"));
        alice.expects("stored for its recipient");
    }
    let program = mailbox("bob");
    program.expects("1 one");
    program.expects("2 two");
    drop(program);
    alice.types(&format!("{bob} three"));
    let program = mailbox("bob");
    program.expects("3 three");
    let inbox = fs::read_to_string(directory.0.join("bob.inbox")).expect("an inbox");
    assert_eq!(inbox, "1 one\n2 two\n3 three\n");
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = env::temp_dir().join(unique("aldis-delivery"));
        fs::create_dir(&path).expect("a temporary directory");
        Self(path)
    }

    fn runs(&self, example: &str, arguments: &[&str]) -> Program {
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
        Program { child, shown }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Whatever cannot be removed is the system's to clear.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running example. It is killed when this is dropped.
struct Program {
    child: Child,
    shown: Receiver<String>,
}

impl Program {
    fn types(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("its input");
        writeln!(input, "{line}").expect("a program that reads");
    }

    /// Waits for a line that has this text; gives the line.
    fn expects(&self, text: &str) -> String {
        loop {
            let line = self.shown.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("awaited {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn fingerprint(&self) -> String {
        let line = self.expects("I am ");
        line.trim_start_matches("I am ").to_owned()
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
