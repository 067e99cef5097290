//! Gives every request an id and a line in the log.

use std::borrow::Cow;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};
use tracing::Instrument;
use uuid::Uuid;

use crate::clock::Now;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id is the server's own, so that clients cannot imitate another request in the log. The query is left out: it
/// may hold a token.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let start = Now::read().tick;
    let mut buffer = Uuid::encode_buffer();
    let id: &str = Uuid::now_v7().simple().encode_lower(&mut buffer);
    let path = shown(request.uri().path());
    let span = tracing::info_span!("request", id, method = request.method().as_str(), path = &*path);
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    tracing::debug!(parent: &span, status, ms = Now::read().tick - start, "answered");
    response.headers_mut().extend(HeaderValue::from_str(id).map(|id| (X_REQUEST_ID, id)));
    response
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
