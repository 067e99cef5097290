//! The second factor (docs/http.md, "Accounts by Ed25519 key"; docs/protocol/handshake.md).

use std::fs;
use std::thread;

use aldis_tests::{
    Answer, Authenticator, Http, Identity, Peer, TestServer, Upgrade, User, now_ms, token, unique,
};
use serde_json::{Value, json};

fn enrolled(server: &TestServer) -> (User, Authenticator) {
    let user = server.user();
    let app = Authenticator::enroll(&user.http());
    (user, app)
}

/// A signed-in identity with a second factor.
fn enrolled_identity(server: &TestServer) -> (Identity, Http, Authenticator) {
    let identity = Identity::new();
    let tokens = identity.signs_in(server, None).expects(201);
    let http = server.http().bearer(tokens["access_token"].as_str().unwrap());
    let app = Authenticator::enroll(&http);
    (identity, http, app)
}

fn logs_in(user: &User, code: &str) -> Answer {
    user.logs_in(&json!({"totp_code": code}))
}

fn enroll(http: &Http) -> Answer {
    http.post("/api/auth/totp/enroll", &json!({}))
}

/// A user who signed in this many seconds ago.
fn signed_in_before(server: &TestServer, user: &User, seconds: u64) -> Http {
    let auth_time = now_ms() / 1000 - seconds;
    server.http().bearer(&token::altered(&user.token, &json!({"auth_time": auth_time})))
}

/// Sends a proof by key at `/v1/connect`; `changes` are added to it.
fn shows(server: &TestServer, key: &Identity, device_id: Option<&str>, changes: &Value) -> Peer {
    let mut peer = Upgrade::to("/v1/connect").peer(server);
    let challenge = peer.expects("auth_challenge");
    let mut answer = key.answers(&challenge, device_id);
    for (name, value) in changes.as_object().unwrap() {
        answer[name] = value.clone();
    }
    peer.sends(answer);
    peer
}

#[track_caller]
fn expects_entry(mut peer: Peer) -> Value {
    peer.expects("auth_success");
    peer.expects_connected()
}

// Enrolment.

#[test]
fn an_enrolment_has_a_secret_in_three_forms_and_ten_recovery_codes() {
    let server = TestServer::shared();
    let user = server.user();
    let enrolment = enroll(&user.http()).expects(200);
    let secret = enrolment["secret"].as_str().unwrap();
    let uri = enrolment["otpauth_uri"].as_str().unwrap();
    assert!(uri.starts_with("otpauth://totp/") && uri.contains(&format!("secret={secret}")), "{uri}");
    assert!(uri.contains(&user.email.replace('@', "%40")), "{uri}");
    assert!(enrolment["qr_svg"].as_str().unwrap().contains("<svg"));
    let app = Authenticator::read(&enrolment);
    assert_eq!((app.secret().len(), app.recovery_codes.len()), (20, 10));
    let mut codes = app.recovery_codes;
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), 10, "all different");
}

#[test]
fn a_factor_is_active_only_after_a_code_was_verified() {
    let server = TestServer::shared();
    let user = server.user();
    let app = Authenticator::read(&enroll(&user.http()).expects(200));
    user.logs_in(&json!({})).expects(200);
    app.verifies(&user.http(), &app.wrong_code()).expects_problem(401, "invalid_totp");
    app.verifies(&user.http(), &app.recovery_codes[0]).expects_problem(401, "invalid_totp");
    user.logs_in(&json!({})).expects(200);
    app.verifies(&user.http(), &app.code()).expects(204);
    user.logs_in(&json!({})).expects_problem(401, "totp_required");
}

#[test]
fn only_an_unverified_enrolment_is_replaced_by_the_next() {
    let server = TestServer::shared();
    let user = server.user();
    let first = Authenticator::read(&enroll(&user.http()).expects(200));
    let second = Authenticator::read(&enroll(&user.http()).expects(200));
    first.verifies(&user.http(), &first.code()).expects_problem(401, "invalid_totp");
    second.verifies(&user.http(), &second.code()).expects(204);
    enroll(&user.http()).expects_problem(409, "conflict");
    logs_in(&user, &first.recovery_codes[0]).expects_problem(401, "invalid_totp");
    logs_in(&user, &second.recovery_codes[0]).expects(200);
}

#[test]
fn a_code_is_a_text() {
    let server = TestServer::shared();
    let user = server.user();
    let _ = enroll(&user.http()).expects(200);
    for code in [json!(123_456), Value::Null, json!(["123456"])] {
        let answer = user.http().post("/api/auth/totp/verify", &json!({"code": code}));
        answer.expects_problem(422, "bad_request");
    }
    user.http().post("/api/auth/totp/verify", &json!({})).expects_problem(422, "bad_request");
}

#[test]
fn without_an_enrolment_there_is_nothing_to_verify_or_remove() {
    let server = TestServer::shared();
    let (user, other) = (server.user(), enrolled(&server).1);
    other.verifies(&user.http(), "123456").expects_problem(404, "not_found");
    other.removes(&user.http(), "123456").expects_problem(404, "not_found");
    enroll(&server.http()).expects_problem(401, "missing_token");
}

#[test]
fn a_factor_needs_a_login_of_the_last_five_minutes() {
    let server = TestServer::shared();
    let user = server.user();
    let (fresh, stale) = (signed_in_before(&server, &user, 290), signed_in_before(&server, &user, 310));
    enroll(&stale).expects_problem(403, "step_up_required");
    let app = Authenticator::read(&enroll(&fresh).expects(200));
    app.verifies(&stale, &app.code()).expects_problem(403, "step_up_required");
    app.verifies(&fresh, &app.code()).expects(204);
    app.removes(&stale, &app.next_code()).expects_problem(403, "step_up_required");
    app.removes(&fresh, &app.next_code()).expects(204);
}

#[test]
fn a_device_is_registered_only_after_a_login_of_the_last_five_minutes() {
    let server = TestServer::shared();
    let user = server.user();
    let body = || json!({"device_id": unique("phone"), "pubkey": Identity::new().public()});
    let stale = signed_in_before(&server, &user, 310);
    stale.post("/devices/register", &body()).expects_problem(403, "step_up_required");
    user.http().post("/devices/register", &body()).expects(201);
    let _ = Authenticator::enroll(&user.http());
    stale.post("/devices/register", &body()).expects_problem(403, "step_up_required");
    user.http().post("/devices/register", &body()).expects(201);
}

#[test]
fn devices_are_alerted_when_a_factor_is_added_or_removed() {
    let server = TestServer::shared();
    let user = server.user();
    let mut phone = user.connects("phone");
    let app = Authenticator::enroll(&user.http());
    app.verifies(&user.http(), &app.next_code()).expects(204);
    app.removes(&user.http(), &app.recovery_codes[0]).expects(204);
    let kinds = [(); 2].map(|()| phone.expects("alert")["payload"]["kind"].as_str().unwrap().to_owned());
    assert_eq!(kinds, ["totp_changed"; 2], "a code that changes nothing is no news");
}

#[test]
fn a_deleted_account_leaves_no_factor() {
    let server = TestServer::shared();
    let (user, _) = enrolled(&server);
    user.http().delete("/api/account").expects(204);
    user.logs_in(&json!({})).expects_problem(401, "invalid_credentials");
    let body = json!({"email": user.email, "password": user.password});
    server.http().post("/auth/register", &body).expects(201);
    user.logs_in(&json!({})).expects(200);
}

// Codes at a login.

#[test]
fn a_login_asks_for_the_code_only_after_the_right_password() {
    let server = TestServer::shared();
    let (user, app) = enrolled(&server);
    let code = app.next_code();
    let wrong = user.logs_in(&json!({"password": "the wrong one", "totp_code": code}));
    wrong.expects_problem(401, "invalid_credentials");
    user.logs_in(&json!({"password": "the wrong one"})).expects_problem(401, "invalid_credentials");
    user.logs_in(&json!({})).expects_problem(401, "totp_required");
    logs_in(&user, &app.wrong_code()).expects_problem(401, "invalid_totp");
    logs_in(&user, "").expects_problem(401, "totp_required");
    logs_in(&user, &code).expects(200);
}

#[test]
fn a_code_works_once_over_all_calls() {
    let server = TestServer::shared();
    let user = server.user();
    let app = Authenticator::read(&enroll(&user.http()).expects(200));
    let first = app.code();
    app.verifies(&user.http(), &first).expects(204);
    logs_in(&user, &first).expects_problem(401, "invalid_totp");
    let code = app.next_code();
    logs_in(&user, &code).expects(200);
    logs_in(&user, &code).expects_problem(401, "invalid_totp");
    app.verifies(&user.http(), &code).expects_problem(401, "invalid_totp");
    app.removes(&user.http(), &code).expects_problem(401, "invalid_totp");
}

#[test]
fn codes_two_steps_away_are_wrong() {
    let server = TestServer::shared();
    let (user, app) = enrolled(&server);
    logs_in(&user, &app.code_in(3)).expects_problem(401, "invalid_totp");
    logs_in(&user, &app.code_in(-2)).expects_problem(401, "invalid_totp");
}

#[test]
fn only_one_of_many_concurrent_uses_of_a_code_succeeds() {
    let server = TestServer::shared();
    for by in [|app: &Authenticator| app.next_code(), |app: &Authenticator| app.recovery_codes[0].clone()] {
        let (user, app) = enrolled(&server);
        let code = by(&app);
        let (user, code) = (&user, &*code);
        let statuses: Vec<u16> = thread::scope(|scope| {
            let logins: Vec<_> = (0..4).map(|_| scope.spawn(move || logs_in(user, code).status)).collect();
            logins.into_iter().map(|login| login.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    }
}

#[test]
fn a_recovery_code_works_once_at_every_kind_of_sign_in() {
    let server = TestServer::shared();
    let (user, app) = enrolled(&server);
    logs_in(&user, &app.recovery_codes[0]).expects(200);
    logs_in(&user, &app.recovery_codes[0]).expects_problem(401, "invalid_totp");
    logs_in(&user, &app.recovery_codes[1].replace('-', "").to_uppercase()).expects(200);

    let (identity, _, app) = enrolled_identity(&server);
    identity.signs_in_with(&server, None, &app.recovery_codes[0]).expects(200);
    let mut used = shows(&server, &identity, None, &json!({"totp_code": app.recovery_codes[0]}));
    used.expects_refusal("invalid_totp", 4002);
    expects_entry(shows(&server, &identity, None, &json!({"totp_code": app.recovery_codes[1]})));
    app.removes(&identity_http(&server, &identity, &app.recovery_codes[2]), &app.recovery_codes[3])
        .expects(204);
    identity.signs_in(&server, None).expects(200);
}

fn identity_http(server: &TestServer, identity: &Identity, code: &str) -> Http {
    let tokens = identity.signs_in_with(server, None, code).expects(200);
    server.http().bearer(tokens["access_token"].as_str().unwrap())
}

#[test]
fn a_refresh_needs_no_code() {
    let server = TestServer::shared();
    let (user, _) = enrolled(&server);
    let refresh = json!({"refresh_token": user.refresh_token});
    server.http().post("/api/auth/refresh", &refresh).expects(200);
}

// Guessing.

#[test]
fn five_wrong_codes_of_any_kind_lock_correct_ones_too() {
    let server = TestServer::shared();
    let (user, app) = enrolled(&server);
    let wrong = app.wrong_code();
    logs_in(&user, &wrong).expects_problem(401, "invalid_totp");
    logs_in(&user, "00000-00000").expects_problem(401, "invalid_totp");
    app.verifies(&user.http(), &wrong).expects_problem(401, "invalid_totp");
    app.removes(&user.http(), &wrong).expects_problem(401, "invalid_totp");
    logs_in(&user, "zzzzz-zzzzz").expects_problem(401, "invalid_totp");

    let locked = logs_in(&user, &app.next_code());
    locked.expects_problem(429, "rate_limited");
    assert_eq!(locked.header("retry-after"), "900");
    logs_in(&user, &app.recovery_codes[0]).expects_problem(429, "rate_limited");
    app.verifies(&user.http(), &app.next_code()).expects_problem(429, "rate_limited");
    app.removes(&user.http(), &app.recovery_codes[0]).expects_problem(429, "rate_limited");
    user.logs_in(&json!({"password": "the wrong one"})).expects_problem(401, "invalid_credentials");
    user.logs_in(&json!({})).expects_problem(401, "totp_required");

    let (other, app) = enrolled(&server);
    logs_in(&other, &app.next_code()).expects(200);
}

#[test]
fn malformed_codes_counted_as_wrong_and_locked_the_account() {
    let server = TestServer::shared();
    let (user, app) = enrolled(&server);
    for code in ["1", "12345", "1234567", "abcdef", "１２３４５６", "12345x", "nonsense", "-"] {
        logs_in(&user, code).expects_problem(422, "bad_request");
        let wrong = user.logs_in(&json!({"password": "the wrong one", "totp_code": code}));
        wrong.expects_problem(422, "bad_request");
        app.verifies(&user.http(), code).expects_problem(422, "bad_request");
        app.removes(&user.http(), code).expects_problem(422, "bad_request");
    }
    for none in ["", " "] {
        logs_in(&user, none).expects_problem(401, "totp_required");
        app.verifies(&user.http(), none).expects_problem(422, "bad_request");
    }
    let code = app.next_code();
    logs_in(&user, &format!(" {} {}", &code[..3], &code[3..])).expects(200);

    let (identity, _, app) = enrolled_identity(&server);
    for _ in 0..6 {
        identity.signs_in_with(&server, None, "12345").expects_problem(422, "bad_request");
        let mut refused = shows(&server, &identity, None, &json!({"totp_code": "12345"}));
        refused.expects_refusal("bad_request", 4002);
    }
    shows(&server, &identity, None, &json!({"totp_code": ""})).expects_refusal("totp_required", 4002);
    let code = app.next_code();
    let blanks = format!("{} {}", &code[..3], &code[3..]);
    expects_entry(shows(&server, &identity, None, &json!({"totp_code": blanks})));
}

#[test]
fn a_code_sent_twice_by_a_form_locked_the_account() {
    let server = TestServer::shared();
    let (user, app) = enrolled(&server);
    let code = app.next_code();
    logs_in(&user, &code).expects(200);
    logs_in(&user, &app.recovery_codes[0]).expects(200);
    for _ in 0..6 {
        logs_in(&user, &code).expects_problem(401, "invalid_totp");
        logs_in(&user, &app.recovery_codes[0]).expects_problem(401, "invalid_totp");
    }
    logs_in(&user, &app.recovery_codes[1]).expects(200);
}

#[test]
fn an_app_shows_the_name_of_the_server() {
    for (variable, value, name) in [
        ("ALDIS_NAME", "Relay of Ann", "Relay%20of%20Ann"),
        ("ALDIS_PUBLIC_ORIGIN", "https://relay.example:8443", "relay.example"),
        ("ALDIS_REGISTRATION", "open", "Aldis"),
    ] {
        let server = TestServer::builder().env(variable, value).start();
        let enrolment = enroll(&server.user().http()).expects(200);
        let uri = enrolment["otpauth_uri"].as_str().unwrap();
        assert!(uri.starts_with(&format!("otpauth://totp/{name}:")), "{uri}");
        assert!(uri.contains(&format!("&issuer={name}&")), "{uri}");
        let page = String::from_utf8(server.http().get("/docs/").body).unwrap();
        let title = format!("<title>{}</title>", name.replace("%20", " "));
        assert!(page.contains(&title), "{page}");
    }
}

#[test]
fn a_locked_identity_is_locked_at_its_door() {
    let server = TestServer::shared();
    let (identity, http, app) = enrolled_identity(&server);
    for _ in 0..5 {
        app.verifies(&http, &app.wrong_code()).expects_problem(401, "invalid_totp");
    }
    let mut refused = shows(&server, &identity, None, &json!({"totp_code": app.next_code()}));
    refused.expects_refusal("rate_limited", 4103);
    let answer = identity.signs_in_with(&server, None, &app.recovery_codes[0]);
    answer.expects_problem(429, "rate_limited");
}

#[test]
fn only_five_of_many_concurrent_guesses_are_checked() {
    let server = TestServer::shared();
    let (user, app) = enrolled(&server);
    let (http, wrong) = (&user.http(), &*app.wrong_code());
    let app = &app;
    let statuses: Vec<u16> = thread::scope(|scope| {
        let guesses: Vec<_> =
            (0..30).map(|_| scope.spawn(move || app.verifies(http, wrong).status)).collect();
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|given| **given == status).count();
    assert_eq!((count(401), count(429)), (5, 25), "{statuses:?}");
}

// Identities.

#[test]
fn an_identity_key_needs_a_code_over_http() {
    let server = TestServer::shared();
    let (identity, _, app) = enrolled_identity(&server);
    identity.signs_in(&server, None).expects_problem(401, "totp_required");
    identity.signs_in_with(&server, None, &app.wrong_code()).expects_problem(401, "invalid_totp");
    let code = app.next_code();
    identity.signs_in_with(&server, None, &code).expects(200);
    identity.signs_in_with(&server, None, &code).expects_problem(401, "invalid_totp");
}

#[test]
fn an_identity_key_needs_a_code_on_the_socket() {
    let server = TestServer::shared();
    let (identity, _, app) = enrolled_identity(&server);
    let with_code = |code: &str| json!({"totp_code": code});
    shows(&server, &identity, None, &json!({})).expects_refusal("totp_required", 4002);
    shows(&server, &identity, None, &with_code(&app.wrong_code())).expects_refusal("invalid_totp", 4002);
    let code = app.next_code();
    expects_entry(shows(&server, &identity, None, &with_code(&code)));
    shows(&server, &identity, None, &with_code(&code)).expects_refusal("invalid_totp", 4002);
}

#[test]
fn a_devices_own_key_needs_no_code() {
    let server = TestServer::shared();
    let (identity, http, _) = enrolled_identity(&server);
    let (device, key) = (unique("phone"), Identity::new());
    http.post("/devices/register", &json!({"device_id": device, "pubkey": key.public()})).expects(201);
    expects_entry(shows(&server, &key, Some(&device), &json!({})));
    key.signs_in(&server, Some(&device)).expects(200);
    shows(&server, &identity, Some(&device), &json!({})).expects_refusal("totp_required", 4002);
    identity.signs_in(&server, Some(&device)).expects_problem(401, "totp_required");
}

#[test]
fn naming_a_device_registers_it_only_with_a_code() {
    let server = TestServer::shared();
    let (identity, http, app) = enrolled_identity(&server);
    let device = unique("phone");
    shows(&server, &identity, Some(&device), &json!({})).expects_refusal("totp_required", 4002);
    assert_eq!(http.get("/devices/").expects(200)["devices"], json!([]));
    expects_entry(shows(&server, &identity, Some(&device), &json!({"totp_code": app.next_code()})));
    assert_eq!(http.get("/devices/").expects(200)["devices"][0]["device_id"], device);
}

#[test]
fn a_client_that_resumes_needs_no_code() {
    let server = TestServer::shared();
    let (identity, _, app) = enrolled_identity(&server);
    let device = unique("phone");
    let before =
        expects_entry(shows(&server, &identity, Some(&device), &json!({"totp_code": app.next_code()})));
    let resume = json!({"resume": {"token": before["session"]["resume_token"], "received": 0}});
    let after = expects_entry(shows(&server, &identity, Some(&device), &resume));
    assert_eq!(
        (&after["session"]["resumed"], &after["session"]["id"]),
        (&json!(true), &before["session"]["id"])
    );
}

#[test]
fn a_resume_token_without_a_session_does_not_replace_a_code() {
    let server = TestServer::shared();
    let (identity, _, app) = enrolled_identity(&server);
    let (device, other_device) = (unique("phone"), unique("tablet"));
    let before =
        expects_entry(shows(&server, &identity, Some(&device), &json!({"totp_code": app.next_code()})));
    let mut token = aldis_tests::unbase64::<32>(before["session"]["resume_token"].as_str().unwrap());
    token[31] ^= 1;
    let resume = |token: &str, received: u64| json!({"resume": {"token": token, "received": received}});
    let forged = resume(&aldis_tests::base64(&token), 0);
    shows(&server, &identity, Some(&device), &forged).expects_refusal("totp_required", 4002);
    let good = before["session"]["resume_token"].as_str().unwrap();
    shows(&server, &identity, Some(&device), &resume(good, 9)).expects_refusal("totp_required", 4002);
    shows(&server, &identity, Some(&other_device), &resume(good, 0)).expects_refusal("totp_required", 4002);
    shows(&server, &identity, None, &resume(good, 0)).expects_refusal("totp_required", 4002);
    let (stranger, _, _) = enrolled_identity(&server);
    shows(&server, &stranger, None, &resume(good, 0)).expects_refusal("totp_required", 4002);
    let mut with_code = resume("nonsense", 0);
    with_code["totp_code"] = json!(app.recovery_codes[0]);
    expects_entry(shows(&server, &identity, Some(&device), &with_code));
}

// At rest.

#[test]
fn a_factor_survives_a_restart_and_a_key_rotation() {
    let server = TestServer::builder().without("SECRET_KEY").start();
    let (user, app) = enrolled(&server);
    let identity = Identity::new();
    let challenge = identity.challenge(&server, None);
    let refresh = || server.http().post("/api/auth/refresh", &json!({"refresh_token": user.refresh_token}));
    let refreshed = refresh().expects(200);
    let data_dir = server.directory().to_str().unwrap();
    let rotated = TestServer::builder().env("ALDIS_DATA_DIR", data_dir).run(&["keys", "rotate"]);
    assert!(rotated.status.success(), "{rotated:?}");
    assert_eq!(key_count(&server), 2);
    assert!(server.terminate().success());
    server.restart_same_port();

    user.http().get("/devices/").expects(200);
    let signature = identity.signs(&challenge, aldis_protocol::statement::Transport::Http, None);
    identity.verifies(&server, &challenge, &signature, None).expects(201);
    let repeated = refresh().expects(200);
    assert_eq!(
        repeated["refresh_token"], refreshed["refresh_token"],
        "the same successor, by the key that made it"
    );
    let next = json!({"refresh_token": refreshed["refresh_token"]});
    server.http().post("/api/auth/refresh", &next).expects(200);
    logs_in(&user, &app.next_code()).expects(200);
    logs_in(&user, &app.recovery_codes[0]).expects(200);
    let (later, app) = enrolled(&server);
    assert_ne!(token::header(&later.token)["kid"], token::header(&user.token)["kid"], "the new key signs");
    logs_in(&later, &app.recovery_codes[0]).expects(200);
}

fn key_count(server: &TestServer) -> usize {
    fs::read_to_string(server.directory().join("aldis.key")).unwrap().matches("root_key = ").count()
}

#[test]
fn rotating_needs_a_key_file_and_takes_the_servers_settings() {
    let missing = TestServer::builder().run(&["keys", "rotate"]);
    let error = String::from_utf8(missing.stderr).unwrap();
    assert!(!missing.status.success() && error.contains("ALDIS_DATA_DIR"), "{error}");
    let server = TestServer::start();
    let data_dir = server.directory().to_str().unwrap();
    for arguments in [["keys", "rotate", "--data-dir", data_dir], ["--data-dir", data_dir, "keys", "rotate"]]
    {
        let rotated = TestServer::builder().run(&arguments);
        assert!(rotated.status.success(), "{rotated:?}");
        assert!(!String::from_utf8(rotated.stdout).unwrap().contains("root_key"));
    }
    assert_eq!(key_count(&server), 3);
    assert_eq!(TestServer::builder().run(&["keys"]).status.code(), Some(2));
}

#[test]
fn the_database_contains_neither_secret_nor_recovery_codes() {
    let server = TestServer::start();
    let (_, app) = enrolled(&server);
    assert!(server.terminate().success());
    let recovery = app.recovery_codes[0].as_bytes();
    let bare: Vec<u8> = recovery.iter().copied().filter(|byte| *byte != b'-').collect();
    let base32 = app.base32();
    for file in fs::read_dir(server.directory()).unwrap() {
        let content = fs::read(file.unwrap().path()).unwrap();
        for secret in [app.secret(), base32.as_bytes(), recovery, &bare] {
            assert!(!content.windows(secret.len()).any(|window| window == secret));
        }
    }
}

#[test]
fn on_postgresql_a_factor_works_the_same() {
    let server = TestServer::builder().postgres().start();
    let (user, app) = enrolled(&server);
    user.logs_in(&json!({})).expects_problem(401, "totp_required");
    let code = app.next_code();
    logs_in(&user, &code).expects(200);
    logs_in(&user, &code).expects_problem(401, "invalid_totp");
    logs_in(&user, &app.recovery_codes[0]).expects(200);
    app.removes(&user.http(), &app.recovery_codes[1]).expects(204);
    user.logs_in(&json!({})).expects(200);
}
