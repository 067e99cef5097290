//! Each frame once: its members, what answers it, and golden examples.

use utoipa::{
    ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema},
};

use super::Side;
use crate::{
    Ack, Alert, Auth, AuthChallenge, AuthFailure, AuthRequired, AuthResponse, AuthSuccess, Broadcast,
    ChatContent, ChatMessage, Connected, ContactRequest, Delivered, ErrorReply, HistoryRequest, IceServers,
    Join, Leave, MemberJoined, MemberLeft, MessageKind, Payload, Presence, PresenceSubscribe,
    PresenceUnsubscribe, Read, Receipt, Received, RoomInvite, RoomMembers, ServerDraining, SetPresence, Sync,
    Synced,
    codec::fields::{
        BroadcastFields, ChatFields, EncryptedFields, HistoryFields, MailboxFields, RelayedSignalFields,
        RoomUpdateFields, SignalFields,
    },
};

/// The schemas that others refer to, by name.
pub(super) type Components = Vec<(String, RefOr<Schema>)>;

/// A frame of one side.
pub(super) struct Described {
    pub(super) side: Side,
    pub(super) kind: MessageKind,
    /// In a sentence.
    pub(super) summary: &'static str,
    pub(super) body: Body,
    /// What answers it; empty where nothing does, and for what the server sends.
    pub(super) replies: &'static [MessageKind],
    /// Golden frames.
    pub(super) examples: &'static [&'static str],
}

/// Where the message's own members stand.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// Beside `type`.
    Members(fn(&mut Components) -> RefOr<Schema>),
    /// Beside `type` but for `payload`, which is written as the bytes that it is.
    WithPayload(fn(&mut Components) -> RefOr<Schema>, fn(&mut Components) -> RefOr<Schema>),
    /// In `payload`.
    Payload(fn(&mut Components) -> RefOr<Schema>),
    /// In `payload`, which may be left out.
    OptionalPayload(fn(&mut Components) -> RefOr<Schema>),
}

impl Described {
    /// The name of its schema and of its message.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.side.as_str(), self.kind.as_str())
    }
}

/// Every frame, in the order of the kinds.
pub(super) fn all() -> impl Iterator<Item = Described> {
    Side::ALL
        .into_iter()
        .flat_map(|side| MessageKind::ALL.iter().filter_map(move |&kind| described(side, kind)))
}

fn described(side: Side, kind: MessageKind) -> Option<Described> {
    let (summary, body, replies, examples) = match side {
        Side::Client => {
            let (summary, body, examples) = from_client(kind)?;
            (summary, body, replies_to(kind), examples)
        }
        Side::Server => {
            let (summary, body, examples) = from_server(kind)?;
            (summary, body, NOTHING, examples)
        }
    };
    Some(Described { side, kind, summary, body, replies, examples })
}

const NOTHING: &[MessageKind] = &[];

type Entry = (&'static str, Body, &'static [&'static str]);

macro_rules! golden {
    ($($name:literal),*) => { &[$(include_str!(concat!("../../tests/golden/", $name, ".json"))),*] };
}

/// The type's schema, with those that it refers to put aside.
fn of<T: ToSchema>(components: &mut Components) -> RefOr<Schema> {
    T::schemas(components);
    T::schema()
}

fn no_members(_: &mut Components) -> RefOr<Schema> {
    ObjectBuilder::new().into()
}

fn from_client(kind: MessageKind) -> Option<Entry> {
    use Body::{Members, OptionalPayload, WithPayload};
    Some(match kind {
        MessageKind::AuthResponse => (
            "Proves a key by the signed answer to a challenge.",
            Members(of::<AuthResponse<'_>>),
            golden!("client/auth_response", "client/auth_response-minimal"),
        ),
        MessageKind::Auth => (
            "Shows a token, first on a socket or again on a live session.",
            OptionalPayload(of::<Auth<'_>>),
            golden!("client/auth", "client/auth-minimal"),
        ),
        MessageKind::Offer => (
            "Sends a session description that begins a call.",
            WithPayload(of::<SignalFields<'_>>, of::<Payload<'_>>),
            golden!("client/offer"),
        ),
        MessageKind::Answer => (
            "Sends the session description that answers an offer.",
            WithPayload(of::<SignalFields<'_>>, of::<Payload<'_>>),
            golden!("client/answer"),
        ),
        MessageKind::IceCandidate => (
            "Sends a network address to try.",
            WithPayload(of::<SignalFields<'_>>, of::<Payload<'_>>),
            golden!("client/ice-candidate"),
        ),
        MessageKind::Signal => (
            "Sends any other signal.",
            WithPayload(of::<SignalFields<'_>>, of::<Payload<'_>>),
            golden!("client/signal", "client/signal-minimal"),
        ),
        MessageKind::IceServers => {
            ("Asks for STUN and TURN servers.", Members(no_members), golden!("client/ice_servers"))
        }
        MessageKind::Join => ("Enters a room.", Members(of::<Join>), golden!("client/join")),
        MessageKind::Leave => ("Leaves a room.", Members(of::<Leave>), golden!("client/leave")),
        MessageKind::ChatMessage => (
            "Says something in a room; it is stored and numbered.",
            WithPayload(of::<ChatMessage<'_>>, of::<ChatContent<'_>>),
            golden!("client/chat_message", "client/chat_message-minimal"),
        ),
        MessageKind::Broadcast => (
            "Says something in a room; it is neither stored nor numbered.",
            WithPayload(of::<Broadcast<'_>>, of::<Payload<'_>>),
            golden!("client/broadcast", "client/broadcast-minimal"),
        ),
        MessageKind::History => (
            "Asks for what was said in a room.",
            Members(of::<HistoryRequest>),
            golden!("client/history", "client/history-minimal"),
        ),
        MessageKind::Message => (
            "Sends an encrypted message to a user's mailbox.",
            Members(of::<EncryptedFields<'_>>),
            golden!("client/message"),
        ),
        MessageKind::Sync => (
            "Asks for the mailbox from a number on.",
            Members(of::<Sync>),
            golden!("client/sync", "client/sync-minimal"),
        ),
        MessageKind::Delivered => {
            ("Says that messages arrived.", Members(of::<Delivered>), golden!("client/delivered"))
        }
        MessageKind::Read => ("Says that messages were read.", Members(of::<Read>), golden!("client/read")),
        MessageKind::Presence => (
            "Sets how this device shows itself.",
            Members(of::<SetPresence<'_>>),
            golden!("client/presence", "client/presence-minimal"),
        ),
        MessageKind::PresenceSubscribe => (
            "Asks to be told of users' presence.",
            Members(of::<PresenceSubscribe>),
            golden!("client/presence_subscribe"),
        ),
        MessageKind::PresenceUnsubscribe => (
            "Asks to be told no more.",
            Members(of::<PresenceUnsubscribe>),
            golden!("client/presence_unsubscribe"),
        ),
        MessageKind::Received => (
            "Confirms how many counted messages arrived.",
            Members(of::<Received>),
            golden!("client/received"),
        ),
        MessageKind::Ping => (
            "Asks whether the server is there.",
            Members(no_members),
            golden!("client/ping", "client/ping-minimal"),
        ),
        MessageKind::AuthChallenge
        | MessageKind::AuthSuccess
        | MessageKind::AuthFailure
        | MessageKind::Connected
        | MessageKind::AuthRequired
        | MessageKind::Ack
        | MessageKind::Error
        | MessageKind::RoomMembers
        | MessageKind::MemberJoined
        | MessageKind::MemberLeft
        | MessageKind::RoomUpdate
        | MessageKind::Synced
        | MessageKind::Receipt
        | MessageKind::Alert
        | MessageKind::ContactRequest
        | MessageKind::RoomInvite
        | MessageKind::ServerDraining
        | MessageKind::Pong => return None,
    })
}

/// What answers a client's frame, beside `error`.
const fn replies_to(kind: MessageKind) -> &'static [MessageKind] {
    match kind {
        MessageKind::AuthResponse | MessageKind::Auth => {
            &[MessageKind::AuthSuccess, MessageKind::Connected, MessageKind::AuthFailure]
        }
        MessageKind::IceServers => &[MessageKind::IceServers],
        MessageKind::History => &[MessageKind::History],
        MessageKind::Sync => &[MessageKind::Message, MessageKind::Synced],
        MessageKind::Ping => &[MessageKind::Pong],
        MessageKind::Offer
        | MessageKind::Answer
        | MessageKind::IceCandidate
        | MessageKind::Signal
        | MessageKind::Join
        | MessageKind::Leave
        | MessageKind::ChatMessage
        | MessageKind::Broadcast
        | MessageKind::Message
        | MessageKind::Delivered
        | MessageKind::Read
        | MessageKind::Presence
        | MessageKind::PresenceSubscribe
        | MessageKind::PresenceUnsubscribe => &[MessageKind::Ack],
        MessageKind::Received
        | MessageKind::AuthChallenge
        | MessageKind::AuthSuccess
        | MessageKind::AuthFailure
        | MessageKind::Connected
        | MessageKind::AuthRequired
        | MessageKind::Ack
        | MessageKind::Error
        | MessageKind::RoomMembers
        | MessageKind::MemberJoined
        | MessageKind::MemberLeft
        | MessageKind::RoomUpdate
        | MessageKind::Synced
        | MessageKind::Receipt
        | MessageKind::Alert
        | MessageKind::ContactRequest
        | MessageKind::RoomInvite
        | MessageKind::ServerDraining
        | MessageKind::Pong => NOTHING,
    }
}

fn from_server(kind: MessageKind) -> Option<Entry> {
    use Body::Members;
    Some(match kind {
        MessageKind::AuthChallenge => (
            "Names what the client's key has to sign.",
            Members(of::<AuthChallenge<'_>>),
            golden!("server/auth_challenge"),
        ),
        MessageKind::AuthSuccess => (
            "The proof was good.",
            Members(of::<AuthSuccess>),
            golden!("server/auth_success", "server/auth_success-minimal"),
        ),
        MessageKind::AuthFailure => (
            "The proof was refused.",
            Members(of::<AuthFailure<'_>>),
            golden!("server/auth_failure", "server/auth_failure-minimal"),
        ),
        MessageKind::Connected => {
            ("The session is there.", Members(of::<Connected<'_>>), golden!("server/connected"))
        }
        MessageKind::AuthRequired => (
            "The token is about to expire.",
            Body::Payload(of::<AuthRequired<'_>>),
            golden!("server/auth_required"),
        ),
        MessageKind::Ack => (
            "The request was carried out.",
            Members(of::<Ack<'_>>),
            golden!("server/ack", "server/ack-minimal"),
        ),
        MessageKind::Error => (
            "The request was refused, or the connection is about to be closed.",
            Body::Payload(of::<ErrorReply<'_>>),
            golden!("server/error", "server/error-minimal"),
        ),
        MessageKind::Offer => (
            "A session description that begins a call.",
            Members(of::<RelayedSignalFields<'_>>),
            golden!("server/offer"),
        ),
        MessageKind::Answer => (
            "The session description that answers an offer.",
            Members(of::<RelayedSignalFields<'_>>),
            golden!("server/answer"),
        ),
        MessageKind::IceCandidate => (
            "A network address to try.",
            Members(of::<RelayedSignalFields<'_>>),
            golden!("server/ice-candidate"),
        ),
        MessageKind::Signal => (
            "Any other signal.",
            Members(of::<RelayedSignalFields<'_>>),
            golden!("server/signal", "server/signal-minimal"),
        ),
        MessageKind::IceServers => (
            "STUN and TURN servers.",
            Members(of::<IceServers<'_>>),
            golden!("server/ice_servers", "server/ice_servers-minimal"),
        ),
        MessageKind::RoomMembers => (
            "Who is in a room.",
            Members(of::<RoomMembers>),
            golden!("server/room_members", "server/room_members-minimal"),
        ),
        MessageKind::MemberJoined => {
            ("A device entered a room.", Members(of::<MemberJoined>), golden!("server/member_joined"))
        }
        MessageKind::MemberLeft => {
            ("A device left a room.", Members(of::<MemberLeft>), golden!("server/member_left"))
        }
        MessageKind::ChatMessage => {
            ("A stored chat message.", Members(of::<ChatFields<'_>>), golden!("server/chat_message"))
        }
        MessageKind::Broadcast => {
            ("Said in a room, not stored.", Members(of::<BroadcastFields<'_>>), golden!("server/broadcast"))
        }
        MessageKind::History => (
            "What was said in a room.",
            Members(of::<HistoryFields<'_>>),
            golden!("server/history", "server/history-minimal"),
        ),
        MessageKind::RoomUpdate => (
            "The state document of a room.",
            Members(of::<RoomUpdateFields<'_>>),
            golden!("server/room_update", "server/room_update-minimal"),
        ),
        MessageKind::Message => (
            "An encrypted message of the mailbox.",
            Members(of::<MailboxFields<'_>>),
            golden!("server/message", "server/message-minimal"),
        ),
        MessageKind::Synced => {
            ("The end of what a sync streamed.", Members(of::<Synced>), golden!("server/synced"))
        }
        MessageKind::Receipt => (
            "Messages arrived or were read.",
            Members(of::<Receipt>),
            golden!("server/receipt", "server/receipt-minimal"),
        ),
        MessageKind::Presence => (
            "How a watched user shows themselves.",
            Members(of::<Presence<'_>>),
            golden!("server/presence", "server/presence-minimal"),
        ),
        MessageKind::Alert => (
            "Something happened to the account.",
            Body::Payload(of::<Alert>),
            golden!("server/alert", "server/alert-minimal"),
        ),
        MessageKind::ContactRequest => (
            "Somebody asks to be allowed.",
            Members(of::<ContactRequest>),
            golden!("server/contact_request", "server/contact_request-minimal"),
        ),
        MessageKind::RoomInvite => (
            "The owner of a private room invites this user.",
            Members(of::<RoomInvite>),
            golden!("server/room_invite"),
        ),
        MessageKind::ServerDraining => {
            ("The server is about to stop.", Members(of::<ServerDraining>), golden!("server/server_draining"))
        }
        MessageKind::Pong => {
            ("The server is there.", Members(no_members), golden!("server/pong", "server/pong-minimal"))
        }
        MessageKind::AuthResponse
        | MessageKind::Auth
        | MessageKind::Join
        | MessageKind::Leave
        | MessageKind::Sync
        | MessageKind::Delivered
        | MessageKind::Read
        | MessageKind::PresenceSubscribe
        | MessageKind::PresenceUnsubscribe
        | MessageKind::Received
        | MessageKind::Ping => return None,
    })
}
