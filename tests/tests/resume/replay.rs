//! What a resume replays, and what it refuses.

use aldis_tests::{Frame, Incoming, ProtoPeer, TestServer, Upgrade, unique};
use serde_json::{Value, json};

use crate::steps::{
    Scene, assert_fresh, assert_resumed, connected_body, counts, expects_numbers, resume_token, resuming,
};

#[test]
fn exactly_the_missed_messages_are_replayed_in_order_before_new_ones() {
    let mut scene = Scene::new();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    for _ in 0..3 {
        assert_eq!(scene.sends(), "delivered");
    }
    expects_numbers(&mut phone, 1..=2);
    phone.socket.breaks();
    scene.sends_until_buffered();
    scene.sends();

    let mut back = scene.comes_back(&before, 2);
    assert_resumed(&back, &before, scene.sent - 2);
    assert_eq!(scene.sends(), "delivered");
    expects_numbers(&mut back, 3..=scene.sent);
    back.expects_nothing();
}

#[test]
fn a_client_that_missed_nothing_gets_no_replay() {
    let mut scene = Scene::new();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    scene.sends();
    expects_numbers(&mut phone, 1..=1);
    phone.socket.breaks();
    let mut back = scene.comes_back(&before, 1);
    assert_resumed(&back, &before, 0);
    back.expects_nothing();
}

#[test]
fn an_ephemeral_device_gets_its_id_back() {
    let mut scene = Scene::new();
    let guest = scene.user.opens_ephemeral();
    let (before, id) = (guest.connected.clone(), guest.device_id());
    guest.socket.breaks();
    scene.sends_to_until_buffered(&id);
    let upgrade = resuming(Upgrade::to("/signal").bearer(&scene.user.token), &resume_token(&before), 0);
    let mut back = upgrade.connected(&scene.server);
    assert_resumed(&back, &before, scene.sent);
    assert!(back.device_id().starts_with('~'));
    let sent = scene.sent;
    expects_numbers(&mut back, 1..=sent);
}

#[test]
fn the_previous_token_is_valid_until_the_first_frame_on_the_new_socket() {
    let mut scene = Scene::new();
    let phone = scene.connects();
    let first = phone.connected.clone();
    scene.sends();
    phone.socket.breaks();

    let unheard = scene.comes_back(&first, 0);
    assert_resumed(&unheard, &first, 1);
    unheard.socket.breaks();
    let mut again = scene.comes_back(&first, 0);
    assert_resumed(&again, &first, 1);
    let second = again.connected.clone();
    expects_numbers(&mut again, 1..=1);
    again.expects_nothing();
    again.socket.breaks();

    let mut late = scene.comes_back(&first, 1);
    assert_fresh(&late, &first);
    late.expects_nothing();
    let last = scene.comes_back(&second, 1);
    assert_fresh(&last, &second);
}

#[test]
fn the_current_token_is_valid_even_if_it_was_used_before() {
    let scene = Scene::new();
    let mut connected = scene.connects().connected;
    for _ in 0..4 {
        let back = scene.comes_back(&connected, 0);
        assert_resumed(&back, &connected, 0);
        connected = back.connected;
    }
}

#[test]
fn a_session_cannot_be_resumed_by_another_user_or_device() {
    let mut scene = Scene::new();
    let stranger = scene.server.user();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    let token = resume_token(&before);

    let theirs = resuming(Upgrade::to("/signal").bearer(&stranger.token), &token, 0);
    assert_fresh(&theirs.connected(&scene.server), &before);
    let other_device = scene.user.device("tablet").id;
    let upgrade = Upgrade::to("/signal").bearer(&scene.user.token).query("device_id", &other_device);
    let tablet = resuming(upgrade, &token, 0).connected(&scene.server);
    assert_fresh(&tablet, &before);
    assert_eq!(tablet.device_id(), other_device);
    let ephemeral = resuming(Upgrade::to("/signal").bearer(&scene.user.token), &token, 0);
    assert_fresh(&ephemeral.connected(&scene.server), &before);

    phone.expects_nothing();
    phone.socket.breaks();
    scene.sends_until_buffered();
    let alerts_of_the_tablet = 1;
    assert_resumed(&scene.comes_back(&before, 0), &before, scene.sent + alerts_of_the_tablet);
}

#[test]
fn another_door_and_another_codec_get_a_fresh_session() {
    let scene = Scene::new();
    let before = scene.connects().connected;
    let same = || scene.upgrade(&before, 0).subprotocols("aldis.v1.json");
    let api = Upgrade::to("/api/ws").bearer(&scene.user.token).query("device_id", &scene.device);
    let api = resuming(api, &resume_token(&before), 0).connected(&scene.server);
    assert_fresh(&api, &before);

    let before = scene.connects().connected;
    let mut proto =
        ProtoPeer::new(scene.upgrade(&before, 0).subprotocols("aldis.v1.proto").open(&scene.server));
    let (_, connected) = proto.expects("connected", connected_body);
    assert!(!connected.session.is_some_and(|session| session.resumed));
    assert_fresh(&same().connected(&scene.server), &before);
}

#[test]
fn another_chat_room_gets_a_fresh_session() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone").id;
    let (room, other) = (unique("room"), unique("room"));
    let enters = |room: &str, resume: Value| {
        let mut peer = Upgrade::to(format!("/v1/chat/{room}")).peer(&server);
        let payload = json!({"token": user.token, "device_id": device, "resume": resume});
        peer.sends(json!({"type": "auth", "payload": payload}));
        peer.expects("auth_success");
        peer.expects_connected();
        peer
    };
    let mut peer = enters(&room, Value::Null);
    let (before, received) = (peer.connected.clone(), counts(&mut peer));
    let resume = json!({"token": resume_token(&before), "received": received});
    let mut back = enters(&room, resume);
    assert_resumed(&back, &before, 0);
    let resume = json!({"token": resume_token(&back.connected), "received": received + counts(&mut back)});
    assert_fresh(&enters(&other, resume), &before);
}

#[test]
fn a_malformed_resume_is_treated_like_an_unknown_one() {
    let scene = Scene::new();
    let before = scene.connects().connected;
    let good = resume_token(&before);
    let unknown = aldis_tests::base64(&[7; 32]);
    let cut = &good[..good.len() - 4];
    for (token, received) in [
        (unknown.as_str(), "0"),
        (cut, "0"),
        ("", "0"),
        ("nonsense", "0"),
        (good.as_str(), "-1"),
        (good.as_str(), "x"),
        (good.as_str(), ""),
        (good.as_str(), "99999999999999999999"),
    ] {
        let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let upgrade = Upgrade::to("/signal").bearer(&scene.user.token);
        let upgrade = upgrade.query("resume", &token).query("received", received);
        assert_fresh(&upgrade.connected(&scene.server), &before);
    }
    let without_count = Upgrade::to("/signal").bearer(&scene.user.token).query("resume", "x");
    assert_fresh(&without_count.connected(&scene.server), &before);
    for resume in
        [json!({"token": "nonsense", "received": 0}), json!({"token": unknown, "received": 1}), Value::Null]
    {
        let mut peer = Upgrade::to("/v1/connect").peer(&scene.server);
        peer.expects("auth_challenge");
        peer.sends(json!({"type": "auth", "payload": {"token": scene.user.token, "resume": resume}}));
        peer.expects("auth_success");
        peer.expects_connected();
        assert_fresh(&peer, &before);
    }
}

#[test]
fn confirmed_messages_are_no_longer_kept() {
    let mut scene = Scene::new();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    for _ in 0..5 {
        scene.sends();
    }
    expects_numbers(&mut phone, 1..=5);
    phone.sends(json!({"type": "received", "count": 4}));
    phone.sends(json!({"type": "received", "count": 2}));
    phone.expects_nothing();
    phone.socket.breaks();
    let back = scene.comes_back(&before, 4);
    assert_resumed(&back, &before, 1);
    back.socket.breaks();
    assert_fresh(&scene.comes_back(&before, 3), &before);
}

#[test]
fn a_count_beyond_the_sent_messages_is_refused() {
    let mut scene = Scene::new();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    scene.sends();
    expects_numbers(&mut phone, 1..=1);
    phone.sends(json!({"type": "received", "id": "r", "count": 2}));
    assert_eq!(phone.expects_error("bad_request")["id"], "r");
    phone.sends(json!({"type": "received", "count": 2}));
    phone.expects_nothing();
    phone.socket.breaks();
    assert_fresh(&scene.comes_back(&before, 4), &before);
}

#[test]
fn pongs_and_errors_that_announce_a_close_are_not_counted() {
    let scene = Scene::new();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    for _ in 0..3 {
        phone.expects_nothing();
    }
    for _ in 0..9 {
        phone.sends_text("no JSON");
        phone.expects_error("bad_request");
    }
    phone.sends_text("no JSON");
    phone.expects_error("bad_request");
    phone.expects_error_and_close("bad_request", 4104);
    let mut back = scene.comes_back(&before, 10);
    assert_resumed(&back, &before, 0);
    back.expects_nothing();
}

#[test]
fn every_other_reply_is_counted() {
    let scene = Scene::new();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    phone.sends(json!({"type": "presence", "id": "p", "status": "away"}));
    let ack = phone.expects_text("ack");
    phone.sends(json!({"type": "ice_servers", "id": "i"}));
    let servers = phone.expects_text("ice_servers");
    phone.sends(json!({"type": "auth", "id": "a", "payload": {"token": scene.user.token}}));
    let success = phone.expects_text("auth_success");
    phone.sends(json!({"type": "offer", "id": "o", "target_device_id": unique("never"), "payload": 1}));
    let error = phone.expects_text("error");
    phone.socket.breaks();
    let mut back = scene.comes_back(&before, 0);
    assert_resumed(&back, &before, 4);
    for (kind, text) in [("ack", ack), ("ice_servers", servers), ("auth_success", success), ("error", error)]
    {
        assert_eq!(back.expects_text(kind), text, "byte for byte");
    }
}

#[test]
fn a_request_sent_again_after_a_resume_gets_the_same_ack_and_arrives_once() {
    let mut scene = Scene::new();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    let target = scene.sender.device_id();
    let offer = json!({"type": "offer", "id": "once", "target_device_id": target, "payload": {"sdp": 1}});
    phone.sends(offer.clone());
    scene.sender.expects("offer");
    phone.socket.breaks();

    let mut back = scene.comes_back(&before, 0);
    assert_resumed(&back, &before, 1);
    let missed = back.expects_text("ack");
    back.sends(offer);
    assert_eq!(back.expects_text("ack"), missed, "byte for byte");
    scene.sender.expects_nothing();
}

#[test]
fn a_buffer_overflow_ends_the_session() {
    let mut scene = Scene::new();
    let before = {
        let phone = scene.connects();
        phone.connected.clone()
    };
    scene.sends_until_buffered();
    let target = scene.device.clone();
    let mut buffered = 1;
    loop {
        scene.sender.sends(json!({"type": "signal", "target_device_id": target, "payload": 0}));
        match scene.sender.socket.next("ack or error") {
            Incoming::Text(text) if text.contains("target_unavailable") => break,
            Incoming::Text(_) => buffered += 1,
            other => panic!("awaited an answer, got {other:?}"),
        }
    }
    assert_eq!(buffered, 1_024, "a buffered message is held");
    assert_fresh(&scene.comes_back(&before, 0), &before);
}

#[test]
fn the_buffer_is_bounded_in_bytes_too() {
    let mut scene = Scene::new();
    let before = scene.connects().connected;
    scene.sends_until_buffered();
    let (target, payload) = (scene.device.clone(), "x".repeat(60_000));
    let mut buffered = 0;
    loop {
        scene.sender.sends(json!({"type": "signal", "target_device_id": target, "payload": payload}));
        match scene.sender.socket.next("ack or error") {
            Incoming::Text(text) if text.contains("target_unavailable") => break,
            Incoming::Text(_) => buffered += 1,
            other => panic!("awaited an answer, got {other:?}"),
        }
    }
    assert_eq!(buffered, 17, "frames of 60 kB in a MiB");
    assert_fresh(&scene.comes_back(&before, 0), &before);
}

#[test]
fn unconfirmed_received_messages_do_not_end_a_session() {
    let mut scene = Scene::new();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    let payload = "x".repeat(60_000);
    // Within the 64 messages that a client may leave unconfirmed, but over the limit of the buffer.
    for _ in 0..40 {
        scene.sender.sends(json!({"type": "signal", "target_device_id": scene.device, "payload": payload}));
        phone.expects("signal");
        scene.sender.expects("ack");
    }
    phone.socket.breaks();
    scene.sends_until_buffered();
    let mut back = scene.comes_back(&before, 40);
    assert_resumed(&back, &before, scene.sent);
    expects_numbers(&mut back, 1..=scene.sent);
}

#[test]
fn requests_pipelined_after_a_resume_are_carried_out_after_the_replay() {
    let mut scene = Scene::new();
    let before = {
        let mut peer = Upgrade::to("/v1/connect").peer(&scene.server);
        peer.expects("auth_challenge");
        let payload = json!({"token": scene.user.token, "device_id": scene.device});
        peer.sends(json!({"type": "auth", "payload": payload}));
        peer.expects("auth_success");
        peer.expects_connected()
    };
    scene.sends_until_buffered();
    let mut back = Upgrade::to("/v1/connect").peer(&scene.server);
    back.expects("auth_challenge");
    let resume = json!({"token": resume_token(&before), "received": 0});
    let payload = json!({"token": scene.user.token, "device_id": scene.device, "resume": resume});
    let proof = Frame::text(json!({"type": "auth", "id": "proof", "payload": payload}).to_string());
    let ping = Frame::text(json!({"type": "ping", "id": "first"}).to_string());
    let presence = Frame::text(json!({"type": "presence", "id": "second", "status": "busy"}).to_string());
    back.socket.sends_bytes(&[proof.encode(), ping.encode(), presence.encode()].concat());
    assert_eq!(back.expects("auth_success")["id"], "proof");
    back.expects_connected();
    assert_resumed(&back, &before, scene.sent);
    expects_numbers(&mut back, 1..=scene.sent);
    assert_eq!(back.expects("pong")["id"], "first");
    assert_eq!(back.expects("ack")["id"], "second");
}
