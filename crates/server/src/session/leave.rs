//! How a socket ends.

use std::{future::poll_fn, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::link::{Incoming, Wire};

/// How long a client has to read a close.
const TIME_TO_LEAVE: Duration = Duration::from_secs(2);

/// Writes what waits and reads until the other side has gone, for at most two seconds. Unread bytes would turn the
/// close into a reset, and the client would lose what it has not read yet.
pub(super) async fn leave(socket: &mut dyn Wire) {
    let until = Instant::now() + TIME_TO_LEAVE;
    if timeout_at(until, poll_fn(|cx| socket.poll_flush(cx))).await.is_ok_and(|flushed| flushed.is_ok()) {
        let gone = async {
            while !matches!(poll_fn(|cx| socket.poll_read(cx)).await, Incoming::Closed(_) | Incoming::Broken)
            {
            }
        };
        let _ = timeout_at(until, gone).await;
    }
}
