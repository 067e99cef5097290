//! A stop by the application: set presence to offline, close, finish.

use std::time::Duration;

use aldis_protocol::{
    ClientFrame, ClientMessage, RequestId, ServerFrame, ServerMessage, SetPresence, Status,
};

use super::{ConnectionError, Machine, Now, Output, Phase};
use crate::Instant;

/// How long the `ack` of the presence, and then the echo of the close, may take.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) enum Leaving {
    /// The presence was sent under this id.
    Offline { id: RequestId, deadline: Instant },
    /// The close frame was sent.
    Closing { deadline: Instant },
}

impl Leaving {
    pub(super) fn deadline(&self) -> Instant {
        match self {
            Self::Offline { deadline, .. } | Self::Closing { deadline } => *deadline,
        }
    }
}

impl<R> Machine<R> {
    pub(super) fn say_goodbye(&mut self, now: Now) {
        self.acknowledge_at_last(now);
        let id = self.fresh_id();
        let message = ClientMessage::Presence(SetPresence { status: Status::Offline, note: None });
        let frame = self.settings.codec.encode_client(&ClientFrame { id: Some(id.clone()), message });
        self.outputs.push_back(Output::Send(frame));
        self.phase = Phase::Leaving(Leaving::Offline { id, deadline: now.instant + PATIENCE });
    }

    /// Replies still arrive, in order, before that to the presence.
    pub(super) fn handle_leaving(&mut self, now: Now, frame: ServerFrame<'_>) {
        let Some(frame) = self.settle_reply(now, frame) else { return };
        let is_reply = matches!(frame.message, ServerMessage::Ack(_) | ServerMessage::Error(_));
        let Phase::Leaving(Leaving::Offline { id, .. }) = &self.phase else { return };
        if is_reply && frame.id.as_ref() == Some(id) {
            self.close(now);
        }
    }

    pub(super) fn leave_impatiently(&mut self, now: Now) {
        if matches!(self.phase, Phase::Leaving(Leaving::Offline { .. })) {
            self.close(now);
        } else {
            self.finish(ConnectionError::Stopped);
        }
    }

    pub(super) fn close(&mut self, now: Now) {
        self.outputs.push_back(Output::Close);
        self.phase = Phase::Leaving(Leaving::Closing { deadline: now.instant + PATIENCE });
    }
}
