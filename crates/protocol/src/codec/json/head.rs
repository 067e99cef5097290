//! The envelope of a frame: the members that every message has.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess},
};
use serde_json::value::RawValue;

use super::{
    members::{Members, read_value},
    parse,
};
use crate::{DecodeError, MessageKind, RequestId, Timestamp, limits::MAX_JSON_DEPTH, payload::depth_exceeds};

/// The envelope of a frame, read before its message.
pub(super) struct Head<'a> {
    /// The kind of the frame, if this version knows its type.
    pub(super) kind: Option<MessageKind>,
    /// The type.
    pub(super) name: Cow<'a, str>,
    pub(super) id: Option<RequestId>,
    /// A member that only servers may set, if the frame has one.
    pub(super) sender_field: Option<Cow<'a, str>>,
    timestamp: Option<&'a RawValue>,
    members: Members<'a>,
    text: &'a str,
}

pub(super) fn read_head(text: &str) -> Result<Head<'_>, DecodeError> {
    if depth_exceeds(text.as_bytes(), MAX_JSON_DEPTH) {
        return Err(DecodeError::bad_request(format!(
            "the message nests deeper than {MAX_JSON_DEPTH} levels"
        )));
    }
    let Object { kind, id, timestamp, sender_field, members } = parse(text)?;
    let id = id.map_or(Ok(None), |raw| member("id", raw))?;
    match read_name(kind) {
        Ok(name) => {
            let kind = MessageKind::from_name(&name);
            Ok(Head { kind, name, id, sender_field, timestamp, members, text })
        }
        Err(error) => Err(error.of_frame(id, None)),
    }
}

impl<'a> Head<'a> {
    /// Reads the frame as the type that its kind needs.
    pub(super) fn read<T: Deserialize<'a>>(&self) -> Result<T, DecodeError> {
        self.members.read().map_or_else(|| parse(self.text), Ok)
    }

    /// When the server sent it. The timestamp of a client is ignored.
    pub(super) fn timestamp(&self) -> Result<Timestamp, DecodeError> {
        self.timestamp.map_or_else(|| Err(DecodeError::missing("timestamp")), |raw| member("timestamp", raw))
    }
}

fn read_name(raw: Option<&RawValue>) -> Result<Cow<'_, str>, DecodeError> {
    let Text(name) = raw.map_or_else(|| Err(DecodeError::missing("type")), |raw| member("type", raw))?;
    Ok(name)
}

fn member<'a, T: Deserialize<'a>>(name: &str, raw: &'a RawValue) -> Result<T, DecodeError> {
    read_value(raw).map_or_else(|| parse(raw.get()).map_err(|error| error.in_field(name)), Ok)
}

/// A string, borrowed if it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A frame's object: the members of its head, and all members as raw JSON.
struct Object<'a> {
    kind: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    sender_field: Option<Cow<'a, str>>,
    members: Members<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> de::Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let members = Members::new();
        let mut object = Object { kind: None, id: None, timestamp: None, sender_field: None, members };
        while let Some(Text(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            object.members.keep(plain(&name), value);
            match &*name {
                "type" => once(&mut object.kind, "type", value)?,
                "id" => once(&mut object.id, "id", value)?,
                "timestamp" => once(&mut object.timestamp, "timestamp", value)?,
                // Null counts as absent: some clients write every field that they know.
                _ if name.starts_with("sender_") && value.get() != "null" => object.sender_field = Some(name),
                _ => {}
            }
        }
        Ok(object)
    }
}

/// A name that has no escapes.
const fn plain<'a>(name: &Cow<'a, str>) -> Option<&'a str> {
    if let Cow::Borrowed(name) = name { Some(name) } else { None }
}

fn once<'a, E: de::Error>(
    member: &mut Option<&'a RawValue>,
    name: &'static str,
    value: &'a RawValue,
) -> Result<(), E> {
    match member.replace(value) {
        Some(_) => Err(E::duplicate_field(name)),
        None => Ok(()),
    }
}
