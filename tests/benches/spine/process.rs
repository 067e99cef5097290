//! The two programs that are compared, and their cost as the system reports it.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use aldis_tests::{Identity, TestServer};

/// The argument that makes this program the floor.
pub(crate) const FLOOR: &str = "floor-server";

const PAGE_BYTES: u64 = 4096;
const TICKS_PER_SECOND: u64 = 100;

/// A program under measurement; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    id: u32,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Server(TestServer),
    Floor(Child),
}

impl Process {
    /// The server, on SQLite, with rate limits off.
    pub(crate) fn server() -> Self {
        let server = TestServer::start();
        Self { address: server.address(), id: server.process_id(), running: Running::Server(server) }
    }

    /// The floor.
    pub(crate) fn floor() -> Self {
        let program = env::current_exe().expect("the path of this program");
        let mut child =
            Command::new(program).arg(FLOOR).stdout(Stdio::piped()).spawn().expect("the floor to start");
        let mut line = String::new();
        let output = child.stdout.take().expect("the floor's output");
        BufReader::new(output).read_line(&mut line).expect("the floor's address");
        let address = line.trim_end().parse().expect("the floor's address");
        Self { address, id: child.id(), running: Running::Floor(child) }
    }

    /// A token of a new account; none from the floor, which asks for none.
    pub(crate) fn access_token(&self) -> Option<String> {
        let Running::Server(server) = &self.running else { return None };
        // On a thread of its own: a blocking call within the runtime uses up the budget of the runtime's task.
        let signed_in = thread::scope(|scope| {
            scope.spawn(|| Identity::new().signs_in(server, None).expects(201)).join().expect("a sign-in")
        });
        Some(signed_in["access_token"].as_str().expect("a token").to_owned())
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> f64 {
        let text = self.proc_file("statm");
        let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
        (pages * PAGE_BYTES) as f64
    }

    /// The processor time that it has used, user and kernel.
    pub(crate) fn processor_time(&self) -> Duration {
        let text = self.proc_file("stat");
        let (_, after_name) = text.rsplit_once(") ").expect("a process name");
        let mut fields = after_name.split(' ').skip(11).map(|ticks| ticks.parse::<u64>().expect("ticks"));
        let ticks = fields.next().expect("user time") + fields.next().expect("system time");
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }

    fn proc_file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.id)).expect("a running process")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Floor(child) = self {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
