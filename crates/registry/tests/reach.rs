//! Who may reach whom: each rule alone, and properties of all of them together.

use aldis_protocol::api::ContactDecision::{self, Allowed, Blocked};
use aldis_registry::{Facts, Purpose, Routing, Stance, may_reach};
use proptest::prelude::*;

const PURPOSES: [Purpose; 3] = [Purpose::Signal, Purpose::Message, Purpose::Presence];

fn decided(decision: ContactDecision) -> Stance {
    Stance { decision: Some(decision), reached_out: false }
}

const fn reached_out() -> Stance {
    Stance { decision: None, reached_out: true }
}

/// The purposes for which each single fact is enough under `contacts`.
#[test]
fn each_fact_permits_its_purposes() {
    let none = Facts::default();
    let table = [
        ("strangers", none, [false, false, false]),
        ("devices of one user", Facts { same_user: true, ..none }, [true, true, true]),
        ("allowed by the target", Facts { target: decided(Allowed), ..none }, [true, true, true]),
        ("the target reached out", Facts { target: reached_out(), ..none }, [true, true, true]),
        ("members of a private room", Facts { share_private_room: true, ..none }, [true, true, true]),
        ("joined to a public room", Facts { share_public_room: true, ..none }, [true, false, false]),
        ("offered by the target", Facts { offered: true, ..none }, [true, false, false]),
        ("only the sender allows", Facts { sender: decided(Allowed), ..none }, [false, false, false]),
        ("only the sender reached out", Facts { sender: reached_out(), ..none }, [false, false, false]),
        ("blocked by the target", Facts { target: decided(Blocked), ..none }, [false, false, false]),
        ("blocked by the sender", Facts { sender: decided(Blocked), ..none }, [false, false, false]),
    ];
    for (name, facts, expected) in table {
        let reached = PURPOSES.map(|purpose| may_reach(Routing::Contacts, purpose, facts));
        assert_eq!(reached, expected, "{name}");
    }
}

#[test]
fn open_routing_refuses_only_the_blocked() {
    let none = Facts::default();
    for purpose in PURPOSES {
        assert!(may_reach(Routing::Open, purpose, none));
        assert!(!may_reach(Routing::Open, purpose, Facts { target: decided(Blocked), ..none }));
        assert!(!may_reach(Routing::Open, purpose, Facts { sender: decided(Blocked), ..none }));
    }
}

fn stances() -> impl Strategy<Value = Stance> {
    let decision = prop_oneof![Just(None), Just(Some(Allowed)), Just(Some(Blocked))];
    (decision, any::<bool>()).prop_map(|(decision, reached_out)| Stance { decision, reached_out })
}

fn facts() -> impl Strategy<Value = Facts> {
    (stances(), stances(), any::<[bool; 4]>()).prop_map(
        |(sender, target, [same_user, offered, private, public])| Facts {
            same_user,
            sender,
            target,
            offered,
            share_private_room: private,
            share_public_room: public,
        },
    )
}

fn purposes() -> impl Strategy<Value = Purpose> {
    prop::sample::select(PURPOSES.to_vec())
}

fn routings() -> impl Strategy<Value = Routing> {
    prop::sample::select(vec![Routing::Contacts, Routing::Open])
}

fn is_blocked(facts: Facts) -> bool {
    [facts.sender, facts.target].iter().any(|stance| stance.decision == Some(Blocked))
}

proptest! {
    #[test]
    fn a_block_always_wins(routing in routings(), purpose in purposes(), facts in facts(), by_sender in any::<bool>()) {
        let blocked = if by_sender {
            Facts { sender: Stance { decision: Some(Blocked), ..facts.sender }, ..facts }
        } else {
            Facts { target: Stance { decision: Some(Blocked), ..facts.target }, ..facts }
        };
        prop_assert!(!may_reach(routing, purpose, blocked));
    }

    #[test]
    fn a_block_works_in_both_directions(routing in routings(), purpose in purposes(), facts in facts()) {
        prop_assume!(is_blocked(facts));
        let back = Facts { sender: facts.target, target: facts.sender, ..facts };
        prop_assert!(!may_reach(routing, purpose, facts) && !may_reach(routing, purpose, back));
    }

    /// The sender's own decisions change nothing for the sender, except a block.
    #[test]
    fn only_the_target_can_allow(routing in routings(), purpose in purposes(), facts in facts(), sender in stances()) {
        prop_assume!(sender.decision != Some(Blocked) && facts.sender.decision != Some(Blocked));
        let other = Facts { sender, ..facts };
        prop_assert_eq!(may_reach(routing, purpose, facts), may_reach(routing, purpose, other));
    }

    /// An additional reason never makes a target unreachable.
    #[test]
    fn an_additional_reason_never_forbids(routing in routings(), purpose in purposes(), facts in facts(), reason in 0..6_usize) {
        let mut more = facts;
        match reason {
            0 => more.same_user = true,
            1 => more.offered = true,
            2 => more.share_private_room = true,
            3 => more.share_public_room = true,
            4 => more.target.reached_out = true,
            _ => more.target.decision = facts.target.decision.or(Some(Allowed)),
        }
        prop_assert!(!may_reach(routing, purpose, facts) || may_reach(routing, purpose, more));
    }

    #[test]
    fn open_routing_reaches_everyone_that_contacts_reaches(purpose in purposes(), facts in facts()) {
        let (contacts, open) = (may_reach(Routing::Contacts, purpose, facts), may_reach(Routing::Open, purpose, facts));
        prop_assert!(!contacts || open);
        prop_assert_eq!(open, !is_blocked(facts));
    }

    /// Every user who may be messaged or seen may also be signalled.
    #[test]
    fn everyone_who_may_be_messaged_may_be_signalled(routing in routings(), facts in facts()) {
        let reached = PURPOSES.map(|purpose| may_reach(routing, purpose, facts));
        prop_assert_eq!(reached[1], reached[2]);
        prop_assert!(!reached[1] || reached[0]);
    }
}
