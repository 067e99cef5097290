//! The members that surround every message.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess},
};
use serde_json::value::RawValue;

use super::parse;
use crate::{DecodeError, MessageKind, RequestId, Timestamp, limits::MAX_JSON_DEPTH, payload::depth_exceeds};

/// What a frame is, before it is read as that.
pub(super) struct Head<'a> {
    pub(super) kind: MessageKind,
    pub(super) id: Option<RequestId>,
    /// The name of a member that only servers set.
    pub(super) sender_field: Option<Cow<'a, str>>,
    timestamp: Option<&'a RawValue>,
}

pub(super) fn read_head(text: &str) -> Result<Head<'_>, DecodeError> {
    if depth_exceeds(text.as_bytes(), MAX_JSON_DEPTH) {
        return Err(DecodeError::bad_request(format!(
            "the message nests deeper than {MAX_JSON_DEPTH} levels"
        )));
    }
    let Members { kind, id, timestamp, sender_field } = parse(text)?;
    let id = id.map_or(Ok(None), |raw| member("id", raw))?;
    match read_kind(kind) {
        Ok(kind) => Ok(Head { kind, id, sender_field, timestamp }),
        Err(error) => Err(error.of_frame(id, None)),
    }
}

impl Head<'_> {
    /// When the server sent it. What clients say of the time is not even read.
    pub(super) fn timestamp(&self) -> Result<Timestamp, DecodeError> {
        self.timestamp.map_or_else(|| Err(DecodeError::missing("timestamp")), |raw| member("timestamp", raw))
    }
}

fn read_kind(raw: Option<&RawValue>) -> Result<MessageKind, DecodeError> {
    let Text(name) = raw.map_or_else(|| Err(DecodeError::missing("type")), |raw| member("type", raw))?;
    MessageKind::from_name(&name).ok_or_else(|| DecodeError::unknown_type(&name))
}

fn member<'a, T: Deserialize<'a>>(name: &str, raw: &'a RawValue) -> Result<T, DecodeError> {
    parse(raw.get()).map_err(|error| error.in_field(name))
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The members of the head as they stand there, with all others skipped.
#[derive(Default)]
struct Members<'a> {
    kind: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    sender_field: Option<Cow<'a, str>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> de::Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "type" => once(&mut members.kind, "type", map.next_value()?)?,
                "id" => once(&mut members.id, "id", map.next_value()?)?,
                "timestamp" => once(&mut members.timestamp, "timestamp", map.next_value()?)?,
                _ => {
                    // Null is as absent: some clients write every field that they know.
                    let value = map.next_value::<Option<IgnoredAny>>()?;
                    if value.is_some() && name.starts_with("sender_") {
                        members.sender_field = Some(name);
                    }
                }
            }
        }
        Ok(members)
    }
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
