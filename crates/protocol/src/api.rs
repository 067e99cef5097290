//! The bodies of the HTTP API, shared by the server's handlers and the client (docs/http.md).

mod account;
mod contact;
mod device;
mod identity;
mod jwks;
mod message;
mod problem;
mod room;
mod totp;

pub use account::{
    ChallengeRequest, ChallengeResponse, ChangePasswordRequest, LoginRequest, LogoutRequest, RefreshRequest,
    RegisterRequest, TokenResponse, TokenType, VerifyRequest,
};
pub use contact::{Contact, ContactDecision, ContactList, ContactState, RequestContact, SetContact};
pub use device::{Device, DeviceList, RegisterDevice};
pub use identity::{
    CancelRequest, CancelResponse, ChainConflict, ChainHead, ChainResponse, ChainStatement, DeviceKey,
    EncryptionKeyBody, IdentityResponse, LinkRequest, LinkResponse, RotateRequest, StatementStatus, UserKeys,
};
pub use jwks::{JsonWebKey, JsonWebKeySet};
pub use message::{ConversationQuery, StoredMessage, StoredMessageList};
pub use problem::Problem;
pub use room::{
    ChatMessageKind, CreateRoom, RESERVED_ROOM, Room, RoomInvitation, RoomInvitations, RoomMessage,
    RoomMessages, RoomState, RoomVisibility, SetRoomState, StateWriters,
};
pub use totp::{TotpCodeRequest, TotpEnrollment};
