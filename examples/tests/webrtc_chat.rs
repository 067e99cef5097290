//! `webrtc_chat` in terminals, with a server and key files.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails and says why")]

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use aldis_client::{
    Client, Credentials, Options,
    auth::SecretKey,
    protocol::{Fingerprint, Target},
};
use aldis_examples::{
    key_file,
    signed::{CallId, Content, Signer},
};
use aldis_tests::{TestServer, unique};
use webrtc::peer_connection::RTCSessionDescription;

/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
const SHOWN_LINES: usize = 1_000;

#[test]
fn two_terminals_with_one_key_file_talk_through_a_server_of_default_settings() {
    let (server, keys) = (TestServer::start(), Keys::new());
    let (mut one, mut other) =
        (Terminal::open(&server, &keys.alice(), None), Terminal::open(&server, &keys.alice(), None));
    talk(&mut one, &mut other);
}

#[test]
fn a_peer_that_is_killed_or_leaves_can_come_back() {
    let (server, keys) = (TestServer::start(), Keys::new());
    let mut one = Terminal::open(&server, &keys.alice(), None);
    let mut other = Terminal::open(&server, &keys.alice(), None);
    talk(&mut one, &mut other);

    other.kill();
    let mut other = Terminal::open(&server, &keys.alice(), None);
    one.expect("has left");
    talk(&mut one, &mut other);

    other.leave();
    one.expect("has left");
    let mut other = Terminal::open(&server, &keys.alice(), None);
    talk(&mut one, &mut other);
}

#[test]
fn the_conversation_goes_on_without_the_server() {
    let (server, keys) = (TestServer::start(), Keys::new());
    let mut one = Terminal::open(&server, &keys.alice(), None);
    let mut other = Terminal::open(&server, &keys.alice(), None);
    talk(&mut one, &mut other);

    server.kill9();
    one.expect("no server");
    other.expect("no server");
    exchange(&mut one, &mut other);

    server.restart_same_port();
    one.expect("connected as");
    other.expect("connected as");
    exchange(&mut one, &mut other);

    other.leave();
    one.expect("has left");
    talk(&mut one, &mut Terminal::open(&server, &keys.alice(), None));
}

#[test]
fn another_user_can_be_called_with_open_routing() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let keys = Keys::new();
    let alice = fingerprint(&keys.alice());
    let mut bob = Terminal::open(&server, &keys.bob(), Some(alice));
    let mut callee = Terminal::open(&server, &keys.alice(), None);
    callee.expect(&format!("data channel open with {}", fingerprint(&keys.bob())));
    bob.expect(&format!("data channel open with {alice}"));
    exchange(&mut callee, &mut bob);

    callee.kill();
    let mut callee = Terminal::open(&server, &keys.alice(), None);
    talk(&mut callee, &mut bob);
}

#[tokio::test]
async fn an_offer_with_a_wrong_signature_is_not_answered() {
    let (server, keys) = (TestServer::start(), Keys::new());
    let mut terminal = Terminal::open(&server, &keys.alice(), None);
    terminal.expect("connected as");
    let (alice, bob) = (key(&keys.alice()), key(&keys.bob()));
    let target = Target::User(alice.public_key().fingerprint().into());
    let options = Options::new(&server.url(""), Credentials::key(alice)).expect("a URL");
    let (client, _events) = Client::start(options);
    let session = client.connected().await.expect("a session");
    let offer = Content::Offer(RTCSessionDescription::default());
    Signer::new(client.clone(), bob).send(&target, CallId::nil(), offer).await.expect("an ack");
    terminal.expect(&format!("refused a signal of {}", session.device_id));
    client.stop().await;
}

/// Waits for the channel, then sends a line in both directions.
fn talk(one: &mut Terminal, other: &mut Terminal) {
    one.expect("data channel open");
    other.expect("data channel open");
    exchange(one, other);
}

fn exchange(one: &mut Terminal, other: &mut Terminal) {
    let (there, back) = (unique("there"), unique("back"));
    one.types(&there);
    other.expect(&format!("< {there}"));
    other.types(&back);
    one.expect(&format!("< {back}"));
}

fn fingerprint(file: &Path) -> Fingerprint {
    key(file).public_key().fingerprint()
}

fn key(file: &Path) -> SecretKey {
    key_file::load_or_create(file).expect("the key")
}

/// A running `webrtc_chat`, which is killed when it is dropped.
struct Terminal {
    process: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
}

impl Terminal {
    fn open(server: &TestServer, key: &Path, peer: Option<Fingerprint>) -> Self {
        let mut process = Command::new(binary())
            .arg(server.url(""))
            .arg(key)
            .args(peer.map(|peer| peer.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example's binary");
        let shown = BufReader::new(process.stdout.take().expect("an output"));
        let (sender, output) = sync_channel(SHOWN_LINES);
        thread::spawn(move || {
            let lines = shown.lines().map_while(Result::ok);
            lines.map_while(|line| sender.send(line).ok()).for_each(drop);
        });
        Self { input: process.stdin.take(), process, output }
    }

    fn types(&mut self, line: &str) {
        let input = self.input.as_mut().expect("an open input");
        writeln!(input, "{line}").expect("a program that reads");
    }

    /// Waits for a line that contains this.
    fn expect(&mut self, part: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = Vec::new();
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(part) => return,
                Ok(line) => shown.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("expected `{part}` within {PATIENCE:?}; shown instead: {shown:#?}")
                }
            }
        }
    }

    /// Ends the input, as Ctrl-D does.
    fn leave(mut self) {
        self.input = None;
        assert!(self.process.wait().expect("its end").success());
    }

    fn kill(mut self) {
        self.process.kill().expect("a process to kill");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Cargo builds a package's examples together with its tests.
fn binary() -> PathBuf {
    let test = env::current_exe().expect("the path of the running test");
    test.parent().and_then(Path::parent).expect("a target directory").join("examples/webrtc_chat")
}

/// A directory for key files, which `webrtc_chat` makes.
struct Keys(PathBuf);

impl Keys {
    fn new() -> Self {
        let path = env::temp_dir().join(unique("aldis-chat"));
        fs::create_dir(&path).expect("a temporary directory");
        Self(path)
    }

    fn alice(&self) -> PathBuf {
        self.0.join("alice.key")
    }

    fn bob(&self) -> PathBuf {
        self.0.join("bob.key")
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // Files that cannot be removed are left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}
