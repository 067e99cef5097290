//! What a call was answered.

use std::time::Duration;

use aldis_protocol::{PendingRotation, api::ChainHead};
use bytes::Bytes;
use http::{
    HeaderMap, StatusCode,
    header::{ETAG, RETRY_AFTER},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{CallError, HttpRefusal};

/// An answer as a shell received it.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, empty where that of a refusal could not be read.
    pub body: Bytes,
}

/// What a call that succeeded was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl HttpAnswer {
    /// The answer of a call that succeeded.
    ///
    /// # Errors
    /// [`CallError::Refused`] for any other status than 2xx.
    pub fn into_result(self) -> Result<Answer, CallError> {
        let Self { status, headers, body } = self;
        if status.is_success() {
            return Ok(Answer { headers, body });
        }
        Err(CallError::Refused(Box::new(refusal(status, &headers, &body))))
    }
}

impl Answer {
    /// The body as one of the API.
    ///
    /// # Errors
    /// [`CallError::NotUnderstood`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| CallError::NotUnderstood(error.to_string()))
    }

    /// The answer's `ETag`.
    ///
    /// # Errors
    /// [`CallError::NotUnderstood`] where there is none.
    pub fn tag(&self) -> Result<String, CallError> {
        let tag = self.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
        tag.map(str::to_owned).ok_or_else(|| CallError::NotUnderstood("there is no ETag".to_owned()))
    }

    /// The body as it came.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body
    }
}

/// As much of a problem as an answer has: a proxy's has none.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    rotation: Option<PendingRotation>,
    head: Option<ChainHead>,
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> HttpRefusal {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    HttpRefusal {
        status: status.as_u16(),
        code: problem.code.parse().ok(),
        detail: problem.detail,
        retry_after: retry_after(headers),
        rotation: problem.rotation,
        head: problem.head,
    }
}

/// In seconds; a date is what no Aldis server writes.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
