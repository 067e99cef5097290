//! Committed appends that other users have to hear of.

use super::{
    chat::{NewChat, Said},
    mailbox::{Marked, NewMessage, NewReceipt, Posted},
    writer::Responder,
};

/// A committed append. Its receiver delivers it first and [answers](Self::answer) the sender afterwards, so that
/// nothing that the sender does next can overtake the delivery.
pub(crate) enum Committed {
    /// An encrypted message.
    Message(Durable<NewMessage, Posted>),
    /// Encrypted messages were delivered or read.
    Receipt(Durable<NewReceipt, Marked>),
    /// A chat message.
    Chat(Durable<NewChat, Said>),
}

/// A committed append, with its answer and the caller that waits for it.
pub(crate) struct Durable<A, T> {
    /// The append.
    pub(crate) append: A,
    /// Its outcome.
    pub(crate) answer: T,
    responder: Responder<T>,
}

impl Committed {
    /// Sends the answer to the caller.
    pub(crate) fn answer(self) {
        match self {
            Self::Message(durable) => durable.answer(),
            Self::Receipt(durable) => durable.answer(),
            Self::Chat(durable) => durable.answer(),
        }
    }
}

impl<A, T> Durable<A, T> {
    pub(super) const fn new(append: A, answer: T, responder: Responder<T>) -> Self {
        Self { append, answer, responder }
    }

    fn answer(self) {
        self.responder.respond(Ok(self.answer));
    }
}
