//! Pins of chains.

use aldis_auth::{CANCELLATION_WINDOW_MS, Chain, ChainForked, Pin, Rotation, check_pin};

use super::{
    rotated,
    world::{NOW, cancellation, chain, key, rotation},
};

const DEADLINE: u64 = NOW + 1 + CANCELLATION_WINDOW_MS;

fn cancelled() -> Chain {
    let mut chain = rotated();
    chain.append(cancellation(&chain, 0, DEADLINE - 1).into(), DEADLINE - 1).unwrap();
    chain
}

fn rotated_twice() -> Chain {
    let mut chain = rotated();
    chain.append(rotation(&chain, 1, 2, DEADLINE).into(), DEADLINE).unwrap();
    chain
}

#[test]
fn a_chain_may_grow() {
    let first = Pin::of(&chain(), NOW);
    assert_eq!((first.length, first.head_is_final), (1, true));
    let second = check_pin(&first, &rotated(), NOW + 1).unwrap();
    assert_eq!((second.length, second.head, second.head_is_final), (2, rotated().head().hash, false));
    for grown in [cancelled(), rotated_twice()] {
        let third = check_pin(&second, &grown, DEADLINE).unwrap();
        assert_eq!(third, Pin::of(&grown, DEADLINE));
        assert_eq!(check_pin(&first, &grown, DEADLINE), Ok(third));
    }
}

#[test]
fn a_shorter_chain_is_refused() {
    let pin = Pin::of(&rotated(), NOW + 1);
    assert_eq!(check_pin(&pin, &chain(), NOW + 1), Err(ChainForked::Shorter));
}

#[test]
fn a_different_chain_is_refused() {
    let mut other = chain();
    let rotation = Rotation::sign(other.fingerprint(), other.head(), &key(0), &key(7), "", NOW + 1);
    other.append(rotation.into(), NOW + 1).unwrap();
    let pin = Pin::of(&rotated(), NOW + 1);
    assert_eq!(check_pin(&pin, &other, NOW + 1), Err(ChainForked::Different));
    assert_eq!(check_pin(&Pin { length: 0, ..pin }, &rotated(), NOW + 1), Err(ChainForked::Different));
}

#[test]
fn a_final_rotation_stays_final() {
    let pin = Pin::of(&rotated(), DEADLINE);
    assert!(pin.head_is_final);
    assert_eq!(check_pin(&pin, &cancelled(), DEADLINE), Err(ChainForked::FinalityTakenBack));
    assert!(check_pin(&pin, &rotated_twice(), DEADLINE).is_ok());
}

#[test]
fn another_time_of_acceptance_cannot_reopen_a_window() {
    let mut later = chain();
    later.append(rotation(&later, 0, 1, NOW + 1).into(), NOW + 100_000).unwrap();
    let pin = Pin::of(&rotated(), DEADLINE);
    assert_eq!(later.head().hash, pin.head);
    assert!(later.state(DEADLINE).provisional.is_some());
    assert_eq!(check_pin(&pin, &later, DEADLINE), Err(ChainForked::Different));
}

#[test]
fn a_rotation_stays_final_when_the_clock_goes_back() {
    let pin = Pin::of(&rotated(), DEADLINE);
    let again = check_pin(&pin, &rotated(), NOW + 1).unwrap();
    assert!(again.head_is_final);
    assert_eq!(check_pin(&again, &cancelled(), NOW + 1), Err(ChainForked::FinalityTakenBack));
}

#[test]
fn a_provisional_head_becomes_final_with_time() {
    let pin = Pin::of(&rotated(), DEADLINE - 1);
    assert!(!pin.head_is_final);
    assert!(check_pin(&pin, &rotated(), DEADLINE).unwrap().head_is_final);
}

#[test]
fn a_pin_is_stored_as_json() {
    let pin = Pin::of(&rotated(), NOW);
    let text = serde_json::to_string(&pin).unwrap();
    assert_eq!(serde_json::from_str::<Pin>(&text).unwrap(), pin);
}
