//! Rooms: made, decided about, read.

use std::sync::Arc;

use aldis_protocol::{
    ErrorCode, RoomId, UserRef,
    api::{CreateRoom, Room, RoomMessages, RoomState, SetRoomState},
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    response::IntoResponse,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ETAG, IF_MATCH},
};
use serde::Deserialize;

use super::{
    body::JsonBody,
    problem::Problem,
    query::{QueryOf, page_size},
};
use crate::{node::Node, router::Caller, store::Revisions};

/// The query of `GET /api/rooms/{room}/messages`.
#[derive(Deserialize)]
pub(super) struct MessagesQuery {
    since_seq: Option<u64>,
    limit: Option<u64>,
}

/// `POST /api/rooms`
pub(super) async fn create(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<CreateRoom>,
) -> Result<(StatusCode, Json<Room>), Problem> {
    Ok((StatusCode::CREATED, Json(node.router.create_room(&caller, request).await?)))
}

/// `GET /api/rooms/{room}`
pub(super) async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    room: Result<Path<RoomId>, PathRejection>,
) -> Result<Json<Room>, Problem> {
    Ok(Json(node.router.show_room(&caller, &named(room)?).await?))
}

/// `PUT /api/rooms/{room}/members/{user}`
pub(super) async fn add_member(
    State(node): State<Arc<Node>>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let (room, user) = member(path)?;
    node.router.add_room_member(&caller, &room, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/rooms/{room}/members/{user}`
pub(super) async fn remove_member(
    State(node): State<Arc<Node>>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let (room, user) = member(path)?;
    node.router.remove_room_member(&caller, &room, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/rooms/{room}/messages`
pub(super) async fn messages(
    State(node): State<Arc<Node>>,
    caller: Caller,
    room: Result<Path<RoomId>, PathRejection>,
    QueryOf(query): QueryOf<MessagesQuery>,
) -> Result<Json<RoomMessages>, Problem> {
    let (room, limit) = (named(room)?, page_size(query.limit)?);
    let since_seq = query.since_seq.unwrap_or_default();
    Ok(Json(node.router.room_messages(&caller, &room, since_seq, limit).await?))
}

/// `GET /api/rooms/{room}/state`
pub(super) async fn state(
    State(node): State<Arc<Node>>,
    caller: Caller,
    room: Result<Path<RoomId>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    with_etag(node.router.room_state(&caller, &named(room)?).await?)
}

/// `PUT /api/rooms/{room}/state`
pub(super) async fn set_state(
    State(node): State<Arc<Node>>,
    caller: Caller,
    room: Result<Path<RoomId>, PathRejection>,
    headers: HeaderMap,
    JsonBody(request): JsonBody<SetRoomState>,
) -> Result<impl IntoResponse, Problem> {
    let room = named(room)?;
    let expected = revisions(&headers).ok_or_else(|| {
        let detail = "say which state you replace, with If-Match and its revision; the first replaces \"0\"";
        Problem::new(ErrorCode::PreconditionRequired, detail)
    })?;
    with_etag(node.router.set_room_state(&caller, &room, request, &expected).await?)
}

fn with_etag(state: RoomState) -> Result<impl IntoResponse, Problem> {
    let etag = HeaderValue::from_str(&format!("\"{}\"", state.revision))
        .map_err(|_| Problem::new(ErrorCode::Internal, "the server failed"))?;
    Ok(([(ETAG, etag)], Json(state)))
}

/// `If-Match`, quoted or not. A weak tag matches nothing.
fn revisions(headers: &HeaderMap) -> Option<Revisions> {
    if !headers.contains_key(IF_MATCH) {
        return None;
    }
    let lines = headers.get_all(IF_MATCH).iter().filter_map(|line| line.to_str().ok());
    let tags: Vec<&str> =
        lines.flat_map(|line| line.split(',')).map(|tag| tag.trim().trim_matches('"')).collect();
    if tags == ["*"] {
        return Some(Revisions::Any);
    }
    Some(Revisions::OneOf(tags.into_iter().filter_map(|tag| tag.parse().ok()).collect()))
}

/// A name outside the grammar is nobody's.
fn named(room: Result<Path<RoomId>, PathRejection>) -> Result<RoomId, Problem> {
    room.map(|Path(room)| room).map_err(|_| unknown_room())
}

fn member(path: Result<Path<(String, String)>, PathRejection>) -> Result<(RoomId, UserRef), Problem> {
    let Path((room, user)) = path.map_err(|_| unknown_room())?;
    let room = room.parse().map_err(|_| unknown_room())?;
    let user = user.parse().map_err(|_| {
        Problem::new(ErrorCode::BadRequest, "a user is named by a user id or a fingerprint of 64 hex digits")
    })?;
    Ok((room, user))
}

fn unknown_room() -> Problem {
    Problem::new(ErrorCode::UnknownRoom, "there is no such room, or it is not open to you")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[&'static str]) -> Option<Revisions> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, HeaderValue::from_static(line));
        }
        revisions(&headers)
    }

    #[test]
    fn a_revision_is_quoted_or_not() {
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&["*"]), Some(Revisions::Any));
        for seven in ["7", "\"7\"", " \"7\" "] {
            assert_eq!(asked(&[seven]), Some(Revisions::OneOf(vec![7])), "{seven}");
        }
        assert_eq!(asked(&["\"1\", 2", "3"]), Some(Revisions::OneOf(vec![1, 2, 3])));
        for nothing in ["", "W/\"7\"", "-1", "one", "99999999999999999999"] {
            assert_eq!(asked(&[nothing]), Some(Revisions::OneOf(Vec::new())), "{nothing}");
        }
    }
}
