//! States of rooms that a session is to tell its client: of each room the newest alone.

use aldis_protocol::{RoomId, limits::MAX_ROOMS_PER_SESSION};

use super::{Frame, Held};

/// How many are told at a time, before the socket's turn to take something else comes.
const AT_ONCE: usize = 4;

/// How many are kept at most. A session is in half as many rooms; what is over it is of rooms that it has left, and the
/// oldest goes first.
const LIMIT: usize = 2 * MAX_ROOMS_PER_SESSION;

/// A state of a room that a session is to tell its client.
#[derive(Debug, Clone)]
pub(crate) struct StateMark {
    pub(crate) room: RoomId,
    /// Which room of the name it is, and which state of it: of two states the one with more is the later one.
    pub(crate) version: (u64, u64),
    /// In the session's codec; its bytes are shared among all who wait for it.
    pub(crate) frame: Frame,
}

/// In the order in which the rooms were marked first.
#[derive(Default)]
pub(super) struct RoomUpdates(Vec<StateMark>);

impl RoomUpdates {
    /// The client is to be told this state. It takes the place of an older one of the room.
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

    /// Takes some, the longest marked first.
    pub(super) fn take(&mut self) -> Vec<StateMark> {
        if self.0.len() <= AT_ONCE {
            return std::mem::take(&mut self.0);
        }
        self.0.drain(..AT_ONCE).collect()
    }

    /// What they count for.
    pub(super) fn held(&self) -> Held {
        self.0.iter().fold(Held::default(), |mut held, state| {
            held += state.frame.held();
            held
        })
    }
}
