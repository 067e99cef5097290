//! Which incoming signals are let through (docs/protocol/signing.md), and who yields when two offers collide.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use aldis_protocol::{DeviceId, RelayedSignal, RequestId, Sender, SignalKind, Target, UserRef};

/// The tolerance for the time of a signed signal, and how long its id is remembered.
const SIGNAL_WINDOW_MS: u64 = 10 * 60 * 1000;
/// Open calls; above that the oldest is forgotten.
const MAX_CALLS: usize = 1_024;
/// Remembered signals; above that the oldest is forgotten.
const MAX_REMEMBERED_SIGNALS: usize = 4_096;

/// Whether the device `own` yields when it and `peer` offer to each other at once. The one whose id sorts lower is polite:
/// it rolls its own offer back and answers; the other ignores the offer that it gets.
///
/// ```
/// let (desk, phone) = ("desk".parse()?, "phone".parse()?);
/// assert!(aldis_client_core::is_polite(&desk, &phone));
/// assert!(!aldis_client_core::is_polite(&phone, &desk));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn is_polite(own: &DeviceId, peer: &DeviceId) -> bool {
    own.as_str().as_bytes() < peer.as_str().as_bytes()
}

/// Why an incoming signal was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SignalRefused {
    /// Its signed time is over ten minutes off.
    #[error("the signal's time is over ten minutes off")]
    Stale,
    /// The same id came from that device within the last ten minutes.
    #[error("the signal came before")]
    Repeated,
    /// An `answer` or candidate of a device with which no call is open.
    #[error("no call is open with that device")]
    OutsideCall,
}

/// The open calls and the recent signals.
///
/// A call opens with an `offer`, sent or received, and is open until [`end`](Self::end).
#[derive(Debug, Default)]
pub(crate) struct CallBook {
    calls: VecDeque<Target>,
    order: VecDeque<(u64, Arc<Seen>)>,
    seen: HashSet<Arc<Seen>>,
}

type Seen = (DeviceId, RequestId);

impl CallBook {
    /// Opens the call that an offer to `peer` begins.
    pub(crate) fn open(&mut self, peer: Target) {
        self.end(&peer);
        if self.calls.len() == MAX_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(peer);
    }

    /// Closes the call with `peer`, if one is open.
    pub(crate) fn end(&mut self, peer: &Target) {
        self.calls.retain(|call| call != peer);
    }

    /// Lets a signal through or says why not.
    pub(crate) fn admit(
        &mut self,
        signal: &RelayedSignal<'_>,
        id: Option<&RequestId>,
        now_ms: u64,
    ) -> Result<(), SignalRefused> {
        if signal.signature.is_some_and(|it| it.created_at_ms.abs_diff(now_ms) > SIGNAL_WINDOW_MS) {
            return Err(SignalRefused::Stale);
        }
        self.forget_before(now_ms.saturating_sub(SIGNAL_WINDOW_MS));
        if id.is_some_and(|id| !self.remember(&signal.sender.device_id, id, now_ms)) {
            return Err(SignalRefused::Repeated);
        }
        match signal.kind {
            SignalKind::Offer => self.open(Target::Device(signal.sender.device_id.clone())),
            SignalKind::Answer | SignalKind::IceCandidate if !self.is_open(&signal.sender) => {
                return Err(SignalRefused::OutsideCall);
            }
            SignalKind::Answer | SignalKind::IceCandidate | SignalKind::Signal => {}
        }
        Ok(())
    }

    fn is_open(&self, sender: &Sender) -> bool {
        self.calls.iter().any(|call| match call {
            Target::Device(device) => *device == sender.device_id,
            Target::User(UserRef::Id(user)) => *user == sender.user_id,
            Target::User(UserRef::Fingerprint(fingerprint)) => Some(*fingerprint) == sender.fingerprint,
        })
    }

    /// Whether it is new.
    fn remember(&mut self, sender: &DeviceId, id: &RequestId, now_ms: u64) -> bool {
        let seen = Arc::new((sender.clone(), id.clone()));
        if !self.seen.insert(seen.clone()) {
            return false;
        }
        if self.order.len() == MAX_REMEMBERED_SIGNALS {
            self.forget_oldest();
        }
        self.order.push_back((now_ms, seen));
        true
    }

    fn forget_before(&mut self, time_ms: u64) {
        while self.order.front().is_some_and(|(seen_at, _)| *seen_at < time_ms) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, seen)) = self.order.pop_front() {
            self.seen.remove(&seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use aldis_protocol::{Payload, SignalSignature, UserId};
    use uuid::Uuid;

    use super::*;

    const NOW: u64 = 1_767_225_600_000;

    fn signal(kind: SignalKind, device: &str) -> RelayedSignal<'static> {
        let sender = Sender::new(device.parse().unwrap(), UserId::new(Uuid::from_u128(7)));
        RelayedSignal::new(kind, sender, Payload::from_json("{}").unwrap())
    }

    fn id(text: &str) -> RequestId {
        text.parse().unwrap()
    }

    #[test]
    fn an_answer_needs_a_call() {
        let mut book = CallBook::default();
        for kind in [SignalKind::Answer, SignalKind::IceCandidate] {
            assert_eq!(book.admit(&signal(kind, "phone"), None, NOW), Err(SignalRefused::OutsideCall));
        }
        book.open(Target::Device("phone".parse().unwrap()));
        assert_eq!(book.admit(&signal(SignalKind::Answer, "phone"), None, NOW), Ok(()));
        assert_eq!(
            book.admit(&signal(SignalKind::Answer, "other"), None, NOW),
            Err(SignalRefused::OutsideCall)
        );
        book.end(&Target::Device("phone".parse().unwrap()));
        assert_eq!(
            book.admit(&signal(SignalKind::Answer, "phone"), None, NOW),
            Err(SignalRefused::OutsideCall)
        );
    }

    #[test]
    fn an_offer_to_a_user_is_answered_by_any_of_their_devices() {
        let mut book = CallBook::default();
        book.open(Target::User(UserId::new(Uuid::from_u128(7)).into()));
        assert_eq!(book.admit(&signal(SignalKind::Answer, "phone"), None, NOW), Ok(()));
    }

    #[test]
    fn an_offer_received_opens_the_call_and_other_signals_need_none() {
        let mut book = CallBook::default();
        assert_eq!(book.admit(&signal(SignalKind::Signal, "phone"), None, NOW), Ok(()));
        assert_eq!(book.admit(&signal(SignalKind::Offer, "phone"), None, NOW), Ok(()));
        assert_eq!(book.admit(&signal(SignalKind::IceCandidate, "phone"), None, NOW), Ok(()));
    }

    #[test]
    fn a_signed_time_over_ten_minutes_off_is_stale() {
        let mut book = CallBook::default();
        let mut at = |created_at_ms| {
            let signature = Some(SignalSignature { signature: [0; 64], created_at_ms });
            book.admit(&signal(SignalKind::Offer, "phone").with_signature(signature), None, NOW)
        };
        assert_eq!(at(NOW - 600_000), Ok(()));
        assert_eq!(at(NOW + 600_000), Ok(()));
        assert_eq!(at(NOW - 600_001), Err(SignalRefused::Stale));
        assert_eq!(at(NOW + 600_001), Err(SignalRefused::Stale));
    }

    #[test]
    fn an_id_counts_once_in_ten_minutes_for_each_sender() {
        let mut book = CallBook::default();
        let mut take = |device, now| book.admit(&signal(SignalKind::Signal, device), Some(&id("m-1")), now);
        assert_eq!(take("phone", NOW), Ok(()));
        assert_eq!(take("phone", NOW + 600_000), Err(SignalRefused::Repeated));
        assert_eq!(take("desk", NOW + 600_000), Ok(()));
        assert_eq!(take("phone", NOW + 600_001), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut book = CallBook::default();
        for n in 0..MAX_REMEMBERED_SIGNALS + 10 {
            let signal = signal(SignalKind::Offer, &format!("phone-{n}"));
            assert_eq!(book.admit(&signal, Some(&id("m-1")), NOW), Ok(()));
        }
        assert_eq!(book.calls.len(), MAX_CALLS);
        assert_eq!((book.order.len(), book.seen.len()), (MAX_REMEMBERED_SIGNALS, MAX_REMEMBERED_SIGNALS));
    }
}
