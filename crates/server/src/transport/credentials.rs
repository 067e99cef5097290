//! The credentials of a request at a query door: `token` and `device_id` in its query, or `Authorization: Bearer`.

use std::borrow::Cow;

use aldis_protocol::{DeviceId, ErrorCode, Resume, query};
use http::{HeaderMap, Uri};
use serde::Deserialize;

use crate::{
    accounts::Accounts,
    clock::Now,
    http::{Problem, bearer},
    link::Claim,
    refusal::Refusal,
    session::Credentials,
};

const MISSING: &str = "Missing authentication token";
const INVALID: &str = "Invalid authentication token";

/// Reads the credentials. The door reports errors in its own way.
pub(super) fn of(uri: &Uri, headers: &HeaderMap) -> Credentials {
    let pairs = pairs(uri);
    let device_id = single(&pairs, query::DEVICE_ID).transpose().map(|text| {
        text.ok()
            .and_then(|text| text.parse::<DeviceId>().ok())
            .ok_or(Refusal::new(ErrorCode::UnknownDevice, "`device_id` is no device id"))
    });
    Credentials::Query { token: token(&pairs, headers), device_id, resume: resume(&pairs) }
}

/// Refuses a token before the upgrade, as `/api/ws` does.
pub(super) async fn check_token(shown: &Credentials, accounts: &Accounts, now: Now) -> Result<(), Problem> {
    let Credentials::Query { token, device_id, .. } = shown else { return Ok(()) };
    let device = device_id.as_ref().and_then(|device| device.as_ref().ok());
    let checked = match token {
        Ok(token) => match accounts.check_token_for(token, device, now) {
            Ok(claims) => accounts.require_account(claims.sub).await,
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => Err(refusal.clone()),
    };
    checked.map_err(|refusal| {
        let missing = refusal.code == ErrorCode::MissingToken;
        Problem::new(refusal.code, if missing { MISSING } else { INVALID })
    })
}

/// The token may be in either place; two different ones are invalid.
fn token(pairs: &[(Cow<'_, str>, Cow<'_, str>)], headers: &HeaderMap) -> Result<String, Refusal> {
    let invalid = Refusal::new(ErrorCode::InvalidToken, "two tokens were shown that differ");
    let in_query = single(pairs, query::TOKEN).map_err(|Ambiguous| invalid.clone())?;
    let in_header = bearer(headers)?;
    match (in_query.filter(|token| !token.is_empty()), in_header.filter(|token| !token.is_empty())) {
        (Some(one), Some(other)) if one != other => Err(invalid),
        (Some(token), _) | (None, Some(token)) => Ok(token.to_owned()),
        (None, None) => Err(Refusal::new(ErrorCode::MissingToken, "no token was shown")),
    }
}

/// A malformed `resume` counts as an unknown session.
fn resume(pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> Option<Claim> {
    let token = single(pairs, query::RESUME).ok().flatten()?;
    let received = single(pairs, query::RECEIVED).ok().flatten()?.parse().ok()?;
    Claim::parse(&Resume { token: token.into(), received })
}

/// The same name twice, with different values.
struct Ambiguous;

fn single<'a>(pairs: &'a [(Cow<'_, str>, Cow<'_, str>)], name: &str) -> Result<Option<&'a str>, Ambiguous> {
    let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_ref());
    let first = values.next();
    if values.all(|value| Some(value) == first) { Ok(first) } else { Err(Ambiguous) }
}

fn pairs(uri: &Uri) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Pairs<'a>(#[serde(borrow)] Vec<(Cow<'a, str>, Cow<'a, str>)>);
    let query = uri.query().unwrap_or_default();
    serde_urlencoded::from_str::<Pairs<'_>>(query).map(|pairs| pairs.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn shown(
        path: &str,
        bearer: Option<&'static str>,
    ) -> (Result<String, ErrorCode>, Option<Result<String, ErrorCode>>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = bearer {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        match of(&path.parse().unwrap(), &headers) {
            Credentials::Query { token, device_id, .. } => (
                token.map_err(|refusal| refusal.code),
                device_id
                    .map(|device| device.map(|device| device.to_string()).map_err(|refusal| refusal.code)),
            ),
            Credentials::Challenge { .. } | Credentials::FirstMessage => {
                panic!("a query door reads its query")
            }
        }
    }

    #[test]
    fn a_token_may_be_in_either_place() {
        assert_eq!(shown("/signal?token=a%2Bb", None).0, Ok("a+b".to_owned()));
        assert_eq!(shown("/signal", Some("Bearer t")).0, Ok("t".to_owned()));
        assert_eq!(shown("/signal?token=t", Some("bearer t")).0, Ok("t".to_owned()));
        assert_eq!(shown("/signal?token=", None).0, Err(ErrorCode::MissingToken));
    }

    #[test]
    fn two_different_tokens_are_invalid() {
        assert_eq!(shown("/signal?token=t", Some("Bearer u")).0, Err(ErrorCode::InvalidToken));
        assert_eq!(shown("/signal?token=t&token=u", None).0, Err(ErrorCode::InvalidToken));
    }

    #[test]
    fn a_malformed_device_id_is_an_unknown_device() {
        assert_eq!(shown("/signal?device_id=phone", None).1, Some(Ok("phone".to_owned())));
        assert_eq!(shown("/signal?device_id=a*b", None).1, Some(Err(ErrorCode::UnknownDevice)));
        assert_eq!(shown("/signal?device_id=a&device_id=b", None).1, Some(Err(ErrorCode::UnknownDevice)));
        assert_eq!(shown("/signal", None).1, None);
    }
}
