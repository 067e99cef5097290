//! `encrypted_mailbox`: an inbox loses nothing and stores nothing twice.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use aldis_tests::TestServer;

use crate::program::{Directory, Program};

/// Mailboxes around a server.
struct Post {
    server: TestServer,
    directory: Directory,
}

impl Post {
    fn new() -> Self {
        let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
        Self { server, directory: Directory::new() }
    }

    fn mailbox(&self, name: &str, secret: &str) -> Program {
        let (key, inbox) = (format!("{name}.key"), format!("{name}.inbox"));
        self.directory.runs("encrypted_mailbox", &[&*self.server.url(""), &*key, &*inbox, secret])
    }

    fn inbox(&self, name: &str) -> String {
        fs::read_to_string(self.directory.file(&format!("{name}.inbox"))).expect("an inbox")
    }
}

fn fingerprint(program: &mut Program) -> String {
    program.expects("I am ").trim_start_matches("I am ").to_owned()
}

#[test]
fn an_inbox_has_each_message_once_over_kills_of_program_and_server() {
    let post = Post::new();
    let mut alice = post.mailbox("alice", "our secret");
    let bob = fingerprint(&mut post.mailbox("bob", "our secret"));
    for text in ["one", "two"] {
        alice.types(&format!("{bob} {text}"));
        alice.expects("stored for its recipient");
    }
    let mut program = post.mailbox("bob", "our secret");
    program.expects("1 one");
    program.expects("2 two");
    drop(program);
    // As if it was killed while it wrote the next line.
    let file = OpenOptions::new().append(true).open(post.directory.file("bob.inbox"));
    file.and_then(|mut file| file.write_all(b"3 th")).expect("half a line");

    post.server.kill9();
    alice.types(&format!("{bob} three"));
    post.server.restart_same_port();
    alice.expects("stored for its recipient");
    let mut program = post.mailbox("bob", "our secret");
    program.expects("3 three");
    alice.types(&format!("{bob} four"));
    program.expects("4 four");
    program.leaves();
    alice.leaves();
    assert_eq!(post.inbox("bob"), "1 one\n2 two\n3 three\n4 four\n");
}

#[test]
fn messages_that_cannot_be_sent_or_decrypted_are_reported() {
    let post = Post::new();
    let mut alice = post.mailbox("alice", "our secret");
    let mut bob = post.mailbox("bob", "another secret");
    let name = fingerprint(&mut bob);
    alice.types("hello");
    alice.expects("not sent: a line is <fingerprint> <text>");
    alice.types("nobody hello");
    alice.expects("not sent: ");
    alice.types(&format!("{} hello", "0".repeat(64)));
    alice.expects("not sent: ");
    alice.types(&format!("{name} hello"));
    alice.expects("stored for its recipient");
    bob.expects("1 (sealed with another secret)");
    alice.leaves();
    bob.leaves();
}
