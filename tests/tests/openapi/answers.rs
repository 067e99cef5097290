//! Compares the description with the server's responses.

use aldis_protocol::statement::Transport;
use aldis_tests::{Http, Identity, base64, unique};
use serde_json::{Value, json};

use crate::description::Description;

#[test]
fn calls_that_need_a_token_are_described_so() {
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

/// Each response matches the description of its call, with every required member and no undescribed one.
#[test]
fn every_response_matches_the_description() {
    let description = Description::read();
    let server = description.server.clone();
    let (nobody, email) = (server.http(), format!("{}@aldis.example", unique("described")));
    let credentials = json!({"email": email, "password": "correct horse battery"});
    let call =
        |http: &Http, name: &str, path: &str, body: Value| description.call(http, name, path, &[], &body);

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
    call(&user, "GET /api/rooms/invitations", "", Value::Null).expects(200);
    call(&user, "GET /api/rooms/{room}", "nowhere", Value::Null).expects_problem(404, "unknown_room");
    call(&user, "GET /api/rooms/{room}/messages", &room, Value::Null).expects(200);
    call(&user, "GET /api/rooms/{room}/state", &room, Value::Null).expects(200);
    let (set, state) = ("PUT /api/rooms/{room}/state", json!({"state": {"open": true}}));
    call(&user, set, &room, state.clone()).expects_problem(428, "precondition_required");
    description.call(&user, set, &room, &[("if-match", "\"0\"")], &state).expects(200);
    description
        .call(&user, set, &room, &[("if-match", "\"0\"")], &state)
        .expects_problem(412, "precondition_failed");

    call(&user, "POST /api/auth/totp/enroll", "", Value::Null).expects(200);
    call(&nobody, "GET /health", "", Value::Null).expects(200);
    call(&nobody, "GET /health/ready", "", Value::Null).expects(200);
    call(&nobody, "GET /.well-known/jwks.json", "", Value::Null).expects_problem(404, "not_found");
    call(&user, "POST /api/auth/logout", "", Value::Null).expects(204);
    call(&user, "GET /devices/", "", Value::Null).expects_problem(401, "revoked");
}

#[test]
fn an_undescribed_member_is_detected() {
    let description = Description::read();
    let schema = json!({"$ref": "#/components/schemas/ChainResponse"});
    let fits = |value: &Value| description.fits(&schema, value);
    let statement = json!({
        "kind": "cancellation", "fingerprint": "0a".repeat(32), "sequence": 1, "previous_hash": "0b".repeat(32),
        "target_hash": "0c".repeat(32), "signer_key": base64(&[1; 32]), "created_at_ms": 1,
        "signature": base64(&[1; 64]), "hash": "0d".repeat(32), "accepted_at_ms": 2, "status": "final",
    });
    let chain = |statement: &Value| json!({"fingerprint": "0a".repeat(32), "statements": [statement]});
    assert!(fits(&chain(&statement)));
    let mut more = statement.clone();
    more["reason"] = json!("none");
    assert!(!fits(&chain(&more)));
    let mut less = statement.clone();
    less.as_object_mut().unwrap().remove("status");
    assert!(!fits(&chain(&less)));
    let mut more = chain(&statement);
    more["more"] = json!(1);
    assert!(!fits(&more));
}
