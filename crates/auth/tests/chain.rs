//! The rules of a chain, one by one; then random histories against a naive model.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lint spares test functions, but not their helpers"
)]

#[path = "chain/histories.rs"]
mod histories;
#[path = "chain/pins.rs"]
mod pins;
#[path = "chain/world.rs"]
mod world;

use aldis_auth::{
    Acceptance, AuthError, CANCELLATION_WINDOW_MS, Cancellation, Chain, ChainError, InvalidSignature,
    MAX_CHAIN_LENGTH, MAX_CLOCK_SKEW_MS, MAX_REASON_BYTES, Rotation, SecretKey, Statement,
};
use aldis_protocol::{
    ErrorCode, Hash,
    api::{CancelRequest, ChainHead, ChainResponse, RotateRequest, StatementStatus},
};
use world::{NOW, cancellation, chain, key, resigned, rotation};

/// A chain that was rotated from key 0 to key 1 at `NOW + 1`.
fn rotated() -> Chain {
    let mut chain = chain();
    chain.append(rotation(&chain, 0, 1, NOW + 1).into(), NOW + 1).unwrap();
    chain
}

fn refused(chain: &Chain, statement: impl Into<Statement>, at_ms: u64) -> ChainError {
    let mut changed = chain.clone();
    let error = changed.append(statement.into(), at_ms).unwrap_err();
    assert_eq!(&changed, chain);
    error
}

#[test]
fn a_chain_begins_with_its_key() {
    let chain = chain();
    let state = chain.state(NOW);
    assert_eq!(state.active_key, key(0).public_key());
    assert_eq!((state.provisional, state.head), (None, chain.head()));
    assert_eq!(chain.head().sequence, 0);
    assert_eq!(chain.fingerprint(), key(0).public_key().fingerprint());
    assert_eq!(chain.statuses(NOW).collect::<Vec<_>>(), [StatementStatus::Final]);
}

#[test]
fn a_new_key_is_active_at_once_and_provisional_for_72_hours() {
    let chain = rotated();
    let until_ms = NOW + 1 + CANCELLATION_WINDOW_MS;
    assert_eq!(CANCELLATION_WINDOW_MS, 72 * 3_600_000);
    for (now_ms, provisional) in [(NOW, true), (until_ms - 1, true), (until_ms, false), (u64::MAX, false)] {
        let state = chain.state(now_ms);
        assert_eq!(state.active_key, key(1).public_key());
        assert_eq!(state.provisional.is_some(), provisional, "{now_ms}");
    }
    let provisional = chain.state(NOW).provisional.unwrap();
    assert_eq!(provisional.until_ms, until_ms);
    assert_eq!(provisional.old_key, key(0).public_key());
    assert_eq!(provisional.rotation, chain.head());
    assert_eq!(chain.links()[1].cancellation_deadline_ms(), Some(until_ms));
}

#[test]
fn a_cancellation_is_possible_until_one_millisecond_before_72_hours() {
    let deadline = NOW + 1 + CANCELLATION_WINDOW_MS;
    let chain = rotated();
    let cancel = |at_ms| cancellation(&chain, 0, at_ms);
    assert_eq!(refused(&chain, cancel(deadline), deadline), ChainError::WindowClosed);
    assert_eq!(refused(&chain, cancel(deadline + 1), deadline + 1), ChainError::WindowClosed);
    let mut cancelled = chain.clone();
    cancelled.append(cancel(deadline - 1).into(), deadline - 1).unwrap();
    let state = cancelled.state(deadline - 1);
    assert_eq!((state.active_key, state.provisional), (key(0).public_key(), None));
    let statuses = [StatementStatus::Final, StatementStatus::Cancelled, StatementStatus::Final];
    assert_eq!(cancelled.statuses(deadline - 1).collect::<Vec<_>>(), statuses);
}

#[test]
fn only_the_replaced_key_cancels() {
    let chain = rotated();
    for other in [1, 2] {
        assert_eq!(refused(&chain, cancellation(&chain, other, NOW + 2), NOW + 2), ChainError::WrongSigner);
    }
    let mut forged = cancellation(&chain, 1, NOW + 2);
    forged.signer_key = key(0).public_key();
    assert_eq!(refused(&chain, forged, NOW + 2), ChainError::Signature(InvalidSignature));
}

#[test]
fn a_pending_rotation_is_cancelled_once() {
    let mut chain = rotated();
    let first = cancellation(&chain, 0, NOW + 2);
    chain.append(first.clone().into(), NOW + 2).unwrap();
    let again = Cancellation::sign(chain.fingerprint(), chain.head(), &key(0), NOW + 3);
    for statement in [first, again] {
        assert_eq!(refused(&chain, statement, NOW + 3), ChainError::Conflict(chain.head()));
    }
    let beginning = world::chain();
    let nothing = Cancellation::sign(beginning.fingerprint(), beginning.head(), &key(0), NOW + 1);
    assert_eq!(refused(&beginning, nothing, NOW + 1), ChainError::Conflict(beginning.head()));
}

#[test]
fn only_one_rotation_is_pending_at_a_time() {
    let mut chain = rotated();
    let deadline = NOW + 1 + CANCELLATION_WINDOW_MS;
    let next = |at_ms| rotation(&chain, 1, 2, at_ms);
    assert_eq!(refused(&chain, next(NOW + 2), NOW + 2), ChainError::RotationPending);
    assert_eq!(refused(&chain, next(deadline - 1), deadline - 1), ChainError::RotationPending);
    let next = next(deadline);
    chain.append(next.into(), deadline).unwrap();
    assert_eq!(chain.state(deadline).active_key, key(2).public_key());
    // Also with a clock that is behind: the second rotation proves that the first one's window is over.
    let statuses = [StatementStatus::Final, StatementStatus::Final, StatementStatus::Provisional];
    assert_eq!(chain.statuses(NOW).collect::<Vec<_>>(), statuses);
}

#[test]
fn a_statement_follows_the_head() {
    let chain = chain();
    let head = chain.head();
    let elsewhere = [
        ChainHead { sequence: 1, ..head },
        ChainHead { sequence: u64::MAX, ..head },
        ChainHead { hash: Hash([0; 32]), ..head },
    ];
    for place in elsewhere {
        let rotation = Rotation::sign(chain.fingerprint(), place, &key(0), &key(1), "", NOW + 1);
        assert_eq!(refused(&chain, rotation, NOW + 1), ChainError::Conflict(head));
    }
    let rotated = rotated();
    for place in elsewhere {
        let cancellation = Cancellation::sign(rotated.fingerprint(), place, &key(0), NOW + 2);
        assert_eq!(refused(&rotated, cancellation, NOW + 2), ChainError::Conflict(rotated.head()));
    }
    let mut other_target = cancellation(&rotated, 0, NOW + 2);
    other_target.target_hash = head.hash;
    assert_eq!(refused(&rotated, other_target, NOW + 2), ChainError::Conflict(rotated.head()));
}

#[test]
fn only_the_active_key_rotates() {
    let chain = chain();
    assert_eq!(refused(&chain, rotation(&chain, 1, 2, NOW + 1), NOW + 1), ChainError::WrongSigner);
    let mut cancelled = rotated();
    cancelled.append(cancellation(&cancelled, 0, NOW + 2).into(), NOW + 2).unwrap();
    let by_the_thief = rotation(&cancelled, 1, 2, NOW + 3);
    assert_eq!(refused(&cancelled, by_the_thief, NOW + 3), ChainError::WrongSigner);
}

#[test]
fn a_key_that_was_used_before_is_never_a_new_one() {
    let chain = chain();
    assert_eq!(refused(&chain, rotation(&chain, 0, 0, NOW + 1), NOW + 1), ChainError::KeyInUse);
    let mut cancelled = rotated();
    cancelled.append(cancellation(&cancelled, 0, NOW + 2).into(), NOW + 2).unwrap();
    assert_eq!(refused(&cancelled, rotation(&cancelled, 0, 1, NOW + 3), NOW + 3), ChainError::KeyInUse);
    assert!(cancelled.has_seen(&key(1).public_key()) && !cancelled.has_seen(&key(2).public_key()));
}

#[test]
fn both_keys_sign_a_rotation() {
    let chain = chain();
    for (old, new) in [(1, 1), (0, 0), (1, 0)] {
        let mut rotation = rotation(&chain, old, new, NOW + 1);
        (rotation.old_key, rotation.new_key) = (key(0).public_key(), key(1).public_key());
        resigned(&mut rotation, chain.fingerprint(), &key(old), &key(new));
        assert_eq!(refused(&chain, rotation, NOW + 1), ChainError::Signature(InvalidSignature));
    }
    let mut swapped = rotation(&chain, 0, 1, NOW + 1);
    std::mem::swap(&mut swapped.signature_old, &mut swapped.signature_new);
    assert_eq!(refused(&chain, swapped, NOW + 1), ChainError::Signature(InvalidSignature));
}

#[test]
fn a_statement_is_valid_for_one_identity() {
    let chain = chain();
    let foreign = key(5).public_key().fingerprint();
    let rotation = Rotation::sign(foreign, chain.head(), &key(0), &key(1), "", NOW + 1);
    assert_eq!(refused(&chain, rotation, NOW + 1), ChainError::Signature(InvalidSignature));
}

#[test]
fn the_signed_time_is_at_most_ten_minutes_from_the_acceptance() {
    let accepted_at = NOW + 2 * MAX_CLOCK_SKEW_MS;
    for (created_at, fits) in [
        (accepted_at - MAX_CLOCK_SKEW_MS - 1, false),
        (accepted_at - MAX_CLOCK_SKEW_MS, true),
        (accepted_at + MAX_CLOCK_SKEW_MS, true),
        (accepted_at + MAX_CLOCK_SKEW_MS + 1, false),
    ] {
        let (mut chain, mut rotated) = (chain(), rotated());
        let rotation = rotation(&chain, 0, 1, created_at);
        let cancellation = cancellation(&rotated, 0, created_at);
        let results =
            [chain.append(rotation.into(), accepted_at), rotated.append(cancellation.into(), accepted_at)];
        for result in results {
            assert_eq!(result.err(), (!fits).then_some(ChainError::ClockSkew), "{created_at}");
        }
    }
}

#[test]
fn times_of_acceptance_increase() {
    let chain = chain();
    for at_ms in [NOW, NOW - 1] {
        assert_eq!(refused(&chain, rotation(&chain, 0, 1, NOW), at_ms), ChainError::AcceptedBeforeHead);
    }
    let mut behind = chain.clone();
    behind.accept(rotation(&chain, 0, 1, NOW - 5), NOW - 5).unwrap();
    assert_eq!(behind.links()[1].accepted_at_ms(), NOW + 1);
}

#[test]
fn a_reason_is_short_and_has_no_nul() {
    let chain = chain();
    let with =
        |reason: &str| Rotation::sign(chain.fingerprint(), chain.head(), &key(0), &key(1), reason, NOW + 1);
    let longest = "é".repeat(MAX_REASON_BYTES / 2);
    assert!(chain.clone().append(with(&longest).into(), NOW + 1).is_ok());
    for reason in [format!("{longest}x"), "a\0b".to_owned()] {
        assert_eq!(refused(&chain, with(&reason), NOW + 1), ChainError::Reason);
    }
}

#[test]
fn a_repetition_changes_nothing() {
    let mut chain = chain();
    let rotation = rotation(&chain, 0, 1, NOW + 1);
    assert!(matches!(chain.accept(rotation.clone(), NOW + 1), Ok(Acceptance::Added(_))));
    let cancellation = cancellation(&chain, 0, NOW + 2);
    assert!(matches!(chain.accept(cancellation.clone(), NOW + 2), Ok(Acceptance::Added(_))));
    let before = chain.clone();
    let much_later = NOW + 2 * CANCELLATION_WINDOW_MS;
    let Ok(Acceptance::AlreadyThere(link)) = chain.accept(rotation.clone(), much_later) else { panic!() };
    assert_eq!(link, &before.links()[1]);
    assert!(matches!(chain.accept(cancellation, much_later), Ok(Acceptance::AlreadyThere(_))));
    let other_reason = Rotation { reason: "another".to_owned(), ..rotation };
    assert!(matches!(chain.accept(other_reason, much_later), Err(ChainError::Conflict(_))));
    assert_eq!(chain, before);
}

#[test]
fn a_full_chain_accepts_only_one_cancellation() {
    let (mut chain, mut now_ms, mut keys) = (chain(), NOW, 0_u64..);
    let mut active = keys.next().unwrap();
    while chain.links().len() < MAX_CHAIN_LENGTH - 1 {
        let new = keys.next().unwrap();
        now_ms += CANCELLATION_WINDOW_MS;
        chain.append(rotation(&chain, active, new, now_ms).into(), now_ms).unwrap();
        active = new;
    }
    let mut cancelled = chain.clone();
    cancelled.append(cancellation(&chain, active - 1, now_ms + 1).into(), now_ms + 1).unwrap();
    assert_eq!(cancelled.links().len(), MAX_CHAIN_LENGTH);
    let next = rotation(&cancelled, active - 1, active + 1, now_ms + 2);
    assert_eq!(refused(&cancelled, next, now_ms + 2), ChainError::Full);
    now_ms += CANCELLATION_WINDOW_MS;
    assert_eq!(refused(&chain, rotation(&chain, active, active + 1, now_ms), now_ms), ChainError::Full);
}

#[test]
fn only_the_requested_identity_is_verified() {
    let chain = rotated();
    let statements = || chain.links().iter().map(|link| (link.statement().clone(), link.accepted_at_ms()));
    assert_eq!(Chain::verify(chain.fingerprint(), statements()).as_ref(), Ok(&chain));
    let other = key(5).public_key().fingerprint();
    assert_eq!(Chain::verify(other, statements()), Err(ChainError::NotGenesis));
    assert_eq!(Chain::verify(chain.fingerprint(), []), Err(ChainError::NotGenesis));
    assert_eq!(Chain::verify(chain.fingerprint(), statements().skip(1)), Err(ChainError::NotGenesis));
    assert_eq!(refused(&chain, chain.links()[0].statement().clone(), NOW + 9), ChainError::NotGenesis);
    let response = chain.to_response(NOW);
    assert_eq!(Chain::from_response(other, &response), Err(ChainError::NotGenesis));
    let empty = ChainResponse { statements: Vec::new(), ..response };
    assert_eq!(Chain::from_response(chain.fingerprint(), &empty), Err(ChainError::NotGenesis));
}

#[test]
fn statements_survive_the_http_bodies() {
    let chain = rotated();
    let (rotation, cancellation) = (rotation(&chain, 1, 2, NOW), cancellation(&chain, 0, NOW));
    let request: RotateRequest = rotation.to_request();
    assert_eq!(Rotation::try_from(&request), Ok(rotation));
    let request: CancelRequest = cancellation.to_request(chain.fingerprint());
    assert_eq!(request.fingerprint, chain.fingerprint());
    assert_eq!(Cancellation::try_from(&request), Ok(cancellation));
    let weak = CancelRequest { signer_key: [0; 32], ..request };
    assert!(Cancellation::try_from(&weak).is_err());
}

#[test]
fn each_refusal_has_its_error_code() {
    for (error, code) in [
        (ChainError::Conflict(chain().head()), ErrorCode::ChainConflict),
        (ChainError::RotationPending, ErrorCode::RotationPending),
        (ChainError::WindowClosed, ErrorCode::WindowClosed),
        (ChainError::KeyInUse, ErrorCode::KeyInUse),
        (ChainError::ClockSkew, ErrorCode::ClockSkew),
        (ChainError::WrongSigner, ErrorCode::InvalidSignature),
        (ChainError::Signature(InvalidSignature), ErrorCode::InvalidSignature),
        (ChainError::Reason, ErrorCode::BadRequest),
    ] {
        assert_eq!(AuthError::from(error).code(), code, "{error:?}");
    }
}

/// The keys and signatures that another implementation published.
#[test]
fn the_published_chain_is_reproduced() {
    let (a, b) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
    let mut chain = Chain::begin(a.public_key(), 1_767_225_600_000);
    let rotation = Rotation::sign(chain.fingerprint(), chain.head(), &a, &b, "scheduled", 1_767_225_601_000);
    chain.accept(rotation, 1_767_225_601_500).unwrap();
    let cancellation = Cancellation::sign(chain.fingerprint(), chain.head(), &a, 1_767_225_602_000);
    chain.accept(cancellation, 1_767_225_602_500).unwrap();

    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../protocol/tests/vectors/statements.json")).unwrap();
    let published = |name: &str| {
        file["statements"].as_array().unwrap().iter().find(|statement| statement["name"] == name).unwrap()
    };
    let response = serde_json::to_value(chain.to_response(1_767_225_603_000)).unwrap();
    let statements = &response["statements"];
    for (place, name) in ["genesis_hash", "rotation", "cancellation"].into_iter().enumerate() {
        let (ours, theirs) = (&statements[place], published(name));
        assert_eq!(ours["hash"], theirs["sha256_hex"], "{name}");
        for (field, value) in theirs["fields"].as_object().unwrap() {
            // Genesis and rotation take the identity from the response around them.
            let there = ours.get(field).unwrap_or(&response["fingerprint"]);
            assert_eq!(there, value, "{name}.{field}");
        }
    }
    assert_eq!(statements[1]["signature_old"], published("rotation")["signatures"]["A"]);
    assert_eq!(statements[1]["signature_new"], published("rotation_accept")["signatures"]["B"]);
    assert_eq!(statements[2]["signature"], published("cancellation")["signatures"]["A"]);
}
