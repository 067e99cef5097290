//! JSON Schema of every JSON frame.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::{
    Side,
    frames::{self, Body, Components, Described},
};
use crate::{MessageKind, RequestId, Timestamp, limits::SEQUENCE_LIMIT};

/// The JSON Schema (2020-12) of the frames: `ClientFrame` and `ServerFrame` among its definitions, and each frame
/// as `client.…` or `server.…`. Unknown members are allowed, as the protocol allows them.
///
/// # Errors
/// Those of serde_json, which no schema of this crate has.
pub fn json_schema() -> serde_json::Result<Value> {
    let mut definitions = definitions("#/$defs/")?;
    for side in Side::ALL {
        let name = match side {
            Side::Client => "ClientFrame",
            Side::Server => "ServerFrame",
        };
        let frames: Vec<Value> = frames::all()
            .filter(|frame| frame.side == side)
            .map(|frame| json!({"$ref": format!("#/$defs/{}", frame.name())}))
            .collect();
        let description = format!("Every frame that a {} sends.", side.as_str());
        definitions.insert(name.to_owned(), json!({"description": description, "oneOf": frames}));
    }
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Aldis wire protocol, version 1",
        "description": "Each JSON frame of the WebSocket protocol. docs/protocol says what they mean.",
        "anyOf": [{"$ref": "#/$defs/ClientFrame"}, {"$ref": "#/$defs/ServerFrame"}],
        "$defs": definitions,
    }))
}

/// The schema of each frame and of all that they refer to, where `prefix` stands before a name.
pub(super) fn definitions(prefix: &str) -> serde_json::Result<Map<String, Value>> {
    let mut components = Components::new();
    let mut definitions = Map::new();
    for (name, schema) in [(RequestId::name(), RequestId::schema()), (Timestamp::name(), Timestamp::schema())]
    {
        components.push((name.into_owned(), schema));
    }
    for frame in frames::all() {
        let schema = frame_schema(&frame, &mut components)?;
        definitions.insert(frame.name(), schema);
    }
    for (name, schema) in components {
        if !definitions.contains_key(&name) {
            definitions.insert(name, serde_json::to_value(schema)?);
        }
    }
    definitions.values_mut().for_each(|schema| tidy(schema, prefix));
    Ok(definitions)
}

fn frame_schema(frame: &Described, components: &mut Components) -> serde_json::Result<Value> {
    let (mut members, payload, payload_is_required) = match frame.body {
        Body::Members(of) => return Ok(with_head(frame, &serde_json::to_value(of(components))?)),
        Body::WithPayload(of, of_payload) => {
            (serde_json::to_value(of(components))?, of_payload(components), true)
        }
        Body::Payload(of) => (json!({}), of(components), true),
        Body::OptionalPayload(of) => (json!({}), of(components), false),
    };
    let mut payload = serde_json::to_value(payload)?;
    // The frame has a description of its own.
    if let Some(payload) = payload.as_object_mut() {
        payload.remove("description");
    }
    members["properties"]["payload"] = payload;
    if payload_is_required {
        let mut required = members["required"].as_array().cloned().unwrap_or_default();
        required.push(json!("payload"));
        members["required"] = json!(required);
    }
    Ok(with_head(frame, &members))
}

/// The members of a message, with those that surround every message.
fn with_head(frame: &Described, body: &Value) -> Value {
    let mut properties = Map::new();
    properties.insert("type".to_owned(), json!({"const": frame.kind.as_str()}));
    properties.insert("id".to_owned(), reference(&RequestId::name()));
    let mut required = vec![json!("type")];
    match frame.side {
        Side::Server => {
            properties.insert("timestamp".to_owned(), reference(&Timestamp::name()));
            required.push(json!("timestamp"));
        }
        Side::Client if frame.kind == MessageKind::Message => required.push(json!("id")),
        Side::Client => {}
    }
    for (name, schema) in body["properties"].as_object().into_iter().flatten() {
        properties.entry(name.clone()).or_insert_with(|| schema.clone());
    }
    for name in body["required"].as_array().into_iter().flatten() {
        if !required.contains(name) {
            required.push(name.clone());
        }
    }
    let mut schema = json!({
        "description": frame.summary,
        "type": "object",
        "properties": properties,
        "required": required,
    });
    if frame.side == Side::Client {
        // The sender is the server's to name.
        schema["patternProperties"] = json!({"^sender_": {"type": "null"}});
    }
    if properties_name_a_target(&schema) {
        schema["oneOf"] = json!([{"required": ["target_device_id"]}, {"required": ["target_user_id"]}]);
    }
    schema
}

fn properties_name_a_target(schema: &Value) -> bool {
    ["target_device_id", "target_user_id"].iter().all(|name| schema["properties"].get(name).is_some())
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{COMPONENTS}{name}")})
}

/// Where OpenAPI has its schemas.
const COMPONENTS: &str = "#/components/schemas/";

/// Points references to where the definitions are, and says of integers how large they get instead of how many bits
/// they have here.
fn tidy(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref")
                && let Some(name) = reference.strip_prefix(COMPONENTS)
            {
                *reference = format!("{prefix}{name}");
            }
            if matches!(members.get("format"), Some(Value::String(format)) if format.starts_with("int")) {
                members.remove("format");
                members.entry("minimum").or_insert(json!(0));
                members.entry("maximum").or_insert(json!(SEQUENCE_LIMIT - 1));
            }
            members.values_mut().for_each(|member| tidy(member, prefix));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| tidy(item, prefix)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
