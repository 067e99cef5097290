//! STUN servers, and TURN servers with credentials for an hour.

use std::borrow::Cow;

use aldis_protocol::{IceServer, IceServers, Secret, Timestamp, binary};
use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use sha1::Sha1;

use super::Relay;
use crate::{clock::Now, config::Turn};

const TURN_LIFETIME_MS: u64 = 60 * 60 * 1000;

impl Relay {
    /// The configured servers, with fresh credentials.
    pub(crate) fn ice_servers(&self, now: Now) -> IceServers<'static> {
        let config = self.config.current();
        let stun = &config.stun_urls;
        let mut ice_servers = Vec::with_capacity(2);
        if !stun.is_empty() {
            let urls = stun.iter().cloned().map(Into::into).collect();
            ice_servers.push(IceServer::new(urls));
        }
        let expires_at_ms = now.unix_ms + TURN_LIFETIME_MS;
        if let Some(turn) = &config.turn {
            let alias: u64 = rand::rng().random();
            ice_servers.push(turn_server(turn, expires_at_ms / 1000, &format!("{alias:016x}")));
        }
        let expires_at = config
            .turn
            .is_some()
            .then(|| Timestamp::from_ms(i64::try_from(expires_at_ms / 1000 * 1000).unwrap_or(i64::MAX)));
        IceServers::new(ice_servers).with_expires_at(expires_at)
    }
}

/// TURN REST credentials, as coturn's `use-auth-secret` takes them.
fn turn_server(turn: &Turn, expires_at: u64, alias: &str) -> IceServer<'static> {
    let username = format!("{expires_at}:{alias}");
    let credential = turn_credential(turn.secret.expose(), &username);
    IceServer::new(turn.urls.iter().cloned().map(Into::into).collect())
        .with_username(Cow::from(username))
        .with_credential(Secret::from(credential))
}

fn turn_credential(secret: &str, username: &str) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(username.as_bytes());
    binary::encode(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::turn_credential;

    #[test]
    fn the_credential_equals_the_one_of_coturn() {
        let credential = turn_credential("turn-secret-for-tests-only-000000", "1767229200:9f2c7a51");
        assert_eq!(credential, "OZnEjnitJUyL4XE5d3P3wJE2TeI=");
    }
}
