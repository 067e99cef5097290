//! The document: its contents, and that every change of it is visible.

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use aldis_protocol::ErrorCode;
use serde_json::{Value, json};

use crate::description::{Call, Description, PROBLEM, array, object};

/// The calls of http.md's tables.
const CALLS: [&str; 40] = [
    "POST /auth/register",
    "POST /auth/login",
    "POST /api/auth/password",
    "DELETE /api/account",
    "POST /api/auth/challenge",
    "POST /api/auth/verify",
    "POST /api/auth/refresh",
    "POST /api/auth/logout",
    "POST /api/auth/totp/enroll",
    "POST /api/auth/totp/verify",
    "DELETE /api/auth/totp",
    "POST /api/identity/link",
    "GET /api/identity/{fingerprint}",
    "GET /api/identity/{fingerprint}/chain",
    "PUT /api/identity/blob",
    "GET /api/identity/blob/{fingerprint}",
    "POST /api/identity/rotate",
    "POST /api/identity/rotate/cancel",
    "PUT /api/keys/encryption",
    "GET /api/users/{user}/keys",
    "POST /devices/register",
    "GET /devices/",
    "DELETE /devices/{id}",
    "GET /api/contacts",
    "PUT /api/contacts/{user}",
    "DELETE /api/contacts/{user}",
    "POST /api/contacts/{user}/request",
    "GET /api/messages",
    "POST /api/rooms",
    "GET /api/rooms/invitations",
    "GET /api/rooms/{room}",
    "PUT /api/rooms/{room}/members/{user}",
    "DELETE /api/rooms/{room}/members/{user}",
    "GET /api/rooms/{room}/messages",
    "GET /api/rooms/{room}/state",
    "PUT /api/rooms/{room}/state",
    "GET /api/ice-servers",
    "GET /health",
    "GET /health/ready",
    "GET /.well-known/jwks.json",
];

/// Set to replace the copy in the repository.
const WRITE: &str = "ALDIS_WRITE_OPENAPI";

#[test]
fn the_calls_are_those_of_the_tables() {
    let description = Description::read();
    let described: BTreeSet<String> = description.calls().into_iter().map(|call| call.name).collect();
    assert_eq!(described, CALLS.map(str::to_owned).into());
}

#[test]
fn the_document_is_openapi_3_1() {
    let description = Description::read();
    let document = &description.document;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert!(document["info"]["title"].is_string(), "{}", document["info"]);
    let health = description.server.http().get("/health").expects(200);
    assert_eq!(document["info"]["version"], health["version"]);

    let tags: Vec<&Value> = array(&document["tags"]).iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeSet::new();
    for Call { name, path, operation } in description.calls() {
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}: its id is another's");
        assert!(array(&operation["tags"]).iter().all(|tag| tags.contains(&tag)), "{name}: its subject");
        assert!(operation["summary"].is_string(), "{name}: its summary");
        let in_path: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(parameters.iter().all(|parameter| !parameter.to_string().contains("null")), "{name}");
        let described = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let described: BTreeSet<&str> =
            described.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(described, in_path, "{name}");
    }
}

#[test]
fn every_reference_has_a_target() {
    let description = Description::read();
    let mut references = BTreeSet::new();
    walk(&description.document, &mut |value| {
        references.extend(value["$ref"].as_str().map(str::to_owned));
    });
    assert!(references.len() > 50, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference}"));
        assert!(description.document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_call_says_how_it_succeeds_and_how_it_is_refused() {
    let description = Description::read();
    let mut codes = BTreeSet::new();
    for Call { name, operation, .. } in description.calls() {
        let responses = object(&operation["responses"]);
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}: no success");
        let needs_a_token = operation["security"].is_null();
        assert_eq!(needs_a_token, operation["security"] != json!([{}]), "{name}: {}", operation["security"]);
        for (status, response) in responses {
            let response = description.resolved(response);
            let has = |header: &str| response["headers"][header].is_object();
            assert!(has("X-Request-Id"), "{name}: {status}");
            let status: u16 = status.parse().unwrap();
            assert_eq!(has("WWW-Authenticate"), status == 401, "{name}: {status}");
            assert_eq!(has("Retry-After"), [429, 503].contains(&status), "{name}: {status}");
            if status >= 400 {
                codes.extend(refused(&description, status, response).map(|code| code.to_string()));
            }
        }
        let refuses = |status: &str| responses.contains_key(status);
        assert!(refuses("500"), "{name}");
        assert!(!needs_a_token || refuses("401"), "{name}");
        assert_eq!(operation["requestBody"].is_object(), refuses("413"), "{name}");
    }
    for code in ["chain_conflict", "clock_skew", "key_in_use", "precondition_failed", "step_up_required"] {
        assert!(codes.contains(code), "{code} is of no call");
    }
}

/// The codes of a response, which must have its status.
fn refused<'a>(
    description: &'a Description,
    status: u16,
    response: &'a Value,
) -> impl Iterator<Item = ErrorCode> + 'a {
    let parts = array(&response["content"][PROBLEM]["schema"]["allOf"]);
    assert_eq!(parts[0]["$ref"], "#/components/schemas/Problem", "{status}: {response}");
    let all = array(&description.document["components"]["schemas"]["ErrorCode"]["enum"]);
    let codes = array(&parts[1]["properties"]["code"]["enum"]);
    assert!(!codes.is_empty() && codes.iter().all(|code| all.contains(code)), "{status}: {response}");
    codes.iter().map(move |code| {
        let code: ErrorCode = code.as_str().unwrap().parse().unwrap();
        // A body that does not arrive in time has a separate status.
        assert_eq!(code.http_status(), if status == 408 { 422 } else { status }, "{code}");
        code
    })
}

/// A change of the contract must show as a change of `docs/openapi.json`.
#[test]
fn the_copy_in_the_repository_is_what_is_served() {
    let description = Description::read();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let served = serde_json::to_string_pretty(&description.document).unwrap() + "\n";
    if env::var_os(WRITE).is_some() {
        fs::write(&path, &served).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == served, "docs/openapi.json is another; run this test with {WRITE}=1 to replace it");
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
