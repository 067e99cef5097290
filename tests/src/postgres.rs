//! PostgreSQL for tests: a cluster on loopback that ends with the process that started it.

use std::{
    fs, io,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

/// How often to look for a free port: between finding one and listening on it, another process may take it.
const PORT_ATTEMPTS: usize = 8;

/// A running PostgreSQL that trusts all users on its loopback port and does not survive a crash of the machine.
///
/// It is stopped and its directory is removed when this is dropped or the process ends in any way.
pub struct Cluster {
    tools: PathBuf,
    port: u16,
    keeper: Mutex<Keeper>,
}

impl Cluster {
    /// The cluster that all tests of this process share.
    ///
    /// # Errors
    /// Why it did not start, and what to install if PostgreSQL is missing.
    pub fn shared() -> Result<&'static Self, String> {
        static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().map_err(|error| error.to_string())).as_ref().map_err(Clone::clone)
    }

    /// Starts a cluster for a test that restarts it.
    ///
    /// # Errors
    /// As [`shared`](Self::shared).
    pub fn start() -> io::Result<Self> {
        let tools = find_tools()?;
        let mut keeper = Keeper::spawn(&tools)?;
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port()?;
            if keeper.order(&format!("start {port}")).is_ok() {
                return Ok(Self { tools, port, keeper: Mutex::new(keeper) });
            }
        }
        Err(io::Error::other("PostgreSQL does not start on any port"))
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// The name is taken or malformed, or the cluster is stopped.
    pub fn create_database(&self, name: &str) -> io::Result<String> {
        let port = self.port.to_string();
        let mut create = Command::new(self.tools.join("createdb"));
        create.args(["--host=127.0.0.1", "--username=postgres", "--port", &port, name]);
        let output = create.stdin(Stdio::null()).output()?;
        if output.status.success() {
            Ok(format!("postgres://postgres@127.0.0.1:{port}/{name}"))
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }

    /// Runs statements in a database as its superuser.
    ///
    /// # Errors
    /// PostgreSQL's error.
    pub fn execute(&self, database: &str, statements: &str) -> io::Result<()> {
        let port = self.port.to_string();
        let mut psql = Command::new(self.tools.join("psql"));
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--host=127.0.0.1",
            "--username=postgres",
        ]);
        psql.args(["--port", &port, "--dbname", database, "--command", statements]);
        let output = psql.stdin(Stdio::null()).output()?;
        if output.status.success() {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }

    /// All of a database as SQL statements.
    ///
    /// # Errors
    /// PostgreSQL's error.
    pub fn dump(&self, database: &str) -> io::Result<String> {
        let port = self.port.to_string();
        let mut dump = Command::new(self.tools.join("pg_dump"));
        dump.args(["--host=127.0.0.1", "--username=postgres", "--port", &port, "--dbname", database]);
        let output =
            dump.args(["--no-owner", "--no-privileges", "--inserts"]).stdin(Stdio::null()).output()?;
        if output.status.success() {
            // A line that begins with a backslash is a command of psql, which differs for each dump.
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.lines().filter(|line| !line.starts_with('\\')).map(|line| format!("{line}\n")).collect())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }

    /// Carries out the statements of a [`dump`](Self::dump) in an empty database.
    ///
    /// # Errors
    /// PostgreSQL's error.
    pub fn load(&self, database: &str, statements: &str) -> io::Result<()> {
        let port = self.port.to_string();
        let mut psql = Command::new(self.tools.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--host=127.0.0.1"]);
        psql.args(["--username=postgres", "--port", &port, "--dbname", database]);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut input = psql.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        // If psql stops at an error, its output says why.
        let _ = input.write_all(statements.as_bytes());
        drop(input);
        let output = psql.wait_with_output()?;
        if output.status.success() {
            Ok(())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }

    /// Its port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server, breaking every connection to it.
    ///
    /// # Errors
    /// It was not running.
    pub fn stop(&self) -> io::Result<()> {
        self.order("stop")
    }

    /// Ends the server like a crash: without a checkpoint, in the middle of its work.
    ///
    /// # Errors
    /// It was not running.
    pub fn crash(&self) -> io::Result<()> {
        self.order("crash")
    }

    /// Pauses all of the server's processes: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// It was not running.
    pub fn freeze(&self) -> io::Result<()> {
        self.order("freeze")
    }

    /// Continues a paused server.
    ///
    /// # Errors
    /// It was not running.
    pub fn thaw(&self) -> io::Result<()> {
        self.order("thaw")
    }

    /// Starts the server again, on the same port with the same data.
    ///
    /// # Errors
    /// It was running, or its port was taken meanwhile.
    pub fn start_again(&self) -> io::Result<()> {
        self.order(&format!("start {}", self.port))
    }

    fn order(&self, order: &str) -> io::Result<()> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).order(order)
    }
}

/// A shell that owns the cluster and reads commands from its standard input. When that input ends, which happens when
/// this process ends in any way, the shell stops the cluster and removes everything.
struct Keeper {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

const KEEPER: &str = r#"
tools=$1
home=$(mktemp -d "${TMPDIR:-/tmp}/aldis-postgres.XXXXXXXXXX") || { echo "no temporary directory"; exit 1; }
if "$tools/initdb" -D "$home/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$home/log" 2>&1; then
    echo done
else
    tr '\n' ' ' <"$home/log"; echo
fi
signal() {
    read -r main <"$home/data/postmaster.pid" && kill -s "$1" "$main" $(ps -o pid= --ppid "$main")
}
while read -r order port; do
    case $order in
    start) "$tools/pg_ctl" -D "$home/data" -l "$home/log" -w -s -o "-p $port -h 127.0.0.1 -c fsync=off \
        -c full_page_writes=off -c unix_socket_directories='' -c max_connections=300 -c shared_buffers=16MB" start ;;
    stop) "$tools/pg_ctl" -D "$home/data" -m fast -w -s stop ;;
    crash) "$tools/pg_ctl" -D "$home/data" -m immediate -w -s stop ;;
    freeze) signal STOP ;;
    thaw) signal CONT ;;
    esac </dev/null >/dev/null 2>&1 && echo done || echo "refused to $order"
done
signal CONT </dev/null >/dev/null 2>&1
"$tools/pg_ctl" -D "$home/data" -m immediate -w -s stop </dev/null >/dev/null 2>&1
rm -rf "$home"
"#;

impl Keeper {
    fn spawn(tools: &Path) -> io::Result<Self> {
        let mut shell = shell_as_postgres()?
            .args(["sh", "-c", KEEPER, "keeper"])
            .arg(tools)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (orders, answers) = (shell.stdin.take(), shell.stdout.take());
        let answers = BufReader::new(answers.ok_or(io::ErrorKind::BrokenPipe)?);
        let mut keeper = Self { shell, orders, answers };
        keeper.answer()?;
        Ok(keeper)
    }

    fn order(&mut self, order: &str) -> io::Result<()> {
        writeln!(self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?, "{order}")?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.trim_end() {
            "done" => Ok(()),
            trouble => Err(io::Error::other(format!("PostgreSQL: {trouble}"))),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.shell.wait();
    }
}

/// PostgreSQL refuses to run as root, so root becomes the user that its package created. A separate process group
/// keeps keyboard interrupts away from the keeper, which has to clean up.
pub(crate) fn shell_as_postgres() -> io::Result<Command> {
    use std::os::unix::process::CommandExt;

    let user = Command::new("id").arg("-u").output()?;
    let mut command = Command::new("env");
    if user.stdout == b"0\n" {
        command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]);
    }
    command.process_group(0);
    Ok(command)
}

/// The directory with the programs of the newest PostgreSQL installed.
fn find_tools() -> io::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .map(|version| version.path().join("bin"))
        .filter(|tools| tools.join("initdb").exists())
        .max_by_key(|tools| major_version(tools));
    newest.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "these tests need PostgreSQL: install Debian's package `postgresql` (apt-get install postgresql)",
        )
    })
}

fn major_version(tools: &Path) -> u32 {
    let version = tools.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    version.and_then(|version| version.parse().ok()).unwrap_or_default()
}

pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
