//! All frames: their members, replies and golden examples.

use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
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
#[derive(Clone, Copy)]
pub(super) struct Described {
    pub(super) side: Side,
    pub(super) kind: MessageKind,
    /// A summary in one sentence.
    pub(super) summary: &'static str,
    pub(super) body: Body,
    /// The replies besides `error`; empty if there are none, and for frames of the server.
    pub(super) replies: &'static [MessageKind],
    /// Golden frames.
    pub(super) examples: &'static [&'static str],
}

/// Where the message's own members are.
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

/// Every frame: those of clients, then those of servers, each in the order of the kinds.
pub(super) fn all() -> impl Iterator<Item = Described> {
    CLIENT.iter().chain(SERVER).copied()
}

/// The type's schema; those that it refers to are put into `components`.
fn of<T: ToSchema>(components: &mut Components) -> RefOr<Schema> {
    T::schemas(components);
    T::schema()
}

/// Of a message without members of its own.
#[derive(ToSchema)]
struct NoMembers {}

/// Each frame of a side: its kind, a summary, where its members stand and what they are, the replies, golden frames.
macro_rules! frames {
    ($side:ident in $folder:literal: $(
        $kind:ident $summary:literal $body:ident($($type:ty),+) [$($reply:ident)*] $($golden:literal)+;
    )*) => {
        &[$(Described {
            side: Side::$side,
            kind: MessageKind::$kind,
            summary: $summary,
            body: Body::$body($(of::<$type>),+),
            replies: &[$(MessageKind::$reply),*],
            examples: &[$(include_str!(concat!("../../tests/golden/", $folder, "/", $golden, ".json"))),+],
        }),*]
    };
}

const CLIENT: &[Described] = frames! { Client in "client":
    AuthResponse "Proves a key by the signed answer to a challenge."
        Members(AuthResponse<'_>) [AuthSuccess Connected AuthFailure] "auth_response" "auth_response-minimal";
    Auth "Shows a token, first on a socket or again on a live session."
        OptionalPayload(Auth<'_>) [AuthSuccess Connected AuthFailure] "auth" "auth-minimal";
    Offer "Sends a session description that begins a call." WithPayload(SignalFields<'_>, Payload<'_>) [Ack] "offer";
    Answer "Sends the session description that answers an offer."
        WithPayload(SignalFields<'_>, Payload<'_>) [Ack] "answer";
    IceCandidate "Sends a network address to try." WithPayload(SignalFields<'_>, Payload<'_>) [Ack] "ice-candidate";
    Signal "Sends any other signal." WithPayload(SignalFields<'_>, Payload<'_>) [Ack] "signal" "signal-minimal";
    IceServers "Asks for STUN and TURN servers." Members(NoMembers) [IceServers] "ice_servers";
    Join "Enters a room." Members(Join) [Ack] "join";
    Leave "Leaves a room." Members(Leave) [Ack] "leave";
    ChatMessage "Says something in a room; it is stored and numbered."
        WithPayload(ChatMessage<'_>, ChatContent<'_>) [Ack] "chat_message" "chat_message-minimal";
    Broadcast "Says something in a room; it is neither stored nor numbered."
        WithPayload(Broadcast<'_>, Payload<'_>) [Ack] "broadcast" "broadcast-minimal";
    History "Asks for what was said in a room." Members(HistoryRequest) [History] "history" "history-minimal";
    Message "Sends an encrypted message to a user's mailbox." Members(EncryptedFields<'_>) [Ack] "message";
    Sync "Asks for the mailbox from a number on." Members(Sync) [Message Synced] "sync" "sync-minimal";
    Delivered "Says that messages arrived." Members(Delivered) [Ack] "delivered";
    Read "Says that messages were read." Members(Read) [Ack] "read";
    Presence "Sets how this device shows itself." Members(SetPresence<'_>) [Ack] "presence" "presence-minimal";
    PresenceSubscribe "Asks to be told of users' presence." Members(PresenceSubscribe) [Ack] "presence_subscribe";
    PresenceUnsubscribe "Asks to be told no more." Members(PresenceUnsubscribe) [Ack] "presence_unsubscribe";
    Received "Confirms how many counted messages arrived." Members(Received) [] "received";
    Ping "Asks whether the server is there." Members(NoMembers) [Pong] "ping" "ping-minimal";
};

const SERVER: &[Described] = frames! { Server in "server":
    AuthChallenge "Names what the client's key has to sign." Members(AuthChallenge<'_>) [] "auth_challenge";
    AuthSuccess "The proof was good." Members(AuthSuccess) [] "auth_success" "auth_success-minimal";
    AuthFailure "The proof was refused." Members(AuthFailure<'_>) [] "auth_failure" "auth_failure-minimal";
    Connected "The session is there." Members(Connected<'_>) [] "connected";
    AuthRequired "The token is about to expire." Payload(AuthRequired<'_>) [] "auth_required";
    Ack "The request was carried out." Members(Ack<'_>) [] "ack" "ack-minimal";
    Error "The request was refused, or the connection is about to be closed."
        Payload(ErrorReply<'_>) [] "error" "error-minimal";
    Offer "A session description that begins a call." Members(RelayedSignalFields<'_>) [] "offer";
    Answer "The session description that answers an offer." Members(RelayedSignalFields<'_>) [] "answer";
    IceCandidate "A network address to try." Members(RelayedSignalFields<'_>) [] "ice-candidate";
    Signal "Any other signal." Members(RelayedSignalFields<'_>) [] "signal" "signal-minimal";
    IceServers "STUN and TURN servers." Members(IceServers<'_>) [] "ice_servers" "ice_servers-minimal";
    RoomMembers "Who is in a room." Members(RoomMembers) [] "room_members" "room_members-minimal";
    MemberJoined "A device entered a room." Members(MemberJoined) [] "member_joined";
    MemberLeft "A device left a room." Members(MemberLeft) [] "member_left";
    ChatMessage "A stored chat message." Members(ChatFields<'_>) [] "chat_message";
    Broadcast "Said in a room, not stored." Members(BroadcastFields<'_>) [] "broadcast";
    History "What was said in a room." Members(HistoryFields<'_>) [] "history" "history-minimal";
    RoomUpdate "The state document of a room." Members(RoomUpdateFields<'_>) [] "room_update" "room_update-minimal";
    Message "An encrypted message of the mailbox." Members(MailboxFields<'_>) [] "message" "message-minimal";
    Synced "The end of what a sync streamed." Members(Synced) [] "synced";
    Receipt "Messages arrived or were read." Members(Receipt) [] "receipt" "receipt-minimal";
    Presence "How a watched user shows themselves." Members(Presence<'_>) [] "presence" "presence-minimal";
    Alert "Something happened to the account." Payload(Alert) [] "alert" "alert-minimal";
    ContactRequest "Somebody asks to be allowed."
        Members(ContactRequest) [] "contact_request" "contact_request-minimal";
    ServerDraining "The server is about to stop." Members(ServerDraining) [] "server_draining";
    Pong "The server is there." Members(NoMembers) [] "pong" "pong-minimal";
    RoomInvite "The owner of a private room invites this user." Members(RoomInvite) [] "room_invite";
};
