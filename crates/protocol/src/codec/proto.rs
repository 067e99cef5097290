//! Protobuf: each frame is one `aldis.v1.Envelope`.

mod client;
mod field;
mod head;
mod server;

use bytes::Bytes;
use prost::Message;

use super::DecodeError;
use crate::{Payload, SignalKind, SignalSignature};
use schema::{Envelope, envelope::Body};

pub(super) use client::{decode_client, encode_client};
pub(super) use server::{decode_server, encode_server};

/// The messages of `proto/aldis/v1/envelope.proto`, which documents them. None of them prints: some hold secrets.
pub mod schema {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        reason = "generated; the .proto file is the documentation"
    )]
    include!(concat!(env!("OUT_DIR"), "/aldis.v1.rs"));
}

fn read_envelope(frame: &Bytes) -> Result<Envelope, DecodeError> {
    Envelope::decode(frame.clone()).map_err(|error| DecodeError::bad_request(error.to_string()))
}

fn write_signal(kind: SignalKind, payload: &Payload<'_>, signature: Option<SignalSignature>) -> Body {
    let signal = schema::Signal {
        payload: payload.to_bytes(),
        signature: signature.map(|signature| Bytes::copy_from_slice(&signature.signature)),
        created_at_ms: signature.map(|signature| signature.created_at_ms),
    };
    match kind {
        SignalKind::Offer => Body::Offer(signal),
        SignalKind::Answer => Body::Answer(signal),
        SignalKind::IceCandidate => Body::IceCandidate(signal),
        SignalKind::Signal => Body::Signal(signal),
    }
}
