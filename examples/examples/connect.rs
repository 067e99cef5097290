//! Connects to a server with a fresh key and tells what happens, until Ctrl-C.
//!
//! ```text
//! cargo run -p aldis-examples --example connect -- http://localhost:8000
//! ```
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error};

use aldis_auth::SecretKey;
use aldis_client::{Client, Credentials, Event, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "http://localhost:8000".to_owned());
    let key = SecretKey::generate(&mut rand::rng());
    println!("identity {}", key.public_key().fingerprint());
    let (client, mut events) = Client::start(Options::new(&url, Credentials::key(key))?);
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
