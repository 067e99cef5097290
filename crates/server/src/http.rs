//! The HTTP API: the route table, and what every request meets before and after its handler.

mod address;
mod audience;
mod auth;
mod body;
mod caller;
mod contacts;
mod cors;
mod devices;
mod head;
mod ice;
mod identity;
mod limits;
mod loopback;
mod messages;
mod metrics;
mod ops;
mod origin;
mod problem;
mod query;
mod rooms;
#[cfg(test)]
mod tests;
mod totp;
mod trace;

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::{delete, get, post, put},
};
use http::{HeaderValue, header::CACHE_CONTROL};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};

pub(crate) use self::{
    address::{AddressKey, caller_address},
    audience::audience,
    caller::bearer,
    limits::{Limited, Limits},
    metrics::admin_routes,
    origin::socket_origin_allowed,
    problem::Problem,
};
use crate::node::Node;

/// Everything that the server answers over HTTP, the doors among it. Expects the peer's address as
/// `ConnectInfo<SocketAddr>` in the request's extensions.
pub(crate) fn routes(node: Arc<Node>, doors: Router<Arc<Node>>) -> Router {
    Router::new()
        .route("/auth/register", post(auth::register))
        .route("/auth/login", post(auth::login))
        .route("/api/auth/challenge", post(auth::challenge))
        .route("/api/auth/verify", post(auth::verify))
        .route("/api/auth/refresh", post(auth::refresh))
        .route("/api/auth/logout", post(auth::logout))
        .route("/api/auth/password", post(auth::change_password))
        .route("/api/account", delete(auth::delete_account))
        .route("/api/auth/totp", delete(totp::remove))
        .route("/api/auth/totp/enroll", post(totp::enroll))
        .route("/api/auth/totp/verify", post(totp::verify))
        .route("/api/identity/link", post(identity::link))
        .route("/api/identity/rotate", post(identity::rotate))
        .route("/api/identity/rotate/cancel", post(identity::cancel_rotation))
        .route("/api/identity/blob", put(identity::publish_blob))
        .route("/api/identity/blob/{fingerprint}", get(identity::blob))
        .route("/api/identity/{fingerprint}", get(identity::show))
        .route("/api/identity/{fingerprint}/chain", get(identity::chain))
        .route("/api/keys/encryption", put(identity::publish_encryption_key))
        .route("/api/users/{user}/keys", get(identity::keys))
        .route("/devices/register", post(devices::register).delete(devices::remove_one_named_register))
        .route("/devices", get(devices::list))
        .route("/devices/", get(devices::list))
        .route("/devices/{id}", delete(devices::remove))
        .route("/devices/{id}/", delete(devices::remove))
        .route("/api/contacts", get(contacts::list))
        .route("/api/contacts/{user}", put(contacts::set).delete(contacts::remove))
        .route("/api/contacts/{user}/request", post(contacts::request))
        .route("/api/messages", get(messages::conversation))
        .route("/api/rooms", post(rooms::create))
        .route("/api/rooms/{room}", get(rooms::show))
        .route("/api/rooms/{room}/members/{user}", put(rooms::add_member).delete(rooms::remove_member))
        .route("/api/rooms/{room}/messages", get(rooms::messages))
        .route("/api/rooms/{room}/state", get(rooms::state).put(rooms::set_state))
        .route("/api/ice-servers", get(ice::list))
        .route("/.well-known/jwks.json", get(auth::token_verifiers))
        .route("/health", get(ops::health))
        .route("/health/ready", get(ops::ready))
        .merge(doors)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn(head::limit))
        .layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(from_fn_with_state(Arc::clone(&node), cors::share))
        .layer(from_fn_with_state(Arc::clone(&node), metrics::count))
        .layer(from_fn(trace::trace))
        .with_state(node)
}
