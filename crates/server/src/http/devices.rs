//! The caller's devices.

use std::sync::Arc;

use aldis_protocol::{
    DeviceId, ErrorCode,
    api::{Device, DeviceList, RegisterDevice},
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
};
use http::StatusCode;

use super::{
    body::JsonBody,
    openapi::{
        Refusals,
        refusals::{
            Conflict, InvalidKey, InvalidSignature, KeyInUse, RateLimited, SignedIn, UnknownDevice, WithJson,
            WithStepUp,
        },
    },
    problem::Problem,
};
use crate::{accounts::Caller, clock::Now, node::Node};

/// Registers a device of the caller's; 20 a user, and 20 a day.
///
/// Needs a login of the last five minutes.
#[utoipa::path(
    post,
    path = "/devices/register",
    tag = "devices",
    request_body = RegisterDevice,
    responses(
        (status = 200, description = "It was registered with this key before", body = Device),
        (status = 201, description = "Registered", body = Device),
        Refusals<(SignedIn, WithJson, InvalidKey, InvalidSignature, WithStepUp, Conflict, KeyInUse, RateLimited)>,
    ),
)]
pub(super) async fn register(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<RegisterDevice>,
) -> Result<(StatusCode, Json<Device>), Problem> {
    let (device, created) = node.accounts.register_device(&caller, request, Now::read()).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(device)))
}

/// The caller's devices.
///
/// The path without the final slash is the same.
#[utoipa::path(
    get,
    path = "/devices/",
    tag = "devices",
    responses(
        (status = 200, description = "The devices", body = DeviceList),
        Refusals<(SignedIn,)>,
    ),
)]
pub(super) async fn list(State(node): State<Arc<Node>>, caller: Caller) -> Result<Json<DeviceList>, Problem> {
    Ok(Json(node.accounts.devices(&caller, Now::read()).await?))
}

/// Removes a device of the caller's, and closes its sockets.
///
/// The path with a final slash is the same.
#[utoipa::path(
    delete,
    path = "/devices/{id}",
    tag = "devices",
    params(("id" = DeviceId, Path, description = "The device")),
    responses(
        (status = 204, description = "Removed"),
        Refusals<(SignedIn, UnknownDevice)>,
    ),
)]
pub(super) async fn remove(
    State(node): State<Arc<Node>>,
    caller: Caller,
    id: Result<Path<DeviceId>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id.map_err(|_| unknown_device())?;
    node.accounts.remove_device(&caller, &id, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /devices/register`: a device whose id is also the path of another call.
pub(super) async fn remove_one_named_register(
    State(node): State<Arc<Node>>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    let id = "register".parse().map_err(|_| unknown_device())?;
    node.accounts.remove_device(&caller, &id, Now::read()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown_device() -> Problem {
    Problem::new(ErrorCode::UnknownDevice, "there is no such device of yours")
}
