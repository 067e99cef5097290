//! `aldis sessions list` and `aldis sessions close`.

use aldis_protocol::DeviceId;
use serde::{Deserialize, Serialize};

use super::{
    CommandError, print, print_json,
    request::{Request, reachable},
    with_store,
};
use crate::{
    accounts::OperatorKey,
    clock::{Now, unix_ms_i64},
    config::{Config, key_file},
};

const HEADER: &str = "session\tuser\tdevice\tstate\tproof\tsince\theld_bytes\n";

/// A session, as the server tells it.
#[derive(Deserialize)]
struct Session {
    session: String,
    user: String,
    device: String,
    state: String,
    proof: String,
    since: String,
    held_bytes: u64,
}

#[derive(Serialize)]
struct Ordered<'a> {
    device: &'a str,
    ordered: bool,
}

/// Asks the running server for its sessions.
pub(super) fn list(config: &Config, json: bool) -> Result<(), CommandError> {
    let address = reachable(config.admin_listen.address).ok_or(CommandError::UnknownAdminPort)?;
    let ring = key_file::load(&config.data_dir)?;
    let proof = OperatorKey::new(&ring).proof(Now::read());
    let asked = Request { address, path: "/sessions.json", tls: false, bearer: Some(&proof) }.send();
    let answer =
        asked.map_err(|source| CommandError::NoAdminAnswer { address: address.to_string(), source })?;
    let refused =
        |detail| CommandError::NotWell { address: address.to_string(), status: answer.status, detail };
    if answer.status != 200 {
        return Err(refused(answer.detail()));
    }
    if json {
        print(&format!("{}\n", answer.body.trim_end()));
        return Ok(());
    }
    let sessions: Vec<Session> =
        serde_json::from_str(&answer.body).map_err(|_| refused("it is no list of sessions".to_owned()))?;
    print(HEADER);
    print(&sessions.iter().map(line).collect::<String>());
    Ok(())
}

fn line(session: &Session) -> String {
    let Session { session, user, device, state, proof, since, held_bytes } = session;
    format!("{session}\t{user}\t{device}\t{state}\t{proof}\t{since}\t{held_bytes}\n")
}

/// Asks every server to close the session of a device.
pub(super) async fn close(config: &Config, device: &DeviceId, json: bool) -> Result<(), CommandError> {
    with_store(config, async |store| store.order_close(device, unix_ms_i64()).await).await?;
    if json {
        print_json(&Ordered { device: device.as_str(), ordered: true });
    } else {
        print(&format!("{device}\tordered\n"));
    }
    Ok(())
}
