//! What the machine wants done, as JSON.

use aldis_client_core::{
    Event, Numbered, Output, Reply, Restorable, Session, State, TokenReason,
    protocol::{Codec, RequestId, ServerFrame, ServerMessage, SessionLimits, Timestamp},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failure::{Failure, milliseconds};

/// A frame as on the wire.
type Frame = Box<RawValue>;

#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum Wanted {
    AskToken { reason: &'static str },
    Sign { bytes: Vec<u8> },
    Dial,
    Send { frame: String },
    Close,
    HangUp,
    State { state: &'static str },
    Session(SessionInfo),
    Tell { event: Told },
    Store { frame: Frame },
    Cursor { seq: u64 },
    Settle { request: u32, reply: Frame },
    Fail { request: u32, error: Failure },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionInfo {
    id: String,
    user_id: String,
    device_id: String,
    resumed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    limits: SessionLimits,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum Told {
    Connected,
    Closed {
        error: Failure,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_in: Option<u64>,
    },
    AuthRequired {
        expires_at: Timestamp,
    },
    Reauthenticated {
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    ReauthenticationFailed {
        error: Failure,
    },
    SignalRefused {
        reason: String,
        signal: String,
        device_id: String,
        user_id: String,
        total: u64,
    },
    Missed {
        #[serde(flatten)]
        of: Of,
        first: u64,
        last: u64,
    },
    StartedOver {
        #[serde(flatten)]
        of: Of,
        newest: u64,
    },
    NotStored {
        error: String,
        message_id: String,
        retry_in: u64,
    },
    NotRestored {
        #[serde(flatten)]
        of: Of,
        error: Failure,
    },
    Draining {
        reconnect_after: u64,
    },
    Error {
        code: &'static str,
        message: String,
    },
    Frame {
        frame: Frame,
    },
}

/// What an event is about: a room, or something named.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Of {
    Room(String),
    Of(&'static str),
}

impl Wanted {
    pub(crate) fn from_output(output: Output<u32>) -> Option<Self> {
        Some(match output {
            Output::AskToken(reason) => Self::AskToken { reason: reason_name(reason) },
            Output::Sign(request) => Self::Sign { bytes: request.bytes().to_vec() },
            Output::Dial => Self::Dial,
            Output::Send(frame) => Self::Send { frame: String::from_utf8_lossy(&frame).into_owned() },
            // Pings are messages here.
            Output::Ping => return None,
            Output::Close => Self::Close,
            Output::HangUp => Self::HangUp,
            Output::State(state) => Self::State { state: state_name(state) },
            Output::Session(session) => Self::Session(session.into()),
            Output::Event(event) => Self::Tell { event: told(event)? },
            Output::Store(message) => Self::Store {
                frame: frame(None, message.timestamp, ServerMessage::Message(message.message))?,
            },
            Output::Cursor(seq) => Self::Cursor { seq },
            Output::Settle(request, Ok(reply)) => Self::Settle { request, reply: frame_of(reply)? },
            Output::Settle(request, Err(error)) => Self::Fail { request, error: Failure::from(&error) },
        })
    }
}

impl From<Session> for SessionInfo {
    fn from(session: Session) -> Self {
        Self {
            id: session.id.to_string(),
            user_id: session.user_id.to_string(),
            device_id: session.device_id.to_string(),
            resumed: session.resumed,
            expires_at: session.expires_at,
            limits: session.limits,
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other events are frames of the server")]
fn told(event: Event) -> Option<Told> {
    Some(match event {
        Event::Connected(_) => Told::Connected,
        Event::Closed { cause, retry_in } => {
            Told::Closed { error: Failure::from(&cause), retry_in: milliseconds(retry_in) }
        }
        Event::AuthRequired { expires_at } => Told::AuthRequired { expires_at },
        Event::Reauthenticated { expires_at } => Told::Reauthenticated { expires_at },
        Event::ReauthenticationFailed(error) => Told::ReauthenticationFailed { error: Failure::from(&error) },
        Event::SignalRefused { reason, kind, sender, total } => Told::SignalRefused {
            reason: reason.to_string(),
            signal: kind.message_kind().as_str().to_owned(),
            device_id: sender.device_id.to_string(),
            user_id: sender.user_id.to_string(),
            total,
        },
        Event::Missed { of, first, last } => Told::Missed { of: of.into(), first, last },
        Event::StartedOver { of, newest } => Told::StartedOver { of: of.into(), newest },
        Event::MessageNotStored { message_id, error, retry_in } => Told::NotStored {
            error: error.to_string(),
            message_id: message_id.to_string(),
            retry_in: milliseconds(Some(retry_in)).unwrap_or_default(),
        },
        Event::NotRestored { what, refusal } => {
            Told::NotRestored { of: what.into(), error: Failure::from(&refusal) }
        }
        Event::ServerDraining { reconnect_after } => {
            Told::Draining { reconnect_after: milliseconds(Some(reconnect_after)).unwrap_or_default() }
        }
        Event::Error { code, message } => Told::Error { code: code.as_str(), message },
        event => Told::Frame { frame: frame_of_event(event)? },
    })
}

/// The events that are frames of the server.
#[expect(clippy::wildcard_enum_match_arm, reason = "`told` has taken the others")]
fn frame_of_event(event: Event) -> Option<Frame> {
    let fresh = Timestamp::from_ms(0);
    Some(match event {
        Event::Chat(chat) => frame(chat.id, chat.timestamp, ServerMessage::ChatMessage(chat.chat))?,
        Event::Signal(signal) => frame(signal.id, signal.timestamp, ServerMessage::Signal(signal.signal))?,
        Event::IceServers(servers) => frame(None, fresh, ServerMessage::IceServers(servers))?,
        Event::Presence(presence) => frame(None, fresh, ServerMessage::Presence(presence))?,
        Event::Alert(alert) => frame(None, fresh, ServerMessage::Alert(alert))?,
        Event::ContactRequest(request) => frame(None, fresh, ServerMessage::ContactRequest(request))?,
        Event::RoomInvite(invite) => frame(None, fresh, ServerMessage::RoomInvite(invite))?,
        Event::Message(message) => frame(message.id, message.timestamp, message.message)?,
        _ => return None,
    })
}

fn frame_of(reply: Reply) -> Option<Frame> {
    let fresh = Timestamp::from_ms(0);
    frame(
        None,
        fresh,
        match reply {
            Reply::Ack(ack) => ServerMessage::Ack(ack),
            Reply::IceServers(servers) => ServerMessage::IceServers(servers),
            Reply::History(history) => ServerMessage::History(history),
            Reply::Synced(synced) => ServerMessage::Synced(synced),
            Reply::Pong | _ => ServerMessage::Pong,
        },
    )
}

fn frame(id: Option<RequestId>, timestamp: Timestamp, message: ServerMessage<'_>) -> Option<Frame> {
    let bytes = Codec::Json.encode_server(&ServerFrame { id, timestamp, message });
    RawValue::from_string(String::from_utf8_lossy(&bytes).into_owned()).ok()
}

impl From<Numbered> for Of {
    fn from(of: Numbered) -> Self {
        match of {
            Numbered::Room(room) => Self::Room(room.to_string()),
            Numbered::Mailbox => Self::Of("mailbox"),
        }
    }
}

impl From<Restorable> for Of {
    fn from(what: Restorable) -> Self {
        match what {
            Restorable::Room(room) => Self::Room(room.to_string()),
            Restorable::Presence => Self::Of("presence"),
            Restorable::Subscriptions(_) => Self::Of("subscriptions"),
            Restorable::Mailbox | _ => Self::Of("mailbox"),
        }
    }
}

const fn state_name(state: State) -> &'static str {
    match state {
        State::Disconnected => "closed",
        State::Connecting => "connecting",
        State::Authenticating => "authenticating",
        State::Connected => "connected",
        State::Reconnecting => "reconnecting",
    }
}

const fn reason_name(reason: TokenReason) -> &'static str {
    match reason {
        TokenReason::First => "first",
        TokenReason::Reconnecting => "reconnecting",
        TokenReason::Expiring => "expiring",
        TokenReason::Expired => "expired",
        TokenReason::Invalid | _ => "invalid",
    }
}
