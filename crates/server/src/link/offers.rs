//! The sessions to which a session made an offer. Each may answer while both sessions last.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aldis_protocol::SessionId;

/// The most offers of a session that can still be answered: more than anybody has calls at once. The oldest goes
/// first.
const LIMIT: usize = 256;

/// The sessions to which a session made an offer, the latest last. Allocates only if there are some.
#[derive(Debug, Default)]
pub(crate) struct Offers(Mutex<Option<Box<Offered>>>);

#[derive(Debug, Default)]
struct Offered(VecDeque<SessionId>);

impl Offers {
    /// Adds a session that got an offer.
    pub(crate) fn note(&self, target: SessionId) {
        let mut offers = self.lock();
        let Offered(sessions) = &mut **offers.get_or_insert_default();
        sessions.retain(|session| *session != target);
        if sessions.len() == LIMIT {
            sessions.pop_front();
        }
        sessions.push_back(target);
    }

    /// Whether this session got an offer.
    pub(crate) fn include(&self, session: SessionId) -> bool {
        self.lock().as_ref().is_some_and(|offered| offered.0.contains(&session))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Offered>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn session(number: usize) -> SessionId {
        SessionId::new(Uuid::from_u128(number as u128))
    }

    #[test]
    fn the_oldest_offer_goes_first() {
        let offers = Offers::default();
        for number in 0..LIMIT {
            offers.note(session(number));
        }
        offers.note(session(0));
        offers.note(session(LIMIT));
        assert!(offers.include(session(0)) && offers.include(session(LIMIT)));
        assert!(!offers.include(session(1)));
    }
}
