//! `into_owned`: messages that no longer borrow from their frame.

use std::borrow::Cow;

use crate::{
    Ack, Auth, AuthChallenge, AuthFailure, AuthRequired, AuthResponse, Broadcast, ChatContent, ChatMessage,
    ClientFrame, ClientMessage, Connected, EncryptedMessage, ErrorReply, History, HistoryMessage, IceServer,
    IceServers, MailboxMessage, Payload, Presence, RelayedBroadcast, RelayedSignal, Resume, RoomUpdate,
    Secret, ServerFrame, ServerMessage, SessionInfo, SetPresence, Signal, StoredChatMessage,
};

/// A value that may borrow, and its owned form.
trait Own {
    type Owned;

    fn own(self) -> Self::Owned;
}

impl<T: ToOwned + ?Sized + 'static> Own for Cow<'_, T>
where
    T::Owned: 'static,
{
    type Owned = Cow<'static, T>;

    fn own(self) -> Cow<'static, T> {
        Cow::Owned(self.into_owned())
    }
}

impl<T: Own> Own for Option<T> {
    type Owned = Option<T::Owned>;

    fn own(self) -> Option<T::Owned> {
        self.map(T::own)
    }
}

impl<T: Own> Own for Vec<T> {
    type Owned = Vec<T::Owned>;

    fn own(self) -> Vec<T::Owned> {
        self.into_iter().map(T::own).collect()
    }
}

macro_rules! own_by_into_owned {
    ($($name:ident)*) => {$(
        impl Own for $name<'_> {
            type Owned = $name<'static>;

            fn own(self) -> $name<'static> {
                self.into_owned()
            }
        }
    )*};
}

own_by_into_owned! { Payload Secret }

/// Each struct: the fields that borrow, then, after the semicolon, the fields that do not.
macro_rules! into_owned {
    ($($name:ident { $($borrows:ident),+; $($owns:ident),* })*) => {
        $(
            impl $name<'_> {
                /// The same value, no longer borrowed from its frame.
                #[must_use]
                pub fn into_owned(self) -> $name<'static> {
                    let Self { $($borrows,)+ $($owns,)* } = self;
                    $name { $($borrows: $borrows.own(),)+ $($owns,)* }
                }
            }
        )*
        own_by_into_owned! { $($name)* }
    };
}

into_owned! {
    ClientFrame { message; id }
    AuthResponse { totp_code, resume; public_key, signature, device_id }
    Auth { token, resume; device_id }
    Resume { token; received }
    Signal { payload; kind, target, signature }
    ChatMessage { payload; room }
    ChatContent { content; }
    Broadcast { payload; room }
    EncryptedMessage { encrypted_content; recipient }
    SetPresence { note; status }

    ServerFrame { message; id, timestamp }
    AuthChallenge { audience; challenge, expires_at_ms }
    AuthFailure { message; code, rotation }
    Connected { message, session; device_id, user_id, heartbeat, limits }
    SessionInfo { resume_token; id, resume_window, resumed, replayed }
    AuthRequired { reason; expires_at }
    Ack { message; status, seq, message_id, devices, duplicate }
    ErrorReply { message; code, reconnect, retry_after, close }
    RelayedSignal { payload; kind, sender, signature }
    IceServers { ice_servers; expires_at }
    IceServer { urls, username, credential; }
    StoredChatMessage { payload; room, seq, sender }
    RelayedBroadcast { payload; sender, room }
    History { messages; room, complete, first_seq, last_seq }
    HistoryMessage { message; id, timestamp }
    RoomUpdate { state; room, revision }
    MailboxMessage {
        encrypted_content;
        message_id, seq, sender_user_id, sender_device_id, recipient_id, created_at, delivered_at, read_at
    }
    Presence { note; user_id, status, devices, last_seen }
}

/// Each enum: the variants that borrow, the variants that do not, and the variants without a message.
macro_rules! variants_into_owned {
    ($name:ident { $($borrows:ident),+; $($owns:ident),+; $($empty:ident),+ }) => {
        impl $name<'_> {
            /// The same value, no longer borrowed from its frame.
            #[must_use]
            pub fn into_owned(self) -> $name<'static> {
                match self {
                    $(Self::$borrows(message) => $name::$borrows(message.into_owned()),)+
                    $(Self::$owns(message) => $name::$owns(message),)+
                    $(Self::$empty => $name::$empty,)+
                }
            }
        }
        own_by_into_owned! { $name }
    };
}

variants_into_owned! {
    ClientMessage {
        AuthResponse, Auth, Signal, ChatMessage, Broadcast, Message, Presence;
        Join, Leave, History, Sync, Delivered, Read, PresenceSubscribe, PresenceUnsubscribe, Received;
        IceServers, Ping
    }
}

variants_into_owned! {
    ServerMessage {
        AuthChallenge, AuthFailure, Connected, AuthRequired, Ack, Error, Signal, IceServers, ChatMessage, Broadcast,
        History, RoomUpdate, Message, Presence;
        AuthSuccess, RoomMembers, MemberJoined, MemberLeft, Synced, Receipt, Alert, ContactRequest, RoomInvite,
        ServerDraining, Unknown;
        Pong
    }
}
