//! A session's entry in the registry, for as long as a task serves it or is about to.

use std::sync::Arc;

use crate::{
    clock::Now,
    link::{Leftovers, SessionHandle},
    relay::{Admission, Relay},
};

/// Keeps a session in the registry. Dropping it detaches the session, so that a panic before serving, or a dropped
/// task, leaves no entry behind.
#[must_use = "dropping it detaches the session"]
pub(super) struct Registration {
    relay: Arc<Relay>,
    session: Arc<SessionHandle>,
    is_over: bool,
}

/// Why a session could not be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRegistered {
    /// The user has as many sessions as they may have.
    TooMany,
    /// A newer socket has the device.
    Superseded,
}

impl Registration {
    /// Makes a session reachable. `proved_at` is as in [`Relay::attach`].
    pub(super) fn begin(
        relay: &Arc<Relay>,
        session: Arc<SessionHandle>,
        proved_at: i64,
        now: Now,
    ) -> Result<Self, NotRegistered> {
        // Created before attaching, so that a panic in between detaches the session.
        let mut registration = Self { relay: Arc::clone(relay), session, is_over: false };
        let refused = match relay.attach(&registration.session, proved_at, now) {
            Admission::Admitted => return Ok(registration),
            Admission::TooMany => NotRegistered::TooMany,
            Admission::Superseded => NotRegistered::Superseded,
        };
        registration.is_over = true;
        Err(refused)
    }

    /// The session's handle.
    pub(super) const fn session(&self) -> &Arc<SessionHandle> {
        &self.session
    }

    /// Detaches the session and returns what waited for it.
    pub(super) fn end(&mut self) -> Leftovers {
        self.is_over = true;
        self.relay.detach(&self.session, Now::read())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.is_over {
            // Dropping the offers answers the handshakes that wait.
            drop(self.end());
        }
    }
}
