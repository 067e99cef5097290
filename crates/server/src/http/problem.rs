//! Errors as `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use aldis_auth::{AuthError, ChainError};
use aldis_protocol::{ErrorCode, PendingRotation, api};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use crate::{accounts::NotAccepted, rate::Limit, refusal::Refusal};

/// What a call answers that went wrong.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: ErrorCode,
    detail: Cow<'static, str>,
    retry_after: Option<u64>,
    limit: Option<Limit>,
    extension: Option<Extension>,
}

/// The extra members of some problems.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Extension {
    /// The head of the chain, for the caller's next statement.
    Head(api::ChainHead),
    /// The rotation that the caller's key can still cancel.
    Rotation(PendingRotation),
}

#[derive(Serialize)]
struct Body {
    #[serde(flatten)]
    problem: api::Problem,
    #[serde(flatten)]
    extension: Option<Extension>,
}

/// A problem as a response; `detail` tells people what to do about it.
pub(crate) fn problem(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Response {
    Problem::new(code, detail).into_response()
}

impl Problem {
    /// A problem with the code's own status; `detail` tells people what to do about it.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, detail: detail.into(), retry_after: None, limit: None, extension: None }
    }

    /// A refusal by a limit that `ALDIS_RATE_LIMITS` turns off.
    pub(crate) fn lifted(limit: Limit, code: ErrorCode, detail: &'static str) -> Self {
        Self { limit: Some(limit), retry_after: Some(1), ..Self::new(code, detail) }
    }

    /// Its code.
    pub(crate) const fn code(&self) -> ErrorCode {
        self.code
    }

    /// A request that was not received in time.
    pub(super) fn request_timeout(detail: &'static str) -> Self {
        Self { status: StatusCode::REQUEST_TIMEOUT, ..Self::new(ErrorCode::BadRequest, detail) }
    }

    /// A request that is not valid HTTP.
    pub(super) fn malformed_request(detail: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, ..Self::new(ErrorCode::BadRequest, detail) }
    }

    fn challenge(&self) -> Option<HeaderValue> {
        (self.status == StatusCode::UNAUTHORIZED)
            .then(|| HeaderValue::from_static(bearer_challenge(self.code)))
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&self.status);
        later.then(|| HeaderValue::from(self.retry_after.unwrap_or(RETRY_AFTER_SECONDS)))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (retry_after, limit) = (refusal.retry_after, refusal.limit);
        let extension = refusal.rotation.map(Extension::Rotation);
        Self { retry_after, limit, extension, ..Self::new(refusal.code, refusal.message) }
    }
}

impl From<NotAccepted> for Problem {
    fn from(refused: NotAccepted) -> Self {
        match refused {
            NotAccepted::Refusal(refusal) => refusal.into(),
            NotAccepted::Chain(error) => {
                let extension =
                    if let ChainError::Conflict(head) = error { Some(Extension::Head(head)) } else { None };
                Self { extension, ..Self::new(AuthError::from(error).code(), error.to_string()) }
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (challenge, retry_after, code) = (self.challenge(), self.retry_after(), self.code);
        let problem = api::Problem {
            status: self.status.as_u16(),
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            detail: self.detail.into_owned(),
            code,
        };
        let limited = self.limit.map(|_| OverLimit(problem.clone()));
        let body = Body { problem, extension: self.extension };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(limited) = limited {
            response.extensions_mut().insert(limited);
        }
        // For the metrics, which count refusals.
        response.extensions_mut().insert(code);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(challenge.map(|value| (WWW_AUTHENTICATE, value)));
        headers.extend(retry_after.map(|value| (RETRY_AFTER, value)));
        response
    }
}

/// The problem of a response of a limit.
#[derive(Clone)]
struct OverLimit(api::Problem);

/// Tells callers on this machine which setting turns off the limit: they can change it.
pub(super) fn name_setting(response: Response) -> Response {
    let Some(OverLimit(mut problem)) = response.extensions().get().cloned() else { return response };
    problem.detail.push_str("; ALDIS_RATE_LIMITS=off lifts this limit, for tests");
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    let kind = parts.headers.remove(CONTENT_TYPE);
    let mut response = (parts.status, Json(problem)).into_response();
    parts.headers.extend(kind.map(|kind| (CONTENT_TYPE, kind)));
    response.headers_mut().extend(parts.headers);
    *response.extensions_mut() = parts.extensions;
    response
}

pub(super) async fn not_found() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is nothing at this path")
}

/// axum adds `Allow`.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(ErrorCode::MethodNotAllowed, "this path takes the methods that the Allow header names")
}

/// The process's hook has printed the panic; clients do not see its message.
pub(super) fn panicked() -> Response {
    tracing::error!("a handler panicked");
    problem(ErrorCode::Internal, "the server failed")
}

/// How long a client waits by default: a restart or a full queue is over by then.
const RETRY_AFTER_SECONDS: u64 = 5;

/// RFC 6750, section 3: an error is named only if the request had a token.
fn bearer_challenge(code: ErrorCode) -> &'static str {
    if [ErrorCode::InvalidToken, ErrorCode::ExpiredToken, ErrorCode::Revoked].contains(&code) {
        r#"Bearer realm="aldis", error="invalid_token""#
    } else {
        r#"Bearer realm="aldis""#
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(code: ErrorCode, name: http::HeaderName) -> Option<String> {
        problem(code, "").headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_401_names_the_scheme_and_a_bad_token() {
        let plain = Some(r#"Bearer realm="aldis""#.to_owned());
        assert_eq!(header(ErrorCode::MissingToken, WWW_AUTHENTICATE), plain);
        assert_eq!(header(ErrorCode::InvalidCredentials, WWW_AUTHENTICATE), plain);
        let bad = header(ErrorCode::ExpiredToken, WWW_AUTHENTICATE).unwrap();
        assert!(bad.ends_with(r#"error="invalid_token""#), "{bad}");
        assert_eq!(header(ErrorCode::Forbidden, WWW_AUTHENTICATE), None);
    }

    #[test]
    fn a_429_and_a_503_say_when_to_come_back() {
        for &code in ErrorCode::ALL {
            let told = header(code, RETRY_AFTER).is_some();
            assert_eq!(told, [429, 503].contains(&code.http_status()), "{code}");
        }
    }
}
