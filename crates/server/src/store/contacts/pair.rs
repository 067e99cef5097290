//! What stands between two users, and what each of them can do about it.

use aldis_protocol::api::{ContactDecision, ContactState};
use aldis_registry::Stance;

/// How one user stands towards another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Side {
    /// What he decided, and when.
    pub(super) decision: Option<(ContactDecision, i64)>,
    /// He asked, and got no answer yet.
    pub(super) asked: Option<Asked>,
    /// The other asked, and got no answer yet.
    pub(super) was_asked_at_ms: Option<i64>,
    /// He asked or wrote, and did not block the other since.
    pub(super) reached_out_at_ms: Option<i64>,
}

/// A request without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// When it was made first.
    pub(super) at_ms: i64,
    /// Whoever made it knows only an address.
    pub(super) by_address: bool,
}

/// Two users, as the first of them acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pair {
    /// Whoever acts.
    pub(super) mine: Side,
    /// The other one.
    pub(super) theirs: Side,
}

impl Pair {
    /// Whoever acts allows the other. If that one asked, it is the answer to it, and both allow each other.
    pub(super) fn allow(&mut self, now_ms: i64) {
        if self.theirs.asked.is_some() {
            return self.befriend(now_ms);
        }
        self.mine.decide(ContactDecision::Allowed, now_ms);
        self.mine.was_asked_at_ms = None;
    }

    /// Whoever acts blocks the other, and takes back whatever he did to be reached.
    pub(super) fn block(&mut self, now_ms: i64) {
        self.mine.decide(ContactDecision::Blocked, now_ms);
        self.mine = Side { asked: None, was_asked_at_ms: None, reached_out_at_ms: None, ..self.mine };
        self.theirs.was_asked_at_ms = None;
    }

    /// Whoever acts takes back what he decided and asked, and sets aside what the other asked.
    pub(super) fn forget(&mut self) {
        if self.mine.asked.is_some() {
            self.theirs.was_asked_at_ms = None;
        }
        self.mine = Side { reached_out_at_ms: self.mine.reached_out_at_ms, ..Side::default() };
    }

    /// Whoever acts asks the other to be allowed; `has_room` says whether that one's list takes another request. True
    /// where he is to hear of it. What the asker's own side shows is the same whatever the other did.
    pub(super) fn ask(&mut self, by_address: bool, has_room: bool, now_ms: i64) -> bool {
        if self.mine.has_decided(ContactDecision::Blocked) {
            return false;
        }
        self.mine.reached_out_at_ms = Some(now_ms);
        if self.theirs.asked.is_some() || self.theirs.has_decided(ContactDecision::Allowed) {
            let is_news = !self.mine.has_decided(ContactDecision::Allowed);
            self.befriend(now_ms);
            return is_news;
        }
        let asked = self.mine.asked.get_or_insert(Asked { at_ms: now_ms, by_address });
        asked.by_address &= by_address;
        let is_heard = has_room && !self.theirs.has_decided(ContactDecision::Blocked);
        let is_news = is_heard && self.theirs.was_asked_at_ms.is_none();
        if is_news {
            self.theirs.was_asked_at_ms = Some(now_ms);
        }
        is_news
    }

    fn befriend(&mut self, now_ms: i64) {
        for side in [&mut self.mine, &mut self.theirs] {
            side.decide(ContactDecision::Allowed, now_ms);
            (side.asked, side.was_asked_at_ms) = (None, None);
        }
    }
}

impl Side {
    /// How the contact is shown to its user, and since when.
    pub(super) fn shown(&self) -> Option<(ContactState, i64)> {
        let decision = self.decision.map(|(decision, at_ms)| (decision.into(), at_ms));
        let incoming = self.was_asked_at_ms.map(|at_ms| (ContactState::Incoming, at_ms));
        let outgoing = self.asked.filter(|asked| !asked.by_address);
        decision.or(incoming).or(outgoing.map(|asked| (ContactState::Outgoing, asked.at_ms)))
    }

    /// What of it says who may reach whom.
    pub(super) fn stance(&self) -> Stance {
        Stance {
            decision: self.decision.map(|(decision, _)| decision),
            reached_out: self.reached_out_at_ms.is_some(),
        }
    }

    /// Whether it counts among the contacts that a user made himself.
    pub(super) fn is_counted(&self) -> bool {
        self.decision.is_some() || self.asked.is_some()
    }

    fn has_decided(&self, decision: ContactDecision) -> bool {
        self.decision.is_some_and(|(decided, _)| decided == decision)
    }

    fn decide(&mut self, decision: ContactDecision, now_ms: i64) {
        if !self.has_decided(decision) {
            self.decision = Some((decision, now_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Act {
        Allow,
        Block,
        Forget,
        Ask { by_address: bool },
    }

    fn acts() -> impl Strategy<Value = Vec<(bool, Act)>> {
        let act = prop_oneof![
            Just(Act::Allow),
            Just(Act::Block),
            Just(Act::Forget),
            any::<bool>().prop_map(|by_address| Act::Ask { by_address }),
        ];
        prop::collection::vec((any::<bool>(), act), 0..30)
    }

    impl Pair {
        fn act(&mut self, by_first: bool, act: Act, now_ms: i64) -> bool {
            let mut turned = if by_first { *self } else { Self { mine: self.theirs, theirs: self.mine } };
            let told = match act {
                Act::Allow => {
                    turned.allow(now_ms);
                    false
                }
                Act::Block => {
                    turned.block(now_ms);
                    false
                }
                Act::Forget => {
                    turned.forget();
                    false
                }
                Act::Ask { by_address } => turned.ask(by_address, true, now_ms),
            };
            *self = if by_first { turned } else { Self { mine: turned.theirs, theirs: turned.mine } };
            told
        }
    }

    fn after(acts: &[(bool, Act)]) -> Pair {
        let mut pair = Pair::default();
        for (number, (by_first, act)) in acts.iter().enumerate() {
            pair.act(*by_first, *act, i64::try_from(number).unwrap());
        }
        pair
    }

    const ASK: Act = Act::Ask { by_address: false };

    #[test]
    fn a_request_is_outgoing_here_and_incoming_there() {
        let pair = after(&[(true, ASK)]);
        assert_eq!(pair.mine.shown(), Some((ContactState::Outgoing, 0)));
        assert_eq!(pair.theirs.shown(), Some((ContactState::Incoming, 0)));
        assert!(pair.mine.stance().reached_out && !pair.theirs.stance().reached_out);
    }

    #[test]
    fn requests_that_cross_and_an_answer_allow_both() {
        for answer in [ASK, Act::Allow] {
            let pair = after(&[(true, ASK), (false, answer)]);
            assert_eq!(pair.mine.shown(), Some((ContactState::Allowed, 1)), "{answer:?}");
            assert_eq!(pair.theirs.shown(), Some((ContactState::Allowed, 1)), "{answer:?}");
        }
    }

    #[test]
    fn a_request_by_address_is_not_listed_until_it_is_answered() {
        let by_address = Act::Ask { by_address: true };
        let pair = after(&[(true, by_address)]);
        assert_eq!(
            (pair.mine.shown(), pair.theirs.shown().map(|shown| shown.0)),
            (None, Some(ContactState::Incoming))
        );
        let pair = after(&[(true, by_address), (false, Act::Allow)]);
        assert_eq!(pair.mine.shown(), Some((ContactState::Allowed, 1)));
        let pair = after(&[(true, by_address), (true, ASK), (true, by_address)]);
        assert_eq!(pair.mine.shown(), Some((ContactState::Outgoing, 0)));
    }

    #[test]
    fn a_request_is_told_once() {
        let mut pair = Pair::default();
        let told = [true, false, true].map(|_| pair.act(true, ASK, 1));
        assert_eq!(told, [true, false, false]);
    }

    proptest! {
        /// Whoever was blocked cannot tell it from a request that nobody answered.
        #[test]
        fn a_block_does_not_show_on_the_other_side(before in acts(), after_it in prop::collection::vec(prop_oneof![Just(ASK), Just(Act::Forget), Just(Act::Allow)], 0..6)) {
            let mut blocked = after(&before);
            blocked.theirs = Side::default();
            blocked.mine = Side { was_asked_at_ms: None, ..blocked.mine };
            let mut free = blocked;
            blocked.act(false, Act::Block, 100);
            for act in after_it {
                let told = blocked.act(true, act, 101);
                free.act(true, act, 101);
                prop_assert!(!told);
                prop_assert_eq!(blocked.mine.shown(), free.mine.shown());
                prop_assert_eq!(blocked.mine.stance(), free.mine.stance());
            }
        }

        #[test]
        fn whoever_blocked_is_not_reached_out_and_has_no_request(acts in acts()) {
            let pair = after(&acts);
            for (side, other) in [(pair.mine, pair.theirs), (pair.theirs, pair.mine)] {
                if side.has_decided(ContactDecision::Blocked) {
                    prop_assert_eq!((side.asked, side.was_asked_at_ms, side.reached_out_at_ms), (None, None, None));
                    prop_assert_eq!(other.was_asked_at_ms, None);
                }
            }
        }

        #[test]
        fn nobody_is_asked_without_somebody_asking(acts in acts()) {
            let pair = after(&acts);
            for (side, other) in [(pair.mine, pair.theirs), (pair.theirs, pair.mine)] {
                prop_assert!(side.was_asked_at_ms.is_none() || other.asked.is_some());
                prop_assert!(side.asked.is_none() || side.reached_out_at_ms.is_some());
                prop_assert!(side.asked.is_none() || other.asked.is_none());
            }
        }
    }
}
