//! The appends of one kind in a batch.

use super::{Append, Committed, Durable, Responder, StoreError, Tx, Waiting};

/// The appends of one kind, the callers that wait for them, and their answers after the commit.
pub(super) struct BatchLane<A: Append> {
    appends: Vec<A>,
    waiting: Vec<Place<A>>,
    answers: Vec<A::Answer>,
}

/// A waiting caller, and the index of its append in the batch.
struct Place<A: Append> {
    number: usize,
    responder: Responder<A::Answer>,
}

impl<A: Append> Default for BatchLane<A> {
    fn default() -> Self {
        Self { appends: Vec::new(), waiting: Vec::new(), answers: Vec::new() }
    }
}

impl<A: Append> BatchLane<A> {
    /// Adds the append with this index in the batch.
    pub(super) fn push(&mut self, number: usize, waiting: Waiting<A>) {
        self.appends.push(waiting.append);
        self.waiting.push(Place { number, responder: waiting.responder });
    }

    pub(super) fn len(&self) -> usize {
        self.appends.len()
    }

    pub(super) fn appends(&self) -> &[A] {
        &self.appends
    }

    pub(super) async fn write(&mut self, tx: &mut Tx, locked: &mut A::Locked) -> Result<(), StoreError> {
        if !self.appends.is_empty() {
            self.answers = A::write(tx, locked, &self.appends).await?;
        }
        Ok(())
    }

    /// Answers all callers.
    pub(super) fn answer(self, outcome: &Result<(), StoreError>) {
        match outcome {
            Ok(()) => {
                for (place, answer) in self.waiting.into_iter().zip(self.answers) {
                    place.responder.respond(Ok(answer));
                }
            }
            Err(error) => self.fail(error),
        }
    }

    /// The committed appends with their index, to be delivered and answered. After an error, answers the callers and
    /// returns nothing.
    pub(super) fn hand_on(
        self,
        outcome: &Result<(), StoreError>,
        kind: fn(Durable<A, A::Answer>) -> Committed,
    ) -> Vec<(usize, Committed)> {
        if let Err(error) = outcome {
            self.fail(error);
            return Vec::new();
        }
        let durable = self.appends.into_iter().zip(self.waiting).zip(self.answers);
        durable
            .map(|((append, place), answer)| {
                (place.number, kind(Durable::new(append, answer, place.responder)))
            })
            .collect()
    }

    /// Splits the lane into batches of one append, each with its index in this batch.
    pub(super) fn split<B>(self, batch: impl Fn(Self) -> B) -> impl Iterator<Item = (usize, B)> {
        self.appends.into_iter().zip(self.waiting).map(move |(append, place)| {
            let mut alone = Self::default();
            let number = place.number;
            alone.push(number, Waiting { append, responder: place.responder });
            (number, batch(alone))
        })
    }

    fn fail(self, error: &StoreError) {
        for place in self.waiting {
            place.responder.respond(Err(error.clone()));
        }
    }
}
