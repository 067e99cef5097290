//! The mailbox: each message is handed to the application once and in order, and acknowledged when it is stored.
//!
//! The cursor is the number up to which the application has everything. A `sync` acknowledges what is before it, so it
//! begins at the cursor: it is sent only when no message waits for the application, and for as many as may wait.

use std::{collections::VecDeque, time::Duration};

use aldis_protocol::{
    Ack, AckStatus, DeviceId, Hash, MailboxMessage, MessageId, Synced, Timestamp, limits::MAX_IDS_PER_RECEIPT,
};
use rand::RngExt;

use super::{
    Event, Machine, Now, Output, Phase, Reply,
    rooms::STORED,
    sequenced_stream::{Range, SequencedStream},
};
use crate::{
    BoxError, IncomingMessage, Instant, Numbered, Refusal, Restorable,
    backoff::{Backoff, LAST_CEILING},
    pending::Request,
    purpose::{BackgroundRequest, Purpose},
    reorder_buffer::Limits,
};

/// Messages that may wait for the application, and the length of a page. Further messages are requested later.
pub(super) const AHEAD: u32 = 64;
/// Stored messages that are not acknowledged yet. Above that number the application gets no more.
const MAX_UNACKNOWLEDGED: usize = 1_000;
/// The time between two acknowledgements: one covers many messages, and a client may send 50 in a second.
const BETWEEN: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Mailbox {
    stream: SequencedStream<Box<IncomingMessage>>,
    /// The cursor that was last reported to the application.
    reported_cursor: u64,
    handing: Handing,
    backoff: Backoff,
    /// Stored messages that are not acknowledged yet, in order.
    unacknowledged: VecDeque<MessageId>,
    acknowledging: bool,
    /// When the next acknowledgement may go out.
    acknowledge_at: Option<Instant>,
    /// Where the requested `sync` begins, and how many of the unacknowledged messages it covers.
    asked: (u64, usize),
}

/// Stands for a message that is gone: numbers of a server stay below 2^53.
const NO_NUMBER: u64 = u64::MAX;

/// Whether the application is storing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handing {
    Idle,
    /// The message of this number.
    Busy(u64),
    /// The application failed to store the message and is asked again.
    Later(Instant),
}

impl Mailbox {
    /// A mailbox of which the application has everything up to this number.
    pub(super) fn new(cursor: u64) -> Self {
        let limits = Limits { items: AHEAD as usize, bytes: usize::MAX };
        Self {
            stream: SequencedStream::new(Some(cursor), limits),
            reported_cursor: cursor,
            handing: Handing::Idle,
            backoff: Backoff::new(LAST_CEILING),
            unacknowledged: VecDeque::new(),
            acknowledging: false,
            acknowledge_at: None,
            asked: (cursor, 0),
        }
    }

    pub(super) fn restart(&mut self) {
        self.stream.restart();
        self.acknowledging = false;
    }

    /// The next background request for the mailbox.
    pub(super) fn next_request(&self, now: Instant) -> Option<BackgroundRequest> {
        if self.stream.is_page_requested() {
            return None;
        }
        if self.stream.wants_page() && self.stream.buffer.next().is_none() {
            return Some(BackgroundRequest::Sync);
        }
        self.last_acknowledgement().filter(|_| self.acknowledge_at.is_none_or(|at| at <= now))
    }

    /// The `delivered` to send before the client stops, if any.
    pub(super) fn last_acknowledgement(&self) -> Option<BackgroundRequest> {
        let is_due = !self.acknowledging && !self.unacknowledged.is_empty();
        is_due.then(|| BackgroundRequest::Delivered(self.unacknowledged.len().min(MAX_IDS_PER_RECEIPT)))
    }

    /// A `sync` is sent; returns the number after which it begins.
    pub(super) fn ask(&mut self) -> u64 {
        self.asked = (self.stream.since(), self.unacknowledged.len());
        self.stream.begin_request();
        self.stream.since()
    }

    /// Something may be missing.
    pub(super) fn fall_behind(&mut self) {
        self.stream.fall_behind();
    }

    /// A `sync` failed.
    pub(super) fn fail(&mut self) {
        self.stream.fail();
    }

    /// A `delivered` is sent for these messages.
    pub(super) fn acknowledge(&mut self, now: Instant, count: usize) -> Vec<MessageId> {
        (self.acknowledging, self.acknowledge_at) = (true, Some(now + BETWEEN));
        self.unacknowledged.iter().take(count).copied().collect()
    }

    /// A `delivered` was answered.
    pub(super) fn acknowledged(&mut self, count: usize) {
        self.acknowledging = false;
        self.unacknowledged.drain(..count.min(self.unacknowledged.len()));
        self.asked.1 = self.asked.1.saturating_sub(count);
    }

    /// A `delivered` failed, and has to be sent again.
    pub(super) fn not_acknowledged(&mut self) {
        self.acknowledging = false;
    }

    /// A `delivered` was refused for good, because one of its messages is gone. A `sync` acknowledges the others.
    pub(super) fn acknowledge_otherwise(&mut self, count: usize) {
        self.acknowledged(count);
        self.stream.fall_behind();
    }

    /// When the next acknowledgement may go out, if there is one.
    pub(super) fn acknowledge_at(&self) -> Option<Instant> {
        self.acknowledge_at.filter(|_| !self.unacknowledged.is_empty())
    }

    /// When a gap has to be requested.
    pub(super) const fn gap_deadline(&self) -> Option<Instant> {
        self.stream.gap_deadline()
    }

    /// When the application is asked again.
    pub(super) const fn hand_at(&self) -> Option<Instant> {
        if let Handing::Later(at) = self.handing { Some(at) } else { None }
    }

    /// The server has lost numbers: starts over with the oldest message that it keeps.
    fn start_over(&mut self, first_kept: u64) {
        self.stream.start_over(first_kept);
        self.reported_cursor = self.stream.since();
        self.unacknowledged.clear();
        if let Handing::Busy(_) = self.handing {
            // Its number may come again for another message.
            self.handing = Handing::Busy(NO_NUMBER);
        }
    }

    /// Takes in the end of a page; returns the ranges that the server no longer has.
    fn synced(&mut self, synced: Synced) -> Vec<Range> {
        let (since, covered) = self.asked;
        self.unacknowledged.drain(..covered.min(self.unacknowledged.len()));
        let mut missed = self.stream.begin_page(synced.first_seq);
        // What had no place is no hole: it is asked for again.
        if !self.stream.is_behind() {
            self.stream.reach(synced.seq, &mut missed);
        }
        self.stream.end_page(synced.complete || synced.seq <= since);
        missed
    }

    /// The application has stored this message. Above the limit, a `sync` acknowledges it.
    fn note_arrived(&mut self, message: &MailboxMessage<'_>) {
        if message.delivered_at.is_some() {
            return;
        }
        if self.unacknowledged.len() < MAX_UNACKNOWLEDGED {
            self.unacknowledged.push_back(message.message_id);
        } else {
            self.stream.fall_behind();
        }
    }

    /// Takes the message of this number, which the application has stored.
    fn take_stored(&mut self, number: u64) -> Option<Box<IncomingMessage>> {
        self.stream.buffer.next().filter(|it| it.message.seq == number)?;
        self.stream.buffer.take()
    }
}

impl<R> Machine<R> {
    /// A message of the mailbox arrived, pushed or in a page. Returns it if the application has no mailbox handler.
    pub(super) fn handle_mail<'a>(
        &mut self,
        now: Now,
        timestamp: Timestamp,
        message: MailboxMessage<'a>,
    ) -> Option<MailboxMessage<'a>> {
        let Some(mailbox) = &self.mailbox else { return Some(message) };
        let is_over = mailbox.stream.buffer.is_done(message.seq);
        let is_own = self.is_this_device(&message.sender_device_id);
        let is_sent = is_own && (is_over || self.claim_mail(&message));
        let mailbox = self.mailbox.as_mut()?;
        if is_sent {
            // The application has what it sent, also where it sent it to itself.
            mailbox.stream.buffer.skip(message.seq);
            if message.recipient_id == message.sender_user_id {
                mailbox.note_arrived(&message);
            }
        } else if !is_over {
            let message = message.into_owned();
            mailbox.stream.offer(message.seq, Box::new(IncomingMessage { timestamp, message }), 0);
        }
        self.go_on_with_mail(now);
        None
    }

    /// The application's own message has this number in its mailbox.
    pub(super) fn mail_acked(&mut self, now: Now, seq: u64) {
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.stream.buffer.skip(seq);
            self.go_on_with_mail(now);
        }
    }

    /// A page has ended.
    pub(super) fn handle_synced(&mut self, now: Now, synced: Synced) {
        let Some(mailbox) = &mut self.mailbox else { return };
        if mailbox.stream.has_lost(synced.seq) {
            mailbox.start_over(synced.first_seq);
            let cursor = mailbox.reported_cursor;
            self.outputs.push_back(Output::Cursor(cursor));
            self.tell(Event::StartedOver { of: Numbered::Mailbox, newest: synced.seq });
            return self.go_on_with_mail(now);
        }
        for (first, last) in mailbox.synced(synced) {
            self.tell(Event::Missed { of: Numbered::Mailbox, first, last });
        }
        self.go_on_with_mail(now);
    }

    /// The application has stored the message that it was handed, or failed to.
    pub fn handle_stored(&mut self, now: Now, stored: Result<(), BoxError>) {
        let user_id = self.me.as_ref().map(|me| me.user_id);
        let Some(mailbox) = &mut self.mailbox else { return };
        let Handing::Busy(number) = mailbox.handing else { return };
        mailbox.handing = Handing::Idle;
        match stored {
            Ok(()) => {
                mailbox.backoff = Backoff::new(LAST_CEILING);
                let stored = mailbox.take_stored(number);
                if let Some(stored) = stored.filter(|it| user_id == Some(it.message.recipient_id)) {
                    mailbox.note_arrived(&stored.message);
                }
                self.go_on_with_mail(now);
                self.drive(now);
            }
            Err(error) => self.hand_again(now, error),
        }
    }

    /// Requests gaps and asks the application again, when their time has come.
    pub(super) fn check_mailbox_gap(&mut self, now: Now) {
        let Some(mailbox) = &mut self.mailbox else { return };
        mailbox.stream.gap_timeout(now.instant);
        if mailbox.hand_at().is_some_and(|at| at <= now.instant) {
            mailbox.handing = Handing::Idle;
        }
        self.go_on_with_mail(now);
    }

    /// The client's `sync` was refused for good. The next gap, or the next session, tries again.
    pub(super) fn give_up_mailbox(&mut self, refusal: Refusal) {
        self.mailbox.iter_mut().for_each(|mailbox| mailbox.stream.end_page(true));
        self.tell(Event::NotRestored { what: Restorable::Mailbox, refusal });
    }

    /// Hands the application its next message, and reports the cursor.
    pub(super) fn go_on_with_mail(&mut self, now: Now) {
        let Some(mailbox) = &mut self.mailbox else { return };
        mailbox.stream.watch_gap(now.instant);
        let cursor = mailbox.stream.since();
        if mailbox.reported_cursor < cursor {
            mailbox.reported_cursor = cursor;
            self.outputs.push_back(Output::Cursor(cursor));
        }
        let has_place = mailbox.unacknowledged.len() < MAX_UNACKNOWLEDGED;
        let is_leaving = matches!(self.phase, Phase::Leaving(_) | Phase::Finished);
        if mailbox.handing == Handing::Idle
            && has_place
            && !is_leaving
            && let Some(message) = mailbox.stream.buffer.next()
        {
            mailbox.handing = Handing::Busy(message.message.seq);
            self.outputs.push_back(Output::Store(message.as_ref().clone()));
        }
    }

    fn hand_again(&mut self, now: Now, error: BoxError) {
        let random = self.rng.random();
        let Some(mailbox) = &mut self.mailbox else { return };
        let wait = mailbox.backoff.next_delay(None, random);
        mailbox.handing = Handing::Later(now.instant + wait);
        if let Some(message) = mailbox.stream.buffer.next() {
            let message_id = message.message.message_id;
            self.tell(Event::MessageNotStored { message_id, error, retry_in: wait });
        }
    }

    /// Whether this is a message of a pending request. The message then settles the request, before its `ack`. A page does
    /// not name request ids, but two encrypted messages are never alike.
    fn claim_mail(&mut self, message: &MailboxMessage<'_>) -> bool {
        if !self.pending.has(|purpose| matches!(purpose, Purpose::Message(_))) {
            return false;
        }
        let purpose = Purpose::Message(Hash::of(&message.encrypted_content));
        let is_it = |request: &Request<R>| request.purpose() == Some(&purpose);
        let Some(reply_to) = self.pending.take_known(is_it) else { return false };
        let (seq, message_id) = (Some(message.seq), Some(message.message_id));
        let ack = Ack::new(AckStatus::Stored, STORED).with_seq(seq).with_message_id(message_id);
        self.settle(reply_to, Ok(Reply::Ack(ack)));
        true
    }

    /// Whether this is the device that the client is connected as.
    pub(super) fn is_this_device(&self, device_id: &DeviceId) -> bool {
        self.me.as_ref().is_some_and(|me| me.device_id == *device_id)
    }
}
