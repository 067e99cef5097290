//! An id for every request, and one line in the log for it.

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};
use tracing::Instrument;
use uuid::Uuid;

use crate::clock::Now;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id is the server's own, so that nobody can pass for another request in the log. The query is left out: it may
/// hold a token.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let start = Now::read().tick;
    let mut buffer = Uuid::encode_buffer();
    let id: &str = Uuid::now_v7().simple().encode_lower(&mut buffer);
    let span =
        tracing::info_span!("request", id, method = request.method().as_str(), path = request.uri().path());
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    tracing::debug!(parent: &span, status, ms = Now::read().tick - start, "answered");
    response.headers_mut().extend(HeaderValue::from_str(id).map(|id| (X_REQUEST_ID, id)));
    response
}
