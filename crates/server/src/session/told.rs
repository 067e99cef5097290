//! Of whose presence a client was told on its socket. It is not counted, and so not sent again after a break; but what
//! may have been lost with a socket is told anew on the next one, as it is by then.

use std::collections::HashSet;

use aldis_protocol::{UserId, limits::MAX_SUBSCRIPTIONS};

/// Users that are kept at most. A session watches half as many; where there are more, those whom it watches no more are
/// forgotten.
const LIMIT: usize = 2 * MAX_SUBSCRIPTIONS;

/// Users of whom the client was told, and may not have heard yet: what is written to a socket that breaks, or is closed
/// by whichever side, may never be read. Each pong proves that those from before its ping were heard of. Nothing is kept
/// where there is none.
#[derive(Debug, Default)]
pub(super) struct Told(Option<Box<Unheard>>);

#[derive(Debug, Default)]
struct Unheard {
    before_ping: HashSet<UserId>,
    since: HashSet<UserId>,
}

impl Told {
    /// The client is being told of this user.
    pub(super) fn note(&mut self, user: UserId, is_watched: impl Fn(UserId) -> bool) {
        let Unheard { before_ping, since } = &mut **self.0.get_or_insert_default();
        before_ping.remove(&user);
        since.insert(user);
        if before_ping.len() + since.len() > LIMIT {
            before_ping.retain(|user| is_watched(*user));
            since.retain(|user| is_watched(*user));
        }
    }

    /// A ping goes out behind what was told.
    pub(super) fn pinged(&mut self) {
        if let Some(unheard) = &mut self.0 {
            unheard.before_ping.extend(unheard.since.drain());
        }
    }

    /// Its pong came.
    pub(super) fn ponged(&mut self) {
        if let Some(unheard) = &mut self.0 {
            unheard.before_ping.clear();
            if unheard.since.is_empty() {
                self.0 = None;
            }
        }
    }

    /// The socket is gone. Gives those of whom nobody knows whether the client has heard.
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
        let mut told = Told::default();
        told.note(user(1), always);
        told.note(user(2), always);
        told.pinged();
        told.note(user(2), always);
        told.ponged();
        assert_eq!(told.take().collect::<Vec<_>>(), [user(2)]);
        told.note(user(3), always);
        told.pinged();
        told.ponged();
        assert!(told.0.is_none());
        assert_eq!(told.take().count(), 0);
    }

    #[test]
    fn whoever_watches_others_all_the_time_has_only_those_kept_whom_he_watches() {
        let mut told = Told::default();
        for number in 0..10 * LIMIT {
            told.note(user(number), |other| {
                number < MAX_SUBSCRIPTIONS || user(number - MAX_SUBSCRIPTIONS) < other
            });
            if number == LIMIT / 2 {
                told.pinged();
            }
        }
        assert!((MAX_SUBSCRIPTIONS..=LIMIT).contains(&told.take().count()));
    }
}
