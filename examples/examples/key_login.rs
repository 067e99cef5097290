//! Signs in with a key once, and as a device from then on. The account is stored in a file.
//!
//! ```text
//! cargo run -p aldis-examples --example key_login -- http://localhost:8000 ann.key ann.account
//! ```
//!
//! The first run registers the device, and asks for a code if the account has a second factor. Later runs need neither
//! the key nor a code.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, fs, io, path::Path};

use aldis_client::{Account, Client, SavedAccount, Server, TotpAsked};
use aldis_examples::{key_file, private_file};

const USAGE: &str = "usage: key_login <server URL> <key file> <account file>";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, key_file, account_file] = arguments.as_slice() else { return Err(USAGE.into()) };
    let file = account_file.clone();
    let keep = move |account: SavedAccount| {
        let written = serde_json::to_vec(&account).map_err(io::Error::from);
        let kept = written.and_then(|text| private_file::replace(Path::new(&file), &text));
        async { kept }
    };
    let server = Server::new(url)?.device_name("an example").totp(ask).keep(keep);
    let account = enter(&server, key_file, account_file).await?;
    println!("signed in as {}", account.user_id());
    for device in account.devices().await? {
        println!("device {} {}", device.device_id, device.name.unwrap_or_default());
    }
    let (client, _events) = Client::start(account.options());
    println!("connected as device {}", client.connected().await?.device_id);
    client.stop().await;
    account.settle().await;
    Ok(())
}

async fn enter(server: &Server, key_file: &str, account_file: &str) -> Result<Account, Box<dyn Error>> {
    match fs::read(account_file) {
        Ok(text) => Ok(server.restore(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(server.sign_in(&key_file::load_or_create(Path::new(key_file))?).await?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn ask(asked: TotpAsked) -> Option<String> {
    println!(
        "{}",
        if asked.was_wrong {
            "Wrong code. Enter the code again:"
        } else {
            "Enter the code of your authenticator app:"
        }
    );
    let line = tokio::task::spawn_blocking(|| io::stdin().lines().next()).await.ok()??;
    line.ok().map(|code| code.trim().to_owned())
}
