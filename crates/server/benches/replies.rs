//! What it costs to know a request again: its digest, and the memory of replies.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot begin may stop")]

#[allow(dead_code, unreachable_pub, reason = "the server uses more of it")]
#[path = "../src/session/replies.rs"]
mod replies;

use aldis_protocol::{
    ClientMessage, Payload, RequestId, Signal, SignalKind, Target, limits::REMEMBERED_REPLIES,
};
use bytes::Bytes;
use divan::{Bencher, black_box};
use replies::{Replies, digest};
use uuid::Uuid;

fn main() {
    divan::main();
}

#[divan::bench(args = [200, 1500, 48_000])]
fn digest_signal(bencher: Bencher<'_, '_>, bytes: usize) {
    let text = format!("\"{}\"", "x".repeat(bytes - 2));
    let message = ClientMessage::Signal(Signal {
        kind: SignalKind::Offer,
        target: Target::Device("phone-2".parse().expect("a device id")),
        payload: Payload::from_json(&text).expect("a string"),
        signature: None,
    });
    bencher.bench(|| digest(black_box(&message)));
}

/// A new request of a session that remembers as many as it may: looked for, carried out, kept.
#[divan::bench]
fn find_and_keep(bencher: Bencher<'_, '_>) {
    let mut replies = Replies::default();
    let mut ids = (0..).map(|number| RequestId::from_uuid(Uuid::from_u128(number << 64 | number)));
    for id in ids.by_ref().take(REMEMBERED_REPLIES) {
        replies.keep(id, [1; 16], Bytes::from_static(b"ack"));
    }
    bencher.with_inputs(|| ids.next().expect("an id")).bench_local_values(|id| {
        let known = replies.find(&id, &[1; 16]);
        replies.keep(id, [1; 16], Bytes::from_static(b"ack"));
        known
    });
}
