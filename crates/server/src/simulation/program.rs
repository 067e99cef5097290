//! What runs on a person's computer: the client, and an application that writes down what comes.

use std::{future, sync::Arc, time::Duration};

use aldis_client::{Client, Event, Events, IncomingMessage, Options, Reply, RequestError};
use aldis_protocol::{
    AckStatus, ClientMessage, EncryptedMessage, Payload, ServerMessage, SignalKind, Target,
};
use futures::{StreamExt, stream};
use tokio::{task::JoinSet, time::sleep};
use turmoil::net::TcpStream;

use super::{
    network::SERVER,
    people::{Call, People, Person, Post, Session, Shelved},
    script::END,
};

/// Longer than everything: only what the client or the server gives up ends.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// Letters that may wait for their `ack` at a time.
const UNDER_WAY: usize = 4;
/// The handler of the mailbox fails now and then.
const FAILS_EVERY: usize = 13;
/// How long what did not succeed, and may, waits.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until it is killed.
pub(super) async fn run(people: Arc<People>, me: usize) -> turmoil::Result {
    let (client, events) = Client::start(options(&people, me));
    tokio::join!(listen(&people, me, events), post(&people, me, &client), signal(&people, me, &client));
    Ok(())
}

fn options(people: &Arc<People>, me: usize) -> Options {
    let person = people.of(me);
    let cursor = person.notes().cursor();
    let handler = Arc::clone(people);
    Options::new(&format!("http://{SERVER}"), person.credentials())
        .unwrap()
        .transport(|host, port| async move { TcpStream::connect((host, port)).await })
        .request_timeout(PATIENCE)
        .mailbox(cursor, move |message| future::ready(shelve(handler.of(me), &message)))
}

fn shelve(person: &Person, message: &IncomingMessage) -> Result<(), &'static str> {
    let mut notes = person.notes();
    notes.asked += 1;
    if notes.asked % FAILS_EVERY == 0 {
        return Err("the disk is busy");
    }
    match serde_json::from_slice(&message.message.encrypted_content) {
        Ok((from, number)) => {
            notes.shelf.push(Shelved { seq: message.message.seq, letter: Post { from, number } });
        }
        Err(error) => notes.faults.push(format!("{error}: {message:?}")),
    }
    Ok(())
}

async fn listen(people: &People, me: usize, mut events: Events) {
    while let Some(event) = events.next().await {
        note(people, people.of(me), event);
    }
    people.of(me).notes().faults.push("the client has stopped".to_owned());
}

fn note(people: &People, person: &Person, event: Event) {
    let mut notes = person.notes();
    match event {
        Event::Connected(session) if session.resumed => {
            notes.resumed += 1;
            if notes.sessions.last().is_none_or(|last| last.id != session.id) {
                notes.faults.push(format!("a session was resumed that was not the last one: {session:?}"));
            }
        }
        Event::Connected(session) => {
            notes.sessions.push(Session { id: session.id, began: people.now(), heard: Vec::new() });
        }
        Event::Signal(signal) => match (signal.signal.payload.parse(), notes.sessions.last_mut()) {
            (Ok((from, number)), Some(session)) => session.heard.push(Post { from, number }),
            _ => notes.faults.push(format!("{signal:?}")),
        },
        Event::Closed { retry_in: Some(_), .. }
        | Event::ServerDraining { .. }
        | Event::MessageNotStored { .. } => {}
        Event::Message(frame) if matches!(frame.message, ServerMessage::Receipt(_)) => {}
        other => notes.faults.push(format!("{other:?}")),
    }
}

/// Sends all letters that were not acknowledged before, each when it is due.
async fn post(people: &Arc<People>, me: usize, client: &Client) {
    let person = people.of(me);
    let left: Vec<usize> = {
        let notes = person.notes();
        (0..person.letters.len()).filter(|number| !notes.posted.contains_key(number)).collect()
    };
    let due = stream::iter(left).then(|number| async move {
        wait_until(person.letters[number].at).await;
        number
    });
    let posting = due.map(|number| async move {
        let to = people.of(person.letters[number].to);
        let seq = post_one(client, person, to, number).await;
        person.notes().posted.insert(number, seq);
    });
    posting.buffered(UNDER_WAY).collect::<()>().await;
}

async fn post_one(client: &Client, from: &Person, to: &Person, number: usize) -> u64 {
    let content = serde_json::to_vec(&(from.number(), number)).unwrap();
    loop {
        let message = EncryptedMessage { recipient: to.user(), encrypted_content: (&content).into() };
        match client.request_with_id(from.letter_id(number), ClientMessage::Message(message)).await {
            Ok(Reply::Ack(ack)) if ack.status == AckStatus::Stored && ack.seq.is_some() => {
                return ack.seq.unwrap_or_default();
            }
            Err(error) if error.is_retryable() => {
                from.notes().refused += 1;
                sleep(PAUSE).await;
            }
            other => {
                from.notes().faults.push(format!("letter {number}: {other:?}"));
                return future::pending().await;
            }
        }
    }
}

/// Sends each signal once, when it is due; those of a time at which the program did not run are not sent.
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
    // Its sender is where this is.
    let _ = people.parting.subscribe().wait_for(|parting| *parting).await;
    for to in (0..people.all().len()).filter(|to| *to != me) {
        let parting = Post { from: me, number: person.parting_signal(to) };
        signalling.spawn(signal_one(Arc::clone(people), parting, to, client.clone()));
    }
    while signalling.join_next().await.is_some() {}
}

/// Waits for a sign of life from the server, asked for when nothing breaks any more.
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

/// A time of the script, which began with the simulation.
async fn wait_until(at: Duration) {
    sleep(at.saturating_sub(turmoil::sim_elapsed().unwrap_or_default())).await;
}
