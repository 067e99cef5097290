//! Which users' presence the client was told on its socket. Presence is not counted, so a resume does not replay it;
//! what may have been lost with a socket is sent again on the next one, in its latest form.

use std::collections::HashSet;

use aldis_protocol::{UserId, limits::MAX_SUBSCRIPTIONS};

/// The most users that are kept. A session watches half as many; above the limit, users whom it no longer watches are
/// dropped.
const LIMIT: usize = 2 * MAX_SUBSCRIPTIONS;

/// Users whose presence was sent and not yet proved to be received: a broken or closed socket may lose it. Each pong
/// proves that everything before its ping was received. Allocates only if there are some.
#[derive(Debug, Default)]
pub(super) struct UnackedPresence(Option<Box<Unheard>>);

#[derive(Debug, Default)]
struct Unheard {
    before_ping: HashSet<UserId>,
    since: HashSet<UserId>,
}

impl UnackedPresence {
    /// This user's presence is being sent.
    pub(super) fn note(&mut self, user: UserId, is_watched: impl Fn(UserId) -> bool) {
        let Unheard { before_ping, since } = &mut **self.0.get_or_insert_default();
        before_ping.remove(&user);
        since.insert(user);
        if before_ping.len() + since.len() > LIMIT {
            before_ping.retain(|user| is_watched(*user));
            since.retain(|user| is_watched(*user));
        }
    }

    /// A ping was sent.
    pub(super) fn pinged(&mut self) {
        if let Some(unheard) = &mut self.0 {
            unheard.before_ping.extend(unheard.since.drain());
        }
    }

    /// The pong to the last ping arrived.
    pub(super) fn ponged(&mut self) {
        if let Some(unheard) = &mut self.0 {
            unheard.before_ping.clear();
            if unheard.since.is_empty() {
                self.0 = None;
            }
        }
    }

    /// The socket is gone. Returns the users whose presence may have been lost.
    pub(super) fn take(&mut self) -> impl Iterator<Item = UserId> + use<> {
        self.0.take().into_iter().flat_map(|unheard| unheard.before_ping.into_iter().chain(unheard.since))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn user(number: usize) -> UserId {
        UserId::new(Uuid::from_u128(number as u128))
    }

    fn always(_: UserId) -> bool {
        true
    }

    #[test]
    fn a_pong_proves_what_came_before_its_ping() {
        let mut unacked = UnackedPresence::default();
        unacked.note(user(1), always);
        unacked.note(user(2), always);
        unacked.pinged();
        unacked.note(user(2), always);
        unacked.ponged();
        assert_eq!(unacked.take().collect::<Vec<_>>(), [user(2)]);
        unacked.note(user(3), always);
        unacked.pinged();
        unacked.ponged();
        assert!(unacked.0.is_none());
        assert_eq!(unacked.take().count(), 0);
    }

    #[test]
    fn users_no_longer_watched_are_dropped() {
        let mut unacked = UnackedPresence::default();
        for number in 0..10 * LIMIT {
            unacked.note(user(number), |other| {
                number < MAX_SUBSCRIPTIONS || user(number - MAX_SUBSCRIPTIONS) < other
            });
            if number == LIMIT / 2 {
                unacked.pinged();
            }
        }
        assert!((MAX_SUBSCRIPTIONS..=LIMIT).contains(&unacked.take().count()));
    }
}
