//! Presence at every door and in both codecs.

use aldis_protocol::schema;
use aldis_protocol::schema::Envelope;
use aldis_protocol::schema::envelope::Body;
use aldis_tests::{ProtoPeer, TestServer, Upgrade, unique};
use serde_json::json;

use crate::steps::{decides, is_told, shows, watcher_and_watched, watches};

#[test]
fn every_door_has_presence() {
    let server = TestServer::shared();
    let (watcher, user) = (server.user(), server.user());
    decides(&user, &watcher.id, "allowed").expects(204);
    let mut phone = user.opens_ephemeral();
    for (path, in_query) in [
        ("/v1/connect", false),
        ("/v1/chat/lobby", false),
        ("/signal", true),
        ("/api/ws", true),
        ("/ws", true),
    ] {
        let upgrade = Upgrade::to(path).subprotocols("aldis.v1.json");
        let upgrade = if in_query { upgrade.bearer(&watcher.token) } else { upgrade };
        let mut peer = upgrade.peer(&server);
        if !in_query {
            peer.sends(json!({"type": "auth", "payload": {"token": watcher.token}}));
        }
        while peer.expects_any()["type"] != "connected" {}
        let subscribe = json!({"type": "presence_subscribe", "user_ids": [user.id]});
        peer.sends(subscribe);
        // The chat door sends messages about its room first.
        while peer.expects_any()["type"] != "ack" {}
        is_told(&mut peer, "online", None, 1);
        shows(&mut phone, "busy", None);
        is_told(&mut peer, "busy", None, 1);
        shows(&mut phone, "online", None);
        is_told(&mut peer, "online", None, 1);
    }
}

fn presence_body(body: Body) -> Option<schema::Presence> {
    if let Body::Presence(presence) = body { Some(presence) } else { None }
}

fn ack_body(body: Body) -> Option<schema::Ack> {
    if let Body::Ack(ack) = body { Some(ack) } else { None }
}

fn request(body: Body) -> Envelope {
    Envelope { request_id: Some(unique("r")), body: Some(body), ..Default::default() }
}

#[test]
fn protobuf_has_the_same_presence() {
    let server = TestServer::shared();
    let (mut json, user) = watcher_and_watched(&server);
    watches(&mut json, &user.id);
    let mut proto = ProtoPeer::new(Upgrade::to("/ws").bearer(&user.token).open(&server));
    proto.expects("connected", |body| matches!(body, Body::Connected(_)).then_some(()));
    is_told(&mut json, "online", None, 1);
    let status = schema::Presence { status: "away".into(), note: Some("out".into()), ..Default::default() };
    proto.sends(request(Body::Presence(status)));
    proto.expects("ack", ack_body);
    is_told(&mut json, "away", Some("out"), 1);

    let user_ids = vec![user.id.clone()];
    proto.sends(request(Body::PresenceSubscribe(schema::PresenceSubscribe { user_ids: user_ids.clone() })));
    let (_, ack) = proto.expects("ack", ack_body);
    assert_eq!(ack.status, "done");
    let (envelope, presence) = proto.expects("presence", presence_body);
    assert!(envelope.request_id.is_some() && envelope.timestamp_ms > 1_700_000_000_000);
    assert_eq!((&presence.user_id, &*presence.status), (&user.id, "away"));
    assert_eq!((presence.note.as_deref(), presence.devices), (Some("out"), 1));
    assert!(presence.last_seen_ms.is_some());
    proto.sends(request(Body::PresenceUnsubscribe(schema::PresenceUnsubscribe { user_ids })));
    proto.expects("ack", ack_body);
    let _other = user.opens_ephemeral();
    is_told(&mut json, "online", None, 2);
    proto.sends(request(Body::Ping(schema::Ping {})));
    proto.expects("pong", |body| matches!(body, Body::Pong(_)).then_some(()));
}
