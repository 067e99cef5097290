//! Constructors of the messages that may get more fields (docs/protocol/evolution.md): `new` takes the fields that are
//! always present, and each optional field has a method.

use std::borrow::Cow;

use crate::{
    Ack, Alert, AlertKind, ContactLabel, ContactRequest, DeviceId, Fingerprint, Hash, History,
    HistoryMessage, IceServer, IceServers, MailboxMessage, MemberJoined, MemberLeft, MessageId, Payload,
    PendingRotation, Presence, Receipt, RelayedBroadcast, RelayedSignal, RequestId, RoomId, RoomInvite,
    RoomMember, RoomMembers, RoomUpdate, Secret, Sender, SessionLimits, SignalKind, SignalSignature, Status,
    StoredChatMessage, Synced, Timestamp, UserId,
};

/// Each struct: its required fields, then, after the semicolon, its optional ones with their methods.
macro_rules! build {
    ($($name:ident $(<$lifetime:lifetime>)? { $($field:ident: $type:ty),* $(; $($rest:tt)*)? })*) => {$(
        impl $(<$lifetime>)? $name $(<$lifetime>)? {
            /// With the fields that are always present.
            #[must_use]
            pub const fn new($($field: $type),*) -> Self {
                build!(@literal ($($field)*) $($($rest)*)?)
            }

            $(build!(@methods $($rest)*);)?
        }
    )*};
    (@literal ($($field:ident)*) $($with:ident $option:ident: $type:ty),*) => {
        Self { $($field,)* $($option: None,)* }
    };
    (@methods $($with:ident $option:ident: $type:ty),*) => {$(
        #[doc = concat!("Sets `", stringify!($option), "`.")]
        #[must_use]
        pub fn $with(mut self, $option: impl Into<Option<$type>>) -> Self {
            self.$option = $option.into();
            self
        }
    )*};
}

build! {
    SessionLimits {
        max_message_bytes: u64, max_encrypted_content_bytes: u64, max_unanswered_requests: u64
    }
    PendingRotation { sequence: u64, hash: Hash, cancellation_deadline: Timestamp }
    RelayedSignal<'a> {
        kind: SignalKind, sender: Sender, payload: Payload<'a>;
        with_signature signature: SignalSignature
    }
    Sender { device_id: DeviceId, user_id: UserId; with_fingerprint fingerprint: Fingerprint }
    IceServers<'a> { ice_servers: Vec<IceServer<'a>>; with_expires_at expires_at: Timestamp }
    IceServer<'a> {
        urls: Vec<Cow<'a, str>>;
        with_username username: Cow<'a, str>, with_credential credential: Secret<'a>
    }
    RoomMembers { room: RoomId, count: u64, members: Option<Vec<RoomMember>> }
    RoomMember { user_id: UserId, device_ids: Vec<DeviceId> }
    MemberJoined { room: RoomId, user_id: UserId, device_id: DeviceId }
    MemberLeft { room: RoomId, user_id: UserId, device_id: DeviceId }
    RoomInvite { room: RoomId, user_id: UserId }
    StoredChatMessage<'a> { room: RoomId, seq: u64, sender: Sender, payload: Payload<'a> }
    RelayedBroadcast<'a> { room: RoomId, sender: Sender, payload: Payload<'a> }
    History<'a> {
        room: RoomId, messages: Vec<HistoryMessage<'a>>, complete: bool, first_seq: u64;
        with_last_seq last_seq: u64
    }
    HistoryMessage<'a> { id: Option<RequestId>, timestamp: Timestamp, message: StoredChatMessage<'a> }
    RoomUpdate<'a> { room: RoomId, revision: u64, state: Payload<'a> }
    MailboxMessage<'a> {
        message_id: MessageId, seq: u64, sender_user_id: UserId, sender_device_id: DeviceId, recipient_id: UserId,
        encrypted_content: Cow<'a, [u8]>, created_at: Timestamp;
        with_delivered_at delivered_at: Timestamp, with_read_at read_at: Timestamp
    }
    Synced { seq: u64, first_seq: u64, complete: bool }
    Receipt {
        message_ids: Vec<MessageId>;
        with_delivered_at delivered_at: Timestamp, with_read_at read_at: Timestamp
    }
    Presence<'a> {
        user_id: UserId, status: Status, devices: u32;
        with_note note: Cow<'a, str>, with_last_seen last_seen: Timestamp
    }
    Alert {
        kind: AlertKind;
        with_device_id device_id: DeviceId, with_fingerprint fingerprint: Fingerprint, with_sequence sequence: u64,
        with_hash hash: Hash
    }
    ContactRequest { user_id: UserId; with_label label: ContactLabel }
}

impl Ack<'_> {
    build! { @methods
        with_seq seq: u64, with_message_id message_id: MessageId, with_devices devices: Vec<DeviceId>,
        with_duplicate duplicate: bool
    }
}
