//! The server under test: the real binary, started, stopped and killed as a user would.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::postgres::Cluster;
use crate::{Http, PATIENCE, User, unique};

/// The server's `SECRET_KEY`, with which scenarios sign their own tokens.
pub const SECRET_KEY: &str = "a key for scenarios only, 32 bytes and more";

/// The server writes at most two lines; anything after them is dropped.
const FIRST_LINES: usize = 2;
const ADMIN_LISTEN: &str = "ALDIS_ADMIN_LISTEN";
/// How long the binary may take to start, including migrations.
const START: Duration = Duration::from_secs(30);
/// How many lines of the log are kept.
const LOG_LINES: usize = 20_000;
/// How many lines of the log the report of a failure shows.
const SHOWN_LINES: usize = 200;

/// A running server. It is killed, and its files are removed, when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct TestServer {
    process: Arc<Process>,
}

/// A server about to be started.
#[derive(Debug)]
pub struct Builder {
    settings: BTreeMap<String, String>,
    /// The largest size of a file that the process may write.
    file_limit: Option<u64>,
}

impl TestServer {
    /// A separate server, on SQLite, with rate limits off.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A separate server with its own settings.
    #[must_use]
    pub fn builder() -> Builder {
        let settings = [
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("SECRET_KEY", SECRET_KEY),
            (ADMIN_LISTEN, "127.0.0.1:0"),
            ("ALDIS_RATE_LIMITS", "off"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Builder { settings, file_limit: None }
    }

    /// The server that the scenarios of one file share; each scenario has its own users. It lives as long as one of
    /// them holds it.
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: Mutex<Weak<Process>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = shared.upgrade() {
            return Self { process };
        }
        let server = Self::start();
        *shared = Arc::downgrade(&server.process);
        server
    }

    /// The address on which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// Host and port, as in a `Host` header and in a URL.
    #[must_use]
    pub fn authority(&self) -> String {
        self.address().to_string()
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Its database URL.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.process.settings["DATABASE_URL"]
    }

    /// An HTTP client without credentials.
    #[must_use]
    pub fn http(&self) -> Http {
        Http::new(self)
    }

    /// Registers a new user by email and password.
    #[must_use]
    pub fn user(&self) -> User {
        User::register(self)
    }

    /// The URL of its metrics.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        self.process.running.lock().expect("the server's process").metrics.clone()
    }

    /// Its metrics, in Prometheus' text format.
    #[must_use]
    pub fn metrics(&self) -> String {
        let url = self.metrics_url().expect("a server with metrics");
        reqwest::blocking::get(url).and_then(reqwest::blocking::Response::text).expect("metrics")
    }

    /// The value of a series of its metrics, with its labels; 0 if there is none.
    #[must_use]
    pub fn metric(&self, series: &str) -> u64 {
        let page = self.metrics();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Waits until a series of its metrics has this value.
    #[track_caller]
    pub fn awaits_metric(&self, series: &str, value: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.metric(series) != value {
            assert!(Instant::now() < deadline, "{series} was to be {value}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process id.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.running.lock().expect("the server's process").child.id()
    }

    /// Its resident memory, in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process_id());
        let status = fs::read_to_string(path).expect("the server's status file");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        line.and_then(|size| size.trim().parse().ok()).expect("the size of the server's memory")
    }

    /// Limits the size of its files, or removes the limit. A write beyond it fails like on a full disk.
    pub fn limits_files(&self, bytes: Option<u64>) {
        let id = self.process_id().to_string();
        // Only the soft limit, which can be raised again.
        let limit =
            bytes.map_or_else(|| "--fsize=unlimited:".to_owned(), |bytes| format!("--fsize={bytes}:"));
        let prlimit = Command::new("prlimit").args(["--pid", &id, &limit]).status();
        assert!(prlimit.expect("the command prlimit").success(), "the limit could not be set");
    }

    /// Its data directory, which has the database too.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.process.directory.0
    }

    /// Kills it without warning.
    pub fn kill9(&self) {
        let child = &mut self.process.running.lock().expect("the server's process").child;
        child.kill().expect("a process to kill");
        child.wait().expect("the killed process");
    }

    /// Sends SIGTERM and leaves it to drain.
    pub fn signal_terminate(&self) {
        self.signals("TERM");
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signals(&self, name: &str) {
        let id = self.process_id().to_string();
        let kill = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("the command kill");
        assert!(kill.success(), "SIG{name} could not be sent");
    }

    /// Waits until a line of the log has this text.
    #[track_caller]
    pub fn awaits_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let so_far = self.process.log.so_far();
            if so_far.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "no line with `{text}` in {so_far}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM and waits for the end.
    #[must_use]
    pub fn terminate(&self) -> ExitStatus {
        self.signal_terminate();
        self.awaits_exit(Duration::from_secs(15))
    }

    /// Waits for the end of a server that was told to stop.
    #[must_use]
    pub fn awaits_exit(&self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        let child = &mut self.process.running.lock().expect("the server's process").child;
        loop {
            if let Some(status) = child.try_wait().expect("the server's state") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end within {patience:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The kept log of a server that has ended.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log.whole()
    }

    /// Starts a stopped or killed server again, at the same address over the same files.
    pub fn restart_same_port(&self) {
        let process = &self.process;
        let mut settings = process.settings.clone();
        settings.insert("PORT".to_owned(), process.address.port().to_string());
        let (running, address) = launch(&settings, &process.log);
        *process.running.lock().expect("the server's process") = running;
        assert_eq!(address, process.address, "the address after a restart");
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if thread::panicking() {
            self.process.log.print();
        }
    }
}

impl Builder {
    /// Sets an environment variable of the server.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Uses a new database of the shared PostgreSQL instead of SQLite.
    #[must_use]
    pub fn postgres(self) -> Self {
        self.postgres_of(Cluster::shared().unwrap_or_else(|error| panic!("{error}")))
    }

    /// Uses a new database of the scenario's own PostgreSQL.
    #[must_use]
    pub fn postgres_of(self, cluster: &Cluster) -> Self {
        let name = unique("aldis").replace('-', "_");
        let url = cluster.create_database(&name).unwrap_or_else(|error| panic!("{error}"));
        self.env("DATABASE_URL", &url)
    }

    /// Makes it another node beside a server, with the same database and keys.
    #[must_use]
    pub fn beside(mut self, other: &TestServer) -> Self {
        for shared in ["DATABASE_URL", "ALDIS_DATA_DIR"] {
            self.settings.insert(shared.to_owned(), other.process.settings[shared].clone());
        }
        self
    }

    /// Removes a variable that [`TestServer::builder`] sets.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.settings.remove(name);
        self
    }

    /// Limits the size of its files. A write beyond it fails like on a full disk.
    #[must_use]
    pub fn limits_files(mut self, bytes: u64) -> Self {
        self.file_limit = Some(bytes);
        self
    }

    /// Starts it and waits until it serves.
    #[must_use]
    pub fn start(mut self) -> TestServer {
        let directory = self.own_directory();
        let log = Log::default();
        let (running, address) = launch(&self.settings, &log);
        let running = Mutex::new(running);
        TestServer {
            process: Arc::new(Process { settings: self.settings, running, address, log, directory }),
        }
    }

    /// Runs the binary with arguments to its end, which must come at once: it prints something or refuses to start.
    #[must_use]
    pub fn run(self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "")
    }

    /// The same, with a text on its standard input.
    #[must_use]
    pub fn run_with(mut self, arguments: &[&str], input: &str) -> Output {
        let _directory = self.own_directory();
        let mut command = command(&self.settings, self.file_limit);
        let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().expect("the server's binary");
        // A program may end without reading all of its input.
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
        let id = child.id().to_string();
        let (sender, ended) = mpsc::sync_channel(1);
        // Its output is read meanwhile, so that the program never blocks on a full pipe.
        thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(PATIENCE) else {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
            panic!("the binary was to end with {arguments:?}");
        };
        output.expect("the binary's output")
    }

    fn own_directory(&mut self) -> Directory {
        let directory = Directory::new();
        let path = directory.0.to_str().expect("a path of UTF-8").to_owned();
        let database = format!("sqlite:{path}/aldis.db");
        self.settings.entry("ALDIS_DATA_DIR".to_owned()).or_insert(path);
        self.settings.entry("DATABASE_URL".to_owned()).or_insert(database);
        directory
    }
}

#[derive(Debug)]
struct Process {
    settings: BTreeMap<String, String>,
    running: Mutex<Running>,
    address: SocketAddr,
    log: Log,
    directory: Directory,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// The URL of its metrics.
    metrics: Option<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let Running { child, .. } = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn launch(settings: &BTreeMap<String, String>, log: &Log) -> (Running, SocketAddr) {
    let mut child = command(settings, None).spawn().expect("the server's binary");
    log.follow(child.stderr.take().expect("the server's log"));
    let lines = Lines::of(child.stdout.take().expect("the server's output"));
    let line = lines.next();
    let Some(address) = line.as_deref().and_then(announced) else {
        // The process is not needed any more, and may have ended.
        let _ = child.kill();
        let _ = child.wait();
        log.print();
        panic!("the server was to say `listening on http…` within {START:?}; it said {line:?}");
    };
    // If the scenario set no address for metrics, the server may have found none.
    let metrics = settings.contains_key(ADMIN_LISTEN).then(|| lines.next()).flatten();
    let metrics = metrics.and_then(|line| Some(line.trim_end().strip_prefix("metrics on ")?.to_owned()));
    (Running { child, metrics }, address)
}

/// The binary, with only the parts of this process's environment that every program needs.
fn command(settings: &BTreeMap<String, String>, file_limit: Option<u64>) -> Command {
    let inherited = ["PATH", "HOME", "TMPDIR"].map(|name| (name, env::var(name)));
    let mut command = match file_limit {
        None => Command::new(binary()),
        Some(bytes) => {
            let mut limited = Command::new("prlimit");
            limited.arg(format!("--fsize={bytes}:")).arg(binary());
            limited
        }
    };
    command
        .env_clear()
        .envs(inherited.into_iter().filter_map(|(name, value)| Some((name, value.ok()?))))
        .envs(settings)
        .current_dir(&settings["ALDIS_DATA_DIR"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The address in the line that the server prints.
fn announced(line: &str) -> Option<SocketAddr> {
    let url = line.trim_end().strip_prefix("listening on ")?;
    url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?.parse().ok()
}

/// The path of the binary under test.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("ALDIS_BIN") {
        return path.into();
    }
    let test = env::current_exe().expect("the path of the running test");
    let path = test.parent().and_then(Path::parent).expect("a target directory").join("aldis");
    assert!(
        path.exists(),
        "no server at {}: run `cargo build -p aldis-server`, or set ALDIS_BIN",
        path.display()
    );
    path
}

/// The first lines of the server's output.
struct Lines(mpsc::Receiver<String>);

impl Lines {
    fn of(output: impl std::io::Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::sync_channel(FIRST_LINES);
        thread::spawn(move || {
            // Reads to the end, so that the server never blocks on a full pipe.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        Self(receiver)
    }

    fn next(&self) -> Option<String> {
        self.0.recv_timeout(START).ok()
    }
}

#[derive(Debug, Default)]
struct Log {
    lines: Arc<Mutex<VecDeque<String>>>,
    reader: Mutex<Option<JoinHandle<()>>>,
    is_printed: AtomicBool,
}

impl Log {
    fn follow(&self, source: impl std::io::Read + Send + 'static) {
        let lines = Arc::clone(&self.lines);
        let reader = thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == LOG_LINES {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
        *self.reader.lock().expect("the log's reader") = Some(reader);
    }

    fn whole(&self) -> String {
        if let Some(reader) = self.reader.lock().expect("the log's reader").take() {
            reader.join().expect("the log's end");
        }
        self.so_far()
    }

    fn so_far(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Prints the log once.
    fn print(&self) {
        if self.is_printed.swap(true, Ordering::Relaxed) {
            return;
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("--- the server's log");
        for line in lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES)) {
            eprintln!("{line}");
        }
        eprintln!("--- end of the server's log");
    }
}

#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = env::temp_dir().join(unique("aldis-test"));
        fs::create_dir(&path).expect("a temporary directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Files that cannot be removed are left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}
