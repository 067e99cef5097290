//! The caller's encrypted messages.

use std::sync::Arc;

use aldis_protocol::{
    api::{ConversationQuery, StoredMessageList},
    limits::SEQUENCE_LIMIT,
};
use axum::{extract::State, response::Response};

use super::{
    openapi::{
        Refusals,
        refusals::{BadRequest, SignedIn},
    },
    paged,
    problem::Problem,
    query::{QueryOf, page_size},
};
use crate::{accounts::Caller, node::Node};

/// The caller's encrypted conversation with a user, a page at a time.
#[utoipa::path(
    get,
    path = "/api/messages",
    tag = "messages",
    params(ConversationQuery),
    responses(
        (status = 200, description = "The newest first", body = StoredMessageList),
        Refusals<(SignedIn, BadRequest)>,
    ),
)]
pub(super) async fn conversation(
    State(node): State<Arc<Node>>,
    caller: Caller,
    QueryOf(query): QueryOf<ConversationQuery>,
) -> Result<Response, Problem> {
    let before_seq = query.before_seq.unwrap_or(SEQUENCE_LIMIT);
    let limit = page_size(query.limit)?;
    paged::answer(node.relay.conversation(&caller, query.peer, before_seq, limit).await?).await
}
