//! The sessions of this node, for an operator who can read the key file: `aldis sessions list` asks for them.

use std::sync::Arc;

use aldis_protocol::{ErrorCode, Timestamp};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap,
    header::{AUTHORIZATION, CACHE_CONTROL},
};
use serde::Serialize;

use super::problem::Problem;
use crate::{clock::Now, link::SessionHandle, node::Node};

/// A session as operators see it.
#[derive(Serialize)]
struct SessionSummary {
    session: String,
    user: String,
    device: String,
    /// `connected`, or `away`.
    state: &'static str,
    /// `key`, or `token`.
    proof: &'static str,
    codec: &'static str,
    /// When the session began, RFC 3339.
    since: String,
    /// Memory that it holds for its client.
    held_bytes: usize,
}

/// Answers only to a proof made with the key file.
pub(super) async fn list(State(node): State<Arc<Node>>, headers: HeaderMap) -> Response {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if !given.is_some_and(|given| node.accounts.operator.accepts(given, Now::read())) {
        let detail = "sessions are listed by `aldis sessions list`, for who can read the server's key file";
        return Problem::new(ErrorCode::Forbidden, detail).into_response();
    }
    let mut sessions = Vec::new();
    node.relay.registry.for_each(|session| sessions.push(summary(session)));
    sessions.sort_by(|one: &SessionSummary, other| one.session.cmp(&other.session));
    ([(CACHE_CONTROL, "no-store")], Json(sessions)).into_response()
}

fn summary(session: &Arc<SessionHandle>) -> SessionSummary {
    SessionSummary {
        session: session.session.to_string(),
        user: session.user.to_string(),
        device: session.device.to_string(),
        state: if session.is_detached() { "away" } else { "connected" },
        proof: if session.family().is_some() { "token" } else { "key" },
        codec: session.codec.subprotocol(),
        since: began(session.session.as_uuid()),
        held_bytes: session.held().total(),
    }
}

/// Session ids are UUIDs of version 7, which begin with their time.
fn began(id: uuid::Uuid) -> String {
    let (seconds, nanoseconds) = id.get_timestamp().map_or((0, 0), |time| time.to_unix());
    let ms = i64::try_from(seconds).unwrap_or_default() * 1_000 + i64::from(nanoseconds / 1_000_000);
    Timestamp::from_ms(ms).to_string()
}
