//! The HTTP API: the route table, and what every request meets before and after its handler.

mod address;
mod admin_host;
mod answers;
mod audience;
mod auth;
mod body;
mod caller;
mod calls;
mod completion;
mod contacts;
mod cors;
mod devices;
mod docs;
mod exchange;
mod head;
mod held;
mod ice;
mod identity;
mod if_match;
mod loopback;
mod messages;
mod metrics;
mod openapi;
mod ops;
mod origin;
mod paged;
mod problem;
mod query;
mod requests;
mod rooms;
mod sessions;
mod status;
#[cfg(test)]
mod tests;
mod totp;
mod trace;

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{delete, get},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::{
    address::caller_address, audience::audience, caller::bearer, head::BareLineFeed, held::hold,
    metrics::admin_routes, origin::is_origin_allowed, problem::Problem,
};
use crate::node::Node;

/// Everything that the server answers over HTTP, the doors among it. Expects the peer's address as
/// `ConnectInfo<SocketAddr>` in the request's extensions.
pub(crate) fn routes(node: Arc<Node>, doors: Router<Arc<Node>>) -> Router {
    let (api, document) = api(&node).split_for_parts();
    api.layer(from_fn_with_state(Arc::clone(&node), answers::bound))
        .merge(docs::routes(document, &node.config().name))
        .merge(doors)
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&node), exchange::complete))
        .with_state(node)
}

/// The calls: each brings its method, its path and its description. What is another spelling of a path is described once.
fn api(node: &Arc<Node>) -> OpenApiRouter<Arc<Node>> {
    let shared = shared().layer(from_fn_with_state(Arc::clone(node), calls::take_turns));
    OpenApiRouter::with_openapi(openapi::document()).merge(shared).merge(always_open())
}

/// What an owner needs against a thief: nothing that the thief asks holds it up.
fn always_open() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::new()
        .routes(routes!(auth::logout))
        .routes(routes!(identity::cancel_rotation))
        .routes(routes!(devices::remove))
        .route("/devices/{id}/", delete(devices::remove))
        .route("/devices/register", delete(devices::remove_one_named_register))
}

/// What the users of an address share.
fn shared() -> OpenApiRouter<Arc<Node>> {
    OpenApiRouter::new()
        .routes(routes!(auth::register))
        .routes(routes!(auth::login))
        .routes(routes!(auth::challenge))
        .routes(routes!(auth::verify))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::change_password))
        .routes(routes!(auth::delete_account))
        .routes(routes!(totp::remove))
        .routes(routes!(totp::enroll))
        .routes(routes!(totp::verify))
        .routes(routes!(identity::link))
        .routes(routes!(identity::rotate))
        .routes(routes!(identity::publish_blob))
        .routes(routes!(identity::blob))
        .routes(routes!(identity::show))
        .routes(routes!(identity::chain))
        .routes(routes!(identity::publish_encryption_key))
        .routes(routes!(identity::keys))
        .routes(routes!(devices::register))
        .routes(routes!(devices::list))
        .route("/devices", get(devices::list))
        .routes(routes!(contacts::list))
        .routes(routes!(contacts::set, contacts::remove))
        .routes(routes!(contacts::request))
        .routes(routes!(messages::conversation))
        .routes(routes!(rooms::create))
        .routes(routes!(rooms::invitations))
        .routes(routes!(rooms::show))
        .routes(routes!(rooms::add_member, rooms::remove_member))
        .routes(routes!(rooms::messages))
        .routes(routes!(rooms::state, rooms::set_state))
        .routes(routes!(ice::list))
        .routes(routes!(auth::token_verifiers))
        .routes(routes!(ops::health))
        .routes(routes!(ops::ready))
}
