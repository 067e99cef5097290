//! Limits that count per signed-in user (docs/operations.md, "Rate limits").

use aldis_protocol::{ClientMessage, ErrorCode, ErrorReply, RoomId, ServerMessage, UserId};

use super::Relay;
use crate::{
    clock::Now,
    link::SessionHandle,
    metrics::Metrics,
    rate::{Buckets, ByteBuckets, ByteRate, Limit, Rate, Wait},
    refusal::Refusal,
};

const OFFERS: Rate = Rate::per_minute(30);
const STORED_MESSAGES: Rate = Rate::per_minute(120);
/// Half of a session's queue: a reader with 10 Mbit/s takes more than twice as much, and a burst fits beside the
/// queued frames.
const RELAYED_BYTES: ByteRate = ByteRate::per_second(512 * 1024);
const ROOM_STATES: Rate = Rate::per_second(5);

/// The limits of one node.
#[derive(Debug)]
pub(super) struct Rates {
    /// By sender and target user. A target that the sender cannot reach counts as a decoy.
    offers: Buckets<(UserId, UserId)>,
    /// Stored messages, by user.
    stored: Buckets<UserId>,
    /// Relayed bytes, by user.
    relayed: ByteBuckets<UserId>,
    /// Changes of a room's state, by room. Only callers who may set the state count.
    room_states: Buckets<RoomId>,
}

impl Rates {
    pub(super) fn new(enforced: bool) -> Self {
        Self {
            offers: Buckets::new(OFFERS, enforced),
            stored: Buckets::new(STORED_MESSAGES, enforced),
            relayed: ByteBuckets::new(RELAYED_BYTES, enforced),
            room_states: Buckets::new(ROOM_STATES, enforced),
        }
    }

    /// The refusal of a stored message over the limit.
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

    /// Refuses a room state over the limit.
    pub(super) fn limit_room_state(&self, room: &RoomId, now: Now, metrics: &Metrics) -> Result<(), Refusal> {
        self.room_states.take(room.clone(), now.tick).map_err(|wait| {
            metrics.limited(Limit::RoomStates);
            Refusal::rate_limited(
                Limit::RoomStates,
                "the state of a room is set 5 times a second at most; wait a moment",
                wait,
            )
        })
    }

    /// Whether there is a limit for offers.
    pub(super) const fn limits_offers(&self) -> bool {
        self.offers.is_enforced()
    }

    /// The refusal of an offer over the limit from one user to another.
    pub(super) fn refuse_offer(
        &self,
        from: UserId,
        to: UserId,
        now: Now,
        metrics: &Metrics,
    ) -> Option<ServerMessage<'static>> {
        let wait = self.offers.take((from, to), now.tick).err()?;
        metrics.limited(Limit::Offers);
        Some(refusal("too many offers to this target; wait before the next one", wait))
    }
}

impl Relay {
    /// The refusal of a relayed message whose user has sent too many bytes lately. `bytes` is its size as received;
    /// it counts once, however many sessions get it.
    pub(crate) fn refuse_relayed(
        &self,
        from: &SessionHandle,
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

    /// Frees the memory of limits that are not in use.
    pub(crate) fn sweep_rates(&self, now: Now) {
        self.rates.offers.sweep(now.tick);
        self.rates.stored.sweep(now.tick);
        self.rates.relayed.sweep(now.tick);
        self.rates.room_states.sweep(now.tick);
    }
}

/// Whether a message is relayed to others.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_states_were_set_without_a_limit() {
        let (rates, metrics) = (Rates::new(true), Metrics::new());
        let set = |room: &str, tick| {
            rates
                .limit_room_state(&room.parse().unwrap(), Now { tick, unix_ms: 0 }, &metrics)
                .map_err(|refusal| refusal.code)
        };
        assert_eq!([0; 5].map(|tick| set("room", tick)), [Ok(()); 5]);
        assert_eq!(set("room", 199), Err(ErrorCode::RateLimited));
        assert_eq!(
            (set("other", 199), set("room", 200)),
            (Ok(()), Ok(())),
            "each room has its own five a second"
        );
    }
}
