//! Drives the handshake of one connection, and begins its session.

use std::{future::poll_fn, sync::Arc, time::Duration};

use aldis_protocol::{
    AuthSuccess, Codec, Connected, Door, ErrorCode, Heartbeat, RoomId, ServerMessage, SessionInfo,
    SessionLimits, binary,
    limits::{
        HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, MAX_ENCRYPTED_CONTENT_BYTES, MAX_MESSAGE_BYTES,
        MAX_UNANSWERED_REQUESTS,
    },
};
use rand::RngExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    handshake::{Arrival, AwaitingProof, Begun, Question, Refusal, TIME_FOR_PROOF, proves_on_socket},
    live::{Live, expiry, fresh},
    task::Task,
    wire::{Incoming, Outgoing, Wire},
};
use crate::{
    clock::Now,
    router::{Denied, Identity, Outlet, Router, new_session_id},
};

/// How long a client that was sent away has to take note of it.
const TIME_TO_LEAVE: Duration = Duration::from_secs(2);

/// Brings a connection through its door. Returns the session's task, not yet running, or nothing where the connection
/// was sent away.
pub(crate) async fn enter<W: Wire>(
    mut wire: W,
    mut arrival: Arrival,
    router: &Arc<Router>,
    resume_window: Duration,
) -> Option<Task<W>> {
    let (door, codec, room) = (arrival.door, arrival.codec, arrival.room.take());
    let proved = match prove(&mut wire, arrival, router).await {
        Ok(identity) => begin(door, codec, identity, router),
        Err(Some(refusal)) => Err(refusal),
        Err(None) => return None,
    };
    match proved {
        Ok((outlet, identity)) => {
            wire.set_message_limit(MAX_MESSAGE_BYTES);
            greet(&mut wire, door, &outlet, &identity, resume_window);
            let live = Live::new(door, codec, room.clone(), &identity, Now::read());
            let mut task = Task::new(wire, live, outlet, Arc::clone(router));
            if let Some(room) = room {
                enter_room(&mut task, router, &room);
            }
            Some(task)
        }
        Err(refusal) => {
            refuse(wire, codec, refusal).await;
            None
        }
    }
}

/// Says why, closes, and waits a moment for the other side to have read it.
pub(crate) async fn refuse<W: Wire>(mut wire: W, codec: Codec, refusal: Refusal) {
    wire.enqueue(Outgoing::Frame(codec.encode_server(&fresh(*refusal.message))));
    wire.enqueue(Outgoing::Close(refusal.close, refusal.reason));
    leave(&mut wire).await;
}

/// Writes what waits and reads until the other side has gone, for two seconds at the most: bytes left unread would turn
/// the close into a reset, which destroys what the other side has not read yet.
pub(super) async fn leave<W: Wire>(wire: &mut W) {
    let until = Instant::now() + TIME_TO_LEAVE;
    if timeout_at(until, poll_fn(|cx| wire.poll_flush(cx))).await.is_ok_and(|flushed| flushed.is_ok()) {
        let gone = async {
            while !matches!(poll_fn(|cx| wire.poll_read(cx)).await, Incoming::Closed(_) | Incoming::Broken) {}
        };
        let _ = timeout_at(until, gone).await;
    }
}

async fn prove<W: Wire>(
    wire: &mut W,
    arrival: Arrival,
    router: &Router,
) -> Result<Identity, Option<Refusal>> {
    let (door, codec) = (arrival.door, arrival.codec);
    let question = match arrival.begin(Now::read())? {
        Begun::Ask(question) => question,
        Begun::Await(awaiting, challenge) => {
            if let Some(challenge) = challenge {
                wire.enqueue(Outgoing::Frame(codec.encode_server(&fresh(challenge))));
            }
            await_proof(wire, awaiting).await?
        }
    };
    ask(router, question).await.map_err(|denied| Some(Refusal::of(door, denied)))
}

/// Asks whoever knows tokens, keys and devices.
async fn ask(router: &Router, question: Question) -> Result<Identity, Denied> {
    match question {
        Question::Token(proof) => router.prove_by_token(proof, Now::read()).await,
        Question::Key(proof) => router.prove_by_key(proof).await,
    }
}

/// Waits for the proof. No refusal means that the client went away.
async fn await_proof<W: Wire>(wire: &mut W, awaiting: AwaitingProof) -> Result<Question, Option<Refusal>> {
    match timeout(TIME_FOR_PROOF, first_message(wire)).await {
        Err(_) => Err(Some(awaiting.timed_out())),
        Ok(Incoming::Frame(frame)) => awaiting.receive(&frame, Now::read()).map_err(Some),
        Ok(Incoming::Refused(close, message)) => Err(Some(Refusal::of_socket(close, message))),
        Ok(Incoming::Ping | Incoming::Pong | Incoming::Closed(_) | Incoming::Broken) => Err(None),
    }
}

async fn first_message<W: Wire>(wire: &mut W) -> Incoming {
    loop {
        let incoming = poll_fn(|cx| {
            // What waits is written on the way; whether that works, reading tells.
            let _ = wire.poll_flush(cx);
            wire.poll_read(cx)
        })
        .await;
        if !matches!(incoming, Incoming::Ping | Incoming::Pong) {
            return incoming;
        }
    }
}

fn begin(
    door: Door,
    codec: Codec,
    identity: Identity,
    router: &Router,
) -> Result<(Arc<Outlet>, Identity), Refusal> {
    let outlet = Arc::new(Outlet::new(
        new_session_id(),
        identity.user,
        identity.device.clone(),
        identity.fingerprint,
        codec,
    ));
    if router.attach(&outlet) {
        Ok((outlet, identity))
    } else {
        let denied = Denied::new(ErrorCode::Overloaded, "this user has too many connections");
        Err(Refusal::of(door, denied))
    }
}

fn greet<W: Wire>(wire: &mut W, door: Door, outlet: &Outlet, identity: &Identity, resume_window: Duration) {
    let mut say = |message| wire.enqueue(Outgoing::Frame(outlet.codec.encode_server(&fresh(message))));
    if proves_on_socket(door) {
        say(ServerMessage::AuthSuccess(success(identity)));
    }
    say(ServerMessage::Connected(Connected {
        device_id: outlet.device.clone(),
        user_id: outlet.user,
        message: Connected::MESSAGE.into(),
        session: SessionInfo {
            id: outlet.session,
            resume_token: binary::encode(&rand::rng().random::<[u8; 32]>()).into(),
            resume_window: resume_window.as_secs(),
            resumed: false,
            replayed: 0,
        },
        heartbeat: Heartbeat { interval: HEARTBEAT_INTERVAL.as_secs(), timeout: HEARTBEAT_TIMEOUT.as_secs() },
        limits: SessionLimits {
            max_message_bytes: MAX_MESSAGE_BYTES as u64,
            max_encrypted_content_bytes: MAX_ENCRYPTED_CONTENT_BYTES as u64,
            max_unanswered_requests: MAX_UNANSWERED_REQUESTS as u64,
        },
    }));
}

fn success(identity: &Identity) -> AuthSuccess {
    AuthSuccess {
        user_id: identity.user,
        device_id: identity.device.clone(),
        expires_at: identity.token.map(expiry),
    }
}

fn enter_room<W: Wire>(task: &mut Task<W>, router: &Arc<Router>, room: &RoomId) {
    if let Some(message) = router.enter_room(task.outlet(), room) {
        task.say(message);
    }
}
