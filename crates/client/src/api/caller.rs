//! Makes calls: connect, send the request, read the answer, with one timeout for all of it.

use std::time::Duration;

use aldis_client_core::{Answer, Call, CallError, Endpoint, HttpAnswer, HttpRequest};
use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::{sync::Semaphore, time::timeout};

use super::connections::{CONNECTIONS, Connection, Connections};
use crate::dial::Route;

/// How much of a refusal is read.
const REFUSAL_BYTES: usize = 16 * 1024;

/// Makes the calls to one server.
#[derive(Debug)]
pub(crate) struct Caller {
    route: Route,
    /// For the whole call, including its wait in the queue.
    timeout: Duration,
    /// Calls beyond the number of connections wait here.
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

    /// Makes a call. Dropping the future closes the connection, but the server may still carry out the call.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, CallError> {
        timeout(self.timeout, self.steps(call)).await.unwrap_or(Err(CallError::TimedOut))
    }

    async fn steps(&self, call: &Call) -> Result<Answer, CallError> {
        // Nobody closes the semaphore.
        let _turn = self.turns.acquire().await.map_err(|error| CallError::Broken(error.to_string()))?;
        let request = call.to_request(&self.route.endpoint)?;
        let limit = request.answer_limit;
        let (connection, response) = self.exchange(to_hyper(request, &self.route.endpoint)?).await?;
        let (parts, body) = response.into_parts();
        let body = if parts.status.is_success() {
            let body = read(body, limit).await?;
            self.idle.put(connection);
            body
        } else {
            self.read_refusal(body, connection).await
        };
        HttpAnswer { status: parts.status, headers: parts.headers, body }.into_result()
    }

    /// Sends a request over an idle connection, or over a new one. A request that an ended connection returned unsent
    /// goes over another one.
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

    /// Reads the body of a refusal. If that fails, the refusal is reported without it.
    async fn read_refusal(&self, body: Incoming, connection: Connection) -> Bytes {
        let body = read(body, REFUSAL_BYTES).await.unwrap_or_default();
        if !body.is_empty() {
            self.idle.put(connection);
        }
        body
    }
}

/// Adds the headers that a browser adds by itself.
fn to_hyper(request: HttpRequest, endpoint: &Endpoint) -> Result<Request<Full<Bytes>>, CallError> {
    let unwritable = |error: http::Error| CallError::Unwritable(error.to_string());
    let HttpRequest { method, path, headers, body, answer_limit: _ } = request;
    let mut request =
        Request::builder().method(method).uri(path).body(Full::new(body)).map_err(unwritable)?;
    *request.headers_mut() = headers;
    let host = HeaderValue::try_from(&endpoint.audience).map_err(|error| unwritable(error.into()))?;
    request.headers_mut().insert(HOST, host);
    let agent = HeaderValue::from_static(concat!("aldis-client/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(USER_AGENT, agent);
    Ok(request)
}

async fn read(body: Incoming, limit: usize) -> Result<Bytes, CallError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(CallError::AnswerTooLarge { limit }),
        Err(error) => Err(CallError::Broken(error.to_string())),
    }
}
