//! A chat room in the terminal: each message arrives once and in order, whatever breaks. Ctrl-D ends it.
//!
//! ```text
//! cargo run -p aldis-examples --example chat_room -- http://127.0.0.1:8000 alice.key lobby
//! ```
//!
//! Run it in two terminals, with two key files. Cut the network, or restart the server: the client reconnects, joins
//! the room again and fetches the messages that it missed.

use std::{env, error::Error, path::Path};

use aldis_client::{Client, Credentials, Event, Events, Options, Since, protocol::RoomId};
use aldis_examples::{
    key_file,
    terminal::{harmless, show, typed_lines},
};

const USAGE: &str = "usage: chat_room <server URL> <key file> <room>";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, key_file, room] = arguments.as_slice() else { return Err(USAGE.into()) };
    let (key, room): (_, RoomId) = (key_file::load_or_create(Path::new(key_file))?, room.parse()?);
    let (client, events) = Client::start(Options::new(url, Credentials::key(key))?);
    let listening = tokio::spawn(listen(events));
    // All messages that the room has kept. A program that stores messages passes the number of its last one instead.
    client.join(&room, Since::Seq(0)).await?;
    let mut lines = typed_lines();
    while let Some(line) = lines.recv().await {
        match client.chat(&room, &line).await {
            Ok(ack) => show(format_args!("{} me: {line}", ack.seq.unwrap_or_default())),
            Err(error) => show(format_args!("not said: {error}")),
        }
    }
    client.stop().await;
    listening.await?;
    Ok(())
}

async fn listen(mut events: Events) {
    while let Some(event) = events.next().await {
        if let Event::Chat(said) = event {
            let sender = &said.chat.sender.user_id;
            let content = said.content().unwrap_or_default();
            show(format_args!("{} {sender}: {}", said.chat.seq, harmless(&content)));
        } else if let Event::Missed { first, last, .. } = event {
            show(format_args!("{first} to {last} are kept no longer"));
        } else if let Event::Closed { cause, retry_in: Some(wait) } = event {
            show(format_args!("{cause}; trying again in {wait:.1?}"));
        }
    }
}
