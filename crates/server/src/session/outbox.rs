//! The replay buffer: counted frames, kept until they are confirmed and sent again after a break
//! (docs/protocol/resume.md).

use std::collections::VecDeque;

use aldis_protocol::limits::{QUEUE_BYTES, QUEUE_FRAMES};
use bytes::Bytes;
use uuid::Uuid;

use super::unconfirmed_notices::UnconfirmedNotices;
use crate::link::{Frame, Held};

/// The counted frames of a session. If the client confirms nothing, the oldest are dropped, and then it cannot
/// resume.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// How many counted frames were sent in all.
    sent: u64,
    kept: Option<Box<ReplayBuffer>>,
}

/// The unconfirmed frames, up to the limits, and the unconfirmed notices. Allocates only if there are some.
#[derive(Debug, Default)]
struct ReplayBuffer {
    frames: VecDeque<ReplayFrame>,
    held: Held,
    notices: UnconfirmedNotices,
}

#[derive(Debug)]
struct ReplayFrame {
    bytes: Bytes,
    shared: bool,
}

/// A count of frames that were never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BeyondSent;

impl Outbox {
    /// Adds a counted frame, sent or kept for a client that is away.
    pub(super) fn send(&mut self, frame: &Frame) {
        self.sent += 1;
        let kept = self.kept.get_or_insert_default();
        kept.held += frame.held();
        kept.frames.push_back(ReplayFrame { bytes: frame.bytes.clone(), shared: frame.shared });
        while kept.frames.len() > QUEUE_FRAMES || kept.held.total() > QUEUE_BYTES {
            kept.drop_oldest();
        }
    }

    /// How many counted frames were sent in all.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether a frame after the first `sent` was dropped or confirmed.
    pub(super) fn has_dropped_after(&self, sent: u64) -> bool {
        self.first_kept() > sent
    }

    /// The client has received this many. A lower count than before is ignored. Returns how many are newly confirmed.
    pub(super) fn confirm(&mut self, count: u64) -> Result<u64, BeyondSent> {
        if count > self.sent {
            return Err(BeyondSent);
        }
        let confirmed = count.saturating_sub(self.first_kept());
        let Some(kept) = &mut self.kept else { return Ok(0) };
        (0..confirmed).for_each(|_| kept.drop_oldest());
        kept.notices.received(count);
        self.release();
        Ok(confirmed)
    }

    /// The last counted frame was this notice.
    pub(super) fn note_notice(&mut self, id: Uuid) {
        self.kept.get_or_insert_default().notices.sent(self.sent, id);
    }

    /// The unconfirmed notices, unless there is nothing unconfirmed at all.
    pub(super) fn notices(&mut self) -> Option<&mut UnconfirmedNotices> {
        self.kept.as_mut().map(|kept| &mut kept.notices)
    }

    /// A ping is sent after everything that was sent so far.
    pub(super) fn pinged(&mut self) {
        let sent = self.sent;
        if let Some(notices) = self.notices() {
            notices.pinged(sent);
        }
    }

    /// Whether the client has to confirm a notice.
    pub(super) fn awaits_notices(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.notices.are_awaited())
    }

    /// Takes the notices that the client has confirmed.
    pub(super) fn take_confirmed_notices(&mut self) -> Vec<Uuid> {
        let Some(notices) = self.notices() else { return Vec::new() };
        let confirmed = notices.take_confirmed();
        self.release();
        confirmed
    }

    /// The frames that a client has missed which received this many; `None` if some of them were dropped.
    pub(super) fn missed_after(&self, received: u64) -> Option<impl Iterator<Item = &Bytes>> {
        let known = self.first_kept()..=self.sent;
        let skipped = usize::try_from(received.checked_sub(self.first_kept())?).ok()?;
        let frames = self.kept.iter().flat_map(|kept| &kept.frames).map(|frame| &frame.bytes);
        known.contains(&received).then(|| frames.skip(skipped))
    }

    /// How much is kept.
    pub(super) fn held(&self) -> Held {
        self.kept.as_ref().map_or_else(Held::default, |kept| kept.held)
    }

    /// Frees the buffer once nothing is left in it.
    fn release(&mut self) {
        if self.kept.as_ref().is_some_and(|kept| kept.frames.is_empty() && kept.notices.is_empty()) {
            self.kept = None;
        }
    }

    /// How many counted frames precede the first one that is kept.
    fn first_kept(&self) -> u64 {
        self.sent - self.kept.as_ref().map_or(0, |kept| kept.frames.len() as u64)
    }
}

impl ReplayBuffer {
    fn drop_oldest(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.held -= Held::new(frame.bytes.len(), frame.shared);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every third frame is shared.
    fn frame(number: u64) -> Frame {
        Frame { shared: number.is_multiple_of(3), ..Frame::new(Bytes::from(number.to_string()), true) }
    }

    fn bytes(number: u64) -> Bytes {
        frame(number).bytes
    }

    fn missed(outbox: &Outbox, received: u64) -> Option<Vec<Bytes>> {
        outbox.missed_after(received).map(|frames| frames.cloned().collect())
    }

    #[test]
    fn exactly_the_missed_frames_are_sent_again() {
        let mut outbox = Outbox::default();
        (1..=5).for_each(|number| outbox.send(&frame(number)));
        assert_eq!(missed(&outbox, 3), Some(vec![bytes(4), bytes(5)]));
        assert_eq!(missed(&outbox, 5), Some(vec![]));
        assert_eq!(missed(&outbox, 6), None);
        assert_eq!(outbox.confirm(4), Ok(4));
        assert_eq!(outbox.confirm(2), Ok(0));
        assert_eq!(missed(&outbox, 3), None);
        assert_eq!(missed(&outbox, 4), Some(vec![bytes(5)]));
        assert_eq!(outbox.confirm(6), Err(BeyondSent));
    }

    #[test]
    fn a_client_that_confirms_nothing_cannot_grow_it() {
        let mut outbox = Outbox::default();
        for number in 0..QUEUE_FRAMES as u64 {
            outbox.send(&frame(number));
        }
        assert!(!outbox.has_dropped_after(0));
        outbox.send(&frame(9));
        assert!(outbox.has_dropped_after(0) && !outbox.has_dropped_after(1));
        assert_eq!(missed(&outbox, 0), None);
        assert_eq!(missed(&outbox, 1).map(|frames| frames.len()), Some(QUEUE_FRAMES));
        let mut outbox = Outbox::default();
        outbox.send(&Frame::new(Bytes::from(vec![0; QUEUE_BYTES + 1]), true));
        assert!(outbox.has_dropped_after(0));
        assert_eq!(outbox.held(), Held::default());
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_all_frames(
            operations in prop::collection::vec((any::<bool>(), 0_u64..40), 0..200),
        ) {
            let (mut outbox, mut sent, mut confirmed) = (Outbox::default(), Vec::new(), 0);
            for (send, count) in operations {
                if send {
                    sent.push(frame(count));
                    outbox.send(&frame(count));
                } else if outbox.confirm(count).is_ok() {
                    confirmed = confirmed.max(count);
                }
                for received in 0..=sent.len() as u64 + 1 {
                    let expected = (received >= confirmed && received <= sent.len() as u64)
                        .then(|| sent[usize::try_from(received).unwrap()..].iter().map(|frame: &Frame| frame.bytes.clone()).collect());
                    prop_assert_eq!(missed(&outbox, received), expected);
                }
                let mut held = Held::default();
                sent[usize::try_from(confirmed).unwrap()..].iter().for_each(|frame| held += frame.held());
                prop_assert_eq!(outbox.held(), held);
            }
        }
    }
}
