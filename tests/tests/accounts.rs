//! Accounts by password and by key, and their tokens (docs/http.md, "Accounts").

use aldis_protocol::statement::Transport;
use aldis_tests::{Answer, Identity, RawHttp, TestServer, Upgrade, base64, now_ms, token, unique};
use serde_json::{Value, json};

fn register(server: &TestServer, email: &str, password: &str) -> Answer {
    server.http().post("/auth/register", &json!({"email": email, "password": password}))
}

fn login(server: &TestServer, email: &str, password: &str) -> Answer {
    server.http().post("/auth/login", &json!({"email": email, "password": password}))
}

fn refresh(server: &TestServer, refresh_token: &str) -> Answer {
    server.http().post("/api/auth/refresh", &json!({"refresh_token": refresh_token}))
}

fn address() -> String {
    format!("{}@aldis.example", unique("a"))
}

// Email and password.

#[test]
fn a_registration_returns_tokens() {
    let server = TestServer::shared();
    let tokens = register(&server, &address(), "12345678").expects(201);
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("bearer"), &json!(900)));
    assert!(tokens["refresh_token"].is_string(), "{tokens}");
    assert!(
        uuid::Uuid::parse_str(tokens["user_id"].as_str().unwrap()).is_ok(),
        "user ids are UUIDs: {tokens}"
    );
}

#[test]
fn an_access_token_has_its_claims() {
    let server = TestServer::shared();
    let user = server.user();
    let (header, claims) = (token::header(&user.token), token::claims(&user.token));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("HS256"), &json!("JWT")));
    assert!(token::is_genuine(&user.token), "the UTF-8 bytes of SECRET_KEY are the key");
    assert_eq!(claims["sub"], user.id);
    for claim in ["iss", "aud", "sid", "jti"] {
        assert!(claims[claim].is_string(), "`{claim}` in {claims}");
    }
    let time = |claim: &str| claims[claim].as_u64().unwrap_or_else(|| panic!("`{claim}` in {claims}"));
    assert_eq!(time("exp") - time("iat"), 900);
    assert!(time("nbf") <= time("iat") && time("auth_time").abs_diff(now_ms() / 1000) < 10, "{claims}");
    assert!(claims.get("did").is_none(), "no device was named: {claims}");
}

#[test]
fn a_taken_address_is_a_conflict_in_any_case() {
    let server = TestServer::shared();
    let email = address();
    register(&server, &email, "12345678").expects(201);
    register(&server, &email, "other password").expects_problem(409, "conflict");
    register(&server, &email.to_uppercase(), "12345678").expects_problem(409, "conflict");
    login(&server, &email.to_uppercase(), "12345678").expects(200);
}

#[test]
fn addresses_have_one_at_sign_and_no_blanks() {
    let server = TestServer::shared();
    let long = format!("{}@b.example", "x".repeat(254 - "@b.example".len() + 1));
    let bad = [
        "",
        "a",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c",
        "a@b c",
        " a@b",
        "a@b\n",
        "a\t@b",
        "a\u{85}@b",
        "a\u{a0}@b",
        &long,
    ];
    for email in bad {
        register(&server, email, "12345678").expects_problem(422, "bad_request");
    }
    let host = unique("b");
    let longest = format!("{}@{host}", "x".repeat(254 - host.len() - 1));
    for email in [format!("a@{host}"), format!("ä@{host}"), longest] {
        register(&server, &email, "12345678").expects(201);
    }
}

#[test]
fn an_invisible_character_made_the_twin_of_an_address() {
    let server = TestServer::shared();
    let host = format!("{}.example", unique("b"));
    register(&server, &format!("ann@{host}"), "12345678").expects(201);
    for invisible in
        ["\u{200b}", "\u{200d}", "\u{ad}", "\u{feff}", "\u{202e}", "\u{3000}", "\u{3164}", "\u{fe0f}"]
    {
        for email in [format!("an{invisible}n@{host}"), format!("ann@{invisible}{host}")] {
            register(&server, &email, "12345678").expects_problem(422, "bad_request");
            login(&server, &email, "12345678").expects_problem(401, "invalid_credentials");
        }
    }
}

#[test]
fn two_spellings_of_one_address_were_two_accounts() {
    let server = TestServer::shared();
    let host = format!("{}.example", unique("b"));
    let (composed, decomposed) = (format!("ren\u{e9}@{host}"), format!("rene\u{301}@{host}"));
    register(&server, &decomposed, "12345678").expects(201);
    register(&server, &composed, "12345678").expects_problem(409, "conflict");
    for email in [&composed, &decomposed, &composed.to_uppercase()] {
        login(&server, email, "12345678").expects(200);
    }
}

#[test]
fn a_password_typed_on_another_keyboard_was_wrong() {
    let server = TestServer::shared();
    let email = address();
    register(&server, &email, "cafe\u{301} au\u{a0}lait").expects(201);
    for same in ["caf\u{e9} au lait", "cafe\u{301} au\u{2003}lait"] {
        login(&server, &email, same).expects(200);
    }
    login(&server, &email, "cafe au lait").expects_problem(401, "invalid_credentials");
}

#[test]
fn passwords_have_eight_characters_to_1024_bytes() {
    let server = TestServer::shared();
    for password in ["", "1234567", "äöüäöüä", &"x".repeat(1_025)] {
        register(&server, &address(), password).expects_problem(422, "bad_request");
    }
    for password in ["12345678", "äöüäöüäö", &"x".repeat(1_024)] {
        let email = address();
        register(&server, &email, password).expects(201);
        login(&server, &email, password).expects(200);
    }
}

#[test]
fn passwords_are_never_cut() {
    let server = TestServer::shared();
    let email = address();
    let password = "x".repeat(100);
    register(&server, &email, &password).expects(201);
    for wrong in ["x".repeat(99), "x".repeat(72), "x".repeat(101), format!("{password}\u{301}")] {
        login(&server, &email, &wrong).expects_problem(401, "invalid_credentials");
    }
}

#[test]
fn with_bcrypt_a_password_over_71_bytes_is_refused() {
    let server = TestServer::builder().env("PASSWORD_HASH", "bcrypt").start();
    register(&server, &address(), &"x".repeat(72)).expects_problem(422, "bad_request");
    let email = address();
    register(&server, &email, &"x".repeat(71)).expects(201);
    login(&server, &email, &"x".repeat(71)).expects(200);
    login(&server, &email, &"x".repeat(70)).expects_problem(401, "invalid_credentials");
}

#[test]
fn a_wrong_address_and_a_wrong_password_look_alike() {
    let server = TestServer::shared();
    let user = server.user();
    let wrong_password = login(&server, &user.email, "not the password");
    let wrong_address = login(&server, &address(), "not the password");
    wrong_password.expects_problem(401, "invalid_credentials");
    assert_eq!(wrong_password.body, wrong_address.body);
    assert_eq!(wrong_password.status, wrong_address.status);
}

#[test]
fn a_wrong_address_costs_the_hash_of_a_wrong_password() {
    for kind in ["argon2id", "bcrypt"] {
        let server = TestServer::builder().env("PASSWORD_HASH", kind).start();
        let user = server.user();
        let costs = |email: &str, password: &str, status: u16| {
            let before = server.metric("aldis_password_hashes_total");
            login(&server, email, password).expects(status);
            server.metric("aldis_password_hashes_total") - before
        };
        for (email, password) in [
            (user.email.clone(), "not the password".to_owned()),
            (address(), "not the password".to_owned()),
            ("no address".to_owned(), "not the password".to_owned()),
            (user.email.clone(), "short".to_owned()),
            (address(), "short".to_owned()),
            (user.email.clone(), "x".repeat(2_000)),
            (address(), "x".repeat(2_000)),
        ] {
            assert_eq!(costs(&email, &password, 401), 1, "{kind}, {email}, {} bytes", password.len());
        }
        assert_eq!(costs(&user.email, &user.password, 200), 1, "{kind}");
    }
}

#[test]
fn a_login_answers_the_same_as_a_registration() {
    let server = TestServer::shared();
    let user = server.user();
    let tokens = user.logs_in(&json!({})).expects(200);
    assert_eq!(tokens["user_id"], user.id);
    assert_ne!(
        token::claims(tokens["access_token"].as_str().unwrap())["sid"],
        token::claims(&user.token)["sid"]
    );
}

#[test]
fn a_login_for_a_foreign_device_is_refused() {
    let server = TestServer::shared();
    let (user, owner) = (server.user(), server.user());
    let device = owner.device("phone").id;
    user.logs_in(&json!({"device_id": device})).expects_problem(404, "unknown_device");
    user.logs_in(&json!({"device_id": unique("never")})).expects_problem(404, "unknown_device");
}

/// Registers a user from an address that a proxy reports.
fn register_from(server: &TestServer, from: &str) -> Answer {
    let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", from)];
    let body = json!({"email": address(), "password": "12345678"}).to_string();
    server.http().send("POST", "/auth/register", &headers, body.into_bytes())
}

#[test]
fn the_sixth_registration_of_an_hour_is_refused_until_later() {
    let behind_proxy = TestServer::builder().env("ALDIS_TRUSTED_PROXY_HOPS", "1");
    let server = behind_proxy.without("ALDIS_RATE_LIMITS").start();
    for _ in 0..5 {
        register_from(&server, "192.0.2.1").expects(201);
    }
    let refused = register_from(&server, "192.0.2.1");
    refused.expects_problem(429, "rate_limited");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=3_600).contains(&seconds), "Retry-After: {seconds}");
    register_from(&server, "192.0.2.2").expects(201);
}

#[test]
fn a_forwarded_address_does_not_lift_a_limit() {
    let server = TestServer::builder().without("ALDIS_RATE_LIMITS").start();
    // Loopback has ten times the limit.
    for number in 1..=50 {
        register_from(&server, &format!("192.0.2.{number}")).expects(201);
    }
    register_from(&server, "192.0.2.51").expects_problem(429, "rate_limited");
}

#[test]
fn with_closed_registration_new_users_cannot_sign_in() {
    let server = TestServer::builder().env("ALDIS_REGISTRATION", "closed").start();
    register(&server, &address(), "12345678").expects_problem(403, "registration_closed");
    Identity::new().signs_in(&server, None).expects_problem(403, "registration_closed");
}

// Refresh.

#[test]
fn a_refresh_token_works_once() {
    let server = TestServer::shared();
    let user = server.user();
    let first = refresh(&server, &user.refresh_token).expects(200);
    assert_ne!(first["refresh_token"], user.refresh_token);
    let claims = token::claims(first["access_token"].as_str().unwrap());
    assert_eq!(claims["sid"], token::claims(&user.token)["sid"], "the family stays");
    assert_eq!(claims["auth_time"], token::claims(&user.token)["auth_time"], "a refresh is no login");
}

#[test]
fn a_repetition_gets_the_same_successor_while_that_is_unused() {
    let server = TestServer::shared();
    let user = server.user();
    let first = refresh(&server, &user.refresh_token).expects(200);
    let again = refresh(&server, &user.refresh_token).expects(200);
    assert_eq!(first["refresh_token"], again["refresh_token"]);
}

#[test]
fn a_reuse_revokes_the_family_and_closes_its_sockets() {
    let server = TestServer::shared();
    let user = server.user();
    let mut live = user.opens_ephemeral();
    let first = refresh(&server, &user.refresh_token).expects(200);
    let successor = first["refresh_token"].as_str().unwrap();
    refresh(&server, successor).expects(200);

    refresh(&server, &user.refresh_token).expects_problem(401, "refresh_reused");
    assert_eq!(live.socket.expects_any_close().0, 4301);
    user.http().get("/devices/").expects_problem(401, "revoked");
    assert_eq!(refresh(&server, successor).status, 401);
    let other = user.logs_in(&json!({})).expects(200);
    server.http().bearer(other["access_token"].as_str().unwrap()).get("/devices/").expects(200);
}

#[test]
fn nonsense_refreshes_nothing() {
    let server = TestServer::shared();
    let user = server.user();
    for nonsense in ["", "nonsense", &user.token, &base64(&[7; 32])] {
        assert!(matches!(refresh(&server, nonsense).status, 401 | 422), "{nonsense:?}");
    }
}

// Keys.

#[test]
fn a_new_key_creates_an_account_and_later_signs_in_to_it() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let made = identity.signs_in(&server, None).expects(201);
    let again = identity.signs_in(&server, None).expects(200);
    assert_eq!(made["user_id"], again["user_id"]);
    assert_eq!(made["fingerprint"], identity.fingerprint());
    assert_eq!(made["token_type"], "bearer");
    let token = made["access_token"].as_str().unwrap();
    server.http().bearer(token).get("/devices/").expects(200);
}

#[test]
fn a_challenge_is_the_same_for_known_and_unknown_keys() {
    let server = TestServer::shared();
    let known = Identity::new();
    known.signs_in(&server, None).expects(201);
    for identity in [known, Identity::new()] {
        let challenge = identity.challenge(&server, None);
        assert_eq!(challenge.as_object().unwrap().len(), 3, "{challenge}");
        assert_eq!(challenge["audience"], server.authority());
        let left = challenge["expires_at_ms"].as_u64().unwrap() - now_ms();
        assert!((55_000..=60_000).contains(&left), "a challenge lives 60 s on HTTP, not {left} ms");
    }
}

#[test]
fn every_failed_answer_looks_the_same() {
    let server = TestServer::shared();
    let (identity, other) = (Identity::new(), Identity::new());
    let used = identity.challenge(&server, None);
    let signature = identity.signs(&used, Transport::Http, None);
    identity.verifies(&server, &used, &signature, None).expects(201);

    let challenge = |identity: &Identity| identity.challenge(&server, None);
    let wrong = |challenge: &Value, changes: Value| {
        let mut challenge = challenge.clone();
        for (name, value) in changes.as_object().unwrap() {
            challenge[name] = value.clone();
        }
        identity.verifies(&server, &challenge, &identity.signs(&challenge, Transport::Http, None), None)
    };
    let fresh = challenge(&identity);
    let failures = [
        ("a replay", identity.verifies(&server, &used, &signature, None)),
        ("another's challenge", wrong(&challenge(&other), json!({}))),
        ("another's signature", {
            let fresh = challenge(&identity);
            identity.verifies(&server, &fresh, &other.signs(&fresh, Transport::Http, None), None)
        }),
        ("a socket's answer", {
            let fresh = challenge(&identity);
            identity.verifies(&server, &fresh, &identity.signs(&fresh, Transport::WebSocket, None), None)
        }),
        ("an invented challenge", wrong(&fresh, json!({"challenge": base64(&[7; 32])}))),
        ("another audience", wrong(&fresh, json!({"audience": "evil.example"}))),
        ("a challenge for a device", {
            let for_device = identity.challenge(&server, Some("phone"));
            identity.verifies(&server, &for_device, &identity.signs(&for_device, Transport::Http, None), None)
        }),
    ];
    let expected = &failures[0].1;
    assert_eq!(expected.status, 401);
    for (failure, answer) in &failures {
        assert_eq!((answer.status, &answer.json()), (401, &expected.json()), "{failure}");
    }
}

#[test]
fn a_challenge_is_used_up_by_a_failure() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let challenge = identity.challenge(&server, None);
    let wrong = Identity::new().signs(&challenge, Transport::Http, None);
    assert_eq!(identity.verifies(&server, &challenge, &wrong, None).status, 401);
    let right = identity.signs(&challenge, Transport::Http, None);
    assert_eq!(identity.verifies(&server, &challenge, &right, None).status, 401);
}

#[test]
fn only_one_of_many_concurrent_uses_of_a_challenge_succeeds() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let challenge = identity.challenge(&server, None);
    let signature = identity.signs(&challenge, Transport::Http, None);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let attempts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| identity.verifies(&server, &challenge, &signature, None).status))
            .collect();
        attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 7, "{statuses:?}");
}

#[test]
fn an_unregistered_device_is_unknown() {
    let server = TestServer::shared();
    let identity = Identity::new();
    identity.signs_in(&server, None).expects(201);
    identity.signs_in(&server, Some(&unique("never"))).expects_problem(404, "unknown_device");
}

#[test]
fn a_device_key_signs_in_for_its_device() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone");
    let tokens = device.key.signs_in(&server, Some(&device.id)).expects(200);
    assert_eq!(tokens["user_id"], user.id);
    assert_eq!(token::claims(tokens["access_token"].as_str().unwrap())["did"], device.id);
}

#[test]
fn weak_and_malformed_keys_are_refused() {
    let server = TestServer::shared();
    let neutral = small_order(&[1]);
    let mut order_two = [0xff; 32];
    (order_two[0], order_two[31]) = (0xec, 0x7f);
    let mut second_spelling = [0xff; 32];
    (second_spelling[0], second_spelling[31]) = (0xee, 0x7f);
    for key in [small_order(&[]), neutral, order_two, second_spelling, [0xff; 32]] {
        let body = json!({"public_key": base64(&key)});
        server.http().post("/api/auth/challenge", &body).expects_problem(422, "invalid_key");
    }
    for key in ["", "nonsense", &base64(&[7; 31]), &base64(&[7; 33]), &"x".repeat(44)] {
        let answer = server.http().post("/api/auth/challenge", &json!({"public_key": key}));
        assert_eq!(answer.status, 422, "{key:?}");
    }
}

#[test]
fn the_universal_forgery_opens_nothing() {
    let server = TestServer::shared();
    let neutral = small_order(&[1]);
    let signature = [neutral, [0; 32]].concat();
    let challenge = Identity::new().challenge(&server, None);
    let body = json!({
        "public_key": base64(&neutral), "challenge": challenge["challenge"], "signature": base64(&signature),
    });
    let answer = server.http().post("/api/auth/verify", &body);
    assert!(matches!(answer.status, 401 | 422), "{answer:?}");
}

#[test]
fn a_foreign_host_needs_a_public_origin() {
    let server = TestServer::shared();
    let body = json!({"public_key": Identity::new().public()}).to_string();
    let request = format!(
        "POST /api/auth/challenge HTTP/1.1\r\nHost: aldis.example\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = RawHttp::exchange(&server, request.as_bytes());
    assert_eq!((answer.status, &answer.json()["code"]), (421, &json!("public_origin_required")));
    let refused = Upgrade::to("/v1/connect").header("Host", "aldis.example").refused(&server);
    assert_eq!((refused.status, &refused.json()["code"]), (421, &json!("public_origin_required")));
}

#[test]
fn a_loopback_name_is_the_audience_as_sent() {
    let server = TestServer::shared();
    let host = format!("localhost:{}", server.address().port());
    let mut peer = Upgrade::to("/v1/connect").header("Host", &host).peer(&server);
    assert_eq!(peer.expects("auth_challenge")["audience"], host);
}

#[test]
fn a_public_origin_is_the_audience_whatever_the_host() {
    let server = TestServer::builder().env("ALDIS_PUBLIC_ORIGIN", "https://relay.example:8443").start();
    let mut peer = Upgrade::to("/v1/connect").header("Host", "evil.example").peer(&server);
    assert_eq!(peer.expects("auth_challenge")["audience"], "relay.example:8443");
    assert_eq!(Identity::new().challenge(&server, None)["audience"], "relay.example:8443");
}

/// The key whose bytes begin like this and are zero otherwise.
fn small_order(bytes: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    key[..bytes.len()].copy_from_slice(bytes);
    key
}
