//! Requests that the client makes by itself: to restore a fresh session, and to fetch what was missed.
//!
//! No queue holds them. Rooms, mailbox and presence each know what they lack, and [`drive`](Machine::drive) requests it
//! after each input, within the rate limit and the window.

use std::time::Duration;

use aldis_protocol::{
    ClientFrame, ClientMessage, Delivered, HistoryRequest, Join, PresenceSubscribe, Sync, Timestamp, UserRef,
    limits::MAX_PAGE,
};
use rand::RngExt;

use super::{Machine, Now, Output, Phase, Reply, RequestError, mailbox, rooms::too_many};
use crate::{
    Event, Instant, Refusal, Restorable,
    backoff::{Backoff, LAST_CEILING},
    pending::{Origin, Request},
    purpose::{BackgroundRequest, Purpose},
    rate_limit::RateLimit,
};

/// Background requests in flight. The server answers in order, so the application's own requests wait behind them.
const WINDOW: usize = 32;

/// When the client may make more background requests.
#[derive(Debug)]
pub(super) struct BackgroundRequests {
    rate_limit: RateLimit,
    /// Grows with each temporary refusal.
    backoff: Backoff,
    /// Set by a temporary refusal.
    rest_until: Option<Instant>,
    /// The next request waits until then.
    wait_until: Option<Instant>,
}

impl BackgroundRequests {
    pub(super) fn new() -> Self {
        let backoff = Backoff::new(LAST_CEILING);
        Self { rate_limit: RateLimit::default(), backoff, rest_until: None, wait_until: None }
    }

    pub(super) fn wait_until(&self) -> Option<Instant> {
        self.wait_until
    }
}

impl<R> Machine<R> {
    /// Starts over in a fresh session, which knows nothing of the application's rooms, subscriptions and mailbox.
    pub(super) fn restart(&mut self) {
        self.rooms.restart();
        self.watching.restart();
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.restart();
        }
        (self.background.rate_limit, self.background.rest_until) = (RateLimit::default(), None);
    }

    /// Sends waiting requests of the application, then background requests.
    pub(super) fn drive(&mut self, now: Now) {
        let Phase::Live(live) = &self.phase else { return };
        self.background.wait_until = live.replaying_until(now.instant);
        if self.background.wait_until.is_none() && self.send_waiting(now) {
            self.send_background(now);
        }
    }

    /// Returns false if the rate limit holds the rest back. It counts only requests that are sent again.
    fn send_waiting(&mut self, now: Now) -> bool {
        while let Some(unsent) = self.pending.next_unsent(|room| self.rooms.holds_up(room)) {
            if unsent.is_again()
                && let Err(at) = self.background.rate_limit.take(now.instant)
            {
                self.background.wait_until = Some(at);
                return false;
            }
            if let (Some(session), Some(id)) = (&mut self.session, unsent.sync()) {
                session.stream(id);
            }
            self.outputs.push_back(Output::Send(unsent.send()));
        }
        true
    }

    fn send_background(&mut self, now: Now) {
        while let Some(request) = self.next_background_request(now.instant) {
            let rest = self.background.rest_until.filter(|until| *until > now.instant);
            if let Some(at) = rest.or_else(|| self.background.rate_limit.take(now.instant).err()) {
                self.background.wait_until = Some(at);
                return;
            }
            self.ask(now, request);
        }
        let acknowledge_at = self.mailbox.as_ref().and_then(mailbox::Mailbox::acknowledge_at);
        self.background.wait_until = acknowledge_at.filter(|at| *at > now.instant);
    }

    fn next_background_request(&self, now: Instant) -> Option<BackgroundRequest> {
        if self.pending.background_requests() >= WINDOW {
            return None;
        }
        let is_saying = self.pending.has(|purpose| matches!(purpose, Purpose::Presence(_)));
        let watching = self
            .watching
            .next_request()
            .filter(|request| !(is_saying && *request == BackgroundRequest::Presence));
        let mailbox = || self.mailbox.as_ref().and_then(|mailbox| mailbox.next_request(now));
        watching.or_else(|| self.rooms.next_request()).or_else(mailbox)
    }

    fn ask(&mut self, now: Now, request: BackgroundRequest) {
        let message = match &request {
            BackgroundRequest::Join(room) => {
                self.rooms.rejoining(room);
                ClientMessage::Join(Join { room: Some(room.clone()) })
            }
            BackgroundRequest::History(room) => ClientMessage::History(HistoryRequest {
                room: Some(room.clone()),
                since_seq: self.rooms.ask(room),
                limit: Some(MAX_PAGE),
            }),
            BackgroundRequest::Presence => match self.watching.say() {
                Some(presence) => ClientMessage::Presence(presence),
                None => return,
            },
            BackgroundRequest::Subscribe(users) => {
                self.watching.subscribe(users.len());
                ClientMessage::PresenceSubscribe(PresenceSubscribe { user_ids: users.clone() })
            }
            BackgroundRequest::Sync => {
                let since_seq = self.mailbox.as_mut().map_or(0, mailbox::Mailbox::ask);
                ClientMessage::Sync(Sync { since_seq, limit: Some(mailbox::AHEAD) })
            }
            BackgroundRequest::Delivered(count) => {
                let ids = self.mailbox.as_mut().map(|mailbox| mailbox.acknowledge(now.instant, *count));
                ClientMessage::Delivered(Delivered { message_ids: ids.unwrap_or_default() })
            }
        };
        self.send_background_request(request, message);
    }

    fn send_background_request(&mut self, request: BackgroundRequest, message: ClientMessage<'_>) {
        let (id, kind) = (self.fresh_id(), message.kind());
        let frame = self.settings.codec.encode_client(&ClientFrame { id: Some(id.clone()), message });
        if let Some(session) = self.session.as_mut().filter(|_| request == BackgroundRequest::Sync) {
            session.stream(id.clone());
        }
        self.outputs.push_back(Output::Send(frame.clone()));
        self.pending.insert_background(Request { id, kind, frame, origin: Origin::Client(request) });
    }

    /// Acknowledges, before the client stops, what the application has stored.
    pub(super) fn acknowledge_at_last(&mut self, now: Now) {
        if let Some(request) = self.mailbox.as_ref().and_then(mailbox::Mailbox::last_acknowledgement) {
            self.ask(now, request);
        }
    }

    /// A background request was answered.
    pub(super) fn background_answered(
        &mut self,
        now: Now,
        request: BackgroundRequest,
        at: Timestamp,
        outcome: Result<Reply, RequestError>,
    ) {
        match outcome {
            Ok(reply) => {
                self.background.backoff = Backoff::new(LAST_CEILING);
                self.background_done(now, request, at, reply);
            }
            Err(RequestError::Refused(refusal)) if !RequestError::Refused(refusal.clone()).is_retryable() => {
                self.background_refused(now, request, refusal);
            }
            Err(error) => {
                self.rest(now, &error);
                self.background_failed(request);
            }
        }
    }

    fn background_done(&mut self, now: Now, request: BackgroundRequest, at: Timestamp, reply: Reply) {
        match (request, reply) {
            (BackgroundRequest::Join(room), Reply::Ack(_)) => self.room_joined(&room, at),
            (BackgroundRequest::History(_), Reply::History(history)) => self.handle_history(now, history),
            (BackgroundRequest::Sync, Reply::Synced(synced)) => self.handle_synced(now, synced),
            (BackgroundRequest::Presence | BackgroundRequest::Subscribe(_), Reply::Ack(_)) => {}
            (BackgroundRequest::Delivered(count), Reply::Ack(_)) => {
                if let Some(mailbox) = &mut self.mailbox {
                    mailbox.acknowledged(count);
                }
                self.go_on_with_mail(now);
            }
            (request, _) => {
                self.rest(now, &RequestError::UnexpectedReply);
                self.background_failed(request);
            }
        }
    }

    /// The request has to be made again.
    fn background_failed(&mut self, request: BackgroundRequest) {
        match request {
            BackgroundRequest::Join(room) => self.rooms.stay_out(&room),
            BackgroundRequest::History(room) => self.rooms.fail(&room),
            BackgroundRequest::Presence => self.watching.say_again(),
            BackgroundRequest::Subscribe(users) => self.watching.subscribe_again(users),
            BackgroundRequest::Sync => self.mailbox.iter_mut().for_each(mailbox::Mailbox::fail),
            BackgroundRequest::Delivered(_) => {
                self.mailbox.iter_mut().for_each(mailbox::Mailbox::not_acknowledged);
            }
        }
    }

    /// The request was refused for good.
    fn background_refused(&mut self, now: Now, request: BackgroundRequest, refusal: Refusal) {
        match request {
            BackgroundRequest::Join(room) | BackgroundRequest::History(room) => {
                self.give_up_room(room, refusal);
            }
            BackgroundRequest::Presence => {
                self.tell(Event::NotRestored { what: Restorable::Presence, refusal });
            }
            BackgroundRequest::Subscribe(users) => {
                self.watching.unwatch(&users);
                self.tell(Event::NotRestored { what: Restorable::Subscriptions(users), refusal });
            }
            BackgroundRequest::Sync => self.give_up_mailbox(refusal),
            BackgroundRequest::Delivered(count) => {
                if let Some(mailbox) = &mut self.mailbox {
                    mailbox.acknowledge_otherwise(count);
                }
                self.go_on_with_mail(now);
            }
        }
    }

    /// Makes no background requests for a while.
    fn rest(&mut self, now: Now, error: &RequestError) {
        let retry_after = if let RequestError::Refused(refusal) = error { refusal.retry_after } else { None };
        let rest: Duration = self.background.backoff.next_delay(retry_after, self.rng.random());
        let until = now.instant + rest;
        self.background.rest_until =
            Some(self.background.rest_until.map_or(until, |before| before.max(until)));
    }

    /// Refuses requests that exceed what a server allows a session.
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
            | Purpose::Message(_)
            | Purpose::Sync
            | Purpose::Presence(_)
            | Purpose::Subscribe(_)
            | Purpose::Unsubscribe(_) => Ok(()),
        }
    }

    /// Takes in a request that the application makes.
    pub(super) fn note_asked(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Call(peer) => self.calls.open(peer.clone()),
            Purpose::Join(room, since) => self.want_room(room, *since),
            Purpose::Leave(room) => self.forget_room(room),
            Purpose::Unsubscribe(users) => self.watching.unwatch(users),
            Purpose::Nothing
            | Purpose::Chat(_)
            | Purpose::InRoom(_)
            | Purpose::Message(_)
            | Purpose::Sync
            | Purpose::Presence(_)
            | Purpose::Subscribe(_) => {}
        }
    }

    /// Takes in that a request was carried out, with the number that its message got.
    pub(super) fn note_done(&mut self, now: Now, purpose: Purpose, at: Timestamp, seq: Option<u64>) {
        match (purpose, seq) {
            (Purpose::Join(room, _), _) => self.room_joined(&room, at),
            (Purpose::Chat(room), Some(seq)) => self.chat_acked(now, &room, seq),
            (Purpose::Message(_), Some(seq)) => self.mail_acked(now, seq),
            (Purpose::Presence(presence), _) => self.watching.show(presence),
            (Purpose::Subscribe(users), _) => self.note_watched(users),
            (Purpose::Unsubscribe(users), _) => self.watching.unwatch(&users),
            _ => {}
        }
    }

    /// Remembers the subscriptions, without the users that the application has unsubscribed from meanwhile.
    fn note_watched(&mut self, users: Vec<UserRef>) {
        let is_let_go = |user: &UserRef| {
            let names =
                |purpose: &Purpose| matches!(purpose, Purpose::Unsubscribe(users) if users.contains(user));
            self.pending.has(names)
        };
        let watched = users.into_iter().filter(|user| !is_let_go(user)).collect();
        self.watching.watch(watched);
    }

    /// A message was stored whose request has failed: the application gets it from the stream instead.
    pub(super) fn note_late(&mut self, purpose: &Purpose) {
        match (purpose, &mut self.mailbox) {
            (Purpose::Chat(room), _) => self.rooms.fall_behind(room),
            (Purpose::Message(_), Some(mailbox)) => mailbox.fall_behind(),
            _ => {}
        }
    }

    /// Takes in that a request of the application failed.
    pub(super) fn note_failed(&mut self, purpose: &Purpose) {
        if let Purpose::Join(room, _) = purpose {
            self.room_not_joined(room);
        }
    }
}
