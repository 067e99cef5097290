//! Who shows himself how, and who is told (protocol.md, section 4, "Presence", and section 5).

use std::time::{Duration, Instant};

use aldis_client::protocol::UserRef;
use aldis_client::{Client, Credentials, Event, Events, Options, State};
use aldis_protocol::schema::{self, Envelope, envelope::Body};
use aldis_tests::{
    Answer, Frame, Identity, Incoming, Peer, ProtoPeer, Proxy, TestServer, Upgrade, User, now_ms, unique,
};
use serde_json::{Value, json};

/// Far longer than a server needs to notice that a connection is gone.
const NOTICING: Duration = Duration::from_secs(8);
/// Twice what a node needs to follow another one, for a machine that has other things to do.
const BUSY_NODES: Duration = Duration::from_secs(4);

/// Somebody who watches, with a session, and somebody whom he may see.
fn watcher_and_watched(server: &TestServer) -> (Peer, User) {
    let (watcher, watched) = (server.user(), server.user());
    decides(&watched, &watcher.id, "allowed").expects(204);
    (watcher.opens_ephemeral(), watched)
}

fn decides(user: &User, about: &str, state: &str) -> Answer {
    let body = json!({"state": state}).to_string().into_bytes();
    user.http().send("PUT", &format!("/api/contacts/{about}"), &[("Content-Type", "application/json")], body)
}

fn forgets(user: &User, whom: &str) {
    user.http().delete(&format!("/api/contacts/{whom}")).expects(204);
}

fn asks(user: &User, whom: &str) {
    user.http().send("POST", &format!("/api/contacts/{whom}/request"), &[], Vec::new()).expects(202);
}

/// Subscribes; the `ack` comes first.
#[track_caller]
fn subscribes(watcher: &mut Peer, users: &[&str]) {
    let id = unique("s");
    watcher.sends(json!({"type": "presence_subscribe", "id": id, "user_ids": users}));
    let ack = watcher.expects("ack");
    assert_eq!((&ack["id"], &ack["status"]), (&json!(id), &json!("done")));
}

/// Subscribes to one, and gives how he shows himself.
#[track_caller]
fn watches(watcher: &mut Peer, user: &str) -> Value {
    subscribes(watcher, &[user]);
    watcher.expects("presence")
}

#[track_caller]
fn unsubscribes(watcher: &mut Peer, users: &[&str]) {
    watcher.sends(json!({"type": "presence_unsubscribe", "user_ids": users}));
    assert_eq!(watcher.expects("ack")["status"], "done");
}

#[track_caller]
fn shows(device: &mut Peer, status: &str, note: Option<&str>) {
    let mut message = json!({"type": "presence", "id": unique("p"), "status": status});
    if let Some(note) = note {
        message["note"] = json!(note);
    }
    device.sends(message);
    assert_eq!(device.expects("ack")["status"], "done");
}

/// The watcher is told just this.
#[track_caller]
fn is_told(watcher: &mut Peer, status: &str, note: Option<&str>, devices: u64) {
    let presence = watcher.expects("presence");
    assert_eq!(
        (&presence["status"], &presence["note"], &presence["devices"]),
        (&json!(status), &json!(note), &json!(devices)),
        "{presence}"
    );
}

#[track_caller]
fn assert_never_seen(presence: &Value, user: &str) {
    let shown = ["user_id", "status", "note", "devices", "last_seen"].map(|name| presence[name].clone());
    assert_eq!(shown, [json!(user), json!("offline"), Value::Null, json!(0), Value::Null], "{presence}");
}

/// When somebody who is not here was last seen.
#[track_caller]
fn last_seen_ms(presence: &Value) -> u64 {
    let text = presence["last_seen"].as_str().unwrap_or_else(|| panic!("a time in {presence}"));
    let time: aldis_protocol::Timestamp = text.parse().expect("RFC 3339");
    u64::try_from(time.as_ms()).expect("a time after 1970")
}

#[track_caller]
fn closes(peer: &mut Peer, code: u16) {
    peer.socket.sends(&Frame::close(code, ""));
    assert!(matches!(peer.socket.next("the close"), Incoming::Close(..)));
    assert_eq!(peer.socket.next("the end"), Incoming::End);
}

fn comes_back(server: &TestServer, user: &User, connected: &Value, received: u64) -> Peer {
    let token = connected["session"]["resume_token"].as_str().expect("a resume token");
    let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let upgrade = Upgrade::to("/signal").bearer(&user.token);
    let upgrade = upgrade.query("resume", &token).query("received", &received.to_string());
    let back = upgrade.connected(server);
    assert_eq!(back.connected["session"]["resumed"], true);
    back
}

/// Waits until the server has noticed that this device's connection is gone, and gives how many signals it took.
#[track_caller]
fn awaits_break(other: &mut Peer, device: &str) -> u64 {
    let start = Instant::now();
    for sent in 1.. {
        other.sends(json!({"type": "signal", "target_device_id": device, "payload": 1}));
        if other.expects("ack")["status"] == "buffered" {
            return sent;
        }
        assert!(start.elapsed() < NOTICING, "the server does not notice the break");
    }
    unreachable!("an endless loop")
}

#[test]
fn a_user_shows_the_status_of_his_most_available_device() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    assert_never_seen(&watches(&mut watcher, &user.id), &user.id);
    let mut phone = user.opens_ephemeral();
    is_told(&mut watcher, "online", None, 1);
    shows(&mut phone, "busy", Some("in a call"));
    is_told(&mut watcher, "busy", Some("in a call"), 1);
    let mut laptop = user.opens_ephemeral();
    is_told(&mut watcher, "online", None, 2);
    shows(&mut laptop, "away", Some("at lunch"));
    is_told(&mut watcher, "away", Some("at lunch"), 2);
    shows(&mut laptop, "offline", Some("unseen"));
    is_told(&mut watcher, "busy", Some("in a call"), 1);
    shows(&mut phone, "offline", None);
    is_told(&mut watcher, "offline", None, 0);
    shows(&mut laptop, "online", None);
    is_told(&mut watcher, "online", None, 1);
    watcher.expects_nothing();
}

#[test]
fn what_is_said_again_or_hidden_behind_another_device_is_no_change() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut phone = user.opens_ephemeral();
    watches(&mut watcher, &user.id);
    shows(&mut phone, "online", None);
    watcher.expects_nothing();
    shows(&mut phone, "away", None);
    is_told(&mut watcher, "away", None, 1);
    let mut laptop = user.opens_ephemeral();
    is_told(&mut watcher, "online", None, 2);
    shows(&mut phone, "busy", Some("unseen"));
    watcher.expects_nothing();
    closes(&mut laptop, 1000);
    is_told(&mut watcher, "busy", Some("unseen"), 1);
}

#[test]
fn a_note_has_140_characters_and_goes_with_the_next_status() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut phone = user.opens_ephemeral();
    watches(&mut watcher, &user.id);
    let longest = "ü".repeat(140);
    shows(&mut phone, "online", Some(&longest));
    is_told(&mut watcher, "online", Some(&longest), 1);
    phone.sends(json!({"type": "presence", "status": "online", "note": "ü".repeat(141)}));
    phone.expects_error("bad_request");
    watcher.expects_nothing();
    shows(&mut phone, "online", None);
    is_told(&mut watcher, "online", None, 1);
}

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
    assert_eq!(watches(&mut peer, ids[3])["status"], "online", "asked again, told again");
    peer.expects_nothing();
}

#[test]
fn a_subscription_behind_slower_requests_is_acked_before_it_is_told() {
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
            assert!(told <= acked, "told of the user {told} before his subscription was acked");
        }
    }
}

#[test]
fn the_same_request_again_is_acked_alone() {
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
fn whoever_unsubscribes_is_told_no_more() {
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
fn who_says_offline_is_still_reached() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut phone = user.opens_ephemeral();
    watches(&mut watcher, &user.id);
    shows(&mut phone, "offline", None);
    let offline = watcher.expects("presence");
    assert_eq!((&offline["status"], &offline["devices"]), (&json!("offline"), &json!(0)));
    watcher.sends(json!({"type": "signal", "target_user_id": user.id, "payload": 1}));
    phone.expects("signal");
    assert_eq!(watcher.expects("ack")["status"], "delivered");

    // What he does unseen does not show in when he was last seen.
    closes(&mut phone, 1000);
    watcher.expects_nothing();
    assert_eq!(watches(&mut watcher, &user.id)["last_seen"], offline["last_seen"]);
}

#[test]
fn a_user_watches_himself_and_his_other_devices() {
    let server = TestServer::shared();
    let user = server.user();
    let (mut one, mut other) = (user.opens_ephemeral(), user.opens_ephemeral());
    subscribes(&mut one, &[&user.id]);
    is_told(&mut one, "online", None, 2);
    shows(&mut one, "away", Some("elsewhere"));
    one.expects_nothing();
    shows(&mut other, "busy", None);
    is_told(&mut one, "away", Some("elsewhere"), 2);
    closes(&mut other, 1000);
    is_told(&mut one, "away", Some("elsewhere"), 1);
}

#[test]
fn a_close_frame_for_good_is_told_at_once() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    watches(&mut watcher, &user.id);
    for code in [1000, 1001] {
        let mut phone = user.opens_ephemeral();
        is_told(&mut watcher, "online", None, 1);
        let before = now_ms();
        closes(&mut phone, code);
        let offline = watcher.expects("presence");
        assert_eq!((&offline["status"], &offline["devices"]), (&json!("offline"), &json!(0)));
        let at_ms = last_seen_ms(&offline);
        assert!(at_ms >= before && at_ms <= now_ms(), "{offline}");
    }
}

#[test]
fn any_other_close_frame_is_told_at_once_too_and_taken_back_by_a_resume() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut phone = user.opens_ephemeral();
    shows(&mut phone, "busy", Some("in a call"));
    watches(&mut watcher, &user.id);
    let mut connected = phone.connected.clone();
    for code in [4000, 3000, 1011] {
        closes(&mut phone, code);
        is_told(&mut watcher, "offline", None, 0);
        phone = comes_back(&server, &user, &connected, 1);
        is_told(&mut watcher, "busy", Some("in a call"), 1);
        connected = phone.connected.clone();
    }
    phone.socket.sends(&Frame::new(0x8, []));
    is_told(&mut watcher, "offline", None, 0);
    comes_back(&server, &user, &connected, 1);
    is_told(&mut watcher, "busy", Some("in a call"), 1);
}

#[test]
fn a_break_within_the_window_says_nothing() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let mut other = user.opens_ephemeral();
    let mut phone = user.opens_ephemeral();
    shows(&mut phone, "online", Some("here"));
    watches(&mut watcher, &user.id);
    let (connected, device) = (phone.connected.clone(), phone.device_id());
    phone.socket.breaks();
    let signals = awaits_break(&mut other, &device);
    watcher.expects_nothing();
    assert_eq!(watches(&mut watcher, &user.id)["devices"], 2, "its presence holds");
    let mut back = comes_back(&server, &user, &connected, 1);
    (0..signals).for_each(|_| drop(back.expects("signal")));
    watcher.expects_nothing();
    assert_eq!(watches(&mut watcher, &user.id)["note"], "here", "a resumed session keeps its status");
    shows(&mut back, "busy", None);
    is_told(&mut watcher, "online", None, 2);
}

#[test]
fn a_break_is_told_when_its_window_ends() {
    let server = TestServer::builder().env("ALDIS_RESUME_WINDOW", "2").start();
    let (mut watcher, user) = watcher_and_watched(&server);
    let phone = user.opens_ephemeral();
    watches(&mut watcher, &user.id);
    let broken = Instant::now();
    phone.socket.breaks();
    is_told(&mut watcher, "offline", None, 0);
    let after = broken.elapsed();
    assert!(after >= Duration::from_secs(2), "told after {after:?}");

    let mut again = user.opens_ephemeral();
    is_told(&mut watcher, "online", None, 1);
    closes(&mut again, 4000);
    is_told(&mut watcher, "offline", None, 0);
    let told = Instant::now();
    while server.metric("aldis_sessions") > 1 {
        assert!(told.elapsed() < NOTICING, "the session ends");
        watcher.expects_nothing();
    }
    watcher.expects_nothing();
}

#[test]
fn a_newer_connection_of_the_same_device_is_no_news_but_for_its_status() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let device = user.device("phone").id;
    let mut first = user.opens(&device);
    watches(&mut watcher, &user.id);
    let mut second = user.opens(&device);
    first.expects_error_and_close("conflict", 4300);
    watcher.expects_nothing();
    shows(&mut second, "busy", None);
    is_told(&mut watcher, "busy", None, 1);
    let _third = user.opens(&device);
    is_told(&mut watcher, "online", None, 1);
    second.expects_error_and_close("conflict", 4300);
    watcher.expects_nothing();
}

#[test]
fn who_is_away_gets_the_latest_of_each_once_and_uncounted() {
    let server = TestServer::shared();
    let (watcher, user) = (server.user(), server.user());
    decides(&user, &watcher.id, "allowed").expects(204);
    let (mut phone, mut other) = (user.opens_ephemeral(), watcher.opens_ephemeral());
    let mut peer = watcher.opens_ephemeral();
    let (connected, device) = (peer.connected.clone(), peer.device_id());
    assert_eq!(watches(&mut peer, &user.id)["status"], "online");
    peer.socket.breaks();
    let signals = awaits_break(&mut other, &device);
    for number in 0..50 {
        shows(&mut phone, "away", Some(&number.to_string()));
    }
    shows(&mut phone, "busy", Some("the latest"));
    // Of what this session was sent, the ack and the signals are counted, and no presence.
    let mut back = comes_back(&server, &watcher, &connected, 1);
    assert_eq!(back.connected["session"]["replayed"], signals);
    (0..signals).for_each(|_| drop(back.expects("signal")));
    is_told(&mut back, "busy", Some("the latest"), 1);
    back.expects_nothing();
    shows(&mut phone, "online", None);
    is_told(&mut back, "online", None, 1);
    back.sends(json!({"type": "received", "count": signals + 2}));
    back.expects_error("bad_request");
}

/// It was written to the old connection, and nobody has read it there.
#[test]
fn a_presence_that_was_lost_with_a_connection_was_never_told_again() {
    let server = TestServer::shared();
    let (watcher, user) = (server.user(), server.user());
    decides(&user, &watcher.id, "allowed").expects(204);
    let (mut phone, mut other) = (user.opens_ephemeral(), watcher.opens_ephemeral());
    let mut peer = watcher.opens_ephemeral();
    watches(&mut other, &user.id);
    watches(&mut peer, &user.id);
    let ends: [fn(Peer); 3] = [
        |peer| peer.socket.breaks(),
        |mut peer| peer.socket.sends(&Frame::close(4000, "")),
        // The new connection displaces it.
        |peer| std::mem::forget(peer),
    ];
    for (number, ends) in ends.into_iter().enumerate() {
        let note = number.to_string();
        shows(&mut phone, "busy", Some(&note));
        is_told(&mut other, "busy", Some(&note), 1);
        let connected = peer.connected.clone();
        ends(peer);
        peer = comes_back(&server, &watcher, &connected, 1);
        is_told(&mut peer, "busy", Some(&note), 1);
        peer.expects_nothing();
    }
}

/// Whoever watches through the client library knows in the end how things are, whatever was lost on the way.
#[test]
fn a_client_that_is_cut_off_at_each_change_knows_the_last() {
    let server = TestServer::builder().env("ALDIS_ROUTING", "open").start();
    let proxy = Proxy::before(&server);
    let user = server.user();
    let mut phone = user.opens_ephemeral();
    let watched = [UserRef::Id(user.id.parse().expect("a user id"))];
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = Options::new(&proxy.url(), Credentials::key(Identity::new().secret())).unwrap();
        let (client, mut events) = Client::start(options.longest_wait(Duration::from_millis(200)));
        client.connected().await.unwrap();
        client.subscribe_presence(&watched).await.unwrap();
        let mut sessions = 0;
        for number in 0..30 {
            let note = number.to_string();
            shows(&mut phone, "busy", Some(&note));
            proxy.cut();
            let learns = async {
                loop {
                    match events.next().await.expect("a client that goes on") {
                        Event::Presence(presence) if presence.note.as_deref() == Some(&*note) => break,
                        Event::Connected(session) => sessions += usize::from(!session.resumed),
                        _ => {}
                    }
                }
            };
            tokio::time::timeout(NOTICING, learns)
                .await
                .unwrap_or_else(|_| panic!("it never learns of {note}"));
        }
        assert_eq!(sessions, 1, "what it knows, it knows of a session that goes on");
        client.stop().await;
    });
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
fn a_client_that_is_cut_off_and_comes_back_is_online_all_the_time() {
    let server = TestServer::shared();
    let proxy = Proxy::before(&server);
    let (identity, user) = (Identity::new(), server.user());
    let id = identity.signs_in(&server, None).expects(201)["user_id"].as_str().expect("an id").to_owned();
    // Whoever asks may be seen by whom he asked.
    let token = identity.signs_in(&server, None).expects(200)["access_token"].clone();
    let http = server.http().bearer(token.as_str().expect("a token"));
    http.send("POST", &format!("/api/contacts/{}/request", user.id), &[], Vec::new()).expects(202);
    let mut watcher = user.opens_ephemeral();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = Options::new(&proxy.url(), Credentials::key(identity.secret())).unwrap();
        let options = options.longest_wait(Duration::from_millis(200));
        let (client, mut events): (Client, Events) = Client::start(options);
        client.connected().await.unwrap();
        assert_eq!(watches(&mut watcher, &id)["status"], "online");
        for _ in 0..3 {
            // Of an earlier cut, nothing is left to be told.
            while !matches!(events.next().await, Some(Event::Connected(_))) {}
            proxy.cut();
        }
        while !matches!(events.next().await, Some(Event::Connected(session)) if session.resumed) {}
        assert_eq!(client.state(), State::Connected);
        watcher.expects_nothing();
        client.stop().await;
        // Leaving, it says so itself.
        is_told(&mut watcher, "offline", None, 0);
        watcher.expects_nothing();
    });
}

#[test]
fn whoever_may_not_see_somebody_is_answered_as_for_one_who_was_never_online() {
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
fn a_subscription_speaks_once_it_is_allowed_and_says_offline_once_when_it_no_longer_is() {
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
        (|user, watcher| asks_anew(user, watcher), true),
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

/// Takes a block back, and reaches out.
fn asks_anew(user: &User, watcher: &User) {
    forgets(user, &watcher.id);
    asks(user, &watcher.id);
}

/// A scenario whose users ask each other waits for presence alone.
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
fn a_change_of_what_is_allowed_already_says_nothing() {
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
fn whoever_writes_to_somebody_is_seen_by_him() {
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
fn what_is_changed_on_another_node_is_followed() {
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

    // A message reaches out too. What was changed before is read by now, and does not tell.
    let mut there = Upgrade::to("/signal").bearer(&writer.token).connected(&other);
    there.sends(
        json!({"type": "message", "id": "m", "recipient_id": watcher.id, "encrypted_content": "eA=="}),
    );
    there.expects("ack");
    let presence = peer.expects("presence");
    assert_eq!((&presence["user_id"], &presence["status"]), (&json!(writer.id), &json!("online")));
}

#[test]
fn with_open_routing_everybody_is_seen_but_by_the_blocked() {
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
fn of_a_deleted_account_nothing_is_seen_any_more() {
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

#[test]
fn a_removed_device_and_a_revoked_session_are_told() {
    let server = TestServer::shared();
    let (mut watcher, user) = watcher_and_watched(&server);
    let device = user.device("phone").id;
    let mut phone = user.opens(&device);
    watches(&mut watcher, &user.id);
    user.http().delete(&format!("/devices/{device}")).expects(204);
    phone.expects_close_code(4303);
    is_told(&mut watcher, "offline", None, 0);
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
fn nothing_but_a_list_of_users_is_subscribed_to() {
    let mut peer = TestServer::shared().user().opens_ephemeral();
    for users in [json!("x"), json!(["nobody"]), json!([1]), Value::Null] {
        peer.sends(json!({"type": "presence_subscribe", "user_ids": users}));
        peer.expects_error("bad_request");
    }
    subscribes(&mut peer, &[]);
    peer.expects_nothing();
}

#[test]
fn when_somebody_was_last_seen_outlasts_the_server() {
    for builder in [TestServer::builder(), TestServer::builder().postgres()] {
        let server = builder.start();
        let (watcher, user) = (server.user(), server.user());
        decides(&user, &watcher.id, "allowed").expects(204);
        let mut peer = watcher.opens_ephemeral();
        assert_eq!(watches(&mut peer, &user.id)["last_seen"], Value::Null);
        let mut phone = user.opens_ephemeral();
        let here = peer.expects("presence");
        assert!(last_seen_ms(&here).abs_diff(now_ms()) < 5_000, "{here}");
        closes(&mut phone, 1000);
        let gone = peer.expects("presence");
        let mut later = watcher.opens_ephemeral();
        assert_eq!(watches(&mut later, &user.id)["last_seen"], gone["last_seen"]);
        closes(&mut later, 1000);
        assert!(server.terminate().success());
        server.restart_same_port();
        let mut after = watcher.opens_ephemeral();
        let offline = watches(&mut after, &user.id);
        assert_eq!(
            (&offline["last_seen"], &offline["status"]),
            (&gone["last_seen"], &json!("offline")),
            "{offline}"
        );
    }
}

#[test]
fn every_door_tells() {
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
        // The chat door has more to say of its room.
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

#[test]
fn a_crowd_of_watchers_is_told() {
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
        // Each is told the latest in the end, whatever it was told before.
        while peer.expects("presence")["status"] != "online" {}
        peer.expects_nothing();
    }
}
