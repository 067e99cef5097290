//! The sessions of a node.

use aldis_protocol::{DeviceId, SessionId, UserId};
use dashmap::{DashMap, Entry};

/// The live sessions of a node. All methods take `&self` and may be called from any thread.
#[derive(Debug)]
pub struct Registry<H> {
    users: DashMap<UserId, Vec<Attached<H>>>,
    devices: DashMap<DeviceId, Indexed<H>>,
}

/// A session that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached<H> {
    /// Its id.
    pub session: SessionId,
    /// The device it is on; no two sessions have the same.
    pub device: DeviceId,
    /// What reaches it.
    pub handle: H,
}

/// What became of an [`attach`](Registry::attach).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a replaced session does not know it yet"]
pub enum Attachment<H> {
    /// The session is here.
    Attached {
        /// The session that was here on the same device; it is no longer.
        replaced: Option<Attached<H>>,
    },
    /// The user has as many sessions as he may, on other devices; nothing changed.
    TooMany,
}

#[derive(Debug)]
struct Indexed<H> {
    user: UserId,
    session: SessionId,
    handle: H,
}

impl<H> Default for Registry<H> {
    fn default() -> Self {
        Self { users: DashMap::new(), devices: DashMap::new() }
    }
}

impl<H: Clone> Registry<H> {
    /// Makes a session reachable, in place of the one on the same device. `limit` is how many a user may have.
    pub fn attach(&self, user: UserId, attached: Attached<H>, limit: usize) -> Attachment<H> {
        let mut entry = match self.users.entry(user) {
            Entry::Occupied(entry) => entry.into_ref(),
            Entry::Vacant(entry) => entry.insert(Vec::with_capacity(1)),
        };
        let sessions = entry.value_mut();
        let same_device = sessions.iter().position(|other| other.device == attached.device);
        if same_device.is_none() && sessions.len() >= limit {
            return Attachment::TooMany;
        }
        let replaced = same_device.map(|index| sessions.swap_remove(index));
        let indexed = Indexed { user, session: attached.session, handle: attached.handle.clone() };
        self.devices.insert(attached.device.clone(), indexed);
        sessions.push(attached);
        Attachment::Attached { replaced }
    }

    /// Takes away exactly this session; one that took its place stays.
    pub fn detach(&self, user: UserId, session: SessionId) -> Option<Attached<H>> {
        let Entry::Occupied(mut entry) = self.users.entry(user) else { return None };
        let sessions = entry.get_mut();
        let index = sessions.iter().position(|attached| attached.session == session)?;
        let detached = sessions.swap_remove(index);
        self.devices.remove_if(&detached.device, |_, indexed| indexed.session == session);
        if sessions.is_empty() {
            entry.remove();
        }
        Some(detached)
    }

    /// The session on a device, and its user.
    #[must_use]
    pub fn on_device(&self, device: &DeviceId) -> Option<(UserId, H)> {
        self.devices.get(device).map(|indexed| (indexed.user, indexed.handle.clone()))
    }

    /// The sessions of a user.
    #[must_use]
    pub fn of_user(&self, user: UserId) -> Vec<Attached<H>> {
        self.users.get(&user).map(|sessions| sessions.clone()).unwrap_or_default()
    }

    /// Whether a user has a session.
    #[must_use]
    pub fn has_user(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    /// Whether a device has a session.
    #[must_use]
    pub fn is_online(&self, device: &DeviceId) -> bool {
        self.devices.contains_key(device)
    }

    /// All sessions, for what concerns the whole node.
    #[must_use]
    pub fn all(&self) -> Vec<H> {
        self.devices.iter().map(|indexed| indexed.handle.clone()).collect()
    }

    /// Shows each session to `visit`, which must not call the registry: part of it is locked meanwhile.
    pub fn for_each(&self, mut visit: impl FnMut(&H)) {
        for indexed in &self.devices {
            visit(&indexed.handle);
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether nobody is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }
}
