//! Drives the handshake of one connection, and begins its session.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use aldis_protocol::{
    Codec, Door, ErrorCode, ErrorReply, RequestId, RoomId, ServerMessage, limits::MAX_MESSAGE_BYTES,
};
use tokio::{task::yield_now, time::timeout};
use tokio_util::task::TaskTracker;

use super::{
    greeting::{self, Greeting},
    handshake::{Arrival, AuthQuery, AwaitingProof, Begun, Credential, Rejection, TIME_FOR_PROOF},
    leave::leave,
    live::{Arrived, Live, fresh},
    pace::Pace,
    registration::{NotRegistered, Registration},
    task::Task,
};
use crate::{
    accounts::{FactorDue, ProvedByKey},
    clock::Now,
    link::{
        Arriving, Claim, Closing, HandOver, Identity, Incoming, Offer, OfferAnswer, Outgoing, SessionHandle,
        Socket, Wire,
    },
    metrics::Resume,
    rate::AddressKey,
    refusal::Refusal,
    relay::{Relay, new_session_id, replaced},
};

/// More than an honest client sends in five seconds.
const SMALL_FRAMES_BEFORE_PROOF: u32 = 100;
/// How long a session that is claimed may take to answer. One that is alive answers at once.
const TIME_TO_ANSWER: Duration = Duration::from_secs(5);
/// How long a registered session is held up by the store before it is served.
const TIME_FOR_STORE: Duration = Duration::from_secs(5);
/// How many messages are read ahead to learn whether a client has gone.
const EARLY_FRAMES: usize = 8;

/// Brings a connection through its door. Returns the session's task, not yet running; nothing if the connection was
/// refused or handed to an existing session. A client that has proved nothing when `dismissed` ends is refused with its
/// close.
pub(crate) async fn enter(
    mut socket: Socket,
    mut arrival: Arrival,
    dismissed: impl Future<Output = Closing> + Send,
    relay: &Arc<Relay>,
    resume_window: Duration,
    sockets: &TaskTracker,
) -> Option<Task> {
    let (door, codec, room) = (arrival.door, arrival.codec, arrival.room.take());
    let arrived = Arrived { door, codec, room, resume_window, device_claim: arrival.device_claim };
    match prove(&mut *socket, arrival, dismissed, relay).await {
        Ok(proved) => {
            socket.set_message_limit(MAX_MESSAGE_BYTES);
            admit(socket, arrived, proved, relay, sockets).await
        }
        Err(Some(rejection)) => refuse(socket, (door, codec), rejection, relay).await,
        Err(None) => None,
    }
}

/// Brings a client that has proved who they are to the session that they claim, or to a fresh one. A client that has gone
/// meanwhile may be back on another connection, which its session is not taken from.
pub(super) async fn admit(
    socket: Socket,
    arrived: Arrived,
    proved: Proved,
    relay: &Arc<Relay>,
    sockets: &TaskTracker,
) -> Option<Task> {
    let Proved { id, identity, due, claim } = proved;
    let (door, codec) = (arrived.door, arrived.codec);
    let mut arriving = present(Arriving { socket, early: VecDeque::new() }).await?;
    if let Some(claim) = claim {
        match hand_over(arriving, &arrived, id.clone(), &identity, claim, relay).await? {
            OfferAnswer::Taken => {
                relay.metrics.entered(door);
                return None;
            }
            OfferAnswer::Declined(declined) => arriving = declined,
            OfferAnswer::Superseded(superseded) => {
                let rejection = Rejection::closing(replaced()).answering(id);
                return refuse(superseded.socket, (door, codec), rejection, relay).await;
            }
        }
    }
    // A session that its client came back to has been given its factor; a new one has not.
    if let Some(due) = due
        && let Err(refusal) = flushing(&mut *arriving.socket, relay.accounts.settle(due, Now::read())).await
    {
        return refuse(arriving.socket, (door, codec), Rejection::of(door, refusal).answering(id), relay)
            .await;
    }
    // Nothing is waited for from here to the registration, which may replace another session of the device.
    let mut arriving = present(arriving).await?;
    let registration = match begin(&arrived, &identity, relay) {
        Ok(registration) => registration,
        Err(refused) => {
            let rejection = match refused {
                NotRegistered::TooMany => Rejection::of(
                    door,
                    Refusal::new(ErrorCode::Overloaded, "this user has too many connections"),
                ),
                NotRegistered::Superseded => Rejection::closing(replaced()),
            };
            return refuse(arriving.socket, (door, codec), rejection.answering(id), relay).await;
        }
    };
    relay.metrics.entered(door);
    flushing(&mut *arriving.socket, tell_waiting(relay, registration.session())).await;
    let room = arrived.room.clone();
    let mut task = greeted(arriving, arrived, id, &identity, registration, relay, sockets);
    if let Some(room) = room
        && let Some(error) = enter_room(relay, task.session(), &room).await
    {
        task.say(error);
    }
    Some(task)
}

/// Waits for something. If it takes a moment, what the client is to be told already is written meanwhile.
async fn flushing<T>(socket: &mut dyn Wire, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        let done = work.as_mut().poll(cx);
        if done.is_pending() {
            // Whether that works, reading tells.
            let _ = socket.poll_flush(cx);
        }
        done
    })
    .await
}

/// The connection, unless its client is known to have gone, with what the client has sent by now.
async fn present(arriving: Arriving) -> Option<Arriving> {
    let Arriving { mut socket, mut early } = arriving;
    let is_gone = poll_fn(|cx| {
        while early.len() < EARLY_FRAMES {
            match poll_message(&mut *socket, cx) {
                Poll::Ready(Incoming::Closed(_) | Incoming::Broken) => return Poll::Ready(true),
                Poll::Ready(incoming) => early.push_back(incoming),
                Poll::Pending => break,
            }
        }
        Poll::Ready(false)
    });
    if is_gone.await {
        leave(&mut *socket).await;
        return None;
    }
    Some(Arriving { socket, early })
}

/// Offers the socket to the session that is claimed. None where that session failed with the socket: its client dials
/// again.
async fn hand_over(
    arriving: Arriving,
    arrived: &Arrived,
    id: Option<RequestId>,
    identity: &Identity,
    claim: Claim,
    relay: &Arc<Relay>,
) -> Option<OfferAnswer> {
    let Some(session) = relay.session(identity.user, claim.token.session()) else {
        relay.metrics.resume(Resume::Unknown);
        return Some(OfferAnswer::Declined(arriving));
    };
    let Arrived { door, codec, room, device_claim, .. } = arrived;
    let (room, identity) = (room.clone(), identity.clone());
    let (offer, withdrawal, mut answered) = Offer::new(HandOver {
        arriving,
        id,
        door: *door,
        codec: *codec,
        room,
        identity,
        claim,
        device_claim: *device_claim,
    });
    // An offer that is refused here is dropped with its sender, and answered like one that nobody looks at.
    drop(session.hand_over(offer));
    let answer = timeout(TIME_TO_ANSWER, &mut answered).await.ok().and_then(Result::ok);
    let answer = match (answer, withdrawal.take_back()) {
        (Some(answer), _) => answer,
        (None, Some(arriving)) => OfferAnswer::Declined(arriving),
        // The session took the socket when the time had just run out, or failed with it.
        (None, None) => answered.await.ok()?,
    };
    relay.metrics.resume(match &answer {
        OfferAnswer::Taken => Resume::Resumed,
        OfferAnswer::Declined(_) => Resume::Declined,
        OfferAnswer::Superseded(_) => Resume::Superseded,
    });
    if matches!(answer, OfferAnswer::Taken) {
        tell_waiting(relay, &session).await;
    }
    Some(answer)
}

/// Tells a session what waited for its device. What is taken from the store is told, also where it takes longer than this
/// waits for it.
async fn tell_waiting(relay: &Arc<Relay>, session: &Arc<SessionHandle>) {
    if relay.accounts.notices.nothing_waits_for(session, Now::read()) {
        return;
    }
    let call = {
        let (relay, session) = (Arc::clone(relay), Arc::clone(session));
        async move { relay.accounts.notices.tell_waiting(&session, Now::read()).await }
    };
    let _ = timeout(TIME_FOR_STORE, relay.calls.complete(call)).await;
}

/// Brings a session of the chat door into its room, and gives what it is told where that cannot be.
async fn enter_room(relay: &Relay, session: &SessionHandle, room: &RoomId) -> Option<ServerMessage<'static>> {
    timeout(TIME_FOR_STORE, relay.enter_room(session, room, Now::read())).await.unwrap_or_else(|_| {
        let message = "the database does not answer; join the room again";
        Some(ServerMessage::Error(ErrorReply::new(ErrorCode::Unavailable, message)))
    })
}

fn greeted(
    arriving: Arriving,
    arrived: Arrived,
    id: Option<RequestId>,
    identity: &Identity,
    registration: Registration,
    relay: &Arc<Relay>,
    sockets: &TaskTracker,
) -> Task {
    let Arriving { mut socket, early } = arriving;
    let session = Arc::clone(registration.session());
    let token = greeting::resume_token(session.session);
    let pace = Pace::new(relay.has_rate_limits());
    let metrics = Arc::clone(&relay.metrics);
    let live = Live::new(session, arrived, identity.token, &token, pace, metrics, Now::read());
    greeting::greet(&mut *socket, live.session(), identity, Greeting::fresh(&live, &token, id));
    let mut task = Task::new(socket, early, live, registration, Arc::clone(relay), sockets.clone());
    task.log_connected(if identity.token.is_some() { "token" } else { "key" });
    task
}

/// Says why, closes, and waits a moment for the other side to have read it.
async fn refuse(
    mut socket: Socket,
    (door, codec): (Door, Codec),
    rejection: Rejection,
    relay: &Relay,
) -> Option<Task> {
    relay.metrics.refused(rejection.code);
    relay.metrics.refused_at(door, rejection.code, None);
    relay.metrics.closed(rejection.close);
    let mut frame = fresh(*rejection.message);
    frame.id = rejection.id.or(frame.id);
    socket.enqueue(Outgoing::Frame(codec.encode_server(&frame)));
    socket.enqueue(Outgoing::Close(rejection.close, rejection.reason));
    leave(&mut *socket).await;
    None
}

/// A client that has proved who they are, with the id of the message that brought the proof.
pub(super) struct Proved {
    pub(super) id: Option<RequestId>,
    pub(super) identity: Identity,
    /// Needed before a new session begins.
    pub(super) due: Option<FactorDue>,
    pub(super) claim: Option<Claim>,
}

async fn prove(
    socket: &mut dyn Wire,
    arrival: Arrival,
    dismissed: impl Future<Output = Closing> + Send,
    relay: &Relay,
) -> Result<Proved, Option<Rejection>> {
    let (door, codec, address) = (arrival.door, arrival.codec, arrival.address);
    let query = match arrival.begin(Now::read())? {
        Begun::Ask(query) => query,
        Begun::Await(awaiting, challenge) => {
            if let Some(challenge) = challenge {
                socket.enqueue(Outgoing::Frame(codec.encode_server(&fresh(challenge))));
            }
            tokio::select! {
                biased;
                query = await_proof(socket, awaiting, small_frames(relay)) => query?,
                closing = dismissed => return Err(Some(Rejection::closing(closing))),
            }
        }
    };
    let AuthQuery { id, proof, resume } = query;
    match flushing(socket, ask(relay, proof, address)).await {
        Ok((identity, due)) => Ok(Proved { id, identity, due, claim: resume }),
        Err(refusal) => Err(Some(Rejection::of(door, refusal).answering(id))),
    }
}

/// Asks the accounts whom a credential proves.
async fn ask(
    relay: &Relay,
    credential: Credential,
    address: AddressKey,
) -> Result<(Identity, Option<FactorDue>), Refusal> {
    match credential {
        Credential::Token(proof) => Ok((relay.accounts.prove_by_token(proof, Now::read()).await?, None)),
        Credential::Key(proof) => {
            let ProvedByKey { identity, due } =
                relay.accounts.prove_by_key(proof, address, Now::read()).await?;
            Ok((identity, due))
        }
    }
}

/// Waits for the proof. No rejection means that the client went away.
async fn await_proof(
    socket: &mut dyn Wire,
    awaiting: AwaitingProof,
    mut small_frames: u32,
) -> Result<AuthQuery, Option<Rejection>> {
    let in_time = timeout(TIME_FOR_PROOF, first_message(socket, &mut small_frames)).await.ok();
    let incoming = match in_time {
        Some(incoming) => Some(incoming),
        None => arrived_message(socket, &mut small_frames).await,
    };
    match incoming {
        None => Err(Some(awaiting.timed_out())),
        Some(Incoming::Frame(frame)) => awaiting.receive(&frame, Now::read()).map_err(Some),
        Some(Incoming::Refused(close, message)) => Err(Some(Rejection::of_socket(close, message))),
        Some(Incoming::Ping | Incoming::Pong | Incoming::Closed(_) | Incoming::Broken) => Err(None),
    }
}

async fn first_message(socket: &mut dyn Wire, small_frames: &mut u32) -> Incoming {
    poll_fn(|cx| {
        // What waits is written on the way; whether that works, reading tells.
        let _ = socket.poll_flush(cx);
        poll_first_message(socket, cx, small_frames)
    })
    .await
}

/// What arrived in time and was not read, because the node or the client stood still: the time was up before anybody
/// looked at the socket.
async fn arrived_message(socket: &mut dyn Wire, small_frames: &mut u32) -> Option<Incoming> {
    // Only then does the runtime ask the system for what arrived.
    yield_now().await;
    poll_fn(|cx| match poll_first_message(socket, cx, small_frames) {
        Poll::Ready(incoming) => Poll::Ready(Some(incoming)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The next thing that the other side did besides pings and pongs, of which `small_frames` more are read.
fn poll_first_message(socket: &mut dyn Wire, cx: &mut Context<'_>, small_frames: &mut u32) -> Poll<Incoming> {
    while *small_frames > 0 {
        let incoming = socket.poll_read(cx);
        *small_frames = small_frames.saturating_sub(socket.take_small_frames());
        let incoming = ready!(incoming);
        if !matches!(incoming, Incoming::Ping | Incoming::Pong) {
            return Poll::Ready(incoming);
        }
    }
    // The client has until the time is up, and nobody listens to it.
    Poll::Pending
}

/// How many pings, pongs and small parts of messages are read from a client that has proved nothing.
fn small_frames(relay: &Relay) -> u32 {
    if relay.has_rate_limits() { SMALL_FRAMES_BEFORE_PROOF } else { u32::MAX }
}

/// The next thing that the other side did besides pings and pongs.
fn poll_message(socket: &mut dyn Wire, cx: &mut Context<'_>) -> Poll<Incoming> {
    loop {
        let incoming = ready!(socket.poll_read(cx));
        if !matches!(incoming, Incoming::Ping | Incoming::Pong) {
            return Poll::Ready(incoming);
        }
    }
}

fn begin(arrived: &Arrived, identity: &Identity, relay: &Arc<Relay>) -> Result<Registration, NotRegistered> {
    let Identity { user, device, fingerprint, family, proved_at, .. } = identity;
    let session =
        SessionHandle::new(new_session_id(), *user, device.clone(), *fingerprint, *family, arrived.codec);
    let session = session.claiming(arrived.device_claim);
    Registration::begin(relay, Arc::new(session), *proved_at, Now::read())
}
