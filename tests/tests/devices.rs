//! The devices of a user (docs/http.md, "Devices"; docs/protocol/doors.md, "Device").

use aldis_protocol::{Timestamp, statement::DeviceStatement};
use aldis_tests::{Device, Frame, Identity, TestServer, base64, now_ms, unbase64, unique};
use serde_json::{Value, json};

fn listed(devices: &Value, id: &str) -> Value {
    let devices = devices["devices"].as_array().unwrap_or_else(|| panic!("one named array in {devices}"));
    devices
        .iter()
        .find(|device| device["device_id"] == id)
        .cloned()
        .unwrap_or_else(|| panic!("{id} in {devices:?}"))
}

#[test]
fn a_device_is_registered_once_and_confirmed_again() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone");
    user.registers(&device).expects(200);
}

#[test]
fn another_key_for_a_registered_device_is_a_conflict() {
    let server = TestServer::shared();
    let user = server.user();
    let id = user.device("phone").id;
    user.registers(&Device { id, key: Identity::new() }).expects_problem(409, "conflict");
}

#[test]
fn another_users_id_is_a_conflict() {
    let server = TestServer::shared();
    let id = server.user().device("phone").id;
    server.user().registers(&Device { id, key: Identity::new() }).expects_problem(409, "conflict");
}

#[test]
fn a_key_that_is_an_identity_is_in_use() {
    let server = TestServer::shared();
    let identity = Identity::new();
    identity.signs_in(&server, None).expects(201);
    let device = Device { id: unique("phone"), key: identity };
    server.user().registers(&device).expects_problem(409, "key_in_use");
}

#[test]
fn malformed_ids_and_keys_are_refused() {
    let server = TestServer::shared();
    let user = server.user();
    let good_key = Identity::new().public();
    let long = "x".repeat(65);
    for id in ["", "a b", "ä", "a\n", "*", ">", "a/b", "~mine", long.as_str()] {
        let body = json!({"device_id": id, "pubkey": good_key});
        user.http().post("/devices/register", &body).expects_problem(422, "bad_request");
    }
    for key in ["", "nonsense", &base64(&[0; 32]), &base64(&[7; 31]), good_key.trim_end_matches('=')] {
        let body = json!({"device_id": unique("phone"), "pubkey": key});
        assert_eq!(user.http().post("/devices/register", &body).status, 422, "{key:?}");
    }
}

#[test]
fn every_character_of_the_grammar_is_accepted() {
    let server = TestServer::shared();
    let user = server.user();
    let id = unique("AZaz09_.:-");
    user.registers(&Device { id: id.clone(), key: Identity::new() }).expects(201);
    assert_eq!(user.opens(&id).device_id(), id);
}

#[test]
fn the_list_shows_which_devices_are_online() {
    let server = TestServer::shared();
    let user = server.user();
    let (phone, laptop) = (user.device("phone"), user.device("laptop"));
    let _live = user.opens(&phone.id);
    for path in ["/devices/", "/devices"] {
        let devices = user.http().get(path).expects(200);
        let live = listed(&devices, &phone.id);
        assert_eq!((&live["online"], &live["pubkey"]), (&json!(true), &json!(phone.key.public())), "{path}");
        let away = listed(&devices, &laptop.id);
        assert_eq!((&away["online"], &away["last_seen"]), (&json!(false), &json!(null)), "{path}");
    }
}

#[test]
fn a_device_that_had_just_left_had_no_last_seen() {
    let server = TestServer::shared();
    let user = server.user();
    let phone = user.device("phone");
    let now_s = || now_ms() / 1000;
    let last_seen = |device: &Value| {
        let time: Timestamp = serde_json::from_value(device["last_seen"].clone()).expect("a time");
        time.as_ms().unsigned_abs() / 1000
    };
    for _ in 0..2 {
        let before = now_s();
        let mut live = user.opens(&phone.id);
        let device = listed(&user.http().get("/devices/").expects(200), &phone.id);
        assert_eq!(device["online"], true);
        assert!(last_seen(&device) >= before, "{device}");
        live.socket.sends(&Frame::close(1000, ""));
        let device = loop {
            let device = listed(&user.http().get("/devices/").expects(200), &phone.id);
            if device["online"] == false {
                break device;
            }
        };
        assert!(last_seen(&device) >= before, "{device}");
    }
}

#[test]
fn a_removed_device_kept_its_name() {
    let server = TestServer::shared();
    let user = server.user();
    let (id, key) = (unique("phone"), Identity::new());
    let body = json!({"device_id": id, "pubkey": key.public(), "name": "the name"});
    user.http().post("/devices/register", &body).expects(201);
    user.http().delete(&format!("/devices/{id}")).expects(204);
    user.registers(&Device { id: id.clone(), key }).expects(201);
    let device = listed(&user.http().get("/devices/").expects(200), &id);
    assert_eq!((&device["name"], &device["last_seen"]), (&Value::Null, &Value::Null), "{device}");
}

#[test]
fn the_list_is_the_callers_own() {
    let server = TestServer::shared();
    let (user, other) = (server.user(), server.user());
    let _device = other.device("phone");
    assert_eq!(user.http().get("/devices/").expects(200)["devices"], json!([]));
    server.http().get("/devices/").expects_problem(401, "missing_token");
}

#[test]
fn a_removal_closes_the_devices_sockets() {
    let server = TestServer::shared();
    let user = server.user();
    for slash in ["", "/"] {
        let device = user.device("phone");
        let mut live = user.opens(&device.id);
        let mut other = user.opens_ephemeral();
        user.http().delete(&format!("/devices/{}{slash}", device.id)).expects(204);
        live.expects_error_and_close("unknown_device", 4303);
        other.expects_nothing();
    }
    assert_eq!(user.http().get("/devices/").expects(200)["devices"], json!([]));
}

#[test]
fn a_removed_device_cannot_connect() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone");
    user.http().delete(&format!("/devices/{}", device.id)).expects(204);

    let by_token = aldis_tests::Upgrade::to("/signal").bearer(&user.token).query("device_id", &device.id);
    by_token.peer(&server).expects_error_and_close("unknown_device", 4303);
    let refused = device.key.signs_in(&server, Some(&device.id));
    assert!(matches!(refused.status, 401 | 404), "{refused:?}");
}

#[test]
fn a_removed_devices_tokens_are_revoked() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone");
    let bound = user.logs_in(&json!({"device_id": device.id})).expects(200);
    user.http().delete(&format!("/devices/{}", device.id)).expects(204);
    let http = server.http().bearer(bound["access_token"].as_str().unwrap());
    assert_eq!(http.get("/devices/").status, 401, "a token of the removed device");
    let refreshed =
        server.http().post("/api/auth/refresh", &json!({"refresh_token": bound["refresh_token"]}));
    assert_eq!(refreshed.status, 401, "a refresh token of the removed device");
}

#[test]
fn a_removed_id_is_never_given_to_somebody_else() {
    let server = TestServer::shared();
    let user = server.user();
    let id = user.device("phone").id;
    user.http().delete(&format!("/devices/{id}")).expects(204);
    server
        .user()
        .registers(&Device { id: id.clone(), key: Identity::new() })
        .expects_problem(409, "conflict");

    let mut peer = aldis_tests::Upgrade::to("/v1/connect").peer(&server);
    let challenge = peer.expects("auth_challenge");
    peer.sends(Identity::new().answers(&challenge, Some(&id)));
    peer.expects_refusal("unknown_device", 4303);
}

#[test]
fn devices_of_others_cannot_be_removed() {
    let server = TestServer::shared();
    let (user, owner) = (server.user(), server.user());
    let id = owner.device("phone").id;
    user.http().delete(&format!("/devices/{id}")).expects_problem(404, "unknown_device");
    user.http().delete(&format!("/devices/{}", unique("never"))).expects_problem(404, "unknown_device");
    assert_eq!(owner.http().get("/devices/").expects(200)["devices"].as_array().unwrap().len(), 1);
}

#[test]
fn the_twenty_first_device_is_a_conflict() {
    let server = TestServer::shared();
    let user = server.user();
    for _ in 0..20 {
        let _device = user.device("one");
    }
    let beyond = Device { id: unique("one"), key: Identity::new() };
    user.registers(&beyond).expects_problem(409, "conflict");
}

#[test]
fn an_identity_signs_its_device() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let tokens = identity.signs_in(&server, None).expects(201);
    let http = server.http().bearer(tokens["access_token"].as_str().unwrap());
    let key = Identity::new().public();
    let body = |id: &str, signed_by: &Identity| {
        let created_at_ms = now_ms();
        let statement = DeviceStatement {
            fingerprint: identity.fingerprint().parse().unwrap(),
            device_id: &id.parse().unwrap(),
            public_key: &unbase64(&key),
            created_at_ms,
        };
        let signature = base64(&signed_by.secret().sign_device(&statement));
        json!({"device_id": id, "pubkey": key, "created_at_ms": created_at_ms, "signature": signature})
    };
    let (good, bad) = (unique("phone"), unique("phone"));
    let good = body(&good, &identity);
    http.post("/devices/register", &good).expects(201);
    let device = listed(&http.get("/devices/").expects(200), good["device_id"].as_str().unwrap());
    assert_eq!(
        (&device["signature"], &device["created_at_ms"]),
        (&good["signature"], &good["created_at_ms"])
    );
    http.post("/devices/register", &body(&bad, &Identity::new())).expects_problem(401, "invalid_signature");
}

#[test]
fn a_name_with_a_zero_character_is_refused() {
    let server = TestServer::shared();
    let body = json!({"device_id": unique("phone"), "pubkey": Identity::new().public(), "name": "a\u{0}b"});
    let problem = server.user().http().post("/devices/register", &body).expects_problem(422, "bad_request");
    assert!(problem["detail"].as_str().unwrap().contains("name"), "{problem}");
}

#[test]
fn a_time_over_the_maximum_was_accepted() {
    let server = TestServer::shared();
    let user = server.user();
    let key = base64(&[9; 32]);
    for time in
        ["9007199254740992", "9223372036854775808", "18446744073709551615", "1e18", "-1", "1.5", "\"1\""]
    {
        let device = format!(
            r#"{{"device_id":"{}","pubkey":"{}","created_at_ms":{time}}}"#,
            unique("phone"),
            Identity::new().public()
        );
        let encryption_key = format!(r#"{{"encryption_key":"{key}","created_at_ms":{time}}}"#);
        for (method, path, body) in
            [("POST", "/devices/register", device), ("PUT", "/api/keys/encryption", encryption_key)]
        {
            let headers = [("Content-Type", "application/json")];
            let problem = user.http().send(method, path, &headers, body.into_bytes());
            let problem = problem.expects_problem(422, "bad_request");
            assert!(problem["detail"].as_str().unwrap().contains("created_at_ms"), "{problem}");
        }
    }
}
