//! Calls of the HTTP API: a request for `fetch`, and what its answer means.

use aldis_client_core::{
    Answer, Call, CallError, DialError, Endpoint, HttpAnswer, HttpRequest, protocol::Secret,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER};
use serde::Serialize;
use serde_json::value::RawValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{connection::endpoint, failure::Failure};

/// A request as `fetch` takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fetch {
    url: String,
    method: String,
    headers: Vec<(String, String)>,
    /// Bodies of the API are text.
    body: Option<String>,
    answer_limit: usize,
}

impl Fetch {
    pub(crate) fn of(call: &Call, endpoint: &Endpoint) -> Result<Self, CallError> {
        let HttpRequest { method, path, headers, body, answer_limit } = call.to_request(endpoint)?;
        let scheme = if endpoint.secure { "https" } else { "http" };
        let texts = headers.iter().filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
        Ok(Self {
            url: format!("{scheme}://{}{path}", endpoint.audience),
            method: method.to_string(),
            headers: texts.map(|(name, value)| (name.to_string(), value.to_owned())).collect(),
            body: (!body.is_empty()).then(|| String::from_utf8_lossy(&body).into_owned()),
            answer_limit,
        })
    }
}

/// The request of a call with this method, path and body, as the user of the token.
///
/// Throws the text of a failure.
#[wasm_bindgen]
pub fn call_request(
    url: &str,
    is_insecure: bool,
    method: &str,
    path: &str,
    body: Option<String>,
    token: Option<String>,
) -> Result<String, String> {
    let endpoint = endpoint(url, is_insecure)?;
    let call = match method {
        "GET" => Call::get(path),
        "PUT" => Call::put(path),
        "DELETE" => Call::delete(path),
        _ => Call::post(path),
    };
    let call = match body.map(RawValue::from_string).transpose() {
        Ok(Some(body)) => call.json(&body),
        Ok(None) => Ok(call),
        Err(error) => Err(CallError::Unwritable(error.to_string())),
    };
    let call =
        call.map(|call| token.iter().fold(call, |call, token| call.bearer(Secret::from(token.clone()))));
    let fetch = call.and_then(|call| Fetch::of(&call, &endpoint));
    let fetch = fetch.map_err(|error| Failure::from(&error).text())?;
    Ok(serde_json::to_string(&fetch).unwrap_or_default())
}

/// The body of an answer, where it is one of success. `failed` says why there is none, where there is none: `timed_out`,
/// `too_large`, or the browser's word.
///
/// Throws the text of a failure.
#[wasm_bindgen]
pub fn call_answer(
    status: u16,
    retry_after: Option<String>,
    body: String,
    failed: Option<String>,
) -> Result<String, String> {
    let answer = answer(status, retry_after, body, failed).map_err(|error| Failure::from(&error).text())?;
    Ok(String::from_utf8_lossy(&answer.into_body()).into_owned())
}

pub(crate) fn answer(
    status: u16,
    retry_after: Option<String>,
    body: String,
    failed: Option<String>,
) -> Result<Answer, CallError> {
    match failed.as_deref() {
        Some("timed_out") => return Err(CallError::TimedOut),
        Some("too_large") => return Err(CallError::AnswerTooLarge { limit: 0 }),
        Some(error) => return Err(DialError::Connect(std::io::Error::other(error.to_owned())).into()),
        None => {}
    }
    let mut headers = HeaderMap::new();
    if let Some(value) = retry_after.and_then(|value| HeaderValue::try_from(value).ok()) {
        headers.insert(RETRY_AFTER, value);
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    HttpAnswer { status, headers, body: Bytes::from(body) }.into_result()
}
