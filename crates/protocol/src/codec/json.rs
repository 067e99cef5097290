//! JSON: each frame is one object, `type` first.

mod client;
mod server;

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, IgnoredAny, MapAccess},
};
use serde_json::value::RawValue;

use super::DecodeError;
use crate::{MessageKind, RequestId, Timestamp, limits::MAX_JSON_DEPTH, payload::depth_exceeds};

pub(super) use client::{decode_client, encode_client};
pub(super) use server::{decode_server, encode_server};

/// What surrounds every message.
struct Head {
    kind: MessageKind,
    id: Option<RequestId>,
    timestamp: Option<Timestamp>,
}

/// Members that stand in an object of their own under the name `payload`.
#[derive(Serialize, Deserialize)]
struct InPayload<T> {
    payload: T,
}

/// A message without members of its own.
#[derive(Serialize)]
struct NoMembers {}

/// Reads the head of a frame. The caller then reads the same text as the message that the head names.
fn read_head(text: &str, from_client: bool) -> Result<Head, DecodeError> {
    if depth_exceeds(text.as_bytes(), MAX_JSON_DEPTH) {
        return Err(DecodeError::bad_request(format!("the message nests deeper than {MAX_JSON_DEPTH} levels")));
    }
    let fields: HeadFields<'_> = parse(text)?;
    let id = fields.id.map(|raw| named("id", parse(raw.get()))).transpose();
    let (id, malformed_id) = id.map_or_else(|error| (None, Some(error)), |id| (id.flatten(), None));
    if let Some(error) = malformed_id {
        return Err(error);
    }
    if let (true, Some(field)) = (from_client, fields.sender_field) {
        return Err(DecodeError::bad_request(format!("`{field}` is the server's to set")).with_id(id));
    }
    let Some(name) = fields.kind else {
        return Err(DecodeError::bad_request("missing field `type`").with_id(id));
    };
    let name: Cow<'_, str> = match named("type", parse_text(name.get())) {
        Ok(name) => name,
        Err(error) => return Err(error.with_id(id)),
    };
    let Some(kind) = MessageKind::from_name(&name) else {
        return Err(DecodeError::unknown_type(&name).with_id(id));
    };
    let timestamp = match fields.timestamp {
        Some(raw) if !from_client => named("timestamp", parse(raw.get()))?,
        _ => None,
    };
    Ok(Head { kind, id, timestamp })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|error| DecodeError::bad_request(explain::<T>(text, &error)))
}

fn parse_text(text: &str) -> Result<Cow<'_, str>, DecodeError> {
    parse::<Text<'_>>(text).map(|text| text.0)
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The error with the path to the field that it is about, which serde_json alone does not tell.
fn explain<'a, T: Deserialize<'a>>(text: &'a str, error: &serde_json::Error) -> String {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(located) if located.path().iter().next().is_some() => {
            format!("`{}`: {}", located.path(), located.inner())
        }
        _ => error.to_string(),
    }
}

fn named<T>(field: &str, result: Result<T, DecodeError>) -> Result<T, DecodeError> {
    result.map_err(|error| DecodeError { message: format!("`{field}`: {}", error.message), ..error })
}

/// Writes a frame: the head, the members of `body`, and `payload` as it is.
fn write(head: &Head, body: &impl Serialize, payload: Option<&[u8]>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(256 + payload.map_or(0, <[u8]>::len));
    frame.extend_from_slice(b"{\"type\":\"");
    frame.extend_from_slice(head.kind.as_str().as_bytes());
    frame.push(b'"');
    if let Some(id) = &head.id {
        frame.extend_from_slice(b",\"id\":\"");
        frame.extend_from_slice(id.as_str().as_bytes());
        frame.push(b'"');
    }
    if let Some(timestamp) = head.timestamp {
        write_text(&mut frame, format_args!(",\"timestamp\":\"{timestamp}\""));
    }
    write_members(&mut frame, body);
    if let Some(payload) = payload {
        frame.extend_from_slice(b",\"payload\":");
        frame.extend_from_slice(payload);
    }
    frame.push(b'}');
    frame
}

/// Writes the members of `body` behind those that are there, without the brace that closes the object.
fn write_members(frame: &mut Vec<u8>, body: &impl Serialize) {
    let start = frame.len();
    // Writing JSON into memory fails for maps with keys that are no strings, and no message has one.
    if serde_json::to_writer(&mut *frame, body).is_err() {
        frame.truncate(start);
        return;
    }
    if &frame[start..] == b"{}" {
        frame.truncate(start);
    } else {
        frame[start] = b',';
        frame.pop();
    }
}

fn write_text(frame: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    use std::io::Write;
    // A Vec takes every write.
    let _ = frame.write_fmt(text);
}

/// The members of the envelope, with all others skipped.
#[derive(Default)]
struct HeadFields<'a> {
    kind: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    sender_field: Option<String>,
}

impl<'de: 'a, 'a> Deserialize<'de> for HeadFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> de::Visitor<'de> for FieldsVisitor {
            type Value = HeadFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeadFields<'de>, A::Error> {
                let mut fields = HeadFields::default();
                while let Some(field) = map.next_key()? {
                    match field {
                        Field::Kind => set(&mut fields.kind, "type", map.next_value()?)?,
                        Field::Id => set(&mut fields.id, "id", map.next_value()?)?,
                        Field::Timestamp => fields.timestamp = Some(map.next_value()?),
                        Field::Sender(name) => {
                            fields.sender_field = Some(name);
                            map.next_value::<IgnoredAny>()?;
                        }
                        Field::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

fn set<'a, E: de::Error>(
    field: &mut Option<&'a RawValue>,
    name: &'static str,
    value: &'a RawValue,
) -> Result<(), E> {
    match field.replace(value) {
        Some(_) => Err(E::duplicate_field(name)),
        None => Ok(()),
    }
}

enum Field {
    Kind,
    Id,
    Timestamp,
    Sender(String),
    Other,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldVisitor;
        impl de::Visitor<'_> for FieldVisitor {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Field, E> {
                Ok(match name {
                    "type" => Field::Kind,
                    "id" => Field::Id,
                    "timestamp" => Field::Timestamp,
                    name if name.starts_with("sender_") => Field::Sender(name.to_owned()),
                    _ => Field::Other,
                })
            }
        }
        deserializer.deserialize_identifier(FieldVisitor)
    }
}

/// A frame's bytes as the text that they have to be.
fn text_of(frame: &Bytes) -> Result<&str, DecodeError> {
    std::str::from_utf8(frame).map_err(|_| DecodeError::bad_request("the message is not UTF-8"))
}
