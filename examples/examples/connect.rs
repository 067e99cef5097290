//! Connects to a server and prints the events, until Ctrl-C: with a new key, with the key in a file (created if
//! missing), or with the key of a registered device.
//!
//! ```text
//! cargo run -p aldis-examples --example connect -- http://localhost:8000 [<key file> [<device id>]]
//! ```
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, path::Path};

use aldis_auth::SecretKey;
use aldis_client::{Client, Credentials, Event, Options};
use aldis_examples::key_file;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://localhost:8000".to_owned());
    let key = match arguments.next() {
        Some(file) => key_file::load_or_create(Path::new(&file))?,
        None => SecretKey::generate(&mut rand::rng()),
    };
    let credentials = match arguments.next() {
        Some(device) => Credentials::device_key(device.parse()?, key),
        None => {
            println!("identity {}", key.public_key().fingerprint());
            Credentials::key(key)
        }
    };
    let (client, mut events) = Client::start(Options::new(&url, credentials)?);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Connected(session)) => println!("connected as device {}", session.device_id),
                Some(Event::Closed { cause, retry_in }) => println!("{cause}; again in {retry_in:?}"),
                Some(other) => println!("{other:?}"),
                None => return Ok(()),
            },
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                client.stop().await;
            }
        }
    }
}
