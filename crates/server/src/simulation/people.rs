//! The people who use the server, and their notes, which outlive their programs.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aldis_auth::SecretKey;
use aldis_client::Credentials;
use aldis_protocol::{DeviceId, Fingerprint, RequestId, SessionId, UserRef};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::script::{Errand, PEOPLE, Script};

const NAMES: [&str; PEOPLE] = ["ann", "bob", "eve"];

/// The kinds of messages that the server stores and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// An encrypted message, in two mailboxes.
    Letter,
    /// A chat message in the room that all are in.
    Word,
}

/// All people.
pub(super) struct People {
    all: Vec<Person>,
    moments: AtomicU64,
    /// Whether each person sends their last signals.
    pub(super) parting: watch::Sender<bool>,
}

/// A position in the order of all events on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// A person with one device.
pub(super) struct Person {
    number: usize,
    pub(super) letters: Vec<Errand>,
    pub(super) words: Vec<Duration>,
    pub(super) signals: Vec<Errand>,
    notes: Mutex<Notes>,
    /// Breaks the current connection.
    line: Mutex<CancellationToken>,
}

/// What a person has seen.
#[derive(Default)]
pub(super) struct Notes {
    /// The mailbox.
    pub(super) letters: Shelf,
    /// The room.
    pub(super) words: Shelf,
    /// How often the mailbox's handler was called.
    pub(super) asked: usize,
    /// The signals that were requested.
    pub(super) calls: BTreeMap<usize, Call>,
    /// The sessions that were not resumed, in order.
    pub(super) sessions: Vec<Session>,
    /// How often a session was resumed.
    pub(super) resumed: usize,
    /// Whether the server has answered since the last fault.
    pub(super) is_back: bool,
    /// Violations of the guarantees.
    pub(super) faults: Vec<String>,
}

/// A sequence without gaps: a mailbox, or a room.
#[derive(Default)]
pub(super) struct Shelf {
    /// The received messages, in order.
    pub(super) got: Vec<Shelved>,
    /// The acknowledged messages, with their numbers.
    pub(super) acknowledged: BTreeMap<usize, u64>,
    /// How often a message was refused temporarily. Then later messages may have come before it.
    pub(super) refused: usize,
}

/// A message with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shelved {
    pub(super) seq: u64,
    pub(super) post: Post,
}

/// A message: its sender, and its index among the sender's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Post {
    pub(super) from: usize,
    pub(super) number: usize,
}

/// A requested signal.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) to: usize,
    pub(super) asked: Moment,
    /// Whether the server has accepted it for the device.
    pub(super) is_taken: bool,
}

/// A session, from its beginning until one that does not resume it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) began: Moment,
    /// The received signals, in order.
    pub(super) heard: Vec<Post>,
}

/// The result of a run.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) resumed: usize,
    pub(super) fresh: usize,
    pub(super) heard: usize,
    pub(super) refused: usize,
}

impl People {
    /// The people of a script.
    pub(super) fn new(script: &Script) -> Self {
        let person = |number: usize| Person {
            number,
            letters: script.letters[number].clone(),
            words: script.words[number].clone(),
            signals: script.signals[number].clone(),
            notes: Mutex::default(),
            line: Mutex::default(),
        };
        Self {
            all: (0..PEOPLE).map(person).collect(),
            moments: AtomicU64::new(0),
            parting: watch::Sender::new(false),
        }
    }

    pub(super) fn all(&self) -> &[Person] {
        &self.all
    }

    pub(super) fn of(&self, number: usize) -> &Person {
        &self.all[number]
    }

    pub(super) fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for person in &self.all {
            let notes = person.notes();
            summary.resumed += notes.resumed;
            summary.fresh += notes.sessions.len();
            summary.heard += notes.sessions.iter().map(|session| session.heard.len()).sum::<usize>();
            summary.refused += notes.letters.refused + notes.words.refused;
        }
        summary
    }

    /// A moment after all moments that were read before.
    pub(super) fn now(&self) -> Moment {
        Moment(self.moments.fetch_add(1, Ordering::Relaxed))
    }
}

impl Person {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The name, also of the person's host on the network.
    pub(super) fn name(&self) -> &'static str {
        NAMES[self.number]
    }

    pub(super) fn device(&self) -> DeviceId {
        self.name().parse().unwrap()
    }

    pub(super) fn user(&self) -> UserRef {
        UserRef::Fingerprint(Fingerprint::of_first_key(self.key().public_key().as_bytes()))
    }

    pub(super) fn credentials(&self) -> Credentials {
        Credentials::key(self.key()).for_device(self.device())
    }

    /// When each message is to be sent.
    pub(super) fn times(&self, kind: Durable) -> Vec<Duration> {
        match kind {
            Durable::Letter => self.letters.iter().map(|letter| letter.at).collect(),
            Durable::Word => self.words.clone(),
        }
    }

    /// A message that is sent again keeps its id.
    pub(super) fn id(&self, kind: Durable, number: usize) -> RequestId {
        format!("{kind:?}-{number}").parse().unwrap()
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    /// The token that breaks the new connection.
    pub(super) fn new_line(&self) -> CancellationToken {
        let line = CancellationToken::new();
        line.clone_into(&mut self.line.lock().unwrap());
        line
    }

    /// Breaks the connection, if there is one.
    pub(super) fn break_line(&self) {
        self.line.lock().unwrap().cancel();
    }

    /// The number of the last signal to a person; it follows those of the script.
    pub(super) fn parting_signal(&self, to: usize) -> usize {
        self.signals.len() + to
    }

    fn key(&self) -> SecretKey {
        SecretKey::from_bytes(&[u8::try_from(self.number + 1).unwrap(); 32])
    }
}

impl Notes {
    pub(super) fn shelf(&self, kind: Durable) -> &Shelf {
        match kind {
            Durable::Letter => &self.letters,
            Durable::Word => &self.words,
        }
    }

    pub(super) fn shelf_mut(&mut self, kind: Durable) -> &mut Shelf {
        match kind {
            Durable::Letter => &mut self.letters,
            Durable::Word => &mut self.words,
        }
    }
}

impl Durable {
    pub(super) const ALL: [Self; 2] = [Self::Letter, Self::Word];
}

impl Shelf {
    /// The number after which the client continues.
    pub(super) fn cursor(&self) -> u64 {
        self.got.last().map_or(0, |last| last.seq)
    }
}
