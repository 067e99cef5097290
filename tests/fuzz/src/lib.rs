//! What Aldis does with bytes from strangers, as functions of bytes alone: none may panic, whatever it is given.
//!
//! `tests/corpus.rs` replays the corpus and mutations of it; `run` has libFuzzer look for more.

mod bodies;
mod chain;
mod client;
mod frames;
mod registry;
mod script;
mod texts;

use bytes::Bytes;

/// A function that must hold for any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also the folder of its corpus.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 8] = [
    Target { name: "client_frames", run: frames::client },
    Target { name: "server_frames", run: frames::server },
    Target { name: "texts", run: texts::parse },
    Target { name: "bodies", run: bodies::parse },
    Target { name: "chain", run: chain::verify },
    Target { name: "registry", run: registry::behaves_like_the_model },
    Target { name: "session", run: session },
    Target { name: "client", run: client::survives },
];

/// The target of this name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn target(name: &str) -> Target {
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("no fuzz target is called {name}"))
}

/// The first message of a connection at each door, and a session after it.
fn session(data: &[u8]) {
    aldis_server::fuzzing::first_message(&Bytes::copy_from_slice(data));
    let mut session = aldis_server::fuzzing::Session::new();
    for step in script::steps(data) {
        session.receive(&Bytes::copy_from_slice(step.bytes), step.waits_ms);
    }
}
