//! Of whose presence a client was told on its socket. It is not counted, and so not sent again after a break; but what
//! was lost with a socket for certain is told anew on the next one.

use std::collections::HashSet;

use aldis_protocol::UserId;

/// Users of whom the client was told, and may not have heard yet. At most those whom the session watches or did watch a
/// moment ago; each pong proves that those from before its ping were heard of. Nothing is kept where there is none.
#[derive(Debug, Default)]
pub(super) struct Told(Option<Box<Unheard>>);

#[derive(Debug, Default)]
struct Unheard {
    before_ping: HashSet<UserId>,
    since: HashSet<UserId>,
}

impl Told {
    /// The client is being told of this user.
    pub(super) fn note(&mut self, user: UserId) {
        self.0.get_or_insert_default().since.insert(user);
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

    fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    #[test]
    fn a_pong_proves_what_came_before_its_ping() {
        let mut told = Told::default();
        told.note(user(1));
        told.pinged();
        told.note(user(2));
        told.ponged();
        assert_eq!(told.take().collect::<Vec<_>>(), [user(2)]);
        told.note(user(3));
        told.pinged();
        told.ponged();
        assert!(told.0.is_none());
        assert_eq!(told.take().count(), 0);
    }
}
