//! Health and readiness (docs/http.md, "Operations").

use aldis_tests::{TestServer, mail::await_that};
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tokio::runtime::Runtime;

fn readiness(server: &TestServer) -> u16 {
    server.http().get("/health/ready").status
}

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
fn metrics_are_not_on_the_public_listener() {
    TestServer::shared().http().get("/metrics").expects_problem(404, "not_found");
}

#[test]
fn a_server_whose_disk_is_full_was_ready() {
    let server = TestServer::start();
    assert_eq!(readiness(&server), 200);
    server.limits_files(Some(1));
    await_that("the server to notice", || readiness(&server) == 503);
    let answer = server.http().get("/health/ready");
    answer.expects_problem(503, "unavailable");
    assert_eq!(server.http().get("/health").status, 200, "it serves calls without the database");
    server.limits_files(None);
    await_that("the server to recover", || readiness(&server) == 200);
    let _user = server.user();
}

#[test]
fn a_server_whose_database_another_process_has_locked_was_ready() {
    let server = TestServer::start();
    let runtime = Runtime::new().unwrap();
    let file = SqliteConnectOptions::new().filename(server.directory().join("aldis.db"));
    let mut other = runtime.block_on(file.connect()).unwrap();
    runtime.block_on(sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other)).unwrap();
    await_that("the server to notice", || readiness(&server) == 503);
    runtime.block_on(sqlx::raw_sql("ROLLBACK").execute(&mut other)).unwrap();
    await_that("the server to recover", || readiness(&server) == 200);
}
