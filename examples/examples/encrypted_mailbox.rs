//! An encrypted mailbox that loses nothing and shows nothing twice, even after breaks and restarts. The program writes
//! each message with its number to a file, and only then does the client confirm it. Ctrl-D ends it.
//!
//! ```text
//! cargo run -p aldis-examples --example encrypted_mailbox -- http://127.0.0.1:8000 alice.key alice.inbox "our secret"
//! ```
//!
//! A typed line is `<fingerprint> <text>`. A real program encrypts to verified keys (`keys_of`) instead of a shared
//! secret.

use std::{env, error::Error, fs::File, io, path::Path, sync::Arc};

use aldis_client::{Client, Credentials, Options, protocol::Fingerprint};
use aldis_examples::key_file;
use aldis_examples::terminal::{harmless, show, typed_lines};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce, aead::Aead};
use sha2::{Digest, Sha256};
use tokio::{fs::OpenOptions, io::AsyncWriteExt};

const USAGE: &str = "usage: encrypted_mailbox <server URL> <key file> <inbox file> <secret>";
const NONCE: usize = 24;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, key_file, inbox, secret] = arguments.as_slice() else { return Err(USAGE.into()) };
    let key = key_file::load_or_create(Path::new(key_file))?;
    let fingerprint = key.public_key().fingerprint().to_string();
    let cipher = Arc::new(XChaCha20Poly1305::new(&Sha256::digest(secret)));
    let (opening, file) = (Arc::clone(&cipher), inbox.clone());
    // A registered device, so that a message that is sent again is still stored once.
    let credentials = Credentials::key(key).for_device(format!("mail-{}", &fingerprint[..32]).parse()?);
    let options = Options::new(url, credentials)?.mailbox(cursor(inbox)?, move |message| {
        store(file.clone(), message.message.seq, open(&opening, &message.message.encrypted_content))
    });
    let (client, _) = Client::start(options);
    client.connected().await?;
    show(format_args!("I am {fingerprint}"));
    let mut lines = typed_lines();
    while let Some(line) = lines.recv().await {
        let sent = send(&client, &cipher, &line).await;
        show(sent.map_or_else(|error| format!("not sent: {error}"), |()| "stored for its recipient".into()));
    }
    client.stop().await;
    Ok(())
}

async fn send(client: &Client, cipher: &XChaCha20Poly1305, line: &str) -> Result<(), Box<dyn Error>> {
    let (recipient, text) = line.split_once(' ').ok_or("a line is <fingerprint> <text>")?;
    let nonce: [u8; NONCE] = rand::random();
    let sealed = cipher.encrypt(&XNonce::from(nonce), text.as_bytes()).map_err(|_| "it cannot be sealed")?;
    let recipient: Fingerprint = recipient.parse()?;
    client.send_message(recipient.into(), &[&nonce, sealed.as_slice()].concat()).await?;
    Ok(())
}

fn open(cipher: &XChaCha20Poly1305, content: &[u8]) -> String {
    let opened = content
        .split_first_chunk::<NONCE>()
        .and_then(|(nonce, sealed)| cipher.decrypt(&XNonce::from(*nonce), sealed).ok());
    opened.map_or("(sealed with another secret)".into(), |text| harmless(&String::from_utf8_lossy(&text)))
}

/// Stores the message and the cursor in one line.
async fn store(file: String, seq: u64, text: String) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(file).await?;
    file.write_all(format!("{seq} {text}\n").as_bytes()).await?;
    file.sync_all().await?;
    show(format_args!("{seq} {text}"));
    Ok(())
}

/// The number of the last line. An incomplete line, left by a program that was killed, is cut off.
fn cursor(inbox: &str) -> io::Result<u64> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(inbox)?;
    let text = io::read_to_string(&file)?;
    let end = text.rfind('\n').map_or(0, |end| end + 1);
    file.set_len(end as u64)?;
    Ok(text[..end].lines().last().and_then(|line| line.split(' ').next()?.parse().ok()).unwrap_or(0))
}
