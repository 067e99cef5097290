//! Forged tokens, races and hostile texts at the identity's calls (docs/security.md, "Tokens", "Rotation").

use std::thread;

use aldis_auth::{Rotation, SecretKey};
use aldis_protocol::{Fingerprint, Hash, api::ChainHead};
use aldis_tests::{Identity, SECRET_KEY, TestServer, Upgrade, User, base64, now_ms, token, unique};
use serde_json::{Value, json};

/// Forged tokens, made from a valid one.
fn forgeries(genuine: &str) -> Vec<(String, String)> {
    let (header, claims) = (token::header(genuine), token::claims(genuine));
    let changed = |changes: Value| {
        let mut header = header.clone();
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        header
    };
    let mut forged = Vec::new();
    let mut forge = |what: &str, token: String| forged.push((what.to_owned(), token));
    for algorithm in ["none", "None", "nOnE", "", "HS256 "] {
        let header = changed(json!({"alg": algorithm}));
        forge(&format!("unsigned, {algorithm:?}"), token::unsigned(&header, &claims));
        forge(&format!("signed, {algorithm:?}"), token::sign(&header, &claims));
    }
    for algorithm in ["HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA"] {
        forge(algorithm, token::sign(&changed(json!({"alg": algorithm})), &claims));
    }
    for kid in
        ["", "../../../../dev/null", "/etc/passwd", "' OR '1'='1", "http://attacker.example/key", "a\u{0}b"]
    {
        let header = changed(json!({"kid": kid}));
        forge(&format!("kid {kid:?}"), token::sign(&header, &claims));
        forge(&format!("kid {kid:?} and no key"), token::sign_with("", &header, &claims));
    }
    forge("kid that is no text", token::sign(&changed(json!({"kid": ["a"]})), &claims));
    let theirs = "the attacker's own secret of 32 bytes";
    let key =
        json!({"jwk": {"kty": "oct", "k": base64(theirs.as_bytes())}, "jku": "http://attacker.example/"});
    forge("key in the header", token::sign_with(theirs, &changed(key), &claims));
    forge("critical extension", token::sign(&changed(json!({"crit": ["exp"]})), &claims));
    forge("another type", token::sign(&changed(json!({"typ": "at+jwt"})), &claims));
    let now = now_ms() / 1000;
    for changes in [
        json!({"aud": "another"}),
        json!({"aud": ["another"]}),
        json!({"aud": null}),
        json!({"iss": "another"}),
        json!({"nbf": now + 60}),
        json!({"nbf": "now"}),
        json!({"nbf": null}),
        json!({"iat": 1.5e300}),
        json!({"exp": 1.5e300}),
        json!({"sub": "somebody"}),
        json!({"sid": "a\u{0}b"}),
        json!({"padding": "x".repeat(4_096)}),
    ] {
        forge(&changes.to_string(), token::altered(genuine, &changes));
    }
    forge("nested", token::altered(genuine, &json!({"deep": nested(40)})) + ".");
    forge("cut", genuine[..genuine.len() - 1].to_owned());
    forge("the secret itself", SECRET_KEY.replace([' ', ','], "."));
    forge("four parts", format!("{genuine}.x"));
    forge("huge", "x".repeat(7_000));
    forged
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn forged_tokens_are_refused_at_every_door_and_call() {
    let server = TestServer::shared();
    let user = server.user();
    for (what, token) in forgeries(&user.token) {
        let http = server.http().bearer(&token);
        assert_eq!(http.get("/devices/").status, 401, "{what}");
        assert_eq!(http.delete("/api/account").status, 401, "{what}");
        for door in ["/signal", "/ws"] {
            let mut peer = Upgrade::to(door).bearer(&token).subprotocols("aldis.v1.json").peer(&server);
            println!("{what} at {door}");
            peer.expects_error_and_close("invalid_token", 4002);
        }
        let refused = Upgrade::to("/api/ws").bearer(&token).refused(&server);
        assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("invalid_token")), "{what}");
        let auth = json!({"type": "auth", "payload": {"token": token}});
        let mut connect = Upgrade::to("/v1/connect").peer(&server);
        connect.expects("auth_challenge");
        connect.sends(auth.clone());
        let mut chat = Upgrade::to("/v1/chat/lobby").peer(&server);
        chat.sends(auth);
        if token.len() < 7_000 {
            connect.expects_refusal("invalid_token", 4002);
            chat.expects_close(1008, "Invalid token");
        }
    }
    user.http().get("/devices/").expects(200);
}

#[test]
fn a_challenge_for_one_device_is_invalid_for_another() {
    let server = TestServer::shared();
    let identity = Identity::new();
    identity.signs_in(&server, None).expects(201);
    let (one, other) = (unique("one"), unique("other"));
    for device in [&one, &other] {
        identity.connects(&server, Some(device)).expects_nothing();
    }
    let transport = aldis_protocol::statement::Transport::Http;
    for (asked, shown) in [(Some(&*one), Some(&*other)), (Some(&*one), None), (None, Some(&*one))] {
        let challenge = identity.challenge(&server, asked);
        for signed in [asked, shown] {
            let signature = identity.signs(&challenge, transport, signed);
            let answer = identity.verifies(&server, &challenge, &signature, shown);
            answer.expects_problem(401, "invalid_challenge");
        }
    }
    identity.signs_in(&server, Some(&one)).expects(200);
}

// Rotations.

struct Owner {
    server: TestServer,
    key: Identity,
    token: String,
}

impl Owner {
    fn new(server: &TestServer) -> Self {
        let key = Identity::new();
        let tokens = key.signs_in(server, None).expects(201);
        Self { server: server.clone(), key, token: tokens["access_token"].as_str().unwrap().to_owned() }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint().parse().unwrap()
    }

    fn head(&self) -> ChainHead {
        let path = format!("/api/identity/{}", self.fingerprint());
        let head = self.server.http().get(&path).expects(200)["head"].clone();
        let hash: Hash = head["hash"].as_str().unwrap().parse().unwrap();
        ChainHead { sequence: head["sequence"].as_u64().unwrap(), hash }
    }

    fn rotation(&self, by: &SecretKey, to: &SecretKey) -> Value {
        let rotation = Rotation::sign(self.fingerprint(), self.head(), by, to, "test", now_ms());
        json!({
            "sequence": rotation.sequence,
            "previous_hash": rotation.previous_hash.to_string(),
            "old_key": base64(rotation.old_key.as_bytes()),
            "new_key": base64(rotation.new_key.as_bytes()),
            "reason": rotation.reason,
            "created_at_ms": rotation.created_at_ms,
            "signature_old": base64(&rotation.signature_old),
            "signature_new": base64(&rotation.signature_new),
        })
    }
}

#[test]
fn only_one_of_many_concurrent_rotations_is_accepted() {
    for server in [TestServer::start(), TestServer::builder().postgres().start()] {
        let owner = Owner::new(&server);
        let bodies: Vec<Value> =
            (0..8).map(|_| owner.rotation(&owner.key.secret(), &Identity::new().secret())).collect();
        let http = server.http().bearer(&owner.token);
        let mut statuses: Vec<u16> = thread::scope(|scope| {
            let rotations: Vec<_> = bodies
                .iter()
                .map(|body| scope.spawn(|| http.post("/api/identity/rotate", body).status))
                .collect();
            rotations.into_iter().map(|rotation| rotation.join().unwrap()).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
        assert_eq!(owner.head().sequence, 1);
    }
}

/// A stolen token of a login an hour ago, even together with the key, gives the thief nothing that lasts.
#[test]
fn a_stolen_token_never_becomes_a_lasting_credential() {
    let server = TestServer::shared();
    let owner = Owner::new(&server);
    let hour_old = json!({"auth_time": now_ms() / 1000 - 3_600});
    let thief = server.http().bearer(&token::altered(&owner.token, &hour_old));
    let rotation = owner.rotation(&owner.key.secret(), &Identity::new().secret());
    thief.post("/api/identity/rotate", &rotation).expects_problem(403, "step_up_required");
    thief.post("/api/auth/totp/enroll", &json!({})).expects_problem(403, "step_up_required");
    thief.delete("/api/account").expects_problem(403, "step_up_required");

    let user = server.user();
    let thief = server.http().bearer(&token::altered(&user.token, &hour_old));
    let key = Identity::new();
    let challenge = key.challenge(&server, None);
    let signature = key.signs(&challenge, aldis_protocol::statement::Transport::Http, None);
    let link = json!({
        "public_key": key.public(), "challenge": challenge["challenge"], "signature": signature,
    });
    thief.post("/api/identity/link", &link).expects_problem(403, "step_up_required");
    let password = json!({"new_password": "the thief's own"});
    thief.post("/api/auth/password", &password).expects_problem(403, "step_up_required");
    user.logs_in(&json!({})).expects(200);
    assert_eq!(owner.head().sequence, 0);
}

// U+0000.

/// Each text of each call with a zero character in it.
fn bodies_with_zero() -> Vec<(&'static str, &'static str, Value)> {
    let zero = "a\u{0}b";
    let mut calls = Vec::new();
    let key = Identity::new().public();
    let (challenge, signature) = (base64(&[1; 32]), base64(&[1; 64]));
    let whole = [
        ("POST", "/auth/register", json!({"email": "a@b.example", "password": "correct horse"})),
        (
            "POST",
            "/auth/login",
            json!({
                "email": "a@b.example", "password": "correct horse", "totp_code": "123456", "device_id": "phone",
            }),
        ),
        (
            "POST",
            "/api/auth/password",
            json!({"old_password": "correct horse", "new_password": "correct horse"}),
        ),
        ("POST", "/api/auth/challenge", json!({"public_key": key, "device_id": "phone"})),
        (
            "POST",
            "/api/auth/verify",
            json!({
                "public_key": key, "challenge": challenge, "signature": signature, "device_id": "phone",
                "totp_code": "123456",
            }),
        ),
        ("POST", "/api/auth/refresh", json!({"refresh_token": "token"})),
        ("POST", "/api/auth/logout", json!({"everywhere": false, "more": "text"})),
        ("POST", "/api/auth/totp/verify", json!({"code": "123456"})),
        ("DELETE", "/api/auth/totp", json!({"code": "123456"})),
        (
            "POST",
            "/api/identity/link",
            json!({
                "public_key": key, "challenge": challenge, "signature": signature,
            }),
        ),
        (
            "POST",
            "/api/identity/rotate",
            json!({
                "sequence": 1, "previous_hash": "ab".repeat(32), "old_key": key, "new_key": key, "reason": "lost",
                "created_at_ms": 1, "signature_old": signature, "signature_new": signature,
            }),
        ),
        (
            "POST",
            "/api/identity/rotate/cancel",
            json!({
                "fingerprint": "ab".repeat(32), "sequence": 1, "previous_hash": "ab".repeat(32),
                "target_hash": "ab".repeat(32), "signer_key": key, "created_at_ms": 1, "signature": signature,
            }),
        ),
        (
            "PUT",
            "/api/keys/encryption",
            json!({
                "encryption_key": key, "created_at_ms": 1, "signature": signature,
            }),
        ),
        (
            "POST",
            "/devices/register",
            json!({
                "device_id": "phone", "pubkey": key, "name": "phone", "created_at_ms": 1, "signature": signature,
            }),
        ),
        ("PUT", "/api/contacts/00000000-0000-0000-0000-000000000001", json!({"state": "allowed"})),
    ];
    for (method, path, body) in whole {
        for name in body.as_object().unwrap().keys() {
            if body[name].is_string() {
                let mut hostile = body.clone();
                hostile[name] = json!(zero);
                calls.push((method, path, hostile));
            }
        }
        let mut hostile = body.clone();
        hostile[zero] = json!(1);
        calls.push((method, path, hostile));
    }
    calls
}

#[test]
fn a_zero_character_in_any_text_of_a_body_is_a_bad_request() {
    let server = TestServer::shared();
    let http = server.user().http();
    for (method, path, body) in bodies_with_zero() {
        let headers = [("content-type", "application/json")];
        let answer = http.send(method, path, &headers, body.to_string().into_bytes());
        assert_eq!(answer.status, 422, "{method} {path} {body}: {answer:?}");
        answer.expects_problem(422, "bad_request");
    }
}

#[test]
fn a_zero_character_in_any_path_is_not_found() {
    let server = TestServer::shared();
    let http = server.user().http();
    let calls = [
        ("DELETE", "/devices/%00"),
        ("GET", "/api/identity/%00"),
        ("GET", "/api/identity/%00/chain"),
        ("GET", "/api/identity/blob/%00"),
        ("GET", "/api/users/%00/keys"),
        ("PUT", "/api/contacts/%00"),
        ("DELETE", "/api/contacts/%00"),
        ("POST", "/api/contacts/%00/request"),
        ("POST", "/api/contacts/a%00@b.example/request"),
        ("GET", "/%00"),
    ];
    for (method, path) in calls {
        let headers = [("content-type", "application/json")];
        let answer = http.send(method, path, &headers, br#"{"state":"allowed"}"#.to_vec());
        assert!(matches!(answer.status, 404 | 422), "{method} {path}: {answer:?}");
    }
    let opened = |user: &User, query: &str| {
        Upgrade::to(format!("/api/ws?{query}")).bearer(&user.token).try_open(&server).is_ok()
    };
    let user = server.user();
    assert!(opened(&user, "resume=%00&received=%00"), "as an unknown one");
    let refused = Upgrade::to("/api/ws?token=%00").refused(&server);
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("invalid_token")));
}
