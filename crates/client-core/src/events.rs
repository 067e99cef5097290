//! What the application is told.

use std::time::Duration;

use aldis_auth::{InvalidSignature, PublicKey};
use aldis_protocol::{
    Alert, ChatContent, ContactRequest, DeviceId, ErrorCode, IceServers, MailboxMessage, MessageId, Presence,
    RelayedSignal, RequestId, RoomId, RoomInvite, Sender, ServerFrame, SessionId, SessionLimits, SignalKind,
    StoredChatMessage, Timestamp, UserId, UserRef, statement::SignalStatement,
};

use crate::{ConnectionError, Refusal, SignalRefused};

/// Where the client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It has stopped, by itself or because it was told to, and stays so.
    Disconnected,
    /// It makes its first attempt.
    Connecting,
    /// A socket is there and the server is looking at the proof.
    Authenticating,
    /// Requests are answered.
    Connected,
    /// It waits, or makes another attempt.
    Reconnecting,
}

/// Who and what the client is to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The session's id.
    pub id: SessionId,
    /// The user.
    pub user_id: UserId,
    /// The device; an ephemeral one is another in each session.
    pub device_id: DeviceId,
    /// Whether the last break lost nothing: this is the session from before, and what was missed follows. Where false,
    /// the signals and broadcasts of the break are lost. Rooms, watched users, presence and mailbox are had again by
    /// the client itself, with every message.
    pub resumed: bool,
    /// When the token that opened the session ends; none where a key is the proof. Later ones are told as
    /// [`Event::Reauthenticated`].
    pub expires_at: Option<Timestamp>,
    /// What may be sent.
    pub limits: SessionLimits,
}

/// What happened. Nothing that concerns only a request of the application's own is an event: that is its reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection is there, for the first time or again.
    Connected(Session),
    /// An attempt failed or the connection ended.
    Closed {
        /// Why.
        cause: ConnectionError,
        /// When the next attempt begins; none where the client has stopped.
        retry_in: Option<Duration>,
    },
    /// The token expires soon; the provider is being asked for another.
    AuthRequired {
        /// When the present token ends.
        expires_at: Timestamp,
    },
    /// The session goes on with a new token.
    Reauthenticated {
        /// When that one ends.
        expires_at: Option<Timestamp>,
    },
    /// There is no new token, or the server refused it. The server closes the session when the present token expires.
    ReauthenticationFailed(ConnectionError),
    /// Another device signals.
    Signal(IncomingSignal),
    /// A signal was dropped. Where it is not a client's mistake, somebody tries to get into a call.
    SignalRefused {
        /// Why.
        reason: SignalRefused,
        /// Which kind of signal.
        kind: SignalKind,
        /// From whom.
        sender: Sender,
        /// How many this client has dropped, with this one.
        total: u64,
    },
    /// New STUN and TURN servers, before the credentials of those asked for end.
    IceServers(IceServers<'static>),
    /// The presence of a watched user. After a break the same may be told again.
    Presence(Presence<'static>),
    /// Something happened to the account.
    Alert(Alert),
    /// Somebody would like to be allowed.
    ContactRequest(ContactRequest),
    /// The owner of a private room put this user in it. It opens nothing until they join it.
    RoomInvite(RoomInvite),
    /// The server is about to stop, and names when to come back; the client will.
    ServerDraining {
        /// After this time.
        reconnect_after: Duration,
    },
    /// The server refused something that was no request.
    Error {
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        message: String,
    },
    /// Something was said in a room. Each message of a room comes once and in the order of its numbers, whatever breaks.
    /// What this client itself says there comes as the `ack` of its request instead.
    Chat(Box<IncomingChat>),
    /// The server has these numbers no longer: they were not fetched for too long.
    Missed {
        /// Of what.
        of: Numbered,
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The server has lost its newest numbers: it was restored from a backup. What it keeps comes again from the oldest
    /// on, also what the application has already; a number that was told may now be another message's. For the mailbox,
    /// the cursor goes back. What devices still have of the lost messages, only they have.
    StartedOver {
        /// Of what.
        of: Numbered,
        /// The newest number that the server has.
        newest: u64,
    },
    /// The handler of the mailbox failed, and is asked again; what is behind that message waits.
    MessageNotStored {
        /// The message.
        message_id: MessageId,
        /// What the handler said.
        error: Box<dyn std::error::Error + Send + Sync>,
        /// After this time.
        retry_in: Duration,
    },
    /// The server refused to restore something in a fresh session. The client gives it up.
    NotRestored {
        /// What.
        what: Restorable,
        /// Why.
        refusal: Refusal,
    },
    /// The application did not take its events in time, and this many were dropped: signals, presence, broadcasts and
    /// notices. Messages of rooms are not among them: they wait on the server.
    Lagged {
        /// How many were dropped.
        missed: u64,
    },
    /// Anything else that the server tells: members, states and broadcasts of rooms, receipts. Without
    /// a mailbox handler, messages of the mailbox too, as they come. Messages whose type only a newer server knows come
    /// as [`ServerMessage::Unknown`](aldis_protocol::ServerMessage::Unknown).
    Message(Box<ServerFrame<'static>>),
}

/// What has numbers without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Numbered {
    /// A room.
    Room(RoomId),
    /// The mailbox.
    Mailbox,
}

/// What the client restores in a fresh session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restorable {
    /// The membership of a room.
    Room(RoomId),
    /// The presence of this device.
    Presence,
    /// The subscriptions to the presence of these users.
    Subscriptions(Vec<UserRef>),
    /// The mailbox. The next session tries again.
    Mailbox,
}

/// A message of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingChat {
    /// The sender's id of it.
    pub id: Option<RequestId>,
    /// When it was committed.
    pub timestamp: Timestamp,
    /// Room, number, sender and payload.
    pub chat: StoredChatMessage<'static>,
}

impl IncomingChat {
    /// What it says; none where the server let something else through.
    #[must_use]
    pub fn content(&self) -> Option<String> {
        let said = self.chat.payload.parse::<ChatContent<'_>>().ok()?;
        Some(said.content.into_owned())
    }
}

/// A message of the mailbox.
///
/// Its `seq` is the cursor to keep with it: where the client is started again with it, what follows comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingMessage {
    /// When it was committed.
    pub timestamp: Timestamp,
    /// Ids, sender, recipient and content. Where the sender is this user, it is a copy of what another device sent, or
    /// of what this one sent before it was started again.
    pub message: MailboxMessage<'static>,
}

/// A signal from another device, let through by the rules of docs/protocol/signing.md.
///
/// The server vouches for the sender. To rely on no server, [`verify`](Self::verify) the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingSignal {
    /// The sender's id of it.
    pub id: Option<RequestId>,
    /// When the server relayed it.
    pub timestamp: Timestamp,
    /// Kind, sender, payload and signature.
    pub signal: RelayedSignal<'static>,
}

impl IncomingSignal {
    /// Checks that `key` signed this signal for `target`: the own device id, or where the user was called, the own
    /// fingerprint (the user id, without one). The key is the sender's device key, else its identity's, and has to
    /// come from a place that the server cannot write to.
    ///
    /// # Errors
    /// [`InvalidSignature`] where it did not, where there is no signature, or where the sender has no fingerprint or
    /// the signal no id.
    pub fn verify(&self, key: &PublicKey, target: &str) -> Result<(), InvalidSignature> {
        let sender = &self.signal.sender;
        let (Some(signed), Some(fingerprint), Some(id)) =
            (self.signal.signature, sender.fingerprint, &self.id)
        else {
            return Err(InvalidSignature);
        };
        let statement = SignalStatement {
            kind: self.signal.kind.message_kind().as_str(),
            sender_fingerprint: fingerprint,
            sender_device_id: &sender.device_id,
            target,
            id: id.as_str(),
            created_at_ms: signed.created_at_ms,
            payload: self.signal.payload.as_bytes(),
        };
        key.verify(&statement.bytes(), &signed.signature)
    }
}

#[cfg(test)]
mod tests {
    use aldis_auth::SecretKey;
    use aldis_protocol::{Payload, SignalSignature};
    use uuid::Uuid;

    use super::*;

    fn signed(key: &SecretKey) -> IncomingSignal {
        let sender = Sender::new("phone".parse().unwrap(), UserId::new(Uuid::from_u128(1)))
            .with_fingerprint(key.public_key().fingerprint());
        let statement = SignalStatement {
            kind: "offer",
            sender_fingerprint: key.public_key().fingerprint(),
            sender_device_id: &sender.device_id,
            target: "desk",
            id: "m-1",
            created_at_ms: 1,
            payload: b"{}",
        };
        let signature = SignalSignature { signature: key.sign_signal(&statement), created_at_ms: 1 };
        IncomingSignal {
            id: Some("m-1".parse().unwrap()),
            timestamp: Timestamp::from_ms(2),
            signal: RelayedSignal::new(SignalKind::Offer, sender, Payload::from_json("{}").unwrap())
                .with_signature(signature),
        }
    }

    #[test]
    fn a_signature_counts_for_this_signal_to_this_device_only() {
        let key = SecretKey::from_bytes(&[1; 32]);
        let signal = signed(&key);
        assert_eq!(signal.verify(&key.public_key(), "desk"), Ok(()));
        assert!(signal.verify(&key.public_key(), "other").is_err());
        assert!(signal.verify(&SecretKey::from_bytes(&[2; 32]).public_key(), "desk").is_err());
        assert!(IncomingSignal { id: None, ..signal }.verify(&key.public_key(), "desk").is_err());
    }
}
