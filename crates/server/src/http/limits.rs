//! Limits by address (docs/operations.md, "Rate limits"): what anybody can name is never limited by itself.

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use sha2::{Digest, Sha256};

use super::{
    address::caller_address,
    answers::Answers,
    calls::Calls,
    problem::{self, Problem},
    requests::Requests,
};
use crate::{
    accounts::HashCaller,
    clock::Now,
    email,
    metrics::Metrics,
    node::Node,
    rate::{AddressKey, Buckets, Limit, Rate, Slowdown, Wait},
    refusal::Denied,
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

/// The limits over HTTP of one node.
#[derive(Debug)]
pub(crate) struct Limits {
    by_address: [Buckets<AddressKey>; Limited::ALL.len()],
    failed_logins: Slowdown<LoginPair>,
    pub(super) calls: Calls,
    pub(super) requests: Requests,
    pub(crate) answers: Answers,
    metrics: Arc<Metrics>,
}

/// Somebody who logs in, as he can be known before it is known who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LoginPair {
    address: AddressKey,
    /// The typed address may be long, and is nobody's business.
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
    /// Limits that nobody has run into.
    pub(crate) fn new(enforced: bool, is_behind_proxy: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            calls: Calls::new(enforced, Arc::clone(&metrics)),
            requests: Requests::new(enforced, is_behind_proxy),
            answers: Answers::new(),
            by_address: Limited::ALL.map(|limited| Buckets::new(limited.rate(), enforced)),
            failed_logins: Slowdown::new(enforced),
            metrics,
        }
    }

    /// Takes one of what an address may do.
    pub(crate) fn take(&self, limited: Limited, address: AddressKey, now: Now) -> Result<(), Problem> {
        let taken = self.by_address[limited as usize].take_of_address(address, now.tick);
        taken.map_err(|wait| {
            self.metrics.limited(limited.name());
            rate_limited(
                limited.name(),
                "too many requests from this address; wait before the next one",
                wait,
            )
        })
    }

    /// Lets a login begin; tell [`end_login`](Self::end_login) how it went.
    pub(super) fn begin_login(&self, pair: LoginPair, now: Now) -> Result<(), Problem> {
        self.failed_logins.begin(pair, now.tick).map_err(|wait| {
            self.metrics.limited(Limit::LoginSlowdown);
            rate_limited(Limit::LoginSlowdown, "too many failed logins; wait before the next one", wait)
        })
    }

    /// A login ended. One that neither failed nor succeeded, say for want of a database, does not count.
    pub(super) fn end_login<T>(&self, pair: &LoginPair, outcome: &Result<T, Denied>) {
        match outcome {
            Ok(_) => self.failed_logins.succeeded(pair),
            Err(denied) if denied.code == ErrorCode::InvalidCredentials => {}
            Err(_) => self.failed_logins.take_back(pair),
        }
    }

    /// Gives back the memory of limits that are not used.
    pub(crate) fn sweep(&self, now: Now) {
        self.by_address.iter().for_each(|buckets| buckets.sweep(now.tick));
        self.failed_logins.sweep(now.tick);
        self.calls.sweep(now);
    }
}

impl LoginPair {
    /// All spellings of a typed address are one.
    pub(super) fn new(address: AddressKey, typed: &str) -> Self {
        Self { address, typed: Sha256::digest(email::composed(typed)).into() }
    }

    /// As whom the accounts know the two together.
    pub(super) const fn caller(&self) -> HashCaller {
        HashCaller::Login { address: self.address, typed: self.typed }
    }
}

/// Tells a caller on the machine itself which setting lifts the limit that refused the call.
pub(super) async fn explain(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let address = caller_address(&node.config, request.extensions(), request.headers());
    let response = next.run(request).await;
    if address.is_ok_and(AddressKey::is_loopback) { problem::name_setting(response) } else { response }
}

fn rate_limited(limit: Limit, message: &'static str, wait: Wait) -> Problem {
    Denied::rate_limited(limit, message, wait).into()
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
            limits.end_login::<()>(&pair, &Err(Denied::new(ErrorCode::InvalidCredentials, "")));
            begun.is_ok()
        };
        assert_eq!((0..9).filter(|_| fails(pair(1, "Ann@aldis.example"))).count(), 5);
        assert!(!fails(pair(1, "ann@ALDIS.example")), "in any case");
        assert_eq!(pair(1, "re\u{301}n@b"), pair(1, "R\u{c9}n@b"), "in any spelling");
        assert_ne!(pair(1, "ann@b").caller(), pair(2, "ann@b").caller());
        assert!(fails(pair(2, "ann@aldis.example")) && fails(pair(1, "bob@aldis.example")));
    }

    #[test]
    fn an_outage_is_no_failed_login() {
        let limits = limits();
        let pair = LoginPair::new(address(1), "ann@aldis.example");
        for _ in 0..100 {
            limits.begin_login(pair, NOW).unwrap();
            limits.end_login::<()>(&pair, &Err(Denied::new(ErrorCode::Unavailable, "")));
        }
    }
}
