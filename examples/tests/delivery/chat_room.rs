//! `chat_room`: messages arrive once and in order, whatever breaks.

use aldis_tests::{TestServer, unique};
use serde_json::json;

use crate::program::{Directory, Program};

/// Terminals around a server.
struct House {
    server: TestServer,
    directory: Directory,
    room: String,
}

impl House {
    fn new() -> Self {
        Self { server: TestServer::start(), directory: Directory::new(), room: unique("room") }
    }

    fn terminal_of(&self, name: &str) -> Program {
        let arguments = [&*self.server.url(""), &format!("{name}.key"), &self.room];
        self.directory.runs("chat_room", &arguments)
    }
}

/// The messages with their numbers, without the lines about the connection.
fn said(shown: &[String]) -> Vec<(u64, &str)> {
    let said = shown.iter().filter_map(|line| {
        let (number, rest) = line.split_once(' ')?;
        let (_, text) = rest.split_once(": ")?;
        Some((number.parse().ok()?, text))
    });
    said.collect()
}

#[test]
fn two_terminals_hear_each_other_over_a_kill_of_the_server() {
    let house = House::new();
    let (mut ann, mut bob) = (house.terminal_of("ann"), house.terminal_of("bob"));
    ann.types("hello");
    ann.expects("1 me: hello");
    bob.expects(": hello");
    bob.types("hello yourself");
    ann.expects(": hello yourself");
    // Without a registered device, an unacknowledged message is stored twice.
    bob.expects("2 me: hello yourself");

    house.server.kill9();
    ann.expects("trying again in");
    bob.expects("trying again in");
    // A line that is typed without a server is sent once there is one.
    ann.types("is anybody there?");
    house.server.restart_same_port();
    ann.expects("3 me: is anybody there?");
    bob.expects(": is anybody there?");
    bob.types("I am");
    ann.expects(": I am");

    let whole = [(1, "hello"), (2, "hello yourself"), (3, "is anybody there?"), (4, "I am")];
    let mut late = house.terminal_of("cat");
    late.expects(": I am");
    for shown in [ann.leaves(), bob.leaves(), late.leaves()] {
        assert_eq!(said(&shown), whole, "{shown:#?}");
    }
}

#[test]
fn a_user_who_may_not_join_gets_an_error() {
    let house = House::new();
    let owner = house.server.user();
    let private = json!({"room": house.room, "visibility": "private", "members": []});
    owner.http().post("/api/rooms", &private).expects(201);
    house.terminal_of("ann").fails();
}
