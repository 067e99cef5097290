//! Checks the head of a request: its form and its size.

use aldis_protocol::ErrorCode;
use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Version,
    header::{CONNECTION, HOST},
    uri::Authority,
};

use super::problem::Problem;

/// Twice the room that a token of 4 KiB in the query needs.
const MAX_URI_BYTES: usize = 8 * 1024;
/// The limit of all header lines; browsers and proxies add a quarter of it.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// The colon, the space and the line's end.
const HEADER_LINE_EXTRA: usize = 4;

/// Marks a request that has a line which ends with LF alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BareLineFeed;

/// Refuses a head that proxies may read differently, or that is over its limits.
pub(super) fn refuse(request: &Request) -> Option<Response> {
    if let Err(problem) = check_form(request) {
        let mut response = problem.into_response();
        // The sender may have meant the following bytes as a part of this request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Some(response);
    }
    check_size(request).err().map(IntoResponse::into_response)
}

/// [`refuse`] as a layer.
pub(super) async fn limit(request: Request, next: Next) -> Response {
    match refuse(&request) {
        None => next.run(request).await,
        Some(response) => response,
    }
}

/// RFC 9112, sections 2.2 and 3.2.
fn check_form(request: &Request) -> Result<(), Problem> {
    if request.extensions().get::<BareLineFeed>().is_some() {
        return Err(Problem::malformed_request("each line of a request's head ends with CR LF"));
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => Err(Problem::malformed_request("`Host` is a name, and a port where there is one")),
        (None, _) if request.version() < Version::HTTP_11 => Ok(()),
        (None, _) => Err(Problem::malformed_request("a request of HTTP/1.1 has a `Host`")),
        (Some(_), Some(_)) => Err(Problem::malformed_request("a request has one `Host`")),
    }
}

/// Empty where the URI has no authority.
fn is_host(host: &HeaderValue) -> bool {
    let is_authority = |host: &str| host.parse::<Authority>().is_ok() && !host.contains('@');
    host.is_empty() || host.to_str().is_ok_and(is_authority)
}

fn check_size(request: &Request) -> Result<(), Problem> {
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
