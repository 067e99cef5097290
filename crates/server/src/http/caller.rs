//! The signed-in caller of a handler: `Authorization: Bearer`, and nothing else.

use std::sync::Arc;

use aldis_protocol::ErrorCode;
use axum::extract::FromRequestParts;
use http::{HeaderMap, header::AUTHORIZATION, request::Parts};

use super::problem::Problem;
use crate::{accounts::Caller, clock::Now, node::Node, refusal::Refusal};

/// The token in a request's header, if there is one. Two are refused, because a proxy might have checked the other
/// one.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = shown.next() else { return Ok(None) };
    if shown.next().is_some() {
        return Err(Refusal::new(ErrorCode::InvalidToken, "a request has one Authorization header"));
    }
    let credentials =
        first.to_str().map_err(|_| Refusal::new(ErrorCode::InvalidToken, "the token is not valid"))?;
    Ok(credentials
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| token.trim()))
}

impl FromRequestParts<Arc<Node>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?.unwrap_or_default();
        Ok(node.accounts.caller(token, Now::read()).await?)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn shown(values: &[&'static str]) -> Result<Option<String>, ErrorCode> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        bearer(&headers).map(|token| token.map(str::to_owned)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        for value in ["Bearer abc", "bearer abc", "BEARER  abc"] {
            assert_eq!(shown(&[value]), Ok(Some("abc".to_owned())));
        }
        for other in ["Basic abc", "abc", "Bearer", ""] {
            assert_eq!(shown(&[other]), Ok(None), "{other}");
        }
        assert_eq!(shown(&[]), Ok(None));
    }

    #[test]
    fn two_headers_are_refused() {
        assert_eq!(shown(&["Bearer a", "Bearer a"]), Err(ErrorCode::InvalidToken));
    }
}
