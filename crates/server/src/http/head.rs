//! How much a request may say before its body.

use aldis_protocol::ErrorCode;
use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::HeaderMap;

use super::problem::Problem;

/// Room for a token of 4 KiB in the query, twice over.
const MAX_URI_BYTES: usize = 8 * 1024;
/// All header lines together; what browsers and proxies add is a quarter of it.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// The colon, the blank and the line's end.
const HEADER_LINE_EXTRA: usize = 4;

/// Refuses a head over its limits.
pub(super) async fn limit(request: Request, next: Next) -> Response {
    match check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(request: &Request) -> Result<(), Problem> {
    let uri = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if uri > MAX_URI_BYTES {
        return Err(Problem::new(ErrorCode::UriTooLong, "a URI has at most 8 KiB"));
    }
    if request.headers().len() > MAX_HEADERS || header_bytes(request.headers()) > MAX_HEADER_BYTES {
        return Err(Problem::new(
            ErrorCode::HeadersTooLarge,
            "a request has at most 64 headers and 16 KiB of them",
        ));
    }
    Ok(())
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_LINE_EXTRA).sum()
}
