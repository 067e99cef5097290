//! Encrypted messages: post them, and mark them as delivered and read (docs/protocol/messages.md).

use std::sync::Arc;

use aldis_protocol::{
    Ack, AckStatus, EncryptedMessage, ErrorCode, MessageId, RequestId, ServerMessage, UserId, UserRef,
};
use aldis_registry::{Facts, Purpose, may_reach};
use bytes::Bytes;

use super::{
    Outcome, Relay, Reply, decoy::decoy, error, named::known_user, refused, relations::Relation,
    signaling::target_unavailable,
};
use crate::{
    clock::Now,
    link::{SessionHandle, Ticket},
    store::{Marked, NewMessage, NewReceipt, Posted, ReplyTo, StoreError, StoredMeta, Which},
};

/// A message as a session sends it.
struct Letter {
    ticket: Ticket,
    request: RequestId,
    encrypted_content: Bytes,
}

impl Relay {
    /// Stores a message for its recipient, if the sender may reach them.
    pub(super) fn post(
        self: &Arc<Self>,
        from: &Arc<SessionHandle>,
        ticket: Ticket,
        id: Option<RequestId>,
        message: EncryptedMessage<'_>,
        now: Now,
    ) -> Reply {
        let Some(request) = id else {
            return Reply::Now(error(ErrorCode::BadRequest, "a message has an `id`"));
        };
        if let Some(refusal) = self.rates.refuse_stored(from.user, now, &self.metrics) {
            return Reply::Now(refusal);
        }
        let recipient = message.recipient;
        let encrypted_content = message.encrypted_content.into_owned().into();
        let letter = Letter { ticket, request, encrypted_content };
        if let Some(user) = known_user(from, recipient)
            && let Some(relation) = self.known_relation(from.user, user, now)
        {
            self.submit_letter(from, letter, user, relation, now);
            return Reply::Queued;
        }
        let (relay, from) = (Arc::clone(self), Arc::clone(from));
        Reply::Later(Box::pin(async move {
            match relay.find_recipient(&from, recipient, now).await {
                Ok((user, relation)) => {
                    relay.submit_letter(&from, letter, user, relation, now);
                    Outcome::Queued
                }
                Err(failure) => Outcome::Reply(failed(failure)),
            }
        }))
    }

    /// Marks messages as delivered or read.
    pub(super) fn mark(
        self: &Arc<Self>,
        from: &Arc<SessionHandle>,
        ticket: Ticket,
        message_ids: Vec<MessageId>,
        is_read: bool,
        now: Now,
    ) -> Reply {
        let (relay, from) = (Arc::clone(self), Arc::clone(from));
        Reply::Later(Box::pin(async move {
            match relay.receipt(&from, Which::Ids(message_ids), is_read, now).await {
                Ok(receipt) => {
                    let reply = move |marked: Result<_, _>| {
                        from.reply(ticket, marked.map_or_else(failed, marked_reply));
                    };
                    relay.store.mark(receipt, ReplyTo::new(reply));
                    Outcome::Queued
                }
                Err(failure) => Outcome::Reply(failed(failure)),
            }
        }))
    }

    /// A receipt, with the senders who may see it.
    pub(super) async fn receipt(
        &self,
        from: &SessionHandle,
        which: Which,
        is_read: bool,
        now: Now,
    ) -> Result<NewReceipt, StoreError> {
        let mut may_hear = Vec::new();
        for sender in self.store.senders_of(from.user, &which).await? {
            let relation = self.relation(sender, from.user, now).await?;
            if self.may_write(sender, from.user, relation) {
                may_hear.push(sender);
            }
        }
        let (user, device, now_ms) = (from.user, from.device.clone(), now.store_ms());
        Ok(NewReceipt { user, which, is_read, device, may_hear, now_ms })
    }

    async fn find_recipient(
        &self,
        from: &SessionHandle,
        recipient: UserRef,
        now: Now,
    ) -> Result<(UserId, Relation), StoreError> {
        let user = self.named_user(from.user, recipient).await?;
        Ok((user, self.relation(from.user, user, now).await?))
    }

    /// Submits a message; the reply comes through the session's queue. A message to a user out of reach is submitted
    /// for a decoy: this takes the same time, and a repeated message gets the reply of the first even if the user was
    /// reachable only then.
    fn submit_letter(
        &self,
        from: &Arc<SessionHandle>,
        letter: Letter,
        user: UserId,
        relation: Relation,
        now: Now,
    ) {
        let is_reachable = self.may_write(from.user, user, relation);
        let recipient = if is_reachable { user } else { decoy(from.user, &user.to_string()) };
        let message = NewMessage {
            sender: from.user,
            sender_device: from.device.clone(),
            request: letter.request,
            addressee: user,
            recipient,
            encrypted_content: letter.encrypted_content,
            is_allowed: user == from.user || relation.target.allows(),
            reaches_out: recipient != from.user && !relation.sender.reached_out,
            now_ms: now.store_ms(),
        };
        let (session, ticket) = (Arc::clone(from), letter.ticket);
        let reply = move |posted| session.reply(ticket, posted_reply(user, posted));
        self.store.post(message, ReplyTo::new(reply));
    }

    fn may_write(&self, sender: UserId, recipient: UserId, relation: Relation) -> bool {
        let facts = Facts {
            same_user: sender == recipient,
            sender: relation.sender,
            target: relation.target,
            share_private_room: relation.share_private_room,
            ..Facts::default()
        };
        may_reach(self.settings.routing, Purpose::Message, facts)
    }
}

fn posted_reply(addressee: UserId, posted: Result<Posted, StoreError>) -> ServerMessage<'static> {
    match posted {
        Ok(Posted::Stored(kept)) => ServerMessage::Ack(stored(addressee, kept)),
        Ok(Posted::Duplicate(kept)) => ServerMessage::Ack(stored(addressee, kept).with_duplicate(true)),
        Ok(Posted::Conflict) => {
            error(ErrorCode::Conflict, "this device sent another message under this id; give each its own")
        }
        Ok(Posted::MailboxFull) => error(
            ErrorCode::MailboxFull,
            "the recipient's mailbox takes no more messages from you until they have fetched some",
        ),
        Ok(Posted::NoSuchUser) => target_unavailable(),
        Err(failure) => failed(failure),
    }
}

fn stored(addressee: UserId, kept: StoredMeta) -> Ack<'static> {
    Ack::new(AckStatus::Stored, format!("Message stored for {addressee}"))
        .with_seq(kept.sender_seq)
        .with_message_id(kept.message_id)
}

fn marked_reply(marked: Marked) -> ServerMessage<'static> {
    match marked {
        Marked::Done(_) => super::done("Receipt noted"),
        Marked::Unknown => error(
            ErrorCode::UnknownMessage,
            "one of the messages is not addressed to you, or not kept any more",
        ),
    }
}

/// The reply to a request at which the store failed.
pub(super) fn failed(failure: StoreError) -> ServerMessage<'static> {
    refused(failure.into())
}
