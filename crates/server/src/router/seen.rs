//! When devices were last connected, and when others last saw users: collected here, written together every few
//! seconds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use aldis_protocol::{DeviceId, UserId};

use super::Router;
use crate::clock::unix_ms_i64;

/// Devices, and users, that may wait to be written down; of more, the time is known no better than before.
const LIMIT: usize = 65_536;

/// What was not written down yet.
#[derive(Debug, Default)]
pub(super) struct Seen {
    devices: Mutex<HashMap<DeviceId, i64>>,
    users: Mutex<Users>,
}

#[derive(Debug, Default)]
struct Users {
    waiting: BTreeMap<UserId, i64>,
    /// What is being written: until that is done, nobody but this knows it.
    writing: BTreeMap<UserId, i64>,
}

impl Seen {
    /// A device is connected now, or was until now.
    pub(super) fn note(&self, device: &DeviceId) {
        if device.is_ephemeral() {
            return;
        }
        let mut seen = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < LIMIT || seen.contains_key(device) {
            seen.insert(device.clone(), unix_ms_i64());
        }
    }

    /// A user shows himself at this time, or did until then.
    pub(super) fn note_user(&self, user: UserId, at_ms: i64) {
        self.users().note(user, at_ms);
    }

    /// When a user was last seen, where that is not written down yet.
    pub(super) fn of_user(&self, user: UserId) -> Option<i64> {
        let users = self.users();
        users.waiting.get(&user).max(users.writing.get(&user)).copied()
    }

    fn take_devices(&self) -> Vec<(DeviceId, i64)> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    fn begin_writing_users(&self) -> BTreeMap<UserId, i64> {
        let mut users = self.users();
        // Somebody may have begun to write them and been stopped.
        let left = std::mem::take(&mut users.writing);
        left.into_iter().for_each(|(user, at_ms)| users.note(user, at_ms));
        users.writing = std::mem::take(&mut users.waiting);
        users.writing.clone()
    }

    /// What could not be written waits for the next time.
    fn end_writing_users(&self, written: bool) {
        let mut users = self.users();
        let writing = std::mem::take(&mut users.writing);
        if !written {
            writing.into_iter().for_each(|(user, at_ms)| users.note(user, at_ms));
        }
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Users {
    fn note(&mut self, user: UserId, at_ms: i64) {
        if self.waiting.len() < LIMIT || self.waiting.contains_key(&user) {
            let known = self.waiting.entry(user).or_insert(at_ms);
            *known = (*known).max(at_ms);
        }
    }
}

impl Router {
    /// Writes down when devices were last connected, and users last seen.
    pub(crate) async fn write_seen(&self) {
        let seen = self.seen.take_devices();
        if let Err(error) = self.store.set_last_seen(&seen).await {
            tracing::warn!(%error, devices = seen.len(), "cannot write down when devices were last connected");
        }
        let seen = self.seen.begin_writing_users();
        let written = self.store.set_sightings(&seen).await;
        self.seen.end_writing_users(written.is_ok());
        if let Err(error) = written {
            tracing::warn!(%error, users = seen.len(), "cannot write down when users were last seen");
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const USER: UserId = UserId::new(Uuid::from_u128(1));

    #[test]
    fn a_user_is_known_from_here_until_he_is_written_down() {
        let seen = Seen::default();
        assert_eq!(seen.of_user(USER), None);
        seen.note_user(USER, 7);
        seen.note_user(USER, 5);
        let at_ms = Some(7);
        assert_eq!(seen.of_user(USER), at_ms);
        assert_eq!(seen.begin_writing_users().len(), 1);
        assert_eq!(seen.of_user(USER), at_ms, "while it is written");
        seen.end_writing_users(false);
        assert_eq!(seen.of_user(USER), at_ms, "it could not be written");
        seen.begin_writing_users();
        assert_eq!(seen.begin_writing_users().len(), 1, "whoever wrote it was stopped");
        seen.end_writing_users(true);
        assert_eq!(seen.of_user(USER), None);
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut users = Users::default();
        for number in 0..=LIMIT {
            users.note(UserId::new(Uuid::from_u128(number as u128)), 1);
        }
        assert_eq!(users.waiting.len(), LIMIT);
        users.note(UserId::new(Uuid::from_u128(0)), 2);
        assert_eq!(users.waiting.get(&UserId::new(Uuid::from_u128(0))), Some(&2));
    }
}
