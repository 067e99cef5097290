//! Valid tokens of accounts that do not exist.

use aldis_tests::{TestServer, Upgrade, token, unique};
use serde_json::{Value, json};
use uuid::Uuid;

/// A token with the server's signature, for a user who is not in the database.
fn token_of_nobody(server: &TestServer) -> String {
    token::altered(&server.user().token, &json!({"sub": Uuid::new_v4(), "sid": Uuid::new_v4()}))
}

#[test]
fn a_token_of_an_unknown_user_was_answered_200() {
    let server = TestServer::shared();
    let document = server.http().get("/openapi.json").expects(200);
    let http = server.http().bearer(&token_of_nobody(&server));
    let mut calls = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if !operation["security"].is_null() || !operation["responses"].is_object() {
                continue;
            }
            let path = path.replace("{user}", &Uuid::new_v4().to_string()).replace(['{', '}'], "");
            let headers = [("content-type", "application/json")];
            let answer = http.send(&method.to_uppercase(), &path, &headers, b"{}".to_vec());
            answer.expects_problem(401, "invalid_token");
            calls += 1;
        }
    }
    assert!(calls > 25, "{calls} calls");
}

#[test]
fn a_token_of_an_unknown_user_was_accepted_at_the_doors() {
    let server = TestServer::shared();
    let token = token_of_nobody(&server);
    let devices = [None, Some("phone")];
    for device in devices {
        let with_device = |upgrade: Upgrade| match device {
            Some(device) => upgrade.query("device_id", device),
            None => upgrade,
        };
        let mut signal = with_device(Upgrade::to("/signal").bearer(&token)).peer(&server);
        signal.expects_error_and_close("invalid_token", 4002);
        let refused = with_device(Upgrade::to("/api/ws").bearer(&token)).try_open(&server).unwrap_err();
        assert_eq!(refused.status, 401);
    }
    let auth = json!({"type": "auth", "payload": {"token": token}});
    let mut connect = Upgrade::to("/v1/connect").peer(&server);
    connect.expects("auth_challenge");
    connect.sends(auth.clone());
    connect.expects_refusal("invalid_token", 4002);
    let mut chat = Upgrade::to(format!("/v1/chat/{}", unique("room"))).peer(&server);
    chat.sends(auth.clone());
    assert_eq!(chat.socket.expects_any_close(), (1008, "Invalid token".to_owned()));
    let protobuf = Upgrade::to("/ws").bearer(&token).try_open(&server);
    assert_eq!(protobuf.unwrap().expects_any_close().0, 4002);
}

#[test]
fn a_token_of_an_unknown_user_resumes_no_session() {
    let server = TestServer::shared();
    let mut peer = server.user().opens_ephemeral();
    peer.sends(json!({"type": "auth", "id": "1", "payload": {"token": token_of_nobody(&server)}}));
    assert_eq!(peer.socket.expects_any_close(), (4002, "Invalid token".to_owned()));
}

#[test]
fn a_token_of_an_unknown_user_sent_contact_requests() {
    let server = TestServer::shared();
    let user = server.user();
    let http = server.http().bearer(&token_of_nobody(&server));
    let path = format!("/api/contacts/{}/request", user.id);
    http.post(&path, &Value::Null).expects_problem(401, "invalid_token");
    assert_eq!(user.http().get("/api/contacts").expects(200)["contacts"], json!([]));
}
