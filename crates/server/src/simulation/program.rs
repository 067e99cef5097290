//! The program on a person's computer: the client, and an application that records the events.

use std::{future, sync::Arc, time::Duration};

use aldis_client::{Client, Event, Events, IncomingMessage, Options, Reply, RequestError, Since};
use aldis_protocol::{
    AckStatus, ChatContent, ChatMessage, ClientMessage, EncryptedMessage, Payload, RoomId, ServerMessage,
    SignalKind, Target,
};
use futures::{StreamExt, stream};
use tokio::{task::JoinSet, time::sleep};
use turmoil::net::TcpStream;

use super::{
    line::Line,
    network::SERVER,
    people::{Call, Durable, Notes, People, Person, Post, Session, Shelved},
    script::END,
};

/// Longer than the simulation, so that only timeouts of client and server end a request.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// How many messages can wait for their `ack`.
const UNDER_WAY: usize = 4;
/// The mailbox's handler fails this often.
const FAILS_EVERY: usize = 13;
/// The wait before a failed request is repeated.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until it is killed.
pub(super) async fn run(people: Arc<People>, me: usize) -> turmoil::Result {
    let (client, events) = Client::start(options(&people, me));
    tokio::join!(
        listen(&people, me, events),
        send_all(&people, me, &client, Durable::Letter),
        speak(&people, me, &client),
        signal(&people, me, &client),
    );
    Ok(())
}

fn options(people: &Arc<People>, me: usize) -> Options {
    let person = people.of(me);
    let cursor = person.notes().letters.cursor();
    let (handler, dialler) = (Arc::clone(people), Arc::clone(people));
    Options::insecure(&format!("http://{SERVER}"), person.credentials())
        .unwrap()
        .transport(move |host, port| {
            let broken = dialler.of(me).new_line();
            async move { Ok(Line::new(TcpStream::connect((host, port)).await?, broken)) }
        })
        .request_timeout(PATIENCE)
        .mailbox(cursor, move |message| future::ready(shelve(handler.of(me), &message)))
}

fn shelve(person: &Person, message: &IncomingMessage) -> Result<(), &'static str> {
    let mut notes = person.notes();
    notes.asked += 1;
    if notes.asked.is_multiple_of(FAILS_EVERY) {
        return Err("the disk is busy");
    }
    let told = std::str::from_utf8(&message.message.encrypted_content).unwrap_or_default();
    write_down(&mut notes, Durable::Letter, message.message.seq, told);
    Ok(())
}

fn write_down(notes: &mut Notes, kind: Durable, seq: u64, told: &str) {
    match serde_json::from_str(told) {
        Ok((from, number)) => notes.shelf_mut(kind).got.push(Shelved { seq, post: Post { from, number } }),
        Err(error) => notes.faults.push(format!("{kind:?} {seq}: {error}: {told:?}")),
    }
}

async fn listen(people: &People, me: usize, mut events: Events) {
    while let Some(event) = events.next().await {
        note(people, people.of(me), &event);
    }
    people.of(me).notes().faults.push("the client has stopped".to_owned());
}

fn note(people: &People, person: &Person, event: &Event) {
    let mut notes = person.notes();
    if let Event::Connected(session) = event {
        note_session(people, &mut notes, session);
    } else if let Event::Signal(signal) = event {
        match (signal.signal.payload.parse(), notes.sessions.last_mut()) {
            (Ok((from, number)), Some(session)) => session.heard.push(Post { from, number }),
            _ => notes.faults.push(format!("{signal:?}")),
        }
    } else if let Event::Chat(said) = event {
        write_down(&mut notes, Durable::Word, said.chat.seq, &said.content().unwrap_or_default());
    } else if !is_ordinary(event) {
        notes.faults.push(format!("{event:?}"));
    }
}

fn note_session(people: &People, notes: &mut Notes, session: &aldis_client::Session) {
    if !session.resumed {
        notes.sessions.push(Session { id: session.id, began: people.now(), heard: Vec::new() });
        return;
    }
    notes.resumed += 1;
    if notes.sessions.last().is_none_or(|last| last.id != session.id) {
        notes.faults.push(format!("a session was resumed that was not the last one: {session:?}"));
    }
}

fn is_ordinary(event: &Event) -> bool {
    if let Event::Message(frame) = event {
        matches!(
            frame.message,
            ServerMessage::Receipt(_)
                | ServerMessage::RoomMembers(_)
                | ServerMessage::RoomUpdate(_)
                | ServerMessage::MemberJoined(_)
                | ServerMessage::MemberLeft(_)
        )
    } else {
        matches!(
            event,
            Event::Closed { retry_in: Some(_), .. }
                | Event::ServerDraining { .. }
                | Event::MessageNotStored { .. }
        )
    }
}

/// Joins the room that all are in, and sends the chat messages.
async fn speak(people: &Arc<People>, me: usize, client: &Client) {
    let since = Since::Seq(people.of(me).notes().words.cursor());
    while let Err(error) = client.join(&room(), since).await {
        if !error.is_retryable() {
            people.of(me).notes().faults.push(format!("cannot join: {error}"));
        }
        sleep(PAUSE).await;
    }
    send_all(people, me, client, Durable::Word).await;
}

/// Sends all messages that are not acknowledged, each when it is due.
async fn send_all(people: &Arc<People>, me: usize, client: &Client, kind: Durable) {
    let person = people.of(me);
    let times = person.times(kind);
    let left: Vec<(usize, Duration)> = {
        let notes = person.notes();
        let is_left = |(number, _): &(usize, Duration)| !notes.shelf(kind).acknowledged.contains_key(number);
        times.into_iter().enumerate().filter(is_left).collect()
    };
    let due = stream::iter(left).then(|(number, at)| async move {
        wait_until(at).await;
        number
    });
    let sending = due.map(|number| async move {
        let seq = send_one(people, me, client, kind, number).await;
        person.notes().shelf_mut(kind).acknowledged.insert(number, seq);
    });
    sending.buffered(UNDER_WAY).collect::<()>().await;
}

async fn send_one(people: &People, me: usize, client: &Client, kind: Durable, number: usize) -> u64 {
    let person = people.of(me);
    loop {
        let message = message(people, kind, Post { from: me, number });
        match client.request_with_id(person.id(kind, number), message).await {
            Ok(Reply::Ack(ack)) if ack.status == AckStatus::Stored && ack.seq.is_some() => {
                return ack.seq.unwrap_or_default();
            }
            Err(error) if error.is_retryable() => {
                person.notes().shelf_mut(kind).refused += 1;
                sleep(PAUSE).await;
            }
            other => {
                person.notes().faults.push(format!("{kind:?} {number}: {other:?}"));
                return future::pending().await;
            }
        }
    }
}

fn message(people: &People, kind: Durable, post: Post) -> ClientMessage<'static> {
    let content = serde_json::to_string(&(post.from, post.number)).unwrap();
    match kind {
        Durable::Letter => ClientMessage::Message(EncryptedMessage {
            recipient: people.of(people.of(post.from).letters[post.number].to).user(),
            encrypted_content: content.into_bytes().into(),
        }),
        Durable::Word => ClientMessage::ChatMessage(ChatMessage {
            room: Some(room()),
            payload: Payload::of(&ChatContent { content: content.into() }).unwrap(),
        }),
    }
}

fn room() -> RoomId {
    "everybody".parse().unwrap()
}

/// Sends each signal once when it is due. Signals that were due while the program did not run are skipped.
async fn signal(people: &Arc<People>, me: usize, client: &Client) {
    let person = people.of(me);
    let started = turmoil::sim_elapsed().unwrap_or_default();
    let mut signalling = JoinSet::new();
    for (number, errand) in person.signals.iter().enumerate().filter(|(_, errand)| errand.at >= started) {
        wait_until(errand.at).await;
        signalling.spawn(signal_one(
            Arc::clone(people),
            Post { from: me, number },
            errand.to,
            client.clone(),
        ));
    }
    come_back(person, client).await;
    // The sender of `parting` lives as long as this.
    let _ = people.parting.subscribe().wait_for(|parting| *parting).await;
    for to in (0..people.all().len()).filter(|to| *to != me) {
        let parting = Post { from: me, number: person.parting_signal(to) };
        signalling.spawn(signal_one(Arc::clone(people), parting, to, client.clone()));
    }
    while signalling.join_next().await.is_some() {}
}

/// Waits for an answer of the server after the last fault.
async fn come_back(person: &Person, client: &Client) {
    wait_until(END).await;
    while client.ping().await.is_err() {
        sleep(PAUSE).await;
    }
    person.notes().is_back = true;
}

async fn signal_one(people: Arc<People>, signal: Post, to: usize, client: Client) {
    let person = people.of(signal.from);
    let call = Call { to, asked: people.now(), is_taken: false };
    person.notes().calls.insert(signal.number, call);
    let payload = serde_json::to_string(&(signal.from, signal.number)).unwrap();
    let (target, payload) = (Target::Device(people.of(to).device()), Payload::from_json(&payload).unwrap());
    let outcome = client.signal(SignalKind::Signal, target, payload).await;
    let mut notes = person.notes();
    match outcome {
        Ok(ack) if matches!(ack.status, AckStatus::Delivered | AckStatus::Buffered) => {
            if let Some(call) = notes.calls.get_mut(&signal.number) {
                call.is_taken = true;
            }
        }
        Err(error) if error.is_retryable() && error != RequestError::TimedOut => {}
        other => notes.faults.push(format!("{signal:?}: {other:?}")),
    }
}

/// Waits for a time of the script, which began with the simulation.
async fn wait_until(at: Duration) {
    sleep(at.saturating_sub(turmoil::sim_elapsed().unwrap_or_default())).await;
}
