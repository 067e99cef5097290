//! Bodies: bounded in size and time. JSON is refused with the name of the field that is wrong.

use std::time::Duration;

use aldis_protocol::ErrorCode;
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, OptionalFromRequest, Request},
};
use http::{
    HeaderMap,
    header::{CONTENT_TYPE, EXPECT},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::problem::Problem;

/// A body of any bytes, up to 256 KiB, whatever its type is said to be.
pub(super) struct BlobBody(pub(super) Bytes);

/// Opaque bytes, up to 256 KiB.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Blob(Vec<u8>);

/// A body that was read as JSON and has all members that the handler needs.
pub(super) struct JsonBody<T>(pub(super) T);

/// Many times the size of any request of the API.
const MAX_BODY_BYTES: usize = 64 * 1024;
const MAX_BLOB_BYTES: usize = 256 * 1024;
/// For the whole body; a slow sender gets no more time.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a body over its limit is read, and for how long. A client that is still sending then gets the answer
/// instead of a reset connection.
const MAX_DISCARDED_BYTES: usize = 256 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest detail about a body, in characters, since it may quote the body.
const MAX_DETAIL_CHARS: usize = 200;

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if !body.is_end_stream() && !is_json(&parts.headers) {
            let detail = "send the body as JSON, with Content-Type: application/json";
            return Err(Problem::new(ErrorCode::UnsupportedMediaType, detail));
        }
        parse(&read_in_time(&parts.headers, body, MAX_BODY_BYTES).await?).map(Self)
    }
}

impl<S: Sync> FromRequest<S> for BlobBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        read_in_time(&parts.headers, body, MAX_BLOB_BYTES).await.map(Self)
    }
}

/// An empty body counts as absent; any other is read as a required one.
impl<T: DeserializeOwned, S: Sync> OptionalFromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

/// `application/json` or a type with the suffix `+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

async fn read_in_time(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    timeout(BODY_TIMEOUT, read(headers, body, limit))
        .await
        .map_err(|_| Problem::request_timeout("the body did not come within 15 s; send it again"))?
}

async fn read(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limit as u64 {
        // Reading would tell a client that waits for `100 Continue` to send the body.
        if !headers.contains_key(EXPECT) {
            discard(&mut body).await;
        }
        return Err(too_large(limit));
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            discard(&mut body).await;
            Err(too_large(limit))
        }
        Err(_) => Err(bad("the body broke off; send it again")),
    }
}

async fn discard(body: &mut Body) {
    let rest = Limited::new(body, MAX_DISCARDED_BYTES);
    let drained = async {
        let mut rest = std::pin::pin!(rest);
        while let Some(Ok(_)) = rest.frame().await {}
    };
    // What is left after that may reset the connection.
    let _ = timeout(DISCARD_TIMEOUT, drained).await;
}

fn too_large(limit: usize) -> Problem {
    Problem::new(ErrorCode::TooLarge, format!("this body has at most {} KiB", limit / 1024))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would also take an array of the fields' values.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad("the body is a JSON object"));
    }
    if let Some(path) = zero_character(bytes) {
        return Err(bad(format!("`{path}` contains U+0000, which no text may")));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let at_root = error.path().iter().next().is_none();
        let path = (!at_root).then(|| error.path().to_string());
        bad(complaint(path.as_deref(), &error.into_inner()))
    })?;
    json.end().map_err(|error| bad(complaint(None, &error)))?;
    Ok(parsed)
}

/// The path to a text that contains U+0000, which no database column accepts.
fn zero_character(bytes: &[u8]) -> Option<String> {
    // JSON can write it only as an escape, so most bodies are parsed once.
    if !bytes.windows(ESCAPED_ZERO.len()).any(|window| window == ESCAPED_ZERO) {
        return None;
    }
    let path = path_to_zero(&serde_json::from_slice(bytes).ok()?)?;
    Some(path.trim_start_matches('.').to_owned())
}

const ESCAPED_ZERO: &[u8] = br"\u0000";

/// Recurses as deep as the JSON nests, which the parser has limited.
fn path_to_zero(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| path_to_zero(item).map(|rest| format!("[{index}]{rest}"))),
        Value::Object(fields) => fields.iter().find_map(|(name, item)| {
            let rest = if name.contains('\0') { Some(String::new()) } else { path_to_zero(item) };
            rest.map(|rest| format!(".{}{rest}", name.escape_debug()))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// What is wrong, without the wrong value, which may be a password.
fn complaint(path: Option<&str>, error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message
        .rsplit_once(", expected ")
        .map_or_else(|| message.clone(), |(_, what)| format!("expected {what}"));
    match path {
        _ if !error.is_data() => format!("the body is no JSON: {reason}"),
        Some(path) => format!("`{path}`: {reason}"),
        None => reason,
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    let mut detail: String = detail.into();
    if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL_CHARS) {
        detail.truncate(end);
    }
    Problem::new(ErrorCode::BadRequest, detail)
}
