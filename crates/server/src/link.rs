//! Live sessions, as code below the relay reaches them: handles, frames, and how far a frame went.

use aldis_protocol::{RequestId, ServerFrame, ServerMessage};
use uuid::Uuid;

use crate::clock::Now;
pub(crate) use crate::router::{Closing, Encoded, Outlet, deliver};

/// The frame of a message that the server initiates.
pub(crate) fn fresh(message: ServerMessage<'static>, now: Now) -> ServerFrame<'static> {
    ServerFrame { id: Some(RequestId::from_uuid(Uuid::now_v7())), timestamp: now.timestamp(), message }
}
