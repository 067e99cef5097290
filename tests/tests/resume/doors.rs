//! Keys, doors and codecs that a resume works with.

use aldis_protocol::schema::{self, Envelope, envelope::Body};
use aldis_tests::{Identity, ProtoPeer, TestServer, Upgrade, unique};
use serde_json::json;

use crate::steps::{Scene, assert_resumed, connected_body, expects_numbers, resume_token, resuming};

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
