//! `key_login`, run twice.

#![allow(clippy::expect_used, clippy::panic, reason = "this is how a test fails and says why")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use aldis_tests::{TestServer, unique};

#[test]
fn the_second_run_is_the_same_device_and_needs_no_key() {
    let (server, directory) = (TestServer::start(), Directory::new());
    let first = directory.runs(&server);
    assert!(first.contains("signed in as") && first.contains("connected as device"), "{first}");
    fs::remove_file(directory.0.join("ann.key")).expect("a key that was made");
    assert_eq!(directory.runs(&server), first);
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = env::temp_dir().join(unique("aldis-login"));
        fs::create_dir(&path).expect("a temporary directory");
        Self(path)
    }

    /// Runs the example to its end, and returns its output.
    fn runs(&self, server: &TestServer) -> String {
        let output = Command::new(binary())
            .args([&server.url(""), "ann.key", "ann.account"])
            .current_dir(&self.0)
            .output()
            .expect("the example's binary");
        let shown = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
        shown
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Files that cannot be removed are left to the system.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Cargo builds a package's examples together with its tests.
fn binary() -> PathBuf {
    let test = env::current_exe().expect("the path of the running test");
    test.parent().and_then(Path::parent).expect("a target directory").join("examples/key_login")
}
