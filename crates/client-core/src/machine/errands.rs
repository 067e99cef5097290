//! What the client asks of its own accord: to be where it was before a fresh session, and what it missed.
//!
//! Nothing is kept here about what is to be done: rooms, mailbox and watching each know what they lack, and
//! [`go_about`](Machine::go_about) asks for it after each input, as far as the pace and the window allow.

use std::time::Duration;

use aldis_protocol::{
    ClientFrame, ClientMessage, Delivered, HistoryRequest, Join, PresenceSubscribe, Sync, Timestamp, UserRef,
    limits::MAX_PAGE,
};
use rand::RngExt;

use super::{Machine, Now, Output, Phase, Reply, RequestError, mailbox, rooms::too_many};
use crate::{
    Event, Instant, Kept, Refusal,
    backoff::{Backoff, LAST_CEILING},
    pace::Pace,
    pending::{Asker, Request},
    purpose::{Errand, Purpose},
};

/// Errands under way at a time. They are answered in the order asked, and the application's own requests behind them.
const WINDOW: usize = 32;

/// When the client may ask for more.
#[derive(Debug)]
pub(super) struct Errands {
    pace: Pace,
    /// Grows with each refusal that passes by itself.
    backoff: Backoff,
    /// After such a refusal.
    rest_until: Option<Instant>,
    /// There is something to ask, but not before this.
    wait_until: Option<Instant>,
}

impl Errands {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(LAST_CEILING);
        Self { pace: Pace::default(), backoff, rest_until: None, wait_until: None }
    }

    pub(super) fn wait_until(&self) -> Option<Instant> {
        self.wait_until
    }
}

impl<R> Machine<R> {
    /// A fresh session knows nothing of the application's rooms, watches and mailbox, nor of what was asked too fast.
    pub(super) fn restart(&mut self) {
        self.rooms.restart();
        self.watching.restart();
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.restart();
        }
        (self.errands.pace, self.errands.rest_until) = (Pace::default(), None);
    }

    /// Sends what waits to be sent, then asks for what is lacking.
    pub(super) fn go_about(&mut self, now: Now) {
        let Phase::Live(live) = &self.phase else { return };
        self.errands.wait_until = live.replaying_until(now.instant);
        if self.errands.wait_until.is_none() && self.send_waiting(now) {
            self.run_errands(now);
        }
    }

    /// False where the rest has to wait. What was asked for on this connection does not, unless it would overtake.
    fn send_waiting(&mut self, now: Now) -> bool {
        while let Some(unsent) = self.pending.next_unsent(|room| self.rooms.holds_up(room)) {
            if unsent.is_again()
                && let Err(at) = self.errands.pace.take(now.instant)
            {
                self.errands.wait_until = Some(at);
                return false;
            }
            if let (Some(session), Some(id)) = (&mut self.session, unsent.sync()) {
                session.stream(id);
            }
            self.outputs.push_back(Output::Send(unsent.send()));
        }
        true
    }

    fn run_errands(&mut self, now: Now) {
        while let Some(errand) = self.next_errand(now.instant) {
            let rest = self.errands.rest_until.filter(|until| *until > now.instant);
            if let Some(at) = rest.or_else(|| self.errands.pace.take(now.instant).err()) {
                self.errands.wait_until = Some(at);
                return;
            }
            self.ask(now, errand);
        }
        let acknowledge_at = self.mailbox.as_ref().and_then(mailbox::Mailbox::acknowledge_at);
        self.errands.wait_until = acknowledge_at.filter(|at| *at > now.instant);
    }

    fn next_errand(&self, now: Instant) -> Option<Errand> {
        if self.pending.errands() >= WINDOW {
            return None;
        }
        let is_saying = self.pending.has(|purpose| matches!(purpose, Purpose::Presence(_)));
        let watching = self.watching.errand().filter(|errand| !(is_saying && *errand == Errand::Presence));
        let mailbox = || self.mailbox.as_ref().and_then(|mailbox| mailbox.errand(now));
        watching.or_else(|| self.rooms.errand()).or_else(mailbox)
    }

    fn ask(&mut self, now: Now, errand: Errand) {
        let message = match &errand {
            Errand::Join(room) => {
                self.rooms.returning(room);
                ClientMessage::Join(Join { room: Some(room.clone()) })
            }
            Errand::History(room) => ClientMessage::History(HistoryRequest {
                room: Some(room.clone()),
                since_seq: self.rooms.ask(room),
                limit: Some(MAX_PAGE),
            }),
            Errand::Presence => match self.watching.say() {
                Some(presence) => ClientMessage::Presence(presence),
                None => return,
            },
            Errand::Subscribe(users) => {
                self.watching.subscribe(users.len());
                ClientMessage::PresenceSubscribe(PresenceSubscribe { user_ids: users.clone() })
            }
            Errand::Sync => {
                let since_seq = self.mailbox.as_mut().map_or(0, mailbox::Mailbox::ask);
                ClientMessage::Sync(Sync { since_seq, limit: Some(mailbox::AHEAD) })
            }
            Errand::Delivered(count) => {
                let ids = self.mailbox.as_mut().map(|mailbox| mailbox.acknowledge(now.instant, *count));
                ClientMessage::Delivered(Delivered { message_ids: ids.unwrap_or_default() })
            }
        };
        self.send_errand(errand, message);
    }

    fn send_errand(&mut self, errand: Errand, message: ClientMessage<'_>) {
        let (id, kind) = (self.fresh_id(), message.kind());
        let frame = self.settings.codec.encode_client(&ClientFrame { id: Some(id.clone()), message });
        if let Some(session) = self.session.as_mut().filter(|_| errand == Errand::Sync) {
            session.stream(id.clone());
        }
        self.outputs.push_back(Output::Send(frame.clone()));
        self.pending.insert_errand(Request { id, kind, frame, asker: Asker::Client(errand) });
    }

    /// Says before a goodbye what the application has of the mailbox.
    pub(super) fn acknowledge_at_last(&mut self, now: Now) {
        if let Some(errand) = self.mailbox.as_ref().and_then(mailbox::Mailbox::last_errand) {
            self.ask(now, errand);
        }
    }

    /// An errand was answered.
    pub(super) fn errand_answered(
        &mut self,
        now: Now,
        errand: Errand,
        at: Timestamp,
        outcome: Result<Reply, RequestError>,
    ) {
        match outcome {
            Ok(reply) => {
                self.errands.backoff = Backoff::new(LAST_CEILING);
                self.errand_done(now, errand, at, reply);
            }
            Err(RequestError::Refused(refusal)) if !RequestError::Refused(refusal.clone()).is_retryable() => {
                self.errand_refused(now, errand, refusal);
            }
            Err(error) => {
                self.rest(now, &error);
                self.errand_failed(errand);
            }
        }
    }

    fn errand_done(&mut self, now: Now, errand: Errand, at: Timestamp, reply: Reply) {
        match (errand, reply) {
            (Errand::Join(room), Reply::Ack(_)) => self.room_joined(&room, at),
            (Errand::History(_), Reply::History(history)) => self.handle_history(now, history),
            (Errand::Sync, Reply::Synced(synced)) => self.handle_synced(now, synced),
            (Errand::Presence | Errand::Subscribe(_), Reply::Ack(_)) => {}
            (Errand::Delivered(count), Reply::Ack(_)) => {
                if let Some(mailbox) = &mut self.mailbox {
                    mailbox.acknowledged(count);
                }
                self.go_on_with_mail(now);
            }
            (errand, _) => {
                self.rest(now, &RequestError::UnexpectedReply);
                self.errand_failed(errand);
            }
        }
    }

    /// It is to be done again.
    fn errand_failed(&mut self, errand: Errand) {
        match errand {
            Errand::Join(room) => self.rooms.stay_out(&room),
            Errand::History(room) => self.rooms.fail(&room),
            Errand::Presence => self.watching.say_again(),
            Errand::Subscribe(users) => self.watching.subscribe_again(users),
            Errand::Sync => self.mailbox.iter_mut().for_each(mailbox::Mailbox::fail),
            Errand::Delivered(_) => self.mailbox.iter_mut().for_each(mailbox::Mailbox::not_acknowledged),
        }
    }

    /// It cannot be done.
    fn errand_refused(&mut self, now: Now, errand: Errand, refusal: Refusal) {
        match errand {
            Errand::Join(room) | Errand::History(room) => self.give_up_room(room, refusal),
            Errand::Presence => self.tell(Event::NotRestored { what: Kept::Presence, refusal }),
            Errand::Subscribe(users) => {
                self.watching.unwatch(&users);
                self.tell(Event::NotRestored { what: Kept::Subscriptions(users), refusal });
            }
            Errand::Sync => self.give_up_mailbox(refusal),
            Errand::Delivered(count) => {
                if let Some(mailbox) = &mut self.mailbox {
                    mailbox.acknowledge_otherwise(count);
                }
                self.go_on_with_mail(now);
            }
        }
    }

    /// Asks for nothing more for a while.
    fn rest(&mut self, now: Now, error: &RequestError) {
        let told = if let RequestError::Refused(refusal) = error { refusal.retry_after } else { None };
        let rest: Duration = self.errands.backoff.next_delay(told, self.rng.random());
        let until = now.instant + rest;
        self.errands.rest_until = Some(self.errands.rest_until.map_or(until, |before| before.max(until)));
    }

    /// What an application's request changes when it is asked. Refuses what no server would take.
    pub(super) fn admit(&self, purpose: &Purpose) -> Result<(), RequestError> {
        match purpose {
            Purpose::Join(room, _) if self.is_one_room_too_many(room) => {
                Err(too_many("a session is in at most 100 rooms"))
            }
            Purpose::Subscribe(users) if self.watching.is_too_many(users) => {
                Err(too_many("a session watches at most 500 users"))
            }
            Purpose::Nothing
            | Purpose::Call(_)
            | Purpose::Join(..)
            | Purpose::Leave(_)
            | Purpose::Chat(_)
            | Purpose::InRoom(_)
            | Purpose::Message
            | Purpose::Sync
            | Purpose::Presence(_)
            | Purpose::Subscribe(_)
            | Purpose::Unsubscribe(_) => Ok(()),
        }
    }

    /// What an application's request changes as soon as it is asked.
    pub(super) fn note_asked(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Call(peer) => self.calls.open(peer.clone()),
            Purpose::Join(room, since) => self.want_room(room, *since),
            Purpose::Leave(room) => self.forget_room(room),
            Purpose::Unsubscribe(users) => self.watching.unwatch(users),
            Purpose::Nothing
            | Purpose::Chat(_)
            | Purpose::InRoom(_)
            | Purpose::Message
            | Purpose::Sync
            | Purpose::Presence(_)
            | Purpose::Subscribe(_) => {}
        }
    }

    /// What an application's request changes when it was carried out, with the number that it got.
    pub(super) fn note_done(&mut self, now: Now, purpose: Purpose, at: Timestamp, seq: Option<u64>) {
        match (purpose, seq) {
            (Purpose::Join(room, _), _) => self.room_joined(&room, at),
            (Purpose::Chat(room), Some(seq)) => self.chat_acked(now, &room, seq),
            (Purpose::Message, Some(seq)) => self.mail_acked(now, seq),
            (Purpose::Presence(presence), _) => self.watching.show(presence),
            (Purpose::Subscribe(users), _) => self.note_watched(users),
            (Purpose::Unsubscribe(users), _) => self.watching.unwatch(&users),
            _ => {}
        }
    }

    /// The application watches these users, but for those whom it has asked meanwhile not to watch.
    fn note_watched(&mut self, users: Vec<UserRef>) {
        let is_let_go = |user: &UserRef| {
            let names =
                |purpose: &Purpose| matches!(purpose, Purpose::Unsubscribe(users) if users.contains(user));
            self.pending.has(names)
        };
        let watched = users.into_iter().filter(|user| !is_let_go(user)).collect();
        self.watching.watch(watched);
    }

    /// The application was told that nothing is known of what it sent; now it can be told that it was stored.
    pub(super) fn note_late(&mut self, purpose: &Purpose) {
        match (purpose, &mut self.mailbox) {
            (Purpose::Chat(room), _) => self.rooms.fall_behind(room),
            (Purpose::Message, Some(mailbox)) => mailbox.fall_behind(),
            _ => {}
        }
    }

    /// What an application's request changes when it failed.
    pub(super) fn note_failed(&mut self, purpose: &Purpose) {
        if let Purpose::Join(room, _) = purpose {
            self.room_not_joined(room);
        }
    }
}
