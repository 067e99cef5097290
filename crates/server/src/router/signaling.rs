//! Signals between devices (protocol.md, section 4, "Signaling").

use std::{fmt, sync::Arc};

use aldis_protocol::{
    Ack, AckStatus, DeviceId, ErrorCode, Fingerprint, RelayedSignal, RequestId, ServerFrame, ServerMessage,
    Signal, SignalKind, SignalSignature, Target, UserId, UserRef,
};
use aldis_registry::{Facts, may_signal};

use super::{
    Reply, Router,
    deliver::{Encoded, deliver},
    error,
    outlet::Outlet,
};
use crate::clock::Now;

impl Router {
    /// Hands a signal to whom it is for, as far as the sender may reach him and he is there.
    pub(super) fn signal(
        self: &Arc<Self>,
        from: &Arc<Outlet>,
        id: Option<RequestId>,
        signal: Signal<'_>,
        now: Now,
    ) -> Reply {
        let Signal { kind, target, payload, signature } = signal;
        let relay = Relay { id, kind, signature, now };
        match target {
            Target::Device(device) => {
                Reply::Now(self.signal_device(from, &device, &relay.frame(from, payload)))
            }
            Target::User(UserRef::Id(user)) => {
                Reply::Now(self.signal_user(from, user, &relay.frame(from, payload)))
            }
            Target::User(UserRef::Fingerprint(fingerprint)) => {
                let (router, from, payload) = (Arc::clone(self), Arc::clone(from), payload.into_owned());
                Reply::Later(Box::pin(async move {
                    let user = match router.user_of(fingerprint).await {
                        Ok(user) => user,
                        Err(reply) => return reply,
                    };
                    router.signal_user(&from, user, &relay.frame(&from, payload))
                }))
            }
        }
    }

    fn signal_device(&self, from: &Outlet, device: &DeviceId, frame: &Encoded<'_>) -> ServerMessage<'static> {
        let target = self.registry.on_device(device).filter(|(user, _)| self.may_signal(from, *user));
        match target.and_then(|(_, outlet)| deliver(&outlet, frame, &self.metrics)) {
            Some(status) => ServerMessage::Ack(handed_on(status, device)),
            None => target_unavailable(),
        }
    }

    fn signal_user(&self, from: &Outlet, user: UserId, frame: &Encoded<'_>) -> ServerMessage<'static> {
        let (mut devices, mut best) = (Vec::new(), None);
        for target in self.registry.of_user(user) {
            let is_sender = target.session == from.session;
            if is_sender || !self.may_signal(from, user) {
                continue;
            }
            if let Some(status) = deliver(&target.handle, frame, &self.metrics) {
                devices.push(target.device);
                best = best.filter(|best| *best == AckStatus::Delivered).or(Some(status));
            }
        }
        match best {
            Some(status) => ServerMessage::Ack(Ack { devices: Some(devices), ..handed_on(status, &user) }),
            None => target_unavailable(),
        }
    }

    async fn user_of(&self, fingerprint: Fingerprint) -> Result<UserId, ServerMessage<'static>> {
        match self.store.identity_of_fingerprint(fingerprint).await {
            Ok(Some(identity)) => Ok(identity.user_id),
            Ok(None) => Err(target_unavailable()),
            Err(failure) => {
                tracing::warn!(error = %failure, "cannot look up an identity");
                Err(error(ErrorCode::Unavailable, "the database is away; try again"))
            }
        }
    }

    fn may_signal(&self, from: &Outlet, target: UserId) -> bool {
        may_signal(self.settings.routing, Facts { same_user: from.user == target })
    }
}

/// What of a signal is handed on besides its payload.
struct Relay {
    id: Option<RequestId>,
    kind: SignalKind,
    signature: Option<SignalSignature>,
    now: Now,
}

impl Relay {
    fn frame<'a>(self, from: &Outlet, payload: aldis_protocol::Payload<'a>) -> Encoded<'a> {
        let Self { id, kind, signature, now } = self;
        let message =
            ServerMessage::Signal(RelayedSignal { kind, sender: from.sender(), payload, signature });
        Encoded::new(ServerFrame { id, timestamp: now.timestamp(), message })
    }
}

fn handed_on(status: AckStatus, whom: &impl fmt::Display) -> Ack<'static> {
    let how = if status == AckStatus::Buffered { "buffered for" } else { "delivered to" };
    Ack::new(status, format!("Message {how} {whom}"))
}

/// Blocked, not allowed, unknown and offline are one answer.
fn target_unavailable() -> ServerMessage<'static> {
    error(ErrorCode::TargetUnavailable, "the target cannot be reached")
}
