//! Lists answered in parts.

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures::stream::{self, StreamExt};
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::problem::Problem;
use crate::{
    refusal::Refusal,
    relay::{ListPart, Parts},
};

const JSON: &str = "application/json";
/// The name of every list.
const OPEN: &[u8] = br#"{"messages":["#;

/// Answers a list: at once if it fits into one part, otherwise part by part as the reader takes them.
pub(super) async fn answer(mut parts: impl Parts) -> Result<Response, Problem> {
    let first = parts.next().await?;
    let is_whole = first.end.is_some();
    let bytes = Bytes::from([OPEN, &written(&first, true)?].concat());
    if is_whole {
        return Ok(([(CONTENT_TYPE, JSON)], bytes).into_response());
    }
    let rest = stream::unfold(Some(parts), |parts| async {
        let mut parts = parts?;
        let part = match parts.next().await {
            Ok(part) => part,
            Err(refusal) => return Some((Err(broken_off(&refusal)), None)),
        };
        let goes_on = part.end.is_none();
        let bytes = written(&part, false).map_err(std::io::Error::other);
        Some((bytes.map(Bytes::from), goes_on.then_some(parts)))
    });
    let body = Body::from_stream(stream::iter([Ok(bytes)]).chain(rest));
    Ok(([(CONTENT_TYPE, JSON)], body).into_response())
}

/// The reader has got a part already, so only the end of the connection can tell that the list is incomplete.
fn broken_off(refusal: &Refusal) -> std::io::Error {
    std::io::Error::other(refusal.message)
}

/// The items with commas between them; after the last one, the rest of the object.
fn written<I: Serialize, E: Serialize>(
    part: &ListPart<I, E>,
    is_first: bool,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    for (place, item) in part.items.iter().enumerate() {
        if place > 0 || !is_first {
            bytes.push(b',');
        }
        serde_json::to_writer(&mut bytes, item)?;
    }
    if let Some(end) = &part.end {
        bytes.extend_from_slice(b"],");
        bytes.extend_from_slice(serde_json::to_string(end)?.trim_start_matches('{').as_bytes());
    }
    Ok(bytes)
}

impl From<serde_json::Error> for Problem {
    fn from(_: serde_json::Error) -> Self {
        Self::new(aldis_protocol::ErrorCode::Internal, "the server failed")
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    /// Parts with these numbers of items.
    struct Numbers(Vec<Vec<u64>>);

    #[derive(Serialize)]
    struct End {
        next: Option<u64>,
    }

    impl Parts for Numbers {
        type Item = u64;
        type End = End;

        async fn next(&mut self) -> Result<ListPart<u64, End>, Refusal> {
            let items = self.0.remove(0);
            Ok(ListPart { items, end: self.0.is_empty().then_some(End { next: None }) })
        }
    }

    #[tokio::test]
    async fn a_list_in_parts_is_one_document() {
        for parts in
            [vec![vec![]], vec![vec![1]], vec![vec![1, 2], vec![3], vec![]], vec![vec![1], vec![2, 3]]]
        {
            let expected = json!({"messages": parts.concat(), "next": null});
            let response = answer(Numbers(parts)).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        }
    }
}
