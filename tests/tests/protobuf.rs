//! The protocol in protobuf (docs/protocol/README.md).

use aldis_protocol::schema::{self, Envelope, envelope::Body};
use aldis_tests::{Frame, Identity, ProtoPeer, TestServer, Upgrade, User, unique};
use bytes::Bytes;
use serde_json::json;

/// A session of a new device at `/ws`, and its device id.
fn connected(server: &TestServer, user: &User) -> (ProtoPeer, String) {
    let device = user.device("proto").id;
    let upgrade = Upgrade::to("/ws").bearer(&user.token).query("device_id", &device);
    let mut peer = ProtoPeer::new(upgrade.open(server));
    let (_, connected) = peer.expects("connected", connected_body);
    assert_eq!(connected.device_id, device);
    (peer, device)
}

fn connected_body(body: Body) -> Option<schema::Connected> {
    if let Body::Connected(connected) = body { Some(connected) } else { None }
}

fn ack(body: Body) -> Option<schema::Ack> {
    if let Body::Ack(ack) = body { Some(ack) } else { None }
}

fn error(body: Body) -> Option<schema::Error> {
    if let Body::Error(error) = body { Some(error) } else { None }
}

fn offer(body: Body) -> Option<schema::Signal> {
    if let Body::Offer(signal) = body { Some(signal) } else { None }
}

fn offer_to(target: &str, payload: &'static str) -> Envelope {
    let signal = schema::Signal { payload: Bytes::from_static(payload.as_bytes()), ..Default::default() };
    Envelope {
        request_id: Some("o1".to_owned()),
        target_device_id: Some(target.to_owned()),
        body: Some(Body::Offer(signal)),
        ..Default::default()
    }
}

#[test]
fn json_and_protobuf_clients_understand_each_other() {
    let server = TestServer::shared();
    let user = server.user();
    let mut json = user.connects("json");
    let (mut proto, proto_id) = connected(&server, &user);

    json.sends(json!({"type": "offer", "id": "o1", "target_device_id": proto_id, "payload": {"n": 1}}));
    let (envelope, signal) = proto.expects("offer", offer);
    assert_eq!(&signal.payload[..], br#"{"n":1}"#);
    assert_eq!(envelope.sender_device_id, Some(json.device_id()));
    assert_eq!(
        (envelope.sender_user_id, envelope.request_id),
        (Some(user.id.clone()), Some("o1".to_owned()))
    );
    assert!(envelope.timestamp_ms > 1_700_000_000_000, "{}", envelope.timestamp_ms);
    json.expects("ack");

    proto.sends(offer_to(&json.device_id(), "[1, 2]"));
    let arrived = json.expects_text("offer");
    assert!(arrived.contains(r#""payload":[1, 2]"#), "{arrived}");
    let (envelope, ack) = proto.expects("ack", ack);
    assert_eq!((envelope.request_id.as_deref(), ack.status.as_str()), (Some("o1"), "delivered"));
    assert_eq!(ack.message, format!("Message delivered to {}", json.device_id()));
}

#[test]
fn an_error_has_its_code() {
    let server = TestServer::shared();
    let (mut proto, _) = connected(&server, &server.user());
    proto.sends(offer_to(&unique("never"), "1"));
    let (envelope, error) = proto.expects("error", error);
    assert_eq!((envelope.request_id.as_deref(), error.code.as_str()), (Some("o1"), "target_unavailable"));
}

#[test]
fn malformed_envelopes_are_answered_and_the_connection_stays() {
    let server = TestServer::shared();
    let (mut proto, own) = connected(&server, &server.user());
    let empty = Envelope::default();
    let stamped = Envelope {
        sender_user_id: Some("me".to_owned()),
        body: Some(Body::Ping(schema::Ping {})),
        ..Default::default()
    };
    for envelope in [empty, stamped, offer_to(&own, "no json"), offer_to(&own, "{} {}"), offer_to(&own, "")] {
        proto.sends(envelope);
        let (_, error) = proto.expects("error", error);
        assert_eq!((error.code.as_str(), error.close), ("bad_request", None));
    }
    proto.socket.sends(&Frame::binary([0xff; 9]));
    assert_eq!(proto.expects("error", error).1.code, "bad_request");

    let server_body = Body::Pong(schema::Pong {});
    proto.sends(Envelope { body: Some(server_body), ..Default::default() });
    assert_eq!(proto.expects("error", error).1.code, "unknown_type");
    proto.socket.sends(&Frame::binary([0xfa, 0x3f, 0x00]));
    assert_eq!(proto.expects("error", error).1.code, "unknown_type", "a body of number 127");
}

#[test]
fn a_key_authenticates_in_protobuf() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let socket = Upgrade::to("/v1/connect").subprotocols("aldis.v1.proto").open(&server);
    let mut peer = ProtoPeer::new(socket);
    let (_, challenge) = peer.expects("auth_challenge", |body| {
        if let Body::AuthChallenge(challenge) = body { Some(challenge) } else { None }
    });
    let answer = identity.answers(
        &json!({
            "challenge": aldis_tests::base64(&challenge.challenge),
            "audience": challenge.audience,
            "expires_at_ms": challenge.expires_at_ms,
        }),
        None,
    );
    let bytes = |name: &str| aldis_tests::unbase64::<32>(answer[name].as_str().unwrap_or_default());
    let signature: [u8; 64] = aldis_tests::unbase64(answer["signature"].as_str().unwrap());
    let response = schema::AuthResponse {
        public_key: Bytes::copy_from_slice(&bytes("public_key")),
        signature: Bytes::copy_from_slice(&signature),
        ..Default::default()
    };
    peer.sends(Envelope { body: Some(Body::AuthResponse(response)), ..Default::default() });
    let (_, success) = peer.expects("auth_success", |body| {
        if let Body::AuthSuccess(success) = body { Some(success) } else { None }
    });
    assert_eq!(success.expires_at_ms, None, "a key has no expiry");
    assert_eq!(peer.expects("connected", connected_body).1.user_id, success.user_id);
}

#[test]
fn a_refusal_in_protobuf_names_its_close() {
    let server = TestServer::shared();
    let mut peer = ProtoPeer::new(Upgrade::to("/ws").query("token", "nonsense").open(&server));
    let (_, error) = peer.expects("error", error);
    assert_eq!((error.code.as_str(), error.close), ("invalid_token", Some(4002)));
    assert_eq!(peer.socket.expects_any_close().0, 4002);
}
