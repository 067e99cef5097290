//! Encrypted messages: posted, and marked as delivered and read (docs/protocol/messages.md).

use std::sync::Arc;

use aldis_protocol::{
    Ack, AckStatus, EncryptedMessage, ErrorCode, MessageId, RequestId, ServerMessage, UserId, UserRef,
};
use aldis_registry::{Facts, Purpose, may_reach};
use bytes::Bytes;

use super::{
    Reply, Router, error,
    named::known_user,
    outlet::Outlet,
    refused,
    relations::Relation,
    signaling::target_unavailable,
    stand_in::stand_in,
    turns::{Storing, Turn},
};
use crate::{
    clock::{Now, unix_ms_i64},
    store::{Kept, Marked, NewMessage, NewReceipt, Posted, StoreError, Submitted, Which},
};

/// A message as a session sends it.
struct Letter {
    request: RequestId,
    encrypted_content: Bytes,
}

impl Router {
    /// Keeps a message for whom it is for, where the sender may reach him.
    pub(super) fn post(
        self: &Arc<Self>,
        from: &Arc<Outlet>,
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
        let letter = Letter { request, encrypted_content: message.encrypted_content.into_owned().into() };
        if from.turns.may_store()
            && let Some(user) = known_user(from, recipient)
            && let Some(relation) = self.known_relation(from.user, user, now)
        {
            let posting = self.submit_letter(from, letter, user, relation);
            return Reply::Later(Box::pin(posting.answer()));
        }
        let (router, from, turn) = (Arc::clone(self), Arc::clone(from), Turn::take(from));
        Reply::Later(Box::pin(async move {
            turn.comes_to_store().await;
            match router.find_recipient(&from, recipient).await {
                Ok((user, relation)) => {
                    let posting = router.submit_letter(&from, letter, user, relation);
                    drop(turn);
                    posting.answer().await
                }
                Err(failure) => failed(failure),
            }
        }))
    }

    /// Marks messages as delivered or read.
    pub(super) fn mark(
        self: &Arc<Self>,
        from: &Arc<Outlet>,
        message_ids: Vec<MessageId>,
        is_read: bool,
    ) -> Reply {
        let (router, from, turn) = (Arc::clone(self), Arc::clone(from), Turn::take(from));
        Reply::Later(Box::pin(async move {
            turn.comes_to_store().await;
            match router.submit_receipt(&from, Which::Ids(message_ids), is_read).await {
                Ok(submitted) => {
                    let storing = Storing::begin(&from);
                    drop(turn);
                    let marked = submitted.answer().await;
                    drop(storing);
                    marked.map_or_else(failed, marked_reply)
                }
                Err(failure) => failed(failure),
            }
        }))
    }

    /// Queues a receipt, with whom of the senders it may be told to.
    pub(super) async fn submit_receipt(
        &self,
        from: &Outlet,
        which: Which,
        is_read: bool,
    ) -> Result<Submitted<Marked>, StoreError> {
        let mut may_hear = Vec::new();
        for sender in self.store.senders_of(from.user, &which).await? {
            let relation = self.relation(sender, from.user).await?;
            if self.may_write(sender, from.user, relation) {
                may_hear.push(sender);
            }
        }
        let (user, device, now_ms) = (from.user, from.device.clone(), unix_ms_i64());
        self.store.mark(NewReceipt { user, which, is_read, device, may_hear, now_ms })
    }

    async fn find_recipient(
        &self,
        from: &Outlet,
        recipient: UserRef,
    ) -> Result<(UserId, Relation), StoreError> {
        let user = self.named_user(from.user, recipient).await?;
        Ok((user, self.relation(from.user, user).await?))
    }

    /// Queues a message. One for somebody out of reach takes the same way, for nobody: it takes as long, and one that was
    /// stored while he could be reached has its answer again.
    fn submit_letter(&self, from: &Arc<Outlet>, letter: Letter, user: UserId, relation: Relation) -> Posting {
        let is_reachable = self.may_write(from.user, user, relation);
        let recipient = if is_reachable { user } else { stand_in(from.user, &user.to_string()) };
        let message = NewMessage {
            sender: from.user,
            sender_device: from.device.clone(),
            request: letter.request,
            addressee: user,
            recipient,
            encrypted_content: letter.encrypted_content,
            is_allowed: user == from.user || relation.target.allows(),
            reaches_out: recipient != from.user && !relation.sender.reached_out,
            now_ms: unix_ms_i64(),
        };
        Posting { addressee: user, submitted: self.store.post(message), _storing: Storing::begin(from) }
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

/// A message in the store's queue.
struct Posting {
    addressee: UserId,
    submitted: Result<Submitted<Posted>, StoreError>,
    _storing: Storing,
}

impl Posting {
    async fn answer(self) -> ServerMessage<'static> {
        let posted = match self.submitted {
            Ok(submitted) => submitted.answer().await,
            Err(failure) => Err(failure),
        };
        match posted {
            Ok(Posted::Stored(kept)) => ServerMessage::Ack(stored(self.addressee, kept)),
            Ok(Posted::Duplicate(kept)) => {
                ServerMessage::Ack(stored(self.addressee, kept).with_duplicate(true))
            }
            Ok(Posted::Conflict) => error(
                ErrorCode::Conflict,
                "this device sent another message under this id; give each its own",
            ),
            Ok(Posted::MailboxFull) => error(
                ErrorCode::MailboxFull,
                "the recipient's mailbox takes no more messages from you until they have fetched some",
            ),
            Ok(Posted::NoSuchUser) => target_unavailable(),
            Err(failure) => failed(failure),
        }
    }
}

fn stored(addressee: UserId, kept: Kept) -> Ack<'static> {
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

/// What somebody is told whose request the store failed at.
pub(super) fn failed(failure: StoreError) -> ServerMessage<'static> {
    refused(failure.into())
}
