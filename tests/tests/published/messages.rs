//! Compares `docs/protocol/messages.md` with the schema: every message, its fields and its examples.

use std::collections::{BTreeMap, BTreeSet};

use aldis_protocol::ErrorCode;
use serde_json::Value;

use crate::page::{Page, cells, code_words};
use crate::schemas::{ASYNCAPI, SCHEMA, definition_of, document, golden_frames};

const PAGE: &str = "docs/protocol/messages.md";
/// Members of every message, which only README.md describes.
const HEAD: [&str; 3] = ["type", "id", "timestamp"];

/// A field as in a row: its type, and whether it is required.
type Fields = BTreeMap<String, (String, bool)>;

#[test]
fn the_overview_has_every_message() {
    let (page, asyncapi) = (Page::read(PAGE), document(ASYNCAPI));
    let messages = asyncapi["components"]["messages"].as_object().unwrap();
    for (side, heading) in [("client", "## What a client sends"), ("server", "## What the server sends")] {
        let rows = page.table(heading);
        let shown: BTreeSet<String> =
            rows.iter().map(|row| format!("{side}.{}", code_words(&row[0])[0])).collect();
        let described: BTreeSet<String> =
            messages.keys().filter(|name| name.starts_with(side)).cloned().collect();
        assert_eq!(shown, described);
        for row in rows {
            let message = &messages[&format!("{side}.{}", code_words(&row[0])[0])];
            if side == "client" {
                let replies: Vec<&str> = message["x-aldis-reply"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|kind| kind.as_str().unwrap())
                    .collect();
                let shown = code_words(&row[1]);
                assert!(
                    replies.iter().all(|reply| shown.iter().any(|word| word == reply)),
                    "{row:?}: {replies:?}"
                );
                assert_eq!(replies.is_empty(), row[1] == "none", "{row:?}");
            } else {
                assert_eq!(message["x-aldis-counted"] == false, row[1] == "no", "{row:?}");
            }
        }
    }
}

#[test]
fn every_message_has_a_section_with_its_fields() {
    let (page, schema) = (Page::read(PAGE), document(SCHEMA));
    let mut shown = BTreeSet::new();
    for (kinds, side, section) in sections(&page) {
        let rows = section.lines().filter(|line| line.starts_with("| `")).map(cells);
        let fields: Fields = rows
            .map(|row| {
                assert!(["yes", "no"].contains(&row[2].as_str()), "{kinds:?}: {row:?}");
                (code_words(&row[0])[0].clone(), (row[1].clone(), row[2] == "yes"))
            })
            .collect();
        for kind in kinds {
            let definition = format!("{side}.{kind}");
            let mut described = Fields::new();
            flatten(&schema, &schema["$defs"][&definition], "", &mut described);
            assert_eq!(fields, described, "{definition}");
            assert!(shown.insert(definition.clone()), "{definition} has two sections");
        }
    }
    let described =
        schema["$defs"].as_object().unwrap().keys().filter(|name| name.contains('.')).cloned().collect();
    assert_eq!(shown, described);
}

#[test]
fn every_example_is_a_golden_frame_and_every_message_has_one() {
    let (page, golden) = (Page::read(PAGE), golden_frames());
    let mut with_example = BTreeSet::new();
    for block in page.blocks() {
        assert_eq!(block.kind, "golden");
        let frame =
            golden.get(&block.name).unwrap_or_else(|| panic!("there is no golden frame {}", block.name));
        let shown: Value = serde_json::from_str(&block.text).unwrap();
        assert_eq!(shown, *frame, "{}", block.name);
        with_example.insert(definition_of(&block.name, frame));
    }
    let all: BTreeSet<String> = golden.iter().map(|(name, frame)| definition_of(name, frame)).collect();
    assert_eq!(with_example, all);
}

#[test]
fn every_error_code_in_a_section_exists() {
    for (kinds, _, section) in sections(&Page::read(PAGE)) {
        let errors = section.lines().find_map(|line| line.split_once(" Errors: ")).map(|(_, errors)| errors);
        for word in code_words(errors.unwrap_or_default()) {
            assert!(ErrorCode::ALL.iter().any(|code| code.as_str() == word), "{kinds:?}: {word}");
        }
    }
}

/// The sections of messages: `### Client: `offer`, `answer``.
fn sections(page: &Page) -> Vec<(Vec<String>, &'static str, String)> {
    let sections = page.sections().into_iter().filter_map(|(title, text)| {
        let side = [("### Client: ", "client"), ("### Server: ", "server")];
        let (_, side) = side.into_iter().find(|(prefix, _)| title.starts_with(prefix))?;
        Some((code_words(&title), side, text))
    });
    sections.collect()
}

/// Every field of an object and of the objects inside it, as the page names them.
fn flatten(document: &Value, schema: &Value, prefix: &str, fields: &mut Fields) {
    let schema = resolved(document, schema);
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if prefix.is_empty() && HEAD.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let is_required = required.iter().any(|required| required == name);
        let (field, is_nullable) = without_null(document, field);
        // A member that may be absent may also be null, so the page does not mention null.
        let or_null = if is_nullable && is_required { " or null" } else { "" };
        let kind = kind_of(document, field);
        fields.insert(path.clone(), (format!("{kind}{or_null}"), is_required));
        match kind.as_str() {
            "object" => flatten(document, field, &format!("{path}."), fields),
            "list of objects" => {
                flatten(document, &resolved(document, field)["items"], &format!("{path}[]."), fields);
            }
            _ => {}
        }
    }
}

/// The schema without null, and whether null is allowed.
fn without_null<'a>(document: &'a Value, schema: &'a Value) -> (&'a Value, bool) {
    if let Some(either) = schema["oneOf"].as_array() {
        let mut others = either.iter().filter(|schema| schema["type"] != "null");
        if let (Some(other), None) = (others.next(), others.next()) {
            return (other, true);
        }
    }
    let is_nullable =
        resolved(document, schema)["type"].as_array().is_some_and(|types| types.contains(&"null".into()));
    (schema, is_nullable)
}

/// The page's word for a type.
fn kind_of(document: &Value, schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
        match name {
            "UserId" => return "user id".to_owned(),
            "MessageId" => return "message id".to_owned(),
            "SessionId" => return "session id".to_owned(),
            "DeviceId" => return "device id".to_owned(),
            "RoomId" => return "room name".to_owned(),
            "RequestId" => return "request id".to_owned(),
            "UserRef" => return "user".to_owned(),
            "Fingerprint" => return "fingerprint".to_owned(),
            "Hash" => return "hash".to_owned(),
            "Timestamp" => return "time".to_owned(),
            "ErrorCode" => return "error code".to_owned(),
            "Payload" => return "any JSON".to_owned(),
            name if name.starts_with("server.") => {
                return format!("`{}`", name.trim_start_matches("server."));
            }
            _ => {}
        }
    }
    let schema = resolved(document, schema);
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_str().unwrap())).collect();
        let (last, others) = words.split_last().unwrap();
        return if others.is_empty() { last.clone() } else { format!("{} or {last}", others.join(", ")) };
    }
    if schema["contentEncoding"] == "base64" {
        return "base64".to_owned();
    }
    let types = &schema["type"];
    let types: Vec<&str> = types
        .as_array()
        .map_or_else(|| vec![types], |types| types.iter().collect())
        .iter()
        .filter_map(|name| name.as_str())
        .collect();
    match types.iter().find(|name| **name != "null") {
        Some(&"string") => "text".to_owned(),
        Some(&"integer") => "integer".to_owned(),
        Some(&"boolean") => "boolean".to_owned(),
        Some(&"object") => "object".to_owned(),
        Some(&"array") => {
            let inner = kind_of(document, &schema["items"]);
            let plural = if inner.starts_with('`') { "" } else { "s" };
            format!("list of {inner}{plural}")
        }
        None => "any JSON".to_owned(),
        Some(other) => panic!("the page has no word for {other}"),
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"].as_str().map_or(schema, |reference| document.pointer(&reference[1..]).unwrap())
}
