//! States of rooms that a session is to tell its client: of each room the newest alone.

use aldis_protocol::limits::MAX_ROOMS_PER_SESSION;

use super::Held;
use crate::router::room_states::StateMark;

/// How many are told at a time, before the socket's turn to take something else comes.
const AT_ONCE: usize = 4;

/// How many are kept at most. A session is in half as many rooms; what is over it is of rooms that it has left, and the
/// oldest goes first.
const LIMIT: usize = 2 * MAX_ROOMS_PER_SESSION;

/// In the order in which the rooms were marked first.
#[derive(Default)]
pub(super) struct States(Vec<StateMark>);

impl States {
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
