//! A peer from the past: the frames that version 0.1 sent are read today, and mean what they meant.
//!
//! The files of `past` hold, for each frame, its name, its JSON and its protobuf in hex. They are never rewritten: a
//! frame that a released version sent stays valid for as long as version 1 of the protocol does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lint spares test functions, but not their helpers"
)]

use aldis_protocol::Codec;
use bytes::Bytes;

struct Past {
    name: &'static str,
    json: Bytes,
    proto: Bytes,
}

fn frames(file: &'static str) -> Vec<Past> {
    let frames: Vec<Past> = file.split("\n\n").map(frame).collect();
    assert!(frames.len() >= 30, "{}", frames.len());
    frames
}

fn frame(text: &'static str) -> Past {
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_else(|| panic!("three lines: {text}"));
    let (name, json, hex) = (next(), next(), next());
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let proto = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    Past { name, json: Bytes::from_static(json.as_bytes()), proto }
}

#[test]
fn what_clients_sent_means_what_it_meant() {
    for Past { name, json, proto } in frames(include_str!("past/0.1-client.txt")) {
        for (codec, bytes) in [(Codec::Json, &json), (Codec::Proto, &proto)] {
            let read = codec.decode_client(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(Codec::Json.encode_client(&read), json, "{name} as {codec:?}");
            assert_eq!(Codec::Proto.encode_client(&read), proto, "{name} as {codec:?}");
        }
    }
}

#[test]
fn what_servers_sent_means_what_it_meant() {
    for Past { name, json, proto } in frames(include_str!("past/0.1-server.txt")) {
        for (codec, bytes) in [(Codec::Json, &json), (Codec::Proto, &proto)] {
            let read = codec.decode_server(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(read.message.kind().is_some(), "{name} as {codec:?}");
            assert_eq!(Codec::Json.encode_server(&read), json, "{name} as {codec:?}");
            assert_eq!(Codec::Proto.encode_server(&read), proto, "{name} as {codec:?}");
        }
    }
}
