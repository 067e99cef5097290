//! The HTTP API (docs/http.md) as it goes over the wire: a [`Call`] out, an [`Answer`] or a [`CallError`] back.

mod call;
mod caller;
mod connections;
mod error;

pub(crate) use self::{
    call::{Answer, Call, segment},
    caller::Caller,
};
pub use error::{CallError, HttpRefusal};
