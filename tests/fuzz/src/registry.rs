//! The registry against its model. Five bytes are one operation.

#[path = "../../../crates/registry/tests/model/operations.rs"]
mod model;

use model::Operation;

/// The model is slow, so that long inputs would teach a fuzzer little.
const MAX_OPERATIONS: usize = 200;

pub(crate) fn behaves_like_the_model(data: &[u8]) {
    let operations = data.as_chunks::<5>().0.iter().take(MAX_OPERATIONS).map(operation).collect();
    model::behaves_like_the_model(operations).expect("the registry behaves like the model");
}

/// In the ranges of the model's own strategy.
fn operation(bytes: &[u8; 5]) -> Operation {
    let [kind, nth, place, number, flag] = *bytes;
    let (user, device, room) = (nth % 4, place % 6, place % 4);
    let (nth, number) = (usize::from(nth), u64::from(number % 8));
    match kind % 16 {
        0..3 => Operation::Attach { user, device, claim: number },
        3 => Operation::RenewClaim { nth, claim: number },
        4 => Operation::Detach { nth },
        5 => Operation::DetachAgain { nth },
        6..10 => Operation::Join { nth, room, revision: number % 5, holds: flag % 10 != 0 },
        10..12 => Operation::Leave { nth, room },
        12 => Operation::Evict { user, room },
        13 => Operation::Raise { nth, room, revision: number },
        14 => Operation::Close { room },
        _ => Operation::Reach { room, seq: number },
    }
}
