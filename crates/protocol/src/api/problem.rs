//! Errors over HTTP: `application/problem+json` (RFC 9457).

// Exhaustive on purpose, every type of this file: the caller or the server builds a body in full, and decides about each
// member.

use serde::{Deserialize, Serialize};

use crate::ErrorCode;

/// What an HTTP call answers that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// The HTTP status, again.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
    pub status: u16,
    /// The status in words.
    pub title: String,
    /// What to do about it, for people.
    pub detail: String,
    /// What went wrong, for programs.
    pub code: ErrorCode,
}
