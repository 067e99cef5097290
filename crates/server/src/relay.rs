//! Delivers what sessions send: answers every request of a session or an HTTP caller from the registry and the store.

mod chat;
mod committed;
mod contacts;
mod decoy;
mod ice;
mod mail;
mod mail_delivery;
mod named;
mod orders;
mod presence;
mod rates;
mod reading;
mod relations;
mod room_calls;
mod room_states;
mod rooms;
mod signaling;
mod syncing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aldis_protocol::{
    Ack, AckStatus, ClientMessage, CloseCode, Delivered, ErrorCode, ErrorReply, HistoryMessage, Join, Leave,
    Read, RequestId, ServerFrame, ServerMessage, SessionId, UserId, limits::MAX_CONNECTIONS_PER_USER,
};
use aldis_registry::{Attached, Attachment, Registry, Routing};
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

pub(crate) use contacts::ContactTarget;
pub(crate) use reading::{ListPart, Parts};
pub(crate) use rooms::NO_ROOM;

use self::{
    orders::LastOrder,
    presence::{DeferredFanout, RelationLogReader},
    rates::Rates,
    relations::RelationCache,
    room_states::RoomStates,
    rooms::RoomChanges,
};
use crate::{
    accounts::Accounts,
    calls::Calls,
    clock::Now,
    config::LiveConfig,
    link::{self, Closing, Leftovers, SessionHandle, SharedBytes, Ticket},
    metrics::{Metrics, WriterFigures},
    refusal::Refusal,
    shared::Shared,
    store::{self, Store},
};

/// The entry point for sessions and HTTP handlers. One per node.
pub(crate) struct Relay {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) registry: Arc<Registry<Arc<SessionHandle>>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Runs calls that change something to their end once they have begun.
    pub(crate) calls: Calls,
    store: Arc<Store>,
    relations: RelationCache,
    rates: Rates,
    room_changes: RoomChanges,
    room_states: RoomStates,
    relation_log: RelationLogReader,
    orders: LastOrder,
    crowds: DeferredFanout,
    shared_bytes: SharedBytes,
    config: Arc<LiveConfig>,
    settings: Settings,
}

/// What the configuration says about routing.
struct Settings {
    routing: Routing,
    connections_per_user: usize,
    rate_limits: bool,
}

/// How a request is answered.
pub(crate) enum Reply {
    /// At once.
    Now(ServerMessage<'static>),
    /// Through the session's queue, where the effect of the request becomes visible.
    Queued,
    /// Once the store has answered a query that the request depends on.
    Later(BoxFuture<'static, Outcome>),
    /// In parts, as the socket has room; the last part is the reply. Dropped if the socket breaks.
    InParts(BoxStream<'static, Part>),
}

#[cfg(test)]
impl Reply {
    /// For a session without a task: the reply itself.
    pub(crate) async fn awaited(self, from: &SessionHandle) -> ServerMessage<'static> {
        let outcome = match self {
            Self::Now(reply) => return reply,
            Self::Queued => Outcome::Queued,
            Self::Later(outcome) => outcome.await,
            Self::InParts(_) => unreachable!("it is streamed"),
        };
        match outcome {
            Outcome::Reply(reply) => reply,
            Outcome::Queued => from.next_reply().await,
        }
    }
}

/// The outcome of a request that depended on the store.
pub(crate) enum Outcome {
    /// It has this reply.
    Reply(ServerMessage<'static>),
    /// Its reply comes through the session's queue.
    Queued,
}

/// A part of a streamed answer. If a stream ends without a [`Reply`](Self::Reply), the reply comes through the
/// session's queue.
pub(crate) enum Part {
    /// Uncounted frames in the session's codec.
    Frames(Vec<Bytes>),
    /// The reply, which ends the stream.
    Reply(Box<ServerMessage<'static>>),
}

impl Part {
    /// Roughly how many bytes it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Frames(frames) => frames.iter().map(Bytes::len).sum(),
            Self::Reply(reply) => {
                let ServerMessage::History(history) = &**reply else { return size_of::<ServerMessage<'_>>() };
                let of = |entry: &HistoryMessage<'_>| {
                    size_of::<HistoryMessage<'_>>() + entry.message.payload.as_bytes().len()
                };
                history.messages.iter().map(of).sum()
            }
        }
    }
}

/// The outcome of making a session reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a session that is not admitted is not there"]
pub(crate) enum Admission {
    /// It is reachable.
    Admitted,
    /// Its user has as many sessions as they may have.
    TooMany,
    /// The session on the same device has a larger claim.
    Superseded,
}

impl Relay {
    /// A relay for the sessions of a node. When an account is deleted, it ends the account's rooms and presence.
    pub(crate) fn new(shared: &Shared, accounts: Arc<Accounts>) -> Arc<Self> {
        let Shared { store, registry, metrics, config: live } = shared.clone();
        let config = live.current();
        let relay = Arc::new(Self {
            accounts,
            registry,
            metrics,
            calls: Calls::default(),
            store,
            relations: RelationCache::default(),
            rates: Rates::new(config.rate_limits),
            room_changes: RoomChanges::default(),
            room_states: RoomStates::default(),
            relation_log: RelationLogReader::default(),
            orders: LastOrder::default(),
            crowds: DeferredFanout::default(),
            shared_bytes: SharedBytes::default(),
            config: live,
            settings: Settings {
                routing: match config.routing {
                    crate::config::Routing::Contacts => Routing::Contacts,
                    crate::config::Routing::Open => Routing::Open,
                },
                connections_per_user: if config.rate_limits { MAX_CONNECTIONS_PER_USER } else { usize::MAX },
                rate_limits: config.rate_limits,
            },
        });
        let weak = Arc::downgrade(&relay);
        relay.accounts.on_deletion(move |user| {
            if let Some(relay) = weak.upgrade() {
                relay.account_deleted(user);
            }
        });
        relay
    }

    /// Closes the rooms of a deleted account and hides its presence.
    fn account_deleted(&self, user: UserId) {
        for room in self.registry.rooms_owned_by(user) {
            self.close_room(&room);
        }
        self.hide_for_good(user);
    }

    /// Carries out a session's request, and replies to `ticket`. The caller keeps the order: a request that [is
    /// stored](is_stored) begins after earlier ones were carried out, any other after earlier ones were answered. The
    /// session handles counting and re-authentication itself.
    pub(crate) fn handle(
        self: &Arc<Self>,
        from: &Arc<SessionHandle>,
        ticket: Ticket,
        id: Option<RequestId>,
        message: ClientMessage<'_>,
        now: Now,
    ) -> Reply {
        match message {
            ClientMessage::Signal(signal) => self.counting(self.signal(from, id, signal, now)),
            ClientMessage::IceServers => Reply::Now(ServerMessage::IceServers(self.ice_servers(now))),
            ClientMessage::Ping => Reply::Now(ServerMessage::Pong),
            ClientMessage::Presence(presence) => self.set_presence(from, presence, now),
            ClientMessage::PresenceSubscribe(subscribe) => self.subscribe(from, subscribe.user_ids),
            ClientMessage::PresenceUnsubscribe(unsubscribe) => self.unsubscribe(from, unsubscribe.user_ids),
            ClientMessage::Join(Join { room }) => self.join(from, ticket, room, now),
            ClientMessage::Leave(Leave { room }) => self.leave(from, ticket, room),
            ClientMessage::ChatMessage(message) => self.say(from, ticket, id, message, now),
            ClientMessage::Broadcast(message) => self.broadcast(from, id, message, now),
            ClientMessage::History(asked) => self.history(from, asked),
            ClientMessage::Message(message) => self.post(from, ticket, id, message, now),
            ClientMessage::Sync(sync) => self.sync(from, ticket, id, sync),
            ClientMessage::Delivered(Delivered { message_ids }) => {
                self.mark(from, ticket, message_ids, false)
            }
            ClientMessage::Read(Read { message_ids }) => self.mark(from, ticket, message_ids, true),
            ClientMessage::AuthResponse(_) | ClientMessage::Auth(_) | ClientMessage::Received(_) => {
                Reply::Now(error(ErrorCode::BadRequest, "this is not a request for the relay"))
            }
        }
    }

    /// Makes a session reachable and closes the one that it replaces.
    ///
    /// `proved_at` is the last revocation that was known [before its proof](crate::link::Identity::proved_at). A
    /// later one found no session to close, so this function closes the session.
    pub(crate) fn attach(&self, session: &Arc<SessionHandle>, proved_at: i64) -> Admission {
        let attached = Attached {
            session: session.session,
            device: session.device.clone(),
            claim: session.device_claim,
            handle: Arc::clone(session),
        };
        let limit = self.settings.connections_per_user;
        match self.registry.attach(session.user, attached, limit, |left| self.tell_departed(left)) {
            Attachment::TooMany => Admission::TooMany,
            Attachment::Superseded => Admission::Superseded,
            Attachment::Attached { replaced: other } => {
                self.accounts.last_seen.note(&session.device, Now::read());
                self.session_began(session);
                self.accounts.end_if_revoked_since(proved_at, session);
                if let Some(other) = other {
                    other.handle.close_with(replaced());
                }
                Admission::Admitted
            }
        }
    }

    /// The session of this user with this id, if it is on this node.
    pub(crate) fn session(&self, user: UserId, session: SessionId) -> Option<Arc<SessionHandle>> {
        self.registry.of_user(user).into_iter().find(|one| one.session == session).map(|one| one.handle)
    }

    /// Removes a session that has ended, and returns what waited for it.
    pub(crate) fn detach(&self, session: &SessionHandle) -> Leftovers {
        let presence = self.registry.presence_of_session(session.user, session.session);
        self.registry.detach(session.user, session.session, |left| self.tell_departed(left));
        self.accounts.last_seen.note(&session.device, Now::read());
        self.session_ended(session, presence.as_ref());
        session.close()
    }

    /// How many bytes of shared frames are held, each counted once.
    pub(crate) fn shared_bytes(&self) -> usize {
        self.shared_bytes.get()
    }

    /// Whether the limits per user, device and pair are enforced.
    pub(crate) fn has_rate_limits(&self) -> bool {
        self.settings.rate_limits
    }

    /// How many database calls there were.
    pub(crate) fn store_calls(&self) -> u64 {
        store::calls()
    }

    /// How many database calls failed.
    pub(crate) fn store_errors(&self) -> u64 {
        store::failures()
    }

    /// What the writers of the store tell about themselves.
    pub(crate) fn store_writers(&self) -> Vec<WriterFigures<'_>> {
        self.store.writers()
    }

    /// Counts the outcome of a signal.
    fn counting(&self, reply: Reply) -> Reply {
        match reply {
            Reply::Now(message) => {
                self.metrics.signalled(&message);
                Reply::Now(message)
            }
            Reply::Later(answer) => {
                let metrics = Arc::clone(&self.metrics);
                Reply::Later(Box::pin(async move {
                    let outcome = answer.await;
                    if let Outcome::Reply(message) = &outcome {
                        metrics.signalled(message);
                    }
                    outcome
                }))
            }
            Reply::Queued | Reply::InParts(_) => reply,
        }
    }

    /// Whether the database takes writes. The check runs to its end and counts even if the caller has gone.
    pub(crate) async fn is_ready(&self) -> bool {
        let store = Arc::clone(&self.store);
        let checked = self.calls.complete(async move { store.check_writable().await });
        checked.await.is_ok_and(|checked| checked.is_ok())
    }
}

/// The frame of a message that the server initiates.
fn fresh(message: ServerMessage<'static>) -> ServerFrame<'static> {
    link::fresh(message, Now::read())
}

/// Whether a request is answered when the store has committed it. The store commits a user's requests in the order in
/// which they are submitted, so such requests need not wait for each other.
pub(crate) const fn is_stored(request: &ClientMessage<'_>) -> bool {
    matches!(
        request,
        ClientMessage::ChatMessage(_)
            | ClientMessage::Message(_)
            | ClientMessage::Delivered(_)
            | ClientMessage::Read(_)
    )
}

fn done(message: &'static str) -> ServerMessage<'static> {
    ServerMessage::Ack(Ack::new(AckStatus::Done, message))
}

fn error(code: ErrorCode, message: impl Into<std::borrow::Cow<'static, str>>) -> ServerMessage<'static> {
    ServerMessage::Error(ErrorReply::new(code, message))
}

fn refused(refusal: Refusal) -> ServerMessage<'static> {
    ServerMessage::Error(ErrorReply {
        retry_after: refusal.retry_after,
        ..ErrorReply::new(refusal.code, refusal.message)
    })
}

/// The close of the older of two sessions of a device, by the arrival of their upgrade requests.
pub(crate) fn replaced() -> Closing {
    Closing::new(CloseCode::Replaced, "", "a newer connection of the same device took over")
}

/// A fresh session id.
pub(crate) fn new_session_id() -> SessionId {
    SessionId::new(uuid::Uuid::now_v7())
}

#[cfg(test)]
impl Relay {
    /// A relay with accounts of its own, over an open store.
    pub(crate) fn over(config: Arc<LiveConfig>, ring: &aldis_auth::KeyRing, store: Arc<Store>) -> Arc<Self> {
        let shared = Shared::new(config, store);
        let accounts = Accounts::new(ring, &shared).unwrap();
        Self::new(&shared, Arc::new(accounts))
    }
}
