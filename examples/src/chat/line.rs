//! The states of a chat.

use std::{fmt, sync::Arc, time::Instant};

use webrtc::data_channel::DataChannel;

use crate::{
    call::Call,
    signed::{CallId, Writer},
};

/// One state of a [`Chat`](super::Chat), with what belongs to it.
pub(super) enum Line {
    /// Idle: there is no server yet, or no peer.
    Idle,
    /// An offer was sent.
    Ringing(Call),
    /// The offer was answered; the devices are connecting.
    Connecting { call: Call, peer: Writer, since: Instant },
    /// The channel is open.
    Open { call: Call, peer: Writer, channel: Arc<dyn DataChannel> },
}

impl Line {
    pub(super) fn into_call(self) -> Option<Call> {
        match self {
            Self::Idle => None,
            Self::Ringing(call) | Self::Connecting { call, .. } | Self::Open { call, .. } => Some(call),
        }
    }

    pub(super) fn call_id(&self) -> Option<CallId> {
        match self {
            Self::Idle => None,
            Self::Ringing(call) | Self::Connecting { call, .. } | Self::Open { call, .. } => Some(call.id()),
        }
    }

    /// The peer of the call.
    pub(super) fn peer(&self) -> Option<&Writer> {
        match self {
            Self::Idle | Self::Ringing(_) => None,
            Self::Connecting { peer, .. } | Self::Open { peer, .. } => Some(peer),
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Ringing(_) => "Ringing",
            Self::Connecting { .. } => "Connecting",
            Self::Open { .. } => "Open",
        })
    }
}
