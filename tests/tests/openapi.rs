//! The description of the HTTP API, and the page that shows it (http.md, first paragraph).

use std::collections::BTreeSet;
use std::path::Path;
use std::{env, fs};

use aldis_protocol::statement::Transport;
use aldis_protocol::{
    DeviceId, ErrorCode, Fingerprint, Hash, MessageId, RequestId, RoomId, UserId, UserRef, binary,
};
use aldis_tests::{Answer, Http, Identity, TestServer, base64, unique};
use jsonschema::Validator;
use serde_json::{Value, json};

/// The calls of http.md's tables.
const CALLS: [&str; 39] = [
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

/// Says that the written copy is to be replaced.
const WRITE: &str = "ALDIS_WRITE_OPENAPI";

const PROBLEM: &str = "application/problem+json";

/// The description, as the server gives it.
struct Description {
    server: TestServer,
    document: Value,
    /// The same, where no object has members that are not described.
    closed: Value,
}

/// One call, as it is described.
struct Call<'a> {
    name: String,
    path: &'a str,
    operation: &'a Value,
}

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
        let described = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let described: BTreeSet<&str> =
            described.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(described, in_path, "{name}");
    }
    for (name, schema) in object(&document["components"]["schemas"]) {
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn every_reference_leads_somewhere() {
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
                codes.extend(refused(&description, status, response).map(ErrorCode::as_str));
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

/// The codes of a response, which belong to its status.
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
        // What does not come in time has a status of its own.
        assert_eq!(code.http_status(), if status == 408 { 422 } else { status }, "{code}");
        code
    })
}

#[test]
fn what_needs_a_token_is_described_so() {
    let description = Description::read();
    for call in description.calls() {
        let (method, _) = call.name.split_once(' ').unwrap();
        let path = call.path.replace("{fingerprint}", &"0a".repeat(32)).replace(['{', '}'], "");
        let headers = [("content-type", "application/json")];
        let answer = description.server.http().send(method, &path, &headers, b"{}".to_vec());
        if call.operation["security"].is_null() {
            answer.expects_problem(401, "missing_token");
        } else {
            assert_ne!(answer.status, 401, "{}: {answer:?}", call.name);
        }
    }
}

/// Each answer is one that its call describes, with every member that has to be there and none that is not described.
#[test]
fn what_the_server_answers_is_as_described() {
    let description = Description::read();
    let server = description.server.clone();
    let (nobody, email) = (server.http(), format!("{}@aldis.example", unique("described")));
    let credentials = json!({"email": email, "password": "correct horse battery"});
    let call =
        |http: &Http, name: &str, path: &str, body: Value| description.call(http, name, path, &[], body);

    let registered = call(&nobody, "POST /auth/register", "", credentials.clone()).expects(201);
    call(&nobody, "POST /auth/register", "", credentials.clone()).expects_problem(409, "conflict");
    call(&nobody, "POST /auth/register", "", json!({"email": email})).expects_problem(422, "bad_request");
    call(&nobody, "POST /auth/login", "", credentials).expects(200);
    let refresh = json!({"refresh_token": registered["refresh_token"]});
    call(&nobody, "POST /api/auth/refresh", "", refresh).expects(200);
    call(&nobody, "GET /devices/", "", Value::Null).expects_problem(401, "missing_token");

    let user = nobody.clone().bearer(registered["access_token"].as_str().unwrap());
    let user_id = registered["user_id"].as_str().unwrap();
    let key = Identity::new();
    let challenge =
        call(&nobody, "POST /api/auth/challenge", "", json!({"public_key": key.public()})).expects(200);
    let signature = key.signs(&challenge, Transport::Http, None);
    let answer = json!({
        "public_key": key.public(), "challenge": challenge["challenge"], "signature": signature,
    });
    call(&user, "POST /api/identity/link", "", answer.clone()).expects(200);
    call(&nobody, "POST /api/auth/verify", "", answer).expects_problem(401, "invalid_challenge");
    let other = Identity::new();
    let challenge = other.challenge(&server, None);
    let answer = json!({
        "public_key": other.public(),
        "challenge": challenge["challenge"],
        "signature": other.signs(&challenge, Transport::Http, None),
    });
    let other_id = call(&nobody, "POST /api/auth/verify", "", answer).expects(201)["user_id"].clone();
    let other_id = other_id.as_str().unwrap();

    let fingerprint = key.fingerprint();
    call(&nobody, "GET /api/identity/{fingerprint}", &fingerprint, Value::Null).expects(200);
    call(&nobody, "GET /api/identity/{fingerprint}/chain", &fingerprint, Value::Null).expects(200);
    call(&nobody, "GET /api/identity/{fingerprint}", "nobody", Value::Null).expects_problem(404, "not_found");
    call(&user, "GET /api/users/{user}/keys", user_id, Value::Null).expects(200);

    let device = json!({"device_id": unique("phone"), "pubkey": Identity::new().public(), "name": "a phone"});
    call(&user, "POST /devices/register", "", device.clone()).expects(201);
    call(&user, "POST /devices/register", "", device.clone()).expects(200);
    call(&user, "GET /devices/", "", Value::Null).expects(200);
    call(&user, "DELETE /devices/{id}", device["device_id"].as_str().unwrap(), Value::Null).expects(204);
    call(&user, "DELETE /devices/{id}", "nothing", Value::Null).expects_problem(404, "unknown_device");

    call(&user, "PUT /api/contacts/{user}", other_id, json!({"state": "allowed"})).expects(204);
    call(&user, "POST /api/contacts/{user}/request", "nobody@aldis.example", Value::Null).expects(202);
    call(&user, "GET /api/contacts", "", Value::Null).expects(200);
    call(&user, "GET /api/messages", &format!("?peer={other_id}&limit=1"), Value::Null).expects(200);
    call(&user, "GET /api/messages", "", Value::Null).expects_problem(422, "bad_request");
    call(&user, "GET /api/ice-servers", "", Value::Null).expects(200);

    let room = unique("room");
    let new = json!({"room": room, "visibility": "private", "members": [other_id]});
    call(&user, "POST /api/rooms", "", new).expects(201);
    call(&user, "GET /api/rooms/{room}", &room, Value::Null).expects(200);
    call(&user, "GET /api/rooms/{room}", "nowhere", Value::Null).expects_problem(404, "unknown_room");
    call(&user, "GET /api/rooms/{room}/messages", &room, Value::Null).expects(200);
    call(&user, "GET /api/rooms/{room}/state", &room, Value::Null).expects(200);
    let (set, state) = ("PUT /api/rooms/{room}/state", json!({"state": {"open": true}}));
    call(&user, set, &room, state.clone()).expects_problem(428, "precondition_required");
    description.call(&user, set, &room, &[("if-match", "\"0\"")], state.clone()).expects(200);
    description
        .call(&user, set, &room, &[("if-match", "\"0\"")], state)
        .expects_problem(412, "precondition_failed");

    call(&user, "POST /api/auth/totp/enroll", "", Value::Null).expects(200);
    call(&nobody, "GET /health", "", Value::Null).expects(200);
    call(&nobody, "GET /health/ready", "", Value::Null).expects(200);
    call(&nobody, "GET /.well-known/jwks.json", "", Value::Null).expects_problem(404, "not_found");
    call(&user, "POST /api/auth/logout", "", Value::Null).expects(204);
    call(&user, "GET /devices/", "", Value::Null).expects_problem(401, "revoked");
}

#[test]
fn a_member_that_is_not_described_would_be_found() {
    let description = Description::read();
    let schema = description.closed_schema(&json!({"$ref": "#/components/schemas/ChainResponse"}));
    let statement = json!({
        "kind": "cancellation", "fingerprint": "0a".repeat(32), "sequence": 1, "previous_hash": "0b".repeat(32),
        "target_hash": "0c".repeat(32), "signer_key": base64(&[1; 32]), "created_at_ms": 1,
        "signature": base64(&[1; 64]), "hash": "0d".repeat(32), "accepted_at_ms": 2, "status": "final",
    });
    let chain = |statement: &Value| json!({"fingerprint": "0a".repeat(32), "statements": [statement]});
    assert_valid("a chain", &schema, &chain(&statement));
    let mut more = statement.clone();
    more["reason"] = json!("none");
    assert!(!schema.is_valid(&chain(&more)));
    let mut less = statement.clone();
    less.as_object_mut().unwrap().remove("status");
    assert!(!schema.is_valid(&chain(&less)));
    let mut more = chain(&statement);
    more["more"] = json!(1);
    assert!(!schema.is_valid(&more));
}

/// Whether the server takes a text for something.
type IsRead = fn(&str) -> bool;

/// A text is a value of a schema where the server takes it for one, and only there.
#[test]
fn texts_are_described_as_they_are_read() {
    let description = Description::read();
    let uuid = "01900000-0000-7000-8000-00000000000a";
    let mut samples: Vec<String> =
        ["", "a", "a b", "a/b", "é", "A.b_c:d-9", "m-1", "m.1", "~", "~abc", "a\n", uuid]
            .map(str::to_owned)
            .into();
    samples.extend([64, 65].map(|length| "a".repeat(length)));
    samples.extend([63, 64, 65].map(|length| "0".repeat(length)));
    samples.extend(["0A", "0g"].map(|pair| pair.repeat(32)));
    samples.extend([uuid.to_uppercase(), uuid.replace('-', ""), format!("{{{uuid}}}"), format!("~{uuid}")]);
    samples.push(format!("~{}", uuid.replace("-7", "-4")));
    for length in [31, 32, 33, 63, 64, 65] {
        let text = base64(&vec![0xfb; length]);
        samples.extend([text.replace('=', ""), text.replace('+', "-"), text.replacen("s=", "t=", 1), text]);
    }
    samples.push(base64(&[0xfb; 64]).replace("w==", "x=="));

    let kinds: [(&str, IsRead); 10] = [
        ("UserId", |text| text.parse::<UserId>().is_ok()),
        ("MessageId", |text| text.parse::<MessageId>().is_ok()),
        ("UserRef", |text| text.parse::<UserRef>().is_ok()),
        ("DeviceId", |text| text.parse::<DeviceId>().is_ok()),
        ("RoomId", |text| text.parse::<RoomId>().is_ok()),
        ("RequestId", |text| text.parse::<RequestId>().is_ok()),
        ("Hash", |text| text.parse::<Hash>().is_ok()),
        ("Fingerprint", |text| text.parse::<Fingerprint>().is_ok()),
        ("PublicKey", |text| binary::decode_array::<32>(text).is_ok()),
        ("Signature", |text| binary::decode_array::<64>(text).is_ok()),
    ];
    for (name, is_read) in kinds {
        let schema = description.schema_at(&["components", "schemas", name]);
        for sample in &samples {
            assert_eq!(schema.is_valid(&json!(sample)), is_read(sample), "{name}: {sample:?}");
        }
        assert!(samples.iter().any(|sample| is_read(sample)), "{name} has no sample");
    }
}

#[test]
fn the_description_is_served_like_every_answer() {
    let server = TestServer::start();
    let http = server.http();
    let answer = http.send("GET", "/openapi.json", &[("origin", "http://localhost:5173")], Vec::new());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:5173");
    assert!(answer.header("cache-control").contains("max-age"), "{answer:?}");
    assert!(!answer.header("x-request-id").is_empty());
    let head = http.send("HEAD", "/openapi.json", &[], Vec::new());
    assert_eq!((head.status, head.body.len()), (200, 0));
    for path in ["/openapi.json", "/docs/", "/docs/swagger-ui.css"] {
        let refused = http.post(path, &json!({}));
        refused.expects_problem(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), "GET,HEAD", "{path}");
    }
    assert_eq!(server.metric(r#"aldis_http_requests_total{route="/openapi.json",status="200"}"#), 2);
    http.get("/docs/nothing").expects_problem(404, "not_found");
    assert_eq!(server.metric(r#"aldis_http_requests_total{route="/docs/{*file}",status="404"}"#), 1);
}

#[test]
fn the_page_needs_no_other_host() {
    let http = TestServer::shared().http();
    let page = http.get("/docs");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    let html = String::from_utf8(page.body).unwrap();
    let mut files = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        files.extend(html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()));
    }
    assert!(files.len() >= 5, "{html}");
    for file in files {
        assert!(!file.contains("//") && !file.starts_with('/'), "{file} is elsewhere");
        let asset = http.get(&format!("/docs/{}", file.trim_start_matches("./")));
        assert_eq!(asset.status, 200, "{file}");
        assert_eq!(asset.header("x-content-type-options"), "nosniff", "{file}");
        // Whatever a script has in it, the browser asks this server only.
        let policy = asset.header("content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        for source in policy.split(';').flat_map(|directive| directive.split_whitespace().skip(1)) {
            assert!(["'none'", "'self'", "'unsafe-inline'", "data:"].contains(&source), "{policy}");
        }
        assert!(!policy.contains("script-src 'self' 'unsafe-inline'"), "{policy}");
    }
    assert!(!html.contains("<script>") && !html.contains("onload="), "the policy forbids it: {html}");

    let settings = String::from_utf8(http.get("/docs/swagger-initializer.js").body).unwrap();
    assert!(settings.contains(r#""url": "/openapi.json""#), "{settings}");
    assert!(settings.contains(r#""validatorUrl": "none""#), "{settings}");
    assert!(!settings.contains("http"), "{settings}");
    let styles = String::from_utf8(http.get("/docs/swagger-ui.css").body).unwrap();
    assert!(styles.split("url(").skip(1).all(|url| url.starts_with("data:") || url.starts_with("\"data:")));
}

/// A change of the contract shows as a change of `docs/openapi.json`.
#[test]
fn the_written_copy_is_what_is_served() {
    let description = Description::read();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let served = serde_json::to_string_pretty(&description.document).unwrap() + "\n";
    if env::var_os(WRITE).is_some() {
        fs::write(&path, &served).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == served, "docs/openapi.json is another; run this test with {WRITE}=1 to replace it");
}

impl Description {
    fn read() -> Self {
        let server = TestServer::shared();
        let document = server.http().get("/openapi.json").expects(200);
        let closed = closed(&document);
        Self { server, document, closed }
    }

    fn calls(&self) -> Vec<Call<'_>> {
        let mut calls = Vec::new();
        for (path, operations) in object(&self.document["paths"]) {
            calls.extend(object(operations).iter().map(|(method, operation)| {
                let name = format!("{} {path}", method.to_uppercase());
                Call { name, path, operation }
            }));
        }
        calls
    }

    /// Makes a call, named as in the tables, whose path has `part` in its place or at its end. What it takes and what it
    /// gives have to be as described.
    #[track_caller]
    fn call(&self, http: &Http, name: &str, part: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let (method, path) = name.split_once(' ').unwrap();
        let (pointer, lower) = (path.to_owned(), method.to_lowercase());
        let path = match (path.find('{'), path.find('}')) {
            (Some(start), Some(end)) => format!("{}{part}{}", &path[..start], &path[end + 1..]),
            _ => format!("{path}{part}"),
        };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut all = headers.to_vec();
        all.extend((!bytes.is_empty()).then_some(("content-type", "application/json")));
        let answer = http.send(method, &path, &all, bytes);
        let operation = ["paths", &pointer, &lower];
        self.check_response(name, &operation, &answer);
        let content = [&operation[..], &["requestBody", "content", "application/json", "schema"]].concat();
        if !body.is_null() && answer.status < 300 {
            assert_valid(name, &self.schema_at(&content), &body);
        }
        answer
    }

    #[track_caller]
    fn check_response(&self, name: &str, operation: &[&str], answer: &Answer) {
        let status = answer.status.to_string();
        let responses = &self.document[operation[0]][operation[1]][operation[2]]["responses"];
        assert!(responses[&status].is_object(), "{name}: {status} is not described: {answer:?}");
        let response = self.resolved(&responses[&status]);
        for header in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
            assert!(answer.headers.contains_key(header), "{name}: {status} without {header}");
        }
        let contents = response["content"].as_object();
        assert_eq!(contents.is_none(), answer.body.is_empty(), "{name}: {status}");
        for (kind, content) in contents.into_iter().flatten() {
            assert_eq!(answer.header("content-type"), kind, "{name}: {status}");
            let schema = self.closed_schema(&content["schema"]);
            assert_valid(&format!("{name}: {status}"), &schema, &answer.json());
        }
    }

    /// A schema that takes no members but those that are described.
    fn closed_schema(&self, schema: &Value) -> Validator {
        let mut schema = closed(schema);
        schema["unevaluatedProperties"] = json!(false);
        schema["components"] = self.closed["components"].clone();
        jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
    }

    /// The schema at this place.
    fn schema_at(&self, place: &[&str]) -> Validator {
        let schema = place.iter().fold(&self.document, |value, name| &value[*name]);
        assert!(schema.is_object(), "{place:?}");
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
    }

    /// The thing itself, where there may be a reference to it.
    fn resolved<'a>(&'a self, thing: &'a Value) -> &'a Value {
        let pointer = thing["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.map_or(thing, |pointer| self.document.pointer(pointer).unwrap())
    }
}

#[track_caller]
fn assert_valid(what: &str, schema: &Validator, value: &Value) {
    let errors: Vec<String> =
        schema.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}: {errors:#?} in {value}");
}

/// A schema, or what contains schemas, where whatever stands in an object or a list has no members that are not
/// described. What is put together of several by `allOf` is closed where it is used.
fn closed(value: &Value) -> Value {
    let mut value = value.clone();
    close(&mut value);
    value
}

fn close(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                close(member);
                let uses: Vec<&mut Value> = match name.as_str() {
                    "properties" => {
                        member.as_object_mut().into_iter().flat_map(|all| all.values_mut()).collect()
                    }
                    "items" => vec![member],
                    _ => Vec::new(),
                };
                for used in uses.into_iter().filter(|used| used.is_object()) {
                    let any =
                        used.as_object().is_some_and(|schema| schema.keys().all(|key| key == "description"));
                    if !any {
                        used["unevaluatedProperties"] = json!(false);
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[track_caller]
fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

#[track_caller]
fn object(value: &Value) -> &serde_json::Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}"))
}
