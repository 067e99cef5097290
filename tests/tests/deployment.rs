//! The proxy configurations of docs/deployment.md, run as they are printed there with Debian's nginx, Caddy and HAProxy,
//! except for ports, names and paths of certificates.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use aldis_client::{Client, Credentials, Options};
use aldis_tests::{Identity, PATIENCE, TestServer, unique};

/// What a proxy is to be tried with.
struct Case {
    /// The language of the code block on the page.
    language: &'static str,
    /// Which of the blocks of that language.
    block: usize,
    /// The prefix of the paths.
    prefix: &'static str,
    /// The program that runs it in a directory.
    run: fn(&Proxied) -> Command,
}

const WHOLE: usize = 0;
const UNDER_A_PATH: usize = 1;

#[test]
fn nginx_passes_everything_on() {
    works(&Case { language: "nginx", block: WHOLE, prefix: "", run: nginx });
}

#[test]
fn nginx_passes_a_path_on() {
    works(&Case { language: "nginx", block: UNDER_A_PATH, prefix: "/aldis", run: nginx });
}

#[test]
fn caddy_passes_everything_on() {
    works(&Case { language: "caddyfile", block: WHOLE, prefix: "", run: caddy });
}

#[test]
fn caddy_passes_a_path_on() {
    works(&Case { language: "caddyfile", block: UNDER_A_PATH, prefix: "/aldis", run: caddy });
}

#[test]
fn haproxy_passes_everything_on() {
    works(&Case { language: "haproxy", block: WHOLE, prefix: "", run: haproxy });
}

#[test]
fn haproxy_passes_a_path_on() {
    works(&Case { language: "haproxy", block: UNDER_A_PATH, prefix: "/aldis", run: haproxy });
}

fn works(case: &Case) {
    let port = free_port();
    let origin = format!("https://localhost:{port}");
    let server = TestServer::builder()
        .env("ALDIS_PUBLIC_ORIGIN", &origin)
        .env("ALDIS_TRUSTED_PROXY_HOPS", "1")
        .env("ALDIS_RATE_LIMITS", "on")
        .start();
    let proxied = Proxied::start(case, port, server.address());
    let url = format!("{origin}{}", case.prefix);
    a_client_connects(&url, &proxied.certificate);
    clients_are_told_apart(&url, &proxied);
}

/// By a key, so that the server's audience is the origin; over a WebSocket.
fn a_client_connects(url: &str, certificate: &str) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let credentials = Credentials::key(Identity::new().secret());
        let options = Options::new(url, credentials).unwrap();
        let (client, _events) = Client::start(options.root_certificates(certificate.as_bytes()).unwrap());
        tokio::time::timeout(PATIENCE, client.connected()).await.unwrap().unwrap();
        client.stop().await;
    });
}

/// An address of the loopback network may register 50 accounts an hour. A forged header does not help.
fn clients_are_told_apart(url: &str, proxied: &Proxied) {
    let statuses = proxied.registers(url, "127.0.0.9", 52);
    assert_eq!(statuses.last().map(String::as_str), Some("429"), "{statuses:?}");
    let refused = statuses.iter().filter(|status| *status == "429").count();
    assert!((1..=2).contains(&refused), "a hundred in an hour refill one or none: {statuses:?}");
    let other = proxied.registers(url, "127.0.0.10", 1);
    assert_ne!(other, ["429"], "another client");
}

/// A running proxy in its own directory.
struct Proxied {
    directory: PathBuf,
    certificate: String,
    child: Option<Child>,
}

impl Proxied {
    fn start(case: &Case, port: u16, server: SocketAddr) -> Self {
        let directory = env::temp_dir().join(unique("aldis-proxy"));
        fs::create_dir(&directory).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(directory.join("cert.pem"), &certificate).unwrap();
        fs::write(directory.join("key.pem"), &key).unwrap();
        fs::write(directory.join("both.pem"), format!("{certificate}{key}")).unwrap();
        let text = block(case.language, case.block);
        let text = adapted(&text, &directory.display().to_string(), port, server);
        fs::write(directory.join("configuration"), text).unwrap();
        let mut proxied = Self { directory, certificate, child: None };
        let mut command = (case.run)(&proxied);
        let log = fs::File::create(proxied.directory.join("log")).unwrap();
        command
            .current_dir(&proxied.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        proxied.child = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        proxied.awaits(port);
        proxied
    }

    fn awaits(&mut self, port: u16) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = fs::read_to_string(self.directory.join("log")).unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the proxy does not listen: {ended:?} {log}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The statuses of registrations from an address that claims to be another one.
    fn registers(&self, url: &str, from: &str, count: usize) -> Vec<String> {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}\n",
            "--interface",
            from,
        ]);
        curl.arg("--cacert").arg(self.directory.join("cert.pem"));
        curl.args(["--header", "Content-Type: application/json", "--header", "X-Forwarded-For: 203.0.113.7"]);
        curl.args(["--data", r#"{"email":"ann@aldis.example","password":"correct horse battery"}"#]);
        let output =
            curl.arg(format!("{url}/auth/register?n=[1-{count}]")).output().expect("the command curl");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // On SIGTERM each of them ends with its workers.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A code block of the page.
fn block(language: &str, number: usize) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deployment.md");
    let page = fs::read_to_string(page).unwrap();
    let fence = format!("```{language}\n");
    let block = page.split(&fence).nth(number + 1).unwrap_or_else(|| panic!("block {number} of {language}"));
    block.split("```").next().unwrap().to_owned()
}

/// The ports, names and paths of the test. Each must be in the text, or the page says something else than is tested.
fn adapted(text: &str, directory: &str, port: u16, server: SocketAddr) -> String {
    assert!(text.contains("127.0.0.1:8000"), "{text}");
    let text = text
        .replace("127.0.0.1:8000", &server.to_string())
        .replace("/etc/ssl/aldis/", &format!("{directory}/"));
    let names = ["aldis.example", "apps.example"];
    if let Some(site) = names.iter().find_map(|name| text.strip_prefix(&format!("{name} {{"))) {
        let options = "{\n admin off\n auto_https disable_redirects\n skip_install_trust\n}\n";
        return format!(
            "{options}https://localhost:{port} {{\n tls {directory}/cert.pem {directory}/key.pem{site}"
        );
    }
    let bound = text
        .replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port} ssl;"))
        .replace("bind :443 ssl", &format!("bind 127.0.0.1:{port} ssl"));
    assert_ne!(bound, text, "a port to listen on");
    bound
}

/// Debian's nginx includes sites in its `http` block.
fn nginx(proxied: &Proxied) -> Command {
    let directory = proxied.directory.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {directory}/{name};\n"))
        .concat();
    let main = format!(
        "user root;\ndaemon off;\npid {directory}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{paths}access_log off;\n\
         include {directory}/configuration;\n}}\n"
    );
    fs::write(proxied.directory.join("nginx.conf"), main).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(proxied.directory.join("nginx.conf")).arg("-p").arg(&proxied.directory);
    command
}

fn caddy(proxied: &Proxied) -> Command {
    let mut command = Command::new("/usr/bin/caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(proxied.directory.join("configuration"));
    command.env("HOME", &proxied.directory).env("XDG_DATA_HOME", &proxied.directory);
    command
}

fn haproxy(proxied: &Proxied) -> Command {
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(proxied.directory.join("configuration"));
    command
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
