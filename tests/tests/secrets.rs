//! No secret reaches the log, even at trace level (docs/security.md, "Tokens", "At rest").

use aldis_tests::{Authenticator, Frame, Identity, TestServer, Upgrade, unique};
use serde_json::{Value, json};

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Signs in, connects and signals in every way, successfully and not; returns what must not be in the log.
fn secrets_used(server: &TestServer) -> Vec<String> {
    let user = server.user();
    let device = user.device("phone").id;
    user.logs_in(&json!({"password": "the wrong password"})).expects_problem(401, "invalid_credentials");
    let refresh = json!({"refresh_token": user.refresh_token});
    let fresh = server.http().post("/api/auth/refresh", &refresh).expects(200);

    let in_query = Upgrade::to("/signal").query("token", &user.token).query("device_id", &device);
    let mut peer = in_query.connected(server);
    let mut other = Upgrade::to("/api/ws").query("token", &user.token).connected(server);
    let content = unique("v=0-session-description");
    peer.sends(json!({"type": "offer", "target_device_id": other.device_id(), "payload": {"sdp": content}}));
    other.expects("offer");
    peer.expects("ack");
    peer.sends(json!({"type": "auth", "payload": {"token": user.token}}));
    peer.expects("auth_success");
    peer.socket.sends(&Frame::text(format!("{{\"type\":\"{content}")));
    peer.expects_error("bad_request");

    let resume = text(&peer.connected["session"]["resume_token"]);
    peer.socket.breaks();
    let back = in_query.query("resume", &resume.replace('+', "%2B")).query("received", "0").connected(server);
    let next_resume = text(&back.connected["session"]["resume_token"]);
    let wrong = json!({"refresh_token": "a-bad-refresh-token"});
    server.http().post("/api/auth/refresh", &wrong).expects_problem(401, "invalid_token");
    let new = json!({"old_password": user.password, "new_password": "a password set later"});
    user.http().post("/api/auth/password", &new).expects(204);

    let identity = Identity::new();
    let challenge = identity.challenge(server, None);
    let signature = identity.signs(&challenge, aldis_protocol::statement::Transport::Http, None);
    let tokens = identity.verifies(server, &challenge, &signature, None).expects(201);
    let refused = Upgrade::to("/signal").query("token", "a-bad-token-in-a-query");
    refused.peer(server).expects_error_and_close("invalid_token", 4002);

    let enrolled = server.user();
    let app = Authenticator::enroll(&enrolled.http());
    let (enrolled_secret, recovery) = (app.base32(), app.recovery_codes[0].clone());
    enrolled.logs_in(&json!({"totp_code": recovery})).expects(200);
    enrolled.logs_in(&json!({"totp_code": recovery})).expects_problem(401, "invalid_totp");

    vec![
        user.email,
        user.password,
        "a password set later".to_owned(),
        "a-bad-refresh-token".to_owned(),
        "the wrong password".to_owned(),
        "a-bad-token-in-a-query".to_owned(),
        aldis_tests::SECRET_KEY.to_owned(),
        content,
        resume,
        next_resume,
        user.token,
        user.refresh_token,
        text(&fresh["access_token"]),
        text(&fresh["refresh_token"]),
        text(&tokens["access_token"]),
        text(&tokens["refresh_token"]),
        signature,
        enrolled_secret,
        recovery,
    ]
}

#[test]
fn at_trace_level_the_log_has_no_secret() {
    let server = TestServer::builder().env("ALDIS_LOG", "trace").start();
    let secrets = secrets_used(&server);
    assert!(server.terminate().success(), "exit 0");
    let log = server.log();
    assert!(log.lines().count() > 20, "a talkative log: {log}");
    for secret in secrets {
        let found = log.lines().find(|line| line.contains(&secret));
        assert_eq!(found, None, "`{secret}` is in the log");
    }
}
