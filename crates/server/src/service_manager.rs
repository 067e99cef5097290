//! Tells the service manager (systemd) how far the server is, by the protocol of `sd_notify(3)`.
//!
//! The manager names a socket in the environment. Without one, as in a terminal or a container, nothing is sent.

use std::{
    convert::Infallible,
    env, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

/// The service manager of this process.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often the manager wants a sign of life.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The manager that the environment names. A socket that cannot be used is a warning, as the server runs without.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        match connect(name.as_bytes()) {
            Ok(socket) => Self { socket: Some(socket), watchdog: watchdog() },
            Err(error) => {
                tracing::warn!(%error, socket = ?name, "cannot reach the service manager: NOTIFY_SOCKET is not usable");
                Self::default()
            }
        }
    }

    /// The server accepts connections at `url`, or has reloaded.
    pub fn ready(&self, url: &str) {
        self.send(&format!("READY=1\nSTATUS=Listening on {url}"));
    }

    /// The server reads its files again; [`ready`](Self::ready) follows.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reloading"));
    }

    /// The server drains and then ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Draining");
    }

    /// Sends signs of life while the runtime's workers run tasks. Never returns.
    pub async fn watch(&self) -> Infallible {
        let Some(every) = self.watchdog else { return std::future::pending().await };
        let mut ticks = interval(every / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Only a worker completes this task. If all of them are stuck, the sign stays away.
            if tokio::spawn(std::future::ready(())).await.is_ok() {
                self.send("WATCHDOG=1");
            }
        }
    }

    fn send(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::warn!(%error, "cannot tell the service manager the server's state");
        }
    }
}

/// Connects to a path, or with `@` in front to a name in the abstract namespace.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not stop the server.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The interval that the manager asks of this process.
fn watchdog() -> Option<Duration> {
    let is_ours = match env::var("WATCHDOG_PID") {
        Ok(id) => id == std::process::id().to_string(),
        Err(_) => true,
    };
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (is_ours && micros >= 2).then(|| Duration::from_micros(micros))
}
