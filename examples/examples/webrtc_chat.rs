//! A conversation between two terminals: the server relays the signaling, and the lines go directly from one to the
//! other.
//!
//! ```text
//! cargo run -p aldis-examples --example webrtc_chat -- http://127.0.0.1:8000 alice.key
//! ```
//!
//! Run it in two terminals: one person with two devices. The key file is created if missing. With a fingerprint as the
//! third argument it calls that person instead, on a server that allows strangers (`ALDIS_ROUTING=open`). Ctrl-D ends
//! it.

use std::{
    env,
    error::Error,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use aldis_client::{Client, Credentials, Options, auth::SecretKey, protocol::Fingerprint};
use aldis_examples::{
    chat::{Chat, RING},
    key_file,
    signed::Signer,
    terminal::typed_lines,
};
use tokio::{
    runtime::Runtime,
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

const USAGE: &str = "usage: webrtc_chat <server URL> <key file> [<fingerprint of whom to call>]";
/// After this time nobody waits for a signal any more.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How many events of calls can wait.
const CALL_EVENTS: usize = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [url, key_file] => run(url, key_file, None),
        [url, key_file, peer] => run(url, key_file, Some(peer)),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(url: &str, key_file: &str, peer: Option<&String>) -> Result<(), Box<dyn Error>> {
    let peer = peer.map(|text| text.parse()).transpose()?;
    let key = key_file::load_or_create(Path::new(key_file))?;
    let runtime = Runtime::new()?;
    let result = runtime.block_on(chat(url, &key, peer));
    // Do not wait for names that are still being resolved.
    runtime.shutdown_background();
    result
}

async fn chat(url: &str, key: &SecretKey, peer: Option<Fingerprint>) -> Result<(), Box<dyn Error>> {
    let copy = || SecretKey::from_bytes(&key.to_bytes());
    let options = Options::new(url, Credentials::key(copy()))?.request_timeout(REQUEST_TIMEOUT);
    let (client, mut events) = Client::start(options);
    let (call_sender, mut call_events) = mpsc::channel(CALL_EVENTS);
    let mut chat = Chat::new(Signer::new(client.clone(), copy()), peer, call_sender);
    let (mut lines, mut rings) = (typed_lines(), interval(RING));
    rings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let result = loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => chat.on_client(event).await,
                None => break Err("the client has stopped".into()),
            },
            Some((call, event)) = call_events.recv() => chat.on_call(call, event).await,
            line = lines.recv() => match line {
                Some(line) => chat.say(&line).await,
                None => break Ok(()),
            },
            _ = rings.tick() => chat.tick().await,
            pressed = tokio::signal::ctrl_c() => break pressed.map_err(Into::into),
        }
    };
    chat.hang_up().await;
    client.stop().await;
    result
}
