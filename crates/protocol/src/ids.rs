//! Ids on the wire. They are checked when they are made, so a value of these types is always valid.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::limits::MAX_LABEL_CHARS;

/// The longest device id, room name or request id, in bytes.
pub const MAX_ID_LEN: usize = 64;

/// Why a text is not an id of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{expected}")]
pub struct InvalidId {
    expected: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $valid:path, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against the grammar.
            ///
            /// # Errors
            /// [`InvalidId`] where `text` is outside it.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                if $valid(text) { Ok(Self(text.into())) } else { Err(InvalidId { expected: $expected }) }
            }

            /// The id as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        deserialize_from_text!($name);
    };
}

/// Deserialises through `FromStr`, without a copy of the text.
macro_rules! deserialize_from_text {
    ($name:ty) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;
                impl serde::de::Visitor<'_> for TextVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(TextVisitor)
            }
        }
    };
}
pub(crate) use deserialize_from_text;

text_id! {
    /// A device: registered by its user, or ephemeral (`~` and a UUIDv7) for the life of one session.
    ///
    /// 1–64 characters of `A–Z a–z 0–9 . _ : -`; the `~` only in front of an ephemeral one.
    DeviceId, is_device_id, "a device id is 1 to 64 characters of A-Z a-z 0-9 . _ : -"
}

text_id! {
    /// A room: 1–64 characters of `A–Z a–z 0–9 . _ : -`.
    RoomId, is_name, "a room name is 1 to 64 characters of A-Z a-z 0-9 . _ : -"
}

text_id! {
    /// What somebody who asks to become a contact calls themselves, for people: 1–80 characters, none of them a control
    /// character, a line separator or one that changes the direction of text, so that it cannot disguise what stands
    /// beside it.
    ContactLabel, is_label, "a label is 1 to 80 characters without control or bidirectional formatting characters"
}

text_id! {
    /// Ties a reply to its request: 1–64 characters of `A–Z a–z 0–9 _ -`, chosen by the sender of the request.
    RequestId, is_request_id, "an id is 1 to 64 characters of A-Z a-z 0-9 _ -"
}

impl DeviceId {
    /// The id of a device that lives as long as one session.
    ///
    /// ```
    /// use aldis_protocol::DeviceId;
    /// let device = DeviceId::ephemeral(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001));
    /// assert_eq!(device.as_str(), "~01900000-0000-7000-8000-000000000001");
    /// assert!(device.is_ephemeral());
    /// ```
    #[must_use]
    pub fn ephemeral(id: Uuid) -> Self {
        Self(format!("~{id}").into())
    }

    /// An id that a user may register: everything but the ephemeral form.
    ///
    /// # Errors
    /// [`InvalidId`] for text outside the grammar, and for `~`.
    pub fn registered(text: &str) -> Result<Self, InvalidId> {
        Self::new(text).and_then(|id| {
            if id.is_ephemeral() {
                Err(InvalidId { expected: "a registered device id never starts with ~" })
            } else {
                Ok(id)
            }
        })
    }

    /// A registered device's id made from a UUID.
    #[must_use]
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id.to_string().into())
    }

    /// Whether the device lives only as long as its session.
    #[must_use]
    pub fn is_ephemeral(&self) -> bool {
        self.0.starts_with('~')
    }
}

impl RequestId {
    /// An id made from a UUID, for frames that the server starts and for requests whose sender needs no special id.
    #[must_use]
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id.simple().to_string().into())
    }
}

fn is_name(text: &str) -> bool {
    fits(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'))
}

fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL_CHARS).contains(&text.chars().count()) && !text.chars().any(disguises)
}

/// Unicode's `Cc`, `Zl`, `Zp` and `Bidi_Control`.
fn disguises(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

fn is_device_id(text: &str) -> bool {
    match text.strip_prefix('~') {
        Some(uuid) => uuid.len() == 36 && Uuid::try_parse(uuid).is_ok_and(|id| id.get_version_num() == 7),
        None => is_name(text),
    }
}

fn is_request_id(text: &str) -> bool {
    fits(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn fits(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    (1..=MAX_ID_LEN).contains(&text.len()) && text.bytes().all(allowed)
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes a UUID for the id.
            #[must_use]
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID inside.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Only the hyphenated form: an id has one spelling.
                (text.len() == 36)
                    .then(|| Uuid::try_parse(text).ok())
                    .flatten()
                    .map(Self)
                    .ok_or(InvalidId { expected: $expected })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }

        deserialize_from_text!($name);
    };
}

uuid_id! {
    /// A user of the server.
    UserId, "a user id is a UUID"
}

uuid_id! {
    /// A stored encrypted message.
    MessageId, "a message id is a UUID"
}

uuid_id! {
    /// A session: what outlives a broken socket for its resume window.
    SessionId, "a session id is a UUID"
}

/// A 32-byte SHA-256 value, lowercase hex in text.
// Exhaustive on purpose: nothing but its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// An identity: the SHA-256 of its first public key. It stays through key rotations.
///
/// ```
/// use aldis_protocol::Fingerprint;
/// let fingerprint = Fingerprint::of_first_key(&[1; 32]);
/// assert_eq!(fingerprint.to_string().len(), 64);
/// assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
/// ```
// Exhaustive on purpose: nothing but its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Hash {
    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl Fingerprint {
    /// The fingerprint of the identity that began with this public key.
    #[must_use]
    pub fn of_first_key(public_key: &[u8; 32]) -> Self {
        Self(Sha256::digest(public_key).into())
    }
}

macro_rules! hex_id {
    ($name:ident, $expected:literal) => {
        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_hex(text).map(Self).ok_or(InvalidId { expected: $expected })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(hex(&self.0, &mut [0; 64]))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(hex(&self.0, &mut [0; 64]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        deserialize_from_text!($name);
    };
}

hex_id!(Hash, "a hash is 64 lowercase hex digits");
hex_id!(Fingerprint, "a fingerprint is 64 lowercase hex digits");

fn hex<'a>(bytes: &[u8; 32], digits: &'a mut [u8; 64]) -> &'a str {
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    std::str::from_utf8(digits).unwrap_or_default()
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// A user as a client names it: by id, or by the fingerprint of its identity.
// Exhaustive on purpose: who looks a user up decides about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserRef {
    /// By user id.
    Id(UserId),
    /// By the fingerprint of its identity.
    Fingerprint(Fingerprint),
}

impl FromStr for UserRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self::Id).or_else(|_| text.parse().map(Self::Fingerprint)).map_err(|_: InvalidId| {
            InvalidId { expected: "a user is a UUID or a fingerprint of 64 hex digits" }
        })
    }
}

impl fmt::Display for UserRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Fingerprint(fingerprint) => fingerprint.fmt(f),
        }
    }
}

impl Serialize for UserRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Id(id) => id.serialize(serializer),
            Self::Fingerprint(fingerprint) => fingerprint.serialize(serializer),
        }
    }
}

deserialize_from_text!(UserRef);

impl From<UserId> for UserRef {
    fn from(id: UserId) -> Self {
        Self::Id(id)
    }
}

impl From<Fingerprint> for UserRef {
    fn from(fingerprint: Fingerprint) -> Self {
        Self::Fingerprint(fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_keep_to_their_grammar() {
        let longest = "x".repeat(64);
        for good in ["a", "phone-1", "A.b_c:d-9", &longest] {
            assert!(DeviceId::registered(good).is_ok(), "{good}");
        }
        let too_long = "x".repeat(65);
        for bad in ["", &too_long, "a b", "a/b", "a*", "a>", "a\n", "é", "~", "~abc", "a~"] {
            assert!(DeviceId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_ephemeral_device_id_is_a_uuid_of_version_7() {
        assert!(DeviceId::new("~01900000-0000-7000-8000-000000000001").is_ok());
        assert!(DeviceId::new("~01900000-0000-4000-8000-000000000001").is_err());
        assert!(DeviceId::registered("~01900000-0000-7000-8000-000000000001").is_err());
    }

    #[test]
    fn request_ids_take_no_dot_or_colon() {
        assert!(RequestId::new("m-1_A").is_ok());
        assert!(RequestId::new("m.1").is_err());
        assert!(RequestId::new("m:1").is_err());
    }

    #[test]
    fn labels_take_every_script_and_nothing_that_disguises() {
        let longest = "é".repeat(80);
        for good in ["Ann", "Ann B. (work)", "أنس", "דנה", "👩\u{200d}🚀", &longest] {
            assert!(ContactLabel::new(good).is_ok(), "{good}");
        }
        let too_long = "é".repeat(81);
        let bad = ["", &too_long, "a\0", "a\nb", "a\tb", "\u{7f}", "\u{85}", "\u{2028}", "\u{2029}"];
        let directions =
            ["\u{61c}", "\u{200e}", "\u{200f}", "\u{202a}", "\u{202e}x", "\u{2066}", "a\u{2069}"];
        for bad in bad.into_iter().chain(directions) {
            assert!(ContactLabel::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hashes_have_one_spelling() {
        let text = "0a".repeat(32);
        assert_eq!(text.parse::<Fingerprint>().unwrap().to_string(), text);
        assert!(text.to_uppercase().parse::<Fingerprint>().is_err());
        assert!(text[1..].parse::<Fingerprint>().is_err());
    }

    #[test]
    fn users_are_named_by_id_or_fingerprint() {
        let id = "6a3803d5-f059-902a-1c6d-afbc9ba47292";
        assert!(matches!(id.parse(), Ok(UserRef::Id(_))));
        assert!(matches!("0a".repeat(32).parse(), Ok(UserRef::Fingerprint(_))));
        assert!("6a3803d5f059902a1c6dafbc9ba47292".parse::<UserRef>().is_err());
    }
}
