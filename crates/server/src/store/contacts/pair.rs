//! The relation between two users, and how each of them can change it.

use aldis_protocol::{
    ContactLabel,
    api::{ContactDecision, ContactState},
};
use aldis_registry::Stance;

use super::KEPT_MS;

/// One user's side of the relation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Side {
    /// The user's decision and its time.
    pub(super) decision: Option<(ContactDecision, i64)>,
    /// Since when the user has a request by user id or fingerprint.
    pub(super) asked_at_ms: Option<i64>,
    /// Since when the user has a request by address. The user does not know who owns the address, so nothing that they
    /// can see may depend on it.
    pub(super) asked_by_address_at_ms: Option<i64>,
    /// Since when the user sees a request of the other.
    pub(super) was_asked_at_ms: Option<i64>,
    /// When the user last asked or wrote to the other. Cleared by blocking the other.
    pub(super) reached_out_at_ms: Option<i64>,
    /// When the user first allowed the other. Cleared by blocking the other.
    pub(super) answered_at_ms: Option<i64>,
    /// The name that the other gave in their request.
    pub(super) label: Option<ContactLabel>,
}

/// Two users, from the view of the one who acts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pair {
    /// The user who acts.
    pub(super) mine: Side,
    /// The other user.
    pub(super) theirs: Side,
}

/// A contact request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    /// The sender knows only an address.
    pub(super) by_address: bool,
    /// The name that the sender gives.
    pub(super) label: Option<&'a ContactLabel>,
    /// Since when the request has one of the sender's places; `None` if none is free.
    pub(super) place_since_ms: Option<i64>,
    /// The sender may have another contact.
    pub(super) may_add: bool,
    /// The recipient's list has room for another request.
    pub(super) has_room: bool,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Both allow each other from now on; the recipient is told.
    Answered,
    /// The request waits, and the recipient is told.
    Told,
    /// The recipient is not told.
    Unheard,
}

impl Pair {
    /// The acting user allows the other. True if that answers a request of the other, so that both allow each other.
    pub(super) fn allow(&mut self, now_ms: i64) -> bool {
        if self.theirs.asks() {
            self.befriend(now_ms);
            return true;
        }
        self.mine.allow(now_ms);
        self.mine.was_asked_at_ms = None;
        false
    }

    /// The acting user blocks the other and withdraws everything they did to be reachable.
    pub(super) fn block(&mut self, now_ms: i64) {
        self.mine = Side { decision: self.mine.decision, label: self.mine.label.take(), ..Side::default() };
        self.mine.decide(ContactDecision::Blocked, now_ms);
        self.theirs.hear_no_more();
    }

    /// The acting user removes their decision, withdraws their request by id or fingerprint, and dismisses the other's
    /// request.
    pub(super) fn forget(&mut self) {
        self.mine.was_asked_at_ms = None;
        (self.mine.decision, self.mine.label) = (None, None);
        self.mine.asked_at_ms = None;
        self.follow_requests();
    }

    /// The acting user withdraws their request by address.
    pub(super) fn take_back_by_address(&mut self) {
        self.mine.asked_by_address_at_ms = None;
        self.follow_requests();
    }

    /// The acting user asks to become a contact. What they can see of the result does not depend on what the other
    /// did.
    pub(super) fn ask(&mut self, asking: Asking<'_>, now_ms: i64) -> Outcome {
        if self.mine.has_decided(ContactDecision::Blocked) {
            return Outcome::Unheard;
        }
        if self.theirs.asks() || self.theirs.has_decided(ContactDecision::Allowed) {
            return self.answer(asking, now_ms);
        }
        let Some(since_ms) = asking.place_since_ms else { return Outcome::Unheard };
        self.mine.reached_out_at_ms = Some(now_ms);
        let asked_at_ms = match asking.by_address {
            true => &mut self.mine.asked_by_address_at_ms,
            false => &mut self.mine.asked_at_ms,
        };
        asked_at_ms.get_or_insert(since_ms);
        if self.theirs.has_decided(ContactDecision::Blocked) {
            return Outcome::Unheard;
        }
        self.theirs.hear(asking, since_ms)
    }

    /// The pair without requests that have expired.
    pub(super) fn at(mut self, now_ms: i64) -> Self {
        self.mine.lapse(now_ms);
        self.theirs.lapse(now_ms);
        self
    }

    /// The acting user's request answers the other's request. Between contacts it changes nothing.
    fn answer(&mut self, asking: Asking<'_>, now_ms: i64) -> Outcome {
        let are_contacts =
            [&self.mine, &self.theirs].iter().all(|side| side.has_decided(ContactDecision::Allowed));
        if are_contacts || !(asking.may_add || self.mine.is_counted()) {
            return Outcome::Unheard;
        }
        self.mine.reached_out_at_ms = Some(now_ms);
        self.theirs.be_called(asking.label);
        self.befriend(now_ms);
        Outcome::Answered
    }

    /// The other sees a request as long as there is one.
    fn follow_requests(&mut self) {
        let asks = [self.mine.asked_at_ms, self.mine.asked_by_address_at_ms];
        match asks.into_iter().flatten().max() {
            Some(since_ms) => {
                let heard = &mut self.theirs.was_asked_at_ms;
                *heard = heard.map(|heard_ms| heard_ms.min(since_ms));
            }
            None => self.theirs.hear_no_more(),
        }
    }

    fn befriend(&mut self, now_ms: i64) {
        for side in [&mut self.mine, &mut self.theirs] {
            side.allow(now_ms);
            (side.asked_at_ms, side.asked_by_address_at_ms, side.was_asked_at_ms) = (None, None, None);
        }
    }
}

impl Side {
    /// The state of the contact as its user sees it, and since when.
    pub(super) fn shown(&self) -> Option<(ContactState, i64)> {
        let decision = self.decision.map(|(decision, at_ms)| (decision.into(), at_ms));
        let incoming = self.was_asked_at_ms.map(|at_ms| (ContactState::Incoming, at_ms));
        decision.or(incoming).or(self.asked_at_ms.map(|at_ms| (ContactState::Outgoing, at_ms)))
    }

    /// The facts that decide who may reach whom.
    pub(super) fn stance(&self) -> Stance {
        Stance {
            decision: self.decision.map(|(decision, _)| decision),
            reached_out: self.reached_out_at_ms.is_some(),
        }
    }

    /// Whether it counts towards the user's limit of contacts.
    pub(super) const fn is_counted(&self) -> bool {
        self.decision.is_some()
    }

    /// Whether the user ever answered the other: by allowing, asking or writing.
    pub(super) const fn has_answered(&self) -> bool {
        self.answered_at_ms.is_some() || self.reached_out_at_ms.is_some()
    }

    /// Removes what has expired.
    pub(super) fn lapse(&mut self, now_ms: i64) {
        let is_kept = |at_ms: &i64| *at_ms > now_ms.saturating_sub(KEPT_MS);
        self.asked_at_ms = self.asked_at_ms.filter(is_kept);
        self.asked_by_address_at_ms = self.asked_by_address_at_ms.filter(is_kept);
        if self.was_asked_at_ms.is_some_and(|at_ms| !is_kept(&at_ms)) {
            self.hear_no_more();
        }
    }

    /// Whether the user has a request to the other.
    const fn asks(&self) -> bool {
        self.asked_at_ms.is_some() || self.asked_by_address_at_ms.is_some()
    }

    fn has_decided(&self, decision: ContactDecision) -> bool {
        self.decision.is_some_and(|(decided, _)| decided == decision)
    }

    fn decide(&mut self, decision: ContactDecision, now_ms: i64) {
        if !self.has_decided(decision) {
            self.decision = Some((decision, now_ms));
        }
    }

    fn allow(&mut self, now_ms: i64) {
        self.decide(ContactDecision::Allowed, now_ms);
        self.answered_at_ms.get_or_insert(now_ms);
    }

    fn hear(&mut self, asking: Asking<'_>, since_ms: i64) -> Outcome {
        if self.was_asked_at_ms.is_none() && !asking.has_room {
            return Outcome::Unheard;
        }
        self.be_called(asking.label);
        if self.was_asked_at_ms.is_some() {
            return Outcome::Unheard;
        }
        self.was_asked_at_ms = Some(since_ms);
        Outcome::Told
    }

    /// Hides the other's request. A label that came with it is removed; the label of a contact stays.
    fn hear_no_more(&mut self) {
        if self.was_asked_at_ms.take().is_some() {
            self.label = None;
        }
    }

    fn be_called(&mut self, label: Option<&ContactLabel>) {
        if let Some(label) = label {
            self.label = Some(label.clone());
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
        TakeBack,
        Ask { by_address: bool },
    }

    fn acts() -> impl Strategy<Value = Vec<(bool, Act)>> {
        let act = prop_oneof![
            Just(Act::Allow),
            Just(Act::Block),
            Just(Act::Forget),
            Just(Act::TakeBack),
            any::<bool>().prop_map(|by_address| Act::Ask { by_address }),
        ];
        prop::collection::vec((any::<bool>(), act), 0..30)
    }

    fn asking(by_address: bool, since_ms: i64) -> Asking<'static> {
        Asking { by_address, label: None, place_since_ms: Some(since_ms), may_add: true, has_room: true }
    }

    impl Pair {
        fn turned(self) -> Self {
            Self { mine: self.theirs, theirs: self.mine }
        }

        fn act(&mut self, by_first: bool, act: Act, now_ms: i64) -> Outcome {
            let before = std::mem::take(self);
            let mut pair = if by_first { before } else { before.turned() };
            let outcome = match act {
                Act::Allow => {
                    pair.allow(now_ms);
                    Outcome::Unheard
                }
                Act::Block => {
                    pair.block(now_ms);
                    Outcome::Unheard
                }
                Act::Forget => {
                    pair.forget();
                    Outcome::Unheard
                }
                Act::TakeBack => {
                    pair.take_back_by_address();
                    Outcome::Unheard
                }
                Act::Ask { by_address } => pair.ask(asking(by_address, now_ms), now_ms),
            };
            *self = if by_first { pair } else { pair.turned() };
            outcome
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
    const BY_ADDRESS: Act = Act::Ask { by_address: true };

    #[test]
    fn a_request_is_outgoing_here_and_incoming_there() {
        let pair = after(&[(true, ASK)]);
        assert_eq!(pair.mine.shown(), Some((ContactState::Outgoing, 0)));
        assert_eq!(pair.theirs.shown(), Some((ContactState::Incoming, 0)));
        assert!(pair.mine.stance().reached_out && !pair.theirs.stance().reached_out);
    }

    #[test]
    fn crossing_requests_and_answers_allow_both() {
        for answer in [ASK, BY_ADDRESS, Act::Allow] {
            let pair = after(&[(true, ASK), (false, answer)]);
            assert_eq!(pair.mine.shown(), Some((ContactState::Allowed, 1)), "{answer:?}");
            assert_eq!(pair.theirs.shown(), Some((ContactState::Allowed, 1)), "{answer:?}");
        }
    }

    #[test]
    fn a_request_by_address_is_not_listed_until_it_is_answered() {
        let pair = after(&[(true, BY_ADDRESS)]);
        assert_eq!(
            (pair.mine.shown(), pair.theirs.shown().map(|shown| shown.0)),
            (None, Some(ContactState::Incoming))
        );
        let pair = after(&[(true, BY_ADDRESS), (false, Act::Allow)]);
        assert_eq!(pair.mine.shown(), Some((ContactState::Allowed, 1)));
    }

    #[test]
    fn the_time_of_a_request_by_id_revealed_who_owned_an_address() {
        let pair = after(&[(true, BY_ADDRESS), (true, ASK), (true, BY_ADDRESS)]);
        assert_eq!(pair.mine.shown(), Some((ContactState::Outgoing, 1)));
    }

    #[test]
    fn a_request_by_address_is_withdrawn_only_by_address() {
        let pair = after(&[(true, BY_ADDRESS), (true, ASK), (true, Act::Forget)]);
        assert_eq!(pair.theirs.shown(), Some((ContactState::Incoming, 0)));
        let pair = after(&[(true, BY_ADDRESS), (true, ASK), (true, Act::TakeBack)]);
        assert_eq!(pair.mine.shown(), Some((ContactState::Outgoing, 1)));
        assert_eq!(pair.theirs.shown(), Some((ContactState::Incoming, 0)));
        let pair = after(&[(true, BY_ADDRESS), (true, ASK), (true, Act::TakeBack), (true, Act::Forget)]);
        assert_eq!(pair.theirs, Side::default());
    }

    #[test]
    fn a_request_is_told_once() {
        let mut pair = Pair::default();
        let told = [true, false, true].map(|_| pair.act(true, ASK, 1));
        assert_eq!(told, [Outcome::Told, Outcome::Unheard, Outcome::Unheard]);
    }

    #[test]
    fn a_request_without_a_place_has_no_effect() {
        let mut pair = Pair::default();
        let outcome = pair.ask(Asking { place_since_ms: None, ..asking(false, 1) }, 1);
        assert_eq!((outcome, pair), (Outcome::Unheard, Pair::default()));
    }

    #[test]
    fn a_request_without_a_place_still_answers_one() {
        let mut pair = after(&[(false, ASK)]);
        let no_place = Asking { place_since_ms: None, ..asking(false, 1) };
        let full = Asking { may_add: false, ..no_place };
        assert_eq!(pair.ask(full, 1), Outcome::Unheard, "at the limit of contacts it adds none");
        assert_eq!(pair.ask(no_place, 1), Outcome::Answered);
        assert_eq!(pair.mine.shown(), Some((ContactState::Allowed, 1)));
    }

    #[test]
    fn the_label_is_that_of_the_latest_visible_request() {
        let [first, second] = ["Ann", "Ann B."].map(|text| ContactLabel::new(text).unwrap());
        let named = |label| Asking { label: Some(label), ..asking(false, 1) };
        let mut pair = Pair::default();
        pair.ask(named(&first), 1);
        pair.ask(named(&second), 2);
        pair.ask(asking(false, 1), 3);
        assert_eq!(pair.theirs.label, Some(second.clone()));
        pair.act(false, Act::Allow, 4);
        assert_eq!(pair.ask(named(&first), 5), Outcome::Unheard);
        assert_eq!(pair.theirs.label, Some(second), "the label of a contact does not change");
        pair.act(false, Act::Forget, 6);
        assert_eq!(pair.theirs.label, None);
    }

    #[test]
    fn both_sides_of_a_request_expire_together() {
        let asked = after(&[(true, ASK)]);
        let kept = asked.clone().at(KEPT_MS - 1);
        assert_eq!(kept, asked);
        let lapsed = asked.at(KEPT_MS);
        assert_eq!((lapsed.mine.shown(), lapsed.theirs), (None, Side::default()));
    }

    proptest! {
        /// A blocked user cannot tell the block from a request without an answer.
        #[test]
        fn a_block_does_not_show_on_the_other_side(
            before in acts(),
            after_it in prop::collection::vec(
                prop_oneof![Just(ASK), Just(BY_ADDRESS), Just(Act::Forget), Just(Act::TakeBack), Just(Act::Allow)],
                0..6,
            ),
        ) {
            let mut blocked = after(&before);
            blocked.theirs = Side::default();
            blocked.mine = Side { was_asked_at_ms: None, ..blocked.mine };
            let mut free = blocked.clone();
            blocked.act(false, Act::Block, 100);
            for act in after_it {
                prop_assert_eq!(blocked.act(true, act, 101), Outcome::Unheard);
                free.act(true, act, 101);
                prop_assert_eq!(blocked.mine.shown(), free.mine.shown());
                prop_assert_eq!(blocked.mine.stance(), free.mine.stance());
            }
        }

        /// A request by address does not reveal the owner of the address before it is answered.
        #[test]
        fn a_request_by_address_reveals_nothing_to_its_sender(acts in prop::collection::vec(
            prop_oneof![Just(ASK), Just(BY_ADDRESS), Just(Act::Forget), Just(Act::TakeBack), Just(Act::Block), Just(Act::Allow)],
            0..12,
        )) {
            let with: Vec<_> = acts.iter().map(|act| (true, *act)).collect();
            let mut without = Pair::default();
            for (number, act) in acts.iter().enumerate() {
                if !matches!(act, Act::Ask { by_address: true } | Act::TakeBack) {
                    without.act(true, *act, i64::try_from(number).unwrap());
                }
            }
            prop_assert_eq!(after(&with).mine.shown(), without.mine.shown());
        }

        #[test]
        fn a_user_who_blocked_has_not_reached_out_and_has_no_request(acts in acts()) {
            let pair = after(&acts);
            for (side, other) in [(&pair.mine, &pair.theirs), (&pair.theirs, &pair.mine)] {
                if side.has_decided(ContactDecision::Blocked) {
                    let kept = Side { decision: side.decision, label: side.label.clone(), ..Side::default() };
                    prop_assert_eq!(side, &kept);
                    prop_assert_eq!(other.was_asked_at_ms, None);
                }
            }
        }

        #[test]
        fn every_incoming_request_has_an_outgoing_one(acts in acts()) {
            let pair = after(&acts);
            for (side, other) in [(&pair.mine, &pair.theirs), (&pair.theirs, &pair.mine)] {
                prop_assert!(side.was_asked_at_ms.is_none() || other.asks());
                prop_assert!(!side.asks() || side.reached_out_at_ms.is_some());
                prop_assert!(!side.asks() || !other.asks());
            }
        }
    }
}
