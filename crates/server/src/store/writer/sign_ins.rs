//! The appends of the sign-in writer: used challenges, and when devices were last connected.

use super::{Batch, Committed, Queued, StoreError, Tx, Waiting, Writing, lane::BatchLane};
use crate::store::{challenges::UsedChallenge, devices::LastSeen};

/// An append in the queue of the sign-in writer.
pub(in crate::store) enum SignInAppend {
    /// A challenge to use up.
    Challenge(Waiting<UsedChallenge>),
    /// Devices that were connected.
    LastSeen(Waiting<LastSeen>),
}

/// Used challenges and connected devices that share a transaction.
#[derive(Default)]
pub(in crate::store) struct SignInBatch {
    challenges: BatchLane<UsedChallenge>,
    last_seen: BatchLane<LastSeen>,
}

impl Queued for SignInAppend {
    fn rows(&self) -> usize {
        match self {
            Self::Challenge(waiting) => waiting.rows(),
            Self::LastSeen(waiting) => waiting.rows(),
        }
    }

    fn refuse(self, error: StoreError) {
        match self {
            Self::Challenge(waiting) => waiting.refuse(error),
            Self::LastSeen(waiting) => waiting.refuse(error),
        }
    }
}

impl Batch for SignInBatch {
    type Queued = SignInAppend;

    const WRITING: Writing = Writing::SignIns;

    fn of(queued: Vec<SignInAppend>) -> Self {
        let mut batch = Self::default();
        for (place, append) in queued.into_iter().enumerate() {
            match append {
                SignInAppend::Challenge(waiting) => batch.challenges.push(place, waiting),
                SignInAppend::LastSeen(waiting) => batch.last_seen.push(place, waiting),
            }
        }
        batch
    }

    fn len(&self) -> usize {
        self.challenges.len() + self.last_seen.len()
    }

    async fn write(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.challenges.write(tx, &mut ()).await?;
        self.last_seen.write(tx, &mut ()).await
    }

    /// None of them concerns another user.
    fn answer(self, outcome: &Result<(), StoreError>) -> Vec<Committed> {
        self.challenges.answer(outcome);
        self.last_seen.answer(outcome);
        Vec::new()
    }

    fn split(self) -> Vec<Self> {
        let challenges = self.challenges.split(|challenges| Self { challenges, ..Self::default() });
        let last_seen = self.last_seen.split(|last_seen| Self { last_seen, ..Self::default() });
        let mut alone: Vec<(usize, Self)> = challenges.chain(last_seen).collect();
        alone.sort_unstable_by_key(|(place, _)| *place);
        alone.into_iter().map(|(_, batch)| batch).collect()
    }
}
