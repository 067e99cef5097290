//! Room states that a session has to send: only the newest of each room.

use aldis_protocol::{RoomId, limits::MAX_ROOMS_PER_SESSION};

use super::{Frame, Held};

/// Room states that are sent in one go, before the socket takes other frames.
const AT_ONCE: usize = 4;

/// The most states that are kept. A session is in half as many rooms; the rest are of rooms that it has left. The
/// oldest goes first.
const LIMIT: usize = 2 * MAX_ROOMS_PER_SESSION;

/// A room state that a session has to send.
#[derive(Debug, Clone)]
pub(crate) struct StateMark {
    pub(crate) room: RoomId,
    /// Which room of this name it belongs to, and its revision: the larger one is the later state.
    pub(crate) version: (u64, u64),
    /// In the session's codec; all sessions that wait for it share its bytes.
    pub(crate) frame: Frame,
}

/// In the order in which the rooms were first marked.
#[derive(Default)]
pub(super) struct RoomUpdates(Vec<StateMark>);

impl RoomUpdates {
    /// Marks a room state. It replaces an older one of the room.
    pub(super) fn add(&mut self, state: StateMark) {
        match self.0.iter_mut().find(|other| other.room == state.room) {
            Some(other) if other.version < state.version => *other = state,
            Some(_) => {}
            None => {
                if self.0.len() == LIMIT {
                    self.0.remove(0);
                }
                self.0.push(state);
            }
        }
    }

    /// Takes some states, the longest marked first.
    pub(super) fn take(&mut self) -> Vec<StateMark> {
        if self.0.len() <= AT_ONCE {
            return std::mem::take(&mut self.0);
        }
        self.0.drain(..AT_ONCE).collect()
    }

    /// How many bytes they count.
    pub(super) fn held(&self) -> Held {
        self.0.iter().fold(Held::default(), |mut held, state| {
            held += state.frame.held();
            held
        })
    }
}
