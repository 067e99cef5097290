//! The log lines about refused connections and sign-ins. Strangers can cause them, so each kind is written at most once in
//! ten seconds.

use aldis_protocol::{Door, ErrorCode, UserId};

use crate::{clock::Now, rate::OccasionalKinds};

/// How much of an origin is logged; a stranger chooses it.
const ORIGIN_CHARS: usize = 100;

/// When each kind of line was last written.
#[derive(Debug, Default)]
pub(crate) struct RefusalLines {
    doors: OccasionalKinds,
    sign_ins: OccasionalKinds,
}

/// How a user signs in, in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Password,
    /// The key of an identity, or of a device.
    Key,
    DeviceKey,
    Refresh,
}

impl RefusalLines {
    /// Logs that a door refused a connection. `origin` is given where it is the reason.
    pub(crate) fn refused_at(&self, door: Door, code: ErrorCode, origin: Option<&str>) {
        let (door, code) = (door.path(), code.as_str());
        if let Some(left_out) = self.doors.pass([door, code], Now::tick()) {
            let origin = origin.map(shortened);
            tracing::info!(door, code, origin, left_out, "connection refused");
        }
    }

    /// Logs that somebody could not sign in; `user` is whose account they named, if there is one.
    pub(crate) fn sign_in_refused(&self, method: Method, code: ErrorCode, user: Option<UserId>) {
        let (method, code) = (method.as_str(), code.as_str());
        if let Some(left_out) = self.sign_ins.pass([method, code], Now::tick()) {
            let user = user.map(tracing::field::display);
            tracing::info!(method, code, user, left_out, "sign-in refused");
        }
    }
}

impl Method {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Key => "key",
            Self::DeviceKey => "device_key",
            Self::Refresh => "refresh",
        }
    }
}

fn shortened(origin: &str) -> &str {
    origin.char_indices().nth(ORIGIN_CHARS).map_or(origin, |(end, _)| &origin[..end])
}
