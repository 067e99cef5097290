//! AsyncAPI 3: the doors as channels, and the frames as messages.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Side,
    frames::{self, Described},
    schema,
};
use crate::{Codec, Door, Proof, Refusal, query};

/// The AsyncAPI 3 document of the WebSocket protocol, from the server's side: it receives what clients send.
///
/// `x-aldis-reply` names what answers a message, and `x-aldis-counted` whether a client confirms it by `received`.
///
/// # Errors
/// Those of serde_json, which no schema or example of this crate has.
pub fn asyncapi() -> serde_json::Result<Value> {
    let schemas = schema::definitions(SCHEMAS)?;
    Ok(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Aldis wire protocol",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8000",
                "protocol": "ws",
                "description": "A server as it starts by default; `wss` where it has a certificate.",
            },
        },
        "channels": Door::ALL.into_iter().map(|door| (name_of(door).to_owned(), channel(door))).collect::<Map<_, _>>(),
        "operations": operations(),
        "components": {"messages": messages()?, "schemas": schemas},
    }))
}

const DESCRIPTION: &str = "The WebSocket protocol of Aldis in its JSON codec. Five doors lead to the same session. \
    docs/protocol has the rules; the protobuf codec has a schema of its own (envelope.proto), and the HTTP API is \
    described by /openapi.json.";
const SCHEMAS: &str = "#/components/schemas/";

const fn name_of(door: Door) -> &'static str {
    match door {
        Door::Connect => "connect",
        Door::Chat => "chat",
        Door::Signal => "signal",
        Door::Protobuf => "ws",
        Door::Api => "api_ws",
    }
}

fn channel(door: Door) -> Value {
    let messages: Map<String, Value> = frames::all()
        .map(|frame| {
            let reference = format!("#/components/messages/{}", frame.name());
            (frame.name(), json!({"$ref": reference}))
        })
        .collect();
    let mut channel = json!({
        "address": door.path(),
        "title": format!("The door {}", door.path()),
        "description": format!(
            "{} {} The default codec is `{}`.",
            proof(door.proof()),
            refusal(door.refusal()),
            door.default_codec().subprotocol(),
        ),
        "messages": messages,
        "bindings": {"ws": binding(door)},
    });
    if door == Door::Chat {
        channel["parameters"] =
            json!({"room": {"description": "The room: 1 to 64 characters of A-Z a-z 0-9 . _ : -"}});
    }
    channel
}

const fn proof(proof: Proof) -> &'static str {
    match proof {
        Proof::KeyOrToken => {
            "The client proves itself on the socket by `auth_response` (a key) or `auth` (a token)."
        }
        Proof::FirstMessage => "The client's first message is `auth`; the session has then joined the room.",
        Proof::Query => "The token is in the query or in `Authorization: Bearer`.",
    }
}

const fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::AuthFailure => "A refusal is `auth_failure` and a close.",
        Refusal::PolicyViolation => "A refusal is a close with 1008 and a reason.",
        Refusal::Close => "A refusal is the upgrade and a close.",
        Refusal::Unauthorized => "A refusal is HTTP 401 instead of the upgrade.",
    }
}

fn binding(door: Door) -> Value {
    let mut headers = json!({
        "Sec-WebSocket-Protocol": {
            "type": "string",
            "enum": Codec::ALL.map(Codec::subprotocol),
            "description": "Picks the codec.",
        },
    });
    let mut binding = json!({"method": "GET", "bindingVersion": "0.1.0"});
    if door.proof() == Proof::Query {
        headers["Authorization"] = json!({"type": "string", "description": "`Bearer` and the access token."});
        let text = |description: &str| json!({"type": "string", "description": description});
        binding["query"] = json!({
            "type": "object",
            "properties": {
                query::TOKEN: text("The access token."),
                query::DEVICE_ID: text("The device that connects."),
                query::RESUME: text("The resume token of the session to go on with."),
                query::RECEIVED: text("How many counted messages of that session have arrived."),
            },
        });
    }
    binding["headers"] = json!({"type": "object", "properties": headers});
    binding
}

fn operations() -> Map<String, Value> {
    let mut operations = Map::new();
    for door in Door::ALL {
        for (side, action) in [(Side::Client, "receive"), (Side::Server, "send")] {
            let channel = name_of(door);
            let messages: Vec<Value> = frames::all()
                .filter(|frame| frame.side == side)
                .map(|frame| json!({"$ref": format!("#/channels/{channel}/messages/{}", frame.name())}))
                .collect();
            let operation = json!({
                "action": action,
                "channel": {"$ref": format!("#/channels/{channel}")},
                "summary": format!("What a {} sends at {}.", side.as_str(), door.path()),
                "messages": messages,
            });
            operations.insert(format!("{channel}.{}", side.as_str()), operation);
        }
    }
    operations
}

fn messages() -> serde_json::Result<Map<String, Value>> {
    frames::all().map(|frame| Ok((frame.name(), message(&frame)?))).collect()
}

fn message(frame: &Described) -> serde_json::Result<Value> {
    let examples = frame
        .examples
        .iter()
        .map(|example| Ok(json!({"payload": serde_json::from_str::<Value>(example)?})))
        .collect::<serde_json::Result<Vec<_>>>()?;
    let mut message = json!({
        "name": frame.kind.as_str(),
        "title": format!("{} ({})", frame.kind.as_str(), frame.side.as_str()),
        "summary": frame.summary,
        "payload": {"$ref": format!("{SCHEMAS}{}", frame.name())},
        "correlationId": {"location": "$message.payload#/id"},
        "examples": examples,
    });
    match frame.side {
        Side::Client => {
            let replies: Vec<&str> = frame.replies.iter().map(|kind| kind.as_str()).collect();
            message["x-aldis-reply"] = json!(replies);
        }
        Side::Server => message["x-aldis-counted"] = json!(is_counted(frame)),
    }
    Ok(message)
}

/// Whether a session counts the frame, outside of a `sync` and after `connected`. The last example decides, because
/// it has no optional members.
fn is_counted(frame: &Described) -> bool {
    let Some(example) = frame.examples.last() else { return false };
    let example = Bytes::from_static(example.trim_ascii_end().as_bytes());
    Codec::Json.decode_server(&example).is_ok_and(|frame| frame.message.is_counted())
}
