//! The presence of devices and users (docs/protocol/messages.md).

use std::sync::Arc;

use aldis_protocol::{SessionId, Status, UserId};

use crate::Registry;

/// The presence of a session's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePresence {
    /// The status that the client set.
    pub status: Status,
    /// The note that the client set.
    pub note: Option<Arc<str>>,
    /// When the client set it, by any clock that never goes back.
    pub said_at: u64,
    /// The client closed its connection; the device counts as offline until the client resumes.
    pub has_left: bool,
}

/// The presence of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPresence {
    /// The status of the most available device.
    pub status: Status,
    /// The note of that device. Of equally available devices, one with a note comes first, then the one that set its
    /// status last.
    pub note: Option<Arc<str>>,
    /// How many devices are visible.
    pub devices: u32,
}

impl DevicePresence {
    /// A device that has set nothing yet.
    pub const FRESH: Self = Self { status: Status::Online, note: None, said_at: 0, has_left: false };

    /// Whether the device is visible.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        !self.has_left && self.status != Status::Offline
    }
}

impl UserPresence {
    /// A user without a visible device.
    pub const OFFLINE: Self = Self { status: Status::Offline, note: None, devices: 0 };

    /// The presence of a user with these devices.
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

    /// Whether the user is visible.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.devices > 0
    }
}

impl<H: Clone> Registry<H> {
    /// Sets the presence of a session's device and returns the previous one; `None` if the session is not here. If the
    /// client has left, this counts once it is back.
    ///
    /// The caller must [`refresh`](Self::refresh) the user afterwards and tell the watchers.
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

    /// Records that a session's client has closed its connection and may come back, or that it is back. Returns the
    /// previous presence, as [`present`](Self::present) does.
    pub fn set_left(&self, user: UserId, session: SessionId, has_left: bool) -> Option<DevicePresence> {
        self.change_presence(user, session, |present| {
            let former = present.clone();
            present.has_left = has_left;
            former
        })
    }
}
