//! Identities: their chains, keys and blobs, rotations and cancellations (docs/identity.md; docs/http.md, "Identity").

use aldis_auth::{Cancellation, Chain, Rotation, SecretKey};
use aldis_protocol::{
    Fingerprint,
    api::{ChainHead, ChainResponse, StatementStatus},
    statement::{DeviceStatement, EncryptionKeyStatement, Transport},
};
use aldis_tests::{Answer, Http, Identity, Peer, TestServer, Upgrade, User, base64, now_ms, token, unique};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, sqlite::SqliteConnectOptions};
use tokio::runtime::Runtime;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// A signed-in identity.
struct Owner {
    server: TestServer,
    key: Identity,
    fingerprint: Fingerprint,
    user_id: String,
    token: String,
}

impl Owner {
    fn new(server: &TestServer) -> Self {
        let key = Identity::new();
        let tokens = key.signs_in(server, None).expects(201);
        let fingerprint = key.fingerprint().parse().unwrap();
        assert_eq!(tokens["fingerprint"], key.fingerprint());
        Self {
            server: server.clone(),
            fingerprint,
            user_id: tokens["user_id"].as_str().unwrap().to_owned(),
            token: tokens["access_token"].as_str().unwrap().to_owned(),
            key,
        }
    }

    /// The same identity, signed in with another key.
    fn signed_in_as(&self, key: Identity) -> Self {
        let tokens = key.signs_in(&self.server, None).expects(200);
        Self {
            server: self.server.clone(),
            fingerprint: self.fingerprint,
            user_id: self.user_id.clone(),
            token: access(&tokens).to_owned(),
            key,
        }
    }

    fn http(&self) -> Http {
        self.server.http().bearer(&self.token)
    }

    fn summary(&self) -> Value {
        self.server.http().get(&format!("/api/identity/{}", self.fingerprint)).expects(200)
    }

    fn head(&self) -> ChainHead {
        serde_json::from_value(self.summary()["head"].clone()).unwrap()
    }

    /// The chain, verified without trusting the server.
    fn chain(&self) -> (Chain, Vec<StatementStatus>) {
        let answer = self.server.http().get(&format!("/api/identity/{}/chain", self.fingerprint));
        let response: ChainResponse = serde_json::from_value(answer.expects(200)).unwrap();
        let chain = Chain::from_response(self.fingerprint, &response).unwrap();
        let stated = answer.json()["statements"].as_array().unwrap().clone();
        let stated = stated.into_iter().map(|one| serde_json::from_value(one["status"].clone()).unwrap());
        let stated: Vec<StatementStatus> = stated.collect();
        assert_eq!(stated, chain.statuses(now_ms()).collect::<Vec<_>>());
        (chain, stated)
    }

    fn rotation(&self, new: &Identity) -> Value {
        self.signed(self.head(), &self.key.secret(), &new.secret(), now_ms())
    }

    fn signed(&self, head: ChainHead, old: &SecretKey, new: &SecretKey, created_at_ms: u64) -> Value {
        let rotation = Rotation::sign(self.fingerprint, head, old, new, "a new phone", created_at_ms);
        serde_json::to_value(rotation.to_request()).unwrap()
    }

    fn rotates(&self, new: &Identity) -> Answer {
        self.http().post("/api/identity/rotate", &self.rotation(new))
    }

    fn cancellation(&self, key: &Identity) -> Value {
        let cancellation = Cancellation::sign(self.fingerprint, self.head(), &key.secret(), now_ms());
        serde_json::to_value(cancellation.to_request(self.fingerprint)).unwrap()
    }

    /// Cancels without a login.
    fn cancels(&self, key: &Identity) -> Answer {
        self.server.http().post("/api/identity/rotate/cancel", &self.cancellation(key))
    }

    fn encryption_key(&self, key: [u8; 32], signer: &Identity, created_at_ms: u64) -> Value {
        let statement =
            EncryptionKeyStatement { fingerprint: self.fingerprint, encryption_key: &key, created_at_ms };
        let signature = signer.secret().sign_encryption_key(&statement);
        json!({
            "encryption_key": base64(&key), "created_at_ms": created_at_ms, "signature": base64(&signature),
        })
    }

    fn opens(&self, device_id: Option<&str>) -> Peer {
        let upgrade = Upgrade::to("/signal").bearer(&self.token);
        match device_id {
            Some(device_id) => upgrade.query("device_id", device_id).connected(&self.server),
            None => upgrade.connected(&self.server),
        }
    }

    /// A device with a statement of the identity's key.
    fn device(&self, name: &str) -> String {
        let device_id = unique(name);
        let (key, id, created_at_ms) =
            (Identity::new().secret().public_key(), device_id.parse().unwrap(), now_ms());
        let signature = self.key.secret().sign_device(&DeviceStatement {
            fingerprint: self.fingerprint,
            device_id: &id,
            public_key: key.as_bytes(),
            created_at_ms,
        });
        let body = json!({
            "device_id": device_id, "pubkey": base64(key.as_bytes()),
            "created_at_ms": created_at_ms, "signature": base64(&signature),
        });
        self.http().post("/devices/register", &body).expects(201);
        device_id
    }
}

fn put(http: &Http, path: &str, body: &Value) -> Answer {
    http.send("PUT", path, &[("Content-Type", "application/json")], body.to_string().into_bytes())
}

fn put_blob(http: &Http, if_match: Option<&str>, content: &[u8]) -> Answer {
    let headers: Vec<_> = if_match.into_iter().map(|tag| ("If-Match", tag)).collect();
    http.send("PUT", "/api/identity/blob", &headers, content.to_vec())
}

fn access(tokens: &Value) -> &str {
    tokens["access_token"].as_str().unwrap()
}

fn links(user: &User, key: &Identity) -> Answer {
    let server = TestServer::shared();
    let challenge = key.challenge(&server, None);
    let signature = key.signs(&challenge, Transport::Http, None);
    let body = json!({
        "public_key": key.public(), "challenge": challenge["challenge"], "signature": signature,
    });
    user.http().post("/api/identity/link", &body)
}

// Reading.

#[test]
fn an_identity_is_public() {
    let server = TestServer::shared();
    let owner = Owner::new(&server);
    let summary = owner.summary();
    assert_eq!(summary["user_id"], owner.user_id);
    assert_eq!(summary["active_key"], owner.key.public());
    assert_eq!((&summary["provisional_until"], &summary["encryption_key"]), (&Value::Null, &Value::Null));
    assert_eq!((&summary["chain_length"], &summary["head"]["sequence"]), (&json!(1), &json!(0)));
    let (chain, statuses) = owner.chain();
    assert_eq!((chain.head(), statuses), (owner.head(), vec![StatementStatus::Final]));
    let unknown = Identity::new().fingerprint();
    let upper = owner.key.fingerprint().to_uppercase();
    for name in [unknown.as_str(), "x", &upper, &owner.key.fingerprint()[1..]] {
        for path in [format!("/api/identity/{name}"), format!("/api/identity/{name}/chain")] {
            server.http().get(&path).expects_problem(404, "not_found");
        }
    }
}

#[test]
fn the_keys_of_a_user_are_visible_to_signed_in_users() {
    let server = TestServer::shared();
    let (owner, user) = (Owner::new(&server), server.user());
    let phone = owner.device("phone");
    let body = owner.encryption_key([9; 32], &owner.key, now_ms());
    assert_eq!(put(&owner.http(), "/api/keys/encryption", &body).expects(200), body);
    assert_eq!(owner.summary()["encryption_key"], body["encryption_key"]);
    for name in [owner.user_id.clone(), owner.fingerprint.to_string()] {
        let path = format!("/api/users/{name}/keys");
        server.http().get(&path).expects_problem(401, "missing_token");
        let keys = user.http().get(&path).expects(200);
        assert_eq!(
            (&keys["user_id"], &keys["active_key"]),
            (&json!(owner.user_id), &json!(owner.key.public()))
        );
        assert_eq!(keys["fingerprint"], owner.key.fingerprint());
        for field in ["encryption_key", "created_at_ms", "signature"] {
            assert_eq!(keys[field], body[field], "{field}");
        }
        let device = &keys["devices"][0];
        assert_eq!(device["device_id"], phone);
        assert!(device["signature"].is_string() && device["pubkey"].is_string(), "{device}");
    }
    let plain = user.http().get(&format!("/api/users/{}/keys", user.id)).expects(200);
    assert_eq!((&plain["fingerprint"], &plain["devices"]), (&Value::Null, &json!([])));
    for name in ["x", &unique("nobody"), "01890a5d-ac96-774b-bcce-b302099a8057"] {
        user.http().get(&format!("/api/users/{name}/keys")).expects_problem(404, "not_found");
    }
}

#[test]
fn an_encryption_key_is_signed_by_the_identity() {
    let server = TestServer::shared();
    let (owner, user) = (Owner::new(&server), server.user());
    let publish = |body: &Value| put(&owner.http(), "/api/keys/encryption", body);
    let now = now_ms();
    let good = owner.encryption_key([9; 32], &owner.key, now);
    for field in ["signature", "created_at_ms"] {
        let mut partly = good.clone();
        partly.as_object_mut().unwrap().remove(field);
        publish(&partly).expects_problem(422, "bad_request");
    }
    publish(&owner.encryption_key([9; 32], &Identity::new(), now)).expects_problem(401, "invalid_signature");
    publish(&owner.encryption_key([0; 32], &owner.key, now)).expects_problem(422, "invalid_key");
    publish(&owner.encryption_key([9; 32], &owner.key, now + HOUR_MS)).expects_problem(409, "clock_skew");
    publish(&good).expects(200);
    publish(&good).expects(200);
    publish(&owner.encryption_key([8; 32], &owner.key, now - 1)).expects_problem(409, "conflict");

    let unsigned = json!({"encryption_key": base64(&[7; 32])});
    assert_eq!(put(&user.http(), "/api/keys/encryption", &unsigned).expects(200), unsigned);
    put(&user.http(), "/api/keys/encryption", &good).expects_problem(401, "invalid_signature");
}

// Blobs.

#[test]
fn a_blob_is_overwritten_only_with_its_etag() {
    let server = TestServer::shared();
    let owner = Owner::new(&server);
    let path = format!("/api/identity/blob/{}", owner.fingerprint);
    server.http().get(&path).expects_problem(404, "not_found");
    put_blob(&owner.http(), Some("\"x\""), b"1").expects_problem(412, "precondition_failed");
    let first = put_blob(&owner.http(), None, b"1\0\xff");
    first.expects(204);
    put_blob(&owner.http(), None, b"2").expects_problem(428, "precondition_required");
    let read = server.http().get(&path);
    assert_eq!((read.status, &*read.body), (200, &b"1\0\xff"[..]));
    assert_eq!(read.header("etag"), first.header("etag"));
    assert_eq!(read.header("content-type"), "application/octet-stream");
    assert_eq!(read.header("x-content-type-options"), "nosniff");
    assert_eq!(read.header("content-disposition"), "attachment");

    let bare = first.header("etag").trim_matches('"').to_owned();
    put_blob(&owner.http(), Some(&bare), b"2").expects(204);
    put_blob(&owner.http(), Some(first.header("etag")), b"3").expects_problem(412, "precondition_failed");
    assert_eq!(server.http().get(&path).body, b"2");
    let weak = format!("W/{}", server.http().get(&path).header("etag"));
    put_blob(&owner.http(), Some(&weak), b"2").expects(204);
    for malformed in ["x", &owner.key.fingerprint()[1..], "%00"] {
        let read = server.http().get(&format!("/api/identity/blob/{malformed}"));
        read.expects_problem(404, "not_found");
    }
}

#[test]
fn a_blob_has_at_most_256_kib() {
    let server = TestServer::shared();
    let owner = Owner::new(&server);
    put_blob(&owner.http(), None, &vec![7; 256 * 1024 + 1]).expects_problem(413, "too_large");
    put_blob(&owner.http(), None, &vec![7; 256 * 1024]).expects(204);
    let path = format!("/api/identity/blob/{}", owner.fingerprint);
    assert_eq!(server.http().get(&path).body.len(), 256 * 1024);
    put_blob(&server.user().http(), None, b"1").expects_problem(409, "conflict");
    put_blob(&server.http(), None, b"1").expects_problem(401, "missing_token");
}

// Linking.

#[test]
fn a_key_is_linked_to_an_account_by_email() {
    let server = TestServer::shared();
    let (user, key) = (server.user(), Identity::new());
    let (owner, device) = (Owner::new(&server), user.device("phone"));
    for seen in [&owner.key, &device.key] {
        links(&user, seen).expects_problem(409, "key_in_use");
    }
    assert_eq!(links(&user, &key).expects(200)["fingerprint"], key.fingerprint());
    links(&user, &Identity::new()).expects_problem(409, "conflict");
    let tokens = key.signs_in(&server, None).expects(200);
    assert_eq!((&tokens["user_id"], &tokens["fingerprint"]), (&json!(user.id), &json!(key.fingerprint())));
}

#[test]
fn a_key_is_linked_only_after_a_login_and_by_its_owner() {
    let server = TestServer::shared();
    let (user, key) = (server.user(), Identity::new());
    let challenge = key.challenge(&server, None);
    let signature = key.signs(&challenge, Transport::Http, None);
    let body = json!({
        "public_key": key.public(), "challenge": challenge["challenge"], "signature": signature,
    });
    let old = token::altered(&user.token, &json!({"auth_time": now_ms() / 1000 - 400}));
    let stolen = server.http().bearer(&old).post("/api/identity/link", &body);
    stolen.expects_problem(403, "step_up_required");
    let mut forged = body.clone();
    forged["signature"] = json!(base64(&[1; 64]));
    user.http().post("/api/identity/link", &forged).expects_problem(401, "invalid_challenge");
    user.http().post("/api/identity/link", &body).expects_problem(401, "invalid_challenge");
    links(&user, &key).expects(200);
}

// Rotating.

#[test]
fn a_rotation_takes_effect_at_once() {
    let server = TestServer::shared();
    let (owner, new) = (Owner::new(&server), Identity::new());
    let other = owner.key.signs_in(&server, None).expects(200);
    let mut by_token = owner.opens(None);
    let mut by_key = owner.key.connects(&server, Some(&unique("phone")));

    let request = owner.rotation(&new);
    let rotation = owner.http().post("/api/identity/rotate", &request).expects(201);
    for peer in [&mut by_token, &mut by_key] {
        peer.expects_close_code(4201);
    }
    assert_eq!(rotation["sequence"], 1);
    let summary = owner.summary();
    assert_eq!((&summary["active_key"], &summary["chain_length"]), (&json!(new.public()), &json!(2)));
    assert_eq!(summary["provisional_until"], rotation["cancellation_deadline"]);
    assert_eq!(owner.chain().1, [StatementStatus::Final, StatementStatus::Provisional]);

    let other = server.http().bearer(access(&other));
    other.get("/devices/").expects_problem(401, "revoked");
    owner.http().get("/devices/").expects(200);
    assert_eq!(owner.http().post("/api/identity/rotate", &request).expects(200), rotation);
    let tokens = new.signs_in(&server, None).expects(200);
    assert_eq!(
        (&tokens["user_id"], &tokens["fingerprint"]),
        (&json!(owner.user_id), &summary["fingerprint"])
    );
}

#[test]
fn the_replaced_key_is_told_of_the_rotation_and_can_do_nothing_else() {
    let server = TestServer::shared();
    let owner = Owner::new(&server);
    let phone = owner.device("phone");
    let rotation = owner.rotates(&Identity::new()).expects(201);
    for device_id in [None, Some(phone.as_str())] {
        let refused = owner.key.signs_in(&server, device_id).expects_problem(401, "revoked");
        assert_eq!(refused["rotation"], rotation, "{device_id:?}");
        let mut peer = Upgrade::to("/v1/connect").peer(&server);
        let challenge = peer.expects("auth_challenge");
        peer.sends(owner.key.answers(&challenge, device_id));
        assert_eq!(peer.expects_refusal("revoked", 4002)["rotation"], rotation, "{device_id:?}");
    }
}

#[test]
fn a_cancellation_restores_everything() {
    let server = TestServer::shared();
    let (owner, thief) = (Owner::new(&server), Identity::new());
    let phone = owner.device("phone");
    put_blob(&owner.http(), None, b"mine").expects(204);
    let mine = owner.encryption_key([9; 32], &owner.key, now_ms());
    put(&owner.http(), "/api/keys/encryption", &mine).expects(200);
    let listed = |http: &Http| {
        let mut devices = http.get("/devices/").expects(200);
        // The thief was connected as one of them meanwhile.
        devices["devices"].as_array_mut().unwrap().iter_mut().for_each(|device| {
            device["last_seen"].take();
        });
        devices
    };
    let devices = listed(&owner.http());

    owner.rotates(&thief).expects(201);
    put_blob(&owner.http(), Some("*"), b"theirs").expects(204);
    let theirs = owner.encryption_key([8; 32], &thief, now_ms());
    put(&owner.http(), "/api/keys/encryption", &theirs).expects(200);
    let thief = owner.signed_in_as(thief);
    let tablet = thief.device("tablet");
    let (mut on_phone, mut on_tablet) = (thief.opens(Some(&phone)), thief.opens(Some(&tablet)));
    thief.http().delete(&format!("/devices/{phone}")).expects(204);
    on_phone.expects_close_code(4303);

    let request = owner.cancellation(&owner.key);
    let cancel = || server.http().post("/api/identity/rotate/cancel", &request).expects(200);
    let cancelled = cancel();
    assert_eq!((&cancelled["active_key"], &cancelled["sequence"]), (&json!(owner.key.public()), &json!(2)));
    on_tablet.expects_close_code(4201);
    for one in [&owner, &thief] {
        one.http().get("/devices/").expects_problem(401, "revoked");
    }
    let refused = thief.key.signs_in(&server, None).expects_problem(401, "revoked");
    assert_eq!(refused.get("rotation"), None);

    let tokens = owner.key.signs_in(&server, None).expects(200);
    assert_eq!(cancel(), cancelled, "a repetition");
    let again = server.http().bearer(access(&tokens));
    assert_eq!(listed(&again), devices);
    assert_eq!(server.http().get(&format!("/api/identity/blob/{}", owner.fingerprint)).body, b"mine");
    let summary = owner.summary();
    assert_eq!(summary["encryption_key"], mine["encryption_key"]);
    assert_eq!(
        (&summary["active_key"], &summary["provisional_until"]),
        (&json!(owner.key.public()), &Value::Null)
    );
    let (chain, statuses) = owner.chain();
    assert_eq!(statuses, [StatementStatus::Final, StatementStatus::Cancelled, StatementStatus::Final]);
    assert_eq!(chain.state(now_ms()).active_key, owner.key.secret().public_key());
}

#[test]
fn a_rotation_and_its_cancellation_are_each_one_line_in_the_log() {
    let server = TestServer::start();
    let owner = Owner::new(&server);
    let (rotation, user) = (owner.rotation(&Identity::new()), owner.summary()["user_id"].clone());
    owner.http().post("/api/identity/rotate", &rotation).expects(201);
    owner.cancels(&owner.key).expects(200);
    assert!(server.terminate().success(), "exit 0");
    let log = server.log();
    for line in ["rotation started", "rotation cancelled"] {
        let sequence = if line == "rotation started" { 1 } else { 2 };
        let line = format!("{line} user={} sequence={sequence}", user.as_str().unwrap());
        assert_eq!(log.matches(&line).count(), 1, "`{line}` in {log}");
    }
}

#[test]
fn only_the_replaced_key_cancels() {
    let server = TestServer::shared();
    let (owner, thief) = (Owner::new(&server), Identity::new());
    owner.cancels(&owner.key).expects_problem(409, "chain_conflict");
    owner.rotates(&thief).expects(201);
    for wrong in [&thief, &Identity::new()] {
        owner.cancels(wrong).expects_problem(401, "invalid_signature");
    }
    let mut forged = owner.cancellation(&owner.key);
    forged["signature"] = json!(base64(&[1; 64]));
    server.http().post("/api/identity/rotate/cancel", &forged).expects_problem(401, "invalid_signature");
    forged["fingerprint"] = json!(Identity::new().fingerprint());
    server.http().post("/api/identity/rotate/cancel", &forged).expects_problem(404, "not_found");
    assert_eq!(owner.summary()["active_key"], thief.public());
    owner.cancels(&owner.key).expects(200);
}

#[test]
fn a_provisional_key_can_do_no_lasting_damage() {
    let server = TestServer::shared();
    let (user, key) = (server.user(), Identity::new());
    links(&user, &key).expects(200);
    let owner = Owner {
        server: server.clone(),
        fingerprint: key.fingerprint().parse().unwrap(),
        key,
        user_id: user.id.clone(),
        token: user.token.clone(),
    };
    let old = token::altered(&user.token, &json!({"auth_time": now_ms() / 1000 - 400}));
    owner.rotates(&Identity::new()).expects(201);
    for http in [user.http(), server.http().bearer(&old)] {
        let password = json!({"old_password": user.password, "new_password": "another one"});
        http.post("/api/auth/password", &password).expects_problem(403, "forbidden");
        http.delete("/api/account").expects_problem(403, "forbidden");
        http.post("/api/auth/totp/enroll", &json!({})).expects_problem(403, "forbidden");
        http.post("/api/auth/totp/verify", &json!({"code": "000000"})).expects_problem(403, "forbidden");
        let link = json!({
            "public_key": Identity::new().public(), "challenge": base64(&[1; 32]), "signature": base64(&[1; 64]),
        });
        http.post("/api/identity/link", &link).expects_problem(403, "forbidden");
    }
    put_blob(&owner.http(), None, b"1").expects(204);
    owner.cancels(&owner.key).expects(200);
    let tokens = user.logs_in(&json!({})).expects(200);
    server.http().bearer(access(&tokens)).delete("/api/account").expects(204);
    server.http().get(&format!("/api/identity/{}", owner.fingerprint)).expects_problem(404, "not_found");
    owner.key.signs_in(&server, None).expects_problem(401, "revoked");
}

#[test]
fn a_rotation_that_does_not_fit_changes_nothing() {
    let server = TestServer::shared();
    let (owner, other, new) = (Owner::new(&server), Owner::new(&server), Identity::new());
    let rotate = |request: &Value| owner.http().post("/api/identity/rotate", request);
    let head = owner.head();
    let (old, fresh) = (owner.key.secret(), new.secret());
    let later = ChainHead { sequence: 7, ..head };
    let conflict =
        rotate(&owner.signed(later, &old, &fresh, now_ms())).expects_problem(409, "chain_conflict");
    assert_eq!(conflict["head"], json!(head));
    for off in [now_ms() - HOUR_MS, now_ms() + HOUR_MS] {
        rotate(&owner.signed(head, &old, &fresh, off)).expects_problem(409, "clock_skew");
    }
    for seen in [&owner.key, &other.key] {
        rotate(&owner.rotation(seen)).expects_problem(409, "key_in_use");
    }
    let not_mine = owner.signed(head, &other.key.secret(), &fresh, now_ms());
    rotate(&not_mine).expects_problem(401, "invalid_signature");
    other.http().post("/api/identity/rotate", &owner.rotation(&new)).expects_problem(409, "chain_conflict");
    let mut weak = owner.rotation(&new);
    weak["new_key"] = json!(base64(&[0; 32]));
    rotate(&weak).expects_problem(422, "invalid_key");
    server.user().http().post("/api/identity/rotate", &owner.rotation(&new)).expects_problem(409, "conflict");
    let old = token::altered(&owner.token, &json!({"auth_time": now_ms() / 1000 - 400}));
    let stolen = server.http().bearer(&old).post("/api/identity/rotate", &owner.rotation(&new));
    stolen.expects_problem(403, "step_up_required");

    assert_eq!(owner.summary()["active_key"], owner.key.public());
    owner.rotates(&new).expects(201);
    let second = owner.signed(owner.head(), &fresh, &Identity::new().secret(), now_ms());
    rotate(&second).expects_problem(409, "rotation_pending");
}

#[test]
fn every_device_is_alerted() {
    let server = TestServer::shared();
    let owner = Owner::new(&server);
    let phone = owner.device("phone");
    let rotation = owner.rotates(&Identity::new()).expects(201);
    let mut first = owner.opens(Some(&phone));
    let alert = first.expects("alert");
    first.confirms(1);
    assert_eq!(alert["payload"]["kind"], "rotation_started", "{alert}");
    assert_eq!(alert["payload"]["hash"], rotation["hash"], "{alert}");
    let cancelled = owner.cancels(&owner.key).expects(200);
    let tokens = owner.key.signs_in(&server, None).expects(200);
    let token = access(&tokens);
    let mut again = Upgrade::to("/signal").query("device_id", &phone).bearer(token).connected(&server);
    let alert = again.expects("alert");
    assert_eq!(alert["payload"]["kind"], "rotation_cancelled", "{alert}");
    assert_eq!(alert["payload"]["hash"], cancelled["hash"], "{alert}");
}

#[test]
fn a_day_has_three_rotations() {
    let server = TestServer::builder().env("ALDIS_RATE_LIMITS", "on").start();
    let mut owner = Owner::new(&server);
    for _ in 0..3 {
        owner.rotates(&Identity::new()).expects(201);
        owner.cancels(&owner.key).expects(200);
        let tokens = owner.key.signs_in(&server, None).expects(200);
        owner.token = access(&tokens).to_owned();
    }
    let refused = owner.rotates(&Identity::new());
    refused.expects_problem(429, "rate_limited");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(owner.summary()["active_key"], owner.key.public());
}

#[test]
fn chains_and_blobs_are_read_60_times_a_minute() {
    let server = TestServer::builder().env("ALDIS_RATE_LIMITS", "on").start();
    let path = format!("/api/identity/{}", Identity::new().fingerprint());
    let refused = (0..1_000).position(|_| server.http().get(&path).status == 429);
    assert!(refused.is_some_and(|served| served >= 60), "{refused:?}");
    server.http().get(&format!("{path}/chain")).expects_problem(429, "rate_limited");
}

#[test]
fn a_hundred_contact_requests_displaced_the_alert_of_a_rotation() {
    let server = TestServer::shared();
    let owner = Owner::new(&server);
    let phone = owner.device("phone");
    owner.rotates(&Identity::new()).expects(201);
    for _ in 0..101 {
        let requester = Owner::new(&server);
        let path = format!("/api/contacts/{}/request", owner.user_id);
        requester.http().send("POST", &path, &[], Vec::new()).expects(202);
    }
    let mut peer = owner.opens(Some(&phone));
    assert_eq!(peer.expects("alert")["payload"]["kind"], "rotation_started");
    for _ in 0..100 {
        peer.expects("contact_request");
    }
    peer.expects_nothing();
}

#[test]
fn the_end_of_a_rotations_window_is_logged() {
    const WINDOW_MS: u64 = 72 * HOUR_MS;
    let server = TestServer::start();
    let owner = Owner::new(&server);
    owner.rotates(&Identity::new()).expects(201);
    // The window of a rotation that was accepted so long ago ends in a second.
    let accepted_at_ms = now_ms() - WINDOW_MS + 1_000;
    let update =
        format!("UPDATE chain_statements SET accepted_at_ms = {accepted_at_ms} WHERE kind = 'rotation'");
    Runtime::new().unwrap().block_on(async {
        let file = SqliteConnectOptions::new().filename(server.directory().join("aldis.db"));
        sqlx::raw_sql(AssertSqlSafe(update)).execute(&mut file.connect().await.unwrap()).await.unwrap();
    });
    server.awaits_log("rotation final");
    assert!(server.terminate().success());
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("rotation final")).collect();
    let [line] = lines[..] else { panic!("{lines:?}") };
    assert!(
        line.contains(" INFO ") && line.contains(&owner.user_id) && line.contains("sequence=1"),
        "{line}"
    );
}
