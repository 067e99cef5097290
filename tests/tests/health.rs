//! What operators ask (docs/http.md, "Operations").

use aldis_tests::TestServer;

#[test]
fn health_says_ok_and_a_version() {
    let health = TestServer::shared().http().get("/health").expects(200);
    assert_eq!(health["status"], "ok");
    assert!(health["version"].is_string(), "{health}");
}

#[test]
fn a_server_that_serves_is_ready() {
    let answer = TestServer::shared().http().get("/health/ready");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn metrics_are_not_for_the_public_listener() {
    TestServer::shared().http().get("/metrics").expects_problem(404, "not_found");
}
