//! Drives the handshake of one connection, and begins its session.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use aldis_protocol::{Codec, ErrorCode, RequestId, limits::MAX_MESSAGE_BYTES};
use tokio::{sync::oneshot, task::yield_now, time::timeout};
use tokio_util::task::TaskTracker;

use super::{
    greeting::{self, Greeting},
    handshake::{Arrival, AwaitingProof, Begun, Question, Refusal, Shown, TIME_FOR_PROOF},
    leave::leave,
    live::{Arrived, Live, fresh},
    pace::Pace,
    resume::{Arriving, Claim, HandOver},
    task::Task,
    wire::{Incoming, Outgoing, Wire},
};
use crate::{
    clock::Now,
    router::{Closing, Denied, FactorDue, Identity, Outlet, ProvedByKey, Router, new_session_id},
};

/// More than an honest client sends in five seconds.
const SMALL_FRAMES_BEFORE_PROOF: u32 = 100;

/// Brings a connection through its door. Returns the session's task, not yet running; nothing where the connection was
/// sent away, or handed to a session that was there already. Whoever has not proved anything when `dismissed` ends is sent
/// away with its close.
pub(crate) async fn enter<W: Wire>(
    mut wire: W,
    mut arrival: Arrival,
    dismissed: impl Future<Output = Closing> + Send,
    router: &Arc<Router>,
    resume_window: Duration,
    sockets: &TaskTracker,
) -> Option<Task<W>> {
    let (door, codec, room) = (arrival.door, arrival.codec, arrival.room.take());
    let arrived = Arrived { door, codec, room, resume_window };
    match prove(&mut wire, arrival, dismissed, router).await {
        Ok(proved) => {
            wire.set_message_limit(MAX_MESSAGE_BYTES);
            admit(wire, arrived, proved, router, sockets).await
        }
        Err(Some(refusal)) => refuse(wire, codec, refusal, router).await,
        Err(None) => None,
    }
}

/// Brings a client that has proved who he is to the session that he claims, or to a fresh one. One that has gone
/// meanwhile may be back on another connection, which his session is not taken from.
pub(super) async fn admit<W: Wire>(
    wire: W,
    arrived: Arrived,
    proved: Proved,
    router: &Arc<Router>,
    sockets: &TaskTracker,
) -> Option<Task<W>> {
    let Proved { id, identity, due, claim } = proved;
    let (door, codec) = (arrived.door, arrived.codec);
    let mut arriving = present(wire).await?;
    if let Some(claim) = claim {
        arriving = hand_over(arriving, &arrived, id.clone(), &identity, claim, router).await?;
    }
    // A session that its client came back to has been given its factor; a new one has not.
    if let Some(due) = due
        && let Err(denied) = router.settle(due, Now::read()).await
    {
        return refuse(arriving.wire, codec, Refusal::of(door, denied).answering(id), router).await;
    }
    match begin(codec, &identity, router) {
        Some(outlet) => {
            router.tell_waiting(&outlet).await;
            let room = arrived.room.clone();
            let mut task = greeted(arriving, arrived, id, &identity, outlet, router, sockets);
            if let Some(room) = room
                && let Some(error) = router.enter_room(task.outlet(), &room).await
            {
                task.say(error);
            }
            Some(task)
        }
        None => {
            let denied = Denied::new(ErrorCode::Overloaded, "this user has too many connections");
            refuse(arriving.wire, codec, Refusal::of(door, denied).answering(id), router).await
        }
    }
}

/// The connection of a client that is still there, with what it sent behind its proof.
async fn present<W: Wire>(mut wire: W) -> Option<Arriving<W>> {
    let early = poll_fn(|cx| match poll_message(&mut wire, cx) {
        Poll::Ready(incoming) => Poll::Ready(Some(incoming)),
        Poll::Pending => Poll::Ready(None),
    });
    match early.await {
        Some(Incoming::Closed(_) | Incoming::Broken) => {
            leave(&mut wire).await;
            None
        }
        early => Some(Arriving { wire, early }),
    }
}

/// Offers the socket to the session that is claimed. Gives it back where there is none that takes it.
async fn hand_over<W: Wire>(
    arriving: Arriving<W>,
    arrived: &Arrived,
    id: Option<RequestId>,
    identity: &Identity,
    claim: Claim,
    router: &Router,
) -> Option<Arriving<W>> {
    let Some(outlet) = router.session(identity.user, claim.token.session()) else { return Some(arriving) };
    let (answer, answered) = oneshot::channel();
    let Arrived { door, codec, room, .. } = arrived;
    let (room, identity) = (room.clone(), identity.clone());
    let offer = HandOver { arriving, id, door: *door, codec: *codec, room, identity, claim, answer };
    match outlet.hand_over(Box::new(offer)) {
        Ok(()) => match answered.await {
            Ok(Some(declined)) => Some(declined),
            Ok(None) => {
                router.tell_waiting(&outlet).await;
                None
            }
            // Only a session that fails takes the socket with it; the client dials again.
            Err(_) => None,
        },
        Err(offer) => offer.downcast::<HandOver<W>>().ok().map(|offer| offer.arriving),
    }
}

fn greeted<W: Wire>(
    arriving: Arriving<W>,
    arrived: Arrived,
    id: Option<RequestId>,
    identity: &Identity,
    outlet: Arc<Outlet>,
    router: &Arc<Router>,
    sockets: &TaskTracker,
) -> Task<W> {
    let Arriving { mut wire, early } = arriving;
    let token = greeting::resume_token(outlet.session);
    let pace = Pace::new(router.has_rate_limits());
    let metrics = Arc::clone(&router.metrics);
    let live = Live::new(outlet, arrived, identity.token, &token, pace, metrics, Now::read());
    greeting::greet(&mut wire, live.outlet(), identity, Greeting::fresh(&live, &token, id));
    Task::new(wire, early, live, Arc::clone(router), sockets.clone())
}

/// Says why, closes, and waits a moment for the other side to have read it.
async fn refuse<W: Wire>(mut wire: W, codec: Codec, refusal: Refusal, router: &Router) -> Option<Task<W>> {
    router.metrics.refused(refusal.code);
    router.metrics.closed(refusal.close);
    let mut frame = fresh(*refusal.message);
    frame.id = refusal.id.or(frame.id);
    wire.enqueue(Outgoing::Frame(codec.encode_server(&frame)));
    wire.enqueue(Outgoing::Close(refusal.close, refusal.reason));
    leave(&mut wire).await;
    None
}

/// A client that has proved who he is, by the message with this id where there was one.
pub(super) struct Proved {
    pub(super) id: Option<RequestId>,
    pub(super) identity: Identity,
    /// Before a new session of his begins.
    pub(super) due: Option<FactorDue>,
    pub(super) claim: Option<Claim>,
}

async fn prove<W: Wire>(
    wire: &mut W,
    arrival: Arrival,
    dismissed: impl Future<Output = Closing> + Send,
    router: &Router,
) -> Result<Proved, Option<Refusal>> {
    let (door, codec) = (arrival.door, arrival.codec);
    let question = match arrival.begin(Now::read())? {
        Begun::Ask(question) => question,
        Begun::Await(awaiting, challenge) => {
            if let Some(challenge) = challenge {
                wire.enqueue(Outgoing::Frame(codec.encode_server(&fresh(challenge))));
            }
            tokio::select! {
                biased;
                question = await_proof(wire, awaiting, small_frames(router)) => question?,
                closing = dismissed => return Err(Some(Refusal::closing(closing))),
            }
        }
    };
    let Question { id, proof, resume } = question;
    match ask(router, proof).await {
        Ok((identity, due)) => Ok(Proved { id, identity, due, claim: resume }),
        Err(denied) => Err(Some(Refusal::of(door, denied).answering(id))),
    }
}

/// Asks whoever knows tokens, keys and devices.
async fn ask(router: &Router, shown: Shown) -> Result<(Identity, Option<FactorDue>), Denied> {
    match shown {
        Shown::Token(proof) => Ok((router.prove_by_token(proof, Now::read()).await?, None)),
        Shown::Key(proof) => {
            let ProvedByKey { identity, due } = router.prove_by_key(proof, Now::read()).await?;
            Ok((identity, due))
        }
    }
}

/// Waits for the proof. No refusal means that the client went away.
async fn await_proof<W: Wire>(
    wire: &mut W,
    awaiting: AwaitingProof,
    mut small_frames: u32,
) -> Result<Question, Option<Refusal>> {
    let in_time = timeout(TIME_FOR_PROOF, first_message(wire, &mut small_frames)).await.ok();
    let incoming = match in_time {
        Some(incoming) => Some(incoming),
        None => arrived_message(wire, &mut small_frames).await,
    };
    match incoming {
        None => Err(Some(awaiting.timed_out())),
        Some(Incoming::Frame(frame)) => awaiting.receive(&frame, Now::read()).map_err(Some),
        Some(Incoming::Refused(close, message)) => Err(Some(Refusal::of_socket(close, message))),
        Some(Incoming::Ping | Incoming::Pong | Incoming::Closed(_) | Incoming::Broken) => Err(None),
    }
}

async fn first_message<W: Wire>(wire: &mut W, small_frames: &mut u32) -> Incoming {
    poll_fn(|cx| {
        // What waits is written on the way; whether that works, reading tells.
        let _ = wire.poll_flush(cx);
        poll_first_message(wire, cx, small_frames)
    })
    .await
}

/// What arrived in time and was not read, because the node or the client stood still: the time was up before anybody
/// looked at the socket.
async fn arrived_message<W: Wire>(wire: &mut W, small_frames: &mut u32) -> Option<Incoming> {
    // Only then does the runtime ask the system for what arrived.
    yield_now().await;
    poll_fn(|cx| match poll_first_message(wire, cx, small_frames) {
        Poll::Ready(incoming) => Poll::Ready(Some(incoming)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The next thing that the other side did besides pings and pongs, of which `small_frames` more are read.
fn poll_first_message<W: Wire>(wire: &mut W, cx: &mut Context<'_>, small_frames: &mut u32) -> Poll<Incoming> {
    while *small_frames > 0 {
        let incoming = wire.poll_read(cx);
        *small_frames = small_frames.saturating_sub(wire.take_small_frames());
        let incoming = ready!(incoming);
        if !matches!(incoming, Incoming::Ping | Incoming::Pong) {
            return Poll::Ready(incoming);
        }
    }
    // The client has until the time is up, and nobody listens to it.
    Poll::Pending
}

/// How many pings, pongs and small parts of messages are read from a client that has proved nothing.
fn small_frames(router: &Router) -> u32 {
    if router.has_rate_limits() { SMALL_FRAMES_BEFORE_PROOF } else { u32::MAX }
}

/// The next thing that the other side did besides pings and pongs.
fn poll_message<W: Wire>(wire: &mut W, cx: &mut Context<'_>) -> Poll<Incoming> {
    loop {
        let incoming = ready!(wire.poll_read(cx));
        if !matches!(incoming, Incoming::Ping | Incoming::Pong) {
            return Poll::Ready(incoming);
        }
    }
}

fn begin(codec: Codec, identity: &Identity, router: &Router) -> Option<Arc<Outlet>> {
    let Identity { user, device, fingerprint, family, proved_at, .. } = identity;
    let outlet = Outlet::new(new_session_id(), *user, device.clone(), *fingerprint, *family, codec);
    let outlet = Arc::new(outlet);
    router.attach(&outlet, *proved_at).then_some(outlet)
}
