//! A request that has no reply yet.

use aldis_protocol::{ClientMessage, RequestId};

use crate::{relay::is_stored, session::replies::RequestDigest};

/// A request without its reply.
#[derive(Debug)]
#[must_use = "every request gets exactly one reply"]
pub(in crate::session) struct PendingRequest {
    pub(super) id: Option<RequestId>,
    pub(super) digest: Option<RequestDigest>,
    subscribes: bool,
    is_stored: bool,
    is_streamed: bool,
}

impl PendingRequest {
    pub(super) fn new(
        id: Option<RequestId>,
        digest: Option<RequestDigest>,
        message: &ClientMessage<'_>,
    ) -> Self {
        Self {
            id,
            digest,
            subscribes: matches!(message, ClientMessage::PresenceSubscribe(_)),
            is_stored: is_stored(message),
            is_streamed: matches!(message, ClientMessage::Sync(_) | ClientMessage::History(_)),
        }
    }

    /// The request's id.
    pub(in crate::session) const fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// A request without an id.
    #[cfg(test)]
    pub(in crate::session) const fn nameless(subscribes: bool, is_stored: bool, is_streamed: bool) -> Self {
        Self { id: None, digest: None, subscribes, is_stored, is_streamed }
    }

    /// Whether it is a subscription to presence.
    pub(in crate::session) const fn subscribes(&self) -> bool {
        self.subscribes
    }

    /// Whether it is [answered when the store has committed it](is_stored).
    pub(in crate::session) const fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// Whether its reply is streamed in parts.
    pub(in crate::session) const fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// Whether this is a repetition of another request, of a kind that is carried out once.
    pub(in crate::session) fn is_same(&self, other: &Self) -> bool {
        self.digest.is_some() && other.digest.is_some() && self.id == other.id
    }
}
