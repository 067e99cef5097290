//! Calls that need a login of the last five minutes, and what does not count as one.

use aldis_tests::{Authenticator, Device, Http, Identity, TestServer, Upgrade, User, now_ms, token, unique};
use serde_json::{Value, json};

use crate::{Id, behind_its_back};

const TWELVE_MINUTES: u64 = 12 * 60;

/// The same token, of a login this many seconds ago.
fn aged(token: &str, seconds: u64) -> String {
    token::altered(token, &json!({"auth_time": now_ms() / 1000 - seconds}))
}

fn access(tokens: &Value) -> &str {
    tokens["access_token"].as_str().unwrap()
}

fn auth_time(tokens: &Value) -> u64 {
    token::claims(access(tokens))["auth_time"].as_u64().unwrap()
}

/// Makes the device one that was registered by a login 12 minutes ago.
fn registered_long_ago(server: &TestServer, device: &Device) {
    let statement = "UPDATE devices SET auth_time_ms = auth_time_ms - 720000 WHERE device_id = $1";
    behind_its_back(server, statement, Id::Text(&device.id));
}

/// Every call that would make a stolen token a lasting credential is refused.
#[track_caller]
fn expects_no_step_up(http: &Http) {
    let device = json!({"device_id": unique("thief"), "pubkey": Identity::new().public()});
    let calls = [
        ("POST", "/devices/register", device),
        ("POST", "/api/auth/password", json!({"new_password": "of the thief"})),
        ("POST", "/api/auth/totp/enroll", json!({})),
        ("POST", "/api/auth/totp/verify", json!({"code": "123456"})),
        ("DELETE", "/api/auth/totp", json!({"code": "123456"})),
        ("DELETE", "/api/account", json!({})),
        (
            "POST",
            "/api/identity/link",
            json!({
                "public_key": Identity::new().public(),
                "challenge": aldis_tests::base64(&[1; 32]),
                "signature": aldis_tests::base64(&[1; 64]),
            }),
        ),
    ];
    for (method, path, body) in calls {
        let headers = [("content-type", "application/json")];
        let answer = http.send(method, path, &headers, body.to_string().into_bytes());
        answer.expects_problem(403, "step_up_required");
    }
}

/// A device of a user who signed in 12 minutes ago, signed in by its key.
fn by_device_key(server: &TestServer, user: &User) -> (Device, Value) {
    let device = user.device("phone");
    registered_long_ago(server, &device);
    let tokens = device.key.signs_in(server, Some(&device.id)).expects(200);
    (device, tokens)
}

#[test]
fn a_stolen_token_registered_a_device_whose_key_then_took_the_account() {
    let server = TestServer::shared();
    let user = server.user();
    let stolen = server.http().bearer(&aged(&user.token, TWELVE_MINUTES));
    expects_no_step_up(&stolen);
    assert_eq!(user.http().get("/devices/").expects(200)["devices"], json!([]));
}

#[test]
fn a_login_by_a_device_key_and_a_refresh_counted_as_fresh_logins() {
    let server = TestServer::shared();
    let user = server.user();
    let (_, tokens) = by_device_key(&server, &user);
    assert!(auth_time(&tokens) <= now_ms() / 1000 - TWELVE_MINUTES, "{tokens}");
    expects_no_step_up(&server.http().bearer(access(&tokens)));

    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let refreshed = server.http().post("/api/auth/refresh", &refresh).expects(200);
    assert_eq!(auth_time(&refreshed), auth_time(&tokens));
    expects_no_step_up(&server.http().bearer(access(&refreshed)));
}

#[test]
fn despite_a_second_factor_a_device_key_alone_took_the_account() {
    let server = TestServer::shared();
    let user = server.user();
    let (_, tokens) = by_device_key(&server, &user);
    let app = Authenticator::enroll(&user.http());
    expects_no_step_up(&server.http().bearer(access(&tokens)));

    let with_code = user.logs_in(&json!({"totp_code": app.next_code()})).expects(200);
    let http = server.http().bearer(access(&with_code));
    let device = json!({"device_id": unique("mine"), "pubkey": Identity::new().public()});
    http.post("/devices/register", &device).expects(201);
}

#[test]
fn a_login_without_the_second_factor_counted_after_the_factor_was_enrolled() {
    let server = TestServer::shared();
    let user = server.user();
    let before = user.logs_in(&json!({})).expects(200);
    let _app = Authenticator::enroll(&user.http());
    let device = json!({"device_id": unique("phone"), "pubkey": Identity::new().public()});
    let other = server.http().bearer(access(&before));
    other.post("/devices/register", &device).expects_problem(403, "step_up_required");
    other
        .post("/api/auth/password", &json!({"new_password": "of the thief"}))
        .expects_problem(403, "step_up_required");
    other.delete("/api/account").expects_problem(403, "step_up_required");
    user.http().post("/devices/register", &device).expects(201);
}

#[test]
fn a_device_from_before_its_login_was_kept_is_never_fresh() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone");
    behind_its_back(
        &server,
        "UPDATE devices SET auth_time_ms = 0 WHERE device_id = $1",
        Id::Text(&device.id),
    );
    let tokens = device.key.signs_in(&server, Some(&device.id)).expects(200);
    assert_eq!(auth_time(&tokens), 0);
    server.http().bearer(access(&tokens)).get("/devices/").expects(200);
    expects_no_step_up(&server.http().bearer(access(&tokens)));
}

#[test]
fn a_device_key_is_as_fresh_as_the_login_that_registered_it() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone");
    let tokens = device.key.signs_in(&server, Some(&device.id)).expects(200);
    assert_eq!(auth_time(&tokens), token::claims(&user.token)["auth_time"].as_u64().unwrap());
    user.registers(&device).expects(200);
    registered_long_ago(&server, &device);
    user.registers(&device).expects(200);
    let tokens = device.key.signs_in(&server, Some(&device.id)).expects(200);
    expects_no_step_up(&server.http().bearer(access(&tokens)));
}

#[test]
fn an_identity_key_registers_a_free_device_at_its_door() {
    let server = TestServer::shared();
    let (identity, device) = (Identity::new(), unique("phone"));
    identity.signs_in(&server, None).expects(201);
    let mut peer = Upgrade::to("/v1/connect").peer(&server);
    let challenge = peer.expects("auth_challenge");
    peer.sends(identity.answers(&challenge, Some(&device)));
    peer.expects("auth_success");
    let tokens = identity.signs_in(&server, Some(&device)).expects(200);
    let http = server.http().bearer(access(&tokens));
    let body = json!({"device_id": device, "pubkey": Identity::new().public()});
    http.post("/devices/register", &body).expects(201);
}
