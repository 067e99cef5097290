//! Nothing lost over a broken connection (docs/protocol/resume.md).

use std::time::{Duration, Instant};

use aldis_protocol::schema::{self, Envelope, envelope::Body};
use aldis_tests::{Frame, Identity, Incoming, Peer, ProtoPeer, TestServer, Upgrade, User, token, unique};
use serde_json::{Value, json};

/// Far longer than a server needs to notice that a connection is gone.
const NOTICING: Duration = Duration::from_secs(8);

/// A device that can be disconnected, and a user who sends to it.
struct Scene {
    server: TestServer,
    user: User,
    device: String,
    sender: Peer,
    sent: u64,
}

impl Scene {
    fn new() -> Self {
        Self::on(TestServer::shared())
    }

    fn on(server: TestServer) -> Self {
        let user = server.user();
        let device = user.device("phone").id;
        let sender = user.opens_ephemeral();
        Self { server, user, device, sender, sent: 0 }
    }

    fn connects(&self) -> Peer {
        self.user.opens(&self.device)
    }

    /// Resumes the session of this `connected`, having received this many messages.
    fn comes_back(&self, connected: &Value, received: u64) -> Peer {
        self.upgrade(connected, received).connected(&self.server)
    }

    fn upgrade(&self, connected: &Value, received: u64) -> Upgrade {
        resuming(Upgrade::to("/signal").bearer(&self.user.token), &resume_token(connected), received)
            .query("device_id", &self.device)
    }

    /// Sends the next number to the device; returns the status of its `ack`.
    fn sends(&mut self) -> String {
        self.sends_to(&self.device.clone())
    }

    fn sends_to(&mut self, device: &str) -> String {
        self.sent += 1;
        self.sender.sends(json!({"type": "signal", "target_device_id": device, "payload": self.sent}));
        self.sender.expects("ack")["status"].as_str().expect("a status").to_owned()
    }

    /// Sends numbers to a device whose connection is broken until the server has noticed.
    fn sends_until_buffered(&mut self) {
        self.sends_to_until_buffered(&self.device.clone());
    }

    fn sends_to_until_buffered(&mut self, device: &str) {
        let start = Instant::now();
        while self.sends_to(device) != "buffered" {
            assert!(start.elapsed() < NOTICING, "the server does not notice the break");
        }
    }

    /// Waits until the device has no session.
    fn awaits_end(&mut self) {
        let start = Instant::now();
        let target = self.device.clone();
        loop {
            self.sender.sends(json!({"type": "signal", "target_device_id": target, "payload": null}));
            match self.sender.socket.next("ack or error") {
                Incoming::Text(text) if text.contains("target_unavailable") => return,
                Incoming::Text(_) => assert!(start.elapsed() < NOTICING, "the session does not end"),
                other => panic!("awaited an answer, got {other:?}"),
            }
        }
    }
}

fn resume_token(connected: &Value) -> String {
    connected["session"]["resume_token"].as_str().expect("a resume token").to_owned()
}

fn resuming(upgrade: Upgrade, token: &str, received: u64) -> Upgrade {
    let encoded = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    upgrade.query("resume", &encoded).query("received", &received.to_string())
}

#[track_caller]
fn expects_numbers(peer: &mut Peer, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        assert_eq!(peer.expects("signal")["payload"], number);
    }
}

#[track_caller]
fn assert_resumed(peer: &Peer, before: &Value, replayed: u64) {
    let session = &peer.connected["session"];
    assert_eq!((&session["resumed"], &session["replayed"]), (&json!(true), &json!(replayed)));
    assert_eq!(session["id"], before["session"]["id"]);
    assert_eq!(peer.connected["device_id"], before["device_id"]);
    assert_ne!(resume_token(&peer.connected), resume_token(before), "every `connected` brings a new token");
}

#[track_caller]
fn assert_fresh(peer: &Peer, before: &Value) {
    let session = &peer.connected["session"];
    assert_eq!((&session["resumed"], &session["replayed"]), (&json!(false), &json!(0)));
    assert_ne!(session["id"], before["session"]["id"]);
}

/// Reads everything that has arrived so far, up to the answer to a ping; returns how many messages count.
#[track_caller]
fn counts(peer: &mut Peer) -> u64 {
    peer.sends(json!({"type": "ping", "id": "count"}));
    let mut counted = 0;
    loop {
        let Incoming::Text(text) = peer.socket.next("a pong") else { panic!("the connection is to stay") };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        match message["type"].as_str().expect("a type") {
            "pong" => return counted,
            "presence" | "history" => {}
            _ => counted += 1,
        }
    }
}

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
fn the_socket_that_a_resume_displaces_is_closed_as_replaced() {
    let mut scene = Scene::new();
    let mut old = scene.connects();
    let before = old.connected.clone();
    scene.sends();
    let mut new = scene.comes_back(&before, 0);
    assert_resumed(&new, &before, 1);
    expects_numbers(&mut old, 1..=1);
    old.expects_error_and_close("conflict", 4300);
    expects_numbers(&mut new, 1..=1);
    assert_eq!(scene.sends(), "delivered");
    expects_numbers(&mut new, 2..=2);
}

#[test]
fn a_dead_open_socket_is_displaced() {
    let mut scene = Scene::new();
    let dead = scene.connects();
    let before = dead.connected.clone();
    let payload = "x".repeat(60_000);
    // More than the sockets hold, so that the rest waits in the server.
    for _ in 0..15 {
        scene.sender.sends(json!({"type": "signal", "target_device_id": scene.device, "payload": payload}));
        scene.sender.expects("ack");
    }
    let mut back = scene.comes_back(&before, 0);
    assert_resumed(&back, &before, 15);
    for _ in 0..15 {
        assert_eq!(back.expects("signal")["payload"], payload);
    }
    back.expects_nothing();
    drop(dead);
}

#[test]
fn a_session_ends_with_its_window() {
    let mut scene = Scene::on(TestServer::builder().env("ALDIS_RESUME_WINDOW", "1").start());
    let phone = scene.connects();
    let before = phone.connected.clone();
    assert_eq!(before["session"]["resume_window"], 1);
    phone.socket.breaks();
    scene.sends_until_buffered();
    scene.awaits_end();
    let mut back = scene.comes_back(&before, 0);
    assert_fresh(&back, &before);
    assert_eq!(back.device_id(), scene.device);
    back.expects_nothing();
}

#[test]
fn without_a_window_a_break_ends_the_session() {
    let mut scene = Scene::on(TestServer::builder().env("ALDIS_RESUME_WINDOW", "0").start());
    let phone = scene.connects();
    let before = phone.connected.clone();
    assert_eq!(before["session"]["resume_window"], 0);
    phone.socket.breaks();
    scene.awaits_end();
    assert_fresh(&scene.comes_back(&before, 0), &before);
}

#[test]
fn a_client_that_closes_with_another_code_may_resume() {
    for close in [Frame::close(4000, "reload"), Frame::new(0x8, []), Frame::close(3000, "")] {
        let mut scene = Scene::new();
        let mut phone = scene.connects();
        let before = phone.connected.clone();
        phone.socket.sends(&close);
        assert!(matches!(phone.socket.next("the echo"), Incoming::Close(..)));
        assert_eq!(phone.socket.next("the end"), Incoming::End);
        assert_eq!(scene.sends(), "buffered");
        assert_resumed(&scene.comes_back(&before, 0), &before, 1);
    }
}

#[test]
fn a_client_that_closes_with_1000_or_1001_ends_its_session() {
    for code in [1000, 1001] {
        let mut scene = Scene::new();
        let mut phone = scene.connects();
        let before = phone.connected.clone();
        phone.socket.sends(&Frame::close(code, ""));
        assert!(matches!(phone.socket.next("the echo"), Incoming::Close(echo, _) if echo == code));
        assert_eq!(phone.socket.next("the end"), Incoming::End);
        scene.awaits_end();
        assert_fresh(&scene.comes_back(&before, 0), &before);
    }
}

#[test]
fn a_session_whose_token_expired_waits_for_a_client_with_a_new_one() {
    let server = TestServer::shared();
    let user = server.user();
    let device = user.device("phone").id;
    let expiring = token::aged(&user.token, 899, 2);
    let upgrade = |token: &str| Upgrade::to("/signal").bearer(token).query("device_id", &device);
    let mut peer = upgrade(&expiring).connected(&server);
    let before = peer.connected.clone();
    peer.expects("auth_required");
    peer.expects_close(4200, "Re-authentication timeout");
    let back = resuming(upgrade(&user.token), &resume_token(&before), 1).connected(&server);
    assert_resumed(&back, &before, 0);

    let room = unique("room");
    let enters = |token: &str, resume: Value| {
        let mut peer = Upgrade::to(format!("/v1/chat/{room}")).peer(&server);
        peer.sends(json!({"type": "auth", "payload": {"token": token, "resume": resume}}));
        peer.expects("auth_success");
        peer.expects_connected();
        peer
    };
    let mut peer = enters(&token::aged(&user.token, 899, 2), Value::Null);
    let before = peer.connected.clone();
    let received = counts(&mut peer);
    let (code, reason) = peer.socket.expects_any_close();
    assert_eq!((code, reason.as_str()), (1008, "Re-authentication timeout"));
    let resume = json!({"token": resume_token(&before), "received": received});
    let back = enters(&user.token, resume);
    assert_eq!(back.connected["session"]["resumed"], true);
}

#[test]
fn every_other_close_of_the_server_ends_the_session() {
    type Provoke = fn(&mut Scene, &mut Peer) -> u16;
    let provocations: [Provoke; 5] = [
        |_, phone| {
            phone.socket.sends(&Frame::binary(b"x".to_vec()));
            1003
        },
        |_, phone| {
            phone.sends_text(&"x".repeat(65_537));
            1009
        },
        |_, phone| {
            phone.socket.sends(&Frame::text([0xff, 0xfe].to_vec()));
            1007
        },
        |_, phone| {
            phone.socket.sends(&Frame::text(b"{}".to_vec()).unmasked());
            1002
        },
        |scene, phone| {
            let other = scene.server.user().token;
            phone.sends(json!({"type": "auth", "payload": {"token": other}}));
            4002
        },
    ];
    for provoke in provocations {
        let mut scene = Scene::new();
        let mut phone = scene.connects();
        let before = phone.connected.clone();
        let code = provoke(&mut scene, &mut phone);
        phone.expects_close_code(code);
        assert_fresh(&scene.comes_back(&before, 0), &before);
    }
}

#[test]
fn a_replaced_session_has_ended() {
    let scene = Scene::new();
    let mut phone = scene.connects();
    let before = phone.connected.clone();
    let _newer = scene.connects();
    phone.expects_close_code(4300);
    assert_fresh(&scene.comes_back(&before, 0), &before);
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

#[test]
fn a_key_can_resume_too() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let device = unique("phone");
    let before = identity.connects(&server, Some(&device)).connected;
    let mut back = Upgrade::to("/v1/connect").peer(&server);
    let challenge = back.expects("auth_challenge");
    let mut answer = identity.answers(&challenge, Some(&device));
    answer["resume"] = json!({"token": resume_token(&before), "received": 0});
    back.sends(answer);
    back.expects("auth_success");
    back.expects_connected();
    assert_resumed(&back, &before, 0);
}

#[test]
fn every_query_door_accepts_a_resume() {
    for path in ["/signal", "/ws", "/api/ws"] {
        let mut scene = Scene::new();
        let device = scene.device.clone();
        let upgrade = Upgrade::to(path).query("token", &scene.user.token).query("device_id", &device);
        let upgrade = upgrade.subprotocols("aldis.v1.json");
        let before = upgrade.connected(&scene.server).connected;
        scene.sends_until_buffered();
        let mut back = resuming(upgrade, &resume_token(&before), 0).connected(&scene.server);
        assert_resumed(&back, &before, scene.sent);
        expects_numbers(&mut back, 1..=scene.sent);
    }
}

#[test]
fn every_door_accepts_a_resume_in_protobuf() {
    let doors = ["/v1/connect".to_owned(), format!("/v1/chat/{}", unique("room")), "/signal".to_owned()];
    for path in doors.iter().map(String::as_str).chain(["/ws", "/api/ws"]) {
        let mut scene = Scene::new();
        let (mut peer, before) = opens_in_protobuf(&scene, path, None);
        let received = settles_in_protobuf(&mut peer);
        drop(peer);
        scene.sends_until_buffered();
        let (mut back, after) = opens_in_protobuf(&scene, path, Some((&before.resume_token, received)));
        assert!(after.resumed, "{path}");
        assert_eq!((after.id, after.replayed), (before.id, scene.sent), "{path}");
        for number in 1..=scene.sent {
            let (_, signal) = back
                .expects("signal", |body| if let Body::Signal(signal) = body { Some(signal) } else { None });
            assert_eq!(signal.payload, number.to_string(), "{path}");
        }
    }
}

fn opens_in_protobuf(
    scene: &Scene,
    path: &str,
    resume: Option<(&str, u64)>,
) -> (ProtoPeer, schema::SessionInfo) {
    let proves_on_socket = path.starts_with("/v1/");
    let mut upgrade = Upgrade::to(path).subprotocols("aldis.v1.proto");
    if !proves_on_socket {
        upgrade = upgrade.bearer(&scene.user.token).query("device_id", &scene.device);
        if let Some((token, received)) = resume {
            upgrade = resuming(upgrade, token, received);
        }
    }
    let mut peer = ProtoPeer::new(upgrade.open(&scene.server));
    if path == "/v1/connect" {
        peer.expects("auth_challenge", |body| matches!(body, Body::AuthChallenge(_)).then_some(()));
    }
    if proves_on_socket {
        let resume = resume.map(|(token, received)| schema::Resume { token: token.to_owned(), received });
        let auth = schema::Auth {
            token: Some(scene.user.token.clone()),
            device_id: Some(scene.device.clone()),
            resume,
        };
        peer.sends(Envelope { body: Some(Body::Auth(auth)), ..Default::default() });
        peer.expects("auth_success", |body| matches!(body, Body::AuthSuccess(_)).then_some(()));
    }
    let (_, connected) = peer.expects("connected", connected_body);
    (peer, connected.session.expect("a session"))
}

/// Reads the first messages of a room; returns how many of them count.
fn settles_in_protobuf(peer: &mut ProtoPeer) -> u64 {
    peer.sends(Envelope { body: Some(Body::Ping(schema::Ping {})), ..Default::default() });
    let mut counted = 0;
    loop {
        let (_, is_pong) = peer.expects("anything", |body| Some(matches!(body, Body::Pong(_))));
        if is_pong {
            return counted;
        }
        counted += 1;
    }
}

fn connected_body(body: Body) -> Option<schema::Connected> {
    if let Body::Connected(connected) = body { Some(connected) } else { None }
}

#[test]
fn a_drain_does_not_wait_for_disconnected_clients() {
    let mut scene = Scene::on(TestServer::start());
    drop(scene.connects());
    scene.sends_until_buffered();
    let start = Instant::now();
    scene.server.signal_terminate();
    assert!(scene.server.awaits_exit(Duration::from_secs(12)).success());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}
