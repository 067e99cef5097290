//! How much memory waits for a client.

use std::{
    ops::{AddAssign, SubAssign},
    sync::atomic::{AtomicU64, Ordering},
};

/// Bytes that wait for a client. A shared frame takes memory once, however many sessions hold it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Bytes that only this session holds.
    pub(crate) own: u32,
    /// Bytes that other sessions may hold, too.
    pub(crate) shared: u32,
}

/// [`Held`], written by one thread and read by others.
#[derive(Debug, Default)]
pub(super) struct SharedHeld(AtomicU64);

impl Held {
    /// How much this many bytes count.
    pub(crate) fn new(bytes: usize, is_shared: bool) -> Self {
        // The limits of a session are far below.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if is_shared { Self { own: 0, shared: bytes } } else { Self { own: bytes, shared: 0 } }
    }

    /// All bytes.
    pub(crate) const fn total(self) -> usize {
        self.own as usize + self.shared as usize
    }
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Self) {
        self.own = self.own.saturating_add(other.own);
        self.shared = self.shared.saturating_add(other.shared);
    }
}

impl SubAssign for Held {
    fn sub_assign(&mut self, other: Self) {
        self.own = self.own.saturating_sub(other.own);
        self.shared = self.shared.saturating_sub(other.shared);
    }
}

impl SharedHeld {
    pub(super) fn set(&self, held: Held) {
        self.0.store(u64::from(held.own) << 32 | u64::from(held.shared), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Held {
        let both = self.0.load(Ordering::Relaxed);
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Held { own: half(both >> 32), shared: half(both) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_as_it_was_set() {
        let held = SharedHeld::default();
        assert_eq!(held.get(), Held::default());
        let mut expected = Held::new(7, false);
        expected += Held::new(usize::MAX, true);
        held.set(expected);
        assert_eq!(held.get(), Held { own: 7, shared: u32::MAX });
        assert_eq!(expected.total(), 7 + u32::MAX as usize);
        expected -= Held::new(9, false);
        assert_eq!(expected.own, 0);
    }
}
