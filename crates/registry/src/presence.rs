//! How devices and users show themselves (docs/protocol/messages.md).

use std::sync::Arc;

use aldis_protocol::{SessionId, Status, UserId};

use crate::Registry;

/// How the device of a session shows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePresence {
    /// What it says of itself.
    pub status: Status,
    /// Its line for people.
    pub note: Option<Arc<str>>,
    /// When it said so, on any clock that never goes back.
    pub said_at: u64,
    /// Its client closed the connection: it shows itself as offline until the client is back.
    pub has_left: bool,
}

/// How a user shows himself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPresence {
    /// The status of his most available device.
    pub status: Status,
    /// That device's line for people. Of devices that are equally available, the one that has a line, and then the one
    /// that spoke last.
    pub note: Option<Arc<str>>,
    /// On how many devices he shows himself.
    pub devices: u32,
}

impl DevicePresence {
    /// A device that has said nothing yet.
    pub const FRESH: Self = Self { status: Status::Online, note: None, said_at: 0, has_left: false };

    /// Whether it shows itself at all.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        !self.has_left && self.status != Status::Offline
    }
}

impl UserPresence {
    /// Somebody who is not here, or does not show it.
    pub const OFFLINE: Self = Self { status: Status::Offline, note: None, devices: 0 };

    /// How somebody with these devices shows himself.
    ///
    /// ```
    /// use aldis_protocol::Status;
    /// use aldis_registry::{DevicePresence, UserPresence};
    ///
    /// let busy = DevicePresence { status: Status::Busy, ..DevicePresence::FRESH };
    /// let away = DevicePresence { status: Status::Away, note: Some("lunch".into()), ..DevicePresence::FRESH };
    /// let user = UserPresence::of([&busy, &away]);
    /// assert_eq!((user.status, user.note.as_deref(), user.devices), (Status::Away, Some("lunch"), 2));
    /// ```
    pub fn of<'a>(devices: impl IntoIterator<Item = &'a DevicePresence>) -> Self {
        let mut visible: Vec<_> = devices.into_iter().filter(|device| device.is_visible()).collect();
        visible.sort_by_key(|device| (device.status, device.note.is_some(), device.said_at));
        visible.last().map_or(Self::OFFLINE, |best| Self {
            status: best.status,
            note: best.note.clone(),
            devices: u32::try_from(visible.len()).unwrap_or(u32::MAX),
        })
    }

    /// Whether anything of him is to be seen.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.devices > 0
    }
}

impl<H: Clone> Registry<H> {
    /// Sets how a session's device shows itself, and gives how it did before; none where the session is not here. What
    /// a client said that has left counts once it is back.
    ///
    /// The watchers of its user are to be told after a [`refresh`](Self::refresh).
    pub fn present(
        &self,
        user: UserId,
        session: SessionId,
        presence: DevicePresence,
    ) -> Option<DevicePresence> {
        self.change_presence(user, session, |present| {
            let has_left = present.has_left;
            std::mem::replace(present, DevicePresence { has_left, ..presence })
        })
    }

    /// Notes that a session's client has closed its connection and may come back, or that it is back. Gives how the
    /// device showed itself before, as [`present`](Self::present) does.
    pub fn set_left(&self, user: UserId, session: SessionId, has_left: bool) -> Option<DevicePresence> {
        self.change_presence(user, session, |present| {
            let former = present.clone();
            present.has_left = has_left;
            former
        })
    }
}
