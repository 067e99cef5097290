//! What the server tells a service manager (docs/operations.md, "Under systemd").

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use aldis_tests::{PATIENCE, TestServer, unique};

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    name: String,
    path: Option<PathBuf>,
}

impl Manager {
    fn at_a_path() -> Self {
        let path = env::temp_dir().join(unique("aldis-notify"));
        let name = path.to_str().unwrap().to_owned();
        Self { socket: UnixDatagram::bind(&path).unwrap(), name, path: Some(path) }
    }

    fn in_the_abstract_namespace() -> Self {
        let name = unique("aldis-notify");
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self { socket: UnixDatagram::bind_addr(&address).unwrap(), name: format!("@{name}"), path: None }
    }

    /// The lines of the next message, without signs of life.
    fn next(&self) -> Vec<String> {
        loop {
            let lines = self.next_of_any_kind();
            if lines != ["WATCHDOG=1"] {
                return lines;
            }
        }
    }

    fn next_of_any_kind(&self) -> Vec<String> {
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = [0; 4_096];
        let length = self.socket.recv(&mut bytes).expect("a message of the server");
        str::from_utf8(&bytes[..length]).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

#[test]
fn a_service_manager_hears_of_the_start_a_reload_and_the_end() {
    let manager = Manager::at_a_path();
    let server = TestServer::builder().env("NOTIFY_SOCKET", &manager.name).start();
    let listening = format!("STATUS=Listening on {}", server.url(""));
    assert_eq!(manager.next(), ["READY=1", &listening]);
    server.http().get("/health").expects(200);

    server.signals("HUP");
    let reloading = manager.next();
    assert_eq!(reloading[0], "RELOADING=1");
    let micros = reloading[1].strip_prefix("MONOTONIC_USEC=").expect("the time of the reload");
    assert!(micros.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.next(), ["READY=1", &listening]);

    assert!(server.terminate().success());
    assert_eq!(manager.next(), ["STOPPING=1", "STATUS=Draining"]);
}

#[test]
fn signs_of_life_are_sent_as_often_as_the_manager_asks() {
    let manager = Manager::in_the_abstract_namespace();
    let builder = TestServer::builder().env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "400000");
    let _server = builder.start();
    assert_eq!(manager.next()[0], "READY=1");
    for _ in 0..3 {
        manager.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(manager.next_of_any_kind(), ["WATCHDOG=1"]);
    }
}

#[test]
fn a_watchdog_of_another_process_gets_no_signs_of_life() {
    let manager = Manager::at_a_path();
    let builder = TestServer::builder().env("NOTIFY_SOCKET", &manager.name);
    let server = builder.env("WATCHDOG_USEC", "2").env("WATCHDOG_PID", "1").start();
    assert_eq!(manager.next_of_any_kind()[0], "READY=1");
    assert!(server.terminate().success());
    assert_eq!(manager.next_of_any_kind()[0], "STOPPING=1");
}

#[test]
fn a_socket_that_cannot_be_used_is_a_warning() {
    let server = TestServer::builder().env("NOTIFY_SOCKET", "/missing/socket").start();
    server.awaits_log("NOTIFY_SOCKET is not usable");
    server.http().get("/health").expects(200);
    assert!(server.terminate().success());
}
