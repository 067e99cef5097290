//! Checks that the client is still there: a ping every 30 s, a pong within 10 s (docs/protocol/handshake.md,
//! "Liveness").

use aldis_protocol::{
    CloseCode,
    limits::{HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT},
};

use super::deadlines::{Deadline, Deadlines};
use crate::{
    clock::{Now, milliseconds},
    link::Closing,
};

/// Sets the next ping's deadline.
pub(super) fn schedule(deadlines: &mut Deadlines, now: Now) {
    deadlines.set(Deadline::Ping, now.tick + milliseconds(HEARTBEAT_INTERVAL));
}

/// A ping is sent: sets the deadlines of its pong and of the next ping.
pub(super) fn pinged(deadlines: &mut Deadlines, now: Now) {
    deadlines.set(Deadline::Pong, now.tick + milliseconds(HEARTBEAT_TIMEOUT));
    schedule(deadlines, now);
}

/// A pong has arrived.
pub(super) fn ponged(deadlines: &mut Deadlines) {
    deadlines.clear(Deadline::Pong);
}

/// Gives the pong the whole time again. No pong can be seen while the ping may wait to be written, or while nothing
/// is read.
pub(super) fn postpone_pong(deadlines: &mut Deadlines, now: Now) {
    if deadlines.is_set(Deadline::Pong) {
        deadlines.set(Deadline::Pong, now.tick + milliseconds(HEARTBEAT_TIMEOUT));
    }
}

/// The close of a session whose pong did not arrive.
pub(super) fn missed() -> Closing {
    Closing::new(CloseCode::HeartbeatMissed, "", "no pong came in time")
}
