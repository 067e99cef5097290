//! PgBouncer in front of a PostgreSQL cluster of the tests.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::postgres::{Cluster, free_port, shell_as_postgres};
use crate::{PATIENCE, unique};

/// A running PgBouncer, which ends with this value.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    configuration: std::path::PathBuf,
    port: u16,
}

impl PgBouncer {
    /// Starts PgBouncer with a pool mode, `session` or `transaction`, for every database of the cluster.
    ///
    /// # Errors
    /// It is not installed, or does not listen in time.
    pub fn start(cluster: &Cluster, pool_mode: &str) -> io::Result<Self> {
        let port = free_port()?;
        let configuration = std::env::temp_dir().join(unique("aldis-pgbouncer.ini"));
        write!(
            fs::File::create(&configuration)?,
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n",
            cluster.port()
        )?;
        let mut command = shell_as_postgres()?;
        command.arg("/usr/sbin/pgbouncer").arg(&configuration).stdin(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn()?;
        let bouncer = Self { process, configuration, port };
        bouncer.listens()?;
        Ok(bouncer)
    }

    /// The URL of a database through it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    fn listens(&self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Killed as a group, because `runuser` may be in between.
        let group = format!("-{}", self.process.id());
        let _ = std::process::Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.configuration);
    }
}
