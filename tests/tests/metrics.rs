//! The admin listener (docs/http.md, "Operations").

use aldis_tests::{Identity, TestServer, Upgrade};
use serde_json::json;

#[test]
fn the_page_is_prometheus_text() {
    let server = TestServer::start();
    let answer = reqwest::blocking::get(server.metrics_url().expect("a URL")).expect("metrics");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    for line in answer.text().unwrap().lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let is_named = series.starts_with("aldis_") || series.starts_with("process_");
        assert!(is_named && value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
    }
}

#[test]
fn the_public_listener_has_no_metrics() {
    let server = TestServer::shared();
    server.http().get("/metrics").expects_problem(404, "not_found");
    let url = server.metrics_url().expect("a URL");
    let admin = url.strip_suffix("metrics").unwrap();
    assert_eq!(reqwest::blocking::get(format!("{admin}health")).unwrap().status(), 404);
}

#[test]
fn events_are_counted() {
    let server = TestServer::start();
    let user = server.user();
    let (mut sender, mut target) = (user.connects("sender"), user.connects("target"));
    assert_eq!(server.metric("aldis_sessions"), 2);
    assert!(server.metric("aldis_connections_total") >= 3);
    assert_eq!(server.metric(r#"aldis_http_requests_total{route="/auth/register",status="201"}"#), 1);
    assert_eq!(server.metric(r#"aldis_http_requests_total{route="/signal",status="101"}"#), 2);

    let offer = |to: &str| json!({"type": "offer", "target_device_id": to, "payload": {}});
    sender.sends(offer(&target.device_id()));
    sender.expects("ack");
    target.expects("offer");
    sender.sends(offer("nobody"));
    sender.expects_error("target_unavailable");
    sender.sends_text("nonsense");
    sender.expects_error("bad_request");
    for (series, value) in [
        (r#"aldis_messages_received_total{kind="offer"}"#, 2),
        (r#"aldis_messages_received_total{kind="malformed"}"#, 1),
        (r#"aldis_signals_total{outcome="delivered"}"#, 1),
        (r#"aldis_signals_total{outcome="unavailable"}"#, 1),
        (r#"aldis_refusals_total{code="target_unavailable"}"#, 1),
        (r#"aldis_refusals_total{code="bad_request"}"#, 1),
        ("aldis_store_errors_total", 0),
    ] {
        assert_eq!(server.metric(series), value, "{series}");
    }
}

#[test]
fn a_signal_to_a_disconnected_device_is_buffered() {
    let server = TestServer::start();
    let user = server.user();
    let (mut sender, target) = (user.connects("sender"), user.connects("target"));
    let id = target.device_id();
    drop(target);
    let mut status = json!(null);
    while status != "buffered" {
        sender.sends(json!({"type": "signal", "target_device_id": id, "payload": {}}));
        status = sender.expects("ack")["status"].clone();
    }
    assert_eq!(server.metric(r#"aldis_signals_total{outcome="buffered"}"#), 1);
}

#[test]
fn refusals_are_counted_wherever_they_happen() {
    let server = TestServer::start();
    server.http().get("/devices/").expects_problem(401, "missing_token");
    server.http().get("/nowhere").expects_problem(404, "not_found");
    let mut peer = Upgrade::to("/v1/connect").peer(&server);
    peer.expects("auth_challenge");
    peer.sends(json!({"type": "auth", "payload": {"token": "nonsense"}}));
    peer.expects_refusal("invalid_token", 4002);
    for (series, value) in [
        (r#"aldis_refusals_total{code="missing_token"}"#, 1),
        (r#"aldis_refusals_total{code="invalid_token"}"#, 1),
        (r#"aldis_http_requests_total{route="none",status="404"}"#, 1),
        (r#"aldis_closes_total{code="4002"}"#, 1),
        (r#"aldis_handshakes_refused_total{door="/v1/connect",code="invalid_token"}"#, 1),
        (r#"aldis_handshakes_total{door="/v1/connect"}"#, 0),
    ] {
        assert_eq!(server.metric(series), value, "{series}");
    }
}

#[test]
fn sessions_resumes_and_transactions_are_counted() {
    let server = TestServer::start();
    let user = server.user();
    let device = user.device("phone");
    let peer = user.opens(&device.id);
    let token = peer.connected["session"]["resume_token"].as_str().unwrap().to_owned();
    assert_eq!(server.metric(r#"aldis_sessions_by_state{state="connected"}"#), 1);
    assert_eq!(server.metric(r#"aldis_handshakes_total{door="/signal"}"#), 1);
    drop(peer);
    server.awaits_metric(r#"aldis_sessions_by_state{state="away"}"#, 1);
    let upgrade = Upgrade::to("/signal").bearer(&user.token).query("device_id", &device.id);
    let resumed =
        upgrade.query("resume", &token.replace('+', "%2B")).query("received", "0").connected(&server);
    assert_eq!(resumed.connected["session"]["resumed"], true, "{:?}", resumed.connected);
    assert_eq!(server.metric(r#"aldis_resumes_total{outcome="resumed"}"#), 1);
    Identity::new().signs_in(&server, None).expects(201);
    assert!(server.metric(r#"aldis_store_commit_seconds_count{writer="sign_ins"}"#) >= 1);
    assert!(server.metric(r#"aldis_store_batch_size_bucket{writer="sign_ins",le="+Inf"}"#) >= 1);
    assert_eq!(server.metric(r#"aldis_build_info{version="0.1.0"}"#), 1);
    assert!(server.metric("process_resident_memory_bytes") > 1024 * 1024);
}

#[test]
fn a_web_page_of_another_name_read_the_metrics() {
    let server = TestServer::builder().env("ALDIS_ADMIN_NAMES", "metrics.aldis.example").start();
    let url = server.metrics_url().unwrap();
    let status = |host: &str| {
        let request = reqwest::blocking::Client::new().get(&url).header("host", host);
        request.send().unwrap().status().as_u16()
    };
    for host in ["localhost:19840", "127.0.0.1", "metrics.aldis.example:80", "METRICS.aldis.example"] {
        assert_eq!(status(host), 200, "{host}");
    }
    for host in ["evil.example", "evil.example:19840", "aldis.example"] {
        assert_eq!(status(host), 403, "{host}");
    }
}
