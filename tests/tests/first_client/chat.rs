//! The Python client: two people in a room, through all failures that the page promises it survives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use aldis_tests::{RawHttp, TestServer, unique};

use crate::program::Program;

const NAME: &str = "first_client.py";

/// One of the two people.
fn person(server: &TestServer, name: &str, room: &str) -> Program {
    let url = format!("ws://{}", server.authority());
    let key = server.directory().join(format!("{name}.key"));
    Program::start(NAME, &[url.as_ref(), key.as_ref(), room.as_ref()])
}

#[test]
fn the_python_client_survives_429_and_a_killed_and_a_drained_server() {
    let server = TestServer::builder().env("ALDIS_RATE_LIMITS", "on").start();
    let room = unique("room");
    let mut ann = {
        let flood = Flood::begins(&server);
        let mut ann = person(&server, "ann", &room);
        ann.expects("refused with 429");
        flood.ends();
        ann
    };
    ann.expects("connected");
    let mut bob = person(&server, "bob", &room);
    bob.expects("connected");

    ann.types("before");
    ann.expects("1 me: before");
    bob.expects_message(1);
    server.kill9();
    ann.expects("again in");
    bob.expects("again in");
    ann.types("said while the server was dead");
    bob.types("the same");
    server.restart_same_port();
    for person in [&mut ann, &mut bob] {
        person.expects_message(2);
        person.expects_message(3);
    }

    // A drain says when to reconnect.
    assert!(server.terminate().success());
    server.restart_same_port();
    bob.types("after");
    ann.expects_message(4);
    bob.expects("4 me: after");
    let said = |person: &Program| -> Vec<String> {
        let lines =
            person.shown().iter().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
        lines.map(|line| line.rsplit_once(": ").unwrap().1.to_owned()).collect()
    };
    assert_eq!(said(&ann), said(&bob), "both saw the same, each once and in order");
    assert_eq!(said(&ann).len(), 4);
}

#[test]
fn a_second_client_of_one_device_stops_the_first_with_4300_and_neither_comes_back_for_ever() {
    let server = TestServer::start();
    let room = unique("room");
    let mut first = person(&server, "ann", &room);
    first.expects("connected");
    let mut second = person(&server, "ann", &room);
    second.expects("connected");
    first.expects("closed with 4300");
    second.types("still here");
    second.expects("me: still here");
    assert!(!second.has_shown("closed with"));
}

#[test]
fn the_python_client_is_as_short_as_the_page_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first-client/first_client.py");
    assert!(fs::read_to_string(path).unwrap().lines().count() < 150);
}

/// Upgrades from this address beyond the limit, until it is dropped.
struct Flood<'a> {
    server: &'a TestServer,
    is_over: std::sync::Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Together they send more than loopback's limit of 50 upgrades a second, however busy the machine is.
const ASKING: usize = 8;

impl<'a> Flood<'a> {
    fn begins(server: &'a TestServer) -> Self {
        let is_over = std::sync::Arc::new(AtomicBool::new(false));
        while ask(server) != 429 {}
        let threads = (0..ASKING).map(|_| {
            let (stop, flooded) = (is_over.clone(), server.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    ask(&flooded);
                }
            })
        });
        Self { server, threads: threads.collect(), is_over }
    }

    fn ends(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a flood that ends"));
        assert!(self.server.http().get("/health").status == 200);
    }
}

/// The status of an upgrade without a token.
fn ask(server: &TestServer) -> u16 {
    let request = format!(
        "GET /api/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        server.authority()
    );
    RawHttp::exchange(server, request.as_bytes()).status
}
