//! The server's HTTP API, played by the test over pipes.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use aldis_client::Server;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::DuplexStream;

use crate::peer::{AUDIENCE, URL};

/// A call as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Method and path.
    pub(crate) line: String,
    pub(crate) bearer: Option<String>,
    pub(crate) body: Value,
}

/// What is answered, and how many connections and calls there were.
#[derive(Clone, Default)]
pub(crate) struct Record {
    calls: Arc<Mutex<Vec<Received>>>,
    connections: Arc<Mutex<usize>>,
}

impl Record {
    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<Received> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.calls().iter().filter(|call| call.line == line).count()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// A server whose API is a function.
pub(crate) fn api<F>(answer: F) -> (Server, Record)
where
    F: Fn(&Received) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
{
    let record = Record::default();
    let noted = record.clone();
    let reach = move |_, _| {
        let (near, far) = tokio::io::duplex(64 * 1024);
        *noted.connections.lock().unwrap() += 1;
        tokio::spawn(serve(far, noted.clone(), answer.clone()));
        async move { Ok::<_, io::Error>(near) }
    };
    (Server::insecure(URL).unwrap().transport(reach), record)
}

async fn serve<F>(stream: DuplexStream, record: Record, answer: F)
where
    F: Fn(&Received) -> Response<Full<Bytes>> + Clone + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (record, answer) = (record.clone(), answer.clone());
        async move {
            let received = read(request).await;
            record.calls.lock().unwrap().push(received.clone());
            Ok::<_, Infallible>(answer(&received))
        }
    });
    // A client that has what it wants hangs up.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn read(request: Request<Incoming>) -> Received {
    let (parts, body) = request.into_parts();
    assert_eq!(parts.headers["host"], AUDIENCE);
    let bearer = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body = body.collect().await.unwrap().to_bytes();
    Received {
        line: format!("{} {}", parts.method, parts.uri),
        bearer: bearer.and_then(|value| Some(value.strip_prefix("Bearer ")?.to_owned())),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

/// A JSON body.
pub(crate) fn json(status: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(body.to_string().into()).unwrap()
}

/// A problem.
pub(crate) fn problem(status: u16, code: &str) -> Response<Full<Bytes>> {
    json(status, &json!({"status": status, "title": "No", "detail": "do something", "code": code}))
}

/// Tokens with numbers in their names.
pub(crate) fn tokens(number: usize, expires_in: u64) -> Response<Full<Bytes>> {
    json(
        200,
        &json!({
            "access_token": format!("access-{number}"), "token_type": "bearer", "expires_in": expires_in,
            "refresh_token": format!("refresh-{number}"), "user_id": "00000000-0000-0000-0000-000000000000",
        }),
    )
}

/// A challenge of this server.
pub(crate) fn challenge(audience: &str, lives_ms: u64) -> Response<Full<Bytes>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let expires_at_ms = u64::try_from(now.as_millis()).unwrap() + lives_ms;
    let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    json(200, &json!({"challenge": zeros, "audience": audience, "expires_at_ms": expires_at_ms}))
}
