//! Turns an HTTP request at a door into a session. Keeps only the parts of the request that the session needs.

use std::{sync::Arc, time::Duration};

use aldis_protocol::{Codec, Door, ErrorCode, RoomId, limits::MAX_UNAUTHENTICATED_MESSAGE_BYTES};
use aldis_registry::DeviceClaim;
use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rand::RngExt;
use tokio::time::timeout;

use super::{
    accept::ByteStream,
    connections, credentials,
    gate::{Gate, Place},
    heads::Heads,
    http_deadlines::HttpStream,
    io::Io,
    listener::CameIn,
    socket::{Socket, accept_key},
};
use crate::{
    clock::{Now, next_in_order},
    drain::{announce, dismiss},
    http::{Problem, audience, caller_address, is_origin_allowed},
    limits::Limited,
    node::Node,
    rate::{AddressKey, Limit},
    session::{Arrival, Credentials, enter},
};

/// From the response 101 to the first byte of the new protocol.
const UPGRADE: Duration = Duration::from_secs(10);
const VERSION: &str = "13";
const FOREIGN_ORIGIN: &str = "pages of this origin may not connect; see ALDIS_ALLOWED_ORIGINS";

type Upgrading = Request<axum::body::Body>;

/// The routes of the five doors, for connections over streams `S`.
pub(crate) fn doors<S: ByteStream>(node: &Node) -> Router<Arc<Node>> {
    let gate = Gate::new(node.config().rate_limits);
    Door::ALL.into_iter().fold(Router::new(), |router, door| {
        let gate = Arc::clone(&gate);
        router.route(
            door.path(),
            get(
                async move |State(node): State<Arc<Node>>, room: Option<Path<String>>, request: Upgrading| {
                    let arrived = Arrived { door, node, gate, room: room.map(|Path(room)| room) };
                    arrived.answer::<S>(request).await
                },
            ),
        )
    })
}

/// A request at a door.
struct Arrived {
    door: Door,
    node: Arc<Node>,
    gate: Arc<Gate>,
    room: Option<String>,
}

impl Arrived {
    async fn answer<S: ByteStream>(self, request: Upgrading) -> Response {
        let headers = request.headers();
        let key = match check_upgrade(headers) {
            Ok(key) => key,
            Err(problem) => return self.refuse(problem, None),
        };
        if !self.allows_origin(headers) {
            let origin = headers.get(header::ORIGIN).map(text);
            return self.refuse(Problem::new(ErrorCode::Forbidden, FOREIGN_ORIGIN), origin);
        }
        match self.upgrade::<S>(&key, request).await {
            Ok(response) => response,
            Err(problem) => self.refuse(problem, None),
        }
    }

    fn refuse(&self, problem: Problem, origin: Option<&str>) -> Response {
        self.node.relay.metrics.refused_at(self.door, problem.code(), origin);
        refuse(problem)
    }

    async fn upgrade<S: ByteStream>(
        &self,
        key: &HeaderValue,
        mut request: Upgrading,
    ) -> Result<Response, Problem> {
        let headers = request.headers();
        if self.node.is_draining() {
            return Err(Problem::new(ErrorCode::Draining, "the server is about to stop; connect again"));
        }
        let address = caller_address(&self.node.config(), request.extensions(), headers)?;
        self.node.limits.take(Limited::Upgrades, address, Now::read())?;
        let codec = offered_codec(headers);
        let arrival = self.arrival(&request, address, codec)?;
        if self.door == Door::Api {
            credentials::check_token(&arrival.credentials, &self.node.accounts, Now::read()).await?;
        }
        let place = self.place(address)?;
        let Some(on_upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
            return Err(Problem::new(ErrorCode::UpgradeRequired, "this path speaks WebSocket, version 13"));
        };
        // The connection keeps its place among the unauthenticated ones until it has sent its proof.
        let connection = request.extensions_mut().remove::<Arc<connections::Place>>();
        let node = Arc::clone(&self.node);
        // Boxed: the runtime moves a task's future several times, and this one is large.
        self.node.sessions.spawn(Box::pin(async move {
            begin_session::<S>(on_upgrade, arrival, (place, connection), &node).await;
        }));
        Ok(switching_protocols(key, codec))
    }

    fn allows_origin(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter().map(text);
        let (origin, host) = (origins.next(), headers.get(header::HOST).map(text));
        let only_one = origins.next().is_none();
        only_one && is_origin_allowed(&self.node.config(), origin, host)
    }

    fn arrival(
        &self,
        request: &Upgrading,
        address: AddressKey,
        codec: Option<Codec>,
    ) -> Result<Arrival, Problem> {
        let room = self.room.as_deref().map(str::parse::<RoomId>).transpose();
        let room = room.map_err(|error| Problem::new(ErrorCode::NotFound, error.to_string()))?;
        let credentials = match self.door {
            Door::Connect => {
                let audience = audience(&self.node.config(), request.headers()).map_err(Problem::from)?;
                Credentials::Challenge { challenge: rand::rng().random(), audience }
            }
            Door::Chat => Credentials::FirstMessage,
            Door::Signal | Door::Protobuf | Door::Api => credentials::of(request.uri(), request.headers()),
        };
        let order = request.extensions().get().map_or_else(next_in_order, |CameIn(order)| *order);
        Ok(Arrival {
            door: self.door,
            codec: codec.unwrap_or(self.door.default_codec()),
            address,
            room,
            credentials,
            device_claim: DeviceClaim::new(order),
        })
    }

    fn place(&self, address: AddressKey) -> Result<Place, Problem> {
        let place = self.gate.enter(address, self.node.relay.registry.len());
        place.ok_or_else(|| {
            self.node.relay.metrics.limited(Limit::UnauthenticatedSockets);
            Problem::lifted(
                Limit::UnauthenticatedSockets,
                ErrorCode::Overloaded,
                "too many connections are on their way in; try again",
            )
        })
    }
}

/// Runs the handshake of an upgraded connection, and then lets the session continue in a small task of its own.
async fn begin_session<S: ByteStream>(
    on_upgrade: OnUpgrade,
    arrival: Arrival,
    places: (Place, Option<Arc<connections::Place>>),
    node: &Node,
) {
    // Once there is a socket, a drain ends the waits for the client, and everything else runs to its end.
    let upgraded = node.stop.run_until_cancelled(timeout(UPGRADE, on_upgrade)).await;
    let Some(Ok(Ok(upgraded))) = upgraded else { return };
    let Some(socket) = socket::<S>(upgraded, arrival.codec) else { return };
    let dismissed = async {
        node.drains().await;
        dismiss()
    };
    let window = node.config().resume_window;
    if let Some(task) = enter(Box::new(socket), arrival, dismissed, &node.relay, window, &node.sessions).await
    {
        drop(places);
        if node.is_draining() {
            // The session began too late for the drain to know of it.
            task.session().close_with(announce(task.session()));
        }
        node.sessions.spawn(task);
    }
}

fn socket<S: ByteStream>(upgraded: Upgraded, codec: Codec) -> Option<Socket<Io<S>>> {
    let parts = upgraded.downcast::<TokioIo<HttpStream<Heads<Io<S>>>>>().ok()?;
    let (heads, response) = parts.io.into_inner().into_parts();
    let (io, held) = heads.into_parts();
    let early = [&parts.read_buf[..], &held].concat();
    let mut socket = Socket::new(io, &early, codec, MAX_UNAUTHENTICATED_MESSAGE_BYTES)?;
    socket.write_first(response);
    Some(socket)
}

/// The `Sec-WebSocket-Key` of a request for WebSocket, version 13 (RFC 6455, section 4.2.1).
fn check_upgrade(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    let asks = has_token(headers, header::CONNECTION, "upgrade")
        && has_token(headers, header::UPGRADE, "websocket")
        && version.is_some_and(|version| version == VERSION);
    if !asks {
        return Err(Problem::new(ErrorCode::UpgradeRequired, "this path speaks WebSocket, version 13"));
    }
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_websocket_key(key) => Ok(key.clone()),
        _ => Err(Problem::new(ErrorCode::BadRequest, "`Sec-WebSocket-Key` is base64 of 16 bytes")),
    }
}

fn is_websocket_key(key: &HeaderValue) -> bool {
    key.to_str().is_ok_and(|key| aldis_protocol::binary::decode_array::<16>(key).is_ok())
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// The first codec of the client's list that the server knows.
fn offered_codec(headers: &HeaderMap) -> Option<Codec> {
    let values =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|name| Codec::from_subprotocol(name.trim()))
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// The response for a refusal. If the request was no WebSocket upgrade, its headers say how to make one.
fn refuse(problem: Problem) -> Response {
    let mut response = problem.into_response();
    if response.status() == StatusCode::UPGRADE_REQUIRED {
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
    }
    response
}

fn switching_protocols(key: &HeaderValue, codec: Option<Codec>) -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(codec) = codec {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(codec.subprotocol()));
    }
    response
}
