//! `aldis healthcheck`: asks the server on this machine whether it is well, as its clients would.

use super::{
    CommandError, print,
    request::{Request, reachable},
};
use crate::config::Config;

/// Asks the server, and prints its answer.
pub(super) fn run(config: &Config, live: bool, json: bool) -> Result<(), CommandError> {
    let address = reachable(config.listen).ok_or(CommandError::UnknownPort)?;
    let path = if live { "/health" } else { "/health/ready" };
    let asked = Request { address, path, tls: config.tls.is_some(), bearer: None }.send();
    let answer = asked.map_err(|source| CommandError::NoAnswer { address: address.to_string(), source })?;
    if json {
        print(&format!("{}\n", answer.body.trim_end()));
    }
    if answer.status == 200 {
        if !json {
            print("ok\n");
        }
        return Ok(());
    }
    Err(CommandError::NotWell {
        address: address.to_string(),
        status: answer.status,
        detail: answer.detail(),
    })
}
