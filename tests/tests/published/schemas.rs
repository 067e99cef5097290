//! Compares JSON Schema and AsyncAPI of the socket protocol with the golden frames.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::{env, fs};

use aldis_protocol::{Codec, Door, ErrorCode, MessageKind, ServerMessage};
use aldis_tests::schema::mismatch;
use aldis_tests::{TestServer, python};
use serde_json::{Value, json};

use crate::page::{read, repository};

pub(crate) const SCHEMA: &str = "docs/protocol.schema.json";
pub(crate) const ASYNCAPI: &str = "docs/asyncapi.json";
/// Set to replace the copies in the repository.
pub(crate) const WRITE: &str = "ALDIS_WRITE_OPENAPI";

pub(crate) fn document(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

/// The golden JSON frames: `client/ping-minimal` and the frame.
pub(crate) fn golden_frames() -> BTreeMap<String, Value> {
    let mut frames = BTreeMap::new();
    for side in ["client", "server"] {
        let folder = repository(&format!("crates/protocol/tests/golden/{side}"));
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = format!("{side}/{}", path.file_stem().unwrap().to_str().unwrap());
                frames.insert(name, serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap());
            }
        }
    }
    assert!(frames.len() > 70, "{:?}", frames.keys());
    frames
}

/// The definition of a golden frame: `client.ping`.
pub(crate) fn definition_of(name: &str, frame: &Value) -> String {
    format!("{}.{}", name.split('/').next().unwrap(), frame["type"].as_str().unwrap())
}

fn is_valid(schema: &Value, definition: &str, frame: &Value) -> Result<(), String> {
    mismatch(schema, &json!({"$ref": format!("#/$defs/{definition}")}), frame).map_or(Ok(()), Err)
}

#[test]
fn the_copies_in_the_repository_are_what_is_served() {
    let http = TestServer::shared().http();
    for (path, file) in [("/asyncapi.json", ASYNCAPI), ("/protocol.schema.json", SCHEMA)] {
        let answer = http.send("GET", path, &[("origin", "http://localhost:5173")], Vec::new());
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:5173");
        assert!(answer.header("cache-control").contains("max-age"), "{answer:?}");
        let served = serde_json::to_string_pretty(&answer.json()).unwrap() + "\n";
        if env::var_os(WRITE).is_some() {
            fs::write(repository(file), &served).unwrap();
        }
        let written = fs::read_to_string(repository(file)).unwrap_or_default();
        assert!(written == served, "{file} is another; run this test with {WRITE}=1 to replace it");
    }
}

/// Every member of every golden frame is described.
#[test]
fn every_golden_frame_matches_the_schema() {
    let schema = document(SCHEMA);
    for (name, frame) in golden_frames() {
        let definition = definition_of(&name, &frame);
        assert_eq!(is_valid(&schema, &definition, &frame), Ok(()), "{name}: {frame}");
        let side = if name.starts_with("client/") { "ClientFrame" } else { "ServerFrame" };
        assert_eq!(is_valid(&schema, side, &frame), Ok(()), "{name} as one of all");
    }
}

#[test]
fn a_frame_with_a_wrong_or_missing_member_is_not_valid() {
    let schema = document(SCHEMA);
    let mut tried = 0;
    for (name, frame) in golden_frames() {
        let definition = definition_of(&name, &frame);
        for broken in broken(&schema, &definition, &frame) {
            assert!(is_valid(&schema, &definition, &broken).is_err(), "{name}: {broken}");
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried}");
}

/// The frame with the type of one member changed, or without one required member.
fn broken(schema: &Value, definition: &str, frame: &Value) -> Vec<Value> {
    let described = &schema["$defs"][definition];
    let mut broken = Vec::new();
    for (name, value) in frame.as_object().unwrap() {
        // Null does not show which other types the member may have.
        if value.is_null() || takes_anything(schema, &described["properties"][name]) {
            continue;
        }
        let others = [json!("\u{0}"), json!(-1.5), json!(true), json!([[]]), json!({"x": {}})];
        for other in others.into_iter().filter(|other| !same_type(other, value)) {
            let mut frame = frame.clone();
            frame[name] = other;
            broken.push(frame);
        }
    }
    for name in described["required"].as_array().unwrap() {
        let mut frame = frame.clone();
        frame.as_object_mut().unwrap().remove(name.as_str().unwrap());
        broken.push(frame);
    }
    broken
}

fn same_type(one: &Value, other: &Value) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn takes_anything(document: &Value, schema: &Value) -> bool {
    let schema =
        schema["$ref"].as_str().map_or(schema, |reference| document.pointer(&reference[1..]).unwrap());
    schema.as_object().unwrap().keys().all(|word| word == "description")
}

#[test]
fn server_members_are_refused_from_clients_but_null_is_absent() {
    let schema = document(SCHEMA);
    let mut ping = json!({"type": "ping", "sender_user_id": null});
    assert_eq!(is_valid(&schema, "client.ping", &ping), Ok(()));
    ping["sender_user_id"] = json!("00000000-0000-0000-0000-000000000001");
    assert!(is_valid(&schema, "client.ping", &ping).is_err());
}

/// Each kind is described for each side from which the codec reads it, and for no other.
#[test]
fn every_kind_is_described_for_the_sides_that_send_it() {
    let (schema, asyncapi) = (document(SCHEMA), document(ASYNCAPI));
    let mut expected = BTreeSet::new();
    for kind in MessageKind::ALL.iter().map(|kind| kind.as_str()) {
        let frame = json!({"type": kind, "timestamp": "2026-01-01T00:00:00Z"}).to_string().into();
        let error = Codec::Json.decode_client(&frame).err();
        let read = Codec::Json.decode_server(&frame);
        let sides = [
            ("client", error.is_some_and(|error| error.code == ErrorCode::UnknownType)),
            ("server", read.is_ok_and(|frame| matches!(frame.message, ServerMessage::Unknown(_)))),
        ];
        expected.extend(sides.iter().filter(|side| !side.1).map(|side| format!("{}.{kind}", side.0)));
    }
    let names = |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let defined: BTreeSet<String> =
        names(&schema["$defs"]).into_iter().filter(|name| name.contains('.')).collect();
    assert_eq!(defined, expected);
    assert_eq!(names(&asyncapi["components"]["messages"]), expected);
}

#[test]
fn the_asyncapi_document_has_the_doors_and_is_consistent() {
    let asyncapi = document(ASYNCAPI);
    assert_eq!(asyncapi["asyncapi"], "3.0.0");
    let channels = asyncapi["channels"].as_object().unwrap();
    let addresses: BTreeSet<&str> =
        channels.values().map(|channel| channel["address"].as_str().unwrap()).collect();
    assert_eq!(addresses, Door::ALL.iter().map(|door| door.path()).collect());
    let messages = asyncapi["components"]["messages"].as_object().unwrap();
    for (name, channel) in channels {
        assert_eq!(channel["messages"].as_object().unwrap().len(), messages.len(), "{name}");
        for side in ["client", "server"] {
            let operation = &asyncapi["operations"][format!("{name}.{side}")];
            assert_eq!(operation["action"], if side == "client" { "receive" } else { "send" });
            assert_eq!(operation["channel"]["$ref"], format!("#/channels/{name}"));
            for message in operation["messages"].as_array().unwrap() {
                assert!(
                    message["$ref"].as_str().unwrap().contains(&format!("/messages/{side}.")),
                    "{message}"
                );
            }
        }
    }
    let golden = golden_frames();
    for (name, message) in messages {
        let examples = message["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{name} has no example");
        for example in examples {
            assert!(
                golden.values().any(|frame| *frame == example["payload"]),
                "{name}: {example} is no golden frame"
            );
            assert_eq!(mismatch(&asyncapi, &message["payload"], &example["payload"]), None, "{name}");
        }
    }
    let (mut references, mut dangling) = (0, Vec::new());
    walk(&asyncapi, &mut |value| {
        if let Some(reference) = value["$ref"].as_str() {
            references += 1;
            if asyncapi.pointer(reference.strip_prefix('#').unwrap()).is_none() {
                dangling.push(reference.to_owned());
            }
        }
    });
    assert!(references > 500 && dangling.is_empty(), "{references}: {dangling:?}");
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Another implementation of JSON Schema, in Python, reads the same document and gets the same results.
#[test]
fn an_independent_validator_agrees() {
    let schema = document(SCHEMA);
    let mut cases = Vec::new();
    for (name, frame) in golden_frames() {
        let definition = definition_of(&name, &frame);
        cases.extend(
            broken(&schema, &definition, &frame).into_iter().map(|broken| json!([definition, broken, false])),
        );
        cases.push(json!([definition, frame, true]));
    }
    let script = repository("tests/tests/published/validate.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = json!({"schema": schema, "cases": cases}).to_string();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    assert_eq!(said.trim(), format!("{} cases", cases.len()), "{errors}");
}
