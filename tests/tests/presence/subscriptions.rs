//! Subscriptions to presence.

use aldis_tests::{Frame, Identity, Peer, TestServer, User};
use serde_json::{Value, json};

use crate::steps::{
    assert_never_seen, decides, is_told, shows, subscribes, unsubscribes, watcher_and_watched, watches,
};

#[test]
fn a_subscription_is_acked_and_then_answered_for_each_user_once_and_in_order() {
    let server = TestServer::shared();
    let watcher = server.user();
    let users: Vec<User> = (0..40).map(|_| server.user()).collect();
    let mut live = Vec::new();
    for user in &users {
        decides(user, &watcher.id, "allowed").expects(204);
        live.push(user.opens_ephemeral());
    }
    let mut peer = watcher.opens_ephemeral();
    let mut ids: Vec<&str> = users.iter().map(|user| &*user.id).collect();
    ids.push(ids[0]);
    subscribes(&mut peer, &ids);
    for user in &users {
        let presence = peer.expects("presence");
        assert_eq!((&presence["user_id"], &presence["status"]), (&json!(user.id), &json!("online")));
        assert!(presence["id"].is_string() && presence["timestamp"].is_string(), "{presence}");
    }
    peer.expects_nothing();
    assert_eq!(watches(&mut peer, ids[3])["status"], "online", "a repeated request gets the presence again");
    peer.expects_nothing();
}

#[test]
fn a_subscription_after_slower_requests_is_acked_before_its_presence() {
    const USERS: usize = 20;
    let server = TestServer::shared();
    let watcher = server.user();
    let mut peer = watcher.opens_ephemeral();
    let users: Vec<User> = (0..USERS).map(|_| server.user()).collect();
    let mut burst = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let requests = [
            json!({"type": "message", "id": format!("m{number}"), "recipient_id": watcher.id, "encrypted_content": "eA=="}),
            json!({"type": "sync", "id": format!("y{number}"), "since_seq": 0}),
            json!({"type": "presence_subscribe", "id": format!("s{number}"), "user_ids": [user.id]}),
        ];
        burst.extend(requests.iter().flat_map(|request| Frame::text(request.to_string()).encode()));
    }
    assert!(peer.socket.sends_bytes(&burst));
    let (mut acked, mut told) = (0, 0);
    while told < USERS {
        let message = peer.expects_any();
        if message["type"] == "ack" && message["id"].as_str().is_some_and(|id| id.starts_with('s')) {
            assert_eq!(message["id"], format!("s{acked}"));
            acked += 1;
        } else if message["type"] == "presence" {
            assert_eq!(message["user_id"], users[told].id);
            told += 1;
            assert!(told <= acked, "told of the user {told} before the subscription was acked");
        }
    }
}

#[test]
fn a_repeated_request_gets_only_its_ack() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let request = json!({"type": "presence_subscribe", "id": "same", "user_ids": [user.id]});
    watcher.sends(request.clone());
    let ack = watcher.expects_text("ack");
    watcher.expects("presence");
    watcher.sends(request);
    assert_eq!(watcher.expects_text("ack"), ack);
    watcher.expects_nothing();
    watcher.sends(json!({"type": "presence_subscribe", "id": "same", "user_ids": []}));
    watcher.expects_error("conflict");
}

#[test]
fn after_unsubscribing_nothing_is_sent() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    watches(&mut watcher, &user.id);
    unsubscribes(&mut watcher, &[&user.id, &server.user().id]);
    let mut phone = user.opens_ephemeral();
    shows(&mut phone, "busy", None);
    watcher.expects_nothing();
    assert_eq!(watches(&mut watcher, &user.id)["status"], "busy");
}

#[test]
fn a_fresh_session_watches_nobody() {
    let server = TestServer::shared();
    let (watcher, user) = (server.user(), server.user());
    decides(&user, &watcher.id, "allowed").expects(204);
    let device = watcher.device("tablet").id;
    let mut first = watcher.opens(&device);
    watches(&mut first, &user.id);
    let mut second = watcher.opens(&device);
    let _phone = user.opens_ephemeral();
    second.expects_nothing();
}

#[test]
fn a_fingerprint_names_its_user() {
    let server = TestServer::shared();
    let (watcher, identity) = (server.user(), Identity::new());
    let token = identity.signs_in(&server, None).expects(201);
    let id = token["user_id"].as_str().expect("an id");
    let body = json!({"state": "allowed"}).to_string().into_bytes();
    let http = server.http().bearer(token["access_token"].as_str().expect("a token"));
    let json = [("Content-Type", "application/json")];
    http.send("PUT", &format!("/api/contacts/{}", watcher.id), &json, body).expects(204);
    let _device = identity.connects(&server, None);
    let mut peer = watcher.opens_ephemeral();
    subscribes(&mut peer, &[&identity.fingerprint(), id]);
    let presence = peer.expects("presence");
    assert_eq!((&presence["user_id"], &presence["status"]), (&json!(id), &json!("online")));
    peer.expects_nothing();
    unsubscribes(&mut peer, &[&identity.fingerprint()]);
    let _other = identity.connects(&server, None);
    peer.expects_nothing();
}

#[test]
fn a_request_takes_100_users_and_a_session_500() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let ids: Vec<String> = (0..501).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for kind in ["presence_subscribe", "presence_unsubscribe"] {
        watcher.sends(json!({"type": kind, "user_ids": ids[..101]}));
        watcher.expects_error("bad_request");
    }
    watcher.expects_nothing();
    for some in ids[..499].chunks(100) {
        subscribes(&mut watcher, some);
        some.iter().for_each(|id| assert_never_seen(&watcher.expects("presence"), id));
    }
    watcher.sends(json!({"type": "presence_subscribe", "user_ids": [user.id, ids[499]]}));
    watcher.expects_error("conflict");
    let mut phone = user.opens_ephemeral();
    watcher.expects_nothing();
    assert_eq!(watches(&mut watcher, &user.id)["status"], "online", "the 500th");
    watches(&mut watcher, ids[7]);
    watcher.sends(json!({"type": "presence_subscribe", "user_ids": [ids[500]]}));
    watcher.expects_error("conflict");
    shows(&mut phone, "away", None);
    is_told(&mut watcher, "away", None, 1);
    unsubscribes(&mut watcher, &[ids[0]]);
    watches(&mut watcher, ids[500]);
    watcher.expects_nothing();
}

#[test]
fn only_a_list_of_users_is_accepted() {
    let mut peer = TestServer::shared().user().opens_ephemeral();
    for users in [json!("x"), json!(["nobody"]), json!([1]), Value::Null] {
        peer.sends(json!({"type": "presence_subscribe", "user_ids": users}));
        peer.expects_error("bad_request");
    }
    subscribes(&mut peer, &[]);
    peer.expects_nothing();
}

#[test]
fn many_watchers_are_told() {
    const WATCHERS: usize = 600;
    let server = TestServer::start();
    let (watcher, user) = (server.user(), server.user());
    decides(&user, &watcher.id, "allowed").expects(204);
    let mut phone = user.opens_ephemeral();
    let mut watchers: Vec<Peer> = (0..WATCHERS).map(|_| watcher.opens_ephemeral()).collect();
    for peer in &mut watchers {
        watches(peer, &user.id);
    }
    for status in ["busy", "away", "busy", "away", "online"] {
        phone.sends(json!({"type": "presence", "status": status}));
    }
    for peer in &mut watchers {
        // Each watcher gets the latest presence in the end, whatever it got before.
        while peer.expects("presence")["status"] != "online" {}
        peer.expects_nothing();
    }
}
