//! What happens at the doors: sockets that became a session, refusals by reason, and resumes by outcome.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use aldis_protocol::{Door, ErrorCode};

use super::{labelled::Labelled, text::Text};
use crate::clock::Now;

/// What became of the claim to an earlier session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// The session goes on with the new socket.
    Resumed,
    /// There is no such session of this user: its time was over, or the server restarted.
    Unknown,
    /// The session cannot go on with it: for example too much was missed, or the token was used before.
    Declined,
    /// A newer socket has the session.
    Superseded,
}

/// The refusals of one door for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) door: Door,
    pub(crate) code: ErrorCode,
    pub(crate) count: u64,
    /// When the last one was, in Unix milliseconds.
    pub(crate) last_ms: u64,
}

/// The counters of the doors.
#[derive(Debug)]
pub(super) struct Doors {
    handshakes: Labelled<Door>,
    resumes: Labelled<Resume>,
    /// By door and code. Both are words of the protocol, so there are few.
    refusals: Mutex<BTreeMap<(&'static str, &'static str), Refused>>,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            handshakes: Labelled::new(&Door::ALL),
            resumes: Labelled::new(&Resume::ALL),
            refusals: Mutex::default(),
        }
    }
}

impl Doors {
    pub(super) fn entered(&self, door: Door) {
        self.handshakes.add(door);
    }

    pub(super) fn resume(&self, outcome: Resume) {
        self.resumes.add(outcome);
    }

    pub(super) fn refused(&self, door: Door, code: ErrorCode) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (door.path(), code.as_str());
        let refused = refusals.entry(key).or_insert(Refused { door, code, count: 0, last_ms: 0 });
        refused.count += 1;
        refused.last_ms = Now::read().unix_ms;
    }

    /// The refusals, the latest first.
    pub(super) fn refusals(&self) -> Vec<Refused> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refusals: Vec<Refused> = refusals.values().copied().collect();
        refusals.sort_by_key(|refused| std::cmp::Reverse(refused.last_ms));
        refusals
    }

    /// How many sockets became a session or came back to one.
    pub(super) fn handshakes(&self) -> u64 {
        self.handshakes.each(Door::path).map(|(_, count)| count).sum()
    }

    pub(super) fn render(&self, text: &mut Text) {
        text.counters(
            "aldis_handshakes_total",
            "Sockets that became a session or came back to one",
            "door",
            self.handshakes.each(Door::path),
        );
        text.counters(
            "aldis_resumes_total",
            "Claims to an earlier session by outcome",
            "outcome",
            self.resumes.each(Resume::as_str),
        );
        text.head("aldis_handshakes_refused_total", "Refusals at the doors", "counter");
        let mut refusals = self.refusals();
        refusals.sort_by_key(|refused| (refused.door.path(), refused.code.as_str()));
        for Refused { door, code, count, .. } in refusals {
            let labels = [("door", door.path()), ("code", code.as_str())];
            text.sample("aldis_handshakes_refused_total", &labels, count);
        }
    }
}

impl Resume {
    const ALL: [Self; 4] = [Self::Resumed, Self::Unknown, Self::Declined, Self::Superseded];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::Unknown => "no_session",
            Self::Declined => "declined",
            Self::Superseded => "superseded",
        }
    }
}
