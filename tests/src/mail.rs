//! Encrypted messages in scenarios.

mod follower;
mod sender;

use std::time::{Duration, Instant};

pub use follower::Follower;
pub use sender::Sender;
use serde_json::{Value, json};

use crate::{Peer, User, base64, unique};

/// How long to wait for an answer of a server whose database fails.
pub const WAIT: Duration = Duration::from_secs(60);

/// A `message` with this id.
#[must_use]
pub fn message(id: &str, recipient: &str, content: &[u8]) -> Value {
    json!({"type": "message", "id": id, "recipient_id": recipient, "encrypted_content": base64(content)})
}

/// Asks for all messages after a number; returns the streamed messages and `synced`.
#[track_caller]
pub fn syncs(peer: &mut Peer, since_seq: u64) -> (Vec<Value>, Value) {
    let (mut messages, mut since) = (Vec::new(), since_seq);
    loop {
        let id = asks_sync(peer, since, 500);
        let (more, synced) = streamed(peer, &id);
        messages.extend(more);
        if synced["complete"] == true {
            return (messages, synced);
        }
        since = number(&synced);
    }
}

/// Sends a `sync` and returns its id.
pub fn asks_sync(peer: &mut Peer, since_seq: u64, limit: u64) -> String {
    let id = unique("sync");
    peer.sends(json!({"type": "sync", "id": id, "since_seq": since_seq, "limit": limit}));
    id
}

/// The messages that a `sync` streams, each with its id, and `synced`. Nothing else may arrive meanwhile.
#[track_caller]
pub fn streamed(peer: &mut Peer, id: &str) -> (Vec<Value>, Value) {
    let mut messages = Vec::new();
    loop {
        let next = peer.expects_any();
        assert_eq!(next["id"], id, "what a sync streams has its id: {next}");
        match next["type"].as_str() {
            Some("message") => messages.push(next),
            Some("synced") => return (messages, next),
            _ => panic!("awaited a message or the end of them, got {next}"),
        }
    }
}

/// The number of a message, an `ack` or a `synced`.
#[must_use]
#[track_caller]
pub fn number(frame: &Value) -> u64 {
    frame["seq"].as_u64().unwrap_or_else(|| panic!("a number in {frame}"))
}

/// The numbers of messages.
#[must_use]
#[track_caller]
pub fn numbers(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(number).collect()
}

/// Fails unless the messages are numbered from 1 without a gap.
#[track_caller]
pub fn assert_whole(messages: &[Value]) {
    let count = u64::try_from(messages.len()).expect("a count");
    assert_eq!(numbers(messages), (1..=count).collect::<Vec<_>>(), "numbers without a gap");
}

/// Fails unless each sender was told the truth: their messages are in their own mailbox under the numbers of their
/// acks, and once in the recipient's mailbox, whose numbers have no gap.
#[track_caller]
pub fn assert_kept<'a>(recipient: &User, senders: impl IntoIterator<Item = &'a Sender>) {
    let (received, _) = syncs(&mut recipient.opens_ephemeral(), 0);
    assert_whole(&received);
    let mut left: Vec<&Value> = received.iter().map(|message| &message["message_id"]).collect();
    for sender in senders {
        let (sent, _) = syncs(&mut sender.user().opens_ephemeral(), 0);
        assert_whole(&sent);
        assert_eq!(sent.len(), sender.acks().len(), "each message once");
        for (id, ack) in sender.acks() {
            let place = usize::try_from(number(ack) - 1).expect("a place");
            assert_eq!(sent[place]["message_id"], ack["message_id"], "the number of {id}");
            assert_eq!(sent[place]["encrypted_content"], base64(&Sender::content(id)), "the content of {id}");
            let found = left.iter().position(|message_id| **message_id == ack["message_id"]);
            left.swap_remove(
                found.unwrap_or_else(|| panic!("{id} was acknowledged and is not there: {ack}")),
            );
        }
    }
    assert!(left.is_empty(), "{} messages that nobody sent, or twice", left.len());
}

/// Waits until a condition holds that other threads or the server bring about.
#[track_caller]
pub fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < WAIT, "awaited {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
