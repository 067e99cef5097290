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

use super::{body::JsonBody, problem::Problem};
use crate::{node::Node, router::Caller};

/// `POST /devices/register`
pub(super) async fn register(
    State(node): State<Arc<Node>>,
    caller: Caller,
    JsonBody(request): JsonBody<RegisterDevice>,
) -> Result<(StatusCode, Json<Device>), Problem> {
    let (device, created) = node.router.register_device(&caller, request).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(device)))
}

/// `GET /devices/`
pub(super) async fn list(State(node): State<Arc<Node>>, caller: Caller) -> Result<Json<DeviceList>, Problem> {
    Ok(Json(node.router.devices(&caller).await?))
}

/// `DELETE /devices/{id}`
pub(super) async fn remove(
    State(node): State<Arc<Node>>,
    caller: Caller,
    id: Result<Path<DeviceId>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(id) = id.map_err(|_| unknown_device())?;
    node.router.remove_device(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /devices/register`: the one id whose path is also another's.
pub(super) async fn remove_one_named_register(
    State(node): State<Arc<Node>>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    let id = "register".parse().map_err(|_| unknown_device())?;
    node.router.remove_device(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown_device() -> Problem {
    Problem::new(ErrorCode::UnknownDevice, "there is no such device of yours")
}
