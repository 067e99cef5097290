//! Cross-origin calls by web pages: which origins, methods and headers, and never credentials.

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN,
        VARY,
    },
};

use super::origin::is_origin_allowed;
use crate::config::Config;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static("Authorization, Content-Type, If-Match");
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("ETag, Retry-After, X-Request-Id");
/// Seconds. Browsers keep a preflight's answer for at most a day, most for two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Lets the pages of an origin read a response.
pub(super) fn share(response: &mut Response, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    }
}

/// The origin whose pages may read the response.
pub(super) fn readable_by(config: &Config, headers: &HeaderMap) -> Option<HeaderValue> {
    let mut shown = headers.get_all(ORIGIN).iter();
    let origin = shown.next().filter(|_| shown.next().is_none())?;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_allowed = origin.to_str().is_ok_and(|origin| is_origin_allowed(config, Some(origin), host));
    is_allowed.then(|| origin.clone())
}

/// Whether a browser asks what a page may send.
pub(super) fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that.
pub(super) fn preflight(origin: Option<HeaderValue>) -> Response {
    let shared = origin.map(|origin| {
        [
            (ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ]
    });
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
    response.headers_mut().extend(shared.into_iter().flatten());
    response
}
