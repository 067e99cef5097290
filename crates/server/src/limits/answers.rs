//! How much memory large HTTP answers may hold while their readers are slow.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::rate::{AddressKey, Placed, Places};

/// An answer up to this size is not counted.
pub(crate) const SMALL: usize = 64 * 1024;
/// What the large answers to one address may hold.
const PER_ADDRESS: usize = 8 * 1024 * 1024;
/// What all large answers may hold.
const IN_ALL: usize = 64 * 1024 * 1024;

/// The memory of large answers that their readers have not read yet.
#[derive(Debug)]
pub(crate) struct Answers {
    in_all: Arc<AtomicUsize>,
    by_address: Arc<Places<AddressKey>>,
}

/// The memory of one answer, until it is dropped.
pub(crate) struct Reserved {
    in_all: Arc<AtomicUsize>,
    bytes: usize,
    _of_address: Option<Placed<AddressKey>>,
}

impl Answers {
    /// Nothing is held.
    pub(crate) fn new() -> Self {
        Self { in_all: Arc::default(), by_address: Places::new() }
    }

    /// How many bytes large answers hold.
    pub(crate) fn held(&self) -> usize {
        self.in_all.load(Relaxed)
    }

    /// Reserves memory for an answer to an address. None if there is too little.
    pub(crate) fn reserve(&self, address: AddressKey, bytes: usize) -> Option<Reserved> {
        let of_address = self.by_address.take(address, bytes, address.share(PER_ADDRESS))?;
        let fits = |held: usize| held.checked_add(bytes).filter(|held| *held <= IN_ALL);
        self.in_all.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Reserved { in_all: Arc::clone(&self.in_all), bytes, _of_address: Some(of_address) })
    }

    /// Reserves memory beyond the limits, for an answer that must not be refused.
    pub(crate) fn reserve_anyway(&self, bytes: usize) -> Reserved {
        self.in_all.fetch_add(bytes, Relaxed);
        Reserved { in_all: Arc::clone(&self.in_all), bytes, _of_address: None }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.in_all.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(last: u8) -> AddressKey {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn an_address_holds_so_much_and_all_together_so_much() {
        let answers = Answers::new();
        let mut held = Vec::new();
        for last in 0..=255 {
            while let Some(reserved) = answers.reserve(address(last), 1024 * 1024) {
                held.push(reserved);
            }
            assert_eq!(held.len(), (8 * (usize::from(last) + 1)).min(64));
        }
        drop(answers.reserve_anyway(1));
        drop(held);
        assert_eq!(answers.held(), 0);
    }
}
