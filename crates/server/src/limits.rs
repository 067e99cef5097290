//! The limits of HTTP and of upgrades (docs/operations.md, "Rate limits"). Most count by address: an account that
//! anybody can name is never limited by its name alone.

mod answers;
mod calls;
mod requests;

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use sha2::{Digest, Sha256};

pub(crate) use self::{
    answers::{Answers, Reserved, SMALL},
    calls::{Call, Calls},
    requests::Requests,
};
use crate::{
    clock::Now,
    email,
    metrics::Metrics,
    rate::{AddressKey, Buckets, Limit, Rate, Slowdown},
    refusal::Refusal,
};

/// What is limited by address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limited {
    Registrations,
    Logins,
    Challenges,
    Upgrades,
    /// Of blobs and chains.
    Identities,
}

/// The limits of one node.
#[derive(Debug)]
pub(crate) struct Limits {
    by_address: [Buckets<AddressKey>; Limited::ALL.len()],
    failed_logins: Slowdown<LoginPair>,
    pub(crate) calls: Calls,
    pub(crate) requests: Requests,
    pub(crate) answers: Answers,
    metrics: Arc<Metrics>,
}

/// Who tries to log in, before the server knows who they are: the caller's address and the address that they typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LoginPair {
    address: AddressKey,
    /// A digest: the typed address may be long, and must not be kept.
    typed: [u8; 32],
}

impl Limited {
    const ALL: [Self; 5] =
        [Self::Registrations, Self::Logins, Self::Challenges, Self::Upgrades, Self::Identities];

    const fn rate(self) -> Rate {
        match self {
            Self::Registrations => Rate::per_hour(5),
            Self::Logins => Rate::per_minute(20),
            Self::Challenges | Self::Upgrades => Rate::per_minute(300),
            Self::Identities => Rate::per_minute(60),
        }
    }

    const fn name(self) -> Limit {
        match self {
            Self::Registrations => Limit::Registrations,
            Self::Logins => Limit::Logins,
            Self::Challenges => Limit::Challenges,
            Self::Upgrades => Limit::Upgrades,
            Self::Identities => Limit::Identities,
        }
    }
}

impl Limits {
    /// Limits that nobody has reached.
    pub(crate) fn new(enforced: bool, is_behind_proxy: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            calls: Calls::new(enforced, Arc::clone(&metrics)),
            requests: Requests::new(enforced, is_behind_proxy, Arc::clone(&metrics)),
            answers: Answers::new(),
            by_address: Limited::ALL.map(|limited| Buckets::new(limited.rate(), enforced)),
            failed_logins: Slowdown::new(enforced),
            metrics,
        }
    }

    /// Takes one of what an address may do.
    pub(crate) fn take(&self, limited: Limited, address: AddressKey, now: Now) -> Result<(), Refusal> {
        let taken = self.by_address[limited as usize].take_of_address(address, now.tick);
        taken.map_err(|wait| {
            self.metrics.limited(limited.name());
            Refusal::rate_limited(
                limited.name(),
                "too many requests from this address; wait before the next one",
                wait,
            )
        })
    }

    /// Admits a login; report its outcome to [`end_login`](Self::end_login).
    pub(crate) fn begin_login(&self, pair: LoginPair, now: Now) -> Result<(), Refusal> {
        self.failed_logins.begin(pair, now.tick).map_err(|wait| {
            self.metrics.limited(Limit::LoginSlowdown);
            Refusal::rate_limited(
                Limit::LoginSlowdown,
                "too many failed logins; wait before the next one",
                wait,
            )
        })
    }

    /// Ends a login. One that neither failed nor succeeded, because the database was away, does not count.
    pub(crate) fn end_login<T>(&self, pair: &LoginPair, outcome: &Result<T, Refusal>) {
        match outcome {
            Ok(_) => self.failed_logins.succeeded(pair),
            Err(refusal) if refusal.code == ErrorCode::InvalidCredentials => {}
            Err(_) => self.failed_logins.take_back(pair),
        }
    }

    /// Frees the memory of limits that are not in use.
    pub(crate) fn sweep(&self, now: Now) {
        self.by_address.iter().for_each(|buckets| buckets.sweep(now.tick));
        self.failed_logins.sweep(now.tick);
        self.calls.sweep(now);
    }
}

impl LoginPair {
    /// All spellings of a typed address are one.
    pub(crate) fn new(address: AddressKey, typed: &str) -> Self {
        Self { address, typed: Sha256::digest(email::composed(typed)).into() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const NOW: Now = Now { tick: 1_000, unix_ms: 1_000 };

    fn limits() -> Limits {
        Limits::new(true, false, Arc::new(Metrics::new()))
    }

    fn address(last: u8) -> AddressKey {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn each_limit_is_counted_apart_and_by_address() {
        let limits = limits();
        let passed =
            |limited, last| (0..400).filter(|_| limits.take(limited, address(last), NOW).is_ok()).count();
        for (limited, count) in Limited::ALL.into_iter().zip([5, 20, 300, 300, 60]) {
            assert_eq!(passed(limited, 1), count, "{limited:?}");
            assert_eq!(passed(limited, 2), count, "{limited:?}");
        }
    }

    #[test]
    fn a_login_is_slowed_down_by_both_addresses_together() {
        let limits = limits();
        let pair = |last, typed| LoginPair::new(address(last), typed);
        let fails = |pair| {
            let begun = limits.begin_login(pair, NOW);
            limits.end_login::<()>(&pair, &Err(Refusal::new(ErrorCode::InvalidCredentials, "")));
            begun.is_ok()
        };
        assert_eq!((0..9).filter(|_| fails(pair(1, "Ann@aldis.example"))).count(), 5);
        assert!(!fails(pair(1, "ann@ALDIS.example")), "in any case");
        assert_eq!(pair(1, "re\u{301}n@b"), pair(1, "R\u{c9}n@b"), "in any spelling");
        assert_ne!(pair(1, "ann@b"), pair(2, "ann@b"));
        assert!(fails(pair(2, "ann@aldis.example")) && fails(pair(1, "bob@aldis.example")));
    }

    #[test]
    fn an_outage_is_no_failed_login() {
        let limits = limits();
        let pair = LoginPair::new(address(1), "ann@aldis.example");
        for _ in 0..100 {
            limits.begin_login(pair, NOW).unwrap();
            limits.end_login::<()>(&pair, &Err(Refusal::new(ErrorCode::Unavailable, "")));
        }
    }
}
