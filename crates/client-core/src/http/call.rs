//! One call of the API.

use aldis_protocol::Secret;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_MATCH},
};
use serde::Serialize;

use super::CallError;
use crate::Endpoint;

/// Any answer but a list or a blob fits many times over.
const ANSWER_BYTES: usize = 64 * 1024;

/// A call, ready to be sent as often as it takes.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    body: Option<Body>,
    bearer: Option<Secret<'static>>,
    if_match: Option<String>,
    answer_bytes: usize,
}

/// A request that a shell sends, to the server of the [`Endpoint`].
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The path, below that of the server's URL.
    pub path: String,
    /// All headers but `Host`, `Content-Length` and `User-Agent`. The authorization is marked as sensitive.
    pub headers: HeaderMap,
    /// The body; empty where there is none.
    pub body: Bytes,
    /// The largest body of an answer that the shell has to read. A larger one is [`CallError::AnswerTooLarge`].
    pub answer_limit: usize,
}

#[derive(Debug, Clone)]
struct Body {
    kind: &'static str,
    bytes: Bytes,
}

impl Call {
    /// A `GET` of this path.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A `POST` to this path.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// A `PUT` to this path.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// A `DELETE` of this path.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        let path = path.into();
        Self { method, path, body: None, bearer: None, if_match: None, answer_bytes: ANSWER_BYTES }
    }

    /// Sends a body of the API.
    ///
    /// # Errors
    /// [`CallError::Unwritable`].
    pub fn json(self, body: &impl Serialize) -> Result<Self, CallError> {
        let bytes = serde_json::to_vec(body).map_err(|error| CallError::Unwritable(error.to_string()))?;
        Ok(Self { body: Some(Body { kind: "application/json", bytes: bytes.into() }), ..self })
    }

    /// Sends bytes that nobody looks into.
    #[must_use]
    pub fn bytes(self, bytes: Bytes) -> Self {
        Self { body: Some(Body { kind: "application/octet-stream", bytes }), ..self }
    }

    /// Makes the call as the user of this access token.
    #[must_use]
    pub fn bearer(self, token: Secret<'static>) -> Self {
        Self { bearer: Some(token), ..self }
    }

    /// Changes only what still has this `ETag`.
    #[must_use]
    pub fn if_match(self, tag: impl Into<String>) -> Self {
        Self { if_match: Some(tag.into()), ..self }
    }

    /// Takes an answer of up to so many bytes; 64 KiB by default.
    #[must_use]
    pub fn answer_up_to(self, bytes: usize) -> Self {
        Self { answer_bytes: bytes, ..self }
    }

    /// The request that a shell sends for the call.
    ///
    /// # Errors
    /// [`CallError::Unwritable`].
    pub fn to_request(&self, endpoint: &Endpoint) -> Result<HttpRequest, CallError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/octet-stream"));
        if let Some(body) = &self.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(body.kind));
        }
        if let Some(tag) = &self.if_match {
            headers.insert(IF_MATCH, HeaderValue::try_from(tag).map_err(unwritable)?);
        }
        if let Some(token) = &self.bearer {
            headers.insert(AUTHORIZATION, authorization(token)?);
        }
        Ok(HttpRequest {
            method: self.method.clone(),
            path: endpoint.path(&self.path),
            headers,
            body: self.body.as_ref().map(|body| body.bytes.clone()).unwrap_or_default(),
            answer_limit: self.answer_bytes,
        })
    }
}

/// Text as one segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' | b':' => {
                segment.push(char::from(byte));
            }
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

fn authorization(token: &Secret<'_>) -> Result<HeaderValue, CallError> {
    // The error of a token that is none must not show it.
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .map_err(|_| CallError::Unwritable("the token is none".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unwritable(error: http::header::InvalidHeaderValue) -> CallError {
    CallError::Unwritable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_one() {
        for (text, segment_of_it) in [
            ("desk-1.a:b_c", "desk-1.a:b_c"),
            ("ann@example.test", "ann@example.test"),
            ("a/b?c#d e%", "a%2Fb%3Fc%23d%20e%25"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(segment(text), segment_of_it);
        }
    }

    #[test]
    fn a_call_goes_to_the_server_under_its_path() {
        let endpoint = Endpoint::parse("https://Relay.test:8443/aldis/").unwrap();
        let call = Call::put("/api/x").bytes(Bytes::from_static(b"x")).if_match("\"1\"");
        let request = call.bearer("secret".into()).to_request(&endpoint).unwrap();
        assert_eq!((&request.method, request.path.as_str()), (&Method::PUT, "/aldis/api/x"));
        let header = |name| request.headers[name].to_str().unwrap();
        assert_eq!(header(IF_MATCH), "\"1\"");
        assert_eq!(header(CONTENT_TYPE), "application/octet-stream");
        assert_eq!(header(AUTHORIZATION), "Bearer secret");
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn what_is_no_token_is_neither_sent_nor_shown() {
        let endpoint = Endpoint::parse("http://localhost").unwrap();
        let error = Call::get("/").bearer("a\r\nb".into()).to_request(&endpoint).unwrap_err();
        assert_eq!(error.to_string(), "the request cannot be written: the token is none");
    }
}
