//! Signed signals: the server relays them, and cannot answer a call itself.

use std::time::{SystemTime, UNIX_EPOCH};

use aldis_client::{
    Client, IncomingSignal, RequestError,
    auth::{InvalidSignature, PublicKey, SecretKey},
    protocol::{
        ClientMessage, DeviceId, Fingerprint, InvalidPayload, Payload, RequestId, Signal, SignalKind,
        SignalSignature, Target, UserRef, binary, statement::SignalStatement,
    },
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use webrtc::peer_connection::{RTCIceCandidateInit, RTCSessionDescription};

/// The id of a call, which distinguishes its signals from those of earlier calls.
pub type CallId = Uuid;

/// The payload of a signal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Letter {
    /// The call.
    pub call: CallId,
    /// The content.
    pub content: Content,
    /// The key that signed it; its hash is the sender's fingerprint.
    #[serde(with = "binary::array")]
    public_key: [u8; 32],
}

/// What two devices exchange before they can talk directly.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// How the caller would like to connect.
    Offer(RTCSessionDescription),
    /// How the other device agrees to it.
    Answer(RTCSessionDescription),
    /// A network address to try.
    Candidate(RTCIceCandidateInit),
}

impl Content {
    const fn kind(&self) -> SignalKind {
        match self {
            Self::Offer(_) => SignalKind::Offer,
            Self::Answer(_) => SignalKind::Answer,
            Self::Candidate(_) => SignalKind::IceCandidate,
        }
    }
}

/// The verified author of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// The identity.
    pub fingerprint: Fingerprint,
    /// The device.
    pub device_id: DeviceId,
}

/// Why a letter was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A signal is signed with the device's own id, which is unknown before the first session.
    #[error("not connected yet")]
    NoSession,
    /// The letter is not JSON.
    #[error(transparent)]
    Payload(#[from] InvalidPayload),
    /// The server refused it.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Signs outgoing signals, and verifies incoming ones.
#[derive(Debug)]
pub struct Signer {
    client: Client,
    key: SecretKey,
}

impl Signer {
    /// Signs with the key of the identity that `client` connects as.
    #[must_use]
    pub fn new(client: Client, key: SecretKey) -> Self {
        Self { client, key }
    }

    /// Our own identity.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.public_key().fingerprint()
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a signal and waits until the server has relayed it.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, target: &Target, call: CallId, content: Content) -> Result<(), SendError> {
        let session = self.client.session().ok_or(SendError::NoSession)?;
        let id = RequestId::from_uuid(Uuid::now_v7());
        let letter = Letter { call, content, public_key: *self.key.public_key().as_bytes() };
        let signal = sign(&self.key, &session.device_id, &id, target, &letter)?;
        self.client.request_with_id(id, ClientMessage::Signal(signal)).await?;
        Ok(())
    }

    /// Opens a letter, if the sender that the server names has signed it for this device or its user.
    ///
    /// # Errors
    /// [`InvalidSignature`] in every other case, and for an identity that has rotated its key.
    pub fn open(&self, incoming: &IncomingSignal) -> Result<(Writer, Letter), InvalidSignature> {
        let device = self.client.session().map(|session| session.device_id.to_string());
        let names: Vec<_> = [Some(self.fingerprint().to_string()), device].into_iter().flatten().collect();
        open(incoming, &names)
    }
}

fn sign(
    key: &SecretKey,
    device: &DeviceId,
    id: &RequestId,
    target: &Target,
    letter: &Letter,
) -> Result<Signal<'static>, InvalidPayload> {
    let kind = letter.content.kind();
    let payload = Payload::of(letter)?;
    let created_at_ms = now_ms();
    let statement = SignalStatement {
        kind: kind.message_kind().as_str(),
        sender_fingerprint: key.public_key().fingerprint(),
        sender_device_id: device,
        target: &signed_name(target),
        id: id.as_str(),
        created_at_ms,
        payload: payload.as_bytes(),
    };
    let signature = Some(SignalSignature { signature: key.sign_signal(&statement), created_at_ms });
    Ok(Signal { kind, target: target.clone(), payload, signature })
}

/// `names` are the reader's names; the author signed one of them.
fn open(incoming: &IncomingSignal, names: &[String]) -> Result<(Writer, Letter), InvalidSignature> {
    let sender = &incoming.signal.sender;
    let letter: Letter = incoming.signal.payload.parse().map_err(|_| InvalidSignature)?;
    let key = PublicKey::from_bytes(&letter.public_key).map_err(|_| InvalidSignature)?;
    let fingerprint = key.fingerprint();
    let is_signed = names.iter().any(|name| incoming.verify(&key, name).is_ok());
    let is_whole = sender.fingerprint == Some(fingerprint) && incoming.signal.kind == letter.content.kind();
    if !is_signed || !is_whole {
        return Err(InvalidSignature);
    }
    Ok((Writer { fingerprint, device_id: sender.device_id.clone() }, letter))
}

/// The target in the form that is signed (docs/protocol/signing.md).
fn signed_name(target: &Target) -> String {
    match target {
        Target::Device(device) => device.to_string(),
        Target::User(UserRef::Fingerprint(fingerprint)) => fingerprint.to_string(),
        Target::User(UserRef::Id(user)) => user.to_string(),
    }
}

fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use aldis_client::protocol::{RelayedSignal, Sender, Timestamp, UserId};

    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    fn letter(key: &SecretKey, sdp: &str) -> Letter {
        let offer = serde_json::from_value(serde_json::json!({"type": "offer", "sdp": sdp})).unwrap();
        Letter { call: Uuid::nil(), content: Content::Offer(offer), public_key: *key.public_key().as_bytes() }
    }

    /// A letter as the server relays it, with the sender that the server claims.
    fn relayed(signer: &SecretKey, target: &str, letter: &Letter, sender: &SecretKey) -> IncomingSignal {
        let (device_id, id) = ("phone".parse().unwrap(), "m-1".parse().unwrap());
        let target = target.parse().map_or_else(|_| Target::Device(target.parse().unwrap()), Target::User);
        let signal = sign(signer, &device_id, &id, &target, letter).unwrap();
        let fingerprint = Some(sender.public_key().fingerprint());
        let sender = Sender::new(device_id, UserId::new(Uuid::nil())).with_fingerprint(fingerprint);
        let Signal { kind, payload, signature, .. } = signal;
        let signal = RelayedSignal::new(kind, sender, payload).with_signature(signature);
        IncomingSignal { id: Some(id), timestamp: Timestamp::from_ms(0), signal }
    }

    fn names() -> [String; 2] {
        [key(9).public_key().fingerprint().to_string(), "desk".to_owned()]
    }

    #[test]
    fn a_letter_to_this_device_or_its_user_is_opened() {
        for name in names() {
            let (writer, _) =
                open(&relayed(&key(1), &name, &letter(&key(1), "v=0"), &key(1)), &names()).unwrap();
            assert_eq!(writer.fingerprint, key(1).public_key().fingerprint());
        }
    }

    #[test]
    fn a_letter_to_another_device_is_refused() {
        assert!(open(&relayed(&key(1), "tablet", &letter(&key(1), "v=0"), &key(1)), &names()).is_err());
    }

    #[test]
    fn a_letter_in_the_name_of_another_is_refused() {
        let claimed = relayed(&key(2), "desk", &letter(&key(1), "v=0"), &key(1));
        assert!(open(&claimed, &names()).is_err(), "signed by another key than it shows");
        let lied_about = relayed(&key(2), "desk", &letter(&key(2), "v=0"), &key(1));
        assert!(open(&lied_about, &names()).is_err(), "shows another key than the sender's");
    }

    #[test]
    fn a_letter_changed_on_its_way_is_refused() {
        let mut changed = relayed(&key(1), "desk", &letter(&key(1), "v=0"), &key(1));
        changed.signal.payload = Payload::of(&letter(&key(1), "v=1")).unwrap();
        assert!(open(&changed, &names()).is_err());
        let mut unsigned = relayed(&key(1), "desk", &letter(&key(1), "v=0"), &key(1));
        unsigned.signal.signature = None;
        assert!(open(&unsigned, &names()).is_err());
    }
}
