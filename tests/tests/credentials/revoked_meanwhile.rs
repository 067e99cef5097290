//! Changes by tokens that were valid when they were checked, and revoked before the change had its turn.

use std::collections::BTreeMap;
use std::thread;

use aldis_auth::{Cancellation, Rotation};
use aldis_protocol::api::ChainHead;
use aldis_protocol::statement::{EncryptionKeyStatement, Transport};
use aldis_tests::{Answer, Device, Http, Identity, TestServer, base64, now_ms, unique};
use serde_json::{Value, json};

use crate::{Id, behind_its_back, family};

/// A call that changes something and would succeed.
struct Example {
    path: String,
    if_match: Option<&'static str>,
    body: Value,
}

impl Example {
    fn new(path: impl Into<String>, body: Value) -> Self {
        Self { path: path.into(), if_match: None, body }
    }

    fn asked(&self, http: &Http, method: &str) -> Answer {
        let headers: Vec<_> = [("content-type", "application/json")]
            .into_iter()
            .chain(self.if_match.map(|tag| ("if-match", tag)))
            .collect();
        http.send(method, &self.path, &headers, self.body.to_string().into_bytes())
    }
}

/// A signed-in user with an address, an identity, a device and a room.
struct Somebody {
    server: TestServer,
    identity: Identity,
    token: String,
    device: String,
    room: String,
    peer: String,
}

impl Somebody {
    fn new(server: &TestServer) -> Self {
        let user = server.user();
        let identity = Identity::new();
        let body = link(server, &identity);
        user.http().post("/api/identity/link", &body).expects(200);
        let (device, room) = (user.device("phone").id, unique("room"));
        user.http().post("/api/rooms", &json!({"room": room, "visibility": "public"})).expects(201);
        let peer = server.user().id;
        Self { server: server.clone(), identity, token: user.token, device, room, peer }
    }

    fn http(&self) -> Http {
        self.server.http().bearer(&self.token)
    }

    fn head(&self) -> ChainHead {
        let path = format!("/api/identity/{}", self.identity.fingerprint());
        serde_json::from_value(self.server.http().get(&path).expects(200)["head"].clone()).unwrap()
    }

    fn rotation(&self, new: &Identity) -> Value {
        let fingerprint = self.identity.fingerprint().parse().unwrap();
        let (old, new) = (self.identity.secret(), new.secret());
        let rotation = Rotation::sign(fingerprint, self.head(), &old, &new, "lost", now_ms());
        serde_json::to_value(rotation.to_request()).unwrap()
    }

    fn encryption_key(&self) -> Value {
        let (key, created_at_ms) = ([9; 32], now_ms());
        let statement = EncryptionKeyStatement {
            fingerprint: self.identity.fingerprint().parse().unwrap(),
            encryption_key: &key,
            created_at_ms,
        };
        let signature = self.identity.secret().sign_encryption_key(&statement);
        json!({
            "encryption_key": base64(&key), "created_at_ms": created_at_ms, "signature": base64(&signature),
        })
    }

    /// An example of each call that changes something for a signed-in user.
    fn examples(&self) -> BTreeMap<&'static str, Example> {
        let Self { device, room, peer, .. } = self;
        let new_device = json!({"device_id": unique("thief"), "pubkey": Identity::new().public()});
        let new_room = json!({"room": unique("room"), "visibility": "public"});
        let member = format!("/api/rooms/{room}/members/{peer}");
        let state = format!("/api/rooms/{room}/state");
        BTreeMap::from([
            ("POST /devices/register", Example::new("/devices/register", new_device)),
            ("DELETE /devices/{id}", Example::new(format!("/devices/{device}"), Value::Null)),
            (
                "PUT /api/contacts/{user}",
                Example::new(format!("/api/contacts/{peer}"), json!({"state": "allowed"})),
            ),
            ("DELETE /api/contacts/{user}", Example::new(format!("/api/contacts/{peer}"), Value::Null)),
            (
                "POST /api/contacts/{user}/request",
                Example::new(format!("/api/contacts/{peer}/request"), json!({})),
            ),
            ("POST /api/rooms", Example::new("/api/rooms", new_room)),
            ("PUT /api/rooms/{room}/members/{user}", Example::new(&member, Value::Null)),
            ("DELETE /api/rooms/{room}/members/{user}", Example::new(&member, Value::Null)),
            (
                "PUT /api/rooms/{room}/state",
                Example { if_match: Some("\"0\""), ..Example::new(state, json!({"state": 1})) },
            ),
            ("PUT /api/identity/blob", Example::new("/api/identity/blob", json!("blob"))),
            ("PUT /api/keys/encryption", Example::new("/api/keys/encryption", self.encryption_key())),
            (
                "POST /api/identity/link",
                Example::new("/api/identity/link", link(&self.server, &Identity::new())),
            ),
            (
                "POST /api/identity/rotate",
                Example::new("/api/identity/rotate", self.rotation(&Identity::new())),
            ),
            (
                "POST /api/auth/password",
                Example::new("/api/auth/password", json!({"new_password": "of the thief"})),
            ),
            ("POST /api/auth/totp/enroll", Example::new("/api/auth/totp/enroll", Value::Null)),
            ("POST /api/auth/totp/verify", Example::new("/api/auth/totp/verify", json!({"code": "123456"}))),
            ("DELETE /api/auth/totp", Example::new("/api/auth/totp", json!({"code": "123456"}))),
            ("POST /api/auth/logout", Example::new("/api/auth/logout", json!({"everywhere": true}))),
            ("DELETE /api/account", Example::new("/api/account", Value::Null)),
        ])
    }

    /// Everything in which a change would show.
    fn life(&self) -> Vec<Value> {
        let http = self.http();
        let (room, identity) = (&self.room, self.identity.fingerprint());
        [
            "/devices/".to_owned(),
            "/api/contacts".to_owned(),
            format!("/api/rooms/{room}"),
            format!("/api/rooms/{room}/state"),
            format!("/api/identity/{identity}"),
        ]
        .iter()
        .map(|path| http.get(path).expects(200))
        .collect()
    }
}

fn link(server: &TestServer, key: &Identity) -> Value {
    let challenge = key.challenge(server, None);
    let signature = key.signs(&challenge, Transport::Http, None);
    json!({"public_key": key.public(), "challenge": challenge["challenge"], "signature": signature})
}

/// The calls of the API's description that need a token and do not only read.
fn calls_that_change(server: &TestServer) -> Vec<String> {
    let document = server.http().get("/openapi.json").expects(200);
    let mut calls = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let is_call = ["post", "put", "delete", "patch"].contains(&method.as_str());
            if is_call && operation["security"].is_null() {
                calls.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    calls
}

#[test]
fn a_call_whose_sign_in_was_revoked_after_its_token_was_checked_went_through() {
    let server = TestServer::start();
    let revoke_family = "UPDATE refresh_families SET revoked_at_ms = 1 WHERE family_id = $1";
    let remove_device = "UPDATE devices SET removed_at_ms = 1 WHERE device_id = $1";
    let by_family = Somebody::new(&server);
    behind_its_back(&server, revoke_family, family(&by_family.token));

    let mut by_device = Somebody::new(&server);
    let user = server.user();
    let tablet = user.device("tablet").id;
    let tokens = user.logs_in(&json!({"device_id": tablet})).expects(200);
    by_device.token = tokens["access_token"].as_str().unwrap().to_owned();
    behind_its_back(&server, remove_device, Id::Text(&tablet));

    let calls = calls_that_change(&server);
    assert!(calls.len() >= 19, "{calls:?}");
    let before = by_family.life();
    for name in &calls {
        let (method, _) = name.split_once(' ').unwrap();
        let examples = by_family.examples();
        let example = examples.get(&**name).unwrap_or_else(|| panic!("no example of {name}: add one"));
        example.asked(&by_family.http(), method).expects_problem(401, "revoked");
    }
    assert_eq!(by_family.life(), before, "readable data shows that nothing was changed");

    // A user without a device has no identity here, without which three calls are refused earlier.
    let needs_identity = ["PUT /api/keys/encryption", "POST /api/identity/rotate"];
    for name in calls.iter().filter(|name| !needs_identity.contains(&name.as_str())) {
        let (method, _) = name.split_once(' ').unwrap();
        by_device.examples()[&**name].asked(&by_device.http(), method).expects_problem(401, "revoked");
    }
}

#[test]
fn devices_that_a_thief_removed_during_the_cancellation_were_never_restored() {
    for server in [TestServer::start(), TestServer::builder().postgres().start()] {
        let identity = Identity::new();
        let tokens = identity.signs_in(&server, None).expects(201);
        let http = server.http().bearer(tokens["access_token"].as_str().unwrap());
        let devices: Vec<_> = (0..12).map(|_| Device { id: unique("phone"), key: Identity::new() }).collect();
        for device in &devices {
            let body = json!({"device_id": device.id, "pubkey": device.key.public()});
            http.post("/devices/register", &body).expects(201);
        }
        let fingerprint = identity.fingerprint().parse().unwrap();
        let head = || -> ChainHead {
            let summary =
                server.http().get(&format!("/api/identity/{}", identity.fingerprint())).expects(200);
            serde_json::from_value(summary["head"].clone()).unwrap()
        };
        let thief = Identity::new();
        let rotation = Rotation::sign(fingerprint, head(), &identity.secret(), &thief.secret(), "", now_ms());
        let rotation = serde_json::to_value(rotation.to_request()).unwrap();
        http.post("/api/identity/rotate", &rotation).expects(201);
        let cancellation = Cancellation::sign(fingerprint, head(), &identity.secret(), now_ms());
        let cancellation = serde_json::to_value(cancellation.to_request(fingerprint)).unwrap();
        thread::scope(|scope| {
            for device in &devices {
                scope.spawn(|| {
                    let answer = http.delete(&format!("/devices/{}", device.id));
                    assert!([204, 401].contains(&answer.status), "{answer:?}");
                });
            }
            scope.spawn(|| server.http().post("/api/identity/rotate/cancel", &cancellation).expects(200));
        });
        let tokens = identity.signs_in(&server, None).expects(200);
        let owner = server.http().bearer(tokens["access_token"].as_str().unwrap());
        let left = owner.get("/devices/").expects(200)["devices"].as_array().unwrap().len();
        assert_eq!(left, devices.len());
        for device in &devices {
            device.key.signs_in(&server, Some(&device.id)).expects(200);
        }
    }
}
