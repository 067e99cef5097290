//! The HTTP API over connections of this program.

mod caller;
mod connections;

pub(crate) use self::caller::Caller;
pub(crate) use aldis_client_core::{Answer, Call, segment};
