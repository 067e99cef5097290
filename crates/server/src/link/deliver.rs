//! Delivers frames to sessions, and decides between delivered, buffered, queue full and unavailable.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use aldis_protocol::{AckStatus, Codec, RequestId, ServerFrame, ServerMessage};
use bytes::Bytes;
use uuid::Uuid;

use super::{Frame, Pushed, SessionHandle};
use crate::{clock::Now, metrics::Metrics};

/// A frame for any number of sessions, encoded at most once per codec.
pub(crate) struct Encoded<'a> {
    frame: ServerFrame<'a>,
    json: OnceLock<Bytes>,
    proto: OnceLock<Bytes>,
    /// Where its bytes are counted, if several sessions get them.
    shared: Option<SharedBytes>,
}

/// How many bytes of shared frames are held: each frame counts once, until the last session releases it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedBytes(Arc<AtomicUsize>);

/// The bytes of a frame, counted while any session holds them.
struct Shared {
    bytes: Bytes,
    count: SharedBytes,
}

impl SharedBytes {
    /// How many bytes there are now.
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn share(&self, bytes: Bytes) -> Bytes {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Shared { bytes, count: self.clone() })
    }
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.count.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(frame: ServerFrame<'a>) -> Self {
        Self { frame, json: OnceLock::new(), proto: OnceLock::new(), shared: None }
    }

    /// For several sessions: its memory counts once for all of them.
    pub(crate) fn for_many(self, shared: &SharedBytes) -> Self {
        Self { shared: Some(shared.clone()), ..self }
    }

    pub(crate) fn for_codec(&self, codec: Codec) -> Frame {
        let encoded = match codec {
            Codec::Json => &self.json,
            Codec::Proto => &self.proto,
        };
        let bytes = encoded.get_or_init(|| self.encode(codec)).clone();
        let shared = self.shared.is_some();
        Frame { shared, ..Frame::new(bytes, self.frame.message.is_counted()) }
    }

    fn encode(&self, codec: Codec) -> Bytes {
        let bytes = codec.encode_server(&self.frame);
        match &self.shared {
            Some(shared) => shared.share(bytes),
            None => bytes,
        }
    }
}

/// The frame of a message that the server initiates.
pub(crate) fn fresh(message: ServerMessage<'_>, now: Now) -> ServerFrame<'_> {
    ServerFrame { id: Some(RequestId::from_uuid(Uuid::now_v7())), timestamp: now.timestamp(), message }
}

/// Delivers a frame to a session, and returns how far it went. A session that is over or whose queue is full counts
/// as absent; a full queue closes the session with 4101.
pub(crate) fn deliver(target: &SessionHandle, frame: &Encoded<'_>, metrics: &Metrics) -> Option<AckStatus> {
    status(target.push(frame.for_codec(target.codec)), metrics)
}

/// The status of a pushed frame.
pub(crate) fn status(pushed: Pushed, metrics: &Metrics) -> Option<AckStatus> {
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

#[cfg(test)]
mod tests {
    use aldis_protocol::ServerMessage;

    use super::*;

    #[test]
    fn a_shared_frame_counts_once_until_the_last_holder_drops_it() {
        let count = SharedBytes::default();
        let encoded = Encoded::new(fresh(ServerMessage::Pong, Now::read())).for_many(&count);
        let held: Vec<Frame> = (0..1_000).map(|_| encoded.for_codec(Codec::Json)).collect();
        assert_eq!(count.get(), held[0].bytes.len());
        assert!(held.iter().all(|frame| frame.held().own == 0));
        let last = held[999].clone();
        drop((encoded, held));
        assert_eq!(count.get(), last.bytes.len());
        drop(last);
        assert_eq!(count.get(), 0);
    }
}
