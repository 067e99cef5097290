//! Where a message for others is carried out: delivered, queue full and nobody there are each decided here.

use std::{cell::OnceCell, sync::Arc};

use aldis_protocol::{Codec, ServerFrame};
use bytes::Bytes;

use super::outlet::{Outlet, Pushed};

/// A frame for any number of sessions, encoded at most once per codec.
pub(super) struct Encoded<'a> {
    frame: ServerFrame<'a>,
    json: OnceCell<Bytes>,
    proto: OnceCell<Bytes>,
}

impl<'a> Encoded<'a> {
    pub(super) fn new(frame: ServerFrame<'a>) -> Self {
        Self { frame, json: OnceCell::new(), proto: OnceCell::new() }
    }

    fn bytes(&self, codec: Codec) -> Bytes {
        let encoded = match codec {
            Codec::Json => &self.json,
            Codec::Proto => &self.proto,
        };
        encoded.get_or_init(|| codec.encode_server(&self.frame)).clone()
    }
}

/// Hands a frame to a session. A session whose queue is full, or that is over, is as one that is not there: the former
/// closes itself with 4101 and tells its own client.
pub(super) fn deliver(target: &Arc<Outlet>, frame: &Encoded<'_>) -> bool {
    match target.push(frame.bytes(target.codec)) {
        Pushed::Queued => true,
        Pushed::Full | Pushed::Gone => false,
    }
}
