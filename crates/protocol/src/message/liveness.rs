//! Liveness and confirmation of what was received (docs/protocol/messages.md, resume.md).

use serde::{Deserialize, Serialize};

use crate::whole;

/// C→S: how many counted messages arrived in this session. The only request without a reply.
// Exhaustive on purpose: who sends it decides about each field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Received {
    /// All counted messages since `connected`, on any socket of the session.
    #[serde(deserialize_with = "whole::number")]
    pub count: u64,
}
