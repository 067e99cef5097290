//! The query of a request, as its type.

use aldis_protocol::{
    ErrorCode,
    limits::{DEFAULT_PAGE, MAX_PAGE},
};
use axum::extract::{FromRequestParts, Query, rejection::QueryRejection};
use http::request::Parts;

use super::problem::Problem;

/// The parameters after the `?`, each at most once. Unknown names are ignored.
pub(super) struct QueryOf<T>(pub(super) T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|rejection: QueryRejection| {
            Problem::new(ErrorCode::BadRequest, format!("in the query: {}", rejection.body_text()))
        })
    }
}

/// How many rows a caller gets for this `limit`.
pub(super) fn page_size(limit: Option<u64>) -> Result<u32, Problem> {
    match limit {
        Some(0) => Err(Problem::new(ErrorCode::BadRequest, "`limit` is at least 1")),
        Some(limit) => Ok(u32::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE)),
        None => Ok(DEFAULT_PAGE),
    }
}
