//! Delivers encrypted messages and receipts to the sessions of sender and recipient.

use std::sync::Arc;

use aldis_protocol::{Receipt, ServerFrame, ServerMessage, Timestamp, UserId};
use aldis_registry::Attached;

use super::{Relay, fresh};
use crate::{
    link::{Encoded, Fed, SessionHandle, status},
    store::{Durable, Marked, NewMessage, NewReceipt, Posted, SenderReceipt, StoredMessage, StoredMeta},
};

impl Relay {
    /// Delivers a message to all devices of its recipient, and to the sender's other devices.
    pub(super) async fn deliver_message(&self, message: &Durable<NewMessage, Posted>) {
        let (message, kept) = match message.answer {
            Posted::Stored(kept) => (&message.append, kept),
            Posted::Duplicate(kept) => return self.deliver_missed(&message.append, kept).await,
            Posted::Conflict | Posted::MailboxFull | Posted::NoSuchUser => return,
        };
        if message.reaches_out {
            self.follow_relation(message.sender, message.recipient).await;
        }
        self.deliver_copy(message, kept, message.recipient).await;
        if message.sender != message.recipient {
            self.deliver_copy(message, kept, message.sender).await;
        }
    }

    /// Tells the senders that their messages were delivered or read, and the recipient's other devices.
    pub(super) fn deliver_receipt(&self, receipt: &Durable<NewReceipt, Marked>) {
        let Marked::Done(by_sender) = &receipt.answer else { return };
        let receipt = &receipt.append;
        for part in by_sender {
            let others = self.registry.of_user(receipt.user);
            let others = others.into_iter().filter(|other| other.device != receipt.device);
            self.push_receipt(part, part.delivered_at_ms, others);
            if part.sender != receipt.user && receipt.may_hear.contains(&part.sender) {
                let senders = self.registry.of_user(part.sender);
                self.push_receipt(part, part.shown_delivered_at_ms, senders);
            }
        }
    }

    fn push_receipt(
        &self,
        part: &SenderReceipt,
        delivered_at_ms: i64,
        sessions: impl IntoIterator<Item = Attached<Arc<SessionHandle>>>,
    ) {
        let frame = Encoded::new(fresh(ServerMessage::Receipt(
            Receipt::new(part.message_ids.clone())
                .with_delivered_at(Timestamp::from_ms(delivered_at_ms))
                .with_read_at(part.read_at_ms.map(Timestamp::from_ms)),
        )))
        .for_many(&self.shared_bytes);
        for session in sessions {
            // A session without room finds it in its mailbox.
            let pushed = session.handle.push(frame.for_codec(session.handle.codec));
            let _ = status(pushed, &self.metrics);
        }
    }

    /// Delivers the copy of a message in one of its two mailboxes.
    async fn deliver_copy(&self, message: &NewMessage, kept: StoredMeta, user: UserId) {
        let sessions = self.registry.of_user(user);
        if sessions.is_empty() {
            return;
        }
        let copy = message.kept_for(user, kept);
        let frame = Encoded::new(mail(&copy)).for_many(&self.shared_bytes);
        for session in sessions {
            let is_own = session.device == message.sender_device;
            self.feed(&session.handle, copy.seq, &frame, is_own).await;
        }
    }

    /// Delivers a message that was stored before, to sessions that missed it. The commit may have succeeded without
    /// an answer from the database, and then no session was told.
    async fn deliver_missed(&self, message: &NewMessage, kept: StoredMeta) {
        let copies = [(message.addressee, kept.recipient_seq), (message.sender, kept.sender_seq)];
        for (user, seq) in copies {
            for session in self.registry.of_user(user) {
                let Some(after) = session.handle.misses_mail(seq) else { continue };
                if session.device == message.sender_device {
                    self.fill(&session.handle, after, seq).await;
                    let _ = session.handle.pass_mail(seq);
                } else {
                    self.fill(&session.handle, after, seq + 1).await;
                }
            }
        }
    }

    /// Delivers a message to a session, after the messages that other nodes committed before it.
    async fn feed(&self, session: &SessionHandle, seq: u64, frame: &Encoded<'_>, is_own: bool) {
        let feed = || match is_own {
            true => session.pass_mail(seq),
            false => session.push_mail(seq, || frame.for_codec(session.codec)),
        };
        let mut fed = feed();
        if let Fed::After(after) = fed {
            self.fill(session, after, seq).await;
            fed = feed();
        }
        if let Fed::After(_) = fed {
            session.leap_mail();
            fed = feed();
        }
        if let Fed::Pushed(pushed) = fed {
            // Sessions that are full or closed ask for it when they reconnect.
            let _ = status(pushed, &self.metrics);
        }
    }

    /// Delivers the messages between two numbers, as far as they are stored and can be read.
    async fn fill(&self, session: &SessionHandle, after: u64, before: u64) {
        let limit = u32::try_from(before - after - 1).unwrap_or(u32::MAX);
        match self.store.mailbox_page(session.user, after, limit).await {
            Ok(page) => {
                for message in page.messages.iter().take_while(|message| message.seq < before) {
                    let frame = Encoded::new(mail(message));
                    let _ = session.push_mail(message.seq, || frame.for_codec(session.codec));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read what a session has missed; its client will see the gap");
            }
        }
    }
}

/// The frame of a message, with the sender's request id.
pub(super) fn mail(message: &StoredMessage) -> ServerFrame<'_> {
    ServerFrame {
        id: Some(message.request.clone()),
        timestamp: Timestamp::from_ms(message.created_at_ms),
        message: ServerMessage::Message(message.as_message()),
    }
}
