//! Who uses the server, and what they write down: it outlives their programs.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use aldis_auth::SecretKey;
use aldis_client::Credentials;
use aldis_protocol::{DeviceId, Fingerprint, RequestId, SessionId, UserRef};
use tokio::sync::watch;

use super::script::{Errand, PEOPLE, Script};

const NAMES: [&str; PEOPLE] = ["ann", "bob", "eve"];

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
    pub(super) signals: Vec<Errand>,
    notes: Mutex<Notes>,
}

/// What a person has seen.
#[derive(Default)]
pub(super) struct Notes {
    /// What the handler of the mailbox has stored, in its order.
    pub(super) shelf: Vec<Shelved>,
    /// How often the handler was asked.
    pub(super) asked: usize,
    /// The letters that the server has acknowledged, with their numbers in the own mailbox.
    pub(super) posted: BTreeMap<usize, u64>,
    /// How often a letter was refused for a reason that passes: then those behind it came before it.
    pub(super) refused: usize,
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

/// A message of the mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shelved {
    pub(super) seq: u64,
    pub(super) letter: Post,
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

impl People {
    /// Those of a script.
    pub(super) fn new(script: &Script) -> Self {
        let of_each = script.letters.iter().zip(&script.signals).enumerate();
        let person = |(number, (letters, signals)): (usize, (&Vec<Errand>, &Vec<Errand>))| Person {
            number,
            letters: letters.clone(),
            signals: signals.clone(),
            notes: Mutex::default(),
        };
        Self {
            all: of_each.map(person).collect(),
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

    /// A letter that is sent again is the same one.
    pub(super) fn letter_id(&self, number: usize) -> RequestId {
        format!("letter-{number}").parse().unwrap()
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
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
    /// Where the mailbox goes on.
    pub(super) fn cursor(&self) -> u64 {
        self.shelf.last().map_or(0, |last| last.seq)
    }
}
