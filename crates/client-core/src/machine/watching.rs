//! The presence of this device and its subscriptions: restored in each session.

use std::collections::VecDeque;

use aldis_protocol::{SetPresence, Status, UserRef, limits::MAX_USERS_PER_SUBSCRIBE};

use crate::purpose::BackgroundRequest;

/// Users that a session may watch (docs/protocol/messages.md).
const MAX_SUBSCRIPTIONS: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Watching {
    /// What the application set last.
    shown: Option<SetPresence<'static>>,
    /// The session does not have it.
    is_to_say: bool,
    /// The subscriptions, as the application named the users; at most [`MAX_SUBSCRIPTIONS`].
    watched: Vec<UserRef>,
    /// Subscriptions that the session does not have.
    to_watch: VecDeque<UserRef>,
}

impl Watching {
    /// Starts over in a fresh session, in which a device is online and has no subscriptions.
    pub(super) fn restart(&mut self) {
        self.is_to_say = self.shown.as_ref().is_some_and(|shown| *shown != FRESH);
        self.to_watch = self.watched.iter().copied().collect();
    }

    /// The next background request for presence.
    pub(super) fn next_request(&self) -> Option<BackgroundRequest> {
        if self.is_to_say {
            return Some(BackgroundRequest::Presence);
        }
        let next: Vec<_> = self.to_watch.iter().take(MAX_USERS_PER_SUBSCRIBE).copied().collect();
        (!next.is_empty()).then_some(BackgroundRequest::Subscribe(next))
    }

    /// The application has set its presence.
    pub(super) fn show(&mut self, presence: SetPresence<'static>) {
        (self.shown, self.is_to_say) = (Some(presence), false);
    }

    /// The presence to send now.
    pub(super) fn say(&mut self) -> Option<SetPresence<'static>> {
        self.is_to_say = false;
        self.shown.clone()
    }

    /// The presence was not taken, and has to be sent again.
    pub(super) fn say_again(&mut self) {
        self.is_to_say = true;
    }

    /// Whether the application would have more subscriptions than it may.
    pub(super) fn is_too_many(&self, users: &[UserRef]) -> bool {
        let new = users.iter().filter(|user| !self.watched.contains(user)).count();
        self.watched.len() + new > MAX_SUBSCRIPTIONS
    }

    /// The application has subscribed to these users.
    pub(super) fn watch(&mut self, users: Vec<UserRef>) {
        for user in users {
            if !self.watched.contains(&user) && self.watched.len() < MAX_SUBSCRIPTIONS {
                self.watched.push(user);
            }
        }
    }

    /// The application has unsubscribed from these users.
    pub(super) fn unwatch(&mut self, users: &[UserRef]) {
        self.watched.retain(|user| !users.contains(user));
        self.to_watch.retain(|user| !users.contains(user));
    }

    /// The next so many subscriptions are being requested.
    pub(super) fn subscribe(&mut self, count: usize) {
        self.to_watch.drain(..count.min(self.to_watch.len()));
    }

    /// These subscriptions failed, and have to be requested again.
    pub(super) fn subscribe_again(&mut self, users: Vec<UserRef>) {
        self.to_watch.extend(users.into_iter().filter(|user| self.watched.contains(user)));
    }
}

const FRESH: SetPresence<'static> = SetPresence { status: Status::Online, note: None };

#[cfg(test)]
mod tests {
    use aldis_protocol::UserId;
    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> UserRef {
        UserRef::Id(UserId::new(Uuid::from_u128(number)))
    }

    #[test]
    fn whom_it_watches_is_said_again_by_the_hundred() {
        let mut watching = Watching::default();
        watching.watch((0..150).map(user).collect());
        watching.unwatch(&[user(7)]);
        assert_eq!(watching.next_request(), None, "the session knows");
        watching.restart();
        let mut said = Vec::new();
        while let Some(BackgroundRequest::Subscribe(users)) = watching.next_request() {
            assert!(users.len() <= 100);
            watching.subscribe(users.len());
            said.extend(users);
        }
        assert_eq!(said, (0..150).filter(|it| *it != 7).map(user).collect::<Vec<_>>());
        watching.unwatch(&[user(1)]);
        watching.subscribe_again(vec![user(1), user(2)]);
        assert_eq!(watching.next_request(), Some(BackgroundRequest::Subscribe(vec![user(2)])));
    }

    #[test]
    fn at_most_500_are_watched() {
        let mut watching = Watching::default();
        let all: Vec<_> = (0..500).map(user).collect();
        assert!(!watching.is_too_many(&all));
        watching.watch(all.clone());
        assert!(!watching.is_too_many(&all) && watching.is_too_many(&[user(500)]));
    }

    #[test]
    fn only_what_a_fresh_session_does_not_show_is_said_again() {
        let mut watching = Watching::default();
        watching.restart();
        assert_eq!(watching.next_request(), None);
        for (status, is_said) in [(Status::Online, false), (Status::Away, true), (Status::Offline, true)] {
            watching.show(SetPresence { status, note: None });
            watching.restart();
            assert_eq!(watching.next_request().is_some(), is_said, "{status:?}");
        }
        assert_eq!(watching.say().unwrap().status, Status::Offline);
        assert_eq!(watching.next_request(), None);
    }
}
