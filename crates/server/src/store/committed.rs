//! What is durable and concerns others than whoever asked for it.

use super::{
    chat::{NewChat, Said},
    mailbox::{Marked, NewMessage, NewReceipt, Posted},
    writer::Asker,
};

/// Something that was committed. Whoever delivers it [answers](Self::answer) it afterwards, so that who asked for it
/// can do nothing that overtakes it.
pub(crate) enum Committed {
    /// An encrypted message.
    Message(Durable<NewMessage, Posted>),
    /// Encrypted messages arrived, or were read.
    Receipt(Durable<NewReceipt, Marked>),
    /// Something that was said in a room.
    Chat(Durable<NewChat, Said>),
}

/// An append that is durable, with its answer and who waits for that.
pub(crate) struct Durable<A, T> {
    /// What was asked for.
    pub(crate) append: A,
    /// What became of it.
    pub(crate) answer: T,
    asker: Asker<T>,
}

impl Committed {
    /// Tells whoever waits.
    pub(crate) fn answer(self) {
        match self {
            Self::Message(durable) => durable.answer(),
            Self::Receipt(durable) => durable.answer(),
            Self::Chat(durable) => durable.answer(),
        }
    }
}

impl<A, T> Durable<A, T> {
    pub(super) const fn new(append: A, answer: T, asker: Asker<T>) -> Self {
        Self { append, answer, asker }
    }

    fn answer(self) {
        self.asker.tell(Ok(self.answer));
    }
}
