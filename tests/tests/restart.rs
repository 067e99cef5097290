//! A server that is killed or told to stop, and restarted (docs/http.md, "Operations"; docs/protocol/codes.md).

use std::time::Duration;

use aldis_client::protocol::{Payload, Target};
use aldis_client::{Client, Credentials, Event, Events, Options};
use aldis_tests::{Identity, Incoming, TestServer, Upgrade, unique};
use serde_json::{Value, json};

const RECOVERY: Duration = Duration::from_secs(40);

fn options(server: &TestServer, identity: &Identity, device: &str) -> Options {
    let credentials = Credentials::key(identity.secret()).for_device(device.parse().unwrap());
    Options::new(&server.url(""), credentials).unwrap()
}

async fn next_signal(events: &mut Events) -> Event {
    loop {
        let event = tokio::time::timeout(RECOVERY, events.next()).await.unwrap().unwrap();
        if matches!(event, Event::Signal(_)) {
            return event;
        }
    }
}

async fn connected_again(client: &Client) {
    let mut state = client.watch_state();
    let back = state.wait_for(|state| *state == aldis_client::State::Connected);
    tokio::time::timeout(RECOVERY, back).await.unwrap().unwrap();
}

async fn disconnected(client: &Client) {
    let mut state = client.watch_state();
    let gone = state.wait_for(|state| *state != aldis_client::State::Connected);
    tokio::time::timeout(RECOVERY, gone).await.unwrap().unwrap();
}

#[test]
fn clients_reconnect_by_themselves_after_a_kill() {
    let server = TestServer::start();
    let identity = Identity::new();
    let (one, other) = (unique("one"), unique("other"));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (caller, _caller_events) = Client::start(options(&server, &identity, &one));
        caller.connected().await.unwrap();
        let (callee, mut callee_events) = Client::start(options(&server, &identity, &other));
        callee.connected().await.unwrap();

        server.kill9();
        disconnected(&caller).await;
        disconnected(&callee).await;
        server.restart_same_port();
        connected_again(&caller).await;
        connected_again(&callee).await;

        let target = Target::Device(other.parse().unwrap());
        caller.offer(target, Payload::from_json(r#"{"after":"the restart"}"#).unwrap()).await.unwrap();
        let Event::Signal(offer) = next_signal(&mut callee_events).await else { unreachable!("a signal") };
        assert_eq!(offer.signal.payload.as_bytes(), br#"{"after":"the restart"}"#);
        caller.stop().await;
        callee.stop().await;
    });
}

#[test]
fn acknowledged_changes_survive_a_kill() {
    survives_a_kill(&TestServer::start());
}

#[test]
fn acknowledged_changes_survive_a_kill_on_postgresql() {
    survives_a_kill(&TestServer::builder().postgres().start());
}

fn survives_a_kill(server: &TestServer) {
    let user = server.user();
    let device = user.device("phone");
    let identity = Identity::new();
    let made = identity.signs_in(server, None).expects(201);
    let used = identity.challenge(server, None);
    let signature = identity.signs(&used, aldis_protocol::statement::Transport::Http, None);
    identity.verifies(server, &used, &signature, None).expects(200);

    server.kill9();
    server.restart_same_port();

    user.logs_in(&json!({})).expects(200);
    assert_eq!(user.opens(&device.id).device_id(), device.id, "tokens and devices survive");
    assert_eq!(identity.signs_in(server, None).expects(200)["user_id"], made["user_id"]);
    assert_eq!(identity.verifies(server, &used, &signature, None).status, 401, "a used challenge stays used");
    let refresh = json!({"refresh_token": user.refresh_token});
    server.http().post("/api/auth/refresh", &refresh).expects(200);
}

#[test]
fn a_generated_secret_key_survives_too() {
    let server = TestServer::builder().without("SECRET_KEY").start();
    let user = server.user();
    server.kill9();
    server.restart_same_port();
    user.http().get("/devices/").expects(200);
}

#[test]
fn a_drain_tells_its_clients_and_exits_with_0() {
    let server = TestServer::start();
    let user = server.user();
    let mut live = user.opens_ephemeral();
    server.signal_terminate();

    let draining = live.expects("server_draining");
    assert!(draining["reconnect_after"].is_number(), "{draining}");
    let mut last = String::new();
    let close = loop {
        match live.socket.next("the close of a drain") {
            Incoming::Text(text) => last = text,
            other => break other,
        }
    };
    assert!(matches!(close, Incoming::Close(1012, _)), "{close:?}");
    let error: Value = serde_json::from_str(&last).unwrap();
    assert_eq!((&error["payload"]["code"], &error["payload"]["close"]), (&json!("draining"), &json!(1012)));
    assert!(server.awaits_exit(Duration::from_secs(10)).success(), "exit 0");
}

#[test]
fn a_drain_accepts_no_new_sockets() {
    let server = TestServer::start();
    let user = server.user();
    let mut live = user.opens_ephemeral();
    let open = Upgrade::to("/signal").bearer(&user.token);
    server.signal_terminate();
    live.expects("server_draining");
    // The listener may be closed already, which is a refusal too.
    if std::net::TcpStream::connect(server.address()).is_ok() {
        assert_eq!(open.refused(&server).status, 503);
    }
    assert!(server.awaits_exit(Duration::from_secs(12)).success());
}
