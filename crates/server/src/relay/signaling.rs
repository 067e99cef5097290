//! Signals between devices (docs/protocol/messages.md).

use std::sync::Arc;

use aldis_protocol::{
    Ack, AckStatus, DeviceId, ErrorCode, Payload, RelayedSignal, RequestId, ServerFrame, ServerMessage,
    Signal, SignalKind, SignalSignature, Target, UserId,
};
use aldis_registry::{Facts, Purpose, may_reach};

use super::{Outcome, Relay, Reply, decoy::decoy, error, named::known_user, relations::Relation};
use crate::{
    clock::Now,
    link::{Encoded, SessionHandle, deliver},
    store::StoreError,
};

impl Relay {
    /// Relays a signal to its target, if the sender may reach it and it is online. Blocked, forbidden, unknown and
    /// offline targets get one answer after the same look-ups.
    pub(super) fn signal(
        self: &Arc<Self>,
        from: &Arc<SessionHandle>,
        id: Option<RequestId>,
        signal: Signal<'_>,
        now: Now,
    ) -> Reply {
        let Signal { kind, target, payload, signature } = signal;
        let head = SignalHead { id, kind, signature, now };
        if let Some(addressee) = self.known_addressee(from, &target, now) {
            return Reply::Now(self.hand_on(from, &target, addressee, head.with(payload)));
        }
        let (relay, from, payload) = (Arc::clone(self), Arc::clone(from), payload.into_owned());
        Reply::Later(Box::pin(async move {
            Outcome::Reply(match relay.find_addressee(&from, &target, now).await {
                Ok(addressee) => relay.hand_on(&from, &target, addressee, head.with(payload)),
                Err(failure) => unavailable(&failure),
            })
        }))
    }

    fn hand_on(
        &self,
        from: &Arc<SessionHandle>,
        target: &Target,
        addressee: Addressee,
        signal: Relayed<'_>,
    ) -> ServerMessage<'static> {
        let (kind, now) = (signal.head.kind, signal.head.now);
        let handed = Handing { relay: self, from, addressee, kind, frame: signal.frame(from) };
        if kind == SignalKind::Offer
            && self.rates.limits_offers()
            && let Some(refusal) =
                self.rates.refuse_offer(from.user, handed.counted_as(target), now, &self.metrics)
        {
            return refusal;
        }
        match target {
            Target::Device(device) => handed.to_device(device),
            Target::User(_) => handed.reach_user(),
        }
    }

    /// The target's user and relation, if no query is needed.
    fn known_addressee(&self, from: &SessionHandle, target: &Target, now: Now) -> Option<Addressee> {
        let user = match target {
            Target::Device(device) => self.user_of_device(from, device),
            Target::User(named) => known_user(from, *named)?,
        };
        let relation = self.known_relation(from.user, user, now)?;
        Some(Addressee { user, relation })
    }

    async fn find_addressee(
        &self,
        from: &SessionHandle,
        target: &Target,
        now: Now,
    ) -> Result<Addressee, StoreError> {
        let user = match target {
            Target::Device(device) => self.user_of_device(from, device),
            Target::User(named) => self.named_user(from.user, *named).await?,
        };
        let relation = self.relation(from.user, user, now).await?;
        Ok(Addressee { user, relation })
    }

    /// The user of a device that is on this node, or a decoy.
    fn user_of_device(&self, from: &SessionHandle, device: &DeviceId) -> UserId {
        let here = self.registry.on_device(device);
        here.map_or_else(|| decoy(from.user, device.as_str()), |(user, _)| user)
    }
}

/// The user whose devices a signal is for, and their relation to the sender.
#[derive(Debug, Clone, Copy)]
struct Addressee {
    user: UserId,
    relation: Relation,
}

/// A signal, about to be delivered to those sessions of the addressee that the sender may reach.
struct Handing<'a> {
    relay: &'a Relay,
    from: &'a Arc<SessionHandle>,
    addressee: Addressee,
    kind: SignalKind,
    frame: Encoded<'a>,
}

impl Handing<'_> {
    /// The user against whom an offer counts: the one whose devices get it, however they are named. An offer that
    /// reaches nobody counts by its target's name; otherwise the limit would reveal which names belong to one user
    /// and who is online.
    fn counted_as(&self, target: &Target) -> UserId {
        let reaches = |session: &SessionHandle| {
            session.session != self.from.session
                && may_reach(self.relay.settings.routing, Purpose::Signal, self.facts(session))
        };
        let (reaches_user, name) = match target {
            Target::Device(device) => (
                self.relay
                    .registry
                    .on_device(device)
                    .is_some_and(|(user, session)| user == self.addressee.user && reaches(&session)),
                device.to_string(),
            ),
            Target::User(named) => (
                self.relay.registry.of_user(self.addressee.user).iter().any(|one| reaches(&one.handle)),
                named.to_string(),
            ),
        };
        if reaches_user { self.addressee.user } else { decoy(self.from.user, &name) }
    }

    fn to_device(&self, device: &DeviceId) -> ServerMessage<'static> {
        let target = self.relay.registry.on_device(device).filter(|(user, _)| *user == self.addressee.user);
        match target.and_then(|(_, session)| self.to_session(&session)) {
            Some(status) => ServerMessage::Ack(handed_on(status, device.as_str())),
            None => target_unavailable(),
        }
    }

    fn reach_user(mut self) -> ServerMessage<'static> {
        let (mut devices, mut best) = (Vec::new(), None);
        let targets = self.relay.registry.of_user(self.addressee.user);
        if targets.len() > 1 {
            self.frame = self.frame.for_many(&self.relay.shared_bytes);
        }
        for target in targets {
            if target.session == self.from.session {
                continue;
            }
            if let Some(status) = self.to_session(&target.handle) {
                devices.push(target.device);
                best = best.filter(|best| *best == AckStatus::Delivered).or(Some(status));
            }
        }
        match best {
            Some(status) => {
                let ack = handed_on(status, &self.addressee.user.to_string());
                ServerMessage::Ack(ack.with_devices(devices))
            }
            None => target_unavailable(),
        }
    }

    /// Delivers the signal if the sender may reach this session, and returns how far it went.
    fn to_session(&self, target: &SessionHandle) -> Option<AckStatus> {
        let facts = self.facts(target);
        if !may_reach(self.relay.settings.routing, Purpose::Signal, facts) {
            return None;
        }
        let status = deliver(target, &self.frame, &self.relay.metrics)?;
        if self.kind == SignalKind::Offer && !facts.same_user {
            self.from.offers.note(target.session);
        }
        Some(status)
    }

    fn facts(&self, target: &SessionHandle) -> Facts {
        let same_user = self.from.user == target.user;
        let (one, other) = ((self.from.user, self.from.session), (target.user, target.session));
        Facts {
            same_user,
            sender: self.addressee.relation.sender,
            target: self.addressee.relation.target,
            offered: target.offers.include(self.from.session),
            share_private_room: self.addressee.relation.share_private_room,
            // A user's own devices are reachable anyway.
            share_public_room: !same_user && self.relay.registry.share_public_room(one, other),
        }
    }
}

/// The parts of a signal besides its payload.
struct SignalHead {
    id: Option<RequestId>,
    kind: SignalKind,
    signature: Option<SignalSignature>,
    now: Now,
}

impl SignalHead {
    fn with(self, payload: Payload<'_>) -> Relayed<'_> {
        Relayed { head: self, payload }
    }
}

/// A signal without its sender.
struct Relayed<'a> {
    head: SignalHead,
    payload: Payload<'a>,
}

impl<'a> Relayed<'a> {
    fn frame(self, from: &SessionHandle) -> Encoded<'a> {
        let SignalHead { id, kind, signature, now } = self.head;
        let signal = RelayedSignal::new(kind, from.sender(), self.payload).with_signature(signature);
        Encoded::new(ServerFrame { id, timestamp: now.timestamp(), message: ServerMessage::Signal(signal) })
    }
}

fn handed_on(status: AckStatus, whom: &str) -> Ack<'static> {
    let how = if status == AckStatus::Buffered { "Message buffered for " } else { "Message delivered to " };
    Ack::new(status, [how, whom].concat())
}

/// The one answer for blocked, not allowed, unknown and offline targets.
pub(super) fn target_unavailable() -> ServerMessage<'static> {
    error(
        ErrorCode::TargetUnavailable,
        "the target is unknown, offline, or not reachable for you; users can reach those who have them as a contact and \
         those in a common room, or everybody where the server has ALDIS_ROUTING=open",
    )
}

fn unavailable(failure: &StoreError) -> ServerMessage<'static> {
    tracing::warn!(error = %failure, "cannot look up the target of a signal");
    error(ErrorCode::Unavailable, "the database is away; try again")
}
