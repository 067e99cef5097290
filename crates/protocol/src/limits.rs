//! The limits of the protocol, each with its reason.

use std::time::Duration;

/// What a client may send in one message after authentication: room for any session description.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// The same before authentication: room for a token of 4 KiB, and little for a stranger to fill.
pub const MAX_UNAUTHENTICATED_MESSAGE_BYTES: usize = 8 * 1024;
/// What a client accepts: a relayed message grows by its envelope.
pub const MAX_RELAYED_MESSAGE_BYTES: usize = 80 * 1024;
/// How much a `history` answer may hold besides one message.
pub const MAX_HISTORY_BYTES: usize = 256 * 1024;
/// Encrypted content before base64: with base64 and the envelope it still fits a message.
pub const MAX_ENCRYPTED_CONTENT_BYTES: usize = 48_000;
/// A room's state document: with its frame it fits a message.
pub const MAX_ROOM_STATE_BYTES: usize = 32 * 1024;
/// Messages that a room keeps, for [`ROOM_HISTORY_TIME`] at the most.
pub const ROOM_HISTORY: u64 = 10_000;
/// How long a room keeps a message.
pub const ROOM_HISTORY_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Rooms that a session may be in.
pub const MAX_ROOMS_PER_SESSION: usize = 100;
/// Rooms that a user may own.
pub const MAX_ROOMS_PER_OWNER: u32 = 100;
/// Users in a room up to which it is told who they are, who joins and who leaves.
pub const MAX_TOLD_ROOM_USERS: usize = 256;
/// A word that stands for a value: a type, status, kind or code. The longest today has 23 characters.
pub const MAX_WORD_LEN: usize = 32;
/// How deep JSON may nest.
pub const MAX_JSON_DEPTH: usize = 128;
/// The first integer that JavaScript cannot tell from its neighbour; sequence numbers stay below.
pub const SEQUENCE_LIMIT: u64 = 1 << 53;
/// A presence note, in characters.
pub const MAX_NOTE_CHARS: usize = 140;
/// Users in one `presence_subscribe`.
pub const MAX_USERS_PER_SUBSCRIBE: usize = 100;
/// Users whose presence one session may watch.
pub const MAX_SUBSCRIPTIONS: usize = 500;
/// Message ids in one `delivered` or `read`.
pub const MAX_IDS_PER_RECEIPT: usize = 500;
/// The `limit` of `history` and `sync` where none is given.
pub const DEFAULT_PAGE: u32 = 100;
/// The largest `limit`; a larger one is cut to it.
pub const MAX_PAGE: u32 = 500;
/// How long a client has to prove itself on a socket. Enough for a round trip on the slowest network.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A longer token is refused without being parsed.
pub const MAX_TOKEN_BYTES: usize = 4 * 1024;
/// Requests of one client that may wait for their reply; the server reads no further until it has answered.
pub const MAX_UNANSWERED_REQUESTS: usize = 128;
/// Replies kept, so that a request sent again gets its first answer.
pub const REMEMBERED_REPLIES: usize = 256;
/// Malformed messages in a row after which the connection is closed.
pub const MAX_ERRORS_IN_A_ROW: u32 = 10;
/// Live connections of one user.
pub const MAX_CONNECTIONS_PER_USER: usize = 32;
/// Frames that may wait for one session's socket.
pub const QUEUE_FRAMES: usize = 1024;
/// Bytes that may wait for one session's socket.
pub const QUEUE_BYTES: usize = 1024 * 1024;
/// A write that takes longer closes the socket.
pub const WRITE_STALL: Duration = Duration::from_secs(10);
/// The server's WebSocket ping; below the 60 s after which many routers forget a connection.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// How long the server waits for the pong.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// The client's own ping, and how long it waits for the pong.
pub const CLIENT_PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long before a token's expiry `auth_required` comes.
pub const AUTH_REQUIRED_BEFORE: Duration = Duration::from_secs(60);
/// How long the client has to answer it.
pub const REAUTHENTICATION_TIME: Duration = Duration::from_secs(30);
/// A session whose socket broke waits this long for the next one, by default.
pub const DEFAULT_RESUME_WINDOW: Duration = Duration::from_secs(30);
/// How long a challenge on a socket lives.
pub const SOCKET_CHALLENGE_TIME: Duration = Duration::from_secs(10);
/// How long a challenge over HTTP lives.
pub const HTTP_CHALLENGE_TIME: Duration = Duration::from_secs(60);
/// A challenge that lives longer is refused by clients.
pub const MAX_CHALLENGE_TIME: Duration = Duration::from_secs(120);
/// An email address; the longest that mail can be sent to.
pub const MAX_EMAIL_BYTES: usize = 254;
/// The fewest characters of a password.
pub const MIN_PASSWORD_CHARACTERS: usize = 8;
/// The most bytes of a password, so that none costs more than its hash.
pub const MAX_PASSWORD_BYTES: usize = 1_024;
/// The reason of a rotation, for people.
pub const MAX_REASON_BYTES: usize = 200;
/// The label of a contact request, in characters.
pub const MAX_LABEL_CHARS: usize = 80;
/// The name of a device, for people.
pub const MAX_DEVICE_NAME_CHARS: usize = 100;
