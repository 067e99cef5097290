//! What a client remembers of a chain, so that no server can show it a different one later.

use aldis_protocol::{Hash, api::StatementStatus};
use serde::{Deserialize, Serialize};

use super::{Chain, Link};

/// How much of a chain a client has seen. It is stored by fingerprint and updated by [`check_pin`] each time the chain
/// is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// How many statements the chain had; at least 1.
    pub length: u64,
    /// The hash of the last one, which covers all of them.
    pub head: Hash,
    /// The server's time of acceptance of the last one, in Unix milliseconds.
    pub accepted_at_ms: u64,
    /// Whether the last one was final at that time; all earlier ones were.
    pub head_is_final: bool,
}

/// The server showed a different history than before, so somebody has changed it. The client must not trust the chain
/// again silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainForked {
    /// The chain lacks statements that it had before.
    #[error("the identity's chain is shorter than before: the server hides statements that it has shown")]
    Shorter,
    /// The chain has different statements or times of acceptance.
    #[error("the identity's chain differs from the one that was seen before")]
    Different,
    /// A final rotation was cancelled.
    #[error("a final key rotation was cancelled")]
    FinalityTakenBack,
}

impl Pin {
    /// The pin of a chain that a client sees for the first time.
    #[must_use]
    pub fn of(chain: &Chain, now_ms: u64) -> Self {
        let last = chain.last();
        Self {
            length: chain.next_sequence(),
            head: last.hash(),
            accepted_at_ms: last.accepted_at_ms(),
            head_is_final: chain.state(now_ms).provisional.is_none(),
        }
    }
}

/// Compares a chain with its pin, and returns the new pin.
///
/// A final rotation stays final: even if the client's clock goes back, the pin records it.
///
/// # Errors
/// [`ChainForked`]; the pin must be kept unchanged.
pub fn check_pin(pin: &Pin, chain: &Chain, now_ms: u64) -> Result<Pin, ChainForked> {
    let pinned = pinned_link(pin, chain)?;
    if pinned.hash() != pin.head || pinned.accepted_at_ms() != pin.accepted_at_ms {
        return Err(ChainForked::Different);
    }
    if pin.head_is_final && is_cancelled(pin, chain, now_ms) {
        return Err(ChainForked::FinalityTakenBack);
    }
    let seen = Pin::of(chain, now_ms);
    let grown = seen.length > pin.length;
    Ok(Pin { head_is_final: seen.head_is_final || (!grown && pin.head_is_final), ..seen })
}

fn pinned_link<'a>(pin: &Pin, chain: &'a Chain) -> Result<&'a Link, ChainForked> {
    let place = pin.length.checked_sub(1).ok_or(ChainForked::Different)?;
    usize::try_from(place).ok().and_then(|place| chain.links().get(place)).ok_or(ChainForked::Shorter)
}

fn is_cancelled(pin: &Pin, chain: &Chain, now_ms: u64) -> bool {
    let mut statuses = (1..).zip(chain.statuses(now_ms));
    statuses.any(|(length, status)| length == pin.length && status == StatementStatus::Cancelled)
}
