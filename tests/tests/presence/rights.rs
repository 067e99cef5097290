//! Who may see whom.

use std::time::{Duration, Instant};

use aldis_tests::{Identity, Peer, TestServer, Upgrade, User};
use serde_json::{Value, json};

use crate::steps::{
    asks, assert_never_seen, decides, forgets, is_told, shows, subscribes, watcher_and_watched, watches,
};

/// Twice the time that a node needs to follow another one, for a busy machine.
const BUSY_NODES: Duration = Duration::from_secs(4);

#[test]
fn an_invisible_user_looks_like_one_who_was_never_online() {
    let server = TestServer::shared();
    let watcher = server.user();
    let (stranger, blocker, blocked) = (server.user(), server.user(), server.user());
    let nobody = uuid::Uuid::new_v4().to_string();
    for user in [&blocker, &blocked] {
        decides(user, &watcher.id, "allowed").expects(204);
    }
    decides(&blocker, &watcher.id, "blocked").expects(204);
    decides(&watcher, &blocked.id, "blocked").expects(204);
    let identity = Identity::new();
    let _hidden = identity.connects(&server, None);
    let hidden = identity.signs_in(&server, None).expects(200)["user_id"].clone();
    let mut live: Vec<Peer> =
        [&stranger, &blocker, &blocked].into_iter().map(User::opens_ephemeral).collect();
    let mut peer = watcher.opens_ephemeral();
    let ids = [&*stranger.id, &*blocker.id, &*blocked.id, &*nobody];
    subscribes(&mut peer, &ids);
    let answers: Vec<String> = ids
        .iter()
        .map(|id| {
            let text = peer.expects_text("presence");
            let presence: Value = serde_json::from_str(&text).expect("JSON");
            assert_never_seen(&presence, id);
            let name = |name: &str| presence[name].as_str().expect("text").to_owned();
            text.replace(&name("id"), "").replace(&name("timestamp"), "").replace(id, "")
        })
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    subscribes(&mut peer, &[&identity.fingerprint(), &Identity::new().fingerprint()]);
    assert_never_seen(&peer.expects("presence"), hidden.as_str().expect("an id"));
    let unknown = peer.expects("presence");
    assert_never_seen(&unknown, unknown["user_id"].as_str().expect("an id"));
    for device in &mut live {
        shows(device, "busy", None);
    }
    live.clear();
    peer.expects_nothing();
}

#[test]
fn a_subscription_starts_when_it_is_allowed_and_ends_with_offline() {
    let server = TestServer::shared();
    let (watcher, user) = (server.user(), server.user());
    let mut phone = user.opens_ephemeral();
    let mut peer = watcher.opens_ephemeral();
    assert_never_seen(&watches(&mut peer, &user.id), &user.id);
    type Change = (fn(&User, &User), bool);
    let changes: [Change; 6] = [
        (|user, watcher| drop(decides(user, &watcher.id, "allowed").expects(204)), true),
        (|user, watcher| forgets(user, &watcher.id), false),
        (|user, watcher| drop(decides(user, &watcher.id, "allowed").expects(204)), true),
        (|user, watcher| drop(decides(user, &watcher.id, "blocked").expects(204)), false),
        (|user, watcher| asks_again(user, watcher), true),
        (|user, watcher| drop(decides(watcher, &user.id, "blocked").expects(204)), false),
    ];
    for (number, (change, sees)) in changes.into_iter().enumerate() {
        change(&user, &watcher);
        let presence = peer.expects_presence();
        if sees {
            assert_eq!(
                (&presence["status"], &presence["devices"]),
                (&json!("online"), &json!(1)),
                "{number}"
            );
        } else {
            assert_never_seen(&presence, &user.id);
        }
        peer.expects_nothing();
        for status in ["busy", "online"] {
            shows(&mut phone, status, None);
            if sees {
                is_told(&mut peer, status, None, 1);
            }
        }
        peer.expects_nothing();
    }
}

/// Removes a block, and reaches out again.
fn asks_again(user: &User, watcher: &User) {
    forgets(user, &watcher.id);
    asks(user, &watcher.id);
}
/// Expects presence, and skips the contact requests of a scenario.
trait ExpectsPresence {
    fn expects_presence(&mut self) -> Value;
}
impl ExpectsPresence for Peer {
    #[track_caller]
    fn expects_presence(&mut self) -> Value {
        loop {
            let message = self.expects_any();
            if message["type"] != "contact_request" {
                assert_eq!(message["type"], "presence", "{message}");
                return message;
            }
        }
    }
}

#[test]
fn a_change_of_rights_without_effect_sends_nothing() {
    let server = TestServer::shared();
    let (watcher, user) = (server.user(), server.user());
    let _phone = user.opens_ephemeral();
    let mut peer = watcher.opens_ephemeral();
    watches(&mut peer, &user.id);
    asks(&watcher, &user.id);
    peer.expects_nothing();
    decides(&watcher, &user.id, "allowed").expects(204);
    peer.expects_nothing();
    decides(&user, &watcher.id, "allowed").expects(204);
    is_told(&mut peer, "online", None, 1);
    decides(&user, &watcher.id, "allowed").expects(204);
    peer.expects_nothing();
}

#[test]
fn the_recipient_of_a_message_sees_the_sender() {
    let server = TestServer::shared();
    let (watcher, user) = (server.user(), server.user());
    decides(&watcher, &user.id, "allowed").expects(204);
    let mut phone = user.opens_ephemeral();
    let mut peer = watcher.opens_ephemeral();
    assert_never_seen(&watches(&mut peer, &user.id), &user.id);
    let message =
        json!({"type": "message", "id": "m", "recipient_id": watcher.id, "encrypted_content": "eA=="});
    phone.sends(message);
    phone.expects("ack");
    let (mut kinds, mut statuses) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let told = peer.expects_any();
        statuses.extend(told["status"].as_str().map(ToOwned::to_owned));
        kinds.push(told["type"].as_str().expect("a type").to_owned());
    }
    kinds.sort();
    assert_eq!((kinds, statuses), (vec!["message".into(), "presence".into()], vec!["online".to_owned()]));
    peer.expects_nothing();
}

#[test]
fn changes_on_another_node_take_effect() {
    let one = TestServer::builder().postgres().start();
    let other = TestServer::builder().beside(&one).start();
    let (watcher, user, writer) = (one.user(), one.user(), one.user());
    let (_phone, _tablet) = (user.opens_ephemeral(), writer.opens_ephemeral());
    let mut peer = watcher.opens_ephemeral();
    decides(&watcher, &writer.id, "allowed").expects(204);
    for hidden in [&user.id, &writer.id] {
        assert_never_seen(&watches(&mut peer, hidden), hidden);
    }
    let there = other.http().bearer(&user.token);
    for (state, sees) in [("allowed", true), ("blocked", false), ("allowed", true)] {
        let body = json!({"state": state}).to_string().into_bytes();
        let json = [("Content-Type", "application/json")];
        there.send("PUT", &format!("/api/contacts/{}", watcher.id), &json, body).expects(204);
        let changed = Instant::now();
        let presence = peer.expects("presence");
        assert_eq!(presence["status"] == "online", sees, "{presence}");
        assert!(changed.elapsed() < BUSY_NODES, "{:?}", changed.elapsed());
    }
    peer.expects_nothing();

    // A message counts as reaching out too. The earlier change was read by now, and does not cause the update.
    let mut there = Upgrade::to("/signal").bearer(&writer.token).connected(&other);
    there.sends(
        json!({"type": "message", "id": "m", "recipient_id": watcher.id, "encrypted_content": "eA=="}),
    );
    there.expects("ack");
    let presence = peer.expects("presence");
    assert_eq!((&presence["user_id"], &presence["status"]), (&json!(writer.id), &json!("online")));
}

#[test]
fn with_open_routing_everybody_sees_everybody_who_has_not_blocked_them() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let (watcher, user) = (server.user(), server.user());
    let _phone = user.opens_ephemeral();
    let mut peer = watcher.opens_ephemeral();
    let nobody = uuid::Uuid::new_v4().to_string();
    assert_eq!(watches(&mut peer, &user.id)["status"], "online");
    assert_never_seen(&watches(&mut peer, &nobody), &nobody);
    decides(&user, &watcher.id, "blocked").expects(204);
    assert_never_seen(&peer.expects("presence"), &user.id);
    forgets(&user, &watcher.id);
    is_told(&mut peer, "online", None, 1);
}

#[test]
fn a_deleted_account_is_no_longer_visible() {
    for routing in ["contacts", "open"] {
        let server = TestServer::builder().env("ALDIS_ROUTING", routing).start();
        let (mut peer, user) = watcher_and_watched(&server);
        let mut phone = user.opens_ephemeral();
        assert_eq!(watches(&mut peer, &user.id)["status"], "online");
        user.http().delete("/api/account").expects(204);
        phone.expects_close_code(4301);
        assert_never_seen(&peer.expects("presence"), &user.id);
        peer.expects_nothing();
        assert_never_seen(&watches(&mut peer, &user.id), &user.id);
        let mut stranger = server.user().opens_ephemeral();
        assert_never_seen(&watches(&mut stranger, &user.id), &user.id);
    }
}
