//! The HTTP API (docs/http.md) as data: a [`Call`] becomes an [`HttpRequest`], its [`HttpAnswer`] an [`Answer`] or a
//! [`CallError`].

mod answer;
mod call;
mod error;

pub use self::{
    answer::{Answer, HttpAnswer},
    call::{Call, HttpRequest, segment},
    error::{CallError, HttpRefusal},
};
