//! Large answers: they are sent in slices, and refused when too much waits for readers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use aldis_protocol::ErrorCode;
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::body::{Frame, SizeHint};

use super::{address::caller_address, problem::Problem};
use crate::{
    limits::{Reserved, SMALL},
    node::Node,
};

/// The memory of an answer that is read while it is sent: the part on its way and the next one.
const OF_STREAM: usize = 2 * SMALL;

/// Sends large answers in slices, and refuses them if there is no memory. Requests that changed something are always
/// answered.
pub(super) async fn bound(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let address = caller_address(&node.config(), request.extensions(), request.headers());
    let may_refuse = request.method().is_safe();
    let response = next.run(request).await;
    let size = response.body().size_hint();
    let bytes = match size.exact().map(usize::try_from) {
        Some(Ok(bytes)) if bytes <= SMALL => return response,
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) | None => OF_STREAM,
    };
    let answers = &node.limits.answers;
    let reserved = address.ok().and_then(|address| answers.reserve(address, bytes));
    match reserved.or_else(|| (!may_refuse).then(|| answers.reserve_anyway(bytes))) {
        Some(reserved) => {
            response.map(|body| Body::new(Sliced { body, rest: Bytes::new(), _reserved: reserved }))
        }
        None => {
            let detail = "too much waits to be read; read the answers that you asked for, or try again";
            Problem::new(ErrorCode::Overloaded, detail).into_response()
        }
    }
}

/// A body in slices: keeps what is not taken yet, and the memory reserved for it.
struct Sliced {
    body: Body,
    rest: Bytes,
    _reserved: Reserved,
}

impl HttpBody for Sliced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return Poll::Ready(other),
            }
        }
        let length = self.rest.len().min(SMALL);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, of_body) = (self.rest.len() as u64, self.body.size_hint());
        of_body.exact().map_or_else(SizeHint::new, |exact| SizeHint::with_exact(exact + rest))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::limits::Answers;

    #[tokio::test]
    async fn a_large_body_is_the_same_in_slices() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let reserved = Answers::new().reserve_anyway(bytes.len());
        let body = Body::from(bytes.clone());
        let mut sliced = Sliced { body, rest: Bytes::new(), _reserved: reserved };
        let mut read = Vec::new();
        while let Some(frame) = sliced.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= SMALL);
            read.extend_from_slice(&data);
            assert_eq!(sliced.size_hint().exact(), Some((bytes.len() - read.len()) as u64));
        }
        assert!(read == bytes && sliced.is_end_stream());
    }
}
