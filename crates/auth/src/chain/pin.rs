//! What a client remembers of a chain, so that no server can show it another one later.

use aldis_protocol::{Hash, api::StatementStatus};
use serde::{Deserialize, Serialize};

use super::{Chain, Link};

/// How far a client has seen a chain. It is kept beside the fingerprint and renewed by [`check_pin`] each time the
/// chain is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// How many statements were seen; at least 1.
    pub length: u64,
    /// The hash of the last of them, and through it of all.
    pub head: Hash,
    /// When the server said it accepted that one, in Unix milliseconds.
    pub accepted_at_ms: u64,
    /// Whether that one was final when it was seen; all before it were.
    pub head_is_final: bool,
}

/// The server showed another history than before: somebody rewrites it. Nothing may be re-trusted silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainForked {
    /// The chain lacks statements that it had.
    #[error("the identity's chain is shorter than it was: the server hides what it has shown")]
    Shorter,
    /// The chain has other statements, or other times of acceptance, than it had.
    #[error("the identity's chain is not the one that was seen before")]
    Different,
    /// A rotation that was final is cancelled.
    #[error("a key rotation that was final is taken back")]
    FinalityTakenBack,
}

impl Pin {
    /// What a client remembers of a chain that it sees for the first time.
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

/// Holds a chain against what was seen of it before, and gives back what is to be remembered from now on.
///
/// A finality once seen stays: where the client's own clock has gone back, the pin still says so.
///
/// # Errors
/// [`ChainForked`]; the pin stays as it is.
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
