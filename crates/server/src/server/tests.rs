//! A server in this process, and its behaviour when a task fails that it needs.

use std::{fs, future::pending, path::PathBuf};

use axum::body::Body;
use http::{Request, StatusCode};
use tokio::{sync::oneshot, time::timeout};
use tower::ServiceExt;
use uuid::Uuid;

use super::*;
use crate::config::Loaded;

/// Longer than any drain takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a free port, with a directory that is deleted after the test.
struct Fixture {
    server: Option<Server>,
    directory: PathBuf,
}

impl Fixture {
    async fn bind() -> Self {
        let directory = std::env::temp_dir().join(format!("aldis-server-{}", Uuid::new_v4()));
        fs::create_dir(&directory).unwrap();
        let variables = [
            ("DATABASE_URL", "sqlite::memory:"),
            ("ALDIS_DATA_DIR", directory.to_str().unwrap()),
            ("ALDIS_ADMIN_LISTEN", "127.0.0.1:0"),
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
        ];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let Loaded::Run(config) = Config::load(["aldis".into()], variables).unwrap() else { unreachable!() };
        Self { server: Some(Server::bind(*config).await.unwrap()), directory }
    }

    fn take(&mut self) -> Server {
        self.server.take().unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

async fn readiness(node: &Arc<Node>) -> StatusCode {
    let request = Request::get("/health/ready").header("host", "localhost").body(Body::empty()).unwrap();
    let doors = doors::<TcpStream>(node);
    routes(Arc::clone(node), doors).oneshot(request).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_kept_running_when_a_background_task_had_panicked() {
    let mut fixture = Fixture::bind().await;
    let server = fixture.take();
    let node = Arc::clone(&server.node);
    let mut background = background(&server.node, &server.store);
    let (fail, failing) = oneshot::channel::<()>();
    background.spawn("a task", async move {
        failing.await.unwrap();
        panic!("a bug");
    });
    let running = tokio::spawn(server.run_with(background, pending()));
    assert_eq!(readiness(&node).await, StatusCode::OK);
    fail.send(()).unwrap();
    let ended = timeout(PATIENCE, running).await.unwrap().unwrap().unwrap_err();
    assert!(ended.to_string().contains("`a task` ended unexpectedly"), "{ended}");
    assert_eq!(readiness(&node).await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_kept_running_without_the_delivery_of_messages() {
    let mut fixture = Fixture::bind().await;
    let server = fixture.take();
    // The second receiver gets nothing, so the delivery ends at once.
    let _taken = server.store.committed();
    let ended = timeout(PATIENCE, server.run(pending())).await.unwrap().unwrap_err();
    assert_eq!(ended.to_string(), "the task `delivery` ended unexpectedly");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_kept_running_without_its_writer() {
    let mut fixture = Fixture::bind().await;
    let server = fixture.take();
    let (node, store) = (Arc::clone(&server.node), Arc::clone(&server.store));
    let running = tokio::spawn(server.run(pending()));
    assert_eq!(readiness(&node).await, StatusCode::OK);
    store.close().await;
    let ended = timeout(PATIENCE, running).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.to_string(), "the task `writer` ended unexpectedly");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_has_not_failed() {
    let mut fixture = Fixture::bind().await;
    timeout(PATIENCE, fixture.take().run(std::future::ready(()))).await.unwrap().unwrap();
}
