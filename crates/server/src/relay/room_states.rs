//! Delivers room states to the sessions in a room.
//!
//! A session never receives a state directly. It is [marked](SessionHandle::mark_state) with the newest one, which
//! replaces an older one, and writes it when its socket has room. So a slow reader gets the latest state of each
//! room, and rapid changes do not fill queues.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aldis_protocol::{RoomId, RoomUpdate, ServerMessage};
use aldis_registry::Occupants;
use tokio::{sync::Notify, task::yield_now};

use super::{Relay, fresh};
use crate::{
    link::{Encoded, Frame, SessionHandle, StateMark},
    store::StateDocument,
};

/// Rooms whose sessions are still to be told, with the newest state of each. There are at most as many as rooms in
/// use.
#[derive(Default)]
pub(super) struct RoomStates {
    waiting: Mutex<HashMap<RoomId, Waiting>>,
    added: Notify,
}

struct Waiting {
    /// Which room of this name the state belongs to.
    number: u64,
    document: StateDocument,
}

impl RoomStates {
    fn add(&self, room: &RoomId, new: Waiting) {
        let mut waiting = self.lock();
        if waiting.get(room).is_none_or(|other| other.version() < new.version()) {
            waiting.insert(room.clone(), new);
        }
        drop(waiting);
        self.added.notify_one();
    }

    fn take(&self) -> Option<(RoomId, Waiting)> {
        let mut waiting = self.lock();
        let room = waiting.keys().next()?.clone();
        waiting.remove_entry(&room)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn version(&self) -> (u64, u64) {
        (self.number, self.document.revision)
    }
}

impl Relay {
    /// Queues a new room state for everybody in the room, without waiting. Call it when the change is
    /// [noted](super::rooms::RoomChanges::note), so that later joins have read this state.
    pub(super) fn tell_state(&self, room: &RoomId, document: StateDocument) {
        if let Some(Occupants { number, .. }) = self.registry.occupants(room) {
            self.room_states.add(room, Waiting { number, document });
        }
    }

    /// Delivers queued states. Never returns.
    pub(crate) async fn tell_states(&self) {
        loop {
            self.tell_waiting_states().await;
            self.room_states.added.notified().await;
        }
    }

    /// Delivers the states that are queued now.
    pub(super) async fn tell_waiting_states(&self) {
        while let Some((room, Waiting { number, document })) = self.room_states.take() {
            let occupants = self.registry.occupants(&room).filter(|occupants| occupants.number == number);
            let Some(Occupants { members, .. }) = occupants else { continue };
            let version = (number, document.revision);
            let encoded = room_update(&room, document).for_many(&self.shared_bytes);
            for some in members.chunks() {
                for session in some.iter().map(|member| &member.handle) {
                    let frame = encoded.for_codec(session.codec);
                    session.mark_state(StateMark { room: room.clone(), version, frame });
                }
                yield_now().await;
            }
        }
    }

    /// The state to send to a session: none if it has left the room or already has a newer one.
    pub(crate) fn take_state(&self, to: &SessionHandle, state: StateMark) -> Option<Frame> {
        let (number, revision) = state.version;
        let is_news = self.registry.raise_revision((to.user, to.session), &state.room, number, revision);
        is_news.then_some(state.frame)
    }
}

/// The frame of a room state.
pub(super) fn room_update(room: &RoomId, document: StateDocument) -> Encoded<'static> {
    let StateDocument { revision, state } = document;
    Encoded::new(fresh(ServerMessage::RoomUpdate(RoomUpdate::new(room.clone(), revision, state))))
}
