//! A request of the application, from JSON to the core's words.

use std::{borrow::Cow, str::FromStr};

use aldis_client_core::protocol::{
    Broadcast, ChatMessage, ClientMessage, EncryptedMessage, HistoryRequest, Join, Leave, Payload,
    PresenceSubscribe, PresenceUnsubscribe, Read, SetPresence, Signal, SignalKind, Target,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::connection::bad;

/// The members of all requests. They have one type, since each type that is read costs bytes.
#[derive(Debug, Deserialize)]
struct Request<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    room: Option<&'a str>,
    /// A user, a device or a status.
    to: Option<Cow<'a, str>>,
    note: Option<Cow<'a, str>>,
    #[serde(default)]
    ids: Vec<Cow<'a, str>>,
    since: Option<u64>,
    limit: Option<u32>,
    content: Option<Vec<u8>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

pub(crate) fn read(text: &str) -> Result<ClientMessage<'_>, String> {
    let request: Request<'_> = serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?;
    Ok(match request.kind {
        "join" => ClientMessage::Join(Join { room: Some(request.room()?) }),
        "leave" => ClientMessage::Leave(Leave { room: Some(request.room()?) }),
        "chat_message" => ClientMessage::ChatMessage(ChatMessage {
            room: Some(request.room()?),
            payload: request.payload()?,
        }),
        "broadcast" => {
            ClientMessage::Broadcast(Broadcast { room: Some(request.room()?), payload: request.payload()? })
        }
        "history" => ClientMessage::History(HistoryRequest {
            room: Some(request.room()?),
            since_seq: request.since.unwrap_or_default(),
            limit: request.limit,
        }),
        "message" => ClientMessage::Message(EncryptedMessage {
            recipient: request.to("the recipient")?,
            encrypted_content: request.content.unwrap_or_default().into(),
        }),
        "read" => ClientMessage::Read(Read { message_ids: request.ids("a message id")? }),
        "presence" => {
            let status = request.to("the status")?;
            ClientMessage::Presence(SetPresence { status, note: request.note })
        }
        "presence_subscribe" => {
            ClientMessage::PresenceSubscribe(PresenceSubscribe { user_ids: request.ids("a user")? })
        }
        "presence_unsubscribe" => {
            ClientMessage::PresenceUnsubscribe(PresenceUnsubscribe { user_ids: request.ids("a user")? })
        }
        "ice_servers" => ClientMessage::IceServers,
        "ping" => ClientMessage::Ping,
        kind => ClientMessage::Signal(request.signal(kind)?),
    })
}

impl<'a> Request<'a> {
    fn room<T: FromStr>(&self) -> Result<T, String> {
        parse("the room", self.room.unwrap_or_default())
    }

    fn to<T: FromStr>(&self, what: &str) -> Result<T, String> {
        parse(what, self.to.as_deref().unwrap_or_default())
    }

    fn ids<T: FromStr>(&self, what: &str) -> Result<Vec<T>, String> {
        self.ids.iter().map(|id| parse(what, id)).collect()
    }

    fn payload(&self) -> Result<Payload<'a>, String> {
        let payload = self.payload.map_or("null", RawValue::get);
        Payload::from_json(payload).map_err(|error| bad(&error.to_string()))
    }

    /// A signal goes to the user in `ids`, else to the device in `to`.
    fn signal(&self, kind: &str) -> Result<Signal<'a>, String> {
        let kind = match kind {
            "offer" => SignalKind::Offer,
            "answer" => SignalKind::Answer,
            "ice-candidate" => SignalKind::IceCandidate,
            "signal" => SignalKind::Signal,
            _ => return Err(bad("there is no such request")),
        };
        let target = match self.ids.first() {
            Some(user) => Target::User(parse("the user", user)?),
            None => Target::Device(self.to("the device")?),
        };
        Ok(Signal { kind, target, payload: self.payload()?, signature: None })
    }
}

fn parse<T: FromStr>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| bad(&format!("{what} is malformed")))
}
