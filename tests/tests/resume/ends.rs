//! How long a session waits for its client, and what ends it.

use std::time::{Duration, Instant};

use aldis_tests::{Frame, Incoming, Peer, TestServer, Upgrade, token, unique};
use serde_json::{Value, json};

use crate::steps::{Scene, assert_fresh, assert_resumed, counts, expects_numbers, resume_token, resuming};

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
fn a_drain_does_not_wait_for_disconnected_clients() {
    let mut scene = Scene::on(TestServer::start());
    drop(scene.connects());
    scene.sends_until_buffered();
    let start = Instant::now();
    scene.server.signal_terminate();
    assert!(scene.server.awaits_exit(Duration::from_secs(12)).success());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}
