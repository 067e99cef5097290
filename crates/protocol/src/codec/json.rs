//! JSON: each frame is one object. Its text is walked once, for its head and members; the message that the head names is
//! then read from the members. Where that fails, the whole text is read again: that error names place and field.

mod client;
mod head;
mod members;
mod scratch;
mod server;
mod write;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::DecodeError;

pub(super) use client::{decode_client, encode_client};
pub(super) use server::{decode_server, encode_server};

/// The members of messages that are not serialised by a type of their own, for the description.
#[cfg(feature = "openapi")]
pub(crate) mod fields {
    pub(crate) use super::{
        client::{EncryptedFields, SignalFields},
        server::{
            BroadcastFields, ChatFields, HistoryFields, MailboxFields, RoomUpdateFields,
            SignalFields as RelayedSignalFields,
        },
    };
}

/// Members that stand in an object of their own under the name `payload`.
#[derive(Serialize, Deserialize)]
struct InPayload<T> {
    payload: T,
}

/// The frame as UTF-8 text.
fn text_of(frame: &Bytes) -> Result<&str, DecodeError> {
    std::str::from_utf8(frame).map_err(|_| DecodeError::bad_request("the message is not UTF-8"))
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|error| DecodeError::bad_request(explain::<T>(text, &error)))
}

/// What serde_json tells.
#[cfg(not(feature = "field-paths"))]
fn explain<T>(_: &str, error: &serde_json::Error) -> String {
    error.to_string()
}

/// The error with the path of its field. serde_json alone does not tell the path.
#[cfg(feature = "field-paths")]
fn explain<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> String {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(located) if located.path().iter().next().is_some() => {
            format!("`{}`: {}", located.path(), located.inner())
        }
        _ => error.to_string(),
    }
}
