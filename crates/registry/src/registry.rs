//! The sessions of a node.

use aldis_protocol::{DeviceId, SessionId, UserId};
use dashmap::{DashMap, Entry};

use crate::{
    DevicePresence, UserPresence,
    rooms::{Departure, Joined, Rooms},
    subscriptions::Subscriptions,
};

/// The live sessions of a node. All methods take `&self` and may be called from any thread.
#[derive(Debug)]
pub struct Registry<H> {
    pub(crate) users: DashMap<UserId, Vec<Here<H>>>,
    devices: DashMap<DeviceId, Indexed<H>>,
    pub(crate) rooms: Rooms<H>,
    pub(crate) subscriptions: Subscriptions<H>,
}

/// A session in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached<H> {
    /// Its id.
    pub session: SessionId,
    /// Its device; no two sessions have the same one.
    pub device: DeviceId,
    /// Its claim to the device.
    pub claim: DeviceClaim,
    /// The handle that reaches it.
    pub handle: H,
}

/// A session's claim to its device: a number drawn when the upgrade request of its socket arrived. Of two sessions on
/// one device the one with the larger claim stays, whichever is [attached](Registry::attach) first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DeviceClaim(u64);

impl DeviceClaim {
    /// The claim of the upgrade request with this number.
    #[must_use]
    pub const fn new(order: u64) -> Self {
        Self(order)
    }
}

/// The outcome of an [`attach`](Registry::attach).
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a replaced session does not know it yet"]
pub enum Attachment<H> {
    /// The session is in the registry.
    Attached {
        /// The previous session on the same device, which was removed.
        replaced: Option<Attached<H>>,
    },
    /// The user has the maximum number of sessions on other devices; nothing changed.
    TooMany,
    /// The session on the same device has a larger claim; nothing changed.
    Superseded,
}

/// A session with its rooms, in the order of their names.
#[derive(Debug)]
pub(crate) struct Here<H> {
    pub(crate) attached: Attached<H>,
    pub(crate) presence: DevicePresence,
    pub(crate) rooms: Vec<Joined>,
}

#[derive(Debug)]
struct Indexed<H> {
    user: UserId,
    session: SessionId,
    handle: H,
}

impl<H> Default for Registry<H> {
    fn default() -> Self {
        Self {
            users: DashMap::new(),
            devices: DashMap::new(),
            rooms: Rooms::default(),
            subscriptions: Subscriptions::default(),
        }
    }
}

impl<H: Clone> Registry<H> {
    /// Adds a session. It replaces the session on the same device, which leaves its rooms, unless that one has a
    /// larger claim. `limit` is the maximum number of sessions of a user. `tell` must not call the registry.
    pub fn attach(
        &self,
        user: UserId,
        attached: Attached<H>,
        limit: usize,
        tell: impl FnMut(&Departure<'_, H>),
    ) -> Attachment<H> {
        let mut entry = match self.users.entry(user) {
            Entry::Occupied(entry) => entry.into_ref(),
            Entry::Vacant(entry) => entry.insert(Vec::new()),
        };
        let sessions = entry.value_mut();
        let same_device = sessions.iter().position(|other| other.attached.device == attached.device);
        match same_device {
            None if sessions.len() >= limit => return Attachment::TooMany,
            Some(index) if sessions[index].attached.claim > attached.claim => return Attachment::Superseded,
            None | Some(_) => {}
        }
        let replaced = same_device.map(|index| self.leave_all(user, sessions.swap_remove(index), tell));
        let indexed = Indexed { user, session: attached.session, handle: attached.handle.clone() };
        self.devices.insert(attached.device.clone(), indexed);
        // There are many users, and each has few sessions.
        sessions.reserve_exact(1);
        sessions.push(Here { attached, presence: DevicePresence::FRESH, rooms: Vec::new() });
        Attachment::Attached { replaced }
    }

    /// Removes exactly this session, which leaves its rooms; a session that has replaced it stays. `tell` must not
    /// call the registry.
    pub fn detach(
        &self,
        user: UserId,
        session: SessionId,
        tell: impl FnMut(&Departure<'_, H>),
    ) -> Option<Attached<H>> {
        let Entry::Occupied(mut entry) = self.users.entry(user) else { return None };
        let sessions = entry.get_mut();
        let index = sessions.iter().position(|here| here.attached.session == session)?;
        let detached = self.leave_all(user, sessions.swap_remove(index), tell);
        self.devices.remove_if(&detached.device, |_, indexed| indexed.session == session);
        if sessions.is_empty() {
            entry.remove();
        }
        Some(detached)
    }

    /// Gives a session the claim of another socket. Does nothing and returns false if the session is not here or has a
    /// larger claim.
    #[must_use = "a socket with a smaller claim does not get the session"]
    pub fn renew_claim(&self, user: UserId, session: SessionId, claim: DeviceClaim) -> bool {
        let Some(mut sessions) = self.users.get_mut(&user) else { return false };
        let here = sessions.iter_mut().find(|here| here.attached.session == session);
        let Some(here) = here.filter(|here| here.attached.claim <= claim) else { return false };
        here.attached.claim = claim;
        true
    }

    /// The session on a device, and its user.
    #[must_use]
    pub fn on_device(&self, device: &DeviceId) -> Option<(UserId, H)> {
        self.devices.get(device).map(|indexed| (indexed.user, indexed.handle.clone()))
    }

    /// The sessions of a user.
    #[must_use]
    pub fn of_user(&self, user: UserId) -> Vec<Attached<H>> {
        let sessions = self.users.get(&user);
        sessions
            .map(|sessions| sessions.iter().map(|here| here.attached.clone()).collect())
            .unwrap_or_default()
    }

    /// The presence of a user.
    #[must_use]
    pub fn presence(&self, user: UserId) -> UserPresence {
        let sessions = self.users.get(&user);
        sessions.map_or(UserPresence::OFFLINE, |here| UserPresence::of(here.iter().map(|one| &one.presence)))
    }

    /// The presence of a session's device.
    #[must_use]
    pub fn presence_of_session(&self, user: UserId, session: SessionId) -> Option<DevicePresence> {
        let sessions = self.users.get(&user)?;
        let here = sessions.iter().find(|here| here.attached.session == session)?;
        Some(here.presence.clone())
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

    /// All sessions.
    #[must_use]
    pub fn all(&self) -> Vec<H> {
        self.devices.iter().map(|indexed| indexed.handle.clone()).collect()
    }

    /// Calls `visit` for each session. It must not call the registry, because a part of the registry is locked
    /// meanwhile.
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

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Changes the presence of a session's device, if the session is here.
    pub(crate) fn change_presence<T>(
        &self,
        user: UserId,
        session: SessionId,
        change: impl FnOnce(&mut DevicePresence) -> T,
    ) -> Option<T> {
        let mut sessions = self.users.get_mut(&user)?;
        let here = sessions.iter_mut().find(|here| here.attached.session == session)?;
        Some(change(&mut here.presence))
    }
}
