//! Limits that are counted by who is signed in (docs/operations.md, "Rate limits").

use aldis_auth::RefreshToken;
use aldis_protocol::{
    ClientMessage, ErrorCode, ErrorReply, ServerMessage, Signal, SignalKind, Target, UserId,
};
use uuid::Uuid;

use super::{Denied, Outlet, Router};
use crate::{
    clock::Now,
    metrics::Metrics,
    rate::{Buckets, ByteBuckets, ByteRate, Limit, Rate, Wait},
};

const OFFERS: Rate = Rate::per_minute(30);
const REFRESHES: Rate = Rate::per_minute(10);
const STORED_MESSAGES: Rate = Rate::per_minute(120);
/// Half of a session's queue: a reader with 10 Mbit/s takes more than twice as much, and a burst fits beside what waits.
const RELAYED_BYTES: ByteRate = ByteRate::per_second(512 * 1024);

/// The limits of one node.
#[derive(Debug)]
pub(super) struct Rates {
    /// By sender and target, the latter as it was named: counting by who is behind a name would tell strangers which
    /// names have the same one.
    offers: Buckets<(UserId, Target)>,
    /// By family.
    refreshes: Buckets<Uuid>,
    /// Messages that are stored, by user.
    stored: Buckets<UserId>,
    /// Bytes that are handed on to others, by user.
    relayed: ByteBuckets<UserId>,
}

impl Rates {
    pub(super) fn new(enforced: bool) -> Self {
        Self {
            offers: Buckets::new(OFFERS, enforced),
            refreshes: Buckets::new(REFRESHES, enforced),
            stored: Buckets::new(STORED_MESSAGES, enforced),
            relayed: ByteBuckets::new(RELAYED_BYTES, enforced),
        }
    }

    /// The refusal of a stored message too many.
    pub(super) fn refuse_stored(
        &self,
        user: UserId,
        now: Now,
        metrics: &Metrics,
    ) -> Option<ServerMessage<'static>> {
        let wait = self.stored.take(user, now.tick).err()?;
        metrics.limited(Limit::StoredMessages);
        Some(refusal("too many stored messages; send fewer in a minute", wait))
    }

    /// The refusal of an offer too many.
    pub(super) fn refuse(
        &self,
        from: &Outlet,
        signal: &Signal<'_>,
        now: Now,
        metrics: &Metrics,
    ) -> Option<ServerMessage<'static>> {
        if signal.kind != SignalKind::Offer || !self.offers.is_enforced() {
            return None;
        }
        let wait = self.offers.take((from.user, signal.target.clone()), now.tick).err()?;
        metrics.limited(Limit::Offers);
        Some(refusal("too many offers to this target; wait before the next one", wait))
    }
}

impl Router {
    /// The refusal of a message that is handed on to others, where its user has sent too much of that lately. `bytes` is
    /// its size as it came; it counts once, however many get it.
    pub(crate) fn refuse_relayed(
        &self,
        from: &Outlet,
        message: &ClientMessage<'_>,
        bytes: usize,
        now: Now,
    ) -> Option<ServerMessage<'static>> {
        if !is_relayed(message) {
            return None;
        }
        let wait = self.rates.relayed.take(from.user, bytes, now.tick).err()?;
        self.metrics.limited(Limit::RelayedBytes);
        Some(refusal("too many bytes for others; send less in a second", wait))
    }

    /// Refuses a refresh too many, before anything is used up by it.
    pub(super) async fn limit_refresh(&self, presented: &RefreshToken) -> Result<(), Denied> {
        if !self.rates.refreshes.is_enforced() {
            return Ok(());
        }
        let Some(family) = self.store.family_of_refresh_token(&presented.hash()).await? else {
            return Ok(());
        };
        self.rates.refreshes.take(family, Now::read().tick).map_err(|wait| {
            self.metrics.limited(Limit::Refreshes);
            Denied::rate_limited("these tokens are refreshed too often; wait before the next time", wait)
        })
    }

    /// Gives back the memory of limits that are not used.
    pub(crate) fn sweep_rates(&self, now: Now) {
        self.rates.offers.sweep(now.tick);
        self.rates.refreshes.sweep(now.tick);
        self.rates.stored.sweep(now.tick);
        self.rates.relayed.sweep(now.tick);
    }
}

/// Whether others get what a message holds.
const fn is_relayed(message: &ClientMessage<'_>) -> bool {
    matches!(
        message,
        ClientMessage::Signal(_)
            | ClientMessage::ChatMessage(_)
            | ClientMessage::Broadcast(_)
            | ClientMessage::Message(_)
    )
}

fn refusal(message: &'static str, wait: Wait) -> ServerMessage<'static> {
    let retry_after = Some(wait.seconds());
    ServerMessage::Error(ErrorReply { retry_after, ..ErrorReply::new(ErrorCode::RateLimited, message) })
}
