//! Rate limits: token buckets, alone or by key, and a wait that doubles with each failure.
//!
//! Times are ticks of [`Now`](crate::clock::Now), in milliseconds, and come from the caller.

mod address;
mod buckets;
mod bytes;
mod fair_queue;
mod occasional;
mod places;
mod recent;
mod slowdown;

pub(crate) use self::{
    address::AddressKey,
    buckets::Buckets,
    bytes::{ByteBuckets, ByteRate},
    fair_queue::{FairQueue, Ticket},
    occasional::{Occasional, OccasionalKinds},
    places::{Placed, Places},
    slowdown::Slowdown,
};

/// A burst, and then one in each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    interval_ms: u64,
    burst: u64,
}

/// The state of a token bucket: the tick at which it is full again. A new one is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket(u64);

/// How long until another attempt can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    ms: u64,
}

/// The limits, by their names in `aldis_rate_limited_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Registrations,
    /// New accounts by key.
    KeyAccounts,
    Logins,
    /// After failed logins, by address and typed address.
    LoginSlowdown,
    /// Password hashes that one caller has running or waiting.
    PasswordHashes,
    Challenges,
    Upgrades,
    /// Connections without a session, of an address and in all.
    Connections,
    /// Requests of an address in progress, behind a proxy.
    Requests,
    /// Unauthenticated sockets.
    UnauthenticatedSockets,
    /// Reads of identities, blobs and chains.
    Identities,
    Refreshes,
    /// Publications of blobs.
    Blobs,
    DeviceRegistrations,
    /// Calls of a signed-in user that change something.
    Writes,
    /// Calls of a signed-in user that change nothing.
    Reads,
    /// Calls of a signed-in user in progress.
    Calls,
    Messages,
    Offers,
    /// Chat and encrypted messages.
    StoredMessages,
    /// Bytes that are relayed to others.
    RelayedBytes,
    /// States of rooms, by room.
    RoomStates,
}

impl Rate {
    /// This many a second.
    pub(crate) const fn per_second(count: u64) -> Self {
        Self { interval_ms: 1000 / count, burst: count }
    }

    /// This many a minute.
    pub(crate) const fn per_minute(count: u64) -> Self {
        Self { interval_ms: 60 * 1000 / count, burst: count }
    }

    /// This many an hour.
    pub(crate) const fn per_hour(count: u64) -> Self {
        Self { interval_ms: 60 * 60 * 1000 / count, burst: count }
    }

    /// This many a day.
    pub(crate) const fn per_day(count: u64) -> Self {
        Self { interval_ms: 24 * 60 * 60 * 1000 / count, burst: count }
    }

    /// The same rate with this burst.
    pub(crate) const fn in_bursts_of(self, burst: u64) -> Self {
        Self { burst, ..self }
    }

    /// Multiplies both the burst and the rate.
    const fn times(self, factor: u64) -> Self {
        Self { interval_ms: self.interval_ms / factor, burst: self.burst * factor }
    }

    /// How long an empty bucket takes to refill.
    const fn refill_ms(self) -> u64 {
        self.interval_ms * self.burst
    }
}

impl Bucket {
    /// Takes one token, or says when there will be one.
    pub(crate) fn take(&mut self, rate: Rate, tick: u64) -> Result<(), Wait> {
        let full_at = self.0.max(tick) + rate.interval_ms;
        match full_at.saturating_sub(tick + rate.refill_ms()) {
            0 => {
                self.0 = full_at;
                Ok(())
            }
            ms => Err(Wait { ms }),
        }
    }

    /// Returns a token that was not needed.
    fn give_back(&mut self, rate: Rate) {
        self.0 = self.0.saturating_sub(rate.interval_ms);
    }
}

impl Wait {
    /// In whole seconds, rounded up.
    pub(crate) const fn seconds(self) -> u64 {
        self.ms.div_ceil(1000)
    }
}

impl Limit {
    /// Every limit there is.
    pub(crate) const ALL: [Self; 22] = [
        Self::Registrations,
        Self::KeyAccounts,
        Self::Logins,
        Self::LoginSlowdown,
        Self::PasswordHashes,
        Self::Challenges,
        Self::Upgrades,
        Self::Connections,
        Self::Requests,
        Self::UnauthenticatedSockets,
        Self::Identities,
        Self::Refreshes,
        Self::Blobs,
        Self::DeviceRegistrations,
        Self::Writes,
        Self::Reads,
        Self::Calls,
        Self::Messages,
        Self::Offers,
        Self::StoredMessages,
        Self::RelayedBytes,
        Self::RoomStates,
    ];

    /// Its name in the metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Registrations => "registrations",
            Self::KeyAccounts => "key_accounts",
            Self::Logins => "logins",
            Self::LoginSlowdown => "login_slowdown",
            Self::PasswordHashes => "password_hashes",
            Self::Challenges => "challenges",
            Self::Upgrades => "upgrades",
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::UnauthenticatedSockets => "unauthenticated_sockets",
            Self::Identities => "identities",
            Self::Refreshes => "refreshes",
            Self::Blobs => "blobs",
            Self::DeviceRegistrations => "device_registrations",
            Self::Writes => "writes",
            Self::Reads => "reads",
            Self::Calls => "calls",
            Self::Messages => "messages",
            Self::Offers => "offers",
            Self::StoredMessages => "stored_messages",
            Self::RelayedBytes => "relayed_bytes",
            Self::RoomStates => "room_states",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::per_minute(3);

    #[test]
    fn a_burst_passes_and_then_one_in_each_interval() {
        let mut bucket = Bucket::default();
        let mut take = |tick| bucket.take(RATE, tick).map_err(Wait::seconds);
        for _ in 0..3 {
            assert_eq!(take(5_000), Ok(()));
        }
        assert_eq!(take(5_000), Err(20));
        assert_eq!(take(24_999), Err(1));
        assert_eq!(take(25_000), Ok(()));
        assert_eq!(take(25_000), Err(20));
    }

    #[test]
    fn refusals_cost_nothing_and_a_long_pause_gives_one_burst() {
        let mut bucket = Bucket::default();
        let passed = |bucket: &mut Bucket, tick| (0..100).filter(|_| bucket.take(RATE, tick).is_ok()).count();
        assert_eq!(passed(&mut bucket, 0), 3);
        assert_eq!(passed(&mut bucket, 20_000), 1);
        assert_eq!(passed(&mut bucket, 10_000_000), 3);
    }

    #[test]
    fn a_burst_may_be_larger_than_the_rate() {
        let rate = Rate::per_second(50).in_bursts_of(100);
        let mut bucket = Bucket::default();
        assert_eq!((0..200).filter(|_| bucket.take(rate, 0).is_ok()).count(), 100);
        assert_eq!((0..200).filter(|_| bucket.take(rate, 1000).is_ok()).count(), 50);
    }
}
