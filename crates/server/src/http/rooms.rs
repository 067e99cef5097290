//! Rooms: made, decided about, read.

use std::sync::Arc;

use aldis_protocol::{
    ErrorCode, RoomId, UserRef,
    api::{CreateRoom, Room, RoomInvitations, RoomMessages, RoomState, SetRoomState},
    whole,
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header::ETAG};
use serde::Deserialize;

use super::{
    body::JsonBody,
    if_match,
    openapi::{
        Refusals,
        refusals::{
            BadRequest, Conflict, Forbidden, IfMatch, NotFound, RateLimited, SignedIn, UnknownRoom, WithJson,
        },
    },
    paged,
    problem::Problem,
    query::{QueryOf, page_size},
};
use crate::{accounts::Caller, clock::Now, node::Node, store::Revisions};

/// The query of `GET /api/rooms/{room}/messages`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MessagesQuery {
    /// Only what has a higher number.
    #[serde(default, deserialize_with = "whole::query::number")]
    #[param(maximum = 9_007_199_254_740_991_i64)]
    since_seq: Option<u64>,
    /// How many at the most: 100 where none is given, cut to 500; 0 is refused.
    #[serde(default, deserialize_with = "whole::query::count")]
    #[param(minimum = 1, default = 100, format = "uint64")]
    limit: Option<u64>,
}

/// Makes a room of the caller's; 100 a user.
#[utoipa::path(
    post,
    path = "/api/rooms",
    tag = "rooms",
    request_body = CreateRoom,
    responses(
        (status = 201, description = "Made", body = Room),
        Refusals<(SignedIn, WithJson, NotFound, Conflict)>,
    ),
)]
pub(super) async fn create(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<CreateRoom>,
) -> Result<(StatusCode, Json<Room>), Problem> {
    Ok((StatusCode::CREATED, Json(node.relay.create_room(&caller, request, Now::read()).await?)))
}

/// The private rooms that others put the caller in and that the caller has not joined yet.
///
/// Joining a room over a socket accepts. `DELETE /api/rooms/{room}/members/{user}` with the caller's own id declines: its
/// owner cannot put the caller in any room for 30 days, unless the caller allows them.
#[utoipa::path(
    get,
    path = "/api/rooms/invitations",
    tag = "rooms",
    responses(
        (status = 200, description = "The oldest first; 1,000 at most", body = RoomInvitations),
        Refusals<(SignedIn,)>,
    ),
)]
pub(super) async fn invitations(
    State(node): State<Arc<Node>>,
    caller: Caller,
) -> Result<Json<RoomInvitations>, Problem> {
    Ok(Json(node.relay.room_invitations(&caller).await?))
}

/// A room that the caller may join.
#[utoipa::path(
    get,
    path = "/api/rooms/{room}",
    tag = "rooms",
    params(("room" = RoomId, Path, description = "The room")),
    responses(
        (status = 200, description = "The room", body = Room),
        Refusals<(SignedIn, UnknownRoom)>,
    ),
)]
pub(super) async fn show(
    State(node): State<Arc<Node>>,
    caller: Caller,
    room: Result<Path<RoomId>, PathRejection>,
) -> Result<Json<Room>, Problem> {
    Ok(Json(node.relay.show_room(&caller, &named(room)?).await?))
}

/// Adds a user to a room of the caller's.
///
/// In a private room the user is invited, and becomes a member by joining it. The answer is the same where the user blocks
/// the caller, or declined or left in the last 30 days; then nothing happens. 100 invitations of an owner wait for users who
/// have not allowed the owner.
#[utoipa::path(
    put,
    path = "/api/rooms/{room}/members/{user}",
    tag = "rooms",
    params(
        ("room" = RoomId, Path, description = "The room"),
        ("user" = UserRef, Path, description = "Who"),
    ),
    responses(
        (status = 204, description = "A member"),
        Refusals<(SignedIn, BadRequest, Forbidden, UnknownRoom, NotFound, Conflict)>,
    ),
)]
pub(super) async fn add_member(
    State(node): State<Arc<Node>>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let (room, user) = member(path)?;
    node.relay.add_room_member(&caller, &room, user, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a user from a room of the caller's, or the caller from any room.
///
/// A caller who takes themselves out declines the invitation, or leaves: for 30 days the owner cannot put them in a room
/// again (after an invitation: in any room; after leaving: in that one), unless the caller allows the owner.
#[utoipa::path(
    delete,
    path = "/api/rooms/{room}/members/{user}",
    tag = "rooms",
    params(
        ("room" = RoomId, Path, description = "The room"),
        ("user" = UserRef, Path, description = "Who"),
    ),
    responses(
        (status = 204, description = "No member"),
        Refusals<(SignedIn, BadRequest, Forbidden, UnknownRoom, NotFound, Conflict)>,
    ),
)]
pub(super) async fn remove_member(
    State(node): State<Arc<Node>>,
    caller: Caller,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let (room, user) = member(path)?;
    node.relay.remove_room_member(&caller, &room, user, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The messages of a room, in the order of their numbers.
#[utoipa::path(
    get,
    path = "/api/rooms/{room}/messages",
    tag = "rooms",
    params(
        ("room" = RoomId, Path, description = "The room"),
        MessagesQuery,
    ),
    responses(
        (status = 200, description = "A page", body = RoomMessages),
        Refusals<(SignedIn, BadRequest, Forbidden, UnknownRoom)>,
    ),
)]
pub(super) async fn messages(
    State(node): State<Arc<Node>>,
    caller: Caller,
    room: Result<Path<RoomId>, PathRejection>,
    QueryOf(query): QueryOf<MessagesQuery>,
) -> Result<Response, Problem> {
    let (room, limit) = (named(room)?, page_size(query.limit)?);
    let since_seq = query.since_seq.unwrap_or_default();
    paged::answer(node.relay.room_messages(&caller, room, since_seq, limit).await?).await
}

/// The state document of a room.
#[utoipa::path(
    get,
    path = "/api/rooms/{room}/state",
    tag = "rooms",
    params(("room" = RoomId, Path, description = "The room")),
    responses(
        (
            status = 200, description = "Revision 0 and null where none was set",
            body = RoomState,
            headers(("ETag" = String, description = "The revision, for `If-Match`")),
        ),
        Refusals<(SignedIn, Forbidden, UnknownRoom)>,
    ),
)]
pub(super) async fn state(
    State(node): State<Arc<Node>>,
    caller: Caller,
    room: Result<Path<RoomId>, PathRejection>,
) -> Result<impl IntoResponse, Problem> {
    with_etag(node.relay.room_state(&caller, &named(room)?).await?)
}

/// Sets the state document of a room, and tells everybody in it the latest one; 5 a second and room.
#[utoipa::path(
    put,
    path = "/api/rooms/{room}/state",
    tag = "rooms",
    params(
        ("room" = RoomId, Path, description = "The room"),
        (
            "If-Match" = String,
            Header,
            description = "The revision that is replaced, quoted or not, weak or strong: 0 for the first; `*` is any that was set",
        ),
    ),
    request_body = SetRoomState,
    responses(
        (
            status = 200, description = "Set",
            body = RoomState,
            headers(("ETag" = String, description = "The revision, for `If-Match`")),
        ),
        Refusals<(SignedIn, WithJson, Forbidden, UnknownRoom, Conflict, IfMatch, RateLimited)>,
    ),
)]
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
    with_etag(node.relay.set_room_state(&caller, &room, request, &expected, Now::read()).await?)
}

fn with_etag(state: RoomState) -> Result<impl IntoResponse, Problem> {
    let etag = HeaderValue::from_str(&format!("\"{}\"", state.revision))
        .map_err(|_| Problem::new(ErrorCode::Internal, "the server failed"))?;
    Ok(([(ETAG, etag)], Json(state)))
}

fn revisions(headers: &HeaderMap) -> Option<Revisions> {
    match if_match::IfMatch::of(headers) {
        if_match::IfMatch::Absent => None,
        if_match::IfMatch::Any => Some(Revisions::Any),
        if_match::IfMatch::OneOf(revisions) => Some(Revisions::OneOf(revisions)),
    }
}

/// A malformed name counts as an unknown room.
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
