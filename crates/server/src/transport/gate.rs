//! Limits the sockets that have not sent their proof, by address and in all.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::DashMap;

use crate::rate::AddressKey;

/// Unauthenticated sockets of one address.
const UNAUTHENTICATED_PER_ADDRESS: usize = 64;
/// Running handshakes of all addresses; the same as the limit on connections.
const HANDSHAKES: usize = 4_096;
const HANDSHAKES_WITHOUT_LIMITS: usize = 16_384;
/// Sessions of one node.
const SESSIONS: usize = 20_000;

/// Counts unauthenticated sockets.
#[derive(Debug)]
pub(crate) struct Gate {
    by_address: DashMap<AddressKey, usize>,
    in_all: AtomicUsize,
    per_address: usize,
    handshakes: usize,
}

/// The place of an unauthenticated socket; dropping it frees the place.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub(crate) struct Place {
    gate: Arc<Gate>,
    address: AddressKey,
}

impl Gate {
    /// An empty gate. If limits are off, one address may take all places, of which there are more.
    pub(crate) fn new(limited: bool) -> Arc<Self> {
        let per_address = if limited { UNAUTHENTICATED_PER_ADDRESS } else { usize::MAX };
        let handshakes = if limited { HANDSHAKES } else { HANDSHAKES_WITHOUT_LIMITS };
        Arc::new(Self { by_address: DashMap::new(), in_all: AtomicUsize::new(0), per_address, handshakes })
    }

    /// A place for a socket, if there is one. `sessions` is the number of sessions of the node.
    pub(crate) fn enter(self: &Arc<Self>, address: AddressKey, sessions: usize) -> Option<Place> {
        if sessions >= SESSIONS || self.in_all.load(Ordering::Relaxed) >= self.handshakes {
            return None;
        }
        let mut count = self.by_address.entry(address).or_insert(0);
        if *count >= address.share(self.per_address) {
            return None;
        }
        *count += 1;
        self.in_all.fetch_add(1, Ordering::Relaxed);
        Some(Place { gate: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.in_all.fetch_sub(1, Ordering::Relaxed);
        self.gate.by_address.remove_if_mut(&self.address, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn an_address_has_64_places_and_gets_them_back() {
        let gate = Gate::new(true);
        let address = AddressKey::from(IpAddr::from([192, 0, 2, 1]));
        let places: Vec<_> =
            (0..UNAUTHENTICATED_PER_ADDRESS).map(|_| gate.enter(address, 0).unwrap()).collect();
        assert!(gate.enter(address, 0).is_none());
        assert!(gate.enter(AddressKey::from(IpAddr::from([192, 0, 2, 2])), 0).is_some());
        drop(places);
        assert!(gate.by_address.is_empty());
        assert!(gate.enter(address, SESSIONS).is_none());
    }
}
