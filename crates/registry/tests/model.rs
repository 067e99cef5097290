//! Compares the registry with a simple model under random operations.

#![allow(clippy::unwrap_used, reason = "the lint spares test functions, but not their helpers")]

#[path = "model/operations.rs"]
mod operations;

use proptest::prelude::*;

use operations::{Operation, behaves_like_the_model};

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        3 => (0..4_u8, 0..6_u8, 0..8_u64)
            .prop_map(|(user, device, claim)| Operation::Attach { user, device, claim }),
        1 => (0..64_usize, 0..8_u64).prop_map(|(nth, claim)| Operation::RenewClaim { nth, claim }),
        1 => (0..64_usize).prop_map(|nth| Operation::Detach { nth }),
        1 => (0..64_usize).prop_map(|nth| Operation::DetachAgain { nth }),
        6 => (0..64_usize, 0..4_u8, 0..5_u64, prop::bool::weighted(0.9))
            .prop_map(|(nth, room, revision, holds)| Operation::Join { nth, room, revision, holds }),
        2 => (0..64_usize, 0..4_u8).prop_map(|(nth, room)| Operation::Leave { nth, room }),
        1 => (0..4_u8, 0..4_u8).prop_map(|(user, room)| Operation::Evict { user, room }),
        2 => (0..64_usize, 0..4_u8, 0..8_u64)
            .prop_map(|(nth, room, revision)| Operation::Raise { nth, room, revision }),
        1 => (0..4_u8).prop_map(|room| Operation::Close { room }),
        2 => (0..4_u8, 0..8_u64).prop_map(|(room, seq)| Operation::Reach { room, seq }),
    ];
    prop::collection::vec(operation, 0..120)
}

proptest! {
    #[test]
    fn the_registry_behaves_like_the_model(operations in operations()) {
        behaves_like_the_model(operations)?;
    }
}
