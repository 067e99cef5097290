//! Streams a mailbox to a session as its socket has room (docs/protocol/messages.md, `sync`).

use std::sync::Arc;

use aldis_protocol::{
    RequestId, ServerFrame, ServerMessage, Sync, Synced,
    limits::{DEFAULT_PAGE, MAX_PAGE},
};
use bytes::Bytes;
use futures::stream;

use super::{Part, Relay, Reply, mail::failed, mail_delivery::mail};
use crate::{
    clock::Now,
    link::{SessionHandle, Ticket},
    store::{PendingAppend, StoreError, StoredMessage, Which},
};

/// Messages that are read and passed to the socket at once: 1 MiB at most.
const MESSAGES_PER_PART: u32 = 16;

impl Relay {
    /// Streams the mailbox from a number on, under the request's id, which tells clients that the messages are not
    /// counted.
    pub(super) fn sync(
        self: &Arc<Self>,
        from: &Arc<SessionHandle>,
        ticket: Ticket,
        id: Option<RequestId>,
        sync: Sync,
    ) -> Reply {
        let streaming = Streaming {
            relay: Arc::clone(self),
            session: Arc::clone(from),
            ticket,
            id,
            position: Position::Before,
            last: sync.since_seq,
            left: sync.limit.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE),
        };
        Reply::InParts(Box::pin(stream::unfold(Some(streaming), |streaming| async {
            let mut streaming = streaming?;
            let part = streaming.next().await?;
            let goes_on = matches!(part, Part::Frames(_));
            Some((part, goes_on.then_some(streaming)))
        })))
    }
}

/// A running `sync`. Its session gets new messages of the mailbox only through it.
struct Streaming {
    relay: Arc<Relay>,
    session: Arc<SessionHandle>,
    ticket: Ticket,
    /// The request's id. Streamed messages have it too, which tells clients that they are not counted.
    id: Option<RequestId>,
    position: Position,
    /// The last number streamed.
    last: u64,
    /// How many more may be streamed.
    left: u32,
}

#[derive(PartialEq, Eq)]
enum Position {
    Before,
    Under,
    Over,
}

/// The next step of a sync.
enum Next {
    Frames(Vec<Bytes>),
    /// The limit was reached.
    Limit(Synced),
    /// Everything was streamed; the reply is in the session's queue.
    Complete,
}

impl Streaming {
    async fn next(&mut self) -> Option<Part> {
        Some(match self.go_on().await {
            Ok(Next::Frames(frames)) => Part::Frames(frames),
            Ok(Next::Limit(synced)) => Part::Reply(Box::new(ServerMessage::Synced(synced))),
            Ok(Next::Complete) => return None,
            Err(failure) => Part::Reply(Box::new(failed(failure))),
        })
    }

    async fn go_on(&mut self) -> Result<Next, StoreError> {
        if self.position == Position::Before {
            self.mark_delivered().await?;
            self.session.begin_sync();
            self.position = Position::Under;
        }
        loop {
            // Reads one more than may be streamed, to learn whether there are more.
            let ask = (self.left + 1).min(MESSAGES_PER_PART);
            let mut page = self.relay.store.mailbox_page(self.session.user, self.last, ask).await?;
            let (first_seq, last_seq) = (page.first_seq, page.last_seq);
            let is_more = page.messages.len() > self.left as usize;
            page.messages.truncate(self.left as usize);
            if let Some(last) = page.messages.last() {
                self.last = last.seq;
                self.left -= u32::try_from(page.messages.len()).unwrap_or(self.left);
                return Ok(Next::Frames(page.messages.iter().map(|message| self.encode(message)).collect()));
            }
            // Lower than requested if the server was restored from a backup: the client has numbers that no longer
            // exist.
            let seq = self.last.min(last_seq);
            if is_more {
                return Ok(Next::Limit(Synced::new(seq, first_seq, false)));
            }
            let synced = ServerMessage::Synced(Synced::new(seq, first_seq, true));
            if self.session.end_sync(seq, self.ticket, synced) {
                self.position = Position::Over;
                return Ok(Next::Complete);
            }
        }
    }

    fn encode(&self, message: &StoredMessage) -> Bytes {
        let frame = mail(message);
        let id = self.id.clone().or(frame.id);
        self.session.codec.encode_server(&ServerFrame { id, ..frame })
    }

    /// The client has everything up to the number that it sent.
    async fn mark_delivered(&self) -> Result<(), StoreError> {
        if self.last == 0 {
            return Ok(());
        }
        let receipt = self.relay.receipt(&self.session, Which::UpTo(self.last), false, Now::read()).await?;
        PendingAppend::by(|reply| self.relay.store.mark(receipt, reply)).answer().await.map(drop)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if self.position == Position::Under {
            self.session.abandon_sync();
        }
    }
}
