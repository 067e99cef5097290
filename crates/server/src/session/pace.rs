//! The rate limit of a session: 50 messages a second in bursts of 100 (docs/operations.md, "Rate limits"). Frames
//! without a reply count as messages: pings, pongs, small parts of messages, and confirmations of few messages.

use aldis_protocol::{CloseCode, MessageKind};

use crate::{
    link::Closing,
    rate::{Bucket, Rate, Wait},
};

const MESSAGES: Rate = Rate::per_second(50).in_bursts_of(100);
/// Three times the rate. A second with this many messages counts as flooded.
const FLOOD: u32 = 150;
/// This many flooded seconds in a row close the connection.
const FLOODED_SECONDS: u32 = 10;
/// After this many messages in a second, reading pauses until the second is over, because refusing frames without a
/// reply would cost more than pausing.
const MOST_IN_A_SECOND: u32 = 600;
/// A confirmation of fewer messages counts as one message; protocol.md asks for one every 64.
const FEW_CONFIRMED: u64 = 16;
/// When a closed client may come back, in seconds.
pub(super) const REST: u64 = 10;
const SECOND_MS: u64 = 1000;

/// The rate at which a session's client sends. It takes four words, idle or not.
#[derive(Debug)]
pub(super) struct Pace {
    enforced: bool,
    bucket: Bucket,
    /// The tick at which the current second began.
    second: u64,
    messages: u32,
    flooded: u32,
}

/// What to do about frames without a reply.
#[derive(Debug, PartialEq)]
pub(super) enum Unanswerable {
    /// Nothing.
    Pass,
    /// Pause reading until this tick.
    Pause(u64),
    /// Close the connection.
    Close(Closing),
}

/// What to do with a message.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Carry it out.
    Pass,
    /// Refuse it.
    Refuse(Wait),
    /// Close, and refuse the client until it may come back.
    Close(Closing),
}

impl Pace {
    /// The state of a client that has sent nothing.
    pub(super) fn new(enforced: bool) -> Self {
        Self { enforced, bucket: Bucket::default(), second: 0, messages: 0, flooded: 0 }
    }

    /// Counts a message of this kind, if it has one.
    ///
    /// `auth` is refused only as part of a flood; otherwise a client that is too fast could not renew its token.
    /// `received` has no reply and [counts](Self::confirmed) by what it confirms.
    pub(super) fn take(&mut self, kind: Option<MessageKind>, tick: u64) -> Verdict {
        if !self.enforced || kind == Some(MessageKind::Received) {
            return Verdict::Pass;
        }
        if self.is_flood(1, tick) {
            return Verdict::Close(self.close());
        }
        if kind == Some(MessageKind::Auth) {
            return Verdict::Pass;
        }
        self.bucket.take(MESSAGES, tick).map_or_else(Verdict::Refuse, |()| Verdict::Pass)
    }

    /// Counts frames that have no reply as messages.
    pub(super) fn pass_by(&mut self, frames: u32, tick: u64) -> Unanswerable {
        if !self.enforced || frames == 0 {
            return Unanswerable::Pass;
        }
        if self.is_flood(frames, tick) {
            return Unanswerable::Close(self.close());
        }
        // Such frames cannot be refused, but the messages beside them can.
        let _ = (0..frames).try_for_each(|_| self.bucket.take(MESSAGES, tick));
        if self.messages < MOST_IN_A_SECOND {
            Unanswerable::Pass
        } else {
            Unanswerable::Pause(self.second + SECOND_MS)
        }
    }

    /// Counts a `received` that confirms this many messages for the first time.
    pub(super) fn confirmed(&mut self, messages: u64, tick: u64) -> Unanswerable {
        if messages < FEW_CONFIRMED { self.pass_by(1, tick) } else { Unanswerable::Pass }
    }

    fn is_flood(&mut self, frames: u32, tick: u64) -> bool {
        if tick >= self.second + SECOND_MS {
            let goes_on = self.messages >= FLOOD && tick < self.second + 2 * SECOND_MS;
            self.flooded = if goes_on { self.flooded + 1 } else { 0 };
            self.messages = 0;
            self.second = tick;
        }
        self.messages = self.messages.saturating_add(frames);
        self.flooded >= FLOODED_SECONDS
    }

    /// Closes. If the client resumes this session, its earlier seconds do not count again.
    fn close(&mut self) -> Closing {
        self.flooded = 0;
        let message = "this connection sent three times as much as it may for ten seconds";
        Closing::new(CloseCode::RateLimited, "", message).retry_after(REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Option<MessageKind> = Some(MessageKind::Ping);

    fn passed(pace: &mut Pace, kind: Option<MessageKind>, tick: u64, count: usize) -> usize {
        (0..count).filter(|_| pace.take(kind, tick) == Verdict::Pass).count()
    }

    /// Sends this many messages a second, evenly. Returns the second in which the session is closed.
    fn closed_in(pace: &mut Pace, a_second: u64, seconds: u64) -> Option<u64> {
        let ticks = (0..seconds * a_second).map(|number| number * SECOND_MS / a_second);
        ticks
            .map(|tick| (tick / SECOND_MS, pace.take(PING, tick)))
            .find_map(|(second, verdict)| matches!(verdict, Verdict::Close(..)).then_some(second))
    }

    #[test]
    fn a_burst_of_100_and_50_a_second_pass() {
        let mut pace = Pace::new(true);
        assert_eq!(passed(&mut pace, PING, 0, 120), 100);
        assert_eq!(passed(&mut pace, PING, 1_000, 120), 50);
        assert_eq!(passed(&mut pace, None, 1_000, 1), 0);
    }

    #[test]
    fn new_tokens_always_pass() {
        let mut pace = Pace::new(true);
        assert_eq!(passed(&mut pace, PING, 0, 120), 100);
        assert_eq!(passed(&mut pace, Some(MessageKind::Auth), 0, 120), 120);
    }

    #[test]
    fn frames_without_a_reply_take_the_place_of_messages() {
        let mut pace = Pace::new(true);
        assert_eq!(pace.pass_by(60, 0), Unanswerable::Pass);
        assert_eq!(passed(&mut pace, PING, 0, 120), 40);
        assert_eq!(pace.pass_by(200, 1_000), Unanswerable::Pass);
        assert_eq!(passed(&mut pace, PING, 1_000, 120), 0);
        assert_eq!(passed(&mut pace, PING, 2_000, 120), 50, "no debt is left");
    }

    #[test]
    fn a_confirmation_of_few_messages_counts() {
        let mut pace = Pace::new(true);
        assert!((0..1_000).all(|_| pace.confirmed(16, 0) == Unanswerable::Pass));
        assert_eq!(passed(&mut pace, PING, 0, 10), 10);
        assert!((0..90).all(|_| pace.confirmed(15, 0) == Unanswerable::Pass));
        assert_eq!(passed(&mut pace, PING, 0, 1), 0);
    }

    /// They used to be read without a limit.
    #[test]
    fn pings_as_fast_as_possible_are_read_slowly_and_close_after_ten_seconds() {
        let (mut pace, mut tick, mut frames) = (Pace::new(true), 500, 0);
        loop {
            frames += 64;
            match pace.pass_by(64, tick) {
                Unanswerable::Pass => {}
                Unanswerable::Pause(until) => {
                    assert!(until > tick && until <= tick + SECOND_MS);
                    tick = until;
                }
                Unanswerable::Close(closing) => {
                    assert_eq!(closing.code, CloseCode::RateLimited);
                    break;
                }
            }
        }
        assert!((10_000..=11_000).contains(&tick), "{tick}");
        assert!(frames <= 11 * (MOST_IN_A_SECOND + 64), "{frames}");
        assert!((0..1_000).all(|_| Pace::new(false).pass_by(64, 0) == Unanswerable::Pass));
    }

    #[test]
    fn only_a_flood_of_ten_seconds_closes() {
        assert_eq!(closed_in(&mut Pace::new(true), 140, 100), None);
        assert_eq!(closed_in(&mut Pace::new(true), 150, 100), Some(10));
        assert_eq!(closed_in(&mut Pace::new(true), 1_000, 10), None);
        assert_eq!(closed_in(&mut Pace::new(false), 1_000, 100), None);
    }

    #[test]
    fn a_pause_ends_a_flood() {
        let mut pace = Pace::new(true);
        let closes = |pace: &mut Pace, tick| matches!(pace.take(PING, tick), Verdict::Close(..));
        for round in 0..5 {
            let start = round * 12_000;
            let spoken = (0..9_000).step_by(5).any(|tick| closes(&mut pace, start + tick));
            assert!(!spoken, "{round}");
        }
    }

    #[test]
    fn a_client_that_resumes_is_not_closed_at_once() {
        let mut pace = Pace::new(true);
        assert_eq!(closed_in(&mut pace, 200, 100), Some(10));
        assert_eq!(pace.take(PING, 20_000), Verdict::Pass);
        assert!((0..1_000).all(|_| !matches!(pace.take(PING, 20_500), Verdict::Close(_))));
    }
}
