//! Runs docs/walkthrough.md as it is printed.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails and says why")]

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use aldis_tests::unique;

/// Far longer than the script takes.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

#[test]
fn the_walkthrough_runs_as_printed() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/walkthrough.md");
    let script = blocks(&fs::read_to_string(page).expect("the page"));
    assert!(script.lines().count() > 40, "the page has lost its blocks: {script}");
    let directory = Directory::new();
    let mut shell = Shell::run(&script, &directory.0);
    let succeeded = shell.awaits_end();
    let shown = |name: &str| fs::read_to_string(directory.0.join(name)).unwrap_or_default();
    assert!(
        succeeded,
        "the walk ended early:\n{}\n--- phone.log\n{}\n--- server.log\n{}",
        shown("shell.log"),
        shown("phone.log"),
        shown("server.log")
    );
}

/// The `sh` blocks of the page, in order.
fn blocks(page: &str) -> String {
    let mut blocks = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => blocks.extend([line, "\n"]),
            _ => {}
        }
    }
    blocks
}

/// A shell with its own process group, which ends with it.
struct Shell(Child);

impl Shell {
    fn run(script: &str, directory: &Path) -> Self {
        let log = fs::File::create(directory.join("shell.log")).expect("a log");
        let child = Command::new("bash")
            // The shell stops at the first command that fails, and prints each command.
            .args(["-euxo", "pipefail", "-c", script])
            .env("PATH", path())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("bash");
        Self(child)
    }

    /// Whether the script ended in time.
    fn awaits_end(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().expect("the shell's state") {
                return status.success();
            }
            thread::sleep(LOOK);
        }
        false
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Background processes of the script are in its group. They may have ended already.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

/// The search path of the page, with the server and the examples first.
fn path() -> String {
    let test = env::current_exe().expect("the path of the running test");
    let target = test.parent().and_then(Path::parent).expect("a target directory");
    for program in ["aldis", "examples/identity", "examples/verify_chain", "examples/connect"] {
        assert!(
            target.join(program).exists(),
            "build {program} first: cargo build --workspace --all-targets"
        );
    }
    let rest = env::var("PATH").expect("a path");
    format!("{}:{}:{rest}", target.join("examples").display(), target.display())
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = env::temp_dir().join(unique("aldis-walk"));
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
