//! Headless Chromium, driven over the DevTools protocol, and a site for it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::unique;

/// How long the browser and a page may take. A page may wait for connections that others build up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Chromium contacts no service, and WebRTC may use the machine's own addresses unchanged.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--allow-loopback-in-peer-connection",
    "--remote-debugging-port=0",
];

/// One page on its own port, served until the tests end.
#[derive(Debug)]
pub struct Site(SocketAddr);

impl Site {
    /// Serves this page.
    #[must_use]
    pub fn serves(html: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => break,
                        Ok(read) => request.extend_from_slice(&buffer[..read]),
                    }
                }
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n";
                // A browser that has closed needs no answer.
                let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{html}", html.len());
            }
        });
        Self(address)
    }

    /// The URL of the page with a query.
    #[must_use]
    pub fn url(&self, query: &str) -> String {
        format!("http://{}/{query}", self.0)
    }
}

/// A browser with its own profile. It is killed, and its files are removed, when this is dropped.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    profile: PathBuf,
    port: u16,
}

impl Browser {
    /// Starts it.
    #[must_use]
    pub fn start() -> Self {
        let profile = env::temp_dir().join(unique("aldis-chromium"));
        fs::create_dir(&profile).expect("a temporary directory");
        let child = Command::new(env::var_os("ALDIS_CHROMIUM").unwrap_or_else(|| "chromium".into()))
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(profile.join("log")).expect("a log"))
            .process_group(0)
            .spawn()
            .expect("the program chromium: `tests/run` installs it");
        let mut browser = Self { child, profile, port: 0 };
        browser.port = browser.awaits_port();
        browser
    }

    /// Chromium writes the port on which it listens to a file.
    fn awaits_port(&self) -> u16 {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let said = fs::read_to_string(self.profile.join("DevToolsActivePort")).unwrap_or_default();
            if let Some(port) = said.lines().next().and_then(|line| line.parse().ok()) {
                return port;
            }
            thread::sleep(LOOK);
        }
        let log = fs::read_to_string(self.profile.join("log")).unwrap_or_default();
        panic!("chromium did not start: {log}");
    }

    /// Opens a page in a tab.
    #[must_use]
    pub fn opens(&self, url: &str) -> Tab {
        let query: String = url.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let call = format!("http://127.0.0.1:{}/json/new?{query}", self.port);
        let answer =
            reqwest::blocking::Client::new().put(call).send().expect("a new tab").text().expect("its name");
        let target: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
        Tab::open(target["webSocketDebuggerUrl"].as_str().expect("the way to the tab"), self.port)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helper processes are in its group. They may have ended already.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

/// An open page.
#[derive(Debug)]
pub struct Tab {
    runtime: Runtime,
    socket: WebSocketStream<TcpStream>,
    calls: u64,
}

impl Tab {
    fn open(url: &str, port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = runtime.block_on(async {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the browser");
            client_async(url, stream).await.expect("the tab").0
        });
        Self { runtime, socket, calls: 0 }
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true});
        self.call("Runtime.evaluate", &parameters)["result"]["value"].clone()
    }

    /// Gives the page this width, and a light or a dark theme.
    pub fn shows(&mut self, width: u32, theme: &str) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let feature = json!({"name": "prefers-color-scheme", "value": theme});
        self.call("Emulation.setEmulatedMedia", &json!({"features": [feature]}));
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let call = json!({"id": self.calls, "method": method, "params": parameters});
        let (socket, id) = (&mut self.socket, self.calls);
        self.runtime.block_on(async {
            socket.send(Message::text(call.to_string())).await.expect("an open tab");
            loop {
                let message = socket.next().await.expect("an open tab").expect("an open tab");
                let answer: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
                if answer["id"] == id {
                    return answer["result"].clone();
                }
            }
        })
    }

    /// Waits until the element has this text; returns all of its text.
    #[track_caller]
    pub fn awaits_text(&mut self, element: &str, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let expression = format!("document.getElementById({element:?})?.textContent ?? ''");
        loop {
            let shown = self.evaluate(&expression).as_str().unwrap_or_default().to_owned();
            if shown.contains(text) {
                return shown;
            }
            assert!(Instant::now() < deadline, "awaited {text:?}; the page shows {shown:?}");
            thread::sleep(LOOK);
        }
    }

    /// Waits until an expression in the page is true.
    #[track_caller]
    pub fn awaits(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(expression) != true {
            assert!(Instant::now() < deadline, "awaited {expression}");
            thread::sleep(LOOK);
        }
    }

    /// Types a text and submits the form.
    pub fn says(&mut self, text: &str) {
        let text = json!(text);
        self.evaluate(&format!(
            "document.getElementById('text').value = {text}; document.getElementById('say').requestSubmit()"
        ));
    }
}
