//! A session in the registry, as long as somebody serves it or is about to.

use std::sync::Arc;

use crate::{
    link::{Leftovers, SessionHandle},
    relay::{Admission, Relay},
};

/// Keeps a session in the registry. Dropping it detaches the session: also where the code between registration and
/// serving panics, or its task is dropped, nobody stays registered who is not served.
#[must_use = "dropping it detaches the session"]
pub(super) struct Registration {
    relay: Arc<Relay>,
    session: Arc<SessionHandle>,
    is_over: bool,
}

/// Why a session is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRegistered {
    /// The user has as many sessions as they may have.
    TooMany,
    /// A socket that came in later has the device.
    Superseded,
}

impl Registration {
    /// Makes a session reachable. `proved_at` is as in [`Relay::attach`].
    pub(super) fn begin(
        relay: &Arc<Relay>,
        session: Arc<SessionHandle>,
        proved_at: i64,
    ) -> Result<Self, NotRegistered> {
        // Before it is attached, so that a panic on the way detaches it.
        let mut registration = Self { relay: Arc::clone(relay), session, is_over: false };
        let refused = match relay.attach(&registration.session, proved_at) {
            Admission::Admitted => return Ok(registration),
            Admission::TooMany => NotRegistered::TooMany,
            Admission::Superseded => NotRegistered::Superseded,
        };
        registration.is_over = true;
        Err(refused)
    }

    /// The way to the session.
    pub(super) const fn session(&self) -> &Arc<SessionHandle> {
        &self.session
    }

    /// Detaches the session and gives back what waited for it.
    pub(super) fn end(&mut self) -> Leftovers {
        self.is_over = true;
        self.relay.detach(&self.session)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.is_over {
            // Sockets that were handed to the session go back to those who wait for the answer.
            drop(self.end());
        }
    }
}
