//! Signals from device to device (docs/protocol/messages.md, order.md).

use aldis_tests::{Identity, Peer, TestServer, User, unique};
use serde_json::{Value, json};

/// Two devices of one user.
fn pair() -> (User, Peer, Peer) {
    let user = TestServer::shared().user();
    let (one, other) = (user.connects("one"), user.connects("other"));
    (user, one, other)
}

fn signal(id: &str, target: &str) -> Value {
    json!({"type": "signal", "id": id, "target_device_id": target, "payload": {"n": 1}})
}

#[test]
fn each_kind_of_signal_arrives_unchanged() {
    let (user, mut one, mut other) = pair();
    for kind in ["offer", "answer", "ice-candidate", "signal"] {
        let payload = json!({"sdp": "v=0\r\n…", "deep": [1, {"a": null}]});
        one.sends(
            json!({"type": kind, "id": kind, "target_device_id": other.device_id(), "payload": payload}),
        );
        let mut arrived = other.expects(kind);
        let timestamp = arrived.as_object_mut().unwrap().remove("timestamp");
        assert!(timestamp.is_some_and(|time| time.is_string()));
        arrived.as_object_mut().unwrap().remove("target_device_id");
        assert_eq!(
            arrived,
            json!({
                "type": kind, "id": kind, "payload": payload,
                "sender_device_id": one.device_id(), "sender_user_id": user.id,
            })
        );
        one.expects("ack");
    }
}

#[test]
fn an_ack_says_what_happened() {
    let (_, mut one, mut other) = pair();
    one.sends(signal("s1", &other.device_id()));
    let ack = one.expects("ack");
    assert_eq!((&ack["id"], &ack["status"]), (&json!("s1"), &json!("delivered")));
    assert_eq!(ack["message"], format!("Message delivered to {}", other.device_id()));
    other.expects("signal");
}

#[test]
fn a_payload_arrives_byte_for_byte() {
    let (_, mut one, mut other) = pair();
    let payloads = [
        "{ \"a\" :\t1 , \"b\":[ 1.0,1e3,-0 ] }",
        "{\"same\":1,\"same\":2}",
        "\"\\u00e4 \\/ \\ud83d\\ude00 ä\"",
        "123456789012345678901234567890.10",
        "null",
        "[ ]",
        "{\n  \"pretty\": true\n}",
    ];
    for payload in payloads {
        let text =
            format!(r#"{{"payload": {payload} ,"type":"offer","target_device_id":"{}"}}"#, other.device_id());
        one.sends_text(&text);
        let arrived = other.expects_text("offer");
        assert!(arrived.contains(&format!("\"payload\":{payload}")), "{payload} arrived as {arrived}");
        one.expects("ack");
    }
}

#[test]
fn a_signature_passes_unchanged() {
    let (_, mut one, mut other) = pair();
    let signature = aldis_tests::base64(&[7; 64]);
    let mut message = signal("s1", &other.device_id());
    message["signature"] = json!(signature);
    message["created_at_ms"] = json!(1_767_225_601_000_u64);
    one.sends(message.clone());
    let arrived = other.expects("signal");
    assert_eq!(
        (&arrived["signature"], &arrived["created_at_ms"]),
        (&message["signature"], &message["created_at_ms"])
    );
    one.expects("ack");

    message["id"] = json!("s2");
    message["signature"] = json!("nonsense");
    one.sends(message);
    one.expects_error("bad_request");
    other.expects_nothing();
}

#[test]
fn a_senders_fingerprint_is_stamped_if_there_is_one() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let mut one = identity.connects(&server, Some(&unique("one")));
    let mut other = identity.connects(&server, Some(&unique("other")));
    one.sends(signal("s1", &other.device_id()));
    assert_eq!(other.expects("signal")["sender_fingerprint"], identity.fingerprint());
}

#[test]
fn a_request_without_an_id_is_acked_without_one() {
    let (_, mut one, mut other) = pair();
    one.sends(json!({"type": "signal", "target_device_id": other.device_id(), "payload": 1}));
    let ack = one.expects("ack");
    assert_eq!(ack.get("id"), None, "{ack}");
    other.expects("signal");
}

#[test]
fn a_signal_to_a_user_reaches_all_their_devices() {
    let server = TestServer::shared();
    let user = server.user();
    let mut sender = user.connects("sender");
    let mut targets = [user.connects("one"), user.connects("other")];
    sender.sends(json!({"type": "offer", "id": "o1", "target_user_id": user.id, "payload": 1}));
    let ack = sender.expects("ack");
    assert_eq!(ack["message"], format!("Message delivered to {}", user.id));
    let mut reached: Vec<String> =
        ack["devices"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    reached.sort();
    let mut expected: Vec<String> = targets.iter().map(Peer::device_id).collect();
    expected.sort();
    assert_eq!(reached, expected);
    for target in &mut targets {
        assert_eq!(target.expects("offer")["id"], "o1");
    }
    sender.expects_nothing();
}

#[test]
fn a_fingerprint_can_name_a_user() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let mut one = identity.connects(&server, None);
    let mut other = identity.connects(&server, None);
    one.sends(json!({"type": "offer", "target_user_id": identity.fingerprint(), "payload": 1}));
    other.expects("offer");
    one.expects("ack");
}

#[test]
fn all_unreachable_targets_get_the_same_answer() {
    let server = TestServer::shared();
    let user = server.user();
    let stranger = server.user();
    let mut sender = user.connects("sender");
    let mut live_stranger = stranger.connects("live");
    let offline = user.device("offline").id;
    let targets = [
        json!({"target_device_id": unique("never")}),
        json!({"target_device_id": offline}),
        json!({"target_device_id": live_stranger.device_id()}),
        json!({"target_user_id": stranger.id}),
        json!({"target_user_id": uuid::Uuid::new_v4()}),
        json!({"target_user_id": Identity::new().fingerprint()}),
    ];
    let mut answers = Vec::new();
    for target in targets {
        let mut message = json!({"type": "offer", "id": "same", "payload": 1});
        message.as_object_mut().unwrap().append(target.clone().as_object_mut().unwrap());
        sender.sends(message);
        let mut error = sender.expects_error("target_unavailable");
        error.as_object_mut().unwrap().remove("timestamp");
        answers.push(error);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    live_stranger.expects_nothing();
}

#[test]
fn with_open_routing_everyone_can_be_reached() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let (user, stranger) = (server.user(), server.user());
    let (mut one, mut other) = (user.connects("one"), stranger.connects("other"));
    one.sends(signal("s1", &other.device_id()));
    assert_eq!(other.expects("signal")["sender_user_id"], user.id);
    one.expects("ack");
    one.sends(json!({"type": "offer", "id": "s2", "target_user_id": stranger.id, "payload": 1}));
    other.expects("offer");
    assert_eq!(one.expects("ack")["devices"], json!([other.device_id()]));
}

#[test]
fn the_target_of_an_offer_may_answer() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let (user, stranger) = (server.user(), server.user());
    let (mut one, mut other) = (user.connects("one"), stranger.connects("other"));
    one.sends(json!({"type": "offer", "id": "o", "target_device_id": other.device_id(), "payload": 1}));
    let offer = other.expects("offer");
    one.expects("ack");
    other.sends(
        json!({"type": "answer", "id": "a", "target_device_id": offer["sender_device_id"], "payload": 2}),
    );
    assert_eq!(one.expects("answer")["payload"], 2);
    other.expects("ack");
}

#[test]
fn a_repetition_is_not_carried_out_and_gets_the_same_ack() {
    let (_, mut one, mut other) = pair();
    one.sends(signal("s1", &other.device_id()));
    let first = one.expects_text("ack");
    other.expects("signal");

    one.sends(signal("s1", &other.device_id()));
    assert_eq!(one.expects_text("ack"), first, "byte for byte");
    other.expects_nothing();
}

#[test]
fn the_last_256_requests_are_remembered() {
    let (_, mut one, mut other) = pair();
    let mut sends = |number: usize| {
        one.sends(signal(&format!("n{number}"), &other.device_id()));
        one.expects_text("ack")
    };
    let acks: Vec<String> = (0..257).map(&mut sends).collect();
    assert_eq!(sends(1), acks[1], "the 256th but last is known");
    sends(0);
    for number in (0..257).chain([0]) {
        assert_eq!(
            other.expects("signal")["id"],
            format!("n{number}"),
            "n1 came once, the forgotten n0 again"
        );
    }
    other.expects_nothing();
}

#[test]
fn the_same_id_with_another_content_is_a_conflict() {
    let (_, mut one, mut other) = pair();
    one.sends(signal("s1", &other.device_id()));
    one.expects("ack");
    other.expects("signal");

    let mut changed = signal("s1", &other.device_id());
    changed["payload"] = json!({"n": 2});
    one.sends(changed);
    assert_eq!(one.expects_error("conflict")["id"], "s1");
    let mut renamed = signal("s1", &other.device_id());
    renamed["type"] = json!("offer");
    one.sends(renamed);
    one.expects_error("conflict");
    other.expects_nothing();
}

#[test]
fn a_refused_request_may_be_tried_again() {
    let server = TestServer::shared();
    let user = server.user();
    let mut one = user.connects("one");
    let device = user.device("other").id;
    one.sends(signal("s1", &device));
    one.expects_error("target_unavailable");
    let mut other = user.opens(&device);
    one.sends(signal("s1", &device));
    other.expects("signal");
    one.expects("ack");
}

#[test]
fn two_targets_and_none_are_bad_requests() {
    let (user, mut one, other) = pair();
    let mut both = signal("s1", &other.device_id());
    both["target_user_id"] = json!(user.id);
    one.sends(both);
    one.expects_error("bad_request");
    one.sends(json!({"type": "signal", "id": "s2", "payload": 1}));
    one.expects_error("bad_request");
}

#[test]
fn two_hundred_signals_keep_their_order() {
    let (_, mut one, mut other) = pair();
    for number in 0..200 {
        one.sends(json!({"type": "signal", "id": format!("n{number}"), "target_device_id": other.device_id(), "payload": number}));
    }
    for number in 0..200 {
        assert_eq!(other.expects("signal")["payload"], number);
        assert_eq!(one.expects("ack")["id"], format!("n{number}"));
    }
}

#[test]
fn requests_are_answered_in_the_order_sent() {
    let (_, mut one, mut other) = pair();
    one.sends(json!({"type": "ping", "id": "1"}));
    one.sends(signal("2", &other.device_id()));
    one.sends(json!({"type": "ice_servers", "id": "3"}));
    one.sends(signal("4", &unique("never")));
    one.sends(json!({"type": "ping", "id": "5"}));
    for (kind, id) in [("pong", "1"), ("ack", "2"), ("ice_servers", "3"), ("error", "4"), ("pong", "5")] {
        assert_eq!(one.expects(kind)["id"], id);
    }
    other.expects("signal");
}

#[test]
fn a_large_signal_arrives_whole() {
    let (_, mut one, mut other) = pair();
    let payload = "x".repeat(65_000);
    one.sends(
        json!({"type": "signal", "id": "big", "target_device_id": other.device_id(), "payload": payload}),
    );
    assert_eq!(other.expects("signal")["payload"], payload);
    one.expects("ack");
}

#[test]
fn ephemeral_devices_are_reached_too() {
    let user = TestServer::shared().user();
    let (mut one, mut other) = (user.opens_ephemeral(), user.opens_ephemeral());
    one.sends(signal("s1", &other.device_id()));
    assert_eq!(other.expects("signal")["sender_device_id"], one.device_id());
}
