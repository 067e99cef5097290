//! When devices were last connected and users last seen: collected here, and written together every few seconds.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aldis_protocol::{DeviceId, UserId};

use super::Accounts;
use crate::clock::Now;

/// How many devices, and how many users, may wait to be written. Further times are dropped, so the last written ones stay.
const LIMIT: usize = 65_536;

/// The times that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct LastSeen {
    devices: Mutex<Times<DeviceId>>,
    users: Mutex<Times<UserId>>,
}

#[derive(Debug)]
struct Times<K> {
    waiting: BTreeMap<K, i64>,
    /// The times that are being written: until that is done, only this knows them.
    writing: BTreeMap<K, i64>,
}

impl LastSeen {
    /// Notes that a device is connected now, or was until now.
    pub(crate) fn note(&self, device: &DeviceId, now: Now) {
        if !device.is_ephemeral() {
            lock(&self.devices).note(device.clone(), now.store_ms());
        }
    }

    /// Notes that a user is visible at this time, or was until then.
    pub(crate) fn note_user(&self, user: UserId, at_ms: i64) {
        lock(&self.users).note(user, at_ms);
    }

    /// When a device was last connected, if that is not written yet.
    pub(crate) fn of_device(&self, device: &DeviceId) -> Option<i64> {
        lock(&self.devices).of(device)
    }

    /// When a user was last seen, if that is not written yet.
    pub(crate) fn of_user(&self, user: UserId) -> Option<i64> {
        lock(&self.users).of(&user)
    }
}

impl<K> Default for Times<K> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), writing: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Times<K> {
    fn note(&mut self, who: K, at_ms: i64) {
        if self.waiting.len() < LIMIT || self.waiting.contains_key(&who) {
            let known = self.waiting.entry(who).or_insert(at_ms);
            *known = (*known).max(at_ms);
        }
    }

    fn of(&self, who: &K) -> Option<i64> {
        self.waiting.get(who).max(self.writing.get(who)).copied()
    }

    fn begin_writing(&mut self) -> BTreeMap<K, i64> {
        // A task that began to write may have been stopped.
        self.wait_again();
        self.writing = std::mem::take(&mut self.waiting);
        self.writing.clone()
    }

    /// Times that could not be written wait for the next attempt.
    fn end_writing(&mut self, written: bool) {
        if written {
            self.writing.clear();
        } else {
            self.wait_again();
        }
    }

    fn wait_again(&mut self) {
        let left = std::mem::take(&mut self.writing);
        left.into_iter().for_each(|(who, at_ms)| self.note(who, at_ms));
    }
}

fn lock<K>(times: &Mutex<Times<K>>) -> MutexGuard<'_, Times<K>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Accounts {
    /// Writes when devices were last connected and users last seen.
    pub(crate) async fn write_last_seen(&self) {
        let seen: Vec<_> = lock(&self.last_seen.devices).begin_writing().into_iter().collect();
        let written = self.store.set_last_seen(&seen).await;
        lock(&self.last_seen.devices).end_writing(written.is_ok());
        if let Err(error) = written {
            tracing::warn!(%error, devices = seen.len(), "cannot write when devices were last connected");
        }
        let seen = lock(&self.last_seen.users).begin_writing();
        let written = self.store.set_sightings(&seen).await;
        lock(&self.last_seen.users).end_writing(written.is_ok());
        if let Err(error) = written {
            tracing::warn!(%error, users = seen.len(), "cannot write when users were last seen");
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const USER: UserId = UserId::new(Uuid::from_u128(1));

    #[test]
    fn a_user_is_known_from_here_until_they_are_written_down() {
        let last_seen = LastSeen::default();
        let (begin, end) = (
            || lock(&last_seen.users).begin_writing(),
            |written| lock(&last_seen.users).end_writing(written),
        );
        assert_eq!(last_seen.of_user(USER), None);
        last_seen.note_user(USER, 7);
        last_seen.note_user(USER, 5);
        let at_ms = Some(7);
        assert_eq!(last_seen.of_user(USER), at_ms);
        assert_eq!(begin().len(), 1);
        assert_eq!(last_seen.of_user(USER), at_ms, "while it is written");
        end(false);
        assert_eq!(last_seen.of_user(USER), at_ms, "it could not be written");
        begin();
        assert_eq!(begin().len(), 1, "the task that wrote it was stopped");
        end(true);
        assert_eq!(last_seen.of_user(USER), None);
    }

    #[test]
    fn a_device_that_left_was_last_seen_at_no_time_until_that_was_written_down() {
        let last_seen = LastSeen::default();
        let phone = DeviceId::new("phone").unwrap();
        assert_eq!(last_seen.of_device(&phone), None);
        last_seen.note(&phone, Now { tick: 0, unix_ms: 7 });
        let first = last_seen.of_device(&phone);
        assert_eq!(first, Some(7));
        lock(&last_seen.devices).begin_writing();
        assert_eq!(last_seen.of_device(&phone), first, "while it is written");
        lock(&last_seen.devices).end_writing(true);
        assert_eq!(last_seen.of_device(&phone), None);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut times = Times::default();
        for number in 0..=LIMIT {
            times.note(UserId::new(Uuid::from_u128(number as u128)), 1);
        }
        assert_eq!(times.waiting.len(), LIMIT);
        times.note(UserId::new(Uuid::from_u128(0)), 2);
        assert_eq!(times.waiting.get(&UserId::new(Uuid::from_u128(0))), Some(&2));
    }
}
