//! Accounts: who somebody is and how they prove it, their sign-ins, devices, keys and notices.
//!
//! HTTP handlers and the handshake of a session enter here. Sessions are reached through the shared registry alone; what
//! else belongs to an account, its rooms and its presence, hears of a deletion by [`Accounts::on_deletion`].

mod blob;
mod cache;
mod caller;
mod devices;
mod identity;
mod key_owner;
mod keys;
mod last_seen;
mod notices;
mod operator;
mod passwords;
mod rates;
mod revocations;
mod rotation;
mod rotation_ends;
mod sign_in;
mod sign_out;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;
mod totp;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use aldis_auth::{HttpChallenges, KeyRing, SubKeyRing, TokenKeys};
use aldis_protocol::UserId;
use aldis_registry::Registry;

use self::{
    cache::AccountCache, last_seen::LastSeen, passwords::Passwords, rates::Rates, revocations::Revocations,
    totp::SecondFactors,
};
pub(crate) use self::{
    caller::Caller,
    identity::{KeyProof, ProvedByKey, TokenProof},
    notices::Notices,
    passwords::HashCaller,
    rotation::NotAccepted,
    rotation_ends::RotationEnds,
    tokens::SecretKeyTooShort,
    totp::{FactorDue, shown_factor},
};
use crate::{
    config::{LiveConfig, Registration},
    link::SessionHandle,
    metrics::Metrics,
    shared::Shared,
    store::Store,
};
pub(crate) use operator::OperatorKey;
pub(crate) use passwords::QUEUE as MAX_PASSWORD_HASHES;

/// The accounts of one node.
pub(crate) struct Accounts {
    /// When devices were last connected, and users last seen.
    pub(crate) last_seen: LastSeen,
    pub(crate) notices: Notices,
    store: Arc<Store>,
    registry: Arc<Registry<Arc<SessionHandle>>>,
    metrics: Arc<Metrics>,
    tokens: TokenKeys,
    challenges: HttpChallenges,
    successors: SubKeyRing,
    factors: SecondFactors,
    revocations: Revocations,
    passwords: Passwords,
    cache: Arc<AccountCache>,
    rates: Rates,
    config: Arc<LiveConfig>,
    settings: Settings,
    /// Checks operators at the admin listener.
    pub(crate) operator: OperatorKey,
    on_deletion: OnceLock<OnDeletion>,
}

/// What ends with an account and belongs to other rooms.
type OnDeletion = Box<dyn Fn(UserId) + Send + Sync>;

/// What the configuration says about accounts.
struct Settings {
    /// What authenticator apps show beside the account.
    name: String,
    access_token_lifetime: Duration,
    rotations_a_day: usize,
}

/// More than an owner needs who cancels a thief's rotation and then rotates the key themselves.
const ROTATIONS_A_DAY: usize = 3;

impl Accounts {
    /// The accounts in an open store.
    pub(crate) fn new(ring: &KeyRing, shared: &Shared) -> Result<Self, SecretKeyTooShort> {
        let Shared { store, registry, metrics, config: live } = shared.clone();
        let config = live.current();
        let cache = Arc::new(AccountCache::default());
        let hasher = config.password_hash.hasher();
        Ok(Self {
            last_seen: LastSeen::default(),
            notices: Notices::new(shared, Arc::clone(&cache)),
            store,
            registry,
            tokens: tokens::keys(&config, ring)?,
            challenges: HttpChallenges::new(ring.sub_keys("http-challenges")),
            successors: ring.sub_keys("refresh-successors"),
            factors: SecondFactors::new(ring),
            revocations: Revocations::new(config.access_token_lifetime),
            passwords: Passwords::new(hasher, ring, Arc::clone(&metrics), config.rate_limits),
            metrics,
            cache,
            rates: Rates::new(config.rate_limits),
            config: live,
            settings: Settings {
                name: config.name.clone(),
                access_token_lifetime: config.access_token_lifetime,
                rotations_a_day: if config.rate_limits { ROTATIONS_A_DAY } else { usize::MAX },
            },
            operator: OperatorKey::new(ring),
            on_deletion: OnceLock::new(),
        })
    }

    /// Sets what is to end with an account, on whichever node it is deleted. It runs before the account's sessions close.
    /// The first call counts.
    pub(crate) fn on_deletion(&self, end: impl Fn(UserId) + Send + Sync + 'static) {
        let _ = self.on_deletion.set(Box::new(end));
    }

    /// Whether strangers can register at the moment.
    fn is_closed(&self) -> bool {
        self.config.current().registration == Registration::Closed
    }

    /// How many callers have a password hashed, or wait for it.
    pub(crate) fn password_hashing(&self) -> usize {
        self.passwords.callers()
    }
}
