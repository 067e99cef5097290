//! Every door: how a client proves who it is, what a refusal looks like, and the codec (docs/protocol/doors.md).

use std::time::{Duration, Instant};

use aldis_tests::{Frame, Identity, Incoming, Peer, TestServer, Upgrade, User, token, unique};
use serde_json::json;

const QUERY_DOORS: [&str; 2] = ["/signal", "/api/ws"];

/// A session at the chat door with this first message.
fn chat(server: &TestServer, first: serde_json::Value) -> Peer {
    let mut peer = Upgrade::to(format!("/v1/chat/{}", unique("room"))).peer(server);
    peer.sends(first);
    peer
}

/// A session at `/v1/connect` after its challenge.
fn connect(server: &TestServer) -> (Peer, serde_json::Value) {
    let mut peer = Upgrade::to("/v1/connect").peer(server);
    let challenge = peer.expects("auth_challenge");
    (peer, challenge)
}

fn expired(user: &User) -> String {
    token::aged(&user.token, 900, -60)
}

// The socket doors.

#[test]
fn a_key_answers_the_challenge() {
    let server = TestServer::shared();
    let (mut peer, challenge) = connect(&server);
    assert_eq!(challenge["audience"], server.authority());
    let left = challenge["expires_at_ms"].as_u64().unwrap() - aldis_tests::now_ms();
    assert!((8_000..=10_000).contains(&left), "a challenge lives 10 s on a socket, not {left} ms");

    peer.sends(Identity::new().answers(&challenge, None));
    let success = peer.expects("auth_success");
    assert_eq!(success["expires_at"], json!(null), "a key has no expiry");
    let connected = peer.expects_connected();
    assert_eq!(connected["message"], "Connected to signaling server");
    assert_eq!(
        (&connected["user_id"], &connected["device_id"]),
        (&success["user_id"], &success["device_id"])
    );
    assert!(peer.device_id().starts_with('~'), "without a device id the device is ephemeral");
}

#[test]
fn connected_tells_session_heartbeat_and_limits() {
    let connected = TestServer::shared().user().opens_ephemeral().connected;
    let session = &connected["session"];
    assert!(session["id"].is_string() && session["resume_token"].is_string(), "{session}");
    assert_eq!((&session["resume_window"], &session["resumed"]), (&json!(30), &json!(false)));
    assert!(session["replayed"].is_number(), "{session}");
    assert_eq!(connected["heartbeat"], json!({"interval": 30, "timeout": 10}));
    assert_eq!(connected["limits"]["max_message_bytes"], 65_536);
}

#[test]
fn frames_that_the_server_starts_have_a_fresh_id_and_a_timestamp() {
    let user = TestServer::shared().user();
    let (first, second) = (user.opens_ephemeral().connected, user.opens_ephemeral().connected);
    assert_ne!(first["id"], second["id"]);
    let timestamp = first["timestamp"].as_str().unwrap();
    assert_eq!(
        timestamp.len(),
        "2026-01-01T00:00:00.000Z".len(),
        "RFC 3339 UTC with milliseconds: {timestamp}"
    );
    assert!(timestamp.ends_with('Z'), "{timestamp}");
}

#[test]
fn a_token_answers_at_connect_too() {
    let server = TestServer::shared();
    let user = server.user();
    let (mut peer, _) = connect(&server);
    peer.sends(json!({"type": "auth", "id": "1", "payload": {"token": user.token}}));
    let success = peer.expects("auth_success");
    assert_eq!((&success["user_id"], &success["id"]), (&json!(user.id), &json!("1")));
    assert!(success["expires_at"].is_string(), "{success}");
    peer.expects_connected();
}

#[test]
fn connect_refuses_by_auth_failure_and_close() {
    let server = TestServer::shared();
    let user = server.user();
    let auth = |token: &str| json!({"type": "auth", "payload": {"token": token}});
    let cases = [
        (json!({"type": "ping"}), "missing_token", 4001),
        (json!({"type": "auth_response"}), "bad_request", 4002),
        (auth("nonsense"), "invalid_token", 4002),
        (auth(&expired(&user)), "expired_token", 4003),
        (
            json!({"type": "auth", "payload": {"token": user.token, "device_id": unique("never")}}),
            "unknown_device",
            4303,
        ),
    ];
    for (first, code, close) in cases {
        let (mut peer, _) = connect(&server);
        peer.sends(first);
        peer.expects_refusal(code, close);
    }
}

#[test]
fn a_signature_that_does_not_verify_is_refused() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let (mut peer, challenge) = connect(&server);
    let mut answer = identity.answers(&challenge, None);
    answer["signature"] = Identity::new().answers(&challenge, None)["signature"].clone();
    peer.sends(answer);
    peer.expects_refusal("invalid_signature", 4002);
}

#[test]
fn a_challenge_is_bound_to_its_socket() {
    let server = TestServer::shared();
    let (_first, challenge) = connect(&server);
    let (mut second, _) = connect(&server);
    second.sends(Identity::new().answers(&challenge, None));
    second.expects_refusal("invalid_signature", 4002);
}

#[test]
fn an_answer_for_http_is_refused_on_a_socket() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let (mut peer, challenge) = connect(&server);
    let mut answer = identity.answers(&challenge, None);
    answer["signature"] = json!(identity.signs(&challenge, aldis_protocol::statement::Transport::Http, None));
    peer.sends(answer);
    peer.expects_refusal("invalid_signature", 4002);
}

#[test]
fn chat_refuses_with_exactly_four_reasons() {
    let server = TestServer::shared();
    let user = server.user();
    let cases = [
        (json!({"type": "ping"}), "First message must be auth"),
        (json!({"type": "auth", "payload": {}}), "Missing auth token"),
        (json!({"type": "auth", "payload": {"token": "nonsense"}}), "Invalid token"),
        (json!({"type": "auth", "payload": {"token": expired(&user)}}), "Invalid token"),
    ];
    for (first, reason) in cases {
        chat(&server, first).expects_close(1008, reason);
    }
}

#[test]
fn malformed_text_at_the_chat_door_is_not_an_auth() {
    let server = TestServer::shared();
    for text in
        ["", "nonsense", "[]", "\u{feff}{\"type\":\"auth\"}", r#"{"type":"nothing"}"#, r#"{"type":1}"#]
    {
        let mut peer = Upgrade::to("/v1/chat/lobby").peer(&server);
        peer.sends_text(text);
        peer.expects_close(1008, "First message must be auth");
    }
}

#[test]
fn chat_opens_after_auth() {
    let server = TestServer::shared();
    let user = server.user();
    let mut peer = chat(&server, json!({"type": "auth", "payload": {"token": user.token}}));
    assert_eq!(peer.expects("auth_success")["user_id"], user.id);
    peer.expects_connected();
}

#[test]
fn silence_is_ended_after_five_seconds() {
    let server = TestServer::shared();
    let start = Instant::now();
    let (mut connect, _) = connect(&server);
    let mut chat = Upgrade::to("/v1/chat/lobby").peer(&server);
    connect.expects_refusal("missing_token", 4001);
    chat.expects_close(1008, "Authentication timeout");
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(4_500) && waited < Duration::from_secs(8), "{waited:?}");
}

#[test]
fn the_socket_doors_ignore_query_and_header() {
    let server = TestServer::shared();
    let user = server.user();
    let mut connect =
        Upgrade::to("/v1/connect").query("token", &user.token).bearer(&user.token).peer(&server);
    connect.expects("auth_challenge");
    connect.sends(json!({"type": "ping"}));
    connect.expects_refusal("missing_token", 4001);

    let mut chat =
        Upgrade::to("/v1/chat/lobby").query("token", &user.token).bearer(&user.token).peer(&server);
    chat.sends(json!({"type": "ping"}));
    chat.expects_close(1008, "First message must be auth");
}

#[test]
fn requests_after_a_valid_proof_are_processed_in_order() {
    let server = TestServer::shared();
    let user = server.user();
    let frames = [
        json!({"type": "auth", "payload": {"token": user.token}}),
        json!({"type": "ping", "id": "a"}),
        json!({"type": "ping", "id": "b"}),
    ];
    let bytes: Vec<u8> = frames.iter().flat_map(|frame| Frame::text(frame.to_string()).encode()).collect();
    let mut peer = Peer::new(Upgrade::to("/v1/connect").try_open_pipelining(&server, &bytes).unwrap());
    for kind in ["auth_challenge", "auth_success", "connected"] {
        peer.expects(kind);
    }
    assert_eq!(peer.expects("pong")["id"], "a");
    assert_eq!(peer.expects("pong")["id"], "b");
}

#[test]
fn requests_after_an_invalid_proof_are_never_processed() {
    let server = TestServer::shared();
    let user = server.user();
    let (mut peer, _) = connect(&server);
    peer.sends(json!({"type": "auth", "payload": {"token": "nonsense"}}));
    peer.sends(json!({"type": "auth", "payload": {"token": user.token}}));
    peer.sends(json!({"type": "ping", "id": "a"}));
    peer.expects_refusal("invalid_token", 4002);
}

// The query doors.

#[test]
fn query_doors_send_only_connected() {
    let server = TestServer::shared();
    let user = server.user();
    for door in QUERY_DOORS {
        let in_query = Upgrade::to(door).query("token", &user.token).connected(&server);
        let in_header = Upgrade::to(door).bearer(&user.token).connected(&server);
        let in_both = Upgrade::to(door).query("token", &user.token).bearer(&user.token).connected(&server);
        for peer in [in_query, in_header, in_both] {
            assert_eq!(peer.connected["user_id"], user.id, "{door}");
        }
    }
}

#[test]
fn signal_and_ws_refuse_by_a_close() {
    let server = TestServer::shared();
    let user = server.user();
    let other = server.user();
    for door in ["/signal", "/ws"] {
        let door = || Upgrade::to(door).subprotocols("aldis.v1.json");
        door().peer(&server).expects_error_and_close("missing_token", 4001);
        door().query("token", "nonsense").peer(&server).expects_error_and_close("invalid_token", 4002);
        door().query("token", &expired(&user)).peer(&server).expects_error_and_close("expired_token", 4003);
        let two = door().query("token", &user.token).bearer(&other.token);
        two.peer(&server).expects_error_and_close("invalid_token", 4002);
        let device = door().bearer(&user.token).query("device_id", &unique("never"));
        device.peer(&server).expects_error_and_close("unknown_device", 4303);
    }
}

#[test]
fn two_different_tokens_are_invalid() {
    let server = TestServer::shared();
    let (token, other) = (server.user().token, server.user().token);
    let upgrades = [
        Upgrade::to("/api/ws").query("token", &token).query("token", &other),
        Upgrade::to("/api/ws").bearer(&token).bearer(&other),
        Upgrade::to("/api/ws").query("token", &token).bearer(&other),
    ];
    for upgrade in upgrades {
        let refused = upgrade.refused(&server);
        assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("invalid_token")), "{upgrade:?}");
    }
}

#[test]
fn requests_after_a_query_are_processed_only_after_a_valid_proof() {
    let server = TestServer::shared();
    let user = server.user();
    let ping = Frame::text(json!({"type": "ping", "id": "early"}).to_string()).encode();
    let good = Upgrade::to("/signal").bearer(&user.token).try_open_pipelining(&server, &ping);
    let mut good = Peer::new(good.unwrap());
    good.expects_connected();
    assert_eq!(good.expects("pong")["id"], "early");

    let bad = Upgrade::to("/signal").bearer("nonsense").try_open_pipelining(&server, &ping);
    Peer::new(bad.unwrap()).expects_error_and_close("invalid_token", 4002);
}

#[test]
fn a_malformed_resume_is_treated_like_an_unknown_one() {
    let server = TestServer::shared();
    let user = server.user();
    for (token, received) in [("nonsense", "0"), ("", "0"), ("nonsense", "many"), ("x", "-1")] {
        let upgrade = Upgrade::to("/signal").bearer(&user.token).query("resume", token);
        let peer = upgrade.query("received", received).connected(&server);
        assert_eq!(peer.connected["session"]["resumed"], false);
    }
    for resume in
        [json!({"token": "nonsense", "received": 0}), json!({"token": 7}), json!("nonsense"), json!(null)]
    {
        let (mut peer, _) = connect(&server);
        peer.sends(json!({"type": "auth", "payload": {"token": user.token, "resume": resume}}));
        peer.expects("auth_success");
        assert_eq!(peer.expects_connected()["session"]["resumed"], false, "{resume}");
    }
}

#[test]
fn a_cookie_is_not_a_credential() {
    let server = TestServer::shared();
    let user = server.user();
    let cookie = format!("token={0}; access_token={0}", user.token);
    let refused = Upgrade::to("/api/ws").header("Cookie", &cookie).refused(&server);
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("missing_token")));
}

#[test]
fn many_connect_at_once() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone").id;
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| Upgrade::to("/signal").bearer(&user.token).connected(&server).expects_nothing());
            scope.spawn(|| {
                Upgrade::to("/signal").bearer(&user.token).query("device_id", &device).peer(&server)
            });
        }
    });
    user.opens(&device).expects_nothing();
}

#[test]
fn api_ws_refuses_before_the_upgrade() {
    let server = TestServer::shared();
    let user = server.user();
    let missing = Upgrade::to("/api/ws").refused(&server);
    assert_eq!((missing.status, &missing.json()["detail"]), (401, &json!("Missing authentication token")));
    assert_eq!(missing.json()["code"], "missing_token");
    let other = server.user();
    let two = Upgrade::to("/api/ws").query("token", &user.token).bearer(&other.token);
    for upgrade in [
        Upgrade::to("/api/ws").query("token", "nonsense"),
        Upgrade::to("/api/ws").query("token", &expired(&user)),
        two,
    ] {
        let refused = upgrade.refused(&server);
        assert_eq!(
            (refused.status, &refused.json()["detail"]),
            (401, &json!("Invalid authentication token"))
        );
        assert!(!refused.header("www-authenticate").is_empty(), "{refused:?}");
    }
}

#[test]
fn only_valid_tokens_are_accepted() {
    let server = TestServer::shared();
    let user = server.user();
    let (header, claims) = (token::header(&user.token), token::claims(&user.token));
    let header_with = |algorithm: &str| {
        let mut header = header.clone();
        header["alg"] = json!(algorithm);
        header
    };
    let mut forged = vec![
        token::sign_with("another key, of 32 bytes and more than that", &header, &claims),
        token::unsigned(&header_with("none"), &claims),
        token::sign(&header_with("none"), &claims),
        token::sign(&header_with("HS512"), &claims),
        token::sign(&header_with("EdDSA"), &claims),
        token::altered(&user.token, &json!({"aud": "another"})),
        token::altered(&user.token, &json!({"iss": "another"})),
        token::altered(&user.token, &json!({"nbf": 9_999_999_999_u64})),
        token::altered(&user.token, &json!({"padding": "x".repeat(4_096)})),
        token::sign_with(
            "another key, of 32 bytes and more than that",
            &header,
            &token::claims(&expired(&user)),
        ),
    ];
    for claim in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "auth_time"] {
        forged.push(token::altered(&user.token, &json!({claim: null})));
    }
    for token in forged {
        let refused = Upgrade::to("/api/ws").bearer(&token).refused(&server);
        assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("invalid_token")), "{token}");
    }
}

#[test]
fn a_token_signed_by_the_harness_is_accepted() {
    let server = TestServer::shared();
    let user = server.user();
    let token = token::altered(&user.token, &json!({}));
    assert_eq!(Upgrade::to("/api/ws").bearer(&token).connected(&server).connected["user_id"], user.id);
}

// Devices.

#[test]
fn a_registered_device_connects_at_every_door() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone").id;
    for door in QUERY_DOORS {
        let peer = Upgrade::to(door).bearer(&user.token).query("device_id", &device).connected(&server);
        assert_eq!(peer.device_id(), device, "{door}");
    }
    let first = json!({"type": "auth", "payload": {"token": user.token, "device_id": device}});
    let mut chat = chat(&server, first.clone());
    assert_eq!(chat.expects("auth_success")["device_id"], device.as_str());
    let (mut connect, _) = connect(&server);
    connect.sends(first);
    assert_eq!(connect.expects("auth_success")["device_id"], device.as_str());
}

#[test]
fn a_device_of_another_user_is_refused_at_every_door() {
    let server = TestServer::shared();
    let (user, owner) = (server.user(), server.user());
    let device = owner.device("phone").id;
    for door in QUERY_DOORS {
        let mut peer = Upgrade::to(door).bearer(&user.token).query("device_id", &device).peer(&server);
        peer.expects_error_and_close("unknown_device", 4303);
    }
    let first = json!({"type": "auth", "payload": {"token": user.token, "device_id": device}});
    let mut chat = chat(&server, first);
    chat.expects_error_and_close("unknown_device", 4303);
}

#[test]
fn a_token_bound_to_a_device_is_valid_only_for_it() {
    let server = TestServer::shared();
    let user = server.user();
    let (phone, laptop) = (user.device("phone").id, user.device("laptop").id);
    let login = user.logs_in(&json!({"device_id": phone})).expects(200);
    let token = login["access_token"].as_str().unwrap();
    assert_eq!(token::claims(token)["did"], phone.as_str());

    let peer = Upgrade::to("/signal").bearer(token).connected(&server);
    assert_eq!(peer.device_id(), phone, "the token's device where none is given");
    let mut other = Upgrade::to("/signal").bearer(token).query("device_id", &laptop).peer(&server);
    other.expects_error_and_close("invalid_token", 4002);
}

#[test]
fn a_device_id_of_another_grammar_is_unknown() {
    let server = TestServer::shared();
    let user = server.user();
    let long = "x".repeat(65);
    for id in [
        "~01890a5d-ac96-774b-bcce-b302099a8057",
        "a%20b",
        "*",
        "%3E",
        "a%0Ab",
        "a%00b",
        "%C3%A4",
        long.as_str(),
    ] {
        let mut peer = Upgrade::to("/signal").bearer(&user.token).query("device_id", id).peer(&server);
        peer.expects_error_and_close("unknown_device", 4303);
    }
}

#[test]
fn a_device_key_is_accepted_only_with_its_device_id() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone");

    let peer = device.key.connects(&server, Some(&device.id));
    assert_eq!(peer.connected["user_id"], user.id);
    let stranger = device.key.connects(&server, None);
    assert_ne!(stranger.connected["user_id"], user.id, "without the device id it is an identity key");
}

#[test]
fn another_key_does_not_prove_a_device() {
    let server = TestServer::shared();
    let device = server.user().device("phone");
    let (mut peer, challenge) = connect(&server);
    peer.sends(Identity::new().answers(&challenge, Some(&device.id)));
    peer.expects_refusal("unknown_device", 4303);
}

#[test]
fn an_identity_key_registers_a_free_device_by_naming_it() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let device = unique("laptop");
    let first = identity.connects(&server, Some(&device));
    assert_eq!(first.device_id(), device);
    drop(first);
    let again = identity.connects(&server, Some(&device));
    assert_eq!(again.device_id(), device);
}

#[test]
fn a_closed_registration_refuses_new_keys() {
    let server = TestServer::builder().env("ALDIS_REGISTRATION", "closed").start();
    let (mut peer, challenge) = connect(&server);
    peer.sends(Identity::new().answers(&challenge, None));
    peer.expects_refusal("registration_closed", 4002);
}

#[test]
fn a_weak_key_is_refused() {
    let server = TestServer::shared();
    let (mut peer, _) = connect(&server);
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let signature = [neutral, [0; 32]].concat();
    peer.sends(json!({
        "type": "auth_response",
        "public_key": aldis_tests::base64(&neutral),
        "signature": aldis_tests::base64(&signature),
    }));
    peer.expects_refusal("invalid_key", 4002);
}

#[test]
fn a_newer_connection_of_a_device_replaces_the_older() {
    let user = TestServer::shared().user();
    let device = user.device("phone").id;
    let mut older = user.opens(&device);
    let mut newer = user.opens(&device);
    older.expects_error_and_close("conflict", 4300);
    newer.expects_nothing();
}

#[test]
fn the_thirty_third_connection_is_refused() {
    let server = TestServer::builder().without("ALDIS_RATE_LIMITS").start();
    let user = server.user();
    let held: Vec<Peer> = (0..32).map(|_| user.opens_ephemeral()).collect();

    let mut signal = Upgrade::to("/signal").bearer(&user.token).peer(&server);
    signal.expects_error_and_close("overloaded", 4304);
    let mut api = Upgrade::to("/api/ws").bearer(&user.token).peer(&server);
    api.expects_error_and_close("overloaded", 4304);
    let (mut at_connect, _) = connect(&server);
    at_connect.sends(json!({"type": "auth", "payload": {"token": user.token}}));
    at_connect.expects_refusal("overloaded", 4304);
    drop(held);
}

// Codecs and paths.

#[test]
fn the_first_known_subprotocol_is_chosen() {
    let server = TestServer::shared();
    let user = server.user();
    let cases = [
        ("aldis.v1.json", "aldis.v1.json"),
        ("aldis.v1.proto, aldis.v1.json", "aldis.v1.proto"),
        ("other, aldis.v1.json", "aldis.v1.json"),
        ("other", ""),
    ];
    for (offered, chosen) in cases {
        let socket = Upgrade::to("/signal").bearer(&user.token).subprotocols(offered).open(&server);
        assert_eq!(socket.subprotocol, chosen, "of {offered}");
    }
}

#[test]
fn without_a_subprotocol_the_door_decides() {
    let server = TestServer::shared();
    let user = server.user();
    for (door, is_binary) in [("/signal", false), ("/api/ws", false), ("/ws", true)] {
        let mut socket = Upgrade::to(door).bearer(&user.token).open(&server);
        let first = socket.next("connected");
        assert_eq!(matches!(first, Incoming::Binary(_)), is_binary, "{door}: {first:?}");
    }
}

#[test]
fn the_wrong_kind_of_frame_closes_the_socket() {
    let server = TestServer::shared();
    let user = server.user();
    let mut json = user.opens_ephemeral();
    json.socket.sends(&Frame::binary("{}"));
    json.expects_close_code(1003);

    let mut proto = Upgrade::to("/ws").bearer(&user.token).open(&server);
    proto.sends(&Frame::text("{}"));
    assert_eq!(proto.expects_any_close().0, 1003);

    let (mut before, _) = connect(&server);
    before.socket.sends(&Frame::binary("{}"));
    assert_eq!(before.socket.expects_any_close().0, 1003);
}

#[test]
fn a_bad_room_name_is_not_found() {
    let server = TestServer::shared();
    let long = "x".repeat(65);
    for room in ["a%20b", "*", "a%2Fb", "%C3%A4", "a/b", "", long.as_str()] {
        let refused = Upgrade::to(format!("/v1/chat/{room}")).refused(&server);
        assert_eq!(refused.status, 404, "{room}");
    }
}
