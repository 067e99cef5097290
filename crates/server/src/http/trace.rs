//! Gives every request an id and a line in the log.

use std::borrow::Cow;

use axum::{extract::Request, response::Response};
use http::{HeaderName, HeaderValue};
use tracing::Span;
use uuid::Uuid;

use crate::clock::Now;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id, and its span in the log.
pub(super) struct Trace {
    id: HeaderValue,
    span: Span,
    start: u64,
}

impl Trace {
    /// The id is the server's own, so that clients cannot imitate another request in the log. The query is left out: it
    /// may hold a token.
    pub(super) fn begin(request: &Request) -> Self {
        let start = Now::read().tick;
        let mut buffer = Uuid::encode_buffer();
        let id: &str = Uuid::now_v7().simple().encode_lower(&mut buffer);
        let path = shown(request.uri().path());
        let span = tracing::info_span!("request", id, method = request.method().as_str(), path = &*path);
        // Hexadecimal digits are always valid.
        let id = HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static(""));
        Self { id, span, start }
    }

    /// What the request does, it does in this span.
    pub(super) const fn span(&self) -> &Span {
        &self.span
    }

    /// Logs that the request was answered, and tells its client the id.
    pub(super) fn end(self, response: &mut Response) {
        let Self { id, span, start } = self;
        let status = response.status().as_u16();
        tracing::debug!(parent: &span, status, ms = Now::read().tick - start, "answered");
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
}

/// The path without email addresses, which name users in some calls.
fn shown(path: &str) -> Cow<'_, str> {
    let is_address = |segment: &str| segment.contains('@') || segment.contains("%40");
    if !is_address(path) {
        return Cow::Borrowed(path);
    }
    let shown = path.split('/').map(|segment| if is_address(segment) { HIDDEN } else { segment });
    Cow::Owned(shown.collect::<Vec<_>>().join("/"))
}

const HIDDEN: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_a_path_was_logged() {
        for address in ["ann@aldis.example", "ann%40aldis.example", "%61nn%40aldis.example"] {
            let path = format!("/api/contacts/{address}/request");
            assert_eq!(shown(&path), "/api/contacts/***/request");
        }
        assert_eq!(shown("/api/rooms/kitchen"), "/api/rooms/kitchen");
    }
}
