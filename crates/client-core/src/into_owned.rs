//! Messages of the server, free of the frame they were read from.

use std::borrow::Cow;

use aldis_protocol::{
    Ack, History, HistoryMessage, IceServer, IceServers, MailboxMessage, Presence, RelayedBroadcast,
    RelayedSignal, RoomUpdate, ServerMessage, StoredChatMessage,
};

pub(crate) fn ack(ack: Ack<'_>) -> Ack<'static> {
    let Ack { message, status, seq, message_id, devices, duplicate } = ack;
    Ack { message: text(message), status, seq, message_id, devices, duplicate }
}

pub(crate) fn signal(signal: RelayedSignal<'_>) -> RelayedSignal<'static> {
    let RelayedSignal { kind, sender, payload, signature } = signal;
    RelayedSignal { kind, sender, payload: payload.into_owned(), signature }
}

pub(crate) fn ice_servers(servers: IceServers<'_>) -> IceServers<'static> {
    IceServers {
        ice_servers: servers.ice_servers.into_iter().map(ice_server).collect(),
        expires_at: servers.expires_at,
    }
}

pub(crate) fn ice_server(server: IceServer<'_>) -> IceServer<'static> {
    IceServer {
        urls: server.urls.into_iter().map(text).collect(),
        username: server.username.map(text),
        credential: server.credential.map(aldis_protocol::Secret::into_owned),
    }
}

pub(crate) fn history(history: History<'_>) -> History<'static> {
    let History { room, messages, complete, first_seq, last_seq } = history;
    let messages = messages.into_iter().map(history_message).collect();
    History { room, messages, complete, first_seq, last_seq }
}

pub(crate) fn presence(presence: Presence<'_>) -> Presence<'static> {
    let Presence { user_id, status, note, devices, last_seen } = presence;
    Presence { user_id, status, note: note.map(text), devices, last_seen }
}

/// What is no reply and no event of its own: rooms, chat, mailbox.
pub(crate) fn other(message: ServerMessage<'_>) -> Option<ServerMessage<'static>> {
    Some(match message {
        ServerMessage::RoomMembers(members) => ServerMessage::RoomMembers(members),
        ServerMessage::MemberJoined(joined) => ServerMessage::MemberJoined(joined),
        ServerMessage::MemberLeft(left) => ServerMessage::MemberLeft(left),
        ServerMessage::ChatMessage(chat) => ServerMessage::ChatMessage(chat_message(chat)),
        ServerMessage::Broadcast(broadcast) => ServerMessage::Broadcast(RelayedBroadcast {
            room: broadcast.room,
            sender: broadcast.sender,
            payload: broadcast.payload.into_owned(),
        }),
        ServerMessage::RoomUpdate(update) => ServerMessage::RoomUpdate(RoomUpdate {
            room: update.room,
            revision: update.revision,
            state: update.state.into_owned(),
        }),
        ServerMessage::Message(message) => ServerMessage::Message(mailbox_message(message)),
        ServerMessage::Receipt(receipt) => ServerMessage::Receipt(receipt),
        ServerMessage::AuthChallenge(_)
        | ServerMessage::AuthSuccess(_)
        | ServerMessage::AuthFailure(_)
        | ServerMessage::Connected(_)
        | ServerMessage::AuthRequired(_)
        | ServerMessage::Ack(_)
        | ServerMessage::Error(_)
        | ServerMessage::Signal(_)
        | ServerMessage::IceServers(_)
        | ServerMessage::History(_)
        | ServerMessage::Synced(_)
        | ServerMessage::Presence(_)
        | ServerMessage::Alert(_)
        | ServerMessage::ContactRequest(_)
        | ServerMessage::RoomInvite(_)
        | ServerMessage::ServerDraining(_)
        | ServerMessage::Pong => return None,
    })
}

fn history_message(entry: HistoryMessage<'_>) -> HistoryMessage<'static> {
    let HistoryMessage { id, timestamp, message } = entry;
    HistoryMessage { id, timestamp, message: chat_message(message) }
}

pub(crate) fn chat_message(message: StoredChatMessage<'_>) -> StoredChatMessage<'static> {
    let StoredChatMessage { room, seq, sender, payload } = message;
    StoredChatMessage { room, seq, sender, payload: payload.into_owned() }
}

pub(crate) fn mailbox_message(message: MailboxMessage<'_>) -> MailboxMessage<'static> {
    MailboxMessage {
        message_id: message.message_id,
        seq: message.seq,
        sender_user_id: message.sender_user_id,
        sender_device_id: message.sender_device_id,
        recipient_id: message.recipient_id,
        encrypted_content: Cow::Owned(message.encrypted_content.into_owned()),
        created_at: message.created_at,
        delivered_at: message.delivered_at,
        read_at: message.read_at,
    }
}

fn text(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}
