//! The exact bytes of every message in each codec, and that both say the same.
//!
//! `ALDIS_BLESS=1 cargo test -p aldis-protocol --test golden` writes the files again: read the difference before you
//! commit it, for other implementations rely on these bytes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lint spares test functions, but not their helpers"
)]

#[path = "golden/hex.rs"]
mod hex;
#[path = "golden/samples.rs"]
mod samples;
#[path = "golden/schema.rs"]
mod schema;

use std::{fs, path::PathBuf};

use aldis_protocol::{Codec, ErrorCode, MessageKind, ServerMessage};
use bytes::Bytes;

#[test]
fn clients_send_exactly_these_bytes() {
    for (name, frame) in samples::client() {
        assert_golden(&format!("client/{name}"), |codec| codec.encode_client(&frame));
        for codec in Codec::ALL {
            let bytes = golden_bytes(&format!("client/{name}"), codec);
            assert_eq!(codec.decode_client(&bytes).as_ref(), Ok(&frame), "{name} as {codec:?}");
        }
    }
}

#[test]
fn servers_send_exactly_these_bytes() {
    for (name, frame) in samples::server() {
        assert_golden(&format!("server/{name}"), |codec| codec.encode_server(&frame));
        for codec in Codec::ALL {
            let bytes = golden_bytes(&format!("server/{name}"), codec);
            assert_eq!(codec.decode_server(&bytes).as_ref(), Ok(&frame), "{name} as {codec:?}");
        }
    }
}

#[test]
fn every_kind_has_golden_files_for_each_direction_in_which_it_goes() {
    for &kind in MessageKind::ALL {
        let frame = Bytes::from(format!(
            r#"{{"type":"{kind}","timestamp":"2026-01-01T00:00:00Z"}}"#,
            kind = kind.as_str()
        ));
        let error = Codec::Json.decode_client(&frame).err();
        if error.is_none_or(|error| error.code != ErrorCode::UnknownType) {
            assert!(
                samples::client().iter().any(|(_, sample)| sample.message.kind() == kind),
                "client {kind:?}"
            );
        }
        let read = Codec::Json.decode_server(&frame);
        if !read.is_ok_and(|frame| matches!(frame.message, ServerMessage::Unknown(_))) {
            assert!(
                samples::server().iter().any(|(_, sample)| sample.message.kind() == Some(kind)),
                "server {kind:?}"
            );
        }
    }
}

fn assert_golden(name: &str, encode: impl Fn(Codec) -> Bytes) {
    for codec in Codec::ALL {
        let bytes = encode(codec);
        let text = match codec {
            Codec::Json => format!("{}\n", std::str::from_utf8(&bytes).unwrap()),
            Codec::Proto => hex::print(&bytes, &schema::envelope()),
        };
        let path = path(name, codec);
        if std::env::var_os("ALDIS_BLESS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text, golden, "{}", path.display());
    }
}

fn golden_bytes(name: &str, codec: Codec) -> Bytes {
    let text = fs::read_to_string(path(name, codec)).unwrap();
    match codec {
        Codec::Json => text.trim_end_matches('\n').to_owned().into(),
        Codec::Proto => hex::parse(&text).into(),
    }
}

fn path(name: &str, codec: Codec) -> PathBuf {
    let extension = match codec {
        Codec::Json => "json",
        Codec::Proto => "hex",
    };
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(format!("{name}.{extension}"))
}
