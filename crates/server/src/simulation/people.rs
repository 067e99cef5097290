//! Who uses the server, and what they write down: it outlives their programs.

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

/// What the server stores and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// An encrypted message, in the mailboxes of two.
    Letter,
    /// Said in the room that all are in.
    Word,
}

/// Everybody.
pub(super) struct People {
    all: Vec<Person>,
    moments: AtomicU64,
    /// Whether each says good-bye to each.
    pub(super) parting: watch::Sender<bool>,
}

/// Orders what happens anywhere on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// Somebody with one device.
pub(super) struct Person {
    number: usize,
    pub(super) letters: Vec<Errand>,
    pub(super) words: Vec<Duration>,
    pub(super) signals: Vec<Errand>,
    notes: Mutex<Notes>,
    /// Breaks the present connection.
    line: Mutex<CancellationToken>,
}

/// What a person has seen.
#[derive(Default)]
pub(super) struct Notes {
    /// The mailbox.
    pub(super) letters: Shelf,
    /// The room.
    pub(super) words: Shelf,
    /// How often the handler of the mailbox was asked.
    pub(super) asked: usize,
    /// The signals that were asked for.
    pub(super) calls: BTreeMap<usize, Call>,
    /// The sessions that were not resumed, in their order.
    pub(super) sessions: Vec<Session>,
    /// How often a session was resumed.
    pub(super) resumed: usize,
    /// Whether the server has answered since nothing breaks any more.
    pub(super) is_back: bool,
    /// What must not happen.
    pub(super) faults: Vec<String>,
}

/// What has numbers without a gap.
#[derive(Default)]
pub(super) struct Shelf {
    /// What was told, in its order.
    pub(super) got: Vec<Shelved>,
    /// What was sent and acknowledged, with the number that it got.
    pub(super) acknowledged: BTreeMap<usize, u64>,
    /// How often something was refused for a reason that passes: then what was behind it came before it.
    pub(super) refused: usize,
}

/// A message with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shelved {
    pub(super) seq: u64,
    pub(super) post: Post,
}

/// Something that was sent, by whom and as his which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Post {
    pub(super) from: usize,
    pub(super) number: usize,
}

/// A signal that was asked for.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) to: usize,
    pub(super) asked: Moment,
    /// Whether the server has taken it for the device.
    pub(super) is_taken: bool,
}

/// A session from its beginning to the next one that is not it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) began: Moment,
    /// The signals, in their order.
    pub(super) heard: Vec<Post>,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) resumed: usize,
    pub(super) fresh: usize,
    pub(super) heard: usize,
    pub(super) refused: usize,
}

impl People {
    /// Those of a script.
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

    /// A moment after all that were read before.
    pub(super) fn now(&self) -> Moment {
        Moment(self.moments.fetch_add(1, Ordering::Relaxed))
    }
}

impl Person {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Also that of the computer on the network.
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

    /// When each is to be sent.
    pub(super) fn times(&self, kind: Durable) -> Vec<Duration> {
        match kind {
            Durable::Letter => self.letters.iter().map(|letter| letter.at).collect(),
            Durable::Word => self.words.clone(),
        }
    }

    /// What is sent again is the same.
    pub(super) fn id(&self, kind: Durable, number: usize) -> RequestId {
        format!("{kind:?}-{number}").parse().unwrap()
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    /// What breaks the connection that now begins.
    pub(super) fn new_line(&self) -> CancellationToken {
        let line = CancellationToken::new();
        line.clone_into(&mut self.line.lock().unwrap());
        line
    }

    /// Breaks the connection, if there is one.
    pub(super) fn break_line(&self) {
        self.line.lock().unwrap().cancel();
    }

    /// The parting signal to somebody is numbered behind the script's.
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
    /// Where it goes on.
    pub(super) fn cursor(&self) -> u64 {
        self.got.last().map_or(0, |last| last.seq)
    }
}
