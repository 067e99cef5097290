//! Whether the client is still there: a ping every 30 s, a pong within 10 s (docs/protocol/handshake.md, "Liveness").

use aldis_protocol::{
    CloseCode,
    limits::{HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT},
};

use super::deadlines::{Deadline, Deadlines};
use crate::{
    clock::{Now, milliseconds},
    link::Closing,
};

/// Sets when the next ping is due.
pub(super) fn schedule(deadlines: &mut Deadlines, now: Now) {
    deadlines.set(Deadline::Ping, now.tick + milliseconds(HEARTBEAT_INTERVAL));
}

/// A ping goes out: its pong is awaited, and the next ping is due in its turn.
pub(super) fn pinged(deadlines: &mut Deadlines, now: Now) {
    deadlines.set(Deadline::Pong, now.tick + milliseconds(HEARTBEAT_TIMEOUT));
    schedule(deadlines, now);
}

/// A pong came.
pub(super) fn ponged(deadlines: &mut Deadlines) {
    deadlines.clear(Deadline::Pong);
}

/// While the ping may still wait to be written, or nothing is read, no pong can be seen: it has as long again.
pub(super) fn postpone_pong(deadlines: &mut Deadlines, now: Now) {
    if deadlines.is_set(Deadline::Pong) {
        deadlines.set(Deadline::Pong, now.tick + milliseconds(HEARTBEAT_TIMEOUT));
    }
}

/// The close of a session whose pong did not come.
pub(super) fn missed() -> Closing {
    Closing::new(CloseCode::HeartbeatMissed, "", "no pong came in time")
}
