//! Where a message for others is carried out: delivered, queue full and nobody there are each decided here.

use std::sync::OnceLock;

use aldis_protocol::{AckStatus, Codec, ServerFrame};
use bytes::Bytes;

use super::outlet::{Frame, Outlet, Pushed};
use crate::metrics::Metrics;

/// A frame for any number of sessions, encoded at most once per codec.
pub(super) struct Encoded<'a> {
    frame: ServerFrame<'a>,
    json: OnceLock<Bytes>,
    proto: OnceLock<Bytes>,
}

impl<'a> Encoded<'a> {
    pub(super) fn new(frame: ServerFrame<'a>) -> Self {
        Self { frame, json: OnceLock::new(), proto: OnceLock::new() }
    }

    pub(super) fn for_codec(&self, codec: Codec) -> Frame {
        let encoded = match codec {
            Codec::Json => &self.json,
            Codec::Proto => &self.proto,
        };
        let bytes = encoded.get_or_init(|| codec.encode_server(&self.frame)).clone();
        Frame::new(bytes, self.frame.message.is_counted())
    }
}

/// Hands a frame to a session, and says how far it went. A session whose queue is full, or that is over, is as one that
/// is not there: the former closes itself with 4101 and tells its own client.
pub(super) fn deliver(target: &Outlet, frame: &Encoded<'_>, metrics: &Metrics) -> Option<AckStatus> {
    status(target.push(frame.for_codec(target.codec)), metrics)
}

/// The same, in its place among what the session was told of before, and answered.
pub(super) fn deliver_in_order(target: &Outlet, frame: &Encoded<'_>, metrics: &Metrics) -> Option<AckStatus> {
    status(target.push_in_order(frame.for_codec(target.codec)), metrics)
}

/// How far what was pushed went.
pub(super) fn status(pushed: Pushed, metrics: &Metrics) -> Option<AckStatus> {
    match pushed {
        Pushed::Queued => Some(AckStatus::Delivered),
        Pushed::Buffered => Some(AckStatus::Buffered),
        Pushed::Full => {
            metrics.queue_full.add();
            None
        }
        Pushed::Gone => None,
    }
}
