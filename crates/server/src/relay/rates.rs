//! Limits that are counted by who is signed in (docs/operations.md, "Rate limits").

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
/// Half of a session's queue: a reader with 10 Mbit/s takes more than twice as much, and a burst fits beside what waits.
const RELAYED_BYTES: ByteRate = ByteRate::per_second(512 * 1024);
const ROOM_STATES: Rate = Rate::per_second(5);

/// The limits of one node.
#[derive(Debug)]
pub(super) struct Rates {
    /// By sender and the user behind the target, or who stands for them where the sender cannot reach them.
    offers: Buckets<(UserId, UserId)>,
    /// Messages that are stored, by user.
    stored: Buckets<UserId>,
    /// Bytes that are handed on to others, by user.
    relayed: ByteBuckets<UserId>,
    /// States that are set, by room: only those count who may set them.
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

    /// Refuses a state of a room too many.
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

    /// Whether offers are limited at all.
    pub(super) const fn limits_offers(&self) -> bool {
        self.offers.is_enforced()
    }

    /// The refusal of an offer too many from one user to another.
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
    /// The refusal of a message that is handed on to others, where its user has sent too much of that lately. `bytes` is
    /// its size as it came; it counts once, however many get it.
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

    /// Gives back the memory of limits that are not used.
    pub(crate) fn sweep_rates(&self, now: Now) {
        self.rates.offers.sweep(now.tick);
        self.rates.stored.sweep(now.tick);
        self.rates.relayed.sweep(now.tick);
        self.rates.room_states.sweep(now.tick);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_a_room_were_set_as_fast_as_anybody_liked() {
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
