//! One call, and what it was answered.

use aldis_client_core::Endpoint;
use aldis_protocol::Secret;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, IF_MATCH, USER_AGENT},
};
use http_body_util::Full;
use serde::{Serialize, de::DeserializeOwned};

use super::CallError;

/// Any answer but a list or a blob fits many times over.
const ANSWER_BYTES: usize = 64 * 1024;

/// A call, ready to be sent as often as it takes.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Option<Body>,
    bearer: Option<Secret<'static>>,
    if_match: Option<String>,
    /// The largest answer that is read.
    pub(super) answer_bytes: usize,
}

#[derive(Debug, Clone)]
struct Body {
    kind: &'static str,
    bytes: Bytes,
}

/// What a call that succeeded was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        let path = path.into();
        Self { method, path, body: None, bearer: None, if_match: None, answer_bytes: ANSWER_BYTES }
    }

    /// Sends a body of the API.
    pub(crate) fn json(self, body: &impl Serialize) -> Result<Self, CallError> {
        let bytes = serde_json::to_vec(body).map_err(|error| CallError::Unwritable(error.to_string()))?;
        Ok(Self { body: Some(Body { kind: "application/json", bytes: bytes.into() }), ..self })
    }

    /// Sends bytes that nobody looks into.
    pub(crate) fn bytes(self, bytes: Bytes) -> Self {
        Self { body: Some(Body { kind: "application/octet-stream", bytes }), ..self }
    }

    pub(crate) fn bearer(self, token: Secret<'static>) -> Self {
        Self { bearer: Some(token), ..self }
    }

    pub(crate) fn if_match(self, tag: impl Into<String>) -> Self {
        Self { if_match: Some(tag.into()), ..self }
    }

    /// Reads an answer of up to so many bytes.
    pub(crate) fn answer_up_to(self, bytes: usize) -> Self {
        Self { answer_bytes: bytes, ..self }
    }

    pub(super) fn to_request(&self, endpoint: &Endpoint) -> Result<Request<Full<Bytes>>, CallError> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(endpoint.path(&self.path))
            .header(HOST, &endpoint.audience)
            .header(USER_AGENT, concat!("aldis-client/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json, application/octet-stream");
        if let Some(body) = &self.body {
            request = request.header(CONTENT_TYPE, body.kind);
        }
        if let Some(tag) = &self.if_match {
            request = request.header(IF_MATCH, tag);
        }
        if let Some(token) = &self.bearer {
            request = request.header(AUTHORIZATION, authorization(token)?);
        }
        let bytes = self.body.as_ref().map(|body| body.bytes.clone()).unwrap_or_default();
        request.body(Full::new(bytes)).map_err(unwritable)
    }
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| CallError::NotUnderstood(error.to_string()))
    }

    /// The answer's `ETag`.
    pub(crate) fn tag(&self) -> Result<String, CallError> {
        let tag = self.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
        tag.map(str::to_owned).ok_or_else(|| CallError::NotUnderstood("there is no ETag".to_owned()))
    }

    pub(crate) fn into_body(self) -> Bytes {
        self.body
    }
}

/// Text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
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

fn unwritable(error: http::Error) -> CallError {
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
        assert_eq!((request.method(), request.uri().to_string()), (&Method::PUT, "/aldis/api/x".to_owned()));
        let header = |name| request.headers()[name].to_str().unwrap();
        assert_eq!((header(HOST), header(IF_MATCH)), ("relay.test:8443", "\"1\""));
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
