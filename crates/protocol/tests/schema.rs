//! The published schema against the types: one vocabulary, two spellings.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lint spares test functions, but not their helpers"
)]

#[path = "golden/samples.rs"]
mod samples;
#[path = "golden/schema.rs"]
mod schema;

use aldis_protocol::{Codec, MessageKind, Timestamp, binary};
use protox::prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage, Value as Field};
use serde_json::{Map, Value, json};

#[test]
fn the_bodies_are_the_kinds() {
    let oneof = schema::envelope().oneofs().find(|oneof| oneof.name() == "body").unwrap();
    let mut bodies: Vec<(u32, String)> =
        oneof.fields().map(|field| (field.number(), field.name().to_owned())).collect();
    bodies.sort_unstable();
    let kinds = MessageKind::ALL.iter().map(|kind| kind.as_str().replace('-', "_"));
    assert_eq!(bodies, (20..).zip(kinds).collect::<Vec<_>>());
}

#[test]
fn what_clients_say_in_protobuf_is_what_they_say_in_json() {
    for (name, frame) in samples::client() {
        let message = decode(&Codec::Proto.encode_client(&frame));
        assert_eq!(as_json(&message), json_of(&Codec::Json.encode_client(&frame)), "{name}");
    }
}

#[test]
fn what_servers_say_in_protobuf_is_what_they_say_in_json() {
    for (name, frame) in samples::server() {
        let message = decode(&Codec::Proto.encode_server(&frame));
        assert_eq!(as_json(&message), json_of(&Codec::Json.encode_server(&frame)), "{name}");
    }
}

fn decode(frame: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(schema::envelope(), frame).unwrap()
}

fn json_of(frame: &[u8]) -> Value {
    without_zeros(serde_json::from_slice(frame).unwrap())
}

/// The JSON frame of an envelope, by nothing but the rules that the schema states.
fn as_json(envelope: &DynamicMessage) -> Value {
    without_zeros(Value::Object(frame_members(envelope)))
}

fn frame_members(envelope: &DynamicMessage) -> Map<String, Value> {
    let mut members = Map::new();
    for (field, value) in envelope.fields() {
        if field.containing_oneof().is_some_and(|oneof| oneof.name() == "body") {
            let body = body_members(value);
            let kind = MessageKind::ALL.iter().find(|kind| kind.as_str().replace('-', "_") == field.name());
            members.insert("type".to_owned(), json!(kind.unwrap().as_str()));
            match field.name() {
                "auth" | "auth_required" | "error" | "alert" | "room_update" => {
                    members.insert("payload".to_owned(), Value::Object(body));
                }
                _ => members.extend(body),
            }
        } else if field.name() == "request_id" {
            members.insert("id".to_owned(), member(&field, value));
        } else {
            members.insert(name_in_json(&field), member(&field, value));
        }
    }
    members
}

fn body_members(body: &Field) -> Map<String, Value> {
    let body = body.as_message().unwrap();
    body.fields().map(|(field, value)| (name_in_json(&field), member(&field, value))).collect()
}

/// Signed times are RFC 3339 in JSON, under a name without `_ms`; unsigned ones are milliseconds in both.
fn name_in_json(field: &FieldDescriptor) -> String {
    match (field.kind(), field.name().strip_suffix("_ms")) {
        (Kind::Int64, Some(name)) => name.to_owned(),
        _ => field.name().to_owned(),
    }
}

fn member(field: &FieldDescriptor, value: &Field) -> Value {
    match value {
        Field::Bool(value) => json!(value),
        Field::U32(value) => json!(value),
        Field::U64(value) => json!(value),
        Field::I64(value) => json!(Timestamp::from_ms(*value)),
        Field::String(value) => json!(value),
        Field::Bytes(value) if matches!(field.name(), "payload" | "state") => {
            serde_json::from_slice(value).unwrap()
        }
        Field::Bytes(value) => json!(binary::encode(value)),
        Field::List(values) => values.iter().map(|value| member(field, value)).collect(),
        Field::Message(message) if message.descriptor() == schema::envelope() => {
            Value::Object(frame_members(message))
        }
        Field::Message(_) => Value::Object(body_members(value)),
        Field::I32(_) | Field::F32(_) | Field::F64(_) | Field::EnumNumber(_) | Field::Map(_) => {
            panic!("the schema has no {value:?}")
        }
    }
}

/// What is null, false, zero or empty, a protobuf frame may leave out.
fn without_zeros(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, without_zeros(value)));
            Value::Object(members.filter(|(_, value)| !is_zero(value)).collect())
        }
        Value::Array(values) => values.into_iter().map(without_zeros).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn is_zero(value: &Value) -> bool {
    *value == Value::Null
        || *value == json!(false)
        || *value == json!(0)
        || *value == json!("")
        || *value == json!([])
}
