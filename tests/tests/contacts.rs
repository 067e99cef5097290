//! Contacts, requests and blocks, and who may signal whom (docs/http.md, "Contacts"; docs/security.md, "Consent").

use aldis_protocol::{
    schema::{self, Envelope, envelope::Body},
    statement::Transport,
};
use aldis_tests::{Answer, Identity, Peer, ProtoPeer, TestServer, Upgrade, User, unique};
use bytes::Bytes;
use serde_json::{Value, json};

/// Two users, each with a live device.
fn strangers(server: &TestServer) -> ((User, Peer), (User, Peer)) {
    let [one, other] = [server.user(), server.user()].map(|user| {
        let peer = user.connects("device");
        (user, peer)
    });
    (one, other)
}

fn decides(user: &User, about: &str, state: &str) -> Answer {
    let body = json!({"state": state}).to_string().into_bytes();
    user.http().send("PUT", &format!("/api/contacts/{about}"), &[("Content-Type", "application/json")], body)
}

fn asks(user: &User, whom: &str) -> Answer {
    user.http().send("POST", &format!("/api/contacts/{whom}/request"), &[], Vec::new())
}

fn asks_as(user: &User, whom: &str, label: &str) -> Answer {
    user.http().post(&format!("/api/contacts/{whom}/request"), &json!({"label": label}))
}

/// The labels of a user's contacts.
fn labels(user: &User) -> Vec<Value> {
    let answer = user.http().get("/api/contacts").expects(200);
    answer["contacts"].as_array().expect("one named array").iter().map(|one| one["label"].clone()).collect()
}

fn forgets(user: &User, whom: &str) {
    user.http().delete(&format!("/api/contacts/{whom}")).expects(204);
}

/// The contacts of a user and their states.
fn states(user: &User) -> Vec<(String, String)> {
    let answer = user.http().get("/api/contacts").expects(200);
    let contacts = answer["contacts"].as_array().expect("one named array");
    contacts.iter().map(|contact| (text(&contact["user_id"]), text(&contact["state"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn state(of: &User, state: &str) -> Vec<(String, String)> {
    vec![(of.id.clone(), state.to_owned())]
}

fn signal(target: &Peer) -> Value {
    json!({"type": "signal", "id": unique("s"), "target_device_id": target.device_id(), "payload": 1})
}

#[track_caller]
fn reaches(from: &mut Peer, to: &mut Peer) {
    from.sends(signal(to));
    to.expects("signal");
    from.expects("ack");
}

#[track_caller]
fn does_not_reach(from: &mut Peer, to: &mut Peer) {
    from.sends(signal(to));
    from.expects_error("target_unavailable");
    to.expects_nothing();
}

#[test]
fn an_allowed_user_may_signal_the_target_but_not_the_reverse() {
    let server = TestServer::shared();
    let ((_, mut one), (other, mut target)) = strangers(&server);
    does_not_reach(&mut one, &mut target);
    let sender = one.connected["user_id"].clone();
    decides(&other, sender.as_str().unwrap(), "allowed").expects(204);
    reaches(&mut one, &mut target);
    does_not_reach(&mut target, &mut one);

    forgets(&other, sender.as_str().unwrap());
    does_not_reach(&mut one, &mut target);
}

#[test]
fn contacts_are_listed_with_their_state_and_time() {
    let server = TestServer::shared();
    let (user, other) = (server.user(), server.user());
    let identity = Identity::new();
    let tokens = identity.signs_in(&server, None).expects(201);
    assert_eq!(user.http().get("/api/contacts").expects(200), json!({"contacts": []}));

    decides(&user, &other.id, "blocked").expects(204);
    decides(&user, &identity.fingerprint(), "allowed").expects(204);
    let listed = user.http().get("/api/contacts").expects(200);
    let since = |index: usize| listed["contacts"][index]["since"].clone();
    assert!(text(&since(0)).ends_with('Z') && text(&since(0)) <= text(&since(1)), "{listed}");
    let expected = json!({"contacts": [
        {"user_id": other.id, "fingerprint": null, "label": null, "state": "blocked", "since": since(0)},
        {
            "user_id": tokens["user_id"], "fingerprint": identity.fingerprint(), "label": null,
            "state": "allowed", "since": since(1),
        },
    ]});
    assert_eq!(listed, expected);
    forgets(&user, &identity.fingerprint());
    assert_eq!(states(&user), state(&other, "blocked"));
}

#[test]
fn a_request_reaches_every_live_device_and_is_listed() {
    let server = TestServer::shared();
    let (requester, asked) = (server.user(), server.user());
    let mut devices = [asked.connects("one"), asked.connects("two"), asked.opens_ephemeral()];
    asks(&requester, &asked.id).expects(202);
    for device in &mut devices {
        assert_eq!(device.expects("contact_request")["user_id"], requester.id);
    }
    asks(&requester, &asked.id).expects(202);
    for device in &mut devices {
        device.expects_nothing();
    }
    assert_eq!(states(&requester), state(&asked, "outgoing"));
    assert_eq!(states(&asked), state(&requester, "incoming"));
}

#[test]
fn a_request_waits_for_offline_devices_and_arrives_once() {
    for builder in [TestServer::builder(), TestServer::builder().postgres()] {
        let server = builder.start();
        let (requester, asked) = (server.user(), server.user());
        let (phone, laptop) = (asked.device("phone").id, asked.device("laptop").id);
        let mut live = asked.opens(&phone);
        asks(&requester, &asked.id).expects(202);
        live.expects("contact_request");
        live.confirms(1);
        for (device, waits) in [(&laptop, true), (&laptop, false), (&phone, false)] {
            let mut peer = asked.opens(device);
            if waits {
                assert_eq!(peer.expects("contact_request")["user_id"], requester.id);
                peer.confirms(1);
            }
            peer.expects_nothing();
        }
    }
}

#[test]
fn crossing_requests_allow_both_ways() {
    let server = TestServer::shared();
    let ((one, mut first), (other, mut second)) = strangers(&server);
    asks(&one, &other.id).expects(202);
    second.expects("contact_request");
    asks(&other, &one.id).expects(202);
    assert_eq!(first.expects("contact_request")["user_id"], other.id);
    assert_eq!(states(&one), state(&other, "allowed"));
    assert_eq!(states(&other), state(&one, "allowed"));
    reaches(&mut first, &mut second);
    reaches(&mut second, &mut first);
}

#[test]
fn a_user_who_asks_may_be_reached_and_an_answer_allows_both() {
    let server = TestServer::shared();
    let ((requester, mut first), (asked, mut second)) = strangers(&server);
    asks(&requester, &asked.id).expects(202);
    second.expects("contact_request");
    does_not_reach(&mut first, &mut second);
    reaches(&mut second, &mut first);

    decides(&asked, &requester.id, "allowed").expects(204);
    reaches(&mut first, &mut second);
    assert_eq!(
        (states(&asked), states(&requester)),
        (state(&requester, "allowed"), state(&asked, "allowed"))
    );
}

#[test]
fn the_sender_of_a_request_may_be_reached_until_they_block() {
    let server = TestServer::shared();
    let ((requester, mut first), (asked, mut second)) = strangers(&server);
    asks(&requester, &asked.id).expects(202);
    second.expects("contact_request");
    forgets(&asked, &requester.id);
    reaches(&mut second, &mut first);
    decides(&requester, &asked.id, "blocked").expects(204);
    does_not_reach(&mut second, &mut first);
    forgets(&requester, &asked.id);
    does_not_reach(&mut second, &mut first);
}

#[test]
fn a_request_by_address_or_fingerprint_finds_its_user() {
    let server = TestServer::shared();
    let (requester, by_address) = (server.user(), server.user());
    let mut live = by_address.connects("device");
    asks(&requester, &by_address.email.to_uppercase()).expects(202);
    assert_eq!(live.expects("contact_request")["user_id"], requester.id);
    assert_eq!(states(&requester), [], "whose the address is stays unsaid");
    decides(&by_address, &requester.id, "allowed").expects(204);
    assert_eq!(states(&requester), state(&by_address, "allowed"));

    let identity = Identity::new();
    let mut live = identity.connects(&server, None);
    asks(&requester, &identity.fingerprint()).expects(202);
    assert_eq!(live.expects("contact_request")["user_id"], requester.id);
}

#[test]
fn every_request_gets_the_same_answer() {
    let server = TestServer::shared();
    let (requester, there, blocker) = (server.user(), server.user(), server.user());
    decides(&blocker, &requester.id, "blocked").expects(204);
    let mut blocking = blocker.connects("device");
    let nobody = uuid::Uuid::new_v4().to_string();
    let targets = [
        there.id.clone(),
        there.email.clone(),
        blocker.id.clone(),
        blocker.email.clone(),
        requester.id.clone(),
        nobody.clone(),
        format!("{}@aldis.example", unique("nobody")),
        Identity::new().fingerprint(),
    ];
    for target in &targets {
        let answer = asks(&requester, target);
        assert_eq!((answer.status, answer.body.len()), (202, 0), "{target}");
    }
    blocking.expects_nothing();
    assert_eq!(states(&blocker), state(&requester, "blocked"));
    let mut listed = states(&requester);
    listed.sort();
    let mut expected: Vec<_> =
        [there.id.clone(), blocker.id, nobody].map(|id| (id, "outgoing".to_owned())).into();
    expected.sort();
    assert_eq!(listed, expected);
}

#[test]
fn a_label_arrives_with_its_request_and_stays_with_the_contact() {
    let server = TestServer::shared();
    let (ann, bob) = (server.user(), server.user());
    let mut live = bob.connects("device");
    let away = bob.device("away").id;
    let label = "Ann \"Anouk\" \u{5d0}\u{5d1} 🚀";
    asks_as(&ann, &bob.email, label).expects(202);
    assert_eq!(live.expects("contact_request")["label"], label);
    assert_eq!(bob.opens(&away).expects("contact_request")["label"], label);
    assert_eq!((labels(&bob), labels(&ann)), (vec![json!(label)], vec![]));

    decides(&bob, &ann.id, "allowed").expects(204);
    assert_eq!((labels(&bob), labels(&ann)), (vec![json!(label)], vec![Value::Null]));
    asks_as(&ann, &bob.id, "Mother").expects(202);
    assert_eq!(labels(&bob), [label], "a contact does not rename themselves");
    live.expects_nothing();
}

#[test]
fn after_a_request_by_address_label_and_fingerprint_show_once_allowed() {
    let server = TestServer::shared();
    let (ann, bob) = (server.user(), server.user());
    let key = Identity::new();
    let challenge = key.challenge(&server, None);
    let signature = key.signs(&challenge, Transport::Http, None);
    let body =
        json!({"public_key": key.public(), "challenge": challenge["challenge"], "signature": signature});
    bob.http().post("/api/identity/link", &body).expects(200);
    asks(&ann, &bob.email).expects(202);
    assert_eq!(ann.http().get("/api/contacts").expects(200), json!({"contacts": []}));
    asks_as(&bob, &ann.email, "Bob").expects(202);
    let listed = ann.http().get("/api/contacts").expects(200)["contacts"][0].clone();
    assert_eq!(
        (&listed["fingerprint"], &listed["label"], &listed["state"]),
        (&json!(key.fingerprint()), &json!("Bob"), &json!("allowed"))
    );
}

#[test]
fn disguising_characters_are_refused_in_labels() {
    let server = TestServer::shared();
    let (user, other) = (server.user(), server.user());
    let bad = ["a\u{0}", "a\nb", "\u{7f}", "\u{85}", "\u{202e}nnA", "\u{2066}", "\u{200f}", "\u{61c}"];
    for label in bad.map(str::to_owned).into_iter().chain(["é".repeat(81)]) {
        asks_as(&user, &other.id, &label).expects_problem(422, "bad_request");
    }
    let path = format!("/api/contacts/{}/request", other.id);
    user.http().post(&path, &json!({"label": 7})).expects_problem(422, "bad_request");
    assert_eq!(states(&user), []);
    for body in [json!({}), json!({"label": null}), json!({"label": ""})] {
        user.http().post(&path, &body).expects(202);
        assert_eq!(labels(&other), [Value::Null]);
    }
    asks_as(&user, &other.id, &"é".repeat(80)).expects(202);
    assert_eq!(labels(&other), ["é".repeat(80)]);
}

#[test]
fn the_twenty_first_request_reaches_nobody() {
    let server = TestServer::shared();
    let user = server.user();
    let keys: Vec<Identity> = (0..18).map(|_| Identity::new()).collect();
    for key in &keys {
        asks(&user, &key.fingerprint()).expects(202);
    }
    let (contact, stranger, other) = (server.user(), server.user(), server.user());
    let mut live = other.connects("device");
    // A contact takes a place, and so does an unknown address; a repetition takes none.
    decides(&user, &contact.id, "allowed").expects(204);
    decides(&contact, &user.id, "allowed").expects(204);
    let nobody = format!("{}@aldis.example", unique("nobody"));
    for whom in [&contact.email, &nobody, &contact.email.to_uppercase(), &keys[0].fingerprint()] {
        asks(&user, whom).expects(202);
    }
    for whom in [&other.id, &other.email] {
        let answer = asks(&user, whom);
        assert_eq!((answer.status, answer.body.len()), (202, 0));
    }
    live.expects_nothing();
    assert_eq!((states(&other), states(&user)), (vec![], state(&contact, "allowed")));

    forgets(&user, &nobody);
    asks(&user, &other.email).expects(202);
    live.expects("contact_request");
    asks(&user, &stranger.id).expects(202);
    assert_eq!(states(&stranger), []);
    decides(&other, &user.id, "allowed").expects(204);
    asks(&user, &stranger.id).expects(202);
    assert_eq!(states(&stranger), state(&user, "incoming"));
}

#[test]
fn a_request_by_address_is_withdrawn_only_by_address() {
    let server = TestServer::shared();
    let (user, other) = (server.user(), server.user());
    asks(&user, &other.email).expects(202);
    forgets(&user, &other.id);
    assert_eq!(states(&other), state(&user, "incoming"));
    forgets(&user, &other.email.to_uppercase());
    assert_eq!(states(&other), []);
    // A withdrawal by address does not reveal or undo a decision about its owner.
    decides(&user, &other.id, "allowed").expects(204);
    forgets(&user, &other.email);
    forgets(&user, &format!("{}@aldis.example", unique("nobody")));
    forgets(&user, &Identity::new().fingerprint());
    assert_eq!(states(&user), state(&other, "allowed"));
}

#[test]
fn a_hundred_requests_displaced_an_alert() {
    let server = TestServer::shared();
    let user = server.user();
    let phone = user.device("phone").id;
    let added = user.device("added").id;
    let requesters: Vec<Value> = (0..101)
        .map(|_| {
            let tokens = Identity::new().signs_in(&server, None).expects(201);
            let http = server.http().bearer(tokens["access_token"].as_str().expect("a token"));
            let path = format!("/api/contacts/{}/request", user.id);
            http.send("POST", &path, &[], Vec::new()).expects(202);
            tokens["user_id"].clone()
        })
        .collect();
    let mut peer = user.opens(&phone);
    assert_eq!(peer.expects("alert")["payload"], json!({"kind": "device_added", "device_id": added}));
    for requester in &requesters[1..] {
        assert_eq!(peer.expects("contact_request")["user_id"], *requester);
    }
    peer.expects_nothing();
}

#[test]
fn a_block_works_both_ways_at_once() {
    let server = TestServer::shared();
    let ((one, mut first), (other, mut second)) = strangers(&server);
    asks(&one, &other.id).expects(202);
    second.expects("contact_request");
    asks(&other, &one.id).expects(202);
    first.expects("contact_request");
    reaches(&mut first, &mut second);
    reaches(&mut second, &mut first);

    decides(&one, &other.id, "blocked").expects(204);
    does_not_reach(&mut first, &mut second);
    does_not_reach(&mut second, &mut first);
    assert_eq!(states(&other), state(&one, "allowed"), "the other's list does not tell");

    asks(&other, &one.id).expects(202);
    asks(&one, &other.id).expects(202);
    first.expects_nothing();
    second.expects_nothing();
    decides(&one, &other.id, "allowed").expects(204);
    reaches(&mut first, &mut second);
    reaches(&mut second, &mut first);
}

#[test]
fn a_block_holds_with_open_routing_too() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let ((one, mut first), (other, mut second)) = strangers(&server);
    reaches(&mut first, &mut second);
    decides(&one, &other.id, "blocked").expects(204);
    does_not_reach(&mut first, &mut second);
    does_not_reach(&mut second, &mut first);
    forgets(&one, &other.id);
    reaches(&mut second, &mut first);
}

#[test]
fn the_target_of_an_offer_may_answer() {
    let server = TestServer::shared();
    let ((caller, mut calling), (callee, mut called)) = strangers(&server);
    decides(&callee, &caller.id, "allowed").expects(204);
    let answer =
        |target: &Peer| json!({"type": "answer", "target_device_id": target.device_id(), "payload": 2});
    called.sends(answer(&calling));
    called.expects_error("target_unavailable");

    calling.sends(json!({"type": "offer", "target_user_id": callee.id, "payload": 1}));
    called.expects("offer");
    calling.expects("ack");
    called.sends(answer(&calling));
    calling.expects("answer");
    called.expects("ack");
    called.sends(json!({"type": "ice-candidate", "target_user_id": caller.id, "payload": 3}));
    calling.expects("ice-candidate");
    assert_eq!(called.expects("ack")["devices"], json!([calling.device_id()]));

    let mut bystander = callee.connects("bystander");
    bystander.sends(answer(&calling));
    bystander.expects_error("target_unavailable");
    decides(&caller, &callee.id, "blocked").expects(204);
    called.sends(answer(&calling));
    called.expects_error("target_unavailable");
    calling.expects_nothing();
}

#[test]
fn blocked_forbidden_unknown_and_offline_get_the_same_answer() {
    let server = TestServer::shared();
    let (user, forbidding, blocker, away) = (server.user(), server.user(), server.user(), server.user());
    let (live, blocking) = (forbidding.connects("device"), blocker.connects("device"));
    let offline = away.device("offline").id;
    decides(&away, &user.id, "allowed").expects(204);
    decides(&blocker, &user.id, "blocked").expects(204);
    let mut sender = user.connects("sender");
    let targets = [
        json!({"target_device_id": live.device_id()}),
        json!({"target_user_id": forbidding.id}),
        json!({"target_device_id": blocking.device_id()}),
        json!({"target_user_id": blocker.id}),
        json!({"target_device_id": unique("never")}),
        json!({"target_user_id": uuid::Uuid::new_v4()}),
        json!({"target_user_id": Identity::new().fingerprint()}),
        json!({"target_device_id": offline}),
        json!({"target_user_id": away.id}),
    ];
    let answers: Vec<Value> = targets
        .iter()
        .map(|target| {
            let mut offer = json!({"type": "offer", "id": "same", "payload": 1});
            offer.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
            sender.sends(offer);
            let mut error = sender.expects_error("target_unavailable");
            error.as_object_mut().unwrap().remove("timestamp");
            error
        })
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let message = text(&answers[0]["payload"]["message"]);
    for way in ["contact", "room", "ALDIS_ROUTING"] {
        assert!(message.contains(way), "{way} in: {message}");
    }
    for target in [&forbidding.id, &blocker.id, &uuid::Uuid::new_v4().to_string()] {
        sender
            .sends(json!({"type": "message", "id": "same", "recipient_id": target, "encrypted_content": ""}));
        let mut error = sender.expects_error("target_unavailable");
        error.as_object_mut().unwrap().remove("timestamp");
        assert_eq!(error, answers[0]);
    }
}

#[test]
fn contacts_signal_each_other_in_either_codec() {
    let server = TestServer::shared();
    let (user, other) = (server.user(), server.user());
    let mut json_peer = user.connects("json");
    let device = other.device("proto").id;
    let upgrade = Upgrade::to("/ws").bearer(&other.token).query("device_id", &device);
    let mut proto = ProtoPeer::new(upgrade.open(&server));
    proto.expects(
        "connected",
        |body| if let Body::Connected(connected) = body { Some(connected) } else { None },
    );

    asks_as(&user, &other.id, "Json").expects(202);
    let (_, request) = proto.expects("contact_request", |body| {
        if let Body::ContactRequest(request) = body { Some(request) } else { None }
    });
    assert_eq!((&request.user_id, request.label.as_deref()), (&user.id, Some("Json")));
    asks(&other, &user.id).expects(202);
    json_peer.expects("contact_request");

    json_peer.sends(json!({"type": "offer", "id": "o1", "target_device_id": device, "payload": {"n": 1}}));
    let (envelope, _) =
        proto.expects("offer", |body| if let Body::Offer(offer) = body { Some(offer) } else { None });
    assert_eq!(envelope.sender_user_id, Some(user.id));
    json_peer.expects("ack");
    let answer = schema::Signal { payload: Bytes::from_static(b"[2]"), ..Default::default() };
    proto.sends(Envelope {
        request_id: Some("a1".to_owned()),
        target_device_id: Some(json_peer.device_id()),
        body: Some(Body::Answer(answer)),
        ..Default::default()
    });
    assert_eq!(json_peer.expects("answer")["payload"], json!([2]));
}

#[test]
fn malformed_users_and_decisions_are_refused() {
    let server = TestServer::shared();
    let (user, other) = (server.user(), server.user());
    decides(&user, &other.id, "friend").expects_problem(422, "bad_request");
    decides(&user, &other.id, "incoming").expects_problem(422, "bad_request");
    decides(&user, "nobody", "allowed").expects_problem(422, "bad_request");
    decides(&user, &user.id, "blocked").expects_problem(422, "bad_request");
    decides(&user, &uuid::Uuid::new_v4().to_string(), "allowed").expects_problem(404, "not_found");
    decides(&user, &Identity::new().fingerprint(), "allowed").expects_problem(404, "not_found");
    asks(&user, "nobody").expects_problem(422, "bad_request");
    asks(&user, "a%00@b").expects_problem(422, "bad_request");
    user.http().delete("/api/contacts/nobody").expects_problem(422, "bad_request");
    server.http().get("/api/contacts").expects_problem(401, "missing_token");
    assert_eq!(states(&user), []);
}

#[test]
fn a_change_of_devices_alerts_the_others_live_or_later() {
    let server = TestServer::shared();
    let user = server.user();
    let (live, away) = (user.device("live").id, user.device("away").id);
    let mut watching = user.opens(&live);
    watching.expects("alert");
    let added = user.device("added").id;
    let alert = watching.expects("alert");
    assert_eq!(alert["payload"], json!({"kind": "device_added", "device_id": added}));

    let bound = user.logs_in(&json!({"device_id": added})).expects(200);
    let http = server.http().bearer(bound["access_token"].as_str().unwrap());
    http.delete(&format!("/devices/{live}")).expects(204);
    watching.expects_close_code(4303);
    let removed = json!({"kind": "device_removed", "device_id": live});
    let mut late = user.opens(&away);
    assert_eq!(late.expects("alert")["payload"], alert["payload"]);
    assert_eq!(late.expects("alert")["payload"], removed);

    let mut doer = user.opens(&added);
    doer.expects_nothing();
    let third = user.device("third").id;
    let expected = json!({"kind": "device_added", "device_id": third});
    for peer in [&mut doer, &mut late] {
        assert_eq!(peer.expects("alert")["payload"], expected, "nothing else came before");
    }
}

#[test]
fn a_device_named_by_an_identity_key_alerts_the_others() {
    let server = TestServer::shared();
    let identity = Identity::new();
    let mut first = identity.connects(&server, Some(&unique("first")));
    let second = identity.connects(&server, Some(&unique("second")));
    let expected = json!({"kind": "device_added", "device_id": second.device_id()});
    assert_eq!(first.expects("alert")["payload"], expected);
}
