//! Makes calls: a connection, the request, the answer, one timeout over all.

use std::time::Duration;

use aldis_protocol::{PendingRotation, api::ChainHead};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Answer, Call, CallError, HttpRefusal,
    connections::{CONNECTIONS, Connection, Connections},
};
use crate::dial::Route;

/// What is read of a refusal.
const REFUSAL_BYTES: usize = 16 * 1024;

/// Makes calls of one server.
#[derive(Debug)]
pub(crate) struct Caller {
    route: Route,
    /// Over everything, the wait for a turn included.
    timeout: Duration,
    /// More calls than there may be connections wait for their turn.
    turns: Semaphore,
    idle: Connections,
}

impl Caller {
    pub(crate) const fn new(route: Route, timeout: Duration) -> Self {
        Self { route, timeout, turns: Semaphore::const_new(CONNECTIONS), idle: Connections::new() }
    }

    pub(crate) const fn route(&self) -> &Route {
        &self.route
    }

    /// Makes a call. Dropping the future gives up the connection; the call may be carried out all the same.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, CallError> {
        timeout(self.timeout, self.steps(call)).await.unwrap_or(Err(CallError::TimedOut))
    }

    async fn steps(&self, call: &Call) -> Result<Answer, CallError> {
        // Nobody closes the semaphore.
        let _turn = self.turns.acquire().await.map_err(|error| CallError::Broken(error.to_string()))?;
        let request = call.to_request(&self.route.endpoint)?;
        let (connection, response) = self.exchange(request).await?;
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            return Err(self.refused(parts.status, &parts.headers, body, connection).await);
        }
        let body = read(body, call.answer_bytes).await?;
        self.idle.put(connection);
        Ok(Answer { headers: parts.headers, body })
    }

    /// Sends a request over a connection that is there, else over a new one. What a connection gave back unsent, because
    /// it had ended meanwhile, is sent over another.
    async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Connection, Response<Incoming>), CallError> {
        loop {
            let mut connection = self.connection().await?;
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if connection.is_used => request = unsent,
                    Some(_) | None => return Err(CallError::Broken(failed.into_error().to_string())),
                },
            }
        }
    }

    async fn connection(&self) -> Result<Connection, CallError> {
        while let Some(mut connection) = self.idle.take() {
            if connection.sender.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        Connection::open(&self.route).await
    }

    async fn refused(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: Incoming,
        connection: Connection,
    ) -> CallError {
        // What stands in the way of reading it is no reason to hide the refusal.
        let body = read(body, REFUSAL_BYTES).await.unwrap_or_default();
        if !body.is_empty() {
            self.idle.put(connection);
        }
        CallError::Refused(Box::new(refusal(status, headers, &body)))
    }
}

async fn read(body: Incoming, limit: usize) -> Result<Bytes, CallError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(CallError::AnswerTooLarge { limit }),
        Err(error) => Err(CallError::Broken(error.to_string())),
    }
}

/// As much of a problem as an answer has: a proxy's has none.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
    rotation: Option<PendingRotation>,
    head: Option<ChainHead>,
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> HttpRefusal {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    HttpRefusal {
        status: status.as_u16(),
        code: problem.code.parse().ok(),
        detail: problem.detail,
        retry_after: retry_after(headers),
        rotation: problem.rotation,
        head: problem.head,
    }
}

/// In seconds; a date is what no Aldis server writes.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
